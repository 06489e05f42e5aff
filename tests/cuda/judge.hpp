#pragma once

#include "run.hpp"

#include <support/error_rule.hpp>

#include <string>
#include <vector>

namespace pantile::test {

/// Layouts that the device serves: the last dim contiguous.
inline const std::vector<layout> device_inputs = {layout::bhsd,
                                                  layout::bshd,
                                                  layout::padded,
                                                  layout::reversed,
                                                  layout::broadcast_batch,
                                                  layout::broadcast_heads,
                                                  layout::broadcast_length};
inline const std::vector<layout> device_outputs = {layout::bhsd, layout::bshd, layout::padded, layout::reversed};

/// How the device rounds P before its product with V, and adds up scores.
p_rounding rounding_of(dtype t);
score_sums sums_of(dtype t, cuda_kernel kernel);

/// Two batches, two query heads a kv head, the usual scale.
attention_case case_of(index_t q_len, index_t k_len, index_t dim, bool causal);

/// One forward call with inputs of type `t` and an output of type `out`.
gpu_result forward_on_gpu(const attention_case& c, const attention_inputs& in, dtype t, dtype out,
                          const gpu_call& call);

/// The verdict on one call, against the exact answer by the error rule; empty: all is well.
std::string judge(const attention_case& c, const attention_inputs& in, dtype t, dtype out, const gpu_call& call);

/// Visible NaN reaches the rows that see it and no others: a causal case of 70 rows whose key 20 of one head is NaN.
void expect_visible_nan_shows(dtype t, const gpu_call& call);

/// Key lengths out of range, which no host sees, count as 0 and as all keys.
void expect_key_lengths_are_clamped(dtype t, const gpu_call& call);

/// `count` calls on the same inputs give the same bits, the log-sum-exp's among them.
void expect_same_bits(const attention_case& c, dtype t, dtype out, const gpu_call& call, int count);

} // namespace pantile::test
