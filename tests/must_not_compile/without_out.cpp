// says: pantile: attention writes out: attention(q, k, v, out), or by name attention(q, k, v, {.out = out})
#include "views.hpp"

void wrong_call() { pantile::attention(tensor<float>(), tensor<float>(), tensor<float>()); }
