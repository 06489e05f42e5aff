// says: pantile: results by name are views, not of const: out, dq, dk and dv of tensors (bshd, bhsd, strided), lse of rows (bhs), of float, double, float16 or bfloat16
#include "views.hpp"

void wrong_call() {
    pantile::attention_backward(tensor<float>(), tensor<float>(), tensor<float>(), tensor<float>(), rows<float>(),
                                {.dout = tensor<float>()},
                                {.dq = rows<float>(), .dk = tensor<float>(), .dv = tensor<float>()});
}
