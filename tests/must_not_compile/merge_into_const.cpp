// says: pantile: merge takes three partial results (partial_view), all of float or all of double; or all on a device (device_partial_view), where calls take a stream
// says: can_be_written
#include "views.hpp"

void wrong_call() { pantile::merge(part<float>(), part<float>(), part<const float>()); }
