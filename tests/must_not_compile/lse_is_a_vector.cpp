// says: pantile: after out comes lse, a view of rows (bhs) of float, of double where q is, in q's memory; or options, {.mask = causal()}; and a stream in calls on a device alone
// says: are_rows
#include "views.hpp"

void wrong_call() {
    std::vector<float> lse(8);
    pantile::attention(tensor<float>(), tensor<float>(), tensor<float>(), tensor<float>(), lse);
}
