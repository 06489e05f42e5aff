// Ring attention (arXiv 2310.01889): each of P devices holds its share of the query rows and of the keys. The shares of K
// and V go round: in each of P rounds a device runs the forward walk of its rows against the share that it has, and passes
// the share on. O (normalised) and the log-sum-exp of a row rest in the device's far memory between rounds.

#include "algorithms/all.hpp"
#include "algorithms/key_parts.hpp"
#include "algorithms/row_stationary.hpp"
#include "closed_forms/visits.hpp"

namespace pantile::inline v0::simulator {

namespace {

bool sees_any(const core::schedule& plan, index_t row_tile) {
    const core::span range = plan.key_range(row_tile);
    return plan.next_key_tile(row_tile, range.begin, range).due != core::visit::skip;
}

/// All devices' work on one head.
class ring_of_devices {
  public:
    ring_of_devices(processor& p, const workload& w, const head_task& whole)
        : p_(p), w_(w), whole_(whole), shares_(whole.plan.key_tiles(), w.devices),
          visits_(static_cast<std::size_t>(whole.plan.row_tiles())) {
        for (index_t s = 0; s < shares_.count; ++s) keys_.push_back(part_of(whole, shares_, s));
        for (const head_task& share : keys_) {
            for (std::size_t i = 0; i < visits_.size(); ++i) {
                visits_[i] += sees_any(share.plan, static_cast<index_t>(i)) ? 1 : 0;
            }
        }
        left_ = visits_;
    }

    void run() {
        const index_t tiles = whole_.plan.row_tiles();
        const index_t tiles_each = core::ceil_div(tiles, w_.devices);
        finish_blind_rows();
        for (index_t round = 0; round < w_.devices; ++round) {
            for (index_t device = 0; device < w_.devices; ++device) {
                const index_t share = (device + w_.devices - round) % w_.devices;
                if (share >= shares_.count) continue;
                const head_task& task = keys_[static_cast<std::size_t>(share)];
                if (round > 0) receive(task);
                work(task, {device * tiles_each, std::min((device + 1) * tiles_each, tiles)});
            }
        }
    }

  private:
    /// K and V come from the device before, once for all query heads that share them.
    void receive(const head_task& task) {
        if (!w_.packed_heads && task.q_place % w_.group() != 0) return;
        const core::span keys = task.keys({0, task.plan.seq.k_len});
        p_.send(tensor::k, task.kv_place, keys, {0, w_.head_dim});
        p_.send(tensor::v, task.kv_place, keys, {0, w_.value_dim});
    }
    /// The device's row tiles that see any of these keys.
    void work(const head_task& task, core::span row_tiles) {
        row_stationary_forward machine(p_, w_, task, tensor::out, tensor::lse, task.q_place);
        for (index_t i = row_tiles.begin; i < row_tiles.end; ++i) {
            if (!sees_any(task.plan, i)) continue;
            index_t& left = left_[static_cast<std::size_t>(i)];
            if (left < visits_[static_cast<std::size_t>(i)]) machine.resume();
            const bool last = --left == 0;
            machine.results_to(last ? tensor::out : tensor::partial_out, last ? tensor::lse : tensor::partial_lse);
            core::walk::forward(machine, task.plan, i);
        }
    }
    /// Rows that see no key at all: out = 0, lse = -inf.
    void finish_blind_rows() {
        row_stationary_forward machine(p_, w_, whole_, tensor::out, tensor::lse, whole_.q_place);
        for (index_t i = 0; i < whole_.plan.row_tiles(); ++i) {
            if (visits_[static_cast<std::size_t>(i)] == 0) core::walk::forward(machine, whole_.plan, i);
        }
    }

    processor& p_;
    const workload& w_;
    const head_task& whole_;
    key_parts shares_;
    std::vector<head_task> keys_; ///< the rows against one device's share of the keys
    std::vector<index_t> visits_; ///< shares that a row tile sees
    std::vector<index_t> left_;   ///< of these, still to come
};

class ring_algorithm : public algorithm {
  public:
    std::string_view name() const override { return "ring"; }
    std::string_view summary() const override {
        return "fa2 over several devices, K and V go round (ring attention, arXiv 2310.01889; --devices)";
    }
    bool has(pass which) const override { return which == pass::forward; }
    bool block_sparse() const override { return false; }
    bool distributed() const override { return true; }

    void run(processor& p, const workload& w, pass, const tile_plan& plan) const override {
        for_each_head(w, plan, [&](const head_task& whole) { ring_of_devices(p, w, whole).run(); });
    }

    // A row tile is visited once for each share of the keys that it sees (and once if it sees none): Q comes in at each
    // visit; O and lse come in at each but the first and go out at each. Shares are whole key tiles: K and V as in fa2.
    counts formula(const workload& w, pass, const tile_plan& plan) const override {
        counts c;
        for (index_t b = 0; b < w.batch; ++b) {
            const head_sums s = sums_of(w, plan, b);
            tile_plan share = plan;
            share.key_tile *= std::max<index_t>(1, core::ceil_div(s.key_tiles, w.devices));
            const index_t visits = sums_of(w, share, b).rows;
            const index_t carried = product(s.heads, visits - s.seeing_rows);
            c.read(tensor::q, product(s.heads, visits + s.q - s.seeing_rows, w.head_dim));
            c.read(tensor::k, product(s.heads, s.keys, w.head_dim));
            c.read(tensor::v, product(s.heads, s.keys, w.value_dim));
            c.read(tensor::partial_out, product(carried, w.value_dim));
            c.read(tensor::partial_lse, carried);
            c.write(tensor::partial_out, product(carried, w.value_dim));
            c.write(tensor::partial_lse, carried);
            c.write(tensor::out, product(s.heads, s.q, w.value_dim));
            c.write(tensor::lse, product(s.heads, s.q));
        }
        return with_sent(c, sent_formula(w, pass::forward, plan));
    }

    // Each share of K and V makes P - 1 hops, whatever the mask: (P - 1)·k(d + e) a key/value head.
    counts sent_formula(const workload& w, pass, const tile_plan& plan) const override {
        counts c;
        for_each_batch(w, plan, [&](const head_sums& s) {
            const index_t keys = product(w.devices - 1, w.kv_heads, s.k);
            c.write(tensor::k, product(keys, w.head_dim));
            c.write(tensor::v, product(keys, w.value_dim));
        });
        return c;
    }
};

} // namespace

const algorithm* ring() {
    static const ring_algorithm a;
    return &a;
}

} // namespace pantile::inline v0::simulator
