// says: pantile: attention_partial(q, k, v, part), part a partial_view; on a device a device_partial_view, and a stream follows
#include "views.hpp"

void wrong_call() { pantile::attention_partial(tensor<float>(), tensor<float>(), tensor<float>()); }
