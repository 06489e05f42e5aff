// says: anything
#include "../views.hpp"

void right_call() { pantile::attention(tensor<float>(), tensor<float>(), tensor<float>(), tensor<float>()); }
