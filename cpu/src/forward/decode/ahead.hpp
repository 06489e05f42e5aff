/// \file
/// Software prefetch for a machine that reads every byte once.
#pragma once

#include <pantile/core/macros.hpp>

#include "../../micro/inline.hpp"

namespace pantile::inline v0::cpu::decode {

/// Rows that the next step will read, asked for into L2 while this step computes, key by key: with much arithmetic a key
/// the instructions in flight span too few keys for memory to be kept busy.
struct ahead {
    const char* row = nullptr; ///< of this step's first key
    index_t stride = 0;        ///< bytes
    index_t lines = 0;         ///< of 64 bytes, a row; 0: nothing is asked for

    /// `count` lines from line `first` on of the row that belongs to key `key`.
    PANTILE_INLINE void ask(index_t key, index_t first, index_t count) const {
        const char* p = row + key * stride + first * 64;
        for (index_t i = 0; i < count; ++i) __builtin_prefetch(p + i * 64, 0, 2);
    }
};

} // namespace pantile::inline v0::cpu::decode
