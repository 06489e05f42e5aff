// The ladder of kernels, with made-up devices: which kernel a call gets, and that it fits.

#include "plan.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace pantile::inline v0::cuda {
namespace {

constexpr device_facts h100{90, 132, 227 * 1024};
constexpr device_facts a100{80, 108, 163 * 1024};
constexpr device_facts small{86, 84, 99 * 1024}; ///< a GPU of compute capability 8.6: less shared memory

core::problem square(index_t length, index_t dim, index_t heads = 16) {
    core::problem p;
    p.batch = 1;
    p.q_heads = p.kv_heads = heads;
    p.q_len = p.k_len = length;
    p.head_dim = p.value_dim = dim;
    return p;
}

call_facts aligned(dtype type = dtype::bf16) {
    call_facts call;
    call.type = type;
    call.vectors = true;
    return call;
}

TEST(plan, every_kernel_fits_the_largest_device) {
    for (const auto& table : kernel_tables()) {
        for (const kernel& k : table) {
            EXPECT_LE(k.shared_bytes, h100.shared_bytes);
            EXPECT_LE(k.threads, 1024);
            EXPECT_NE(k.launch, nullptr);
        }
    }
}

TEST(plan, what_is_chosen_fits_the_shared_memory_of_the_device) {
    for (const dtype type : {dtype::fp16, dtype::bf16}) {
        for (const index_t dim : {64, 96, 128, 192, 256}) {
            for (const auto kind : {cuda_kernel::automatic, cuda_kernel::portable, cuda_kernel::decode}) {
                call_facts call = aligned(type);
                call.forced = kind;
                EXPECT_LE(choose(square(1024, dim), call, small).chosen->shared_bytes, small.shared_bytes) << dim;
            }
        }
    }
    for (const dtype type : {dtype::fp32, dtype::fp64}) {
        for (const index_t dim : {64, 96, 128, 192, 256}) {
            EXPECT_LE(choose(square(1024, dim), aligned(type), a100).chosen->shared_bytes, a100.shared_bytes) << dim;
        }
    }
    // Where no kernel fits, the call is refused.
    EXPECT_THROW((void)choose(square(1024, 64), aligned(), {86, 84, 16 * 1024}), unsupported);
}

TEST(plan, hopper_gets_its_own_kernel_where_it_can) {
    EXPECT_EQ(choose(square(1024, 128), aligned(), h100).chosen->kind, cuda_kernel::sm90);
    EXPECT_EQ(choose(square(1024, 128), aligned(), a100).chosen->kind, cuda_kernel::portable);
    call_facts crooked = aligned();
    crooked.vectors = false;
    EXPECT_EQ(choose(square(1024, 128), crooked, h100).chosen->kind, cuda_kernel::portable);
    call_facts broadcast = aligned();
    broadcast.repeats = true;
    EXPECT_EQ(choose(square(1024, 128), broadcast, h100).chosen->kind, cuda_kernel::portable);
    call_facts split = aligned();
    split.key_splits = 3;
    const forward_plan plan = choose(square(1024, 128), split, h100);
    EXPECT_EQ(plan.chosen->kind, cuda_kernel::portable);
    EXPECT_EQ(plan.tiles.key_splits, 3);
    EXPECT_EQ(plan.workspace_bytes, 3 * 16 * 1024 * (128 + 2) * 4);
}

TEST(plan, short_rows_take_small_tiles) {
    core::problem p = square(256, 64);
    EXPECT_EQ(choose(p, aligned(), h100).tiles.row_tile, 128);
    p = square(512, 64);
    EXPECT_EQ(choose(p, aligned(), h100).tiles.row_tile, 192);
    p.mask.right = 0;
    EXPECT_EQ(choose(p, aligned(), h100).tiles.row_tile, 128);
    p.q_len = p.k_len = 8192;
    EXPECT_EQ(choose(p, aligned(), h100).tiles.row_tile, 192);
}

TEST(plan, short_row_tiles_end_in_a_short_tail) {
    core::problem p = square(512, 256, 256);
    EXPECT_EQ(choose(p, aligned(), h100).tail, 1); // without a mask no order helps
    p.mask.right = 0;
    EXPECT_EQ(choose(p, aligned(), h100).tail, 33); // 132 row tiles, 4 of a head: one for each block
    p.q_len = p.k_len = 8192;
    EXPECT_EQ(choose(p, aligned(), h100).tail, 7); // three for each block
}

TEST(plan, few_rows_split_the_keys_and_pack_the_heads) {
    core::problem p = square(65536, 128, 8);
    p.q_len = 1;
    p.q_heads = 32;
    const forward_plan plan = choose(p, aligned(), h100);
    EXPECT_EQ(plan.chosen->kind, cuda_kernel::decode);
    EXPECT_EQ(plan.heads_packed, 4);
    EXPECT_GE(plan.tiles.key_splits, 16); // 8 groups alone would leave most multiprocessors idle
    EXPECT_EQ(plan.blocks, 8 * plan.tiles.key_splits);
}

TEST(plan, up_to_16_rows_get_the_kernel_that_merges_its_splits) {
    core::problem p = square(65536, 128, 8);
    p.q_len = 2;
    p.q_heads = 64;
    forward_plan plan = choose(p, aligned(), h100);
    EXPECT_TRUE(plan.chosen->merges_splits);
    EXPECT_EQ(plan.tiles.row_tile, 16);
    // A word a kv head, then O and {max, sum} of 16 rows for each split.
    EXPECT_EQ(plan.workspace_bytes, 256 + 8 * plan.tiles.key_splits * 16 * (128 + 2) * 4);
    EXPECT_TRUE(choose(p, aligned(), a100).chosen->merges_splits);
    call_facts crooked = aligned();
    crooked.vectors = false;
    EXPECT_FALSE(choose(p, crooked, h100).chosen->merges_splits);
    EXPECT_EQ(choose(p, aligned(), h100).chosen->resident, 1); // rings as large as shared memory allows
    EXPECT_TRUE(choose(p, aligned(), small).chosen->merges_splits);
    EXPECT_EQ(choose(p, aligned(), small).chosen->resident, 2);
    p.q_len = 3;
    plan = choose(p, aligned(), h100);
    EXPECT_EQ(plan.chosen->kind, cuda_kernel::decode);
    EXPECT_FALSE(plan.chosen->merges_splits);
}

TEST(plan, wide_types_have_kernels_of_their_own) {
    for (const dtype type : {dtype::fp32, dtype::fp64}) {
        const forward_plan plan = choose(square(1024, 128), aligned(type), a100);
        EXPECT_EQ(plan.chosen->kind, cuda_kernel::portable);
        EXPECT_EQ(plan.chosen->type, type);
        for (const index_t dim : {128, 136, 256}) {
            EXPECT_EQ(choose(square(1024, dim), aligned(type), h100).chosen->kind, cuda_kernel::sm90);
        }
        call_facts split = aligned(type);
        split.key_splits = 2;
        EXPECT_EQ(choose(square(64, 128), split, h100).workspace_bytes,
                  2 * 16 * 64 * (128 + 2) * bytes_of(computed_in(type)));
    }
    call_facts exact = aligned(dtype::fp32);
    exact.forced = cuda_kernel::ffma;
    EXPECT_EQ(choose(square(1024, 128), exact, h100).chosen->kind, cuda_kernel::ffma);
    exact.type = dtype::fp64;
    EXPECT_THROW((void)choose(square(1024, 128), exact, h100), unsupported);
    call_facts crooked = aligned(dtype::fp64); // fp64 comes through the copy engine, fp32 need not
    crooked.vectors = false;
    EXPECT_EQ(choose(square(1024, 128), crooked, h100).chosen->kind, cuda_kernel::portable);
}

TEST(plan, a_smaller_value_dim_has_a_tile_of_its_own) {
    core::problem p = square(4096, 192);
    for (const dtype type : {dtype::fp16, dtype::bf16, dtype::fp32}) {
        p.value_dim = 192;
        EXPECT_EQ(choose(p, aligned(type), h100).chosen->value_dim, 192);
        p.value_dim = 128;
        EXPECT_EQ(choose(p, aligned(type), h100).chosen->value_dim, 128);
        EXPECT_EQ(choose(p, aligned(type), h100).chosen->dim, 192);
    }
}

TEST(plan, a_forced_kernel_that_cannot_serve_says_why) {
    call_facts call = aligned();
    call.forced = cuda_kernel::sm90;
    call.vectors = false;
    try {
        (void)choose(square(1024, 128), call, h100);
        FAIL() << "nothing was thrown";
    } catch (const unsupported& e) {
        EXPECT_STREQ(e.what(), "pantile: the sm90 kernel cannot serve this call: a base, stride or dim of q, k or v is "
                               "not a multiple of 16 bytes");
    }
}

TEST(plan, what_no_kernel_serves_is_unsupported) {
    EXPECT_THROW((void)choose(square(64, 257), aligned(), h100), unsupported);
    EXPECT_THROW((void)choose(square(64, 64), aligned(), device_facts{75, 40, 64 * 1024}), unsupported);
}

RC_GTEST_PROP(plan, chosen_kernels_hold_the_dims_and_tiles_hold_whole_positions, ()) {
    core::problem p;
    p.batch = *rc::gen::inRange<index_t>(1, 5);
    p.kv_heads = *rc::gen::inRange<index_t>(1, 5);
    p.q_heads = p.kv_heads * *rc::gen::inRange<index_t>(1, 80);
    p.q_len = *rc::gen::inRange<index_t>(0, 3000);
    p.k_len = *rc::gen::inRange<index_t>(0, 100000);
    p.head_dim = *rc::gen::inRange<index_t>(0, 257);
    p.value_dim = *rc::gen::inRange<index_t>(0, 257);
    call_facts call;
    call.type = *rc::gen::element(dtype::fp16, dtype::bf16, dtype::fp32, dtype::fp64);
    call.vectors = *rc::gen::arbitrary<bool>();
    const forward_plan plan = choose(p, call, *rc::gen::element(h100, a100));
    RC_ASSERT(plan.chosen->dim >= p.head_dim && plan.chosen->value_dim >= p.value_dim);
    RC_ASSERT(plan.chosen->type == call.type);
    RC_ASSERT(plan.tiles.row_tile % plan.heads_packed == 0);
    RC_ASSERT(plan.tiles.row_tile > 0 && plan.tiles.row_tile <= plan.chosen->rows);
    RC_ASSERT(p.group() % plan.heads_packed == 0);
    RC_ASSERT(plan.tail >= 1 && plan.tail <= core::max(p.batch * p.q_heads, 1) && plan.tiles.key_splits >= 1);
    RC_ASSERT((plan.tiles.key_splits == 1) == (plan.workspace_bytes == 0) || p.q_len == 0);
}

} // namespace
} // namespace pantile::inline v0::cuda
