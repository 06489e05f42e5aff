// says: pantile: lengths are numbers of type std::int64_t or std::int32_t, one a batch
#include "views.hpp"

void wrong_call() {
    const float* const lengths = nullptr;
    pantile::options o;
    o.key_lengths = lengths;
}
