// says: pantile: a partial result is a partial_view, on a device a device_partial_view, of float, of double where q is
// says: same_memory
#include "views.hpp"

void wrong_call() {
    pantile::attention_partial(on_gpu<float>(), on_gpu<float>(), on_gpu<float>(), part<float>(), nullptr);
}
