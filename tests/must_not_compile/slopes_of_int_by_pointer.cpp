// says: pantile: slopes and sinks are numbers of type float or double, one a query head (slopes also one a batch and query head)
#include "views.hpp"

void wrong_call() {
    const int* const slopes = nullptr;
    pantile::options o;
    o.slopes = slopes;
}
