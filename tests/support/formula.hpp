/// \file
/// Attention as the textbook has it: every score in memory, one softmax a row, gradients by the chain rule. Written from
/// the definition, without the library's core, in any precision: long double and double are the reference, float is the
/// plain formula whose error the error rule compares with.
#pragma once

#include <optional>
#include <vector>

#include <support/tensor.hpp>

namespace pantile::test {

enum class anchor : unsigned char { bottom_right, top_left, explicit_offset };

/// One attention problem, later features included, so that the seams of the core can be tested.
struct attention_case {
    index_t batch = 1;
    index_t q_heads = 1;
    index_t kv_heads = 1;
    index_t q_len = 1;
    index_t k_len = 1;
    index_t head_dim = 1;
    index_t value_dim = 1;

    std::optional<index_t> left;  ///< none: unbounded
    std::optional<index_t> right; ///< none: unbounded
    anchor align = anchor::bottom_right;
    index_t offset = 0;               ///< with explicit_offset
    std::vector<index_t> key_lengths; ///< empty, or one a batch
    double scale = 1.0;

    double softcap = 0.0;             ///< 0: off
    std::vector<double> slopes;       ///< ALiBi, one a query head, or one a (batch, query head)
    std::vector<double> sinks;        ///< one a query head
    tensor<double> bias;              ///< empty, or (B, H, Sq, Sk), axes of extent 1 broadcast
    tensor<unsigned char> block_mask; ///< empty, or (1|B, 1|H, row blocks, key blocks)
    index_t block_rows = 0;
    index_t block_cols = 0;
    tensor<double> weight; ///< empty, or (B, H, Sq, Sk): what P is multiplied by after the sum (dropout)

    [[nodiscard]] extents q_extent() const { return {batch, q_heads, q_len, head_dim}; }
    [[nodiscard]] extents k_extent() const { return {batch, kv_heads, k_len, head_dim}; }
    [[nodiscard]] extents v_extent() const { return {batch, kv_heads, k_len, value_dim}; }
    [[nodiscard]] extents out_extent() const { return {batch, q_heads, q_len, value_dim}; }
    [[nodiscard]] extents lse_extent() const { return {batch, q_heads, q_len, 1}; }

    [[nodiscard]] index_t keys_of(index_t b) const {
        return key_lengths.empty() ? k_len : key_lengths[static_cast<std::size_t>(b)];
    }
    [[nodiscard]] index_t offset_of(index_t b) const {
        return align == anchor::top_left ? 0 : align == anchor::bottom_right ? keys_of(b) - q_len : offset;
    }
    /// How far key j lies from where row i stands, with its sign.
    [[nodiscard]] index_t distance(index_t b, index_t i, index_t j) const { return i + offset_of(b) - j; }
    /// Which of the slopes is that of (b, h).
    [[nodiscard]] std::size_t slope_place(index_t b, index_t h) const {
        return static_cast<std::size_t>(slopes_of_batches() ? b * q_heads + h : h);
    }
    [[nodiscard]] bool slopes_of_batches() const { return static_cast<index_t>(slopes.size()) > q_heads; }
    /// The definition of the mask, pair by pair. A bias of minus infinity masks too.
    [[nodiscard]] bool visible(index_t b, index_t h, index_t i, index_t j) const;
};

/// What goes in, as exact doubles.
struct attention_inputs {
    tensor<double> q, k, v, dout;
};

template <class Real>
struct forward_result {
    tensor<Real> out; ///< (B, Hq, Sq, E)
    tensor<Real> lse; ///< (B, Hq, Sq, 1), natural log
};

template <class Real>
struct backward_result {
    tensor<Real> dq, dk, dv;
    tensor<Real> dbias;          ///< the bias's extents, if there is one
    std::vector<Real> dsinks{};  ///< one a query head, if there are sinks
    std::vector<Real> dslopes{}; ///< as many as there are slopes: those of a query head are summed over batches
};

/// How the plain formula of a 16-bit call rounds P before P·V: matrix-unit kernels do, others keep fp32.
enum class p_rounding : unsigned char { none, to_float16, to_bfloat16 };

/// out and lse. Every operation in Real.
template <class Real>
[[nodiscard]] forward_result<Real> plain_forward(const attention_case& c, const attention_inputs& in,
                                                 p_rounding p = p_rounding::none);

/// Gradients, from the formula's own P and out. Every operation in Real.
template <class Real>
[[nodiscard]] backward_result<Real> plain_backward(const attention_case& c, const attention_inputs& in);

} // namespace pantile::test
