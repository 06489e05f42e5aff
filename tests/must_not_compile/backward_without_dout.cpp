// says: pantile: attention_backward(q, k, v, out, lse, dout, dq, dk, dv), or by name attention_backward(q, k, v, out, lse, {.dout = dout}, {.dq = dq, .dk = dk, .dv = dv})
#include "views.hpp"

void wrong_call() {
    pantile::attention_backward(tensor<float>(), tensor<float>(), tensor<float>(), tensor<float>(), rows<float>(),
                                tensor<float>(), tensor<float>(), tensor<float>());
}
