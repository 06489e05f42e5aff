// says: pantile: out and dout are views of tensors of q's type of number, lse is a view of rows of float
// says: same_type_of_number
#include "views.hpp"

void wrong_call() {
    const auto t = tensor<pantile::float16>();
    pantile::attention_backward(t, t, t, t, rows<float>(), tensor<float>(), t, t, t);
}
