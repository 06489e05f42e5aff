// says: pantile: dq, dk and dv are views of tensors, not of const, all of q's type of number
// says: of_results_type
#include "views.hpp"

void wrong_call() {
    pantile::attention_backward(tensor<float>(), tensor<float>(), tensor<float>(), tensor<float>(), rows<float>(),
                                tensor<float>(), tensor<double>(), tensor<float>(), tensor<float>());
}
