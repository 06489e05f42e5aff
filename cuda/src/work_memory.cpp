#include "work_memory.hpp"

#include <cstdint>
#include <string>

namespace pantile::inline v0::cuda {

work work_of(const forward_plan& plan) {
    if (plan.workspace_bytes == 0) return work::none;
    return plan.counts_items || plan.chosen->merges_splits ? work::shared : work::parts;
}

std::byte* offered_memory(std::span<std::byte> offered, index_t bytes) {
    if (static_cast<index_t>(offered.size()) < bytes) {
        throw invalid_argument("pantile: options.workspace has " + std::to_string(offered.size()) +
                               " bytes: this call needs " + std::to_string(bytes) + " (explain(...).workspace_bytes)");
    }
    if (reinterpret_cast<std::uintptr_t>(offered.data()) % 256 != 0) {
        throw invalid_argument("pantile: options.workspace is not 256-byte aligned");
    }
    return offered.data();
}

forward_arguments into_parts(const forward_arguments& a, dtype type, std::byte* memory) {
    forward_arguments parts = a;
    const index_t heads = a.shape.q_heads;
    const index_t length = a.shape.q_len;
    const index_t columns = a.shape.value_dim;
    const index_t rows = a.shape.batch * heads * length;
    const index_t bytes = bytes_of(computed_in(type));
    parts.kind = out_kind::partial;
    parts.shape.features.sinks = {}; // joined once, by the merge
    parts.out = memory;
    parts.out_layout = {heads * length * columns, length * columns, columns};
    parts.out_vectors = columns * bytes % 16 == 0;
    parts.split_stride_out = rows * columns;
    std::byte* const sums = memory + a.tiles.key_splits * rows * columns * bytes;
    parts.lse = sums;
    parts.max = sums + a.tiles.key_splits * rows * bytes;
    parts.lse_layout = parts.max_layout = {heads * length, length, 1};
    parts.split_stride_rows = rows;
    return parts;
}

} // namespace pantile::inline v0::cuda
