// says: pantile: lengths are numbers of type std::int64_t or std::int32_t, one a batch
#include "views.hpp"

void wrong_call() {
    const std::vector<float> lengths(1);
    pantile::attention(tensor<float>(), tensor<float>(), tensor<float>(), tensor<float>(),
                       {.key_lengths = pantile::on_device(std::span(lengths))});
}
