// says: pantile: what a call writes are views of tensors (bshd, bhsd, strided), not of const, of q's type of number
// says: are_tensors
#include "views.hpp"

void wrong_call() {
    std::vector<float> out(8);
    pantile::attention(tensor<float>(), tensor<float>(), tensor<float>(), out);
}
