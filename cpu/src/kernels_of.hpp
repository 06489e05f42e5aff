/// \file
/// The kernel table of an instruction set. Instantiated in isa/, one file each, with that set's compiler flags.
#pragma once

#include "backward/work_item.hpp"
#include "decode/machine.hpp"
#include "machine.hpp"

namespace pantile::inline v0::cpu {

template <class Arch>
constexpr kernels kernels_of(pantile::isa isa, const char* name) {
    using f32 = xsimd::batch<float, Arch>;
    using f64 = xsimd::batch<double, Arch>;
    return {isa,
            name,
            forward_kernels_of<f32>(),
            forward_kernels_of<f64>(),
            decode_kernels_of<f32>(),
            decode_kernels_of<f64>(),
            backward::kernels_of<f32>(),
            backward::kernels_of<f64>()};
}

} // namespace pantile::inline v0::cpu
