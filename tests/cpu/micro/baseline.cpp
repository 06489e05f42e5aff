#include "table_of.hpp"

namespace pantile_test {

constinit const micro_table baseline_micro = micro_table_of<xsimd::sse2>(pantile::isa::baseline, "baseline");

} // namespace pantile_test
