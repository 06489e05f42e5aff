// The runner on cases made on the spot: what it maps onto the page, what it refuses, that it notices wrong answers.
#include <fstream>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <npy.hpp>

#include <support/data.hpp>
#include <support/scratch_folder.hpp>
#include <support/vector_case.hpp>

#include "conformance.hpp"

namespace pantile::conformance {
namespace {

using testing::HasSubstr;

void put(const std::filesystem::path& file, const tensor<double>& t, bool as_float) {
    const std::vector<std::int64_t> shape(t.extent.begin(), t.extent.end());
    const std::vector<float> narrow(t.data.begin(), t.data.end());
    npy::write(file, as_float ? npy::make(shape, narrow.data()) : npy::make(shape, t.data.data()));
}

/// A case in a folder of its own: written, changed, run.
class runner : public testing::Test {
  protected:
    static attention_case plain_problem() {
        attention_case c;
        c.batch = 2;
        c.kv_heads = 2;
        c.q_heads = 4;
        c.q_len = 3;
        c.k_len = 5;
        c.head_dim = 4;
        c.value_dim = 6;
        c.scale = 0.5;
        return c;
    }
    void describe(const std::string& json) const { std::ofstream(folder / "case.json") << json; }
    /// Writes inputs and right answers.
    void write(bool onnx) {
        const attention_inputs in =
            test::make_inputs(problem, onnx ? dtype::fp32 : dtype::fp64, test::data_kind::normal, 5);
        const auto forward = test::plain_forward<double>(problem, in);
        put(folder / "Q.npy", in.q, onnx);
        put(folder / "K.npy", in.k, onnx);
        put(folder / "V.npy", in.v, onnx);
        put(folder / (onnx ? "Y.npy" : "O.npy"), forward.out, onnx);
        if (onnx) return;
        const auto backward = test::plain_backward<double>(problem, in);
        put(folder / "LSE.npy", forward.lse, false);
        put(folder / "dO.npy", in.dout, false);
        put(folder / "dQ.npy", backward.dq, false);
        put(folder / "dK.npy", backward.dk, false);
        put(folder / "dV.npy", backward.dv, false);
    }
    [[nodiscard]] report run(std::optional<dtype> type = {}) const {
        return run_case(folder.path(), {run_on_cpu, "cpu", type});
    }

    static constexpr const char* onnx_inputs = R"("inputs": {"Q": "Q.npy", "K": "K.npy", "V": "V.npy")";
    static constexpr const char* onnx_outputs = R"("outputs": {"Y": "Y.npy"})";
    [[nodiscard]] static std::string onnx(const std::string& attributes, const std::string& more_inputs = "") {
        return R"({"opset": 24, "attributes": {)" + attributes + "}, " + onnx_inputs + more_inputs + "}, " +
               onnx_outputs + "}";
    }

    attention_case problem = plain_problem();
    test::scratch_folder folder;
};

TEST_F(runner, passes_a_float64_case_with_few_fields) {
    write(false);
    describe(R"({"mask": "full"})");
    EXPECT_EQ(run().text, "");
    EXPECT_EQ(run().result, outcome::passed);
    for (const dtype t : {dtype::fp32, dtype::fp16, dtype::bf16}) EXPECT_EQ(run(t).text, "") << test::name(t);
}

TEST_F(runner, notices_each_wrong_tensor) {
    for (const char* role : {"O", "LSE", "dQ", "dK", "dV"}) {
        write(false);
        describe(R"({"mask": "full"})");
        const auto file = folder / (std::string(role) + ".npy");
        npy::array a = npy::read(file);
        std::vector<double> values = a.as<double>();
        values[3] += 1e-9;
        npy::write(file, npy::make(a.shape, values.data()));
        EXPECT_EQ(run().result, outcome::failed) << role;
        EXPECT_THAT(run().text, HasSubstr(std::string(role) + "("));
        EXPECT_THAT(run().text, HasSubstr("allowed"));
    }
}

TEST_F(runner, notices_a_wrong_mask) {
    write(false);
    describe(R"({"mask": "causal"})");
    EXPECT_EQ(run().result, outcome::failed);
    EXPECT_EQ(run(dtype::fp32).result, outcome::failed);
}

TEST_F(runner, names_what_is_not_served) {
    write(false);
    describe(R"({"softcap": 2.0})");
    EXPECT_EQ(run().result, outcome::unsupported);
    EXPECT_EQ(run().text, "softcap");
    describe(R"({"colour": "blue"})");
    EXPECT_EQ(run().result, outcome::unsupported);
    EXPECT_THAT(run().text, HasSubstr("colour"));
    describe(R"({"mask": "spiral"})");
    EXPECT_EQ(run().result, outcome::unsupported);
    EXPECT_EQ(run_case(folder.path(), {nullptr, "cuda", {}}).result, outcome::unsupported);
}

TEST_F(runner, says_what_is_wrong_with_a_case) {
    write(false);
    describe("{ not json");
    EXPECT_EQ(run().result, outcome::failed);
    describe(R"({"shape": {"batch": 7}})");
    EXPECT_THAT(run().text, HasSubstr("batch is 7 in case.json, 2 in the arrays"));
    describe("{}");
    std::filesystem::remove(folder / "V.npy");
    EXPECT_THAT(run().text, HasSubstr("has no V"));
    EXPECT_EQ(run().result, outcome::failed);
}

/// A description that is no description: words of the wrong type, keys that nobody knows, sizes that are others.
TEST_F(runner, refuses_descriptions_that_make_no_sense) {
    write(false);
    for (const char* json :
         {"", "[]", "7", "null", R"({"mask": 3})", R"({"mask": null})", R"({"scale": "half"})", R"({"softcap": []})",
          R"({"inputs": 3})", R"({"outputs": "O.npy"})", R"({"inputs": {"Q": 1}})", R"({"shape": {"batch": "two"}})",
          R"({"dtype": 32})", R"({"align": 1})", R"({"mask": "window", "window_left": "far"})",
          R"({"inputs": {"K": "none.npy"}})", R"({"outputs": {"LSE": "none.npy"}})"}) {
        describe(json);
        EXPECT_EQ(run().result, outcome::failed) << json;
        EXPECT_NE(run().text, "") << json;
    }
    for (const char* json : {R"({"mask": "Causal"})", R"({"align": "top_right"})", R"({"inputs": {"P": "P.npy"}})",
                             R"({"outputs": {"P": "O.npy"}})", R"({"shape": {"batches": 2}})", R"({"Scale": 0.5})"}) {
        describe(json);
        EXPECT_EQ(run().result, outcome::unsupported) << json;
        EXPECT_THAT(run().text, HasSubstr("unknown ")) << json;
    }
    for (const char* size : {"batch", "q_heads", "kv_heads", "q_len", "k_len", "head_dim", "value_dim"}) {
        describe(std::string(R"({"shape": {")") + size + R"(": 9}})");
        EXPECT_THAT(run().text, HasSubstr(std::string(size) + " is 9 in case.json")) << size;
    }
    std::filesystem::remove(folder / "case.json");
    EXPECT_EQ(run().result, outcome::failed);
}

/// Arrays of other shapes than the case's, and arrays that are missing: each is named.
TEST_F(runner, refuses_arrays_that_do_not_fit) {
    describe("{}");
    for (const char* role : {"K", "V", "O", "LSE", "dO", "dQ", "dK", "dV"}) {
        for (const std::size_t axis : {0, 1, 2, 3}) {
            for (const index_t more : {-1, 1}) {
                write(false);
                npy::array a = npy::read(folder / (std::string(role) + ".npy"));
                a.shape[axis] += more;
                const std::vector<double> numbers(static_cast<std::size_t>(a.size()), 0.5);
                npy::write(folder / (std::string(role) + ".npy"), npy::make(a.shape, numbers.data()));
                EXPECT_EQ(run().result, outcome::failed) << role << ' ' << axis;
                if (role[0] == 'K' || role[0] == 'V') continue; // V or O is named, whose shape follows from it
                const bool rows = role[0] == 'L';
                EXPECT_THAT(run().text, HasSubstr(rows ? "LSE does not have one number a row" : role));
            }
        }
    }
    write(false);
    const std::vector<double> many(720);
    npy::write(folder / "O.npy", npy::make({1, 2, 4, 3, 6}, many.data()));
    EXPECT_THAT(run().text, HasSubstr("O.npy: has 5 axes"));
    for (const char* role : {"Q", "K", "V", "O"}) {
        write(false);
        std::filesystem::remove(folder / (std::string(role) + ".npy"));
        EXPECT_THAT(run().text, HasSubstr(std::string("has no ") + role));
    }
    for (const char* role : {"dO", "dQ", "dK", "dV"}) {
        write(false);
        std::filesystem::remove(folder / (std::string(role) + ".npy"));
        EXPECT_EQ(run().result, outcome::failed);
        EXPECT_THAT(run().text, HasSubstr("has some of dO, dQ, dK and dV, not all"));
    }
    write(false);
    std::filesystem::remove(folder / "LSE.npy"); // need not be stored
    EXPECT_EQ(run().text, "");
}

/// Every field of a float64 case reaches the call: right with it, wrong with its neighbour.
TEST_F(runner, reads_each_field) {
    const auto expect = [&](const std::string& right, std::initializer_list<const char*> wrong) {
        write(false);
        describe(right);
        EXPECT_EQ(run().text, "") << right;
        for (const char* other : wrong) {
            describe(other);
            EXPECT_EQ(run().result, outcome::failed) << other;
        }
    };
    problem.right = 0;
    expect(R"({"mask": "causal", "scale": 0.5})",
           {R"({"mask": "full", "scale": 0.5})", R"({"mask": "causal", "scale": 0.25})",
            R"({"mask": "causal", "align": "top_left"})"});
    expect(R"({"mask": "causal"})", {}); // the usual scale, bottom-right
    problem.align = test::anchor::top_left;
    expect(R"({"mask": "causal", "align": "top_left"})", {R"({"mask": "causal"})"});
    problem.align = test::anchor::bottom_right;
    problem.left = 1;
    expect(R"({"mask": "window", "window_left": 1, "window_right": 0})",
           {R"({"mask": "window", "window_left": 2, "window_right": 0})",
            R"({"mask": "window", "window_left": 1, "window_right": 1})", R"({"mask": "window", "window_left": 1})",
            R"({"mask": "window", "window_right": 0})"});
    problem.right.reset();
    problem.left = 0;
    expect(R"({"mask": "window", "window_left": 0, "window_right": -1})", {R"({"mask": "window", "window_left": -1})"});
}

/// What is not served is named, one by one.
TEST_F(runner, names_each_feature_that_is_not_served) {
    write(false);
    const auto array = [&](const char* role, std::vector<std::int64_t> shape, double x) {
        std::int64_t size = 1;
        for (const std::int64_t n : shape) size *= n;
        const std::vector<double> numbers(static_cast<std::size_t>(size), x);
        npy::write(folder / (std::string(role) + ".npy"), npy::make(std::move(shape), numbers.data()));
        const report r = run();
        std::filesystem::remove(folder / (std::string(role) + ".npy"));
        return r;
    };
    describe("{}");
    for (const auto& [role, says] : {std::pair("alibi_slopes", "ALiBi"), std::pair("sinks", "sinks")}) {
        EXPECT_EQ(array(role, {4}, 0.5).text, says);
        EXPECT_EQ(array(role, {4}, 0.5).result, outcome::unsupported);
        EXPECT_THAT(array(role, {3}, 0.5).text, HasSubstr("one number a query head"));
    }
    EXPECT_EQ(array("bias", {1, 1, 3, 5}, 0.5).text, "bias");
    EXPECT_THAT(array("block_mask", {2, 2}, 1.0).text, HasSubstr("block_rows"));
    describe(R"({"block_rows": 2, "block_cols": 0})");
    EXPECT_THAT(array("block_mask", {2, 2}, 1.0).text, HasSubstr("at least 1"));
    describe(R"({"block_rows": 2, "block_cols": 3, "softcap": 1.5})");
    EXPECT_EQ(array("block_mask", {2, 2}, 1.0).text, "softcap, block mask");
}

TEST_F(runner, serves_empty_tensors) {
    problem.q_len = 0;
    write(false);
    describe("{}");
    EXPECT_EQ(run().text, "");
    problem.q_len = 3;
    problem.k_len = 0;
    write(false);
    EXPECT_EQ(run().text, "");
}

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

/// A case of any type in files of another, its output off by `error`: what the runner says of it as `type`.
struct typed_case {
    std::string name = "4d_causal";
    std::string field;        ///< put into case.json
    dtype type = dtype::bf16; ///< the numbers are exact in it
    bool onnx = true;
    bool in_float = true; ///< float32 files, else float64 ones
};

class typed_runner : public runner {
  protected:
    report run_typed(const typed_case& t, double error, std::optional<dtype> as = {}) const {
        const auto place = folder / t.name;
        std::filesystem::create_directories(place);
        const attention_inputs in = test::make_inputs(problem, t.type, test::data_kind::normal, 5);
        put(place / "Q.npy", in.q, t.in_float);
        put(place / "K.npy", in.k, t.in_float);
        put(place / "V.npy", in.v, t.in_float);
        tensor<double> out = test::plain_forward<double>(problem, in).out;
        for (double& x : out.data) x = test::rounded(x, t.type);
        double size = 1.0; // a tolerance counts from 1 or from the row's largest number
        for (index_t x = 0; x < problem.value_dim; ++x) size = std::max(size, std::abs(out(0, 0, 0, x)));
        out(0, 0, 0, 3) += error * size;
        put(place / (t.onnx ? "Y.npy" : "O.npy"), out, t.in_float);
        const std::string field = t.field.empty() ? "" : t.field + ", ";
        std::ofstream(place / "case.json") << "{" << field << (t.onnx ? onnx("").substr(1) : R"("mask": "full"})");
        return run_case(place, {run_on_cpu, "cpu", as});
    }
};

TEST_F(typed_runner, takes_the_type_from_the_name_or_from_the_description) {
    for (const bool onnx : {true, false}) {
        for (const char* name : {"4d_causal_bf16", "bf16_4d", "x-bfloat16-y", "BF16"}) {
            const typed_case t{name, "", dtype::bf16, onnx};
            EXPECT_EQ(run_typed(t, 0.0).text, "") << name;
            EXPECT_EQ(run_typed(t, 5e-3).text, "") << name;
            EXPECT_EQ(run_typed(t, 2e-2).result, outcome::failed) << name;
            EXPECT_EQ(run_typed(t, 5e-3, dtype::bf16).text, "") << name; // its own type, named once more
            EXPECT_EQ(run_typed(t, 0.0, dtype::fp32).text, "")
                << name; // in another: the stored answer has bf16's digits
            EXPECT_EQ(run_typed(t, 0.0, dtype::fp64).text, "") << name;
            EXPECT_EQ(run_typed(t, 2e-2, dtype::fp32).result, outcome::failed) << name;
        }
        const typed_case described{"4d_causal", R"("dtype": "bfloat16")", dtype::bf16, onnx};
        EXPECT_EQ(run_typed(described, 5e-3).text, "");
        EXPECT_EQ(run_typed(described, 2e-2).result, outcome::failed);
        const typed_case wide{"4d_bf16", "", dtype::bf16, onnx, false}; // in float64 files
        EXPECT_EQ(run_typed(wide, 5e-3).text, "");
        EXPECT_EQ(run_typed(wide, 2e-2).result, outcome::failed);
        const typed_case half{"4d_fp16", "", dtype::fp16, onnx};
        EXPECT_EQ(run_typed(half, 2e-3).text, "");
        EXPECT_EQ(run_typed(half, 5e-3).result, outcome::failed);
    }
}

TEST_F(typed_runner, keeps_the_type_of_the_files_where_no_other_is_named) {
    for (const char* name : {"4d_causal", "4d_bf16ish", "notbf16", "4d_fp32"}) {
        const typed_case t{name, "", dtype::fp32};
        EXPECT_EQ(run_typed(t, 0.0).text, "") << name;
        EXPECT_EQ(run_typed(t, 1e-3).result, outcome::failed) << name;
    }
}

TEST_F(typed_runner, refuses_types_that_contradict_each_other) {
    EXPECT_THAT(run_typed({"4d_fp64", "", dtype::fp32}, 0.0).text,
                HasSubstr("the case says that it is f64, Q is stored as <f4"));
    EXPECT_THAT(run_typed({"fp16_or_bf16", "", dtype::fp32}, 0.0).text, HasSubstr("holds two types"));
    EXPECT_EQ(run_typed({"fp16_or_bf16", R"("dtype": "bf16")"}, 0.0).text, "");
    EXPECT_THAT(run_typed({"4d", R"("dtype": "int8")"}, 0.0).text, HasSubstr("it must be f64, f32, f16 or bf16"));
}

/// The bound follows what the machine says of its arithmetic, not its name: the CPU has matrix units, too.
TEST_F(runner, takes_the_rounding_of_p_from_the_backend) {
    problem.q_len = 48;
    problem.k_len = 200;
    problem.scale = 0.01; // flat rows: hundreds of probabilities, each rounded
    write(false);
    describe(R"({"mask": "full", "scale": 0.01})");
    const auto in_bf16 = [](const attention_case& c, const attention_inputs& in, dtype, layout, bool) {
        results r;
        const auto plain = test::plain_forward<float>(c, in, test::p_rounding::to_bfloat16);
        for (const bool lse : {false, true}) {
            const tensor<float>& from = lse ? plain.lse : plain.out;
            tensor<double>& to = lse ? r.lse : r.out;
            to = tensor<double>(from.extent);
            for (std::size_t n = 0; n < from.data.size(); ++n) to.data[n] = from.data[n];
        }
        return r;
    };
    static const auto quiet = +in_bf16;
    const run_function honest = [](const attention_case& c, const attention_inputs& in, dtype t, layout l, bool b) {
        results r = quiet(c, in, t, l, b);
        r.rounding = test::p_rounding::to_bfloat16;
        return r;
    };
    // As fp32 without a backward pass, so that nothing but P's rounding is left to see.
    EXPECT_EQ(run_case(folder.path(), {quiet, "cuda", dtype::fp32}).result, outcome::failed);
    EXPECT_EQ(run_case(folder.path(), {honest, "cuda", dtype::fp32}).text, "");
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
    describe(onnx(R"("softcap": 2.0)"));
    EXPECT_EQ(run().text, "softcap");
}

/// Fields that are counts: a fraction would be cut off, a large number be anything.
TEST_F(runner, whole_numbers_only) {
    write(false);
    for (const char* left : {"1.5", "1e300", "true"}) {
        describe(std::string(R"({"mask": "window", "window_right": 0, "window_left": )") + left + "}");
        EXPECT_THAT(run().text, HasSubstr("window_left is")) << left;
    }
    write(true);
    describe(onnx(R"("is_causal": 0.5)"));
    EXPECT_THAT(run().text, HasSubstr("is_causal is 0.5: it must be a whole number"));
}

/// Zero keys of 2^40 heads are no elements, but no loop over the heads would end.
TEST_F(runner, an_array_without_elements_may_not_have_many_rows) {
    write(false);
    npy::write(folder / "Q.npy", npy::array{npy::type::f8, {1, std::int64_t{1} << 40, 0, 4}, {}});
    describe(R"({"mask": "full"})");
    EXPECT_THAT(run().text, HasSubstr("more than a million rows"));
}

} // namespace
} // namespace pantile::conformance
