#include <pantile/simulator/panel_kernel.hpp>

#include <algorithm>
#include <array>
#include <string>

#include <pantile/core/walk.hpp>
#include <pantile/error.hpp>

namespace pantile::inline v0::simulator {

namespace {

constexpr index_t number = 4; // bytes
constexpr index_t line = 64;
constexpr index_t page = 4096;

/// Byte offsets of the arrays in a thread's scratch.
struct scratch_layout {
    index_t scores, tile_max, tile_sum, factor, reference, max, sum, q, o, end;

    scratch_layout(const workload& w, const tile_plan& plan, index_t panel_rows) {
        const index_t rows = std::min(plan.row_tile, w.q_len);
        const index_t keys = std::min(plan.key_tile, w.k_len);
        index_t at = 0;
        const auto take = [&](index_t count) {
            const index_t begin = at;
            at += core::round_up(count * number, line);
            return begin;
        };
        scores = take(keys * panel_rows);
        tile_max = take(panel_rows);
        tile_sum = take(panel_rows);
        factor = take(panel_rows);
        reference = take(panel_rows);
        take(2 * panel_rows); // bounds of visible keys, for masks
        max = take(rows);
        sum = take(rows);
        take(rows); // rows to walk again, for masks
        q = take(rows * w.head_dim);
        o = take(rows * w.value_dim);
        end = at;
    }
};

/// One head's machine of core's forward walk.
class panel_machine {
  public:
    panel_machine(const experiment& e, const panel_kernel& kernel, std::vector<cache>& levels, index_t& accesses)
        : w_(e.what), kernel_(kernel), at_(e.what, e.plan, kernel.panel_rows), levels_(levels), accesses_(accesses) {
        index_t next = core::round_up(kernel.scratch_bytes, page);
        for (const auto& [base, rows, columns] : {std::tuple{&q_, w_.q_len * w_.q_heads, w_.head_dim},
                                                  {&k_, w_.k_len * w_.kv_heads, w_.head_dim},
                                                  {&v_, w_.k_len * w_.kv_heads, w_.value_dim},
                                                  {&out_, w_.q_len * w_.q_heads, w_.value_dim}}) {
            *base = next;
            next = core::round_up(next + w_.batch * rows * columns * number, page);
        }
    }

    void begin_head(const head_task& task) {
        q_head_ = q_ + task.q_place * w_.q_len * w_.head_dim * number;
        k_head_ = k_ + task.kv_place * w_.k_len * w_.head_dim * number;
        v_head_ = v_ + task.kv_place * w_.k_len * w_.value_dim * number;
        out_head_ = out_ + task.q_place * w_.q_len * w_.value_dim * number;
    }

    /// Q comes in transposed; O, the maxima and the sums start.
    void open(const core::row_tile& t) {
        rows_ = t.rows;
        for_each_panel([&](index_t r, index_t rows, index_t width) {
            transpose(rows, w_.head_dim, q_head_ + (rows_.begin + r) * w_.head_dim * number, w_.head_dim, q_panel(r),
                      width);
            for (index_t i = 0; i < width * w_.value_dim; i += kernel_.lanes) write(o_panel(r) + i * number);
            for (index_t i = 0; i < width; i += kernel_.lanes) {
                write(at_.max + (r + i) * number);
                write(at_.sum + (r + i) * number);
            }
        });
    }
    void fetch_key(const core::key_tile&) {} // in place
    void fetch_value(const core::key_tile&) {}
    void score(const core::key_tile& t, core::full_tile) {
        const index_t keys = t.keys.size();
        const index_t k = k_head_ + t.keys.begin * w_.head_dim * number;
        const index_t v = v_head_ + t.keys.begin * w_.value_dim * number;
        for_each_panel([&](index_t r, index_t, index_t width) {
            each_vector(width, [&](index_t x) {
                write(at_.tile_max + x);
                write(at_.tile_sum + x);
            });
            // Scores: rows of K against Qᵀ.
            product(
                keys, w_.head_dim, width, q_panel(r),
                [&](index_t m, index_t depth) { return k + (m * w_.head_dim + depth) * number; },
                [&](index_t m0, index_t m1) {
                    each_vector(width, [&](index_t x) {
                        read(at_.tile_max + x);
                        for (index_t m = m0; m < m1; ++m) write(at_.scores + m * width * number + x);
                        write(at_.tile_max + x);
                    });
                });
            fold_and_exponentiate(r, keys, width);
            // P·V: columns of V against P, joined to O.
            product(
                w_.value_dim, keys, width, at_.scores,
                [&](index_t m, index_t depth) { return v + (depth * w_.value_dim + m) * number; },
                [&](index_t m0, index_t m1) {
                    each_vector(width, [&](index_t x) {
                        read(at_.factor + x);
                        for (index_t m = m0; m < m1; ++m) update(o_panel(r) + m * width * number + x);
                    });
                });
        });
    }
    void score(const core::key_tile& t, core::partial_tile) { score(t, core::full_tile{}); }
    void accumulate(const core::key_tile&) {}

    /// O goes out, transposed back and divided by the sums.
    void close() {
        for_each_panel([&](index_t r, index_t rows, index_t width) {
            for (index_t i = 0; i < width; ++i) {
                read(at_.max + (r + i) * number);
                read(at_.sum + (r + i) * number);
                write(at_.factor + i * number);
            }
            transpose(w_.value_dim, rows, o_panel(r), width, out_head_ + (rows_.begin + r) * w_.value_dim * number,
                      w_.value_dim, true);
        });
    }

  private:
    void touch(index_t address, bool is_write) {
        ++accesses_;
        const auto at = static_cast<std::uint64_t>(address / line);
        for (cache& level : levels_) {
            if (level.access(at, is_write).hit) return;
        }
    }
    void read(index_t address) { touch(address, false); }
    void write(index_t address) { touch(address, true); }
    void update(index_t address) {
        read(address);
        write(address);
    }

    [[nodiscard]] index_t q_panel(index_t r) const { return at_.q + r * w_.head_dim * number; }
    [[nodiscard]] index_t o_panel(index_t r) const { return at_.o + r * w_.value_dim * number; }

    template <class F>
    void for_each_panel(F&& f) {
        for (index_t r = 0; r < rows_.size(); r += kernel_.panel_rows) {
            const index_t rows = std::min(kernel_.panel_rows, rows_.size() - r);
            f(r, rows, core::round_up(rows, kernel_.lanes));
        }
    }
    /// f(byte offset) for each vector of a panel.
    template <class F>
    void each_vector(index_t width, F&& f) {
        for (index_t x = 0; x < width * number; x += kernel_.lanes * number) f(x);
    }

    /// C[m][·] = Σ_k A(m, k)·B[k][·] in blocks of rows: each step reads a row of B, then a number of A for each row.
    template <class A, class Epilogue>
    void product(index_t m_length, index_t k_length, index_t width, index_t b, A&& a, Epilogue&& finished) {
        const index_t block = kernel_.block_rows;
        const index_t rest = block == 6 && m_length % 6 == 2 && m_length > 6 ? 8 : m_length % block;
        for (index_t m = 0; m < m_length;) {
            const index_t left = m_length - m;
            const index_t rows = left > rest ? block : left >= 4 && block > 4 ? 4 : left >= 2 ? 2 : 1;
            for (index_t k = 0; k < k_length; ++k) {
                each_vector(width, [&](index_t x) { read(b + k * width * number + x); });
                for (index_t i = 0; i < rows; ++i) read(a(m + i, k));
            }
            finished(m, m + rows);
            m += rows;
        }
    }

    void fold_and_exponentiate(index_t r, index_t keys, index_t width) {
        each_vector(width, [&](index_t x) {
            read(at_.max + r * number + x);
            read(at_.sum + r * number + x);
            read(at_.tile_max + x);
            write(at_.factor + x);
            write(at_.reference + x);
            write(at_.max + r * number + x);
        });
        each_vector(width, [&](index_t x) {
            read(at_.tile_sum + x);
            read(at_.reference + x);
        });
        for (index_t k = 0; k < keys; ++k) {
            each_vector(width, [&](index_t x) { update(at_.scores + k * width * number + x); });
        }
        each_vector(width, [&](index_t x) { write(at_.tile_sum + x); });
        each_vector(width, [&](index_t x) {
            read(at_.factor + x);
            read(at_.tile_sum + x);
            update(at_.sum + r * number + x);
        });
    }

    /// to[c][r] = from[r][c], lanes × lanes numbers at a time; strides in numbers.
    void transpose(index_t rows, index_t columns, index_t from, index_t from_stride, index_t to, index_t to_stride,
                   bool scaled = false) {
        const index_t n = kernel_.lanes;
        for (index_t r_step = 0; r_step < rows; r_step += n) {
            const index_t r = std::min(r_step, std::max<index_t>(rows - n, 0));
            for (index_t c_step = 0; c_step < columns; c_step += n) {
                const index_t c = std::min(c_step, std::max<index_t>(columns - n, 0));
                for (index_t i = 0; i < std::min(n, rows); ++i) {
                    read(from + ((r + i) * from_stride + c) * number);
                    if (scaled) read(at_.factor + c * number);
                }
                for (index_t i = 0; i < std::min(n, columns); ++i) write(to + ((c + i) * to_stride + r) * number);
            }
        }
    }

    const workload& w_;
    panel_kernel kernel_;
    scratch_layout at_;
    std::vector<cache>& levels_;
    index_t& accesses_;
    index_t q_ = 0, k_ = 0, v_ = 0, out_ = 0; // bytes from the first of the scratch
    index_t q_head_ = 0, k_head_ = 0, v_head_ = 0, out_head_ = 0;
    core::span rows_;
};

static_assert(core::forward_machine<panel_machine>);

} // namespace

panel_kernel panel_kernel_of(const workload& w, const tile_plan& plan, index_t scratch_bytes, index_t lanes) {
    panel_kernel k{scratch_bytes, 0, 6, lanes};
    for (index_t panel = lanes; panel <= 8 * lanes; panel *= 2) {
        if (scratch_layout(w, plan, panel).end <= scratch_bytes) k.panel_rows = panel;
    }
    if (k.panel_rows == 0) {
        throw invalid_argument("scratch is " + std::to_string(scratch_bytes) +
                               " bytes: a kernel of these tiles needs " +
                               std::to_string(scratch_layout(w, plan, lanes).end));
    }
    return k;
}

kernel_lines run_panel_kernel(const experiment& e, const panel_kernel& kernel, const std::vector<cache_level>& levels) {
    e.what.check();
    if (e.what.type != dtype::fp32 || e.what.banded() || e.what.packed_heads || e.which != pass::forward) {
        throw invalid_argument("the kernel's lines are those of a forward pass in fp32 without a mask");
    }
    for (const cache_level& l : levels) {
        if (l.line_bytes != line) throw invalid_argument("cache " + l.name + " must have lines of 64 bytes");
    }
    std::vector<cache> caches;
    caches.reserve(levels.size());
    for (const cache_level& l : levels) caches.emplace_back(l);
    kernel_lines result;
    panel_machine machine(e, kernel, caches, result.accesses);
    for_each_head(e.what, e.plan, [&](const head_task& task) {
        machine.begin_head(task);
        for (index_t i = 0; i < task.plan.row_tiles(); ++i) core::walk::forward(machine, task.plan, i);
    });
    for (const cache& c : caches) result.levels.push_back(c.seen());
    return result;
}

} // namespace pantile::inline v0::simulator
