/// \file
/// How a machine divides a thread's scratch.
#pragma once

#include <cstddef>

#include <pantile/core/macros.hpp>

#include "../micro/inline.hpp"

namespace pantile::inline v0::cpu {

/// Hands out aligned pieces of a thread's scratch; with no memory behind it, it only counts.
class arena {
  public:
    explicit PANTILE_INLINE arena(std::byte* base) : base_(base) {}
    template <class T>
    PANTILE_INLINE T* take(index_t count) {
        const index_t at = used_;
        used_ += core::round_up(count * static_cast<index_t>(sizeof(T)), 64);
        return base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + at);
    }
    PANTILE_INLINE index_t used() const { return used_; }

  private:
    std::byte* base_;
    index_t used_ = 0;
};

} // namespace pantile::inline v0::cpu
