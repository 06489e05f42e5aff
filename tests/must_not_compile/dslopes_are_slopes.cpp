// says: pantile: dslopes and dsinks are numbers of type float or double, not const, one a query head
#include "views.hpp"

void wrong_call() {
    const pantile::head_numbers slopes;
    const auto t = tensor<float>();
    pantile::attention_backward(t, t, t, t, rows<float>(), {.dout = t}, {.dq = t, .dk = t, .dv = t, .dslopes = slopes});
}
