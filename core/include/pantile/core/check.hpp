/// \file
/// Checks of a call's arguments, shared by every machine. All of them throw pantile::invalid_argument, before any work,
/// with a text that names the argument, its value and the limit.
#pragma once

#include <cstddef>

#include <pantile/core/macros.hpp>
#include <pantile/core/problem.hpp>
#include <pantile/core/tile_plan.hpp>

namespace pantile::core {

/// One argument in memory, whatever its element type and wherever it lives. Rank 4: (batch, heads, length, dim); rank 3:
/// (batch, heads, length); rank 1: no tensor, but an array.
struct argument {
    const char* name = "";
    const void* data = nullptr;
    int rank = 4;
    index_t extent[4] = {0, 0, 0, 0};
    index_t stride[4] = {0, 0, 0, 0}; ///< elements
    index_t element_bytes = 0;

    [[nodiscard]] bool empty() const {
        for (int i = 0; i < rank; ++i) {
            if (extent[i] == 0) return true;
        }
        return false;
    }
};

/// Describes a tensor_view, device_view or row_view.
template <class View>
[[nodiscard]] argument describe(const char* name, const View& view) {
    argument a;
    a.name = name;
    a.data = view.data;
    a.rank = static_cast<int>(view.extent.size());
    for (int i = 0; i < a.rank; ++i) {
        a.extent[i] = view.extent[static_cast<std::size_t>(i)];
        a.stride[i] = view.stride[static_cast<std::size_t>(i)];
    }
    a.element_bytes = static_cast<index_t>(sizeof(*view.data));
    return a;
}

/// The options that describe the problem, in plain form.
struct call {
    index_t left = unbounded;
    index_t right = unbounded;
    alignment align = alignment::bottom_right;
    index_t offset = 0;
    bool has_scale = false;
    double scale = 0;
    const index_t* key_lengths = nullptr;
    index_t key_lengths_count = 0; ///< 0: none given
    int threads = 0;
    tile_plan plan{}; ///< 0 in a field: to be chosen
};

/// Reads host or device options.
template <class Options>
[[nodiscard]] call describe(const Options& o) {
    call c{o.mask.left, o.mask.right, o.mask.align, o.mask.offset};
    c.has_scale = o.scale.has_value();
    c.scale = o.scale.value_or(0.0);
    c.key_lengths = o.key_lengths.data();
    c.key_lengths_count = static_cast<index_t>(o.key_lengths.size());
    c.plan = o.plan.value_or(tile_plan{0, 0, 0});
    if constexpr (requires { o.threads; }) c.threads = o.threads;
    return c;
}

/// Shapes of q, k, v and the options; returns the problem they describe.
[[nodiscard]] problem check_inputs(const argument& q, const argument& k, const argument& v, const call& options);

/// `t` must have q's batch, heads and length, and `dim` columns where its rank is 4.
void check_query_shape(const argument& t, const argument& q, index_t dim, const char* dim_is);

/// `t` must have the shape of `model`.
void check_same_shape(const argument& t, const argument& model);

/// What a call's options name in memory; empty where they name nothing.
struct option_memory {
    const index_t* key_lengths = nullptr; ///< read while outputs are written
    index_t key_lengths_count = 0;
    const std::byte* workspace = nullptr; ///< written while inputs are read
    index_t workspace_bytes = 0;
};

/// Each output must have strides under which its elements are distinct, and share no memory with another output or an
/// input. Tensors interleaved in one buffer (packed q, k, v) are told apart if their strides share a period. Key lengths
/// are an input; work memory must share nothing with any argument.
void check_memory(const argument* outputs, int output_count, const argument* inputs, int input_count,
                  const option_memory& options = {});

/// Could two tensors share a byte? False only where it is proven that they do not.
[[nodiscard]] bool may_overlap(const argument& a, const argument& b);

} // namespace pantile::core
