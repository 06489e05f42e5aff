#include "table_of.hpp"

namespace pantile_test {

constinit const micro_table avx2_micro = micro_table_of<xsimd::fma3<xsimd::avx2>>(pantile::isa::avx2, "avx2");

} // namespace pantile_test
