/// \file
/// The machines of FlashAttention's key-stationary walks (arXiv 2205.14135, Algorithms 1 and 4).
#pragma once

#include <initializer_list>
#include <vector>

#include <pantile/core/schedule.hpp>
#include <pantile/simulator/processor.hpp>

#include "algorithms/score_stage.hpp"

namespace pantile::inline v0::simulator {

/// What Algorithm 1 keeps in far memory between visits.
inline constexpr std::initializer_list<tensor> fa1_outputs{tensor::out, tensor::row_max, tensor::row_sum};

/// Writes the starting values (0; of {row_max, row_sum} minus infinity and 0, or the row's sink) of the row tiles that are not `started` (empty: all).
void fa1_initialise(processor& p, const workload& w, const head_task& task, std::initializer_list<tensor> tensors,
                    const std::vector<bool>& started);
/// Writes dK = dV = 0, as Algorithm 4 does before its loops.
void fa1_initialise_keys(processor& p, const workload& w, const head_task& task);

class fa1_forward {
  public:
    /// started[i]: do O and {max, sum} of row tile i hold values yet? Set at the first visit.
    fa1_forward(processor& p, const workload& w, const head_task& task, std::vector<bool>& started);
    void open(const core::key_tile& t);
    void update(const core::row_tile& t);
    void close();

  private:
    void fold(core::span rows);

    processor& p_;
    const head_task& task_;
    std::vector<bool>& started_;
    score_stage stage_;
    index_t row_capacity_, key_capacity_;
    tile q_, k_, v_, o_, s_;
    tile max_, sum_, tile_max_, tile_sum_, new_max_, new_sum_; // m, l, m~, l~, m_new, l_new of Algorithm 1
    core::span keys_;
};

class fa1_backward {
  public:
    fa1_backward(processor& p, const workload& w, const head_task& task);
    void open(const core::key_tile& t);
    void update(const core::row_tile& t);
    void close();

  private:
    processor& p_;
    const head_task& task_;
    score_stage stage_;
    index_t dkv_place_;
    index_t row_capacity_, key_capacity_;
    tile q_, k_, v_, o_, dout_, dq_, dk_, dv_, p_tile_, ds_, max_, sum_, delta_;
    core::span keys_;
};

} // namespace pantile::inline v0::simulator
