// says: pantile: after out comes lse, a view of rows (bhs) of float, of double where q is, in q's memory; or options, {.mask = causal()}; and a stream in calls on a device alone
// says: of_computed_type
#include "views.hpp"

void wrong_call() {
    pantile::attention(tensor<float>(), tensor<float>(), tensor<float>(), tensor<float>(), rows<double>());
}
