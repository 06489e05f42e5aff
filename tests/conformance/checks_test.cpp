// What the runner lets pass and what it does not: answers of a made-up backend, off by a little less and a little more than is
// allowed, in each tensor and type.
#include <cmath>
#include <fstream>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <npy.hpp>

#include <pantile/error.hpp>
#include <support/data.hpp>
#include <support/scratch_folder.hpp>

#include "case_type.hpp"
#include "conformance.hpp"

namespace pantile::conformance {
namespace {

using testing::HasSubstr;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr dtype all_types[] = {dtype::fp64, dtype::fp32, dtype::fp16, dtype::bf16};

// What the backend gives, and what it was asked for. (A run_function is a plain pointer.)
results answers;
struct {
    attention_inputs in;
    dtype type = dtype::fp64;
    layout memory = layout::bhsd;
    bool backward = false;
} asked;

results answer(const attention_case&, const attention_inputs& in, dtype t, layout l, bool backward) {
    asked = {in, t, l, backward};
    return answers;
}

void put(const std::filesystem::path& file, const tensor<double>& t) {
    npy::write(file, npy::make(std::vector<std::int64_t>(t.extent.begin(), t.extent.end()), t.data.data()));
}

class checks : public testing::Test {
  protected:
    checks() {
        problem.q_heads = problem.kv_heads = 2;
        problem.q_len = 3;
        problem.k_len = 5;
        problem.head_dim = 4;
        problem.value_dim = 6;
        problem.scale = 0.5;
    }
    /// Inputs of a type, with values so many times as large; right answers, all in float64 files.
    void write(bool onnx, dtype t, double size = 1.0) {
        in = test::make_inputs(problem, t, test::data_kind::normal, 5);
        for (double& x : in.v.data) x = size * std::copysign(1.0 + std::abs(std::fmod(x, 0.5)), x); // rows beyond 1
        in.v = rounded(in.v, t);
        const auto f = test::plain_forward<double>(problem, in);
        const auto g = test::plain_backward<double>(problem, in);
        answers = {f.out, f.lse, g.dq, g.dk, g.dv};
        put(folder / "Q.npy", in.q);
        put(folder / "K.npy", in.k);
        put(folder / "V.npy", in.v);
        put(folder / (onnx ? "Y.npy" : "O.npy"), f.out);
        const std::string type = std::string(R"("dtype": ")") + test::name(t) + '"';
        std::ofstream(folder / "case.json")
            << "{" << type
            << (onnx
                    ? R"(, "opset": 24, "attributes": {}, "inputs": {"Q": "Q.npy", "K": "K.npy", "V": "V.npy"}, "outputs": {"Y": "Y.npy"}})"
                    : "}");
        if (onnx) return;
        put(folder / "LSE.npy", f.lse);
        put(folder / "dO.npy", in.dout);
        put(folder / "dQ.npy", g.dq);
        put(folder / "dK.npy", g.dk);
        put(folder / "dV.npy", g.dv);
    }
    [[nodiscard]] report run(std::optional<dtype> as = {}, const char* backend = "cpu") const {
        return run_case(folder.path(), {answer, backend, as});
    }
    /// The runner's word on answers whose tensor is off by `error` in one place.
    [[nodiscard]] report off_by(double error, tensor<double> results::*which, std::optional<dtype> as = {}) const {
        const results right = answers;
        (answers.*which)(0, 1, 2, 0) += error;
        const report r = run(as);
        answers = right;
        return r;
    }
    attention_case problem;
    attention_inputs in;
    test::scratch_folder folder;
};

constexpr std::pair<const char*, tensor<double> results::*> tensors[] = {
    {"O", &results::out}, {"LSE", &results::lse}, {"dQ", &results::dq}, {"dK", &results::dk}, {"dV", &results::dv}};

TEST_F(checks, tolerances_by_hand) {
    EXPECT_EQ(tolerance_of(dtype::fp64), 1e-10);
    EXPECT_EQ(tolerance_of(dtype::fp32), 1e-5);
    EXPECT_EQ(tolerance_of(dtype::fp16), 3e-3);
    EXPECT_EQ(tolerance_of(dtype::bf16), 1e-2);
}

/// Absolute where the row's numbers are below 1, relative to its largest above.
TEST_F(checks, own_type_within_its_tolerance) {
    for (const dtype t : all_types) {
        for (const double size : {0x1p-6, 64.0}) {
            write(true, t, size);
            double largest = 1.0;
            for (index_t x = 0; x < problem.value_dim; ++x)
                largest = std::max(largest, std::abs(answers.out(0, 1, 2, x)));
            EXPECT_EQ(largest > 1.0, size > 1.0);
            const double allowed = tolerance_of(t) * largest;
            EXPECT_EQ(run().text, "");
            for (const double sign : {1.0, -1.0}) {
                EXPECT_EQ(off_by(sign * 0.9 * allowed, &results::out).text, "") << test::name(t) << ' ' << size;
                EXPECT_EQ(off_by(sign * 1.1 * allowed, &results::out).result, outcome::failed)
                    << test::name(t) << ' ' << size;
            }
            EXPECT_THAT(off_by(2.0 * allowed, &results::out).text, HasSubstr("Y(0, 1, 2, 0) is "));
        }
    }
}

/// Float64 cases in a narrow type store their gradients and log-sum-exp in it, too: each is held.
TEST_F(checks, every_tensor_within_its_tolerance) {
    for (const dtype t : {dtype::fp32, dtype::fp16, dtype::bf16}) {
        write(false, t);
        EXPECT_EQ(run().text, "");
        for (const auto& [name, which] : tensors) {
            EXPECT_EQ(off_by(0.9 * tolerance_of(t), which).text, "") << name;
            const report r = off_by(20.0 * tolerance_of(t), which);
            EXPECT_EQ(r.result, outcome::failed) << name;
            EXPECT_THAT(r.text, HasSubstr(std::string(name) + "(0, 1, 2, 0)"));
        }
    }
}

/// By the error rule: a few roundoffs, of the type that was asked for.
TEST_F(checks, every_tensor_within_the_error_rule) {
    write(false, dtype::fp64);
    EXPECT_EQ(run().text, "");
    for (const auto& [name, which] : tensors) {
        EXPECT_EQ(off_by(1e-15, which).text, "") << name;
        EXPECT_THAT(off_by(1e-12, which).text, HasSubstr(std::string(name) + "(0, 1, 2, 0)"));
    }
    in.q = rounded(in.q, dtype::fp32);
    in.k = rounded(in.k, dtype::fp32);
    in.v = rounded(in.v, dtype::fp32);
    in.dout = rounded(in.dout, dtype::fp32);
    const auto f = test::plain_forward<double>(problem, in);
    const auto g = test::plain_backward<double>(problem, in);
    answers = {f.out, f.lse, g.dq, g.dk, g.dv};
    EXPECT_EQ(run(dtype::fp32).text, "");
    for (const auto& [name, which] : tensors) {
        EXPECT_EQ(off_by(1e-7, which, dtype::fp32).text, "") << name;
        EXPECT_THAT(off_by(1e-3, which, dtype::fp32).text, HasSubstr(std::string(name) + "(0, 1, 2, 0)"));
    }
}

TEST_F(checks, what_is_not_finite_fails) {
    for (const bool onnx : {true, false}) {
        write(onnx, dtype::fp64);
        for (const double bad : {std::nan(""), infinity, -infinity}) {
            for (const auto& [name, which] : tensors) {
                if (onnx && which != &results::out) continue;
                EXPECT_EQ(off_by(bad, which).result, outcome::failed) << name << ' ' << bad;
            }
        }
    }
    write(true, dtype::fp32); // an infinite number that is expected allows nothing to its neighbours
    answers.out(0, 1, 2, 5) = infinity;
    put(folder / "Y.npy", answers.out);
    EXPECT_EQ(run().text, "");
    EXPECT_EQ(off_by(0.1, &results::out).result, outcome::failed);
    EXPECT_EQ(off_by(0.5e-5, &results::out).text, ""); // nor does it take anything from them
    answers.out(0, 1, 2, 5) = -infinity;
    EXPECT_EQ(run().result, outcome::failed);
}

TEST_F(checks, other_shapes_fail) {
    write(false, dtype::fp64);
    for (const auto& [name, which] : tensors) {
        const results right = answers;
        answers.*which = {};
        EXPECT_THAT(run().text, HasSubstr(std::string(name) + " has the wrong shape"));
        answers = right;
    }
}

/// In another type the answers are held against the reference, so the reference must give what is stored.
TEST_F(checks, stored_answers_are_held_against_the_reference) {
    for (const auto& [name, which] : tensors) {
        for (const double error : {0.9e-11, 1.1e-9}) {
            write(false, dtype::fp64, 0x1p-6);
            tensor<double> stored = answers.*which;
            stored(0, 1, 2, 0) += error;
            put(folder / (std::string(name) + ".npy"), stored);
            // As fp32 the answers to rounded inputs are expected.
            attention_inputs rounded_in = in;
            for (tensor<double>* x : {&rounded_in.q, &rounded_in.k, &rounded_in.v, &rounded_in.dout})
                *x = rounded(*x, dtype::fp32);
            const auto f = test::plain_forward<double>(problem, rounded_in);
            const auto g = test::plain_backward<double>(problem, rounded_in);
            answers = {f.out, f.lse, g.dq, g.dk, g.dv};
            if (error < 1e-10) {
                EXPECT_EQ(run(dtype::fp32).text, "") << name;
            } else {
                EXPECT_THAT(run(dtype::fp32).text, HasSubstr("the reference's " + std::string(name) + "(0, 1, 2, 0)"));
            }
        }
    }
    for (const dtype t : {dtype::fp32, dtype::bf16}) { // answers of a narrow type, within its tolerance
        for (const double factor : {0.9, 1.1}) {
            write(true, t, 0x1p-6);
            tensor<double> stored = answers.out;
            stored(0, 1, 2, 0) += factor * tolerance_of(t);
            put(folder / "Y.npy", stored);
            EXPECT_EQ(run(dtype::fp64).result, factor < 1.0 ? outcome::passed : outcome::failed) << test::name(t);
        }
    }
}

TEST_F(checks, backends_are_asked_for_what_the_case_is) {
    write(false, dtype::fp64);
    for (const dtype t : all_types) {
        (void)run(t);
        EXPECT_EQ(asked.type, t);
        EXPECT_TRUE(asked.backward);
        EXPECT_EQ(asked.in.q.data, rounded(in.q, t).data);
        EXPECT_EQ(asked.in.k.data, rounded(in.k, t).data);
        EXPECT_EQ(asked.in.v.data, rounded(in.v, t).data);
        EXPECT_EQ(asked.in.dout.data, rounded(in.dout, t).data);
    }
    (void)run();
    EXPECT_EQ(asked.type, dtype::fp64);
    EXPECT_EQ(asked.memory, layout::bhsd);
    (void)run({}, "cuda"); // has no backward pass
    EXPECT_FALSE(asked.backward);
    answers.dq = {};
    EXPECT_EQ(run({}, "cuda").text, "");
    EXPECT_EQ(run().result, outcome::failed);
    std::filesystem::remove(folder / "dO.npy");
    for (const char* name : {"dQ.npy", "dK.npy", "dV.npy"}) std::filesystem::remove(folder / name);
    EXPECT_EQ(run().text, ""); // nothing is stored: nothing is asked for
    EXPECT_FALSE(asked.backward);
    write(true, dtype::bf16);
    (void)run();
    EXPECT_EQ(asked.type, dtype::bf16);
}

/// The log-sum-exp of sums that are cut off may be further off, if the backend says that they are.
TEST_F(checks, takes_the_sums_from_the_backend) {
    write(false, dtype::fp64);
    for (tensor<double>* x : {&in.q, &in.k, &in.v}) *x = rounded(*x, dtype::bf16);
    const auto f = test::plain_forward<double>(problem, in);
    const auto rounds = bound_forward(problem, in, dtype::bf16, dtype::bf16);
    const auto cuts =
        bound_forward(problem, in, dtype::bf16, dtype::bf16, test::p_rounding::none, test::score_sums::cut_off);
    answers = {rounded(f.out, dtype::bf16), f.lse, {}, {}, {}};
    answers.lse(0, 1, 2) += 0.5 * (rounds.lse.allowed(0, 1, 2) + cuts.lse.allowed(0, 1, 2));
    EXPECT_THAT(run(dtype::bf16, "cuda").text, HasSubstr("LSE(0, 1, 2, 0)"));
    answers.sums = test::score_sums::cut_off;
    EXPECT_EQ(run(dtype::bf16, "cuda").text, "");
}

/// The worst of several wrong tensors speaks.
TEST_F(checks, names_the_worst) {
    write(false, dtype::fp32);
    answers.out(0, 0, 0, 1) += 1.0;
    answers.dk(0, 0, 4, 2) += 900.0;
    answers.dv(0, 0, 1, 1) += 1.0;
    EXPECT_THAT(run().text, HasSubstr("dK(0, 0, 4, 2)"));
}

TEST_F(checks, what_a_backend_throws_is_told) {
    write(false, dtype::fp64);
    const auto says = [&](run_function f) { return run_case(folder.path(), {f, "cpu", {}}); };
    const report refused = says([](const attention_case&, const attention_inputs&, dtype, layout, bool) -> results {
        throw unsupported("no such thing");
    });
    EXPECT_EQ(refused.result, outcome::unsupported);
    EXPECT_EQ(refused.text, "no such thing");
    const report broken = says([](const attention_case&, const attention_inputs&, dtype, layout, bool) -> results {
        throw std::runtime_error("out of luck");
    });
    EXPECT_EQ(broken.result, outcome::failed);
    EXPECT_EQ(broken.text, "out of luck");
    const report wrong = says([](const attention_case&, const attention_inputs&, dtype, layout, bool) -> results {
        throw invalid_argument("q is wrong");
    });
    EXPECT_EQ(wrong.result, outcome::failed);
}

TEST(find_backend, finds_what_is_built) {
    EXPECT_EQ(find_backend("cpu"), &run_on_cpu);
    EXPECT_EQ(find_backend("abacus"), nullptr);
    EXPECT_EQ(find_backend(""), nullptr);
}

} // namespace
} // namespace pantile::conformance
