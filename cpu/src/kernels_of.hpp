/// \file
/// The kernel table of an instruction set. Instantiated in isa/, one file each, with that set's compiler flags.
#pragma once

#include "machine.hpp"

namespace pantile::cpu {

template <class Arch>
constexpr kernels kernels_of(pantile::isa isa, const char* name) {
    return {isa, name, forward_kernels_of<xsimd::batch<float, Arch>>(),
            forward_kernels_of<xsimd::batch<double, Arch>>()};
}

} // namespace pantile::cpu
