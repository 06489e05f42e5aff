// says: pantile: merge takes three partial results
#include "../views.hpp"

void wrong_call() { pantile::attention(tensor<float>(), tensor<float>(), tensor<float>(), tensor<double>()); }
