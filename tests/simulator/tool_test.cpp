// The tool as its user sees it: output, exit codes, one clear line for bad input.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <string>

#include <sys/wait.h>

namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

struct outcome {
    int code = -1;
    std::string text; ///< standard output and standard error
};

outcome tool(const std::string& arguments) {
    outcome o;
    FILE* pipe = popen((PANTILE_SIM " " + arguments + " 2>&1").c_str(), "r");
    if (pipe == nullptr) return o;
    std::array<char, 4096> piece{};
    while (const std::size_t n = std::fread(piece.data(), 1, piece.size(), pipe)) o.text.append(piece.data(), n);
    const int status = pclose(pipe);
    o.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return o;
}

void expect_one_line(const outcome& o, int code, const std::string& part) {
    EXPECT_EQ(o.code, code) << o.text;
    EXPECT_THAT(o.text, AllOf(StartsWith("pantile-sim: "), HasSubstr(part)));
    EXPECT_EQ(o.text.find('\n'), o.text.size() - 1) << o.text;
}

TEST(tool, an_unknown_verb_is_named_with_the_nearest_one) {
    expect_one_line(tool("swep"), 2, "there is no 'swep'; did you mean 'sweep'?");
    expect_one_line(tool("--json run x"), 2, "--json");
    expect_one_line(tool("frobnicate -n 4"), 2, "there is no 'frobnicate'; there are run, check,");
    expect_one_line(tool(""), 2, "Name one of run, check,");
    EXPECT_EQ(tool("--help").code, 0);
}

TEST(tool, bad_input_is_one_line) {
    expect_one_line(tool("run -n 12Q"), 2, "-n is '12Q'");
    expect_one_line(tool("run --blocks 64:random:10"), 2, "blocks is '64:random:10'");
    expect_one_line(tool("run --devices 2"), 2, "fa2 runs on one device");
    expect_one_line(tool("run --algorithm ring --devices 0"), 2, "devices is 0");
    expect_one_line(tool("run --algorithm fa3"), 2, "there is no algorithm 'fa3'");
    expect_one_line(tool("run -d 64 --sram 4K --tiles 64x64"), 3, "does not fit");
}

TEST(tool, every_verb_speaks_json) {
    for (const char* arguments :
         {"run -n 256 --json", "run -n 256 --machine h100 --json",
          "run -n 256 --dtype fp32 --caches --machine a100 --json", "check --random 2 --json", "check -n 100 --json",
          "plan --json", "sweep -n 4K --sram 8K:16K:2 --json", "reproduce fa1-fig2-middle --json", "l2 -n 4K --json",
          "machines --json", "machines h100 --json", "trace -n 256 --out /dev/null --json"}) {
        const outcome o = tool(arguments);
        EXPECT_EQ(o.code, 0) << arguments << '\n' << o.text;
        EXPECT_TRUE(o.text.front() == '{' || o.text.front() == '[') << arguments << '\n' << o.text;
    }
    const outcome estimated = tool("run -n 256 --machine h100 --json");
    EXPECT_THAT(estimated.text, AllOf(HasSubstr("\"estimate\""), HasSubstr("\"bound_by\": \"matrix\"")));
    EXPECT_THAT(tool("run --algorithm ring -n 512 --devices 2 --machine h100 --json").text,
                AllOf(HasSubstr("\"link\""), HasSubstr("\"network\"")));
}

TEST(tool, tables_go_to_csv) {
    EXPECT_THAT(tool("run -n 256 --csv -").text, StartsWith("tensor,reads,writes,"));
    EXPECT_THAT(tool("plan --csv -").text, StartsWith("row_tile,key_tile,"));
    EXPECT_THAT(tool("l2 -n 4K --csv -").text, StartsWith("order,cache_bytes,"));
    EXPECT_THAT(tool("machines h100 --csv -").text, HasSubstr("\nmemory_gb_per_s,3350,\"H100 datasheet, SXM\"\n"));
    EXPECT_THAT(tool("reproduce fa1-fig2-middle --csv -").text, StartsWith("figure,label,published,"));
}

TEST(tool, one_case_of_your_own_is_checked_on_every_algorithm_that_takes_it) {
    const outcome o = tool("check -n 300 -d 16 --mask causal --blocks 32x16:butterfly --tiles 32x32");
    EXPECT_EQ(o.code, 0);
    EXPECT_THAT(o.text, HasSubstr("7 algorithms, all counted == closed form"));
    EXPECT_THAT(tool("check -n 300 -d 16 --devices 3 --tiles 32x32").text, StartsWith("2 algorithms"));
}

} // namespace
