// The runner on ONNX cases: masks given as arrays, causal offsets, caches, packed heads, contradictions.
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runner.hpp"

namespace pantile::conformance {
namespace {

using testing::HasSubstr;

/// A mask array that shows pair (b, i, j) where `shows` says so.
void put_mask(const std::filesystem::path& file, const attention_case& c, index_t columns,
              const std::function<bool(index_t, index_t, index_t)>& shows, bool boolean) {
    std::vector<unsigned char> bits;
    std::vector<float> numbers;
    for (index_t b = 0; b < c.batch; ++b)
        for (index_t i = 0; i < c.q_len; ++i)
            for (index_t j = 0; j < columns; ++j) {
                bits.push_back(shows(b, i, j) ? 1 : 0);
                numbers.push_back(shows(b, i, j) ? 0.0F : -HUGE_VALF);
            }
    const std::vector<std::int64_t> shape{c.batch, 1, c.q_len, columns};
    npy::write(file, boolean ? npy::make(npy::type::b1, shape, bits.data()) : npy::make(shape, numbers.data()));
}

TEST_F(runner, recognises_masks_that_are_bands) {
    const auto mask = [&](index_t columns, bool boolean, const std::function<bool(index_t, index_t, index_t)>& shows) {
        put_mask(folder / "attn_mask.npy", problem, columns, shows, boolean);
        describe(onnx("", R"(, "attn_mask": "attn_mask.npy")"));
        return run();
    };
    for (const bool boolean : {true, false}) {
        write(true);
        EXPECT_EQ(mask(5, boolean, [](index_t, index_t, index_t) { return true; }).text, "");
        problem.key_lengths = {4, 2}; // padding, a length a batch
        write(true);
        EXPECT_EQ(mask(5, boolean, [](index_t b, index_t, index_t j) { return j < (b == 0 ? 4 : 2); }).text, "");
        problem.key_lengths = {3, 3}; // a mask that is shorter than the keys
        write(true);
        EXPECT_EQ(mask(3, boolean, [](index_t, index_t, index_t) { return true; }).text, "");
        problem.key_lengths.clear();
        problem.right = 0; // a triangle
        problem.align = test::anchor::explicit_offset;
        problem.offset = 1;
        write(true);
        EXPECT_EQ(mask(5, boolean, [](index_t, index_t i, index_t j) { return j <= i + 1; }).text, "");
        EXPECT_EQ(mask(5, boolean, [](index_t, index_t i, index_t j) { return j <= i; }).result, outcome::failed);
        problem = plain_problem();
        EXPECT_EQ(mask(5, boolean, [](index_t, index_t i, index_t j) { return (i + j) % 2 == 0; }).result,
                  outcome::unsupported);
    }
    const std::vector<float> added(15, 0.5F);
    npy::write(folder / "attn_mask.npy", npy::make({3, 5}, added.data()));
    EXPECT_THAT(run().text, HasSubstr("bias"));
}

TEST_F(runner, follows_onnx_causal_offsets) {
    problem.right = 0;
    problem.align = test::anchor::top_left;
    write(true);
    describe(onnx(R"("is_causal": 1)"));
    EXPECT_EQ(run().text, "");
    problem.align = test::anchor::bottom_right; // nonpad_kv_seqlen: the last row stands at the last key that counts
    problem.key_lengths = {4, 3};
    write(true);
    npy::write(folder / "n.npy", npy::make({2}, std::vector<std::int64_t>{4, 3}.data()));
    describe(onnx(R"("is_causal": 1)", R"(, "nonpad_kv_seqlen": "n.npy")"));
    EXPECT_EQ(run().text, "");
    for (const dtype t : {dtype::fp64, dtype::fp16, dtype::bf16}) EXPECT_EQ(run(t).text, "") << test::name(t);
}

/// Keys of an earlier step stand before the new ones, and a causal mask counts from behind them.
TEST_F(runner, puts_the_past_in_front) {
    problem.right = 0; // bottom-right: row i stands at key i + 2, which is the past
    write(true);
    const auto part = [&](const char* role, index_t first, index_t count) {
        const tensor<double> from = test::read_tensor(folder / (std::string(role) + ".npy"));
        tensor<double> t({from.extent[0], from.extent[1], count, from.extent[3]});
        t.for_each([&](index_t b, index_t h, index_t j, index_t x) { t(b, h, j, x) = from(b, h, first + j, x); });
        return t;
    };
    const tensor<double> all_k = part("K", 0, 5);
    const tensor<double> all_v = part("V", 0, 5);
    const tensor<double> past_k = part("K", 0, 2);
    const tensor<double> past_v = part("V", 0, 2);
    const tensor<double> new_k = part("K", 2, 3);
    const tensor<double> new_v = part("V", 2, 3);
    put(folder / "past_key.npy", past_k, true);
    put(folder / "past_value.npy", past_v, true);
    put(folder / "K.npy", new_k, true);
    put(folder / "V.npy", new_v, true);
    const std::string both = R"(, "past_key": "past_key.npy", "past_value": "past_value.npy")";
    describe(onnx(R"("is_causal": 1)", both));
    EXPECT_EQ(run().text, "");
    describe(onnx("", both));
    EXPECT_EQ(run().result, outcome::failed);
    describe(onnx(R"("is_causal": 1)", R"(, "past_key": "past_key.npy")"));
    EXPECT_THAT(run().text, HasSubstr("has one of past_key and past_value"));

    // What the case says of the joined cache is compared, number by number.
    std::string with_cache = onnx(R"("is_causal": 1)", both);
    with_cache.replace(with_cache.find(R"("Y.npy")"), 7,
                       R"("Y.npy", "present_key": "pk.npy", "present_value": "pv.npy")");
    describe(with_cache);
    put(folder / "pk.npy", all_k, true);
    put(folder / "pv.npy", all_v, true);
    EXPECT_EQ(run().text, "");
    for (const char* role : {"pk", "pv"}) {
        tensor<double> off = role[1] == 'k' ? all_k : all_v;
        off(1, 1, 4, 2) += 1.0;
        put(folder / (std::string(role) + ".npy"), off, true);
        EXPECT_THAT(run().text, HasSubstr("differs from the joined cache"));
        put(folder / (std::string(role) + ".npy"), role[1] == 'k' ? all_k : all_v, true);
    }
}

/// (B, S, H·D) arrays: heads are found inside a token, and must divide it.
TEST_F(runner, splits_tokens_into_heads) {
    write(true);
    for (const char* role : {"Q", "K", "V", "Y"}) {
        const tensor<double> t = test::read_tensor(folder / (std::string(role) + ".npy"));
        std::vector<float> tokens;
        for (index_t b = 0; b < t.extent[0]; ++b)
            for (index_t i = 0; i < t.extent[2]; ++i)
                for (index_t h = 0; h < t.extent[1]; ++h)
                    for (index_t x = 0; x < t.extent[3]; ++x) tokens.push_back(static_cast<float>(t(b, h, i, x)));
        npy::write(folder / (std::string(role) + ".npy"),
                   npy::make({t.extent[0], t.extent[2], t.extent[1] * t.extent[3]}, tokens.data()));
    }
    describe(onnx(R"("q_num_heads": 4, "kv_num_heads": 2)"));
    EXPECT_EQ(run().text, "");
    describe(onnx(R"("q_num_heads": 3, "kv_num_heads": 2)"));
    EXPECT_THAT(run().text, HasSubstr("Q has 16 columns for 3 heads"));
    describe(onnx(""));
    EXPECT_THAT(run().text, HasSubstr("for 0 heads"));
    describe(onnx(R"("q_num_heads": 2, "kv_num_heads": 2)"));
    EXPECT_EQ(run().result, outcome::failed);
}

TEST_F(runner, refuses_onnx_cases_that_contradict_themselves) {
    write(true);
    const auto lengths = [&](const std::vector<std::int64_t>& n) {
        npy::write(folder / "n.npy", npy::make({static_cast<std::int64_t>(n.size())}, n.data()));
        describe(onnx("", R"(, "nonpad_kv_seqlen": "n.npy")"));
        return run().text;
    };
    EXPECT_THAT(lengths({5}), HasSubstr("not one number a batch"));
    EXPECT_THAT(lengths({5, 6}), HasSubstr("not within the keys"));
    EXPECT_THAT(lengths({5, -1}), HasSubstr("not within the keys"));
    EXPECT_EQ(lengths({5, 5}), "");
    for (const char* role : {"Q", "K", "V", "Y"}) {
        std::string json = onnx("");
        const std::string entry = std::string("\"") + role + R"(": ")" + role + R"(.npy")";
        json.replace(json.find(entry), entry.size(), std::string("\"") + role + R"(": null)");
        describe(json);
        EXPECT_EQ(run().text, std::string("has no ") + role);
        EXPECT_EQ(run().result, outcome::failed);
    }
    const auto masked = [&](std::vector<std::int64_t> shape) {
        std::int64_t size = 1;
        for (const std::int64_t n : shape) size *= n;
        const std::vector<float> zeros(static_cast<std::size_t>(size));
        npy::write(folder / "m.npy", npy::make(std::move(shape), zeros.data()));
        describe(onnx("", R"(, "attn_mask": "m.npy")"));
        return run().text;
    };
    EXPECT_EQ(masked({3, 5}), "");
    EXPECT_EQ(masked({2, 4, 3, 5}), "");
    EXPECT_EQ(masked({1, 5}), "");
    EXPECT_THAT(masked({2, 5}), HasSubstr("does not broadcast"));
    EXPECT_THAT(masked({3, 1, 3, 5}), HasSubstr("does not broadcast"));
    EXPECT_THAT(masked({3, 6}), HasSubstr("more columns than there are keys"));
    EXPECT_THAT(masked({1, 1, 1, 3, 5}), HasSubstr("has 5 axes"));
    EXPECT_THAT(masked({3, 1}), HasSubstr("one column"));
    put(folder / "Y.npy", tensor<double>({2, 4, 3, 5}), true);
    describe(onnx(""));
    EXPECT_THAT(run().text, HasSubstr("Y has not the shape of the output"));
}

TEST_F(runner, names_unknown_onnx_attributes) {
    write(true);
    describe(onnx(R"("sliding_window": 3)"));
    EXPECT_EQ(run().result, outcome::unsupported);
    EXPECT_EQ(run().text, "attribute sliding_window");
    for (const char* field : {"attributes", "inputs", "outputs"}) {
        describe(std::string(R"({"opset": 24, ")") + field + R"(": "Q"})");
        EXPECT_EQ(run().result, outcome::failed) << field;
    }
    describe(onnx("", R"(, "block_table": "x.npy")"));
    EXPECT_EQ(run().text, "input block_table");
    std::string json = onnx("");
    json.replace(json.find(R"("Y.npy")"), 7, R"("Y.npy", "lse": "x.npy")");
    describe(json);
    EXPECT_EQ(run().text, "output lse");
}

/// ONNX's soft cap bends scaled scores before masks hide them, as ours does.
TEST_F(runner, follows_onnx_softcap) {
    problem.softcap = 2.0;
    problem.right = 0;
    problem.align = test::anchor::top_left;
    write(true);
    describe(onnx(R"("is_causal": 1, "softcap": 2.0)"));
    EXPECT_EQ(run().text, "");
    for (const dtype t : {dtype::fp64, dtype::fp16, dtype::bf16}) EXPECT_EQ(run(t).text, "") << test::name(t);
    describe(onnx(R"("is_causal": 1, "softcap": 2.5)"));
    EXPECT_EQ(run().result, outcome::failed);
    describe(onnx(R"("is_causal": 1)"));
    EXPECT_EQ(run().result, outcome::failed);
    describe(onnx(R"("softcap": -2.0)"));
    EXPECT_THAT(run().text, HasSubstr("softcap is -2.0: it must be at least 0"));
}

} // namespace
} // namespace pantile::conformance
