#include "table_of.hpp"

namespace pantile_test {

constinit const micro_table avx512_micro = micro_table_of<xsimd::avx512bw>(pantile::isa::avx512, "avx512");

} // namespace pantile_test
