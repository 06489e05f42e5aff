// says: pantile: merge takes three partial results (partial_view), all of float or all of double
#include "views.hpp"

void wrong_call() { pantile::merge(part<float>(), part<float>()); }
