/// \file
/// The kernel table of an instruction set. Instantiated in isa/, one file each, with that set's compiler flags.
#pragma once

#include "../backward/work_item.hpp"
#include "../forward/decode/machine.hpp"
#include "../forward/tile/machine.hpp"
#include "kernels.hpp"

namespace pantile::inline v0::cpu {

template <class Arch>
constexpr kernels kernels_of(pantile::isa isa, const char* name) {
    using f32 = xsimd::batch<float, Arch>;
    using f64 = xsimd::batch<double, Arch>;
    static_assert(core::forward_machine<tile_machine<f32>> && core::forward_machine<tile_machine<f64>>);
    static_assert(core::forward_machine<decode_machine<f32>> && core::forward_machine<decode_machine<f64>>);
    static_assert(core::backward_machine<backward::machine<f32, backward::work_item<f32>>> &&
                  core::backward_machine<backward::machine<f64, backward::work_item<f64>>>);
    return {isa,
            name,
            tile_kernels_of<f32>(),
            tile_kernels_of<f64>(),
            decode_kernels_of<f32>(),
            decode_kernels_of<f64>(),
            backward::kernels_of<f32>(),
            backward::kernels_of<f64>()};
}

} // namespace pantile::inline v0::cpu
