// The ladder's numbers by hand: padded dims, splits, work memory, the order's tail; each limit to the last number that it takes;
// and each refusal in full. With made-up devices.

#include "plan.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <tuple>

namespace pantile::inline v0::cuda {
namespace {

constexpr device_facts h100{90, 132, 227 * 1024};
constexpr device_facts a100{80, 108, 163 * 1024};
/// Ten multiprocessors: waves that can be counted by hand.
constexpr device_facts ten{90, 10, 227 * 1024};
constexpr dtype types[] = {dtype::fp16, dtype::bf16, dtype::fp32, dtype::fp64};

core::problem square(index_t length, index_t dim, index_t heads = 16) {
    core::problem p;
    p.batch = 1;
    p.q_heads = p.kv_heads = heads;
    p.q_len = p.k_len = length;
    p.head_dim = p.value_dim = dim;
    return p;
}

/// One query row for each of `heads`.
core::problem decode(index_t keys, index_t heads, index_t dim = 128) {
    core::problem p = square(keys, dim, heads);
    p.q_len = 1;
    return p;
}

call_facts aligned(dtype type = dtype::bf16, cuda_kernel forced = cuda_kernel::automatic) {
    call_facts call;
    call.type = type;
    call.vectors = true;
    call.forced = forced;
    return call;
}

std::string refusal(const core::problem& p, const call_facts& call, const device_facts& device) {
    try {
        (void)choose(p, call, device);
    } catch (const unsupported& e) {
        return std::string("unsupported: ") + e.what();
    } catch (const invalid_argument& e) {
        return std::string("invalid_argument: ") + e.what();
    }
    return "";
}

// ---------------------------------------------------------------------------------------------------- the catalogue

/// The padded dims that each kind of kernel is compiled for: each once where one instance serves all calls, else once for plain calls and
/// once for those with a score function.
TEST(ladder, every_table_is_in_the_catalogue) {
    using entry = std::tuple<cuda_kernel, dtype, int, int, int,
                             bool>; // and the rows of a tile, and whether scored calls are served
    std::multiset<entry> found;
    for (const auto& table : kernel_tables()) {
        for (const kernel& k : table) found.insert({k.kind, k.type, k.dim, k.value_dim, k.rows, k.serves_scored});
    }
    std::multiset<entry> expected;
    const auto insert = [&](cuda_kernel kind, dtype type, int dim, int value_dim, int rows) {
        const bool twice = type == dtype::fp64 || (bytes_of(type) == 2 && kind != cuda_kernel::decode);
        if (twice) expected.insert({kind, type, dim, value_dim, rows, false});
        expected.insert({kind, type, dim, value_dim, rows, true});
    };
    const auto add = [&](cuda_kernel kind, dtype type, std::initializer_list<std::pair<int, int>> dims_and_rows) {
        for (const auto& [dim, rows] : dims_and_rows) insert(kind, type, dim, dim, rows);
    };
    for (const dtype t : {dtype::fp16, dtype::bf16}) {
        add(cuda_kernel::portable, t, {{64, 128}, {96, 128}, {128, 128}, {192, 64}, {256, 64}});
        add(cuda_kernel::decode, t, {{64, 64}, {96, 64}, {128, 64}, {192, 64}, {256, 64}});
        for (int twice = 0; twice < 2; ++twice) add(cuda_kernel::decode, t, {{64, 16}, {128, 16}, {256, 16}});
        add(cuda_kernel::sm90, t, {{64, 192}, {64, 128}, {128, 128}, {192, 128}, {256, 128}});
        insert(cuda_kernel::sm90, t, 192, 128, 128);
    }
    for (const auto kind : {cuda_kernel::portable, cuda_kernel::decode, cuda_kernel::ffma}) {
        add(kind, dtype::fp32, {{64, 64}, {96, 64}, {128, 64}, {192, 64}, {256, 64}});
    }
    add(cuda_kernel::sm90, dtype::fp32, {{64, 192}, {96, 128}, {128, 128}, {192, 128}, {256, 128}});
    insert(cuda_kernel::sm90, dtype::fp32, 192, 128, 128);
    add(cuda_kernel::portable, dtype::fp64,
        {{64, 64}, {96, 64}, {128, 64}, {128, 32}, {192, 64}, {256, 64}, {256, 32}});
    add(cuda_kernel::decode, dtype::fp64, {{64, 64}, {96, 64}, {128, 32}, {192, 64}, {256, 32}});
    add(cuda_kernel::sm90, dtype::fp64, {{64, 64}, {96, 64}, {128, 128}, {192, 64}, {256, 64}});
    EXPECT_EQ(found, expected);
}

/// A plain call gets an instance without a score stage where there is one; a call with a score function one that has it, with the same
/// sizes. Sinks alone are plain.
TEST(ladder, score_functions_choose_their_own_instances) {
    const float slope = 1.0F;
    for (const dtype t : {dtype::fp16, dtype::bf16, dtype::fp32, dtype::fp64}) {
        for (const auto kind : {cuda_kernel::portable, cuda_kernel::sm90, cuda_kernel::decode}) {
            for (const index_t dim : {64, 96, 128, 192, 256}) {
                core::problem p;
                p.batch = p.q_heads = p.kv_heads = 1;
                p.q_len = p.k_len = 2048;
                p.head_dim = p.value_dim = dim;
                call_facts call;
                call.type = t;
                call.vectors = true;
                call.forced = kind;
                const kernel& plain = *choose(p, call, h100).chosen;
                p.features.sinks.narrow = &slope;
                EXPECT_EQ(choose(p, call, h100).chosen, &plain);
                p.features.slopes.narrow = &slope;
                const kernel& sloped = *choose(p, call, h100).chosen;
                p.features.slopes = {};
                p.features.softcap = 3.0;
                const kernel& capped = *choose(p, call, h100).chosen;
                EXPECT_TRUE(sloped.serves_scored);
                EXPECT_EQ(&capped, &sloped);
                const bool one_for_all = t == dtype::fp32 || (kind == cuda_kernel::decode && t != dtype::fp64);
                EXPECT_EQ(plain.serves_scored, one_for_all);
                EXPECT_EQ(plain.kind, sloped.kind);
                EXPECT_EQ(std::tie(plain.dim, plain.value_dim, plain.rows, plain.keys),
                          std::tie(sloped.dim, sloped.value_dim, sloped.rows, sloped.keys));
            }
        }
    }
}

/// The copy engine's kernels count positions in 32 bits: with slopes an offset must fit.
TEST(ladder, far_offsets_with_slopes_are_not_for_hopper) {
    const float slope = 1.0F;
    core::problem p;
    p.batch = p.q_heads = p.kv_heads = 1;
    p.q_len = p.k_len = 2048;
    p.head_dim = p.value_dim = 64;
    call_facts call;
    call.type = dtype::bf16;
    call.vectors = true;
    for (const index_t offset : {(index_t{1} << 30) + 1, -(index_t{1} << 30) - 1}) {
        p.mask = causal().at_offset(offset);
        p.features = {};
        EXPECT_EQ(choose(p, call, h100).chosen->kind, cuda_kernel::sm90);
        p.features.slopes.narrow = &slope;
        EXPECT_EQ(choose(p, call, h100).chosen->kind, cuda_kernel::portable);
    }
}

/// The smallest padded dims that hold the call's, head and value dim each.
TEST(ladder, takes_the_smallest_padded_dims) {
    constexpr std::pair<index_t, int> dims[] = {{1, 64},    {64, 64},   {65, 96},   {96, 96},   {97, 128},
                                                {128, 128}, {129, 192}, {192, 192}, {193, 256}, {256, 256}};
    for (const dtype type : types) {
        for (const auto& [dim, padded] : dims) {
            const call_facts portable = aligned(type, cuda_kernel::portable);
            core::problem p = square(1024, dim);
            EXPECT_EQ(choose(p, portable, h100).chosen->dim, padded) << dim;
            p.value_dim = 1;
            EXPECT_EQ(choose(p, portable, h100).chosen->dim, padded) << dim;
            p.head_dim = 1;
            p.value_dim = dim;
            EXPECT_EQ(choose(p, portable, h100).chosen->value_dim, padded) << dim;
        }
    }
    // sm90 has no tile of 96 in 16 bits, and one of values narrower than keys.
    EXPECT_EQ(choose(square(1024, 96), aligned(), h100).chosen->dim, 128);
    core::problem p = square(1024, 192);
    p.value_dim = 129;
    EXPECT_EQ(choose(p, aligned(), h100).chosen->value_dim, 192);
}

// ------------------------------------------------------------------------------------------------------- refusals

TEST(ladder, what_the_room_does_not_serve) {
    const std::string dims = "unsupported: pantile: the CUDA machine serves head and value dims up to 256, and this "
                             "call has ";
    core::problem p = square(64, 256);
    EXPECT_EQ(refusal(p, aligned(), h100), "");
    p.head_dim = 257;
    EXPECT_EQ(refusal(p, aligned(), h100), dims + "257");
    p.head_dim = 1;
    p.value_dim = 300;
    EXPECT_EQ(refusal(p, aligned(), h100), dims + "300");
    EXPECT_EQ(refusal(square(64, 64), aligned(), {80, 1, 99 * 1024}), "");
    EXPECT_EQ(refusal(square(64, 64), aligned(), {75, 1, 99 * 1024}),
              "unsupported: pantile: the CUDA machine needs compute capability 8.0 or later; this device has 7.5");
    EXPECT_EQ(refusal(square(64, 64), aligned(), {61, 1, 99 * 1024}),
              "unsupported: pantile: the CUDA machine needs compute capability 8.0 or later; this device has 6.1");
    // 50176 bytes for portable, of 64 columns and 128 rows; 41984 for the small one.
    EXPECT_EQ(choose(square(64, 64), aligned(), {86, 1, 50176}).chosen->kind, cuda_kernel::portable);
    EXPECT_EQ(choose(square(64, 64), aligned(), {86, 1, 50175}).chosen->kind, cuda_kernel::decode);
    EXPECT_EQ(refusal(square(64, 64), aligned(), {86, 1, 41983}),
              "unsupported: pantile: no kernel for this call's types and dims fits the 41983 bytes of shared memory "
              "that this device gives a block");
}

TEST(ladder, why_sm90_cannot_serve) {
    const std::string begin = "unsupported: pantile: the sm90 kernel cannot serve this call: ";
    for (const dtype type : types) {
        const call_facts forced = aligned(type, cuda_kernel::sm90);
        const core::problem p = square(1024, 128);
        EXPECT_EQ(choose(p, forced, h100).chosen->kind, cuda_kernel::sm90);
        for (const int capability : {80, 89, 100, 120}) {
            EXPECT_EQ(refusal(p, forced, {capability, 132, 227 * 1024}),
                      begin + "the device is not of compute capability 9.0");
        }
        call_facts crooked = forced;
        crooked.vectors = false;
        call_facts repeats = forced;
        repeats.repeats = true;
        if (type == dtype::fp32) { // comes without the copy engine
            EXPECT_EQ(choose(p, crooked, h100).chosen->kind, cuda_kernel::sm90);
            EXPECT_EQ(choose(p, repeats, h100).chosen->kind, cuda_kernel::sm90);
        } else {
            EXPECT_EQ(refusal(p, crooked, h100),
                      begin + "a base, stride or dim of q, k or v is not a multiple of 16 bytes");
            EXPECT_EQ(refusal(p, repeats, h100), begin + "a stride of q, k or v is 0 or negative");
        }
        for (index_t core::problem::*size :
             {&core::problem::head_dim, &core::problem::value_dim, &core::problem::k_len}) {
            core::problem none = p;
            none.*size = 0;
            EXPECT_EQ(refusal(none, forced, h100), begin + "head_dim, value_dim or k.length is 0");
            EXPECT_EQ(refusal(none, aligned(type), h100), ""); // another kernel serves it
        }
        constexpr index_t most = 0x7fffffff / 2;
        for (index_t core::problem::*size : {&core::problem::q_len, &core::problem::k_len}) {
            core::problem long_one = square(1024, 128, 1);
            long_one.*size = most;
            EXPECT_EQ(refusal(long_one, forced, h100), "");
            long_one.*size = most + 1;
            EXPECT_EQ(refusal(long_one, forced, h100), begin + "a length is above 2^30");
        }
        // 8 row tiles of 128 rows each.
        core::problem many = square(1024, 128, index_t{1} << 28);
        EXPECT_EQ(refusal(many, forced, h100), begin + "it would have more than 2^31 row tiles");
        many.q_heads = many.kv_heads = (index_t{1} << 28) - 1;
        EXPECT_EQ(refusal(many, forced, h100), "");
        many.batch = 2;
        EXPECT_EQ(refusal(many, forced, h100), begin + "it would have more than 2^31 row tiles");
        call_facts split = forced;
        split.key_splits = 2;
        EXPECT_EQ(refusal(p, split, h100), begin + "it does not split keys");
        split.key_splits = 1;
        EXPECT_EQ(refusal(p, split, h100), "");
    }
}

TEST(ladder, ffma_is_for_fp32_and_only_if_asked_for) {
    for (const dtype type : types) {
        const call_facts forced = aligned(type, cuda_kernel::ffma);
        if (type == dtype::fp32) {
            EXPECT_EQ(choose(square(1024, 128), forced, h100).chosen->kind, cuda_kernel::ffma);
        } else {
            EXPECT_EQ(refusal(square(1024, 128), forced, h100),
                      "unsupported: pantile: the ffma kernel cannot serve this call: q, k and v are not fp32");
        }
        EXPECT_NE(choose(square(1024, 128), aligned(type), a100).chosen->kind, cuda_kernel::ffma);
    }
}

TEST(ladder, row_tiles_and_splits_have_limits) {
    // 8 row tiles of 128 rows each.
    core::problem p = square(1024, 64, (index_t{1} << 28) - 1);
    EXPECT_EQ(refusal(p, aligned(dtype::bf16, cuda_kernel::portable), a100), "");
    p.q_heads = p.kv_heads = index_t{1} << 28;
    EXPECT_EQ(refusal(p, aligned(dtype::bf16, cuda_kernel::portable), a100),
              "unsupported: pantile: the call has 2147483648 row tiles; the CUDA machine serves up to 2^31 - 1");
    call_facts split = aligned();
    split.key_splits = 65535;
    EXPECT_EQ(choose(square(64, 64), split, a100).tiles.key_splits, 65535);
    split.key_splits = 65536;
    EXPECT_EQ(refusal(square(64, 64), split, a100),
              "invalid_argument: pantile: options.key_splits is 65536: it must be at most 65535");
}

// --------------------------------------------------------------------------------------------------------- few rows

/// Splits: the fewest that keep ten multiprocessors as busy as the best number, within 5 %; none shorter than 256 keys.
TEST(ladder, splits_fill_the_multiprocessors) {
    const auto splits = [](index_t blocks, index_t keys) { return choose(decode(keys, blocks), aligned(), ten); };
    // 4 blocks: 4/10, 8/10, 12/20, 16/20, 20/20.
    EXPECT_EQ(splits(4, 512).tiles.key_splits, 2);
    EXPECT_EQ(splits(4, 1279).tiles.key_splits, 2); // at most 4
    EXPECT_EQ(splits(4, 1280).tiles.key_splits, 5);
    EXPECT_EQ(splits(4, 1 << 20).tiles.key_splits, 5);
    // 7 blocks: 7/10, 14/20, 21/30, 28/30, 35/40, 42/50, 49/50 — within 5 % of 70/70.
    EXPECT_EQ(splits(7, 1535).tiles.key_splits, 4);
    EXPECT_EQ(splits(7, 1 << 20).tiles.key_splits, 7);
    EXPECT_EQ(splits(10, 1 << 20).tiles.key_splits, 1);
    EXPECT_EQ(splits(11, 768).tiles.key_splits, 3); // 11/20, 22/30, 33/40
    EXPECT_EQ(splits(1, 1 << 20).tiles.key_splits, 10);
    EXPECT_EQ(splits(4, 1280).blocks, 20);
    EXPECT_EQ(splits(4, 1280).tiles.row_tile, 16);
    // At most 128: 1 block on 132 multiprocessors.
    EXPECT_EQ(choose(decode(1 << 20, 1), aligned(), {90, 1000, 227 * 1024}).tiles.key_splits, 122);
    // Of kernels that hold two blocks a multiprocessor, twice as many.
    EXPECT_EQ(choose(decode(1 << 20, 4), aligned(dtype::fp32), ten).tiles.key_splits, 5);
    EXPECT_EQ(choose(decode(1 << 20, 8), aligned(dtype::fp32), ten).tiles.key_splits, 5);
    EXPECT_EQ(choose(decode(1 << 20, 1), aligned(dtype::fp32), ten).tiles.key_splits, 19);
}

TEST(ladder, few_rows_are_those_of_a_tile_on_512_keys) {
    for (const dtype type : types) {
        const index_t rows = type == dtype::fp64 ? 32 : 64;
        const auto kind = [&](index_t q_len, index_t keys, index_t group = 1) {
            core::problem p = decode(keys, 4);
            p.q_len = q_len;
            p.q_heads = 4 * group;
            return choose(p, aligned(type), a100).chosen->kind;
        };
        EXPECT_EQ(kind(1, 512), cuda_kernel::decode);
        EXPECT_EQ(kind(1, 511), cuda_kernel::portable);
        EXPECT_EQ(kind(rows, 512), cuda_kernel::decode);
        EXPECT_EQ(kind(rows + 1, 512), cuda_kernel::portable);
        EXPECT_EQ(kind(rows / 4, 512, 4), cuda_kernel::decode);
        EXPECT_EQ(kind(rows / 4 + 1, 512, 4), cuda_kernel::portable);
    }
}

TEST(ladder, the_streaming_kernel_takes_up_to_16_rows_and_2_to_the_30_keys) {
    const auto streams = [](index_t q_len, index_t group, index_t keys, bool vectors) {
        core::problem p = decode(keys, 2);
        p.q_len = q_len;
        p.q_heads = 2 * group;
        call_facts call = aligned();
        call.vectors = vectors;
        return choose(p, call, a100).chosen->merges_splits;
    };
    EXPECT_TRUE(streams(1, 16, 512, true));
    EXPECT_TRUE(streams(16, 1, 512, true));
    EXPECT_FALSE(streams(1, 17, 512, true));
    EXPECT_FALSE(streams(17, 1, 512, true));
    EXPECT_FALSE(streams(9, 2, 512, true));
    EXPECT_FALSE(streams(1, 16, 512, false));
    EXPECT_TRUE(streams(1, 1, 0x7fffffff / 2, true));
    EXPECT_FALSE(streams(1, 1, 0x7fffffff / 2 + 1, true));
}

/// Heads are packed where all of a group fit a tile; a tile then holds whole positions.
TEST(ladder, packs_the_heads_of_a_group) {
    const auto plan = [](index_t group, index_t q_len) {
        core::problem p = decode(512, 2);
        p.q_len = q_len;
        p.q_heads = 2 * group;
        return choose(p, aligned(dtype::fp32, cuda_kernel::decode), a100);
    };
    EXPECT_EQ(plan(5, 1).heads_packed, 5);
    EXPECT_EQ(plan(5, 1).tiles.row_tile, 60); // of 64
    EXPECT_EQ(plan(5, 12).blocks / plan(5, 12).tiles.key_splits, 2);
    EXPECT_EQ(plan(5, 13).blocks / plan(5, 13).tiles.key_splits, 4); // 12 positions a tile
    EXPECT_EQ(plan(64, 1).heads_packed, 64);
    EXPECT_EQ(plan(65, 1).heads_packed, 1);
    EXPECT_EQ(plan(65, 1).blocks / plan(65, 1).tiles.key_splits, 130);
    EXPECT_EQ(choose(square(1024, 64), aligned(dtype::bf16, cuda_kernel::portable), a100).heads_packed, 1);
}

// ------------------------------------------------------------------------------------------------------ work memory

TEST(ladder, work_memory_by_hand) {
    core::problem p = decode(4096, 3, 100);
    p.batch = 2;
    p.value_dim = 72;
    p.q_heads = 6;
    p.q_len = 5;
    for (const dtype type : types) {
        call_facts call = aligned(type, cuda_kernel::decode);
        call.key_splits = 1;
        EXPECT_EQ(choose(p, call, a100).workspace_bytes, 0);
        call.key_splits = 7;
        const forward_plan plan = choose(p, call, a100);
        if (plan.chosen->merges_splits) { // 6 words in 256 bytes, then 10 rows of 72 and {max, sum} for each split
            EXPECT_EQ(plan.workspace_bytes, 256 + 6 * 7 * 10 * (72 + 2) * 4);
        } else { // 60 rows
            EXPECT_EQ(plan.workspace_bytes, 7 * 60 * (72 + 2) * (type == dtype::fp64 ? 8 : 4));
        }
        EXPECT_EQ(plan.blocks, 6 * 7);
    }
}

/// Under a mask, blocks of a Hopper launch count row tiles, where there are more of these than multiprocessors.
TEST(ladder, counts_row_tiles_where_they_differ) {
    core::problem p = square(1280, 128, 1); // 10 row tiles
    EXPECT_FALSE(choose(p, aligned(), ten).counts_items);
    p.mask.right = 0;
    EXPECT_FALSE(choose(p, aligned(), ten).counts_items);
    p.q_len = p.k_len = 1281;
    EXPECT_TRUE(choose(p, aligned(), ten).counts_items);
    EXPECT_EQ(choose(p, aligned(), ten).workspace_bytes, 256);
    EXPECT_EQ(choose(p, aligned(), ten).blocks, 10);
    EXPECT_EQ(choose(p, aligned(), h100).blocks, 11);
    EXPECT_EQ(choose(p, aligned(), h100).workspace_bytes, 0);
    p.mask.right = unbounded;
    EXPECT_FALSE(choose(p, aligned(), ten).counts_items);
    EXPECT_EQ(choose(p, aligned(), ten).workspace_bytes, 0);
    // A side that reaches over all keys hides nothing.
    p.mask.left = p.mask.right = p.k_len;
    EXPECT_FALSE(choose(p, aligned(), ten).counts_items);
    p.mask.left = p.k_len - 1;
    EXPECT_TRUE(choose(p, aligned(), ten).counts_items);
    // fp64 launches a block a row tile.
    p.mask.right = 0;
    const forward_plan wide = choose(p, aligned(dtype::fp64), ten);
    EXPECT_EQ(wide.chosen->kind, cuda_kernel::sm90);
    EXPECT_EQ(wide.blocks, 11);
    EXPECT_FALSE(wide.counts_items);
    EXPECT_EQ(wide.workspace_bytes, 0);
}

// --------------------------------------------------------------------------------------------------------- the tail

TEST(ladder, tails_by_hand) {
    core::problem p = square(1280, 128, 100); // 10 row tiles a head
    EXPECT_EQ(choose(p, aligned(), ten).tail, 1);
    p.mask.right = 0;
    EXPECT_EQ(choose(p, aligned(), ten).tail, 3); // 3 row tiles for each of ten blocks
    p.q_len = p.k_len = 1024;                     // 8 row tiles: one for each
    EXPECT_EQ(choose(p, aligned(), ten).tail, 2);
    p.q_len = p.k_len = 1025;
    EXPECT_EQ(choose(p, aligned(), ten).tail, 4);
    p.q_heads = p.kv_heads = 3;
    EXPECT_EQ(choose(p, aligned(), ten).tail, 3); // as many as there are
    // Portable: two blocks a multiprocessor, and three row tiles for each.
    p = square(1280, 128, 100);
    p.mask.right = 0;
    EXPECT_EQ(choose(p, aligned(dtype::bf16, cuda_kernel::portable), ten).tail, 6);
    p.q_heads = p.kv_heads = 0;
    EXPECT_EQ(choose(p, aligned(dtype::bf16, cuda_kernel::portable), ten).tail, 1);
}

/// Small row tiles up to 256 rows, under a mask up to 1024.
TEST(ladder, row_tiles_are_small_where_rows_are_short) {
    const auto rows = [](index_t length, bool causal) {
        core::problem p = square(length, 64);
        if (causal) p.mask.right = 0;
        return choose(p, aligned(), h100).tiles.row_tile;
    };
    EXPECT_EQ(rows(256, false), 128);
    EXPECT_EQ(rows(257, false), 192);
    EXPECT_EQ(rows(1024, true), 128);
    EXPECT_EQ(rows(1025, true), 192);
}

} // namespace
} // namespace pantile::inline v0::cuda
