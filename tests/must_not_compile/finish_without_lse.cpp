// says: pantile: finish takes a partial result, a view of tensors (out) and a view of rows (lse), all of float or all of double
#include "views.hpp"

void wrong_call() { pantile::finish(part<float>(), tensor<float>()); }
