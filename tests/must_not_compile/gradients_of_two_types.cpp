// says: pantile: dq, dk and dv are views of tensors, not of const, all of q's type of number
// says: same_type_of_number
#include "views.hpp"

void wrong_call() {
    const auto t = tensor<pantile::float16>();
    pantile::attention_backward(t, t, t, t, rows<float>(), t, tensor<float>(), t, t);
}
