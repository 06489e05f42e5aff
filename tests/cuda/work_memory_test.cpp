// What a call's work memory holds, and where. Addresses are made up; no GPU is needed.

#include "work_memory.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

namespace pantile::inline v0::cuda {
namespace {

template <class T>
T* at(std::uintptr_t address) {
    return reinterpret_cast<T*>(address); // NOLINT(performance-no-int-to-ptr)
}

TEST(work_memory, is_for_what_the_plan_says) {
    kernel merging{};
    merging.merges_splits = true;
    kernel plain{};
    forward_plan plan;
    for (const kernel* k : {&plain, &merging}) {
        for (const bool counts : {false, true}) {
            plan.chosen = k;
            plan.counts_items = counts;
            plan.workspace_bytes = 0;
            EXPECT_EQ(work_of(plan), work::none);
            plan.workspace_bytes = 256;
            EXPECT_EQ(work_of(plan), counts || k == &merging ? work::shared : work::parts);
        }
    }
}

std::string refusal(std::span<std::byte> memory, index_t bytes) {
    try {
        EXPECT_EQ(offered_memory(memory, bytes), memory.data());
    } catch (const invalid_argument& e) {
        return e.what();
    }
    return "";
}

TEST(work_memory, must_be_large_enough_and_aligned) {
    auto* const memory = at<std::byte>(0x100000);
    EXPECT_EQ(refusal({memory, 1000}, 1000), "");
    EXPECT_EQ(refusal({memory, 1001}, 1000), "");
    EXPECT_EQ(refusal({memory, 999}, 1000),
              "pantile: options.workspace has 999 bytes: this call needs 1000 (explain(...).workspace_bytes)");
    EXPECT_EQ(refusal({memory + 256, 1000}, 1000), "");
    for (const int shift : {1, 16, 128, 255}) {
        EXPECT_EQ(refusal({memory + shift, 1000}, 1000), "pantile: options.workspace is not 256-byte aligned");
    }
}

/// O, sums and maxima of every split, batch, head and row have places of their own, fill the memory that the plan asks for, and
/// stand where the layouts say.
TEST(work_memory, parts_of_splits_fill_it) {
    for (const dtype type : {dtype::bf16, dtype::fp32, dtype::fp64}) {
        const index_t bytes = bytes_of(computed_in(type));
        forward_arguments a;
        a.shape.batch = 2;
        a.shape.q_heads = 3;
        a.shape.q_len = 5;
        a.shape.value_dim = 4;
        a.tiles.key_splits = 7;
        a.tail = 11;
        a.kind = out_kind::same;
        auto* const memory = at<std::byte>(0x100000);
        const forward_arguments p = into_parts(a, type, memory);
        EXPECT_EQ(p.kind, out_kind::partial);
        EXPECT_EQ(p.tail, 11); // the rest stays
        EXPECT_EQ(p.tiles.key_splits, 7);
        EXPECT_TRUE(p.out_vectors);
        EXPECT_EQ(p.out, memory);
        std::set<const std::byte*> places;
        const std::byte* last = nullptr;
        const auto take = [&](const void* base, index_t number) {
            const std::byte* const place = static_cast<const std::byte*>(base) + number * bytes;
            EXPECT_TRUE(places.insert(place).second);
            last = std::max(last, place);
        };
        for (index_t s = 0; s < 7; ++s) {
            for (index_t b = 0; b < 2; ++b) {
                for (index_t h = 0; h < 3; ++h) {
                    for (index_t i = 0; i < 5; ++i) {
                        for (index_t x = 0; x < 4; ++x) {
                            take(p.out, s * p.split_stride_out + p.out_layout.place(b, h, i) + x);
                        }
                        take(p.lse, s * p.split_stride_rows + p.lse_layout.place(b, h, i));
                        take(p.max, s * p.split_stride_rows + p.max_layout.place(b, h, i));
                    }
                }
            }
        }
        const index_t numbers = 7 * 2 * 3 * 5 * (4 + 2);
        EXPECT_EQ(static_cast<index_t>(places.size()), numbers);
        EXPECT_EQ(last, memory + (numbers - 1) * bytes);
        EXPECT_LT(p.out, p.lse);
        EXPECT_LT(p.lse, p.max);
        a.shape.value_dim = 3; // rows of 12 bytes, or 24
        EXPECT_FALSE(into_parts(a, type, memory).out_vectors);
        a.shape.value_dim = 2; // 8 bytes, or 16
        EXPECT_EQ(into_parts(a, type, memory).out_vectors, type == dtype::fp64);
    }
}

} // namespace
} // namespace pantile::inline v0::cuda
