// says: pantile: what a call writes are views of tensors (bshd, bhsd, strided), not of const, of q's type of number
// says: can_be_written
#include "views.hpp"

void wrong_call() { pantile::attention(tensor<float>(), tensor<float>(), tensor<float>(), tensor<const float>()); }
