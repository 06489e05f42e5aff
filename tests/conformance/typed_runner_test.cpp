// The runner on cases in any type: which type is judged, in files of which.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runner.hpp"

namespace pantile::conformance {
namespace {

using testing::HasSubstr;

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

} // namespace
} // namespace pantile::conformance
