/// \file
/// Gradients of what a call has one of a query head: the slopes of ALiBi, and sinks. Plain code, for every instruction set the same.
#pragma once

#include <pantile/results.hpp>

#include "call.hpp"

namespace pantile::inline v0::cpu::backward {

/// Doubles of call::slope_sums, where dslopes may be wanted: in memory that the threads share, each work item its own.
[[nodiscard]] index_t slope_sum_count(const call& c);

/// dslopes of head `h` from call::slope_sums, once all work items are done: batches and chunks of keys in index order.
void store_dslope(const call& c, index_t h, const head_gradients& to);

/// dsinks of head `h`: -Σ exp(sink - lse)·D over batches and rows that see a key, with D = dO·O. All sums in double, in index order.
void store_dsink(const call& c, index_t h, const head_gradients& to);

} // namespace pantile::inline v0::cpu::backward
