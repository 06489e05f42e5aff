// says: pantile: out and dout are views of tensors of q's type of number, lse is a view of rows of float
// says: of_computed_type
#include "views.hpp"

void wrong_call() {
    pantile::attention_backward(tensor<float>(), tensor<float>(), tensor<float>(), tensor<float>(), rows<double>(),
                                tensor<float>(), tensor<float>(), tensor<float>(), tensor<float>());
}
