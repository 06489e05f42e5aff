// The program as its user meets it: what it prints, and what it ends with.
#include <array>
#include <cstdio>
#include <fstream>

#include <sys/wait.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <npy.hpp>

#include <support/data.hpp>
#include <support/scratch_folder.hpp>

namespace pantile::test {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

struct ending {
    int code = -1;
    std::string text; ///< standard output and standard error
};

ending program(const std::string& arguments) {
    ending e;
    FILE* pipe = popen((PANTILE_CONFORMANCE " " + arguments + " 2>&1").c_str(), "r");
    if (pipe == nullptr) return e;
    std::array<char, 4096> piece{};
    while (const std::size_t n = std::fread(piece.data(), 1, piece.size(), pipe)) e.text.append(piece.data(), n);
    const int status = pclose(pipe);
    e.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return e;
}

/// A folder of cases, right ones, wrong ones and ones that are not served.
class conformance_program : public testing::Test {
  protected:
    void add(const std::string& name, const std::string& description, double error = 0.0) const {
        const auto place = folder / name;
        std::filesystem::create_directories(place);
        attention_case c;
        c.q_len = 2;
        c.k_len = 3;
        c.head_dim = c.value_dim = 4;
        c.scale = 0.5;
        const auto in = make_inputs(c, dtype::bf16, data_kind::normal, 1);
        tensor<double> out = plain_forward<double>(c, in).out;
        out(0, 0, 1, 2) += error;
        const std::pair<const char*, const tensor<double>*> files[] = {
            {"Q.npy", &in.q}, {"K.npy", &in.k}, {"V.npy", &in.v}, {"O.npy", &out}};
        for (const auto& [file, t] : files)
            npy::write(place / file,
                       npy::make(std::vector<std::int64_t>(t->extent.begin(), t->extent.end()), t->data.data()));
        std::ofstream(place / "case.json") << description;
    }
    [[nodiscard]] ending run(const std::string& more = "") const { return program(folder.path().string() + more); }
    scratch_folder folder;
};

TEST_F(conformance_program, counts_what_it_ran) {
    add("b/right", "{}");
    add("a", "{}");
    EXPECT_EQ(run().text, "2 passed, 0 failed, 0 unsupported\n");
    EXPECT_EQ(run().code, 0);
    add("paged", R"({"kind": "paged"})"); // not served: said, and no failure
    EXPECT_EQ(run().text, "unsupported paged: paged keys\n2 passed, 0 failed, 1 unsupported\n");
    EXPECT_EQ(run().code, 0);
    add("b/wrong", "{}", 1.0);
    add("c", "{}", 1.0);
    add("d", "{}", 1.0);
    EXPECT_EQ(run().code, 1);
    EXPECT_THAT(run().text, StartsWith("FAILED      b/wrong: O(0, 0, 1, 2) is "));
    EXPECT_THAT(run().text, HasSubstr("\n2 passed, 3 failed, 1 unsupported\n"));
    EXPECT_EQ(run(" --allow-unsupported").code, 1);
}

/// Cases of which none was compared are no success.
TEST_F(conformance_program, is_not_content_with_nothing) {
    EXPECT_EQ(run().code, 1);
    EXPECT_THAT(run().text, HasSubstr("no case.json below " + folder.path().string()));
    EXPECT_THAT(run().text, HasSubstr("0 passed, 0 failed, 0 unsupported\n"));
    EXPECT_EQ(run(" --allow-unsupported").code, 1);
    add("paged", R"({"kind": "paged"})");
    EXPECT_EQ(run().code, 1);
    EXPECT_THAT(run().text, HasSubstr("no case passed: none is supported"));
    EXPECT_EQ(run(" --allow-unsupported").code, 0);
    EXPECT_EQ(run(" --allow-unsupported").text, "unsupported paged: paged keys\n0 passed, 0 failed, 1 unsupported\n");
    add("wrong", "{}", 1.0);
    EXPECT_EQ(run().code, 1);
    EXPECT_EQ(run(" --allow-unsupported").code, 1);
}

TEST_F(conformance_program, runs_in_the_type_that_is_asked_for) {
    add("a", "{}", 1e-9); // too much for fp64, which is this case's own type, and for the reference
    EXPECT_THAT(run().text, HasSubstr("FAILED      a: O(0, 0, 1, 2)"));
    EXPECT_THAT(run(" --dtype f32").text, HasSubstr("FAILED      a: the reference's O(0, 0, 1, 2)"));
    EXPECT_EQ(run(" --dtype f32").code, 1);
    add("a", R"({"dtype": "bf16"})", 1e-4);
    for (const char* type : {"f32", "f16", "bf16"}) {
        EXPECT_EQ(run(std::string(" --dtype ") + type).text, "1 passed, 0 failed, 0 unsupported\n") << type;
        EXPECT_EQ(run(std::string(" --dtype=") + type).code, 0) << type;
    }
    add("a", R"({"dtype": "bf16"})", 0.1);
    for (const char* type : {"f64", "f32", "f16", "bf16"})
        EXPECT_EQ(run(std::string(" --dtype ") + type).code, 1) << type;
}

TEST_F(conformance_program, names_the_backend_that_is_missing) {
    add("a", "{}");
    EXPECT_EQ(run(" --backend cpu").code, 0);
    EXPECT_EQ(run(" --backend=cpu").code, 0);
    const ending cuda = run(" --backend cuda");
    if (cuda.text.find("no backend") == std::string::npos) GTEST_SKIP() << "this build has the CUDA backend";
    EXPECT_EQ(cuda.code, 1);
    EXPECT_THAT(cuda.text, HasSubstr("unsupported a: this build has no backend \"cuda\""));
    EXPECT_THAT(cuda.text, HasSubstr("0 passed, 0 failed, 1 unsupported"));
}

TEST_F(conformance_program, calls_that_make_no_sense) {
    add("a", "{}");
    const std::string here = folder.path().string();
    const std::pair<std::string, std::string> calls[] = {
        {"", "which folder?"},
        {"--dtype f32", "which folder?"},
        {here + "/none", here + "/none is not a folder"},
        {here + "/a/case.json", "/a/case.json is not a folder"},
        {here + " " + here, "one folder at a time"},
        {here + " --fast", "there is no option --fast"},
        {here + " --dtype", "--dtype needs a value"},
        {here + " --backend", "--backend needs a value"},
        {here + " --dtype f8", "--dtype is f64, f32, f16 or bf16, not f8"},
        {here + " --dtype=", "--dtype is f64, f32, f16 or bf16, not "},
        {here + " --backend gpu", "--backend is cpu or cuda, not gpu"},
    };
    for (const auto& [call, says] : calls) {
        const ending e = program(call);
        EXPECT_EQ(e.code, 2) << call;
        EXPECT_THAT(e.text, StartsWith("pantile-conformance: ")) << call;
        EXPECT_THAT(e.text, HasSubstr(says)) << call;
        EXPECT_THAT(e.text, HasSubstr("usage: pantile-conformance DIR")) << call;
        EXPECT_THAT(e.text, Not(HasSubstr(" passed, "))) << call;
    }
    for (const char* help : {"--help", "-h"}) {
        EXPECT_EQ(program(help).code, 0);
        EXPECT_THAT(program(help).text, StartsWith("usage: pantile-conformance DIR"));
        EXPECT_THAT(program(help).text, HasSubstr("--allow-unsupported"));
    }
}

} // namespace
} // namespace pantile::test
