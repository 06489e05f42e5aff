// The runner on float64 cases: what it maps onto the page, what it refuses, that it notices wrong answers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runner.hpp"

namespace pantile::conformance {
namespace {

using testing::HasSubstr;

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
    for (const char* role : {"alibi_slopes", "sinks"}) {
        EXPECT_EQ(array(role, {3}, 0.5).result, outcome::failed);
        EXPECT_THAT(array(role, {3}, 0.5).text, HasSubstr("one number a query head"));
    }
    EXPECT_EQ(array("bias", {1, 1, 3, 5}, 0.5).text, "bias");
    EXPECT_THAT(array("block_mask", {2, 2}, 1.0).text, HasSubstr("block_rows"));
    describe(R"({"block_rows": 2, "block_cols": 0})");
    EXPECT_THAT(array("block_mask", {2, 2}, 1.0).text, HasSubstr("at least 1"));
    describe(R"({"block_rows": 2, "block_cols": 3, "softcap": 1.5})");
    EXPECT_EQ(array("block_mask", {2, 2}, 1.0).text, "block mask");
}

/// Features of cases that are known by name alone: all that a case needs, and nothing is read.
TEST_F(runner, names_what_no_machine_has) {
    write(false);
    const std::pair<const char*, const char*> cases[] = {
        {R"({"kind": "packed", "inputs": {"q_offsets": "none.npy", "k_offsets": "none.npy"}})", "packed batches"},
        {R"({"kind": "paged", "page": 3, "inputs": {"page_table": "none.npy", "key_lengths": "none.npy"}})",
         "paged keys"},
        {R"({"kind": "dense", "spans_are": "prefix", "inputs": {"spans": "none.npy"}})", "spans"},
        {R"({"kind": "dense", "inputs": {"visible": "none.npy", "bias": "none.npy"}})", "boolean mask, bias"},
        {R"({"kind": "dlse", "inputs": {"dLSE": "none.npy", "spans": "none.npy"}})", "spans, dLSE"},
        {R"({"kind": "no_value", "inputs": {"dLSE": "none.npy"}})", "dLSE"},
        {R"({"kind": "upside_down"})", "unknown kind \"upside_down\""},
    };
    for (const auto& [json, says] : cases) {
        describe(json);
        EXPECT_EQ(run().result, outcome::unsupported) << json;
        EXPECT_EQ(run().text, says);
    }
    describe(R"({"kind": "wide", "mask": "full"})"); // says what the shapes say
    EXPECT_EQ(run().text, "");
}

/// Soft caps, slopes and sinks reach the call, each with its gradient: right with them, wrong with others.
TEST_F(runner, serves_what_changes_a_logit) {
    for (const int which : {0, 1, 2, 3}) {
        problem = plain_problem();
        if (which == 0 || which == 3) problem.softcap = 1.5;
        if (which == 1 || which == 3) problem.slopes = {0.5, 0.25, 0.0, -0.125};
        if (which == 2 || which == 3) problem.sinks = {0.5, -1.0, 2.0, -HUGE_VAL};
        write(false);
        const std::string right = problem.softcap > 0.0 ? R"({"softcap": 1.5})" : "{}";
        describe(right);
        EXPECT_EQ(run().text, "") << which;
        for (const dtype t : {dtype::fp32, dtype::fp16, dtype::bf16}) EXPECT_EQ(run(t).text, "") << test::name(t);
        if (which == 0 || which == 3) {
            describe(R"({"softcap": 1.25})");
            EXPECT_EQ(run().result, outcome::failed);
            describe(right);
        }
        const auto changed = [&](const char* role, const std::vector<double>& numbers) {
            std::vector<double> other = numbers;
            other[2] += 0.0625;
            put_heads(role, other);
            const report r = run();
            const report narrow = run(dtype::fp32);
            put_heads(role, numbers);
            EXPECT_EQ(r.result, outcome::failed) << role;
            EXPECT_EQ(narrow.result, outcome::failed) << role;
            return r.text;
        };
        const auto gradients =
            test::plain_backward<double>(problem, test::make_inputs(problem, dtype::fp64, test::data_kind::normal, 5));
        if (!problem.slopes.empty()) {
            changed("alibi_slopes", problem.slopes);
            EXPECT_THAT(changed("dslopes", gradients.dslopes), HasSubstr("dslopes(0, 2, 0, 0)"));
        }
        if (!problem.sinks.empty()) {
            changed("sinks", problem.sinks);
            EXPECT_THAT(changed("dsinks", gradients.dsinks), HasSubstr("dsinks(0, 2, 0, 0)"));
        }
        std::filesystem::remove(folder / "dslopes.npy"); // need not be stored
        std::filesystem::remove(folder / "dsinks.npy");
        EXPECT_EQ(run().text, "");
    }
    describe(R"({"softcap": -1.5})");
    EXPECT_THAT(run().text, HasSubstr("softcap is -1.5"));
    problem = plain_problem();
    write(false);
    describe("{}");
    put_heads("dsinks", {1.0, 2.0, 3.0, 4.0});
    EXPECT_THAT(run().text, HasSubstr("dsinks does not fit"));
}

/// Key lengths of a case of the repository's own kind.
TEST_F(runner, reads_key_lengths) {
    problem.key_lengths = {4, 0};
    write(false);
    describe("{}");
    const auto lengths = [&](std::vector<std::int64_t> numbers) {
        npy::write(folder / "key_lengths.npy", npy::make({static_cast<std::int64_t>(numbers.size())}, numbers.data()));
        return run();
    };
    EXPECT_EQ(lengths({4, 0}).text, "");
    EXPECT_EQ(lengths({5, 0}).result, outcome::failed);
    EXPECT_THAT(lengths({4}).text, HasSubstr("key_lengths has not one number a batch"));
    EXPECT_THAT(lengths({4, 6}).text, HasSubstr("key_lengths are not within the keys"));
    EXPECT_THAT(lengths({4, -1}).text, HasSubstr("key_lengths are not within the keys"));
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
