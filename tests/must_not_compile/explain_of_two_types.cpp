// says: pantile: q, k and v are views of tensors (bshd, bhsd, strided), all of the same type of number (float, double, float16, bfloat16), all in host memory; or all on a device (on_device), where calls take a stream
// says: same_type_of_number
#include "views.hpp"

void wrong_call() { (void)pantile::explain(tensor<float>(), tensor<double>(), tensor<float>()); }
