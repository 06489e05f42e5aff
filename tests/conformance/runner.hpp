/// \file
/// A case made on the spot, in a folder of its own: what the tests of the runner write, change and run.
#pragma once

#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <npy.hpp>

#include <support/data.hpp>
#include <support/scratch_folder.hpp>
#include <support/vector_case.hpp>

#include "conformance.hpp"

namespace pantile::conformance {

inline void put(const std::filesystem::path& file, const tensor<double>& t, bool as_float) {
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
        // Where the problem has them; their names alone make them part of the case.
        put_heads("alibi_slopes", problem.slopes), put_heads("dslopes", backward.dslopes);
        put_heads("sinks", problem.sinks), put_heads("dsinks", backward.dsinks);
    }
    [[nodiscard]] report run(std::optional<dtype> type = {}) const {
        return run_case(folder.path(), {run_on_cpu, "cpu", type});
    }

    void put_heads(const char* role, const std::vector<double>& numbers) const {
        const auto file = folder / (std::string(role) + ".npy");
        std::filesystem::remove(file);
        if (numbers.empty()) return;
        npy::write(file, npy::make({static_cast<std::int64_t>(numbers.size())}, numbers.data()));
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

} // namespace pantile::conformance
