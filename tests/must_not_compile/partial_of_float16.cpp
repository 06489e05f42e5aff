// says: pantile: a partial result is a partial_view, on a device a device_partial_view, of float, of double where q is
// says: of_computed_type
#include "views.hpp"

void wrong_call() {
    const auto t = tensor<pantile::float16>();
    pantile::attention_partial(t, t, t, part<pantile::float16>());
}
