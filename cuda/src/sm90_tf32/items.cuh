#pragma once

#include "../arguments.hpp"
#include "../sm90/order.hpp"
#if __has_include("../sm90/counter.cuh")
#include "../sm90/counter.cuh"
#endif

namespace pantile::cuda {

/// One thread of each block, before its first next_item().
template <class Arguments>
__device__ __forceinline__ void open_items(const Arguments& a) {
#if __has_include("../sm90/counter.cuh")
    if constexpr (
        requires { a.ticket; } && !requires { a.next_item; }) {
        if (a.workspace != nullptr) item_counter::of(a).open();
    }
#endif
}

/// The number of the block's row tile number `row` > 0; too large a number once, when there is none.
template <class Arguments>
__device__ __forceinline__ std::uint32_t next_item(const Arguments& a, unsigned row, const work_order& order) {
    if constexpr (requires { a.next_item; }) {
        if (a.next_item != nullptr) return order.blocks + atomicAdd(a.next_item, 1U);
    }
#if __has_include("../sm90/counter.cuh")
    else {
        if (a.workspace != nullptr) return item_counter::of(a).take(order.blocks, order.items);
    }
#endif
    return blockIdx.x + row * order.blocks;
}

} // namespace pantile::cuda
