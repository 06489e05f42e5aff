// What the tool prints, character by character, on results made by hand.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pantile/error.hpp>
#include <pantile/simulator.hpp>

namespace pantile::inline v0::simulator {
namespace {

using ::testing::HasSubstr;

TEST(format, tables_pad_to_the_widest_cell) {
    EXPECT_EQ(table({{"a", "head"}, {"long name", "1"}, {"b", "12345", "x"}, {"c"}}), "a           head\n"
                                                                                      "long name      1\n"
                                                                                      "b          12345  x\n"
                                                                                      "c\n");
    EXPECT_EQ(table({{"d²", "1"}, {"abc", "²²"}}), "d²    1\n"
                                                   "abc  ²²\n"); // characters, not bytes
    EXPECT_EQ(table({}), "");
}

TEST(format, csv_quotes_what_needs_it) {
    EXPECT_EQ(csv_line({"a", "b c", ""}), "a,b c,\n");
    EXPECT_EQ(csv_line({"", "x"}), ",x\n");
    EXPECT_EQ(csv_line({"1,5", "say \"no\"", "two\nlines"}), "\"1,5\",\"say \"\"no\"\"\",\"two\nlines\"\n");
}

TEST(format, numbers_for_people) {
    EXPECT_EQ(grouped(0), "0");
    EXPECT_EQ(grouped(999), "999");
    EXPECT_EQ(grouped(1000), "1,000");
    EXPECT_EQ(grouped(123456), "123,456");
    EXPECT_EQ(grouped(-123), "-123");
    EXPECT_EQ(grouped(-1000), "-1,000");
    EXPECT_EQ(human_bytes(0), "0 B");
    EXPECT_EQ(human_bytes(999), "999 B");
    EXPECT_EQ(human_bytes(1000), "1.00 kB");
    EXPECT_EQ(human_bytes(1024), "1.02 kB"); // decimal units
    EXPECT_EQ(human_bytes(545.26e6), "545.26 MB");
    EXPECT_EQ(human_bytes(2e9), "2.00 GB");
    EXPECT_EQ(human_bytes(3e12), "3.00 TB");
    EXPECT_EQ(human_bytes(4e18), "4000.00 PB");
}

TEST(format, sizes_have_binary_suffixes) {
    EXPECT_EQ(parse_size("0", "x"), 0);
    EXPECT_EQ(parse_size("128", "x"), 128);
    EXPECT_EQ(parse_size("3K", "x"), 3 * 1024);
    EXPECT_EQ(parse_size("3M", "x"), 3 * 1024 * 1024);
    EXPECT_EQ(parse_size("3G", "x"), index_t{3} * 1024 * 1024 * 1024);
    for (const char* wrong : {"", "K", "-1", "1k", "1KB", "1 K", "1.5K", "x"}) {
        try {
            static_cast<void>(parse_size(wrong, "--cache"));
            ADD_FAILURE() << wrong;
        } catch (const invalid_argument& e) {
            EXPECT_EQ(e.what(), "--cache is '" + std::string(wrong) +
                                    "': it must be a number, with K, M or G for 2^10, 2^20, 2^30");
        }
    }
    EXPECT_THROW(static_cast<void>(parse_size("9223372036854775807K", "x")), std::overflow_error);
}

TEST(format, near_memory_in_elements_or_bytes) {
    const near_memory elements = parse_near("2K", dtype::fp16);
    EXPECT_EQ(elements.bytes, 2048);
    EXPECT_EQ(elements.accumulator_width, 1);
    EXPECT_EQ(elements.statistic_width, 1);
    const near_memory bytes = parse_near("300B", dtype::fp64);
    EXPECT_EQ(bytes.bytes, 300);
    EXPECT_EQ(bytes.operand_width, 8);
    EXPECT_EQ(bytes.accumulator_width, 8);
    EXPECT_EQ(bytes.statistic_width, 8);
    EXPECT_EQ(parse_near("1KB", dtype::fp8).operand_width, 1);
    EXPECT_EQ(parse_near("1KB", dtype::fp8).accumulator_width, 4);
    EXPECT_EQ(parse_near("1KB", dtype::fp8).statistic_width, 4);
    EXPECT_FALSE(parse_near("1KB", dtype::fp8).counts_elements());
    EXPECT_THROW(static_cast<void>(parse_near("B", dtype::fp8)), invalid_argument);
    EXPECT_THROW(static_cast<void>(parse_near("", dtype::fp8)), invalid_argument);
}

TEST(format, masks_in_words) {
    const auto same = [](const mask& a, const mask& b) {
        return a.left == b.left && a.right == b.right && a.align == b.align && a.offset == b.offset;
    };
    EXPECT_TRUE(same(parse_mask("full"), full()));
    EXPECT_TRUE(same(parse_mask("causal"), causal()));
    EXPECT_TRUE(same(parse_mask("causal-top-left"), causal(alignment::top_left)));
    EXPECT_FALSE(same(parse_mask("causal-top-left"), causal()));
    EXPECT_TRUE(same(parse_mask("window:3:5"), window(3, 5)));
    EXPECT_TRUE(same(parse_mask("window:all:-5"), window(unbounded, -5)));
    EXPECT_TRUE(same(parse_mask("causal@7"), causal().at_offset(7)));
    EXPECT_TRUE(same(parse_mask("window:1:2@-7"), window(1, 2).at_offset(-7)));
    for (const char* wrong : {"", "causal-top", "window:3", "window:3:", "window::3", "window:3:4:5", "window:a:1",
                              "causal@", "causal@x", "full "}) {
        try {
            static_cast<void>(parse_mask(wrong));
            ADD_FAILURE() << wrong;
        } catch (const invalid_argument& e) {
            EXPECT_EQ(e.what(),
                      "mask is '" + std::string(wrong) +
                          "': it must be full, causal, causal-top-left or window:LEFT:RIGHT, and may end in @OFFSET");
        }
    }
}

experiment toy() {
    experiment e;
    e.what = workload::square(5, 3, 4, 2);
    e.what.kv_heads = 2;
    e.what.k_len = 7;
    e.what.value_dim = 2;
    e.plan = {2, 3, 1};
    e.near = near_memory::of_bytes(4096, dtype::bf16);
    return e;
}

run_result made_up() {
    run_result r;
    r.moved.read(tensor::q, 1200); // bf16
    r.moved.read(tensor::lse, 10); // fp32
    r.moved.write(tensor::lse, 30);
    r.moved.write(tensor::out, 1'000'000);
    r.done = {4'000'000, 7000, 8000, 9};
    r.blocks = 1234;
    r.peak_bytes = 3000;
    return r;
}

// 2,400 + 40 bytes read, 120 + 2,000,000 written: 4e6 FLOP / 2,002,560 bytes = 1.997.
TEST(format, a_run_as_text) {
    const algorithm& fa2 = find_algorithm("fa2");
    EXPECT_EQ(run_text(fa2, toy(), made_up()), "fa2 forward batch 2, heads 4/2, q 5, k 7, d 3, e 2, tiles 2x3, bf16\n"
                                               "\n"
                                               "tensor  reads     writes  bytes read  bytes written\n"
                                               "q       1,200          0     2.40 kB            0 B\n"
                                               "out         0  1,000,000         0 B        2.00 MB\n"
                                               "lse        10         30        40 B          120 B\n"
                                               "total   1,210  1,000,030     2.44 kB        2.00 MB\n"
                                               "\n"
                                               "matrix products   0.004 GFLOP, 2.0 FLOP a byte\n"
                                               "exponentials                             7,000\n"
                                               "blocks                                   1,234\n"
                                               "near memory held          3,000 of 4,096 bytes\n");
    experiment e = toy();
    run_result r = made_up();
    e.near.accumulator_bytes = 2048;
    e.what.devices = 3;
    e.what.blocks = {1, 0, 1};
    e.what.block_rows = 5;
    e.what.block_cols = 3;
    r.sent.write(tensor::k, 600);
    r.peak_register_bytes = 1500;
    r.moved = {};
    const std::string text = run_text(fa2, e, r);
    EXPECT_THAT(text, HasSubstr("\n\n"
                                "over the link                       1.20 kB between 3 devices\n"
                                "matrix products                  0.004 GFLOP, 0.0 FLOP a byte\n"
                                "exponentials                                            7,000\n"
                                "blocks                                                  1,234\n"
                                "near memory held  3,000 of 4,096 bytes, registers 2,048 bytes\n"
                                "visible blocks                                         66.7 %\n"
                                "registers held                                    1,500 bytes\n"));
    e.near = near_memory::of_elements(5000);
    EXPECT_THAT(run_text(fa2, e, r), HasSubstr("3,000 of 5,000 elements\n"));
    e.near = {};
    EXPECT_THAT(run_text(fa2, e, r), HasSubstr("3,000 of unbounded\n"));
}

TEST(format, a_run_as_csv) {
    run_result r = made_up();
    r.sent.write(tensor::q, 5);
    EXPECT_EQ(run_csv(toy(), r), "tensor,reads,writes,bytes_read,bytes_written,bytes_over_link\n"
                                 "q,1200,0,2400,0,10\n"
                                 "out,0,1000000,0,2000000,0\n"
                                 "lse,10,30,40,120,0\n");
}

TEST(format, a_run_as_json) {
    run_result r = made_up();
    r.moved[tensor::out] = {};
    r.sent.write(tensor::k, 600);
    r.peak_register_bytes = 77;
    experiment e = toy();
    e.what.devices = 3;
    e.plan.key_splits = 5;
    EXPECT_EQ(run_json(find_algorithm("fa2"), e, r),
              R"({
  "algorithm": "fa2",
  "pass": "forward",
  "workload": {
    "batch": 2,
    "q_heads": 4,
    "kv_heads": 2,
    "q_len": 5,
    "k_len": 7,
    "head_dim": 3,
    "value_dim": 2,
    "dtype": "bf16",
    "packed_heads": false,
    "devices": 3,
    "description": "forward batch 2, heads 4/2, q 5, k 7, d 3, e 2, tiles 2x3, devices 3, splits 5"
  },
  "tiles": {
    "row_tile": 2,
    "key_tile": 3,
    "key_splits": 5
  },
  "tensors": {
    "q": {
      "elements": {
        "reads": 1200,
        "writes": 0
      },
      "bytes": {
        "reads": 2400,
        "writes": 0
      }
    },
    "lse": {
      "elements": {
        "reads": 10,
        "writes": 30
      },
      "bytes": {
        "reads": 40,
        "writes": 120
      }
    }
  },
  "elements": {
    "reads": 1210,
    "writes": 30
  },
  "bytes": {
    "reads": 2440,
    "writes": 120
  },
  "link": {
    "elements": {
      "k": 600
    },
    "bytes": 1200
  },
  "matrix_flops": 4000000,
  "exponentials": 7000,
  "vector_flops": 8000,
  "blocks": 1234,
  "near_memory": {
    "unit": "bytes",
    "capacity": 4096,
    "peak": 3000,
    "register_peak": 77
  }
}
)");
    e.near = {};
    e.what.packed_heads = true;
    e.what.blocks = {1, 0, 0, 0};
    e.which = pass::backward;
    const std::string json = run_json(find_algorithm("fa2"), e, made_up());
    for (const char* part : {"\"unit\": \"elements\"", "\"capacity\": null", "\"packed_heads\": true",
                             "\"visible_blocks\": 0.25", "\"pass\": \"backward\""}) {
        EXPECT_THAT(json, HasSubstr(part));
    }
    EXPECT_EQ(json.find("link"), std::string::npos);
}

TEST(format, experiments_in_one_line) {
    experiment e = toy();
    e.which = pass::backward;
    e.what.packed_heads = true;
    e.what.mask = window(3, unbounded);
    e.what.key_lengths = {4, 6};
    e.what.block_rows = 8;
    e.what.block_cols = 16;
    e.what.blocks = {1};
    e.what.devices = 2;
    e.plan.key_splits = 3;
    EXPECT_EQ(describe(e), "backward batch 2, heads 4/2 packed, q 5, k 7, d 3, e 2, window 3:all bottom-right, key "
                           "lengths 4 6, blocks 8x16, tiles 2x3, devices 2, splits 3");
    e = toy();
    e.what.mask = causal(alignment::top_left);
    EXPECT_THAT(describe(e), HasSubstr("e 2, window all:0 top-left, tiles 2x3"));
    e.what.mask = window(unbounded, -2).at_offset(-9);
    EXPECT_THAT(describe(e), HasSubstr(", window all:-2 offset -9, tiles"));
}

TEST(format, plans) {
    const algorithm& fa2 = find_algorithm("fa2");
    experiment e = toy();
    const std::vector<tile_choice> choices{{{64, 32, 1}, {2000, 555}, {3000, 40}, {6000, 1400}},
                                           {{8, 128, 1}, {1000, 0}, {30000, 400}, {60000, 800}}};
    EXPECT_EQ(plan_text(fa2, e, choices), "fa2 forward, near memory 4,096 bytes\n"
                                          "\n"
                                          "rows x keys  bytes held   reads  writes     moved\n"
                                          "64 x 32           2,000   3,000      40   7.40 kB\n"
                                          "8 x 128           1,000  30,000     400  60.80 kB\n");
    e.near.accumulator_bytes = 1024;
    EXPECT_EQ(plan_text(fa2, e, {choices[0]}), "fa2 forward, near memory 4,096 bytes, registers 1,024 bytes\n"
                                               "\n"
                                               "rows x keys  bytes held  in registers  reads  writes    moved\n"
                                               "64 x 32           2,000           555  3,000      40  7.40 kB\n");
    e.near = near_memory::of_elements(9);
    EXPECT_THAT(plan_text(fa2, e, choices), HasSubstr("rows x keys  elements held  "));
    EXPECT_EQ(plan_csv(choices), "row_tile,key_tile,near_held,registers_held,reads,writes,bytes_read,bytes_written\n"
                                 "64,32,2000,555,3000,40,6000,1400\n"
                                 "8,128,1000,0,30000,400,60000,800\n");
    EXPECT_EQ(plan_json(fa2, e, {choices[0]}), R"({
  "algorithm": "fa2",
  "pass": "forward",
  "plans": [
    {
      "row_tile": 64,
      "key_tile": 32,
      "near_held": 2000,
      "registers_held": 555,
      "elements": {
        "reads": 3000,
        "writes": 40
      },
      "bytes": {
        "reads": 6000,
        "writes": 1400
      }
    }
  ]
}
)");
}

TEST(format, checks) {
    check_result r;
    r.cases = 1500;
    EXPECT_EQ(check_text(r, 7), "1,500 random cases (seed 7), all counted == closed form, tensor by tensor\n");
    EXPECT_EQ(check_text(r, std::nullopt), "1,500 algorithms, all counted == closed form, tensor by tensor\n");
    r.cases = 1;
    EXPECT_EQ(check_text(r, std::nullopt), "1 algorithm, all counted == closed form, tensor by tensor\n");
    r.mismatches = {"one", "two"};
    EXPECT_EQ(check_text(r, 3), "MISMATCH one\nMISMATCH two\n1 random cases (seed 3), 2 mismatches\n");
    EXPECT_EQ(check_json(r, 3),
              "{\n  \"cases\": 1,\n  \"seed\": 3,\n  \"mismatches\": [\n    \"one\",\n    \"two\"\n  ]\n}\n");
    EXPECT_EQ(check_json(r, std::nullopt).find("seed"), std::string::npos);
}

std::pair<std::vector<cache_level>, cached_run> two_levels() {
    std::vector<cache_level> levels(2);
    levels[0].name = "L1";
    levels[0].bytes = 32 * 1024;
    levels[1].name = "L2";
    levels[1].bytes = 2048 * 1024;
    cached_run r;
    r.result = made_up();
    r.levels.resize(2);
    r.levels[0] = {3000, 1000, 500, 100, 60, 90, 300, 200, 100};
    r.levels[1] = {600, 90, 400, 0, 30, 80, 250, 150, 0};
    r.memory_bytes_read = 25600;
    r.memory_bytes_written = 5120;
    return {levels, r};
}

// 600 misses of 4,000 lines: 85 %; 400 of 690: 42.03 %.
TEST(format, caches) {
    auto [levels, r] = two_levels();
    EXPECT_EQ(cached_text(levels, r),
              "level       lines read  lines written  misses  hit rate  written back  compulsory  capacity  conflict\n"
              "L1 32 KB         3,000          1,000     600   85.00 %            90         300       200       100\n"
              "L2 2048 KB         600             90     400   42.03 %            80         250       150         0\n"
              "memory: 25.60 kB read, 5.12 kB written\n");
    EXPECT_EQ(cached_csv(levels, r),
              "level,bytes,reads,writes,read_misses,write_misses,write_backs,compulsory,capacity,conflict\n"
              "L1,32768,3000,1000,500,100,90,300,200,100\n"
              "L2,2097152,600,90,400,0,80,250,150,0\n");
    EXPECT_THAT(cached_json(find_algorithm("fa2"), toy(), levels, r), HasSubstr(R"(
  "levels": [
    {
      "name": "L1",
      "bytes": 32768,
      "reads": 3000,
      "writes": 1000,
      "read_misses": 500,
      "write_misses": 100,
      "write_backs": 90,
      "compulsory": 300,
      "capacity": 200,
      "conflict": 100
    },
    {
      "name": "L2",
)"));
    EXPECT_THAT(cached_json(find_algorithm("fa2"), toy(), levels, r), HasSubstr(R"(
  "memory": {
    "bytes_read": 25600,
    "bytes_written": 5120
  }
}
)"));
    r.levels[0].compulsory = 0; // not classified
    r.levels[1].reads = r.levels[1].writes = 0;
    EXPECT_EQ(cached_text(levels, r), "level       lines read  lines written  misses  hit rate  written back\n"
                                      "L1 32 KB         3,000          1,000     600   85.00 %            90\n"
                                      "L2 2048 KB           0              0     400    0.00 %            80\n"
                                      "memory: 25.60 kB read, 5.12 kB written\n");
}

TEST(format, shared_caches) {
    l2_request a;
    a.bytes = 50'000'000;
    l2_request b = a;
    b.order = block_order::sawtooth;
    b.halves = true;
    l2_result x;
    x.asked_bytes = 8000;
    x.memory_bytes = 1000;
    x.unique_bytes = 900;
    x.predicted_bytes = 950;
    l2_result y;
    EXPECT_EQ(l2_text({a, b}, {x, y}),
              "order                  cache  K and V  asked for  from memory  closed form  hit rate\n"
              "cyclic              50.00 MB    900 B    8.00 kB      1.00 kB        950 B   87.50 %\n"
              "sawtooth  50.00 MB in halves      0 B        0 B          0 B            -  100.00 %\n");
    EXPECT_EQ(l2_csv({a, b}, {x, y}), "order,cache_bytes,halves,unique_bytes,asked_bytes,memory_bytes,predicted_bytes\n"
                                      "cyclic,50000000,0,900,8000,1000,950\n"
                                      "sawtooth,50000000,1,0,0,0,\n");
    EXPECT_EQ(l2_json({b, a}, {y, x}), R"([
  {
    "order": "sawtooth",
    "cache_bytes": 50000000,
    "halves": true,
    "asked_bytes": 0,
    "memory_bytes": 0,
    "unique_bytes": 0,
    "predicted_bytes": null,
    "hit_rate": 1.0
  },
  {
    "order": "cyclic",
    "cache_bytes": 50000000,
    "halves": false,
    "asked_bytes": 8000,
    "memory_bytes": 1000,
    "unique_bytes": 900,
    "predicted_bytes": 950,
    "hit_rate": 0.875
  }
]
)");
    EXPECT_EQ(name(block_order::longest_first), "longest-first");
    EXPECT_EQ(parse_order("longest-first"), block_order::longest_first);
    EXPECT_EQ(parse_order("sawtooth"), block_order::sawtooth);
    EXPECT_EQ(parse_order("cyclic"), block_order::cyclic);
}

} // namespace
} // namespace pantile::inline v0::simulator
