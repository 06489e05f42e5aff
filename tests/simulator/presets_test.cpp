// Every figure of every built-in machine beside the one that its maker publishes, in the units of the document; and the
// reader of machines of one's own: every field, every refusal.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include <pantile/error.hpp>
#include <pantile/simulator.hpp>

#include <support/scratch_folder.hpp>

namespace pantile::inline v0::simulator {
namespace {

using ::testing::HasSubstr;

constexpr index_t kib = 1024;
constexpr index_t mib = 1024 * kib;

struct level {
    const char* name;
    index_t bytes, ways, line_bytes, parts;
};

struct preset {
    const char* name;
    const char* title;
    index_t processors;
    double clock_ghz;
    index_t scratchpad_bytes, register_bytes;
    tile_quantum quantum;
    std::vector<level> caches;
    std::map<std::string, double> matrix_tflops; // dense
    double sustained_share, exponentials, vector, scratchpad, last_cache, memory, network;
};

// a clock of one processor: exponentials (special function units), fp32 operations, bytes of shared memory (32 banks of 4);
// GB/s of the whole machine: last cache, memory, links to other devices in one direction. 0: not published.
const std::vector<preset>& published() {
    static const std::vector<preset> all{
        // A100 whitepaper: 108 SMs, boost 1410 MHz, 164 KB of shared memory of which a block takes 163 (CUDA guide, 8.0),
        // 40 MB of L2 in two partitions, 5120 bytes a clock out of it: 5120 · 1.41 = 7219. Datasheet of the 80 GB version:
        // 2039 GB/s, 312 TFLOP/s in 16 bits, 19.5 in fp32 and (matrix unit) fp64; NVLink 600 GB/s both ways.
        {"a100",
         "NVIDIA A100 SXM 80 GB",
         108,
         1.41,
         163 * kib,
         64 * kib * 4,
         {16, 16},
         {{"L2", 40 * mib, 16, 128, 2}},
         {{"fp64", 19.5}, {"fp32", 19.5}, {"fp16", 312}, {"bf16", 312}},
         1,
         16,
         64,
         128,
         7219,
         2039,
         600 / 2.0},
        // H100 whitepaper: 132 SMs, 50 MB of L2; CUDA guide, 9.0: 227 KB a block. Datasheet, SXM: 989 TFLOP/s in 16 bits,
        // 1979 in 8, 67 in fp64 and fp32; 3.35 TB/s; NVLink 900 GB/s both ways. 5120 · 1.83 = 9370 GB/s out of the L2.
        {"h100",
         "NVIDIA H100 SXM 80 GB",
         132,
         1.83,
         227 * kib,
         64 * kib * 4,
         {64, 16},
         {{"L2", 50 * mib, 16, 128, 2}},
         {{"fp64", 66.9}, {"fp32", 66.9}, {"fp16", 989}, {"bf16", 989}, {"fp8", 1979}},
         0.787,
         16,
         128,
         128,
         9370,
         3350,
         900 / 2.0},
        // H200 datasheet: the same GPU, 4.8 TB/s.
        {"h200",
         "NVIDIA H200 SXM 141 GB",
         132,
         1.83,
         227 * kib,
         64 * kib * 4,
         {64, 16},
         {{"L2", 50 * mib, 16, 128, 2}},
         {{"fp64", 66.9}, {"fp32", 66.9}, {"fp16", 989}, {"bf16", 989}, {"fp8", 1979}},
         0.787,
         16,
         128,
         128,
         9370,
         4800,
         900 / 2.0},
        // B200: 148 SMs, 126 MB of L2 in two partitions; an eighth of the HGX datasheet: 2250 TFLOP/s in 16 bits, 4500 in 8,
        // 8 TB/s; NVLink 1.8 TB/s both ways. 256 KB of registers and 256 KB of tensor memory an SM.
        {"b200",
         "NVIDIA B200",
         148,
         1.85,
         227 * kib,
         256 * kib + 256 * kib,
         {128, 16},
         {{"L2", 126 * mib, 16, 128, 2}},
         {{"fp16", 2250}, {"bf16", 2250}, {"fp8", 4500}},
         1,
         16,
         128,
         128,
         0,
         8000,
         1800 / 2.0},
        // Ada whitepaper, appendix A: 128 SMs, boost 2520 MHz, L2 of 73,728 KB, 82.6 TFLOP/s in fp32, 165.2 in 16 bits with
        // fp32 sums, 1008 GB/s. CUDA guide, 8.9: 99 KB a block. PCI Express 4.0: 16 lanes of 16 GT/s, 128 bits in 130.
        {"rtx4090",
         "NVIDIA GeForce RTX 4090",
         128,
         2.52,
         99 * kib,
         64 * kib * 4,
         {16, 16},
         {{"L2", 73728 * kib, 16, 128, 1}},
         {{"fp32", 82.6}, {"fp16", 165.2}, {"bf16", 165.2}},
         1,
         16,
         128,
         128,
         0,
         1008,
         31.5},
        // MI300X datasheet: 304 compute units, 2100 MHz, 163.4 TFLOP/s in fp64 and fp32, 1307.4 in 16 bits, 2614.9 in 8;
        // 5.3 TB/s; 7 links of 64 GB/s. CDNA 3: 64 KB of local data share, 4 SIMDs with 128 KB of registers, 4 MB of L2 on
        // each of 8 dies, Infinity Cache of 256 MB at 17.2 TB/s.
        {"mi300x",
         "AMD Instinct MI300X",
         304,
         2.1,
         64 * kib,
         4 * 128 * kib,
         {16, 16},
         {{"L2", 4 * mib, 16, 128, 8}, {"Infinity Cache", 256 * mib, 16, 128, 1}},
         {{"fp64", 163.4}, {"fp32", 163.4}, {"fp16", 1307.4}, {"bf16", 1307.4}, {"fp8", 2614.9}},
         1,
         0,
         0,
         128,
         17200,
         5300,
         7 * 64.0},
    };
    return all;
}

TEST(presets, every_figure_is_the_published_one) {
    std::vector<std::string> names;
    for (const preset& want : published()) {
        SCOPED_TRACE(want.name);
        names.emplace_back(want.name);
        const machine m = find_machine(want.name);
        EXPECT_EQ(m.name, want.name);
        EXPECT_EQ(m.title, want.title);
        EXPECT_EQ(m.processors, want.processors);
        EXPECT_EQ(m.clock_ghz, want.clock_ghz);
        EXPECT_EQ(m.scratchpad_bytes, want.scratchpad_bytes);
        EXPECT_EQ(m.register_bytes, want.register_bytes);
        EXPECT_EQ(m.quantum.rows, want.quantum.rows);
        EXPECT_EQ(m.quantum.keys, want.quantum.keys);
        ASSERT_EQ(m.caches.size(), want.caches.size());
        for (std::size_t i = 0; i < m.caches.size(); ++i) {
            EXPECT_EQ(m.caches[i].name, want.caches[i].name);
            EXPECT_EQ(m.caches[i].bytes, want.caches[i].bytes);
            EXPECT_EQ(m.caches[i].ways, want.caches[i].ways);
            EXPECT_EQ(m.caches[i].line_bytes, want.caches[i].line_bytes);
            EXPECT_EQ(m.caches[i].parts, want.caches[i].parts);
            EXPECT_TRUE(m.caches[i].shared);
            EXPECT_FALSE(m.sources.at(m.caches[i].name).empty());
        }
        EXPECT_EQ(m.matrix_tflops, want.matrix_tflops);
        EXPECT_EQ(m.sustained_share, want.sustained_share);
        EXPECT_EQ(m.exponentials_per_clock, want.exponentials);
        EXPECT_EQ(m.vector_operations_per_clock, want.vector);
        EXPECT_EQ(m.scratchpad_bytes_per_clock, want.scratchpad);
        EXPECT_EQ(m.last_cache_gb_per_s, want.last_cache);
        EXPECT_EQ(m.memory_gb_per_s, want.memory);
        EXPECT_EQ(m.network_gb_per_s, want.network);
        EXPECT_EQ(m.last_cache()->name, want.caches.back().name);
        const near_memory near = m.near(dtype::bf16);
        EXPECT_EQ(near.bytes, want.scratchpad_bytes);
        EXPECT_EQ(near.accumulator_bytes, want.register_bytes);
    }
    EXPECT_EQ(machine_names(), names);
}

constexpr const char* toy_text = R"({
  "name": "toy", "title": "A toy", "processors": {"value": 3, "source": "its manual"}, "clock_ghz": 1.5,
  "scratchpad_bytes": 65536, "register_bytes": 4096, "quantum": {"rows": 8, "keys": 4},
  "matrix_tflops": {"value": {"bf16": 10, "fp32": 2.5}, "source": "its box"}, "sustained_share": 0.75,
  "exponentials_per_clock": 4, "vector_operations_per_clock": 32, "scratchpad_bytes_per_clock": 64,
  "last_cache_gb_per_s": 500, "memory_gb_per_s": {"value": 100, "source": "measured"}, "network_gb_per_s": 25,
  "caches": [{"name": "L1", "bytes": 32768, "ways": 8, "line_bytes": 32, "source": "guessed"},
             {"name": "L2", "bytes": 1048576, "ways": 4, "line_bytes": 128, "parts": 2, "shared": true}]})";

TEST(machine, every_field_is_read_into_its_place) {
    const machine m = parse_machine(toy_text);
    EXPECT_EQ(m.name, "toy");
    EXPECT_EQ(m.title, "A toy");
    EXPECT_EQ(m.processors, 3);
    EXPECT_EQ(m.clock_ghz, 1.5);
    EXPECT_EQ(m.scratchpad_bytes, 65536);
    EXPECT_EQ(m.register_bytes, 4096);
    EXPECT_EQ(m.quantum.rows, 8);
    EXPECT_EQ(m.quantum.keys, 4);
    EXPECT_EQ(m.matrix_tflops, (std::map<std::string, double>{{"bf16", 10}, {"fp32", 2.5}}));
    EXPECT_EQ(m.sustained_share, 0.75);
    EXPECT_EQ(m.exponentials_per_clock, 4);
    EXPECT_EQ(m.vector_operations_per_clock, 32);
    EXPECT_EQ(m.scratchpad_bytes_per_clock, 64);
    EXPECT_EQ(m.last_cache_gb_per_s, 500);
    EXPECT_EQ(m.memory_gb_per_s, 100);
    EXPECT_EQ(m.network_gb_per_s, 25);
    ASSERT_EQ(m.caches.size(), 2U);
    EXPECT_EQ(m.caches[0].name, "L1");
    EXPECT_EQ(m.caches[0].bytes, 32768);
    EXPECT_EQ(m.caches[0].ways, 8);
    EXPECT_EQ(m.caches[0].line_bytes, 32);
    EXPECT_EQ(m.caches[0].parts, 1);
    EXPECT_FALSE(m.caches[0].shared);
    EXPECT_EQ(m.caches[1].line_bytes, 128);
    EXPECT_EQ(m.caches[1].parts, 2);
    EXPECT_TRUE(m.caches[1].shared);
    EXPECT_EQ(m.last_cache(), &m.caches[1]);
    EXPECT_EQ(m.sources, (std::map<std::string, std::string>{{"processors", "its manual"},
                                                             {"matrix_tflops", "its box"},
                                                             {"memory_gb_per_s", "measured"},
                                                             {"L1", "guessed"}}));
}

TEST(machine, what_is_left_out_is_not_known) {
    const machine m = parse_machine("{}");
    EXPECT_EQ(m.name, "");
    EXPECT_EQ(m.processors, 1);
    EXPECT_EQ(m.clock_ghz, 0);
    EXPECT_EQ(m.quantum.rows, 1);
    EXPECT_EQ(m.quantum.keys, 1);
    EXPECT_EQ(m.sustained_share, 1);
    EXPECT_EQ(m.last_cache(), nullptr);
    EXPECT_EQ(m.near(dtype::bf16).bytes, unbounded);
    EXPECT_EQ(m.near(dtype::bf16).accumulator_bytes, 0);
    const machine cached = parse_machine(R"({"caches": [{"name": "L", "bytes": 1024}]})");
    EXPECT_EQ(cached.caches[0].ways, 16);
    EXPECT_EQ(cached.caches[0].line_bytes, 64);
    EXPECT_TRUE(cached.sources.empty());
}

std::string refusal(const std::string& text) {
    try {
        static_cast<void>(parse_machine(text));
    } catch (const invalid_argument& e) {
        return e.what();
    }
    return "accepted";
}

TEST(machine, what_cannot_be_is_refused_by_name) {
    EXPECT_EQ(refusal("{"), "machine: this is not JSON");
    EXPECT_EQ(refusal("[]"), "machine:  must be an object");
    EXPECT_EQ(refusal(R"({"procesors": 3})"), "machine: there is no field 'procesors'");
    EXPECT_EQ(refusal(R"({"processors": "many"})"), "machine: processors is \"many\": wrong type");
    EXPECT_EQ(refusal(R"({"processors": {"value": "many"}})"), "machine: processors is \"many\": wrong type");
    EXPECT_EQ(refusal(R"({"processors": {"value": 2, "source": 5}})"), "machine: processors.source is 5: wrong type");
    EXPECT_EQ(refusal(R"({"clock_ghz": [1]})"), "machine: clock_ghz is [1]: wrong type");
    EXPECT_EQ(refusal(R"({"matrix_tflops": 3})"), "machine: matrix_tflops is 3: wrong type");
    EXPECT_EQ(refusal(R"({"processors": 0})"), "machine: processors must be positive");
    EXPECT_EQ(refusal(R"({"processors": -1})"), "machine: processors must be positive");
    EXPECT_EQ(refusal(R"({"quantum": {"rows": 0}})"), "machine: quantum must be positive");
    EXPECT_EQ(refusal(R"({"quantum": {"keys": 0}})"), "machine: quantum must be positive");
    EXPECT_EQ(refusal(R"({"quantum": {"row": 1}})"), "machine: there is no field 'quantum.row'");
    EXPECT_EQ(refusal(R"({"quantum": 16})"), "machine: quantum. must be an object");
    const auto cache = [](const char* fields) {
        return refusal(std::string(R"({"caches": [{"name": "L1", )") + fields + "}]}");
    };
    const char* positive = "machine: cache 'L1' needs positive bytes, ways, line_bytes and parts";
    EXPECT_EQ(cache(R"("ways": 2)"), positive); // bytes left out
    EXPECT_EQ(cache(R"("bytes": 1024, "ways": 0)"), positive);
    EXPECT_EQ(cache(R"("bytes": 1024, "line_bytes": 0)"), positive);
    EXPECT_EQ(cache(R"("bytes": 1024, "parts": 0)"), positive);
    EXPECT_EQ(cache(R"("bytes": 1024, "way": 2)"), "machine: there is no field 'caches.way'");
    EXPECT_EQ(cache(R"("bytes": "1K")"), "machine: caches.bytes is \"1K\": wrong type");
    EXPECT_EQ(refusal(R"({"caches": [3]})"), "machine: caches. must be an object");
}

TEST(machine, is_found_by_name_or_in_a_file) {
    test::scratch_folder folder;
    const std::string path = (folder / "toy.json").string();
    std::ofstream(path) << toy_text;
    EXPECT_EQ(find_machine(path).title, "A toy");
    EXPECT_EQ(find_machine("here").name, "here");
    EXPECT_EQ(find_machine("here").title, "this CPU");
    try {
        static_cast<void>(find_machine("h1000"));
        FAIL();
    } catch (const invalid_argument& e) {
        EXPECT_STREQ(e.what(), "machine is 'h1000': it must be a JSON file or one of here, a100, h100, h200, b200, "
                               "rtx4090, mi300x");
    }
}

// The system's own account of its caches, read by this test's own means.
TEST(machine, here_has_the_caches_that_linux_tells) {
    const machine m = find_machine("here");
    EXPECT_GE(m.processors, 1);
    ASSERT_FALSE(m.caches.empty());
    std::size_t at = 0;
    for (int i = 0;; ++i) {
        const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(i) + "/";
        const auto word = [&](const char* file) {
            std::string text;
            std::ifstream(folder + file) >> text;
            return text;
        };
        if (word("type").empty()) break;
        if (word("type") == "Instruction") continue;
        ASSERT_LT(at, m.caches.size());
        const cache_level& c = m.caches[at++];
        EXPECT_EQ(c.name, "L" + word("level"));
        EXPECT_EQ(std::to_string(c.bytes / 1024) + "K", word("size"));
        EXPECT_EQ(std::to_string(c.ways), word("ways_of_associativity"));
        EXPECT_EQ(std::to_string(c.line_bytes), word("coherency_line_size"));
        const std::string cpus = word("shared_cpu_list");
        EXPECT_EQ(c.shared, cpus.find(',') != std::string::npos || cpus.find('-') != std::string::npos);
        EXPECT_EQ(m.sources.at(c.name) + "/", folder);
    }
    EXPECT_EQ(at, m.caches.size());
}

TEST(machine, figures_come_with_their_sources) {
    const machine m = parse_machine(toy_text);
    EXPECT_EQ(machine_text(m), "A toy (toy)\n"
                               "\n"
                               "figure                           value  source\n"
                               "processors                           3  its manual\n"
                               "clock_ghz                          1.5\n"
                               "scratchpad_bytes                65,536\n"
                               "register_bytes                   4,096\n"
                               "L1 bytes                        32,768  guessed\n"
                               "L2 bytes, 2 parts            1,048,576\n"
                               "matrix_tflops bf16                  10  its box\n"
                               "matrix_tflops fp32                 2.5  its box\n"
                               "sustained_share                   0.75\n"
                               "exponentials_per_clock               4\n"
                               "vector_operations_per_clock         32\n"
                               "scratchpad_bytes_per_clock          64\n"
                               "last_cache_gb_per_s                500\n"
                               "memory_gb_per_s                    100  measured\n"
                               "network_gb_per_s                    25\n");
    const machine two = parse_machine(R"({"name": "b", "title": "B", "processors": {"value": 2, "source": "s"},
                                          "clock_ghz": 1.25})");
    EXPECT_EQ(machine_json(two), "{\n"
                                 "  \"name\": \"b\",\n"
                                 "  \"title\": \"B\",\n"
                                 "  \"figures\": [\n"
                                 "    {\n"
                                 "      \"figure\": \"processors\",\n"
                                 "      \"value\": 2.0,\n"
                                 "      \"source\": \"s\"\n"
                                 "    },\n"
                                 "    {\n"
                                 "      \"figure\": \"clock_ghz\",\n"
                                 "      \"value\": 1.25\n"
                                 "    }\n"
                                 "  ]\n"
                                 "}\n");
    EXPECT_THAT(machine_text(find_machine("h100")), HasSubstr("\nsustained_share                   0.787  measured: "));
}

} // namespace
} // namespace pantile::inline v0::simulator
