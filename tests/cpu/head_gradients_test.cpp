// Gradients of slopes and sinks by themselves: worked out by hand, added up, and the same bits whatever the threads.
#include <cmath>

#include <gtest/gtest.h>

#include "features_call.hpp"

namespace pantile::test {
namespace {

/// One row at key 2 of 0, 1, 2; all scores 0.
struct one_row {
    std::vector<float> q{0.0F}, k{1.0F, 2.0F, 3.0F}, v{4.0F, 0.0F, 0.0F}, dout{1.0F};
    std::vector<float> out{0.0F}, lse{0.0F}, dq{7.0F}, dk{7.0F, 7.0F, 7.0F}, dv{7.0F, 7.0F, 7.0F};
    std::vector<float> slopes, sinks;
    options o;

    void forward() { attention(view(q), view(k), view(v), view(out), bhs(lse.data(), 1, 1, 1), o); }
    void backward(const gradients& more) {
        gradients to = more;
        to.dq = view(dq), to.dk = view(dk), to.dv = view(dv);
        attention_backward(view(q), view(k), view(v), view(out), bhs(lse.data(), 1, 1, 1), {.dout = view(dout)}, to, o);
    }
    static tensor_view<float> view(std::vector<float>& x) {
        return bhsd(x.data(), 1, 1, static_cast<index_t>(x.size()), 1);
    }
};

TEST(head_gradients, of_a_sink_by_hand) {
    one_row r;
    r.sinks = {std::log(5.0F)}; // the denominator is 8
    r.o.sinks = r.sinks;
    r.forward();
    EXPECT_NEAR(r.out[0], 0.5F, 1e-7F);
    EXPECT_NEAR(r.lse[0], std::log(8.0F), 1e-6F);
    std::vector<double> dsinks{100.0};
    r.backward({.dsinks = dsinks});
    EXPECT_NEAR(dsinks[0], -5.0 / 8.0 * 0.5, 1e-6); // D = 0.5
    r.o.accumulate = true;
    r.backward({.dsinks = dsinks});
    EXPECT_NEAR(dsinks[0], -5.0 / 8.0, 1e-6);
    std::vector<float> narrow{1.0F};
    r.backward({.dsinks = narrow});
    EXPECT_NEAR(narrow[0], 1.0F - 5.0F / 16.0F, 1e-6F);
}

TEST(head_gradients, of_a_slope_by_hand) {
    one_row r;
    r.slopes = {std::log(2.0F)}; // weights 1/4, 1/2, 1 of 7/4
    r.o.slopes = r.slopes;
    r.forward();
    EXPECT_NEAR(r.out[0], 4.0F / 7.0F, 1e-6F);
    std::vector<double> dslopes{100.0};
    r.backward({.dslopes = dslopes});
    // d out / d slope = -Σ P·|distance|·(v - out): 2/7·(4/7 - 4) + ... at distances 2, 1, 0
    const double expected = -(1.0 / 7 * 2 * (4 - 4.0 / 7) + 2.0 / 7 * 1 * (0 - 4.0 / 7));
    EXPECT_NEAR(dslopes[0], expected, 1e-6);
    r.o.accumulate = true;
    r.backward({.dslopes = dslopes});
    EXPECT_NEAR(dslopes[0], 2 * expected, 1e-6);
}

/// Chunks of keys and threads: the same bits from any number of threads; with more chunks the same to rounding.
TEST(head_gradients, do_not_depend_on_threads) {
    attention_case c;
    c.batch = 3;
    c.q_heads = 6;
    c.kv_heads = 3;
    c.q_len = 90;
    c.k_len = 150;
    c.head_dim = 16;
    c.value_dim = 8;
    c.softcap = 4.0;
    c.slopes = {0.5, 0.3, 0.2, 0.1, 0.05, 0.01};
    c.sinks = {0.5, 1.0, -1.0, 0.0, 2.0, 1.5};
    const attention_inputs in = make_inputs(c, dtype::fp32, data_kind::normal, 23);
    for (const index_t chunks : {1, 3}) {
        feature_style s{.plan = {0, 0, chunks}, .wide_numbers = true};
        const feature_results one = call_features(c, in, s);
        for (const int threads : {2, 3, 8}) {
            s.threads = threads;
            const feature_results many = call_features(c, in, s);
            EXPECT_EQ(many.dslopes, one.dslopes);
            EXPECT_EQ(many.dsinks, one.dsinks);
            EXPECT_EQ(many.dq.data, one.dq.data);
        }
        s.threads = 1;
        s.accumulate = true;
        const feature_results added = call_features(c, in, s);
        for (std::size_t h = 0; h < 6; ++h) {
            EXPECT_DOUBLE_EQ(added.dslopes[h], 1.0 + one.dslopes[h]);
            EXPECT_DOUBLE_EQ(added.dsinks[h], 1.0 + one.dsinks[h]);
        }
    }
}

/// What is asked for needs the option, and memory of its own.
TEST(head_gradients, are_checked) {
    one_row r;
    std::vector<float> numbers{0.0F};
    const auto refusal = [&](const gradients& to) {
        try {
            r.backward(to);
        } catch (const invalid_argument& e) {
            return std::string(e.what());
        }
        return std::string("no error");
    };
    EXPECT_NE(refusal({.dsinks = numbers}).find("dsinks is wanted, but options.sinks is not given"), std::string::npos);
    EXPECT_NE(refusal({.dslopes = numbers}).find("dslopes is wanted, but options.slopes is not given"),
              std::string::npos);
    r.sinks = {1.0F};
    r.o.sinks = r.sinks;
    EXPECT_NE(refusal({.dsinks = r.sinks}).find("overlaps"), std::string::npos);
    EXPECT_NE(refusal({.dsinks = r.dq}).find("overlaps"), std::string::npos);
    std::vector<float> two(2);
    EXPECT_NE(refusal({.dsinks = two}).find("dsinks has 2 entries, q.heads is 1"), std::string::npos);
}

} // namespace
} // namespace pantile::test
