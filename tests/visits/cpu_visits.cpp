// The machines themselves, compiled for the baseline as the library compiles them, with a note taken of each score.

#include "cpu_visits.hpp"

#include <type_traits>

#include <pantile/tensor.hpp>

#include "backward/machine.hpp"
#include "forward/amx/emulated_unit.hpp"
#include "forward/amx/machine.hpp"
#include "forward/decode/machine.hpp"
#include "forward/tile/machine.hpp"

namespace pantile::test {
namespace {

#if defined(PANTILE_X86)
using vector = xsimd::batch<float, xsimd::sse2>;
#else
using vector = xsimd::batch<float, xsimd::default_arch>;
#endif

template <class Machine>
class recorded : public Machine {
  public:
    recorded(visit_list& visits, const cpu::forward_call& call, const cpu::forward_work& work, const cpu::output& to,
             std::byte* scratch)
        : Machine(call, work, to, scratch), visits_(visits) {}

    void open(const core::row_tile& t) {
        row_tile_ = t.index;
        Machine::open(t);
    }
    template <class Tag>
    void score(const core::key_tile& t, Tag tag) {
        visits_.push_back({row_tile_, t.keys.begin, t.keys.end, std::is_same_v<Tag, core::full_tile> ? 1 : 0});
        Machine::score(t, tag);
    }

  private:
    visit_list& visits_;
    index_t row_tile_ = -1;
};

/// Of a machine that is given tensors of T.
template <class Machine, class T = float>
visit_list visits_of(const core::problem& p, const tile_plan& plan) {
    const auto numbers = [](index_t rows, index_t dim) { return std::vector<T>(static_cast<std::size_t>(rows * dim)); };
    std::vector<T> q = numbers(p.q_len, p.head_dim), k = numbers(p.k_len, p.head_dim);
    std::vector<T> v = numbers(p.k_len, p.value_dim), out = numbers(p.q_len, p.value_dim);
    const auto refer = [](std::vector<T>& x, index_t dim) {
        return tensor_ref{x.data(), dtype_of<T>, memory::host, 4, {}, {0, 0, dim, 1}};
    };
    const cpu::forward_call call{p, plan, refer(q, p.head_dim), refer(k, p.head_dim), refer(v, p.value_dim)};
    const cpu::output to{refer(out, p.value_dim), {}, {}, {}};
    std::vector<std::byte> scratch(static_cast<std::size_t>(Machine::scratch_bytes(call) + 64));
    const auto address = reinterpret_cast<std::uintptr_t>(scratch.data());
    std::byte* aligned = scratch.data() + (64 - address % 64) % 64;
    const core::sequence seq = p.sequence_of(0);
    const core::schedule tiles(p, seq, plan);
    visit_list visits;
    for (index_t i = 0; i < tiles.row_tiles(); ++i) {
        recorded<Machine> machine(visits, call, {0, 0, seq, i}, to, aligned);
        core::walk::forward(machine, tiles, i);
    }
    return visits;
}

/// The keys of the backward machine, all of them zeros, and where it adds their gradients.
class zero_keys {
  public:
    zero_keys(const core::problem& p, const cpu::backward::head_layout& layout)
        : head_dim_(p.head_dim), value_dim_(p.value_dim), padded_head_dim_(layout.padded_head_dim),
          padded_value_dim_(layout.padded_value_dim),
          rows_(static_cast<std::size_t>(p.k_len * (p.head_dim + p.value_dim))),
          gradients_(static_cast<std::size_t>(p.k_len * (padded_head_dim_ + padded_value_dim_))) {}

    cpu::backward::key_data<float> keys(core::span t) {
        return {rows_.data(),
                head_dim_,
                rows_.data(),
                value_dim_,
                gradients_.data() + t.begin * padded_head_dim_,
                gradients_.data() + t.begin * padded_value_dim_};
    }

  private:
    index_t head_dim_, value_dim_, padded_head_dim_, padded_value_dim_;
    std::vector<float> rows_, gradients_;
};

class recorded_backward : public cpu::backward::machine<vector, zero_keys> {
    using machine = cpu::backward::machine<vector, zero_keys>;

  public:
    template <class... Arguments>
    explicit recorded_backward(visit_list& visits, Arguments&&... arguments)
        : machine(std::forward<Arguments>(arguments)...), visits_(visits) {}

    void open(const core::key_tile& t) {
        key_tile_ = t.index;
        machine::open(t);
    }
    template <class Tag>
    void score(const core::row_tile& t, Tag tag) {
        visits_.push_back({key_tile_, t.rows.begin, t.rows.end, std::is_same_v<Tag, core::full_tile> ? 1 : 0});
        machine::score(t, tag);
    }

  private:
    visit_list& visits_;
    index_t key_tile_ = -1;
};

} // namespace

visit_list backward_machine_visits(const core::problem& p, const tile_plan& plan) {
    constexpr index_t panel = index_t{cpu::panel_vectors<vector>} * cpu::lanes<vector>;
    static_assert(panel == backward_panel);
    const cpu::backward::head_layout layout(p, panel, cpu::lanes<vector>);
    std::vector<float> memory(static_cast<std::size_t>(layout.size));
    std::vector<float> dqt(static_cast<std::size_t>(layout.padded_rows * p.head_dim));
    std::vector<float> scores(static_cast<std::size_t>(2 * plan.row_tile * plan.key_tile));
    cpu::backward::head_data<float> head;
    head.q_rows = memory.data() + layout.q;
    head.q_stride = layout.padded_head_dim;
    head.dout_rows = memory.data() + layout.dout;
    head.dout_stride = layout.padded_value_dim;
    head.qt = memory.data() + layout.qt;
    head.dot = memory.data() + layout.dot;
    head.reference = memory.data() + layout.reference;
    head.log_sum = memory.data() + layout.log_sum;
    head.delta = memory.data() + layout.delta;
    head.dqt = dqt.data();
    zero_keys source(p, layout);
    const core::schedule tiles(p, p.sequence_of(0), plan);
    visit_list visits;
    recorded_backward machine(visits, source, head, p, tiles.mask, layout, plan.row_tile, scores.data(),
                              scores.data() + plan.row_tile * plan.key_tile, nullptr, false); // no score function
    for (index_t t = 0; t < tiles.key_tiles(); ++t) core::walk::backward(machine, tiles, t);
    return visits;
}

visit_list matrix_machine_visits(const core::problem& p, const tile_plan& plan) {
    return visits_of<cpu::amx::tile_machine<cpu::amx::emulated_unit<vector>>, bfloat16>(p, plan);
}
visit_list tile_machine_visits(const core::problem& p, const tile_plan& plan) {
    return visits_of<cpu::tile_machine<vector>>(p, plan);
}
visit_list decode_machine_visits(const core::problem& p, const tile_plan& plan) {
    return visits_of<cpu::decode_machine<vector>>(p, plan);
}

} // namespace pantile::test
