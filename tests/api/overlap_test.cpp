// Arguments that share memory: every pair of every function is refused with both names, or gives the result of arguments
// that lie apart.
#include <algorithm>
#include <cstring>
#include <string>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "api_call.hpp"

namespace pantile::test {
namespace {

/// What an argument is to a call.
enum class role : unsigned char { input, output, work };

/// One argument: some bytes of a buffer.
struct piece {
    const char* name = "";
    role is = role::input;
    index_t bytes = 0;
    index_t at = 0;        ///< in the buffer
    const char* twin = ""; ///< a documented form in place: this argument is the memory of that one
    bool numbers = true;   ///< floats; else key lengths or work memory
};

/// The functions of the page, on the same small problem in fp32.
enum class function : unsigned char { forward, forward_lse, partial, merge, finish, backward };

/// A call and where its arguments lie.
class placed_call {
  public:
    placed_call(function f, bool in_place, bool few_rows, int threads) : function_(f), q_len_(few_rows ? 1 : 21) {
        options_.threads = threads;
        options_.mask = causal();
        if (few_rows) options_.plan = tile_plan{0, 8, 3}; // splits share memory
        const auto floats = [](index_t n) { return n * index_t{4}; };
        const index_t q = floats(2 * heads * q_len_ * dim), k = floats(2 * kv_heads * k_len * dim);
        const index_t v = floats(2 * kv_heads * k_len * value_dim), o = floats(2 * heads * q_len_ * value_dim);
        const index_t rows = floats(2 * heads * q_len_);
        const auto add = [&](const char* name, role is, index_t bytes, const char* twin = "") {
            pieces_.push_back({name, is, bytes, 0, twin});
        };
        const auto add_part = [&](const char* out, const char* max, const char* sum, role is) {
            add(out, is, o), add(max, is, rows), add(sum, is, rows);
        };
        if (f == function::merge) {
            add_part("a.out", "a.max", "a.sum", role::input);
            add_part("b.out", "b.max", "b.sum", role::input);
            add_part("part.out", "part.max", "part.sum", role::output);
            if (in_place) {
                for (std::size_t n = 0; n < 3; ++n) pieces_[6 + n].twin = pieces_[n].name;
            }
        } else if (f == function::finish) {
            add_part("part.out", "part.max", "part.sum", role::input);
            add("out", role::output, o, in_place ? "part.out" : "");
            add("lse", role::output, rows);
        } else {
            add("q", role::input, q), add("k", role::input, k), add("v", role::input, v);
            if (f == function::partial) {
                add_part("part.out", "part.max", "part.sum", role::output);
            } else {
                add("out", f == function::backward ? role::input : role::output, o);
                if (f != function::forward) add("lse", f == function::backward ? role::input : role::output, rows);
            }
            if (f == function::backward) {
                add("dout", role::input, o);
                add("dq", role::output, q), add("dk", role::output, k), add("dv", role::output, v);
                add("dslopes", role::output, floats(heads)), add("dsinks", role::output, floats(heads));
            }
            add("options.slopes", role::input, floats(heads)), add("options.sinks", role::input, floats(heads));
            add("options.key_lengths", role::input, 2 * static_cast<index_t>(sizeof(index_t)));
            pieces_.back().numbers = false;
            add("options.workspace", role::work, workspace_bytes());
            pieces_.back().numbers = false;
        }
        for (piece& p : pieces_) {
            slot_ = std::max(slot_, 3 * core::round_up(p.bytes, 64));
            // What is in place with an output is written, too.
            for (const piece& other : pieces_) {
                if (std::string(other.twin) == p.name) p.is = role::output;
            }
        }
        // Each in the middle of a slot of its own: moved over another, it touches only that one.
        for (std::size_t n = 0; n < pieces_.size(); ++n) move(n, slot_ * static_cast<index_t>(n) + slot_ / 3);
    }

    [[nodiscard]] const std::vector<piece>& pieces() const { return pieces_; }
    [[nodiscard]] index_t buffer_bytes() const { return slot_ * static_cast<index_t>(pieces_.size()); }

    /// Puts an argument, and what is in place with it, somewhere else.
    void move(std::size_t number, index_t at) {
        const std::string name = pieces_[number].name;
        for (piece& p : pieces_) {
            if (name == p.name || name == p.twin || p.name == std::string(pieces_[number].twin)) p.at = at;
        }
    }

    /// Numbers for the inputs, also in what a workspace may lie on, and the key lengths.
    void fill(std::vector<std::byte>& buffer, std::uint64_t seed) const {
        attention_case c;
        c.q_len = 1;
        c.k_len = 97; // 97 numbers, over and over
        c.head_dim = c.value_dim = 1;
        const tensor<double> numbers = make_inputs(c, dtype::fp32, data_kind::normal, seed).k;
        for (const piece& p : pieces_) {
            for (index_t n = 0; p.numbers && n < p.bytes / 4; ++n) {
                // Sums of a partial result are positive.
                const auto x = static_cast<float>(std::abs(numbers.data[static_cast<std::size_t>(n % 97)]));
                std::memcpy(buffer.data() + p.at + 4 * n, &x, 4);
            }
        }
        const index_t lengths[] = {k_len, k_len - 5};
        if (const piece* p = find("options.key_lengths")) std::memcpy(buffer.data() + p->at, lengths, sizeof lengths);
    }

    void run(std::vector<std::byte>& buffer) const {
        const auto at = [&](const char* name) { return buffer.data() + find(name)->at; };
        const auto q_like = [&](const char* name) {
            return bhsd(reinterpret_cast<float*>(at(name)), 2, heads, q_len_, dim);
        };
        const auto out_like = [&](const char* name) {
            return bhsd(reinterpret_cast<float*>(at(name)), 2, heads, q_len_, value_dim);
        };
        const auto rows = [&](const char* name) { return bhs(reinterpret_cast<float*>(at(name)), 2, heads, q_len_); };
        const auto k_like = [&](const char* name) {
            return bhsd(reinterpret_cast<float*>(at(name)), 2, kv_heads, k_len, dim);
        };
        const auto v_like = [&](const char* name) {
            return bhsd(reinterpret_cast<float*>(at(name)), 2, kv_heads, k_len, value_dim);
        };
        const auto part = [&](const char* out, const char* max, const char* sum) {
            return partial_view<float>{out_like(out), rows(max), rows(sum)};
        };
        if (function_ == function::merge) {
            return merge(part("a.out", "a.max", "a.sum"), part("b.out", "b.max", "b.sum"),
                         part("part.out", "part.max", "part.sum"));
        }
        if (function_ == function::finish) {
            return finish(part("part.out", "part.max", "part.sum"), out_like("out"), rows("lse"));
        }
        const auto of_heads = [&](const char* name) { return reinterpret_cast<float*>(at(name)); };
        options o = options_;
        o.slopes = {of_heads("options.slopes"), heads};
        o.sinks = {of_heads("options.sinks"), heads};
        o.key_lengths = {reinterpret_cast<const index_t*>(at("options.key_lengths")), 2};
        o.workspace = {at("options.workspace"), static_cast<std::size_t>(find("options.workspace")->bytes)};
        const tensor_view<const float> q = q_like("q"), k = k_like("k"), v = v_like("v");
        switch (function_) {
        case function::forward:
            return attention(q, k, v, out_like("out"), o);
        case function::forward_lse:
            return attention(q, k, v, out_like("out"), rows("lse"), o);
        case function::partial:
            return attention_partial(q, k, v, part("part.out", "part.max", "part.sum"), o);
        default:
            return attention_backward(q, k, v, out_like("out"), rows("lse"), {.dout = out_like("dout")},
                                      {.dq = q_like("dq"),
                                       .dk = k_like("dk"),
                                       .dv = v_like("dv"),
                                       .dslopes = {of_heads("dslopes"), heads},
                                       .dsinks = {of_heads("dsinks"), heads}},
                                      o);
        }
    }

  private:
    static constexpr index_t heads = 2, kv_heads = 1, k_len = 40, dim = 5, value_dim = 3;

    [[nodiscard]] const piece* find(const std::string& name) const {
        for (const piece& p : pieces_) {
            if (name == p.name) return &p;
        }
        return nullptr;
    }
    [[nodiscard]] index_t workspace_bytes() const {
        const float x = 0.0F;
        const auto view = [&](index_t h, index_t n, index_t d) { return strided(&x, {2, h, n, d}, {0, 0, 0, 0}); };
        const auto q = view(heads, q_len_, dim), k = view(kv_heads, k_len, dim), v = view(kv_heads, k_len, value_dim);
        const float slopes[heads] = {};
        options o = options_;
        o.slopes = o.sinks = slopes;
        return (function_ == function::backward ? explain_backward(q, k, v, o) : explain(q, k, v, o)).workspace_bytes;
    }

    function function_;
    index_t q_len_;
    options options_;
    std::vector<piece> pieces_;
    index_t slot_ = 0;
};

/// Does the text name this argument, or the one that it is in place with?
bool names(const std::string& text, const placed_call& call, const piece& p) {
    const auto has = [&](const std::string& name) {
        return text.find(" " + name + " ") != std::string::npos || text.find(" " + name + ":") != std::string::npos;
    };
    if (has(p.name) || (*p.twin != '\0' && has(p.twin))) return true;
    return std::any_of(call.pieces().begin(), call.pieces().end(),
                       [&](const piece& other) { return std::string(other.twin) == p.name && has(other.name); });
}

RC_GTEST_PROP(overlap, of_any_two_arguments_is_refused_or_harmless, (std::uint64_t seed)) {
    using detail::chance;
    using detail::pick;
    const auto f = *rc::gen::element(function::forward, function::forward_lse, function::partial, function::merge,
                                     function::finish, function::backward);
    placed_call call(f, chance(50), chance(50), static_cast<int>(pick(1, 2)));
    const placed_call apart = call;
    const auto count = static_cast<index_t>(call.pieces().size());
    const auto first = static_cast<std::size_t>(pick(0, count - 1));
    const auto second = (first + static_cast<std::size_t>(pick(1, count - 1))) % call.pieces().size();
    const piece& mover = call.pieces()[first];
    const piece& other = call.pieces()[second];
    const bool in_place = std::string(mover.twin) == other.name || std::string(other.twin) == mover.name;
    const index_t unit =
        std::string(mover.name) == "options.key_lengths" || std::string(other.name) == "options.key_lengths" ? 8 : 4;
    if (!in_place) call.move(first, other.at + unit * pick(-mover.bytes / unit, other.bytes / unit));
    const std::string pair = std::string(mover.name) + " over " + other.name;
    RC_LOG() << pair << ": " << mover.at << " + " << mover.bytes << ", " << other.at << " + " << other.bytes << '\n';

    std::vector<std::byte> buffer(static_cast<std::size_t>(call.buffer_bytes()));
    call.fill(buffer, seed);
    std::vector<std::byte> own = buffer; // the same numbers, each argument in memory of its own
    for (std::size_t n = 0; n < call.pieces().size(); ++n) {
        const piece& p = call.pieces()[n];
        std::memcpy(own.data() + apart.pieces()[n].at, buffer.data() + p.at, static_cast<std::size_t>(p.bytes));
    }
    const std::vector<std::byte> before = buffer;
    try {
        call.run(buffer);
    } catch (const invalid_argument& e) {
        RC_LOG() << e.what() << '\n';
        RC_ASSERT(buffer == before);
        RC_ASSERT(names(e.what(), call, mover) && names(e.what(), call, other));
        RC_ASSERT(mover.is != role::input || other.is != role::input);
        RC_ASSERT(mover.at < other.at + other.bytes && other.at < mover.at + mover.bytes);
        return;
    }
    apart.run(own);
    for (std::size_t n = 0; n < call.pieces().size(); ++n) {
        const piece& p = call.pieces()[n];
        if (p.is != role::output) continue;
        RC_LOG() << p.name << '\n';
        RC_ASSERT(std::memcmp(buffer.data() + p.at, own.data() + apart.pieces()[n].at,
                              static_cast<std::size_t>(p.bytes)) == 0);
    }
}

/// The text of the refusal; empty if the call ran.
std::string refusal(const placed_call& call) {
    std::vector<std::byte> buffer(static_cast<std::size_t>(call.buffer_bytes()));
    call.fill(buffer, 1);
    try {
        call.run(buffer);
    } catch (const invalid_argument& e) {
        return e.what();
    }
    return "";
}

/// Every pair of every function: with one number in common, at either end, it is refused with both names, unless both are only
/// read; side by side it is not.
TEST(overlap, of_one_number_is_refused_and_neighbours_are_not) {
    constexpr auto merge = function::merge;
    constexpr auto finish = function::finish;
    for (const auto f :
         {function::forward, function::forward_lse, function::partial, merge, finish, function::backward}) {
        for (const bool in_place : {false, true}) {
            if (in_place && f != merge && f != finish) continue;
            const placed_call apart(f, in_place, true, 1);
            const auto count = apart.pieces().size();
            for (std::size_t i = 0; i < count; ++i) {
                for (std::size_t j = 0; j < count; ++j) {
                    const piece& mover = apart.pieces()[i];
                    const piece& other = apart.pieces()[j];
                    if (i == j || std::string(mover.twin) == other.name || std::string(other.twin) == mover.name) {
                        continue;
                    }
                    // Key lengths are aligned to 8 bytes, and so is then what lies beside them.
                    const bool aligned = mover.numbers && other.numbers;
                    const index_t unit = aligned ? 4 : 8;
                    const auto moved_to = [&](index_t at) {
                        placed_call call = apart;
                        call.move(i, at);
                        return refusal(call);
                    };
                    const index_t end = core::round_up(other.at + other.bytes, unit);
                    const index_t before = (other.at - mover.bytes) / unit * unit;
                    EXPECT_EQ(moved_to(end), "") << mover.name << " after " << other.name;
                    EXPECT_EQ(moved_to(before), "") << mover.name << " before " << other.name;
                    for (const index_t at : {end - unit, before + unit}) {
                        const std::string text = moved_to(at);
                        if (mover.is == role::input && other.is == role::input) {
                            EXPECT_EQ(text, "") << mover.name << " and " << other.name << " are read";
                            continue;
                        }
                        EXPECT_TRUE(names(text, apart, mover) && names(text, apart, other))
                            << mover.name << " over " << other.name << ": " << text;
                        EXPECT_NE(text.find(" overlaps "), std::string::npos) << text;
                    }
                }
            }
        }
    }
}

/// A part that is a's memory but for one thing, and so not in place.
TEST(overlap, of_a_part_that_is_nearly_in_place_is_refused) {
    std::vector<float> memory(600, 0.5F);
    const auto part_at = [&](index_t n) {
        return partial_view<float>{bhsd(memory.data() + n, 1, 3, 3, 4), bhs(memory.data() + n + 60, 1, 3, 3),
                                   bhs(memory.data() + n + 80, 1, 3, 3)};
    };
    const partial_view<float> a = part_at(0);
    const partial_view<float> b = part_at(200);
    const auto text = [&](const partial_view<float>& part) -> std::string {
        const std::vector<float> before = memory;
        try {
            merge(a, b, part);
        } catch (const invalid_argument& e) {
            EXPECT_EQ(memory, before);
            return e.what();
        }
        return "";
    };
    const std::string own = ": an output needs memory of its own";
    EXPECT_EQ(text(a), "");
    for (const index_t step : {-1, 1}) {
        partial_view<float> part = a;
        if (step > 0) {
            part.out.data += step;
            EXPECT_EQ(text(part), "pantile: part.out overlaps a.out" + own);
        }
        part = a;
        part.max.data += step;
        EXPECT_EQ(text(part), "pantile: part.out overlaps a.out" + own);
        part = a;
        part.sum.data += step;
        EXPECT_EQ(text(part), "pantile: part.out overlaps a.out" + own);
    }
    const auto swapped = [](auto view) { // heads and rows are equally many
        std::swap(view.stride[1], view.stride[2]);
        return view;
    };
    EXPECT_EQ(text({swapped(a.out), a.max, a.sum}), "pantile: part.out overlaps a.out" + own);
    EXPECT_EQ(text({a.out, swapped(a.max), a.sum}), "pantile: part.out overlaps a.out" + own);
    EXPECT_EQ(text({a.out, a.max, swapped(a.sum)}), "pantile: part.out overlaps a.out" + own);
    // Each tensor elsewhere, the other two in place.
    const partial_view<float> other = part_at(400);
    EXPECT_EQ(text({other.out, a.max, a.sum}), "pantile: part.max overlaps a.max" + own);
    EXPECT_EQ(text({a.out, other.max, a.sum}), "pantile: part.out overlaps a.out" + own);
    EXPECT_EQ(text({a.out, a.max, other.sum}), "pantile: part.out overlaps a.out" + own);
    EXPECT_EQ(text({other.out, other.max, a.sum}), "pantile: part.sum overlaps a.sum" + own);
    EXPECT_EQ(text(other), "");
    EXPECT_EQ(text(b), "pantile: part.out overlaps b.out" + own); // in place means a
}

TEST(overlap, of_a_result_that_is_nearly_in_place_is_refused) {
    std::vector<float> memory(600, 0.5F);
    const partial_view<float> part{bhsd(memory.data(), 1, 3, 3, 4), bhs(memory.data() + 60, 1, 3, 3),
                                   bhs(memory.data() + 80, 1, 3, 3)};
    const row_view<float> lse = bhs(memory.data() + 300, 1, 3, 3);
    const auto text = [&](const tensor_view<float>& out, const row_view<float>& rows) -> std::string {
        const std::vector<float> before = memory;
        try {
            finish(part, out, rows);
        } catch (const invalid_argument& e) {
            EXPECT_EQ(memory, before);
            return e.what();
        }
        return "";
    };
    const std::string own = ": an output needs memory of its own";
    tensor_view<float> out = part.out;
    out.data += 1;
    EXPECT_EQ(text(out, lse), "pantile: out overlaps part.out" + own);
    out = part.out;
    std::swap(out.stride[1], out.stride[2]);
    EXPECT_EQ(text(out, lse), "pantile: out overlaps part.out" + own);
    // In place, but for lse.
    EXPECT_EQ(text(part.out, part.max), "pantile: lse overlaps part.max" + own);
    EXPECT_EQ(text(part.out, part.sum), "pantile: lse overlaps part.sum" + own);
    EXPECT_EQ(text(part.out, bhs(memory.data() + 35, 1, 3, 3)), "pantile: lse overlaps out" + own);
    EXPECT_EQ(text(part.out, lse), "");
}

} // namespace
} // namespace pantile::test
