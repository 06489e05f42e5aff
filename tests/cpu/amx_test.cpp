// The matrix-unit machine against fp64, by the error rule with P rounded to bf16: on AMX where the processor has it, and
// everywhere on the emulated unit.
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>

#include <gmock/gmock.h>
#include <rapidcheck/gtest.h>

#include <pantile/attention.hpp>
#include <support/error_rule.hpp>
#include <support/generators.hpp>
#include <support/library_mask.hpp>

#include "amx_emulated.hpp"
#include "api/run.hpp"
#include "catalogue/dispatch.hpp"

namespace pantile::test {
namespace {

using testing::HasSubstr;

bool has_amx() { return std::string(cpu::available_isas()).find("amx") != std::string::npos; }

/// Where the machine runs.
enum class unit : unsigned char { emulated, hardware };

const cpu::kernels& kernels_on(unit u) {
    static const cpu::kernels emulated = [] {
        cpu::kernels k = cpu::baseline_kernels;
        k.matrix_bf16 = &emulated_forward_bf16;
        k.decode_f32.panel_rows = 0; // calls of few rows, too
        return k;
    }();
    static const cpu::kernels hardware = [] {
        cpu::kernels k = has_amx() ? cpu::choose_kernels(isa::amx, true) : cpu::baseline_kernels;
        k.decode_f32.panel_rows = 0;
        return k;
    }();
    return u == unit::emulated ? emulated : hardware;
}

struct call {
    unit on = unit::emulated;
    layout inputs = layout::bhsd;
    layout outputs = layout::bhsd;
    tile_plan plan{0, 0, 1};
    int threads = 2;
};

struct result {
    tensor<double> out, lse;
    bool gaps_untouched = true;
};

template <class Out>
result forward(const attention_case& c, const attention_inputs& in, const call& how) {
    const stored<bfloat16> q(in.q, how.inputs);
    const stored<bfloat16> k(in.k, how.inputs);
    const stored<bfloat16> v(in.v, how.inputs);
    stored<Out> out(c.out_extent(), how.outputs);
    stored<float> lse(c.lse_extent(), layout::padded);
    options o;
    o.mask = mask_of(c);
    o.scale = c.scale;
    o.key_lengths = c.key_lengths;
    o.plan = how.plan;
    o.threads = how.threads;
    const core::problem p = core::check_inputs(core::describe("q", q.view()), core::describe("k", k.view()),
                                               core::describe("v", v.view()), core::describe(o));
    const cpu::prepared ready = cpu::prepare(p, q.view(), k.view(), v.view(), o, kernels_on(how.on));
    cpu::output to;
    to.out = out.view();
    to.lse = lse.rows();
    cpu::run(ready, to, {});
    return {out.values(), lse.values(), out.gaps_are_untouched() && lse.gaps_are_untouched()};
}

/// The verdict on one call; empty: all is well.
std::string judge(const attention_case& c, const attention_inputs& in, const call& how) {
    const result r = forward<bfloat16>(c, in, how);
    const forward_bounds bounds =
        bound_forward(c, as_stored(in, how.inputs, dtype::bf16), dtype::bf16, dtype::bf16, p_rounding::to_bfloat16);
    const verdict good = within(r.out, r.lse, bounds);
    if (!good) return good.text;
    return r.gaps_untouched ? "" : "memory between the outputs' elements was written";
}

attention_case case_of(index_t q_len, index_t k_len, index_t dim, bool causal) {
    attention_case c;
    c.q_heads = 2;
    c.kv_heads = 1;
    c.q_len = q_len;
    c.k_len = k_len;
    c.head_dim = c.value_dim = dim;
    if (causal) c.right = 0;
    c.scale = 1.0 / std::sqrt(static_cast<double>(dim));
    return c;
}

class amx : public testing::TestWithParam<unit> {
  protected:
    void SetUp() override {
        if (GetParam() == unit::hardware && !has_amx()) {
            GTEST_SKIP() << "no AMX with bf16 here, or the operating system does not grant it";
        }
        how.on = GetParam();
    }
    call how;
};
INSTANTIATE_TEST_SUITE_P(on, amx, testing::Values(unit::emulated, unit::hardware), [](const auto& info) {
    return std::string(info.param == unit::emulated ? "emulated" : "hardware");
});

TEST_P(amx, lengths_around_the_tile_edges) {
    for (const index_t length : {1, 15, 16, 17, 31, 32, 33, 64, 65, 127, 129, 300}) {
        for (const bool causal : {false, true}) {
            const attention_case c = case_of(length, length, 64, causal);
            EXPECT_EQ(judge(c, make_inputs(c, dtype::bf16, data_kind::normal, 7), how), "")
                << "length " << length << " causal " << causal;
        }
    }
}

TEST_P(amx, any_head_dim) {
    for (const index_t dim : {1, 8, 16, 31, 32, 33, 40, 72, 80, 96, 128, 256}) {
        const attention_case c = case_of(70, 101, dim, true);
        EXPECT_EQ(judge(c, make_inputs(c, dtype::bf16, data_kind::normal, 3), how), "") << "dim " << dim;
    }
}

TEST_P(amx, numbers_that_break_careless_kernels) {
    for (const data_kind kind : data_kinds) {
        const attention_case c = case_of(150, 300, 64, true);
        EXPECT_EQ(judge(c, make_inputs(c, dtype::bf16, kind, 5), how), "") << name(kind);
    }
}

TEST_P(amx, many_row_tiles_and_key_tiles) {
    how.plan = {64, 96, 1};
    for (const bool causal : {false, true}) {
        const attention_case c = case_of(500, 700, 64, causal);
        EXPECT_EQ(judge(c, make_inputs(c, dtype::bf16, data_kind::normal, 9), how), "") << "causal " << causal;
    }
}

TEST_P(amx, any_problem_in_any_layout) {
    const unit on = GetParam();
    EXPECT_TRUE(rc::check([on] {
        size_limits most;
        most.batch = 2;
        most.kv_heads = 2;
        most.length = 150;
        most.dim = 80;
        const attention_case c = *any_case(most);
        call how;
        how.on = on;
        how.inputs = *any_input_layout();
        how.outputs = *any_output_layout();
        how.plan.row_tile = *rc::gen::element<index_t>(0, 0, 1, 32, 40, 64);
        how.plan.key_tile = *rc::gen::element<index_t>(0, 0, 1, 16, 32, 40, 64);
        how.plan.key_splits = *rc::gen::element<index_t>(1, 1, 2, 3);
        const auto seed = static_cast<std::uint64_t>(*rc::gen::inRange(0, 1 << 20));
        const std::string fault = judge(c, make_inputs(c, dtype::bf16, *any_data_kind(), seed), how);
        if (!fault.empty()) RC_FAIL(fault);
    }));
}

// An fp32 output is the same O, not yet rounded. (The error rule has no room for the rounding of P in it.)
TEST_P(amx, wide_output_rounds_to_the_narrow_one) {
    const attention_case c = case_of(130, 201, 72, true);
    const auto in = make_inputs(c, dtype::bf16, data_kind::normal, 3);
    const result wide = forward<float>(c, in, how);
    const result narrow = forward<bfloat16>(c, in, how);
    EXPECT_EQ(rounded(wide.out, dtype::bf16).data, narrow.out.data);
    EXPECT_EQ(wide.lse.data, narrow.lse.data);
}

TEST_P(amx, same_bits_for_any_row_tile_and_number_of_threads) {
    attention_case c = case_of(200, 230, 40, true);
    c.left = 100;
    const auto in = make_inputs(c, dtype::bf16, data_kind::normal, 4);
    how.plan = {256, 64, 1};
    how.threads = 1;
    const result whole = forward<float>(c, in, how);
    for (const index_t rows : {1, 5, 32, 100}) {
        for (const int threads : {1, 3}) {
            how.plan.row_tile = rows;
            how.threads = threads;
            const result other = forward<float>(c, in, how);
            EXPECT_EQ(other.out.data, whole.out.data) << "row tile of " << rows;
            EXPECT_EQ(other.lse.data, whole.lse.data) << "row tile of " << rows;
        }
    }
}

/// K and V hold NaN and infinities where only some rows see them: no bit of the other rows changes.
TEST_P(amx, hidden_garbage_does_not_matter) {
    constexpr index_t poisoned = 100;
    attention_case c = case_of(150, 211, 40, true);
    c.left = 60;
    const auto clean = make_inputs(c, dtype::bf16, data_kind::normal, 6);
    const result expected = forward<float>(c, clean, how);
    for (const double garbage : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
        attention_inputs dirty = clean;
        for (index_t x = 0; x < c.head_dim; ++x) dirty.k(0, 0, poisoned, x) = garbage;
        for (index_t x = 0; x < c.value_dim; ++x) dirty.v(0, 0, poisoned, x) = garbage;
        const result got = forward<float>(c, dirty, how);
        index_t seen = 0;
        for (index_t i = 0; i < c.q_len; ++i) {
            if (c.visible(0, 0, i, poisoned)) {
                ++seen;
                EXPECT_TRUE(std::isnan(got.out(0, 0, i, 0))) << "row " << i << " sees it";
                continue;
            }
            for (index_t x = 0; x < c.value_dim; ++x) EXPECT_EQ(got.out(0, 0, i, x), expected.out(0, 0, i, x));
        }
        EXPECT_GT(seen, 0);
    }
}

TEST(amx_emulated_unit, multiplies_and_adds) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    bfloat16 a[16][32];
    bfloat16 b[16][16][2];
    float c[16][16];
    for (auto& row : a)
        for (bfloat16& x : row) x = bfloat16(normal(random));
    for (auto& row : b)
        for (auto& pair : row)
            for (bfloat16& x : pair) x = bfloat16(normal(random));
    for (auto& row : c)
        for (float& x : row) x = normal(random);
    double expected[16][16];
    for (int i = 0; i < 16; ++i) {
        for (int j = 0; j < 16; ++j) {
            expected[i][j] = static_cast<double>(c[i][j]);
            for (int k = 0; k < 32; ++k) expected[i][j] += double(a[i][k]) * double(b[k / 2][j][k % 2]);
        }
    }
    emulated_product(a[0], b[0][0], c[0]);
    for (int i = 0; i < 16; ++i)
        for (int j = 0; j < 16; ++j) EXPECT_NEAR(static_cast<double>(c[i][j]), expected[i][j], 1e-5);
}

TEST(amx_emulated_unit, takes_subnormal_numbers_as_zero) {
    bfloat16 a[16][32] = {};
    bfloat16 b[16][16][2] = {};
    float c[16][16] = {};
    a[0][0] = bfloat16(0x1p-127F);
    b[0][0][0] = bfloat16(1.0F);
    a[1][1] = bfloat16(0x1p-126F);
    b[0][1][1] = bfloat16(1.0F);
    emulated_product(a[0], b[0][0], c[0]);
    EXPECT_EQ(c[0][0], 0.0F);
    EXPECT_EQ(c[1][1], 0x1p-126F);
}

/// What the public call does with isa::amx.
TEST(amx_choice, serves_bf16_and_leaves_the_rest_to_avx512) {
    std::vector<float> wide(64 * 64, 1.0F);
    std::vector<bfloat16> narrow(64 * 64, bfloat16(1.0F));
    const auto explained = [](auto& x, index_t rows) {
        const auto all = bhsd(x.data(), 1, 1, 64, 64);
        const auto some = bhsd(x.data(), 1, 1, rows, 64);
        options o;
        o.isa = isa::amx;
        return std::string(explain(some, all, all, o).isa);
    };
    if (!has_amx()) {
        try {
            (void)explained(narrow, 64);
            FAIL() << "amx was accepted on a processor without it";
        } catch (const invalid_argument& e) {
            EXPECT_THAT(e.what(), HasSubstr("options.isa is amx, which is not available here"));
        }
        return;
    }
    EXPECT_EQ(explained(narrow, 64), "amx");
    EXPECT_EQ(explained(narrow, 1), "avx512") << "one row is too few for a matrix unit";
    EXPECT_EQ(explained(wide, 64), "avx512");
}

} // namespace
} // namespace pantile::test
