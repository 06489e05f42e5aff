#include <ostream>
#include <sstream>

#include <pantile/attention.hpp>
#include <pantile/core/float_environment.hpp>

#include "../catalogue/dispatch.hpp"
#include "../threads/scratch.hpp"
#include "prepare.hpp"

namespace pantile::inline v0 {
using namespace cpu;

explanation erased::explain(const tensor_ref& q, const tensor_ref& k, const tensor_ref& v, const options& o) {
    const core::float_environment standard;
    const core::argument inputs[] = {core::describe("q", q), core::describe("k", k), core::describe("v", v)};
    const prepared p = prepare(inputs, o);
    const core::problem& problem = p.call.problem;
    explanation e;
    e.machine = "cpu";
    e.isa = p.isa->name;
    e.kernel = p.decode ? "decode" : "tile";
    e.tiles = p.call.plan;
    e.threads = static_cast<int>(p.threads);
    e.workspace_bytes = workspace::bytes(p.threads, p.scratch_bytes, p.shared_bytes);
    e.traffic = core::forward_traffic(problem, p.call.plan);
    if (p.decode && problem.group() > 1) { // K and V are read once for all heads of a group
        e.traffic.k.reads /= problem.group();
        e.traffic.v.reads /= problem.group();
    }
    const index_t size = bytes_of(q.type);
    const core::traffic& t = e.traffic;
    e.read_bytes = (t.q.reads + t.k.reads + t.v.reads) * size;
    e.write_bytes = t.out.writes * size + t.lse.writes * p.number_bytes;
    e.flops = 2.0 * static_cast<double>(problem.head_dim + problem.value_dim) *
              static_cast<double>(core::visible_pairs(problem));
    if (const char* why = why_not_amx(o.isa, wants_matrix_unit(problem, q.type))) {
        e.note = std::string("amx is not used: ") + why;
    }
    return e;
}

std::ostream& operator<<(std::ostream& os, const explanation& e) {
    const auto mib = [](index_t bytes) { return static_cast<double>(bytes) / (1 << 20); };
    std::ostringstream text; // the caller's stream keeps its formatting
    text.setf(std::ios::fixed);
    text.precision(2);
    text << "machine    " << e.machine << ", " << e.isa << ", " << e.kernel << " kernel, " << e.threads
         << (e.threads == 1 ? " thread" : " threads") << '\n'
         << "tiles      " << e.tiles.row_tile << " rows x " << e.tiles.key_tile << " keys";
    if (e.tiles.key_splits > 1) text << ", keys in " << e.tiles.key_splits << " splits";
    text << '\n'
         << "workspace  " << mib(e.workspace_bytes) << " MiB\n"
         << "reads      " << mib(e.read_bytes) << " MiB, writes " << mib(e.write_bytes) << " MiB (predicted)\n"
         << "work       " << e.flops / 1e9 << " GFLOP";
    if (!e.note.empty()) text << "\nnote       " << e.note;
    return os << text.str();
}

std::string to_string(const explanation& e) {
    std::ostringstream text;
    text << e;
    return text.str();
}

} // namespace pantile::inline v0
