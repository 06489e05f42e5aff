// The tool's verbs: each option reaches what it names, each refusal its exit code and its line, each file what it should hold.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <sstream>

#include <sys/wait.h>

#include <pantile/simulator.hpp>

#include <support/scratch_folder.hpp>

namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

struct outcome {
    int code = -1;
    std::string text, errors; ///< standard output; standard error
};

std::string read(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
}

class verbs : public ::testing::Test {
  protected:
    outcome tool(const std::string& arguments) {
        outcome o;
        const std::string errors = path("stderr");
        FILE* pipe = popen((PANTILE_SIM " " + arguments + " 2>" + errors).c_str(), "r");
        if (pipe == nullptr) return o;
        std::array<char, 4096> piece{};
        while (const std::size_t n = std::fread(piece.data(), 1, piece.size(), pipe)) o.text.append(piece.data(), n);
        const int status = pclose(pipe);
        o.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        o.errors = read(errors);
        return o;
    }
    void expect_refusal(const std::string& arguments, int code, const std::string& line) {
        SCOPED_TRACE(arguments);
        const outcome o = tool(arguments);
        EXPECT_EQ(o.code, code);
        EXPECT_EQ(o.errors, "pantile-sim: " + line + '\n');
        EXPECT_EQ(o.text, "") << "an error goes to standard error";
    }
    std::string output(const std::string& arguments, int code = 0) {
        SCOPED_TRACE(arguments);
        const outcome o = tool(arguments);
        EXPECT_EQ(o.code, code);
        EXPECT_EQ(o.errors, "");
        return o.text;
    }
    std::string write(const std::string& name, const std::string& text) {
        std::ofstream(path(name), std::ios::binary) << text;
        return path(name);
    }
    std::string path(const std::string& name) const { return (folder_ / name).string(); }

  private:
    pantile::test::scratch_folder folder_;
};

TEST_F(verbs, the_nearest_verb_is_named_if_it_is_near) {
    const std::string all =
        "there are run, check, plan, sweep, reproduce, l2, trace, compare, machines, report (pantile-sim "
        "--help)";
    expect_refusal("chek", 2, "there is no 'chek'; did you mean 'check'? (pantile-sim --help)");
    expect_refusal("rn", 2, "there is no 'rn'; did you mean 'run'? (pantile-sim --help)");
    expect_refusal("comparing", 2,
                   "there is no 'comparing'; did you mean 'compare'? (pantile-sim --help)"); // three letters
    expect_refusal("machinesabcd", 2,
                   "there is no 'machinesabcd'; did you mean 'machines'? (pantile-sim --help)"); // four
    expect_refusal("machinesabcde", 2, "there is no 'machinesabcde'; " + all);
    expect_refusal("rnu", 2, "there is no 'rnu'; " + all); // two letters of three
    expect_refusal("compareabcd", 2, "there is no 'compareabcd'; " + all);
    expect_refusal("", 2,
                   "what to do? Name one of run, check, plan, sweep, reproduce, l2, trace, compare, machines, report "
                   "(pantile-sim --help)");
    EXPECT_EQ(tool("run --no-such-option").code, 2);
    EXPECT_EQ(tool("run --batch x").code, 2);
    EXPECT_THAT(tool("run --no-such-option").errors, StartsWith("pantile-sim: "));
    EXPECT_THAT(output("--help"), HasSubstr("Exit codes: 0 done, 2 usage, 3 does not fit near memory, 4 mismatch."));
    EXPECT_THAT(output("sweep --help"), HasSubstr("pantile-sim sweep --fit"));
}

TEST_F(verbs, run_hands_every_size_on) {
    EXPECT_THAT(
        output("run --algorithm split-keys --q-len 6 --k-len 10 -d 3 --value-dim 2 --batch 2 --heads 4 --kv-heads 2 "
               "--packed --mask causal --dtype fp32 --tiles 2x3 --splits 5 --devices 3 --json"),
        HasSubstr("  \"algorithm\": \"split-keys\",\n"
                  "  \"pass\": \"forward\",\n"
                  "  \"workload\": {\n"
                  "    \"batch\": 2,\n"
                  "    \"q_heads\": 4,\n"
                  "    \"kv_heads\": 2,\n"
                  "    \"q_len\": 6,\n"
                  "    \"k_len\": 10,\n"
                  "    \"head_dim\": 3,\n"
                  "    \"value_dim\": 2,\n"
                  "    \"dtype\": \"fp32\",\n"
                  "    \"packed_heads\": true,\n"
                  "    \"devices\": 3,\n"
                  "    \"description\": \"forward batch 2, heads 4/2 packed, q 6, k 10, d 3, e 2, window all:0 "
                  "bottom-right, tiles 2x3, devices 3, splits 5\"\n"));
    EXPECT_THAT(output("run"),
                StartsWith("fa2 forward batch 1, heads 1/1, q 4096, k 4096, d 128, e 128, tiles 128x128, bf16\n"));
    EXPECT_THAT(output("run --q-len 7 -n 1K --heads 3 --pass backward"),
                StartsWith("fa2 backward batch 1, heads 3/3, q 7, k 1024, d 128, e 128, tiles 128x128, bf16\n"));
    EXPECT_THAT(output("run --k-len 7 -n 64 --head-dim 5 --blocks 8x7:local:0"),
                StartsWith("fa2 forward batch 1, heads 1/1, q 64, k 7, d 5, e 5, blocks 8x7, tiles 128x128, bf16\n"));
    expect_refusal("run --pass sideways", 2, "--pass is 'sideways': it must be forward or backward");
    expect_refusal("run --q-len 1x", 2, "--q-len is '1x': it must be a number, with K, M or G for 2^10, 2^20, 2^30");
    expect_refusal("run --k-len 1x", 2, "--k-len is '1x': it must be a number, with K, M or G for 2^10, 2^20, 2^30");
    expect_refusal("run --dtype fp12", 2, "dtype is 'fp12': it must be fp64, fp32, fp16, bf16 or fp8");
    expect_refusal("run --heads 4 --kv-heads 3", 2,
                   "q.heads is 4, k.heads is 3: q.heads must be a multiple of k.heads");
    expect_refusal("run --batch -1 --blocks 8x8:butterfly", 2, "q.batch is -1: it must be between 0 and 2^48");
    expect_refusal("run --softcap -2", 2,
                   "options.softcap is -2: it must be at least 0 (0: off), and softcap · log2(e) finite in fp32");
    expect_refusal("run --stages 0", 2, "--stages is 0: it must be at least 1");
    expect_refusal("run --sram 4K --machine h100", 2, "--sram and --machine both say what near memory is");
    expect_refusal("run --tiles 0x1", 2, "tiles is '0x1': it must be ROWSxKEYS (as in 128x64), 'feasible' or 'paper'");
    expect_refusal("run --algorithm fa1-lazy --pass backward", 2, "fa1-lazy has no backward pass");
}

/// Soft caps, slopes and sinks are said, and change no count.
TEST_F(verbs, what_changes_logits_changes_no_count) {
    const std::string call = " -n 64 -d 8 --heads 4 --machine h100";
    const std::string on = call + " --softcap 30 --alibi --sinks 0.5";
    EXPECT_THAT(
        output("run --tiles 16x16" + on),
        StartsWith("fa2 forward batch 1, heads 4/4, q 64, k 64, d 8, e 8, softcap 30, ALiBi, sinks, tiles 16x16"));
    EXPECT_EQ(output("run --csv - --tiles 16x16" + on), output("run --csv - --tiles 16x16" + call));
    EXPECT_THAT(output("plan" + on), StartsWith("fa2 forward, softcap 30, ALiBi, sinks, near memory "));
    EXPECT_EQ(output("plan --csv -" + on), output("plan --csv -" + call));
    EXPECT_THAT(output("run --json --tiles 16x16" + on),
                AllOf(HasSubstr("\"softcap\": 30.0"),
                      HasSubstr("\"slopes\": [\n      0.25,\n      0.0625,\n      0.015625,"),
                      HasSubstr("\"sinks\": [\n      0.5,\n      0.5,\n      0.5,\n      0.5\n")));
    EXPECT_THAT(output("run --sinks 0 -n 64"), HasSubstr(", e 128, sinks, tiles"));
    for (const char* algorithm : {"standard", "small-cache"}) {
        const std::string backward = std::string("run --pass backward --tiles 16x16 -n 64 --algorithm ") + algorithm;
        EXPECT_EQ(output(backward + " --csv - --alibi --sinks 1"), output(backward + " --csv -"));
        expect_refusal(backward + " --softcap 2", 2,
                       std::string(algorithm) +
                           " keeps P and no scores: its backward pass does not know the slope of a soft cap");
    }
}

// fa2 forward, tiles of 2 x 3, d = e = 4: Q 8, K 12, V 12 operands; S 6, O 8, {max, sum} 4 sums. bf16: 64 + 72 bytes.
TEST_F(verbs, run_takes_near_memory_as_it_is_described) {
    const std::string call = "run -n 12 -d 4 --tiles 2x3 ";
    EXPECT_THAT(output(call), HasSubstr("136 of unbounded\n"));
    EXPECT_THAT(output(call + "--sram 50"), HasSubstr("50 of 50 elements\n"));
    EXPECT_THAT(output(call + "--sram 136B"), HasSubstr("136 of 136 bytes\n"));
    EXPECT_THAT(output(call + "--stages 3"), HasSubstr("232 of unbounded\n"));   // K and V twice more: 2 · 24 · 2
    EXPECT_THAT(output(call + "--separate-p"), HasSubstr("148 of unbounded\n")); // P in bf16
    expect_refusal(
        call + "--sram 135B", 3,
        "does not fit: near memory holds 135, the live tiles need 136 (1 too many): O 32 + K 24 + V 24 + S 24 + Q 16 "
        "+ max, sum 16");
    EXPECT_THAT(output("run -n 12 -d 4 --sram 50"), HasSubstr("tiles 3x1")) << "feasible where near memory is bounded";
    EXPECT_THAT(output("run --algorithm fa1 -n 512 -d 64 --sram 64K --tiles paper"), HasSubstr("tiles 64x256"));
    const std::string h100 = output("run -n 1K --machine h100 --json");
    EXPECT_THAT(h100, HasSubstr("\"capacity\": 232448"));
    EXPECT_THAT(h100, HasSubstr("\"machine\": \"h100\""));
    const std::size_t at = h100.find("\"row_tile\": ");
    ASSERT_NE(at, std::string::npos);
    EXPECT_EQ(std::atoi(h100.c_str() + at + 12) % 64, 0) << "a machine's matrix unit takes multiples";
    EXPECT_THAT(output("run -n 1K --machine h100"), HasSubstr("\non NVIDIA H100 SXM 80 GB: bound by "));
    const std::string slow =
        write("slow.json", R"({"name": "slow", "scratchpad_bytes": 200, "quantum": {"rows": 2, "keys": 1}})");
    EXPECT_THAT(output("run -n 12 -d 4 --machine " + slow), HasSubstr("of 200 bytes\n"));
    EXPECT_THAT(output("run -n 12 -d 4 --machine " + slow), Not(HasSubstr("bound by"))); // no clock, no estimate
}

TEST_F(verbs, run_through_caches) {
    const std::string m = write("m.json", R"({"name": "m", "caches": [{"name": "A", "bytes": 1024, "ways": 4},
                                                                       {"name": "B", "bytes": 65536}]})");
    const std::string call = "run -n 64 -d 16 --dtype fp32 --tiles 16x16 --caches --machine " + m;
    EXPECT_THAT(output(call), HasSubstr("\nA 1 KB "));
    EXPECT_THAT(output(call), Not(HasSubstr("compulsory")));
    EXPECT_THAT(output(call + " --classify"), HasSubstr("compulsory"));
    // Rows of one line: Q 64, K and V 64 for each of four row tiles; written out 64, lse 64 · 4 bytes in lines of 16 rows.
    EXPECT_THAT(output(call + " --csv -"),
                StartsWith("level,bytes,reads,writes,read_misses,write_misses,write_backs,compulsory,"
                           "capacity,conflict\nA,1024,576,68,"));
    EXPECT_THAT(output(call + " --json"), HasSubstr("\"levels\": ["));
}

TEST_F(verbs, check_counts_and_takes_cases) {
    EXPECT_EQ(output("check --algorithm fa2 --random 3 --seed 9"),
              "6 random cases (seed 9), all counted == closed form, tensor by tensor\n");
    EXPECT_EQ(output("check --algorithm ring --random 3"),
              "3 random cases (seed 1), all counted == closed form, tensor by tensor\n");
    EXPECT_EQ(output("check --random 1"), "15 random cases (seed 1), all counted == closed form, tensor by tensor\n");
    EXPECT_EQ(output("check --random 2 --algorithm fa2 --json"),
              "{\n  \"cases\": 4,\n  \"seed\": 1,\n  \"mismatches\": []\n}\n");
    EXPECT_EQ(output("check -n 20"), "9 algorithms, all counted == closed form, tensor by tensor\n");
    EXPECT_EQ(output("check -n 20 --pass backward"), "6 algorithms, all counted == closed form, tensor by tensor\n");
    EXPECT_EQ(output("check --pass backward"), "6 algorithms, all counted == closed form, tensor by tensor\n");
    EXPECT_EQ(output("check -n 20 --algorithm fa2"), "1 algorithm, all counted == closed form, tensor by tensor\n");
    EXPECT_EQ(output("check -n 20 --devices 2"), "2 algorithms, all counted == closed form, tensor by tensor\n");
    EXPECT_EQ(output("check -n 20 --json"), "{\n  \"cases\": 9,\n  \"mismatches\": []\n}\n");
    expect_refusal("check --random 0", 2, "--random is 0: it must be positive");
    expect_refusal("check -n 20 --algorithm fa2 --devices 2", 2, "fa2 runs on one device, devices is 2");
    expect_refusal("check -n 20 --algorithm ring --blocks 5x5:butterfly", 2, "ring does not take a block mask");
    expect_refusal(
        "check --algorithm fa3", 2,
        "there is no algorithm 'fa3'; there are standard, fa1, fa1-lazy, fa2, fa2-printed, fa2-recompute, split-keys, "
        "ring, small-cache");
}

std::size_t lines_of(const std::string& text) {
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

TEST_F(verbs, plan_lists_what_fits) {
    EXPECT_EQ(lines_of(output("plan --csv -")), 1U + 10);
    EXPECT_EQ(lines_of(output("plan --limit 3 --csv -")), 1U + 3);
    EXPECT_THAT(output("plan"), StartsWith("fa2 forward, near memory 232,448 bytes, registers 262,144 bytes\n"));
    EXPECT_THAT(output("plan --sram 8K"), StartsWith("fa2 forward, near memory 8,192 elements\n"));
    EXPECT_THAT(output("plan --machine a100 --pass backward --algorithm fa1"),
                StartsWith("fa1 backward, near memory 166,912 bytes, registers 262,144 bytes\n"));
    expect_refusal("plan --sram 8K --machine a100", 2, "--sram and --machine both say what near memory is");
    expect_refusal("plan -d 8 --sram 20", 3,
                   "does not fit: near memory holds 20, the live tiles need 24 (4 too many): Q 8 + K 8 + V 8");
    EXPECT_EQ(tool("plan --tiles 4x4").code, 2);
}

TEST_F(verbs, sweep_writes_points_fits_and_a_picture) {
    const std::string call = "sweep --algorithms standard,fa2 -n 1K --sram 4K:16K:3 -d 32 ";
    const std::string csv = output(call + "--csv -");
    EXPECT_EQ(lines_of(csv), 1U + 6);
    EXPECT_THAT(csv, HasSubstr("\nstandard,1024,4096,0,0,0,2195456,2129920,4325376\n")); // 4N² + 4Nd
    EXPECT_THAT(output(call), StartsWith("algorithm "));
    EXPECT_THAT(output(call), HasSubstr("\nfit "));
    EXPECT_THAT(output(call + "--fit"), StartsWith("fit "));
    const std::string text = output(call + "--csv " + path("a.csv") + " --svg " + path("a.svg"));
    EXPECT_EQ(text, output(call));
    EXPECT_EQ(read(path("a.csv")), csv);
    EXPECT_THAT(read(path("a.svg")), StartsWith("<svg "));
    EXPECT_THAT(read(path("a.svg")), HasSubstr("N = 1,024, d = 32, forward"));
}

TEST_F(verbs, sweep_refuses_what_it_cannot_do) {
    expect_refusal("sweep --algorithms fa1-lazy --pass backward", 2,
                   "fa1-lazy has no backward pass: name others with --algorithms");
    expect_refusal("sweep --algorithms ''", 2, "--algorithms names none");
    expect_refusal("sweep --pass sideways", 2, "--pass is 'sideways': it must be forward or backward");
    expect_refusal("sweep -n 9:3", 2, "-n is '9:3': it must be FROM:TO or FROM:TO:POINTS, 0 < FROM <= TO");
    expect_refusal("sweep --sram 9:3", 2, "--sram is '9:3': it must be FROM:TO or FROM:TO:POINTS, 0 < FROM <= TO");
    expect_refusal("sweep -d x", 2, "--head-dim is 'x': it must be a number, with K, M or G for 2^10, 2^20, 2^30");
    expect_refusal("sweep --svg /nowhere/at/all.svg -n 1K --sram 4K", 2, "cannot write '/nowhere/at/all.svg'");
    expect_refusal("sweep --csv /nowhere/at/all.csv -n 1K --sram 4K", 2, "cannot write '/nowhere/at/all.csv'");
}

TEST_F(verbs, sweep_masks_and_passes) {
    const std::string call = "sweep --algorithms fa1:paper -n 1K --sram 4K -d 16 --csv - ";
    // Bc = 64, Br = 16: Tc = 16 visits of each of 1024 rows; reads k(d + e) + rows(d + e + 2), writes (rows + q)(e + 2).
    EXPECT_THAT(output(call), HasSubstr(",589824,313344,903168\n"));
    EXPECT_THAT(output(call + "--mask causal"), HasSubstr(",328704,175104,503808\n")); // 8704 visits
    EXPECT_THAT(output(call + "--blocks 64x64:local:0"), HasSubstr(",67584,36864,104448\n"));
    EXPECT_THAT(output(call + "--pass backward"), HasSubstr(",1114112,344064,1458176\n"));
}

TEST_F(verbs, reproduce_shows_figures) {
    EXPECT_EQ(output("reproduce fa1-fig2-middle"),
              pantile::simulator::reproduction_text(pantile::simulator::reproduce("fa1-fig2-middle")));
    EXPECT_EQ(output("reproduce"), pantile::simulator::reproduction_text(pantile::simulator::reproduce("all")));
    expect_refusal(
        "reproduce fig9", 2,
        "there is no figure 'fig9'; there are all, fa1-fig2-middle, fa1-fig2-left, fa1-table21, fa1-fig2-right");
}

// d = 4, bf16: 16 bytes of K and V a key; 8 row tiles of 2 rows against 16 keys in tiles of 4.
TEST_F(verbs, l2_runs_each_order_whole_and_in_halves) {
    const std::string call = "l2 -n 16 -d 4 --tiles 2x4 --at-once 4 --csv - ";
    const std::string heading = "order,cache_bytes,halves,unique_bytes,asked_bytes,memory_bytes,predicted_bytes\n";
    EXPECT_EQ(output(call + "--machine rtx4090 --cache 128"), heading + "cyclic,128,0,256,2048,512,512\n"
                                                                        "sawtooth,128,0,256,2048,384,384\n");
    EXPECT_EQ(output(call + "--order cyclic --cache 1K"), heading + "cyclic,1024,0,256,2048,256,256\n"
                                                                    "cyclic,1024,1,256,2048,256,256\n");
    EXPECT_THAT(output(call + "--order cyclic"), HasSubstr("\ncyclic,52428800,0,")); // the machine's own
    EXPECT_THAT(output("l2 -n 16 -d 4 --tiles 2x4 --cache 128 --machine rtx4090 --order cyclic --csv -"),
                HasSubstr("\ncyclic,128,0,256,2048,256,256\n")); // one block a processor: all at once
    expect_refusal("l2 --order random", 2, "order is 'random': it must be cyclic, sawtooth or longest-first");
    expect_refusal("l2 --cache 5x", 2, "--cache is '5x': it must be a number, with K, M or G for 2^10, 2^20, 2^30");
    const std::string bare = write("bare.json", R"({"name": "bare"})");
    expect_refusal("l2 --machine " + bare, 2, "machine bare has no cache");
}

TEST_F(verbs, trace_writes_a_timeline) {
    const std::string file = path("t.json");
    EXPECT_THAT(output("trace -n 256 -d 64 --out " + file), StartsWith(file + ": 2 blocks, 30 slices, "));
    EXPECT_THAT(output("trace -n 256 -d 64 --out " + file), ::testing::EndsWith(" us on 4 processors\n"));
    EXPECT_THAT(read(file), StartsWith("{\"displayTimeUnit\":\"ns\",\"traceEvents\":["));
    EXPECT_THAT(output("trace -n 256 -d 64 --most 5 --lanes 1 --out " + file),
                HasSubstr("2 blocks, 5 slices (cut off: --most), "));
    EXPECT_THAT(output("trace -n 256 -d 64 --lanes 3 --json --out " + file),
                StartsWith("{\n  \"file\": \"" + file + "\",\n  \"lanes\": 3,\n  \"blocks\": 2,\n  \"slices\": "));
    expect_refusal("trace --lanes 0 --out " + file, 2, "lanes is 0: it must be positive");
    expect_refusal("trace -n 64 --out /nowhere/at/all.json", 2, "cannot write '/nowhere/at/all.json'");
    EXPECT_EQ(tool("trace -n 64").code, 2); // --out is required
}

constexpr const char* ncu = "ID,Kernel Name,Metric Name,Metric Unit,Metric Value\n"
                            "0,flash,dram__bytes_read.sum,byte,6144\n"
                            "1,flash,dram__bytes_read.sum,byte,9000\n"
                            "2,other,dram__bytes_read.sum,byte,6200\n";

// 64 rows and keys, d = 16, bf16: the inputs are 3 · 64 · 16 · 2 = 6144 bytes.
TEST_F(verbs, compare_tells_a_mismatch_by_its_exit_code) {
    const std::string file = write("ncu.csv", ncu);
    const std::string call = "compare -n 64 -d 16 --tiles 32x16 --ncu " + file;
    EXPECT_THAT(output(call + " --launch 0"), HasSubstr("within 5.000 %"));
    EXPECT_THAT(output(call + " --launch 1", 4), HasSubstr("OUTSIDE 5.000 %"));
    EXPECT_EQ(lines_of(output(call + " --csv -", 4)), 1U + 3);
    EXPECT_EQ(lines_of(output(call + " --kernel other --csv -")), 1U + 1);
    EXPECT_EQ(lines_of(output(call + " --kernel flash --csv -", 4)), 1U + 2);
    expect_refusal(call + " --launch 9", 2, "ncu: there is no launch 9");
    expect_refusal("compare -n 64 --tiles 32x16", 2, "give one of --ncu and --callgrind");
    expect_refusal(call + " --callgrind " + file, 2, "give one of --ncu and --callgrind");
    expect_refusal("compare -n 64 --tiles 32x16 --ncu /nowhere/at/all", 2, "cannot read '/nowhere/at/all'");

    const std::string counted = write("callgrind.out", "desc: D1 cache: 64 B, 64 B, 1-way associative\n"
                                                       "desc: LL cache: 1048576 B, 64 B, 16-way associative\n"
                                                       "events: D1mr DLmr\nfn=a\n1 9 2\nfn=b\n2 9 1\n");
    const std::string small = "compare --q-len 8 --k-len 2 -d 1 --dtype fp32 --tiles 8x2 --callgrind " + counted;
    EXPECT_THAT(output(small), HasSubstr("last-level read misses         3          3    +0.000 %  within 0.500 %\n"));
    EXPECT_THAT(output(small + " --kernel a", 4), HasSubstr("OUTSIDE 0.500 %"));
    EXPECT_THAT(output(small + " --kernel a --tolerance 0.4"), HasSubstr("within 40.000 %"));
    EXPECT_THAT(output(small + " --scratch 4096 --json"), HasSubstr("\"predicted\": 3.0"));
    expect_refusal(small + " --scratch 10", 2, "scratch is 10 bytes: a kernel of these tiles needs 704");
    expect_refusal(small + " --scratch 10 --lanes 16", 2, "scratch is 10 bytes: a kernel of these tiles needs 832");
}

TEST_F(verbs, machines_are_listed) {
    const std::string all = output("machines");
    for (const char* name : {"(a100)\n", "(h100)\n", "(h200)\n", "(b200)\n", "(rtx4090)\n", "(mi300x)\n"}) {
        EXPECT_THAT(all, HasSubstr(name));
    }
    const pantile::simulator::machine h100 = pantile::simulator::find_machine("h100");
    EXPECT_EQ(output("machines h100"), pantile::simulator::machine_text(h100));
    EXPECT_EQ(output("machines h100 --json"), pantile::simulator::machine_json(h100));
    EXPECT_THAT(output("machines --json"), StartsWith("[{\n"));
    const std::string csv = output("machines h100 --csv -");
    EXPECT_THAT(csv, StartsWith("figure,value,source\nprocessors,132,H100 whitepaper\nclock_ghz,1.83,"));
    EXPECT_THAT(csv, HasSubstr("\n\"L2 bytes, 2 parts\",52428800,"));
    EXPECT_EQ(tool("machines h1000").code, 2);
}

TEST_F(verbs, report_writes_its_page) {
    const std::string file = path("r.html");
    const std::string text = output("report --json --out " + file);
    EXPECT_EQ(text, "{\"file\": \"" + file + "\", \"bytes\": " + std::to_string(read(file).size()) + "}\n");
    EXPECT_THAT(read(file), StartsWith("<!doctype html>"));
}

} // namespace
