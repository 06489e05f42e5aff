// Every function of pantile.h gives the bits that the C++ function gives, in all four types, under every option.
#include <cmath>
#include <functional>

#include <gtest/gtest.h>

#include "c_tensor.hpp"

namespace pantile::test {
namespace {

constexpr index_t batch = 2, q_heads = 4, kv_heads = 2, q_len = 37, k_len = 75, head_dim = 24, value_dim = 20;

template <class T>
class same_bits_in : public testing::Test {
  protected:
    using computed = std::conditional_t<std::is_same_v<T, double>, double, float>;

    std::vector<T> q = random_numbers<T>(batch * q_heads * q_len * head_dim, 1);
    std::vector<T> k = random_numbers<T>(batch * kv_heads * k_len * head_dim, 2);
    std::vector<T> v = random_numbers<T>(batch * kv_heads * k_len * value_dim, 3);
    std::vector<T> dout = random_numbers<T>(batch * q_heads * q_len * value_dim, 4);

    tensor_view<const T> q_view() const { return bshd<const T>(q.data(), batch, q_len, q_heads, head_dim); }
    tensor_view<const T> k_view() const { return bhsd<const T>(k.data(), batch, kv_heads, k_len, head_dim); }
    tensor_view<const T> v_view() const { return bhsd<const T>(v.data(), batch, kv_heads, k_len, value_dim); }
    tensor_view<const T> dout_view() const { return bhsd<const T>(dout.data(), batch, q_heads, q_len, value_dim); }
    pantile_tensor cq = in_c(q_view()), ck = in_c(k_view()), cv = in_c(v_view());

    template <class U>
    static tensor_view<U> out_view(std::vector<U>& x) {
        return bhsd(x.data(), batch, q_heads, q_len, value_dim);
    }
    static row_view<computed> rows_view(std::vector<computed>& x) { return bhs(x.data(), batch, q_heads, q_len); }
    static std::vector<computed> rows() { return std::vector<computed>(batch * q_heads * q_len, computed(5)); }

    struct forward_results {
        std::vector<T> out;
        std::vector<computed> lse;
    };
    forward_results by_cpp(const options& o) const {
        forward_results r{dout, rows()};
        attention(q_view(), k_view(), v_view(), out_view(r.out), rows_view(r.lse), o);
        return r;
    }
    forward_results by_c(const pantile_options* o) const {
        forward_results r{dout, rows()};
        const pantile_results to = {sizeof to, in_c(out_view(r.out)), in_c(rows_view(r.lse))};
        EXPECT_EQ(pantile_attention(&cq, &ck, &cv, &to, o), PANTILE_OK) << pantile_message();
        return r;
    }
};

using types = testing::Types<float, double, float16, bfloat16>;
TYPED_TEST_SUITE(same_bits_in, types);

struct option_case {
    const char* name;
    std::function<void(options&)> cpp;
    std::function<void(pantile_options&)> c;
    bool changes_forward = true; ///< the answer, against that without options
};

const std::int32_t lengths[] = {50, 3};
const float slopes[] = {0.5F, 0.25F, 0.125F, 0.0625F};
const double slopes_of_batches[] = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8};
const double sinks[] = {0.5, -1, 3, -HUGE_VAL};

std::vector<option_case> option_cases() {
    std::vector<option_case> all;
    all.push_back({"mask", [](auto& o) { o.mask = window(9, 2, alignment::top_left); },
                   [](auto& o) { o.mask = pantile_window(9, 2, PANTILE_TOP_LEFT); }});
    all.push_back({"offset", [](auto& o) { o.mask = causal().at_offset(-4); },
                   [](auto& o) { o.mask = pantile_at_offset(pantile_causal(PANTILE_BOTTOM_RIGHT), -4); }});
    all.push_back({"scale", [](auto& o) { o.scale = -0.3; },
                   [](auto& o) {
                       o.has_scale = 1;
                       o.scale = -0.3;
                   }});
    all.push_back({"softcap", [](auto& o) { o.softcap = 2.5; }, [](auto& o) { o.softcap = 2.5; }});
    all.push_back({"slopes", [](auto& o) { o.slopes = slopes; },
                   [](auto& o) {
                       o.slopes = {slopes, 4, PANTILE_FP32, PANTILE_HOST};
                   }});
    all.push_back({"slopes of batches", [](auto& o) { o.slopes = slopes_of_batches; },
                   [](auto& o) {
                       o.slopes = {slopes_of_batches, 8, PANTILE_FP64, PANTILE_HOST};
                   }});
    all.push_back({"sinks", [](auto& o) { o.sinks = sinks; },
                   [](auto& o) {
                       o.sinks = {sinks, 4, PANTILE_FP64, PANTILE_HOST};
                   }});
    all.push_back({"softcap, slopes and sinks",
                   [](auto& o) {
                       o.softcap = 2.5;
                       o.slopes = slopes;
                       o.sinks = sinks;
                   },
                   [](auto& o) {
                       o.softcap = 2.5;
                       o.slopes = {slopes, 4, PANTILE_FP32, PANTILE_HOST};
                       o.sinks = {sinks, 4, PANTILE_FP64, PANTILE_HOST};
                   }});
    all.push_back({"key_lengths", [](auto& o) { o.key_lengths = lengths; },
                   [](auto& o) {
                       o.key_lengths = {lengths, 2, 32, PANTILE_HOST};
                   }});
    all.push_back({"accumulate", [](auto& o) { o.accumulate = true; }, [](auto& o) { o.accumulate = 1; }, false});
    all.push_back({"threads", [](auto& o) { o.threads = 1; }, [](auto& o) { o.threads = 1; }, false});
    all.push_back(
        {"isa", [](auto& o) { o.isa = isa::baseline; }, [](auto& o) { o.isa = PANTILE_ISA_BASELINE; }, false});
    all.push_back({"plan",
                   [](auto& o) {
                       o.plan = tile_plan{16, 16, 1};
                   },
                   [](auto& o) {
                       o.plan = {16, 16, 1};
                   },
                   false});
    all.push_back({"key_splits", [](auto& o) { o.key_splits = 3; }, [](auto& o) { o.key_splits = 3; }, false});
    return all;
}

TYPED_TEST(same_bits_in, forward) {
    const auto plain = this->by_cpp({});
    const auto plain_c = this->by_c(nullptr);
    EXPECT_TRUE(same_bits(plain.out, plain_c.out));
    EXPECT_TRUE(same_bits(plain.lse, plain_c.lse));
    for (const option_case& x : option_cases()) {
        options o;
        pantile_options c = PANTILE_OPTIONS_INIT;
        x.cpp(o);
        x.c(c);
        const auto expected = this->by_cpp(o);
        const auto given = this->by_c(&c);
        EXPECT_TRUE(same_bits(expected.out, given.out)) << x.name;
        EXPECT_TRUE(same_bits(expected.lse, given.lse)) << x.name;
        if (x.changes_forward) {
            EXPECT_FALSE(same_bits(plain.lse, given.lse)) << x.name;
        }
    }
}

TYPED_TEST(same_bits_in, forward_without_lse_and_into_the_type_computed_in) {
    using computed = typename TestFixture::computed;
    std::vector<computed> expected(this->dout.size()), given(this->dout.size());
    attention(this->q_view(), this->k_view(), this->v_view(), this->out_view(expected));
    const pantile_results to = {sizeof to, in_c(this->out_view(given)), {}};
    EXPECT_EQ(pantile_attention(&this->cq, &this->ck, &this->cv, &to, nullptr), PANTILE_OK) << pantile_message();
    EXPECT_TRUE(same_bits(expected, given));
}

TYPED_TEST(same_bits_in, backward) {
    for (const option_case& x : option_cases()) {
        options o;
        pantile_options c = PANTILE_OPTIONS_INIT;
        x.cpp(o);
        x.c(c);
        auto forward = this->by_cpp(o);
        auto dq = this->q, dk = this->k, dv = this->v;
        auto c_dq = this->q, c_dk = this->k, c_dv = this->v;
        const auto out = this->out_view(forward.out);
        const auto lse = this->rows_view(forward.lse);
        const auto dq_view = [](auto& n) { return bhsd(n.data(), batch, q_heads, q_len, head_dim); };
        const auto dk_view = [](auto& n) { return bhsd(n.data(), batch, kv_heads, k_len, head_dim); };
        const auto dv_view = [](auto& n) { return bhsd(n.data(), batch, kv_heads, k_len, value_dim); };
        // Gradients of what the call has, one a query head.
        std::vector<float> dslopes(q_heads, 5.0F), c_dslopes = dslopes;
        std::vector<double> dsinks(q_heads, 5.0), c_dsinks = dsinks;
        gradients named{.dq = dq_view(dq), .dk = dk_view(dk), .dv = dv_view(dv)};
        if (o.slopes.size() == q_heads) named.dslopes = dslopes;
        if (!o.sinks.empty()) named.dsinks = dsinks;
        attention_backward(this->q_view(), this->k_view(), this->v_view(), out, lse, {.dout = this->dout_view()}, named,
                           o);
        const pantile_tensor c_out = in_c(out), c_lse = in_c(lse);
        const pantile_loss_gradients from = {sizeof from, in_c(this->dout_view())};
        pantile_gradients to = {sizeof to, in_c(dq_view(c_dq)), in_c(dk_view(c_dk)), in_c(dv_view(c_dv)), {}, {}};
        if (named.dslopes.wanted) to.dslopes = {c_dslopes.data(), q_heads, PANTILE_FP32, PANTILE_HOST};
        if (named.dsinks.wanted) to.dsinks = {c_dsinks.data(), q_heads, PANTILE_FP64, PANTILE_HOST};
        EXPECT_EQ(pantile_attention_backward(&this->cq, &this->ck, &this->cv, &c_out, &c_lse, &from, &to, &c),
                  PANTILE_OK)
            << pantile_message();
        EXPECT_TRUE(same_bits(dq, c_dq)) << x.name;
        EXPECT_TRUE(same_bits(dk, c_dk)) << x.name;
        EXPECT_TRUE(same_bits(dv, c_dv)) << x.name;
        EXPECT_TRUE(same_bits(dslopes, c_dslopes)) << x.name;
        EXPECT_TRUE(same_bits(dsinks, c_dsinks)) << x.name;
        EXPECT_EQ(c_dslopes[0] != 5.0F, named.dslopes.wanted) << x.name;
        EXPECT_EQ(c_dsinks[0] != 5.0, named.dsinks.wanted) << x.name;
    }
}

TYPED_TEST(same_bits_in, parts) {
    using computed = typename TestFixture::computed;
    struct part {
        std::vector<computed> out = std::vector<computed>(batch * q_heads * q_len * value_dim);
        std::vector<computed> max = TestFixture::rows(), sum = TestFixture::rows();
        partial_view<computed> view() {
            return {TestFixture::out_view(out), TestFixture::rows_view(max), TestFixture::rows_view(sum)};
        }
    };
    options o;
    pantile_options c = PANTILE_OPTIONS_INIT;
    o.mask = causal().at_offset(20);
    c.mask = pantile_at_offset(pantile_causal(PANTILE_BOTTOM_RIGHT), 20);
    o.softcap = c.softcap = 2.5;
    o.sinks = sinks; // this part carries them
    c.sinks = {sinks, 4, PANTILE_FP64, PANTILE_HOST};
    part a, b, merged, c_a, c_b, c_merged;
    attention_partial(this->q_view(), this->k_view(), this->v_view(), a.view(), o);
    attention_partial(this->q_view(), this->k_view(), this->v_view(), b.view());
    merge(a.view(), b.view(), merged.view());
    const pantile_partial pa = in_c(partial_ref(c_a.view())), pb = in_c(partial_ref(c_b.view()));
    const pantile_partial pm = in_c(partial_ref(c_merged.view()));
    EXPECT_EQ(pantile_attention_partial(&this->cq, &this->ck, &this->cv, &pa, &c), PANTILE_OK) << pantile_message();
    EXPECT_EQ(pantile_attention_partial(&this->cq, &this->ck, &this->cv, &pb, nullptr), PANTILE_OK)
        << pantile_message();
    EXPECT_EQ(pantile_merge(&pa, &pb, &pm), PANTILE_OK) << pantile_message();
    for (const auto& [x, y] : {std::pair(&a, &c_a), std::pair(&b, &c_b), std::pair(&merged, &c_merged)}) {
        EXPECT_TRUE(same_bits(x->out, y->out));
        EXPECT_TRUE(same_bits(x->max, y->max));
        EXPECT_TRUE(same_bits(x->sum, y->sum));
    }
    std::vector<computed> out(merged.out.size()), given(merged.out.size());
    auto lse = this->rows(), given_lse = this->rows();
    finish(merged.view(), this->out_view(out), this->rows_view(lse));
    const pantile_results to = {sizeof to, in_c(this->out_view(given)), in_c(this->rows_view(given_lse))};
    EXPECT_EQ(pantile_finish(&pm, &to), PANTILE_OK) << pantile_message();
    EXPECT_TRUE(same_bits(out, given));
    EXPECT_TRUE(same_bits(lse, given_lse));
}

void expect_equal(const core::transfers& a, const pantile_transfers& b) {
    EXPECT_EQ(a.reads, b.reads);
    EXPECT_EQ(a.writes, b.writes);
}

void expect_equal(const explanation& e, const pantile_explanation& c) {
    EXPECT_EQ(e.machine, c.machine);
    EXPECT_EQ(e.isa, c.isa);
    EXPECT_EQ(e.kernel, c.kernel);
    EXPECT_EQ(e.tiles.row_tile, c.tiles.row_tile);
    EXPECT_EQ(e.tiles.key_tile, c.tiles.key_tile);
    EXPECT_EQ(e.tiles.key_splits, c.tiles.key_splits);
    EXPECT_EQ(e.threads, c.threads);
    EXPECT_EQ(e.workspace_bytes, c.workspace_bytes);
    const auto& [q, k, v, out, lse, dout, dq, dk, dv, delta, scores, probabilities, dscores, dprobabilities] =
        e.traffic;
    const pantile_traffic& t = c.traffic;
    expect_equal(q, t.q), expect_equal(k, t.k), expect_equal(v, t.v), expect_equal(out, t.out),
        expect_equal(lse, t.lse);
    expect_equal(dout, t.dout), expect_equal(dq, t.dq), expect_equal(dk, t.dk), expect_equal(dv, t.dv);
    expect_equal(delta, t.delta), expect_equal(scores, t.scores), expect_equal(probabilities, t.probabilities);
    expect_equal(dscores, t.dscores), expect_equal(dprobabilities, t.dprobabilities);
    EXPECT_EQ(e.read_bytes, c.read_bytes);
    EXPECT_EQ(e.write_bytes, c.write_bytes);
    EXPECT_EQ(e.flops, c.flops);
    EXPECT_EQ(e.note, c.note);
    size_t needed = 0;
    char text[2048];
    EXPECT_EQ(pantile_explanation_text(&c, text, sizeof text, &needed), PANTILE_OK);
    EXPECT_EQ(to_string(e), text);
}

TYPED_TEST(same_bits_in, explanations) {
    for (const option_case& x : option_cases()) {
        options o;
        pantile_options c = PANTILE_OPTIONS_INIT;
        x.cpp(o);
        x.c(c);
        pantile_explanation e;
        std::memset(&e, 0x5a, sizeof e);
        e.size = sizeof e;
        EXPECT_EQ(pantile_explain(&this->cq, &this->ck, &this->cv, &c, &e), PANTILE_OK) << pantile_message();
        expect_equal(explain(this->q_view(), this->k_view(), this->v_view(), o), e);
        EXPECT_EQ(pantile_explain_backward(&this->cq, &this->ck, &this->cv, &c, &e), PANTILE_OK) << pantile_message();
        expect_equal(explain_backward(this->q_view(), this->k_view(), this->v_view(), o), e);
    }
}

/// The caller's work memory is what is used: less than is needed is refused with the C++ text, enough changes no bit.
TYPED_TEST(same_bits_in, workspace) {
    const auto plain = this->by_cpp({});
    options o;
    o.threads = 1;
    const index_t needed = explain(this->q_view(), this->k_view(), this->v_view(), o).workspace_bytes;
    ASSERT_GT(needed, 0);
    std::vector<std::byte> memory(static_cast<std::size_t>(needed));
    pantile_options c = PANTILE_OPTIONS_INIT;
    c.threads = 1;
    c.workspace = memory.data();
    c.workspace_bytes = needed;
    const auto given = this->by_c(&c);
    EXPECT_TRUE(same_bits(plain.out, given.out));
    c.workspace_bytes = 1;
    o.workspace = std::span(memory).first(1);
    auto out = this->dout;
    const pantile_results to = {sizeof to, in_c(this->out_view(out)), {}};
    EXPECT_EQ(pantile_attention(&this->cq, &this->ck, &this->cv, &to, &c), PANTILE_INVALID_ARGUMENT);
    try {
        attention(this->q_view(), this->k_view(), this->v_view(), this->out_view(out), o);
        ADD_FAILURE() << "a workspace of one byte was taken";
    } catch (const invalid_argument& e) {
        EXPECT_STREQ(pantile_message(), e.what());
    }
}

} // namespace
} // namespace pantile::test
