// The elements of tensors as the kernels reach them.
#include <type_traits>

#include <gtest/gtest.h>

#include "micro/elements.hpp"

namespace pantile::inline v0::cpu {
namespace {

/// A page apart, up or down.
TEST(elements, rows_are_far_apart_from_a_page_on) {
    for (const index_t bytes : {2, 4, 8}) {
        const index_t page = 4096 / bytes;
        for (const index_t sign : {1, -1}) {
            EXPECT_TRUE(rows_far_apart(sign * page, bytes));
            EXPECT_TRUE(rows_far_apart(sign * page * 3, bytes));
            EXPECT_FALSE(rows_far_apart(sign * (page - 1), bytes));
        }
        EXPECT_FALSE(rows_far_apart(0, bytes));
    }
}

/// Of the types that compute in T, the one that the tensor has.
TEST(elements, have_the_tensor_s_type) {
    char memory[8] = {};
    const auto is = [&]<class T, class Expected>(T, Expected*, dtype type) {
        bool right = false;
        with_elements<T>(memory, type, [&](auto* data) {
            right = std::is_same_v<decltype(data), Expected*> && static_cast<void*>(data) == memory;
        });
        return right;
    };
    EXPECT_TRUE(is(0.0F, static_cast<float*>(nullptr), dtype::fp32));
    EXPECT_TRUE(is(0.0F, static_cast<float16*>(nullptr), dtype::fp16));
    EXPECT_TRUE(is(0.0F, static_cast<bfloat16*>(nullptr), dtype::bf16));
    EXPECT_TRUE(is(0.0, static_cast<double*>(nullptr), dtype::fp64));
}

} // namespace
} // namespace pantile::inline v0::cpu
