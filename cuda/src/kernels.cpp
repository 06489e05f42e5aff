#include "kernels.hpp"

namespace pantile::inline v0::cuda {

// Each table stands in the file of src/instances that compiles its kernels.
extern const kernel portable_64[4];
extern const kernel portable_96[4];
extern const kernel portable_128[4];
extern const kernel portable_192[4];
extern const kernel portable_256[4];
extern const kernel portable_scored_64[2];
extern const kernel portable_scored_96[2];
extern const kernel portable_scored_128[2];
extern const kernel portable_scored_192[2];
extern const kernel portable_scored_256[2];
extern const kernel decode_64[4];
extern const kernel decode_128[4];
extern const kernel decode_256[4];
extern const std::span<const kernel> wide_64;
extern const std::span<const kernel> wide_96;
extern const std::span<const kernel> wide_128;
extern const std::span<const kernel> wide_192;
extern const std::span<const kernel> wide_256;
extern const kernel f64_64[2];
extern const kernel f64_96[2];
extern const kernel f64_128[3];
extern const kernel f64_192[2];
extern const kernel f64_256[3];
extern const kernel sm90_f64[5];
extern const kernel f64_scored_64[2];
extern const kernel f64_scored_96[2];
extern const kernel f64_scored_128[3];
extern const kernel f64_scored_192[2];
extern const kernel f64_scored_256[3];
extern const kernel sm90_f64_scored[5];
extern const kernel sm90_tf32[6];
extern const kernel sm90_64[4];
extern const kernel sm90_128[2];
extern const kernel sm90_192[4];
extern const kernel sm90_256[2];
extern const kernel sm90_scored_64[4];
extern const kernel sm90_scored_128[2];
extern const kernel sm90_scored_192[4];
extern const kernel sm90_scored_256[2];

std::span<const std::span<const kernel>> kernel_tables() {
    // clang-format off
    static const std::span<const kernel> tables[] = {
        portable_64,        portable_96,        portable_128,        portable_192,        portable_256,
        portable_scored_64, portable_scored_96, portable_scored_128, portable_scored_192, portable_scored_256,
        decode_64,          decode_128,         decode_256,
        wide_64,            wide_96,            wide_128,            wide_192,            wide_256,
        f64_64,             f64_96,             f64_128,             f64_192,             f64_256,
        f64_scored_64,      f64_scored_96,      f64_scored_128,      f64_scored_192,      f64_scored_256,
        sm90_f64,           sm90_f64_scored,    sm90_tf32,
        sm90_64,            sm90_128,           sm90_192,            sm90_256,
        sm90_scored_64,     sm90_scored_128,    sm90_scored_192,     sm90_scored_256,
    };
    // clang-format on
    return tables;
}

} // namespace pantile::inline v0::cuda
