// says: pantile: what a call writes are views of tensors (bshd, bhsd, strided), not of const, of q's type of number
// says: can_be_written
#include "views.hpp"

struct own_input {
    operator pantile::tensor_view<const float>() const; // NOLINT(google-explicit-constructor)
};

void wrong_call() { pantile::attention(tensor<float>(), tensor<float>(), tensor<float>(), own_input()); }
