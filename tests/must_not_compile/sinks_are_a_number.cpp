// says: pantile: slopes and sinks are numbers of type float or double, one a query head (slopes also one a batch and query head)
#include "views.hpp"

void wrong_call() {
    pantile::attention(tensor<float>(), tensor<float>(), tensor<float>(), tensor<float>(), {.sinks = 0.5});
}
