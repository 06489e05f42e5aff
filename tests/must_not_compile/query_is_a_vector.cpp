// says: pantile: q, k and v are views of tensors (bshd, bhsd, strided), all of the same type of number (float, double, float16, bfloat16), all in host memory; or all on a device (on_device), where calls take a stream
// says: are_tensors
#include "views.hpp"

void wrong_call() {
    const std::vector<float> q(8);
    pantile::attention(q, tensor<float>(), tensor<float>(), tensor<float>());
}
