/// \file
/// The plainest machine that the core's walks can drive: one head in fp64, loops over pairs, and all that attention may want:
/// logits policies, a sink, a tile map, a locator, a weight on P, partial results, all gradients.
/// It shows what a machine has to do, and it holds the walks to account: a tile said to be full must be.
#pragma once

#include <cmath>
#include <stdexcept>
#include <vector>

#include <pantile/core/online_softmax.hpp>
#include <pantile/core/walk.hpp>

#include <support/plain_locator.hpp>
#include <support/plain_logits.hpp>

namespace pantile::test {

/// One head as rows of doubles, dense. K and V are pools of rows: a locator says which row holds which key.
struct plain_head {
    index_t batch = 0;
    index_t head = 0;
    index_t head_dim = 0;
    index_t value_dim = 0;
    const double* q = nullptr;
    const double* k = nullptr;
    const double* v = nullptr;
};

/// A row's unfinished result: {max, sum} in base 2, and O.
struct plain_partial {
    std::vector<core::softmax_state<double>> state;
    std::vector<double> out; ///< (rows, value_dim)
};

template <class Logits, class Weight = unit_weight, class Locator = contiguous_keys>
class plain_forward_machine {
  public:
    using softmax = core::online_softmax<core::scalar_ops<double>>;

    /// `sink` is the natural logit of a sink, or null; the result goes to `into`, which has room for all rows.
    plain_forward_machine(const core::schedule& plan, const plain_head& head, const Logits& logits,
                          const Weight& weight, const Locator& locator, const double* sink, plain_partial& into)
        : plan_(plan), head_(head), logits_(logits), weight_(weight), locator_(locator), sink_(sink), into_(into) {}

    void open(const core::row_tile& t) {
        rows_ = t.rows;
        for (index_t i = rows_.begin; i < rows_.end; ++i) {
            state(i) = sink_ != nullptr ? softmax::start(*sink_ * core::log2_e, 1.0) : softmax::start();
            for (index_t x = 0; x < head_.value_dim; ++x) out(i)[x] = 0.0;
        }
    }
    void fetch_key(const core::key_tile& t) { key_at_hand_ = t.index; }
    void fetch_value(const core::key_tile& t) { value_at_hand_ = t.index; }

    template <class Tag>
    void score(const core::key_tile& t, Tag) {
        if (key_at_hand_ != t.index) throw std::logic_error("score of a tile that was not fetched");
        const index_t width = t.keys.size();
        p_.assign(static_cast<std::size_t>(rows_.size() * width), 0.0);
        factor_.assign(static_cast<std::size_t>(rows_.size()), 0.0);
        for (index_t i = rows_.begin; i < rows_.end; ++i) {
            double* const y = p_.data() + (i - rows_.begin) * width;
            double tile_max = -HUGE_VAL;
            for (index_t j = t.keys.begin; j < t.keys.end; ++j) {
                const bool visible = plan_.visible(i, j);
                if (std::is_same_v<Tag, core::full_tile> && !visible)
                    throw std::logic_error("a hidden pair in a full tile");
                y[j - t.keys.begin] = visible ? logit(i, j) * core::log2_e : -HUGE_VAL;
                tile_max = std::fmax(tile_max, y[j - t.keys.begin]);
            }
            const double factor = softmax::raise(state(i), tile_max);
            double sum = 0.0;
            for (index_t n = 0; n < width; ++n) sum += y[n] = std::exp2(y[n] - softmax::reference(state(i)));
            state(i).sum = state(i).sum * factor + sum;
            factor_[static_cast<std::size_t>(i - rows_.begin)] = factor;
        }
    }

    void accumulate(const core::key_tile& t) {
        if (value_at_hand_ != t.index) throw std::logic_error("accumulate of a tile that was not fetched");
        for (index_t i = rows_.begin; i < rows_.end; ++i) {
            const double* const p = p_.data() + (i - rows_.begin) * t.keys.size();
            for (index_t x = 0; x < head_.value_dim; ++x) {
                double sum = 0.0;
                for (index_t j = t.keys.begin; j < t.keys.end; ++j) {
                    sum += p[j - t.keys.begin] * static_cast<double>(weight_(at(i, j))) * value_row(j)[x];
                }
                out(i)[x] = out(i)[x] * factor_[static_cast<std::size_t>(i - rows_.begin)] + sum;
            }
        }
    }
    void close() {}

  private:
    [[nodiscard]] pair_index at(index_t i, index_t j) const {
        return {head_.batch, head_.head, plan_.seq.q_begin + i, plan_.seq.k_begin + j};
    }
    [[nodiscard]] const double* key_row(index_t j) const {
        return head_.k + locator_.row(head_.batch, plan_.seq.k_begin + j) * head_.head_dim;
    }
    [[nodiscard]] const double* value_row(index_t j) const {
        return head_.v + locator_.row(head_.batch, plan_.seq.k_begin + j) * head_.value_dim;
    }
    [[nodiscard]] double logit(index_t i, index_t j) const {
        const double* const q = head_.q + (plan_.seq.q_begin + i) * head_.head_dim;
        const double* const k = key_row(j);
        double s = 0.0;
        for (index_t x = 0; x < head_.head_dim; ++x) s += q[x] * k[x];
        return logits_.value(s, at(i, j));
    }
    core::softmax_state<double>& state(index_t i) {
        return into_.state[static_cast<std::size_t>(plan_.seq.q_begin + i)];
    }
    double* out(index_t i) { return into_.out.data() + (plan_.seq.q_begin + i) * head_.value_dim; }

    core::schedule plan_;
    plain_head head_;
    Logits logits_;
    Weight weight_;
    Locator locator_;
    const double* sink_;
    plain_partial& into_;
    core::span rows_{};
    index_t key_at_hand_ = -1;
    index_t value_at_hand_ = -1;
    std::vector<double> p_;
    std::vector<double> factor_;
};

/// Where a backward walk adds one head's gradients. dk and dv are pools like k and v.
struct plain_gradients {
    double* dq = nullptr;
    double* dk = nullptr;
    double* dv = nullptr;
    double* dbias = nullptr;  ///< laid out like the bias of the logits policy, or null
    double* dslope = nullptr; ///< of the head's ALiBi, or null
    index_t offset = 0;       ///< the mask's, for dslope
};

template <class Logits, class Weight = unit_weight, class Locator = contiguous_keys>
class plain_backward_machine {
  public:
    /// `lse` natural, `delta` = rowsum(dout ∘ out), one a row.
    plain_backward_machine(const core::schedule& plan, const plain_head& head, const Logits& logits,
                           const Weight& weight, const Locator& locator, const double* dout, const double* lse,
                           const double* delta, const plain_gradients& into)
        : plan_(plan), head_(head), logits_(logits), weight_(weight), locator_(locator), dout_(dout), lse_(lse),
          delta_(delta), into_(into) {}

    void open(const core::key_tile& t) {
        keys_ = t.keys;
        dk_.assign(static_cast<std::size_t>(keys_.size() * head_.head_dim), 0.0);
        dv_.assign(static_cast<std::size_t>(keys_.size() * head_.value_dim), 0.0);
    }
    void fetch_row(const core::row_tile& t) { row_at_hand_ = t.index; }

    template <class Tag>
    void score(const core::row_tile& t, Tag) {
        if (row_at_hand_ != t.index) throw std::logic_error("score of a row tile that was not fetched");
        p_.assign(static_cast<std::size_t>(t.rows.size() * keys_.size()), 0.0);
        s_.assign(p_.size(), 0.0);
        for (index_t i = t.rows.begin; i < t.rows.end; ++i) {
            for (index_t j = keys_.begin; j < keys_.end; ++j) {
                const bool visible = plan_.visible(i, j);
                if (std::is_same_v<Tag, core::full_tile> && !visible)
                    throw std::logic_error("a hidden pair in a full tile");
                if (!visible || lse_[row(i)] == -HUGE_VAL) continue;
                double s = 0.0;
                for (index_t x = 0; x < head_.head_dim; ++x) {
                    s += head_.q[row(i) * head_.head_dim + x] * head_.k[pool(j) * head_.head_dim + x];
                }
                s_[place(t, i, j)] = s;
                p_[place(t, i, j)] = std::exp2((logits_.value(s, at(i, j)) - lse_[row(i)]) * core::log2_e);
            }
        }
    }

    void gradients(const core::row_tile& t) {
        const index_t d = head_.head_dim;
        const index_t e = head_.value_dim;
        for (index_t i = t.rows.begin; i < t.rows.end; ++i) {
            for (index_t j = keys_.begin; j < keys_.end; ++j) {
                if (!plan_.visible(i, j)) continue;
                const double p = p_[place(t, i, j)];
                const auto weight = static_cast<double>(weight_(at(i, j)));
                double dp = 0.0;
                for (index_t x = 0; x < e; ++x) {
                    dp += dout_[row(i) * e + x] * head_.v[pool(j) * e + x];
                    dv_[static_cast<std::size_t>((j - keys_.begin) * e + x)] += p * weight * dout_[row(i) * e + x];
                }
                const double dlogit = p * (dp * weight - delta_[row(i)]);
                add_bias_gradient(at(i, j), dlogit);
                add_slope_gradient(at(i, j), dlogit);
                const double ds = dlogit * logits_.derivative(s_[place(t, i, j)], at(i, j));
                for (index_t x = 0; x < d; ++x) {
                    dk_[static_cast<std::size_t>((j - keys_.begin) * d + x)] += ds * head_.q[row(i) * d + x];
                    into_.dq[row(i) * d + x] += ds * head_.k[pool(j) * d + x];
                }
            }
        }
    }

    void close() {
        for (index_t j = keys_.begin; j < keys_.end; ++j) {
            for (index_t x = 0; x < head_.head_dim; ++x) {
                into_.dk[pool(j) * head_.head_dim + x] +=
                    dk_[static_cast<std::size_t>((j - keys_.begin) * head_.head_dim + x)];
            }
            for (index_t x = 0; x < head_.value_dim; ++x) {
                into_.dv[pool(j) * head_.value_dim + x] +=
                    dv_[static_cast<std::size_t>((j - keys_.begin) * head_.value_dim + x)];
            }
        }
    }

  private:
    [[nodiscard]] index_t row(index_t i) const { return plan_.seq.q_begin + i; }
    [[nodiscard]] index_t pool(index_t j) const { return locator_.row(head_.batch, plan_.seq.k_begin + j); }
    [[nodiscard]] pair_index at(index_t i, index_t j) const {
        return {head_.batch, head_.head, row(i), plan_.seq.k_begin + j};
    }
    [[nodiscard]] std::size_t place(const core::row_tile& t, index_t i, index_t j) const {
        return static_cast<std::size_t>((i - t.rows.begin) * keys_.size() + j - keys_.begin);
    }
    void add_bias_gradient(const pair_index& where, double dlogit) {
        if constexpr (requires { logits_.place(where); }) {
            if (into_.dbias != nullptr) into_.dbias[logits_.place(where)] += dlogit;
        }
    }
    void add_slope_gradient(const pair_index& where, double dlogit) {
        if (into_.dslope == nullptr) return;
        *into_.dslope -= dlogit * std::abs(static_cast<double>(where.row + into_.offset - where.key));
    }

    core::schedule plan_;
    plain_head head_;
    Logits logits_;
    Weight weight_;
    Locator locator_;
    const double* dout_;
    const double* lse_;
    const double* delta_;
    plain_gradients into_;
    core::span keys_{};
    index_t row_at_hand_ = -1;
    std::vector<double> p_, s_, dk_, dv_;
};

} // namespace pantile::test
