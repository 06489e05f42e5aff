// says: pantile: results by name are views, not of const: out, dq, dk and dv of tensors (bshd, bhsd, strided), lse of rows (bhs), of float, double, float16 or bfloat16
#include "views.hpp"

void wrong_call() {
    pantile::finish({tensor<float>(), rows<float>(), rows<float>()}, tensor<float>(), tensor<float>());
}
