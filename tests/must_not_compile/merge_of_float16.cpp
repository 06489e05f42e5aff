// says: pantile: merge takes three partial results (partial_view), all of float or all of double; or all on a device (device_partial_view), where calls take a stream
// says: of_computed_type
#include "views.hpp"

void wrong_call() {
    using half = pantile::float16;
    pantile::merge(part<half>(), part<half>(), part<half>());
}
