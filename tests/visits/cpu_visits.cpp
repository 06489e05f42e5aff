// The machines themselves, compiled for the baseline as the library compiles them, with a note taken of each score.

#include "cpu_visits.hpp"

#include <type_traits>

#include "decode/machine.hpp"
#include "machine.hpp"

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

template <class Machine>
visit_list visits_of(const core::problem& p, const tile_plan& plan) {
    const auto numbers = [](index_t rows, index_t dim) {
        return std::vector<float>(static_cast<std::size_t>(rows * dim));
    };
    std::vector<float> q = numbers(p.q_len, p.head_dim), k = numbers(p.k_len, p.head_dim);
    std::vector<float> v = numbers(p.k_len, p.value_dim), out = numbers(p.q_len, p.value_dim);
    const auto refer = [](std::vector<float>& x, index_t dim) {
        return tensor_ref{x.data(), dtype::fp32, memory::host, 4, {}, {0, 0, dim, 1}};
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

} // namespace

visit_list tile_machine_visits(const core::problem& p, const tile_plan& plan) {
    return visits_of<cpu::tile_machine<vector>>(p, plan);
}
visit_list decode_machine_visits(const core::problem& p, const tile_plan& plan) {
    return visits_of<cpu::decode_machine<vector>>(p, plan);
}

} // namespace pantile::test
