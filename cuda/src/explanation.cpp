#include "explanation.hpp"

#include "kernel_names.hpp"

#include <ostream>
#include <sstream>

namespace pantile::inline v0 {

namespace cuda {

device_explanation explained(const core::problem& shape, const forward_plan& plan, dtype type) {
    const kernel& chosen = *plan.chosen;
    core::problem p = shape;
    p.key_lengths = {}; // device memory: predicted for full lengths
    device_explanation e;
    e.kernel = std::string(name_of(chosen.kind)) + ", head dim up to " + std::to_string(chosen.dim);
    if (chosen.value_dim != chosen.dim) e.kernel += ", value dim up to " + std::to_string(chosen.value_dim);
    e.tiles = plan.tiles;
    e.heads_packed = plan.heads_packed;
    e.blocks = plan.blocks;
    e.threads = chosen.threads;
    e.shared_bytes = chosen.shared_bytes;
    e.workspace_bytes = plan.workspace_bytes;
    // Packed heads share a row tile, and so its K and V.
    core::problem packed = p;
    packed.q_heads = p.q_heads / e.heads_packed;
    e.traffic = core::forward_traffic(packed, {e.tiles.row_tile / e.heads_packed, e.tiles.key_tile, 1});
    e.traffic.q.reads *= e.heads_packed;
    e.traffic.out.writes *= e.heads_packed;
    e.traffic.lse.writes *= e.heads_packed;
    const core::transfers all = e.traffic.total();
    const index_t partials = e.tiles.key_splits > 1 ? e.workspace_bytes : 0; // written by the splits, read by the merge
    const index_t bytes = bytes_of(type);
    e.read_bytes = bytes * all.reads + partials;
    e.write_bytes =
        bytes * (all.writes - e.traffic.lse.writes) + bytes_of(computed_in(type)) * e.traffic.lse.writes + partials;
    e.flops = 2.0 * static_cast<double>(p.head_dim + p.value_dim) * static_cast<double>(core::visible_pairs(p));
    return e;
}

} // namespace cuda

std::string to_string(const device_explanation& e) {
    std::ostringstream text;
    text << "cuda: " << e.kernel << "\ntiles: " << e.tiles.row_tile << " rows";
    if (e.heads_packed > 1) text << " (" << e.heads_packed << " heads packed)";
    text << " x " << e.tiles.key_tile << " keys";
    if (e.tiles.key_splits > 1) text << ", keys in " << e.tiles.key_splits << " splits";
    text << "\nblocks: " << e.blocks << " of " << e.threads << " threads, " << e.shared_bytes
         << " bytes of shared memory each\nworkspace: " << e.workspace_bytes
         << " bytes\npredicted L2 traffic: " << e.read_bytes << " bytes read, " << e.write_bytes
         << " written\nwork: " << e.flops << " FLOP\n";
    return text.str();
}

std::ostream& operator<<(std::ostream& os, const device_explanation& e) { return os << to_string(e); }

} // namespace pantile::inline v0
