// What explain tells on the CUDA page, by hand on made-up kernels and plans; and its words in full. No GPU is needed.

#include "explanation.hpp"

#include <gtest/gtest.h>

#include <sstream>

namespace pantile::inline v0::cuda {
namespace {

kernel kernel_of(cuda_kernel kind, int dim, int value_dim) {
    kernel k{};
    k.kind = kind;
    k.dim = dim;
    k.value_dim = value_dim;
    k.threads = 384;
    k.shared_bytes = 12345;
    return k;
}

/// 2 batches of 4 query heads on 2 of keys, 4 rows and 8 keys, dims 2 and 3. Causal: the rows see 5, 6, 7 and 8 keys.
core::problem small_problem() {
    core::problem p;
    p.batch = 2;
    p.q_heads = 4;
    p.kv_heads = 2;
    p.q_len = 4;
    p.k_len = 8;
    p.head_dim = 2;
    p.value_dim = 3;
    p.mask.right = 0;
    return p;
}

TEST(cuda_explained, a_call_by_hand) {
    const kernel k = kernel_of(cuda_kernel::sm90, 64, 64);
    forward_plan plan;
    plan.chosen = &k;
    plan.tiles = {2, 3, 1};
    plan.blocks = 17;
    plan.workspace_bytes = 256; // a counter of row tiles: no traffic to speak of
    // Rows 0 and 1 need the key tiles that hold keys 0 to 5, rows 2 and 3 all 8 keys: 14 for each of 8 heads.
    core::traffic t;
    t.q.reads = 8 * 4 * 2;
    t.k.reads = 8 * 14 * 2;
    t.v.reads = 8 * 14 * 3;
    t.out.writes = 8 * 4 * 3;
    t.lse.writes = 8 * 4;
    for (const dtype type : {dtype::fp16, dtype::bf16, dtype::fp32, dtype::fp64}) {
        const device_explanation e = explained(small_problem(), plan, type);
        EXPECT_EQ(e.kernel, "sm90, head dim up to 64");
        EXPECT_EQ(e.tiles.row_tile, 2);
        EXPECT_EQ(e.tiles.key_tile, 3);
        EXPECT_EQ(e.tiles.key_splits, 1);
        EXPECT_EQ(e.heads_packed, 1);
        EXPECT_EQ(e.blocks, 17);
        EXPECT_EQ(e.threads, 384);
        EXPECT_EQ(e.shared_bytes, 12345);
        EXPECT_EQ(e.workspace_bytes, 256);
        EXPECT_EQ(e.traffic, t);
        EXPECT_EQ(e.read_bytes, bytes_of(type) * (64 + 224 + 336));
        EXPECT_EQ(e.write_bytes, bytes_of(type) * 96 + bytes_of(computed_in(type)) * 32);
        EXPECT_EQ(e.flops, 8 * 26 * 10.0);
    }
}

TEST(cuda_explained, packed_heads_share_keys_and_splits_write_parts) {
    const kernel k = kernel_of(cuda_kernel::decode, 192, 128);
    forward_plan plan;
    plan.chosen = &k;
    plan.tiles = {4, 3, 5}; // 2 positions of 2 heads
    plan.heads_packed = 2;
    plan.blocks = 20;
    plan.workspace_bytes = 1000;
    core::traffic t;
    t.q.reads = 8 * 4 * 2; // all heads' rows, K and V for each pair of heads
    t.k.reads = 4 * 14 * 2;
    t.v.reads = 4 * 14 * 3;
    t.out.writes = 8 * 4 * 3;
    t.lse.writes = 8 * 4;
    for (const dtype type : {dtype::bf16, dtype::fp64}) {
        const device_explanation e = explained(small_problem(), plan, type);
        EXPECT_EQ(e.kernel, "decode, head dim up to 192, value dim up to 128");
        EXPECT_EQ(e.heads_packed, 2);
        EXPECT_EQ(e.traffic, t);
        EXPECT_EQ(e.read_bytes, bytes_of(type) * (64 + 112 + 168) + 1000);
        EXPECT_EQ(e.write_bytes, bytes_of(type) * 96 + bytes_of(computed_in(type)) * 32 + 1000);
        EXPECT_EQ(e.flops, 8 * 26 * 10.0);
    }
}

/// Key lengths lie in device memory: they must not be read.
TEST(cuda_explained, key_lengths_are_not_looked_at) {
    const kernel k = kernel_of(cuda_kernel::portable, 64, 64);
    forward_plan plan;
    plan.chosen = &k;
    plan.tiles = {2, 3, 1};
    core::problem p = small_problem();
    const device_explanation full = explained(p, plan, dtype::fp32);
    p.key_lengths = {reinterpret_cast<const index_t*>(std::uintptr_t{8})}; // NOLINT(performance-no-int-to-ptr)
    EXPECT_EQ(explained(p, plan, dtype::fp32).traffic, full.traffic);
    EXPECT_EQ(explained(p, plan, dtype::fp32).flops, full.flops);
}

TEST(cuda_explained, in_words) {
    device_explanation e;
    e.kernel = "sm90, head dim up to 64";
    e.tiles = {128, 96, 1};
    e.blocks = 132;
    e.threads = 384;
    e.shared_bytes = 98304;
    e.workspace_bytes = 256;
    e.read_bytes = 1000;
    e.write_bytes = 2000;
    e.flops = 4096;
    EXPECT_EQ(to_string(e), "cuda: sm90, head dim up to 64\n"
                            "tiles: 128 rows x 96 keys\n"
                            "blocks: 132 of 384 threads, 98304 bytes of shared memory each\n"
                            "workspace: 256 bytes\n"
                            "predicted L2 traffic: 1000 bytes read, 2000 written\n"
                            "work: 4096 FLOP\n");
    e.heads_packed = 2;
    e.tiles.key_splits = 2;
    const std::string text = to_string(e);
    EXPECT_NE(text.find("tiles: 128 rows (2 heads packed) x 96 keys, keys in 2 splits\n"), std::string::npos) << text;
    std::ostringstream stream;
    stream << e;
    EXPECT_EQ(stream.str(), text);
}

} // namespace
} // namespace pantile::inline v0::cuda
