// What tensor maps say of a tensor, without the driver that puts them into its own form.

#include "tensor_map_fields.hpp"

#include <gtest/gtest.h>

namespace pantile::inline v0::cuda {
namespace {

TEST(tensor_map, has_the_tensor_s_dims_and_strides_from_the_inside_out) {
    constexpr std::pair<dtype, CUtensorMapDataType> types[] = {{dtype::fp16, CU_TENSOR_MAP_DATA_TYPE_FLOAT16},
                                                               {dtype::bf16, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16},
                                                               {dtype::fp32, CU_TENSOR_MAP_DATA_TYPE_FLOAT32},
                                                               {dtype::fp64, CU_TENSOR_MAP_DATA_TYPE_FLOAT64}};
    for (const auto& [type, name] : types) {
        const cuuint64_t size = type == dtype::fp64 ? 8 : type == dtype::fp32 ? 4 : 2;
        const map_fields<4> f = tensor_map_fields(type, 2, 3, 5, 72, {40000, 8000, 80}, 112);
        EXPECT_EQ(f.type, name);
        EXPECT_EQ(f.extents, (std::array<cuuint64_t, 4>{72, 5, 3, 2}));
        EXPECT_EQ(f.strides, (std::array<cuuint64_t, 3>{80 * size, 8000 * size, 40000 * size}));
        EXPECT_EQ(f.box, (std::array<cuuint32_t, 4>{static_cast<cuuint32_t>(128 / size), 112, 1, 1}));
    }
}

/// A dim of one index may have any stride, also one that the copy engine does not take.
TEST(tensor_map, strides_of_single_indices_are_legal_ones) {
    const map_fields<4> f = tensor_map_fields(dtype::bf16, 1, 1, 1, 64, {0, -5, 3}, 64);
    EXPECT_EQ(f.strides, (std::array<cuuint64_t, 3>{16, 16, 16}));
    const map_fields<4> two = tensor_map_fields(dtype::bf16, 2, 2, 2, 64, {512, 256, 128}, 64);
    EXPECT_EQ(two.strides, (std::array<cuuint64_t, 3>{256, 512, 1024}));
    const map_fields<5> panels = panel_map_fields(1, 1, 1, 64, {0, -5, 3}, 8, 4);
    EXPECT_EQ(panels.strides, (std::array<cuuint64_t, 4>{16, 128, 16, 16}));
}

TEST(tensor_map, of_panels_has_16_columns_each) {
    const map_fields<5> f = panel_map_fields(2, 3, 5, 96, {40000, 8000, 100}, 32, 6);
    EXPECT_EQ(f.type, CU_TENSOR_MAP_DATA_TYPE_FLOAT64);
    EXPECT_EQ(f.extents, (std::array<cuuint64_t, 5>{16, 5, 6, 3, 2}));
    EXPECT_EQ(f.strides, (std::array<cuuint64_t, 4>{800, 128, 64000, 320000}));
    EXPECT_EQ(f.box, (std::array<cuuint32_t, 5>{16, 32, 6, 1, 1}));
}

} // namespace
} // namespace pantile::inline v0::cuda
