#include <pantile/attention.hpp>

void call(const pantile::tensor_view<float>& t) { pantile::attention(t, t, t, t); }
