#include "../views.hpp"

void wrong_call() { pantile::attention(tensor<float>(), tensor<float>(), tensor<float>(), tensor<double>()); }
