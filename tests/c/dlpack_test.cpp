// pantile_from_dlpack: every layout, type and device that it takes, what it refuses, and its idea of a DLTensor against the true
// header, where that is.
#include <array>

#include <gtest/gtest.h>

#include "c_tensor.hpp"

#if defined(PANTILE_HAS_DLPACK)
#include <dlpack/dlpack.h>
#endif

namespace pantile::test {
namespace {

#if !defined(PANTILE_HAS_DLPACK)
// As far as these tests go, what the header has.
struct DLDevice { // NOLINT
    std::int32_t device_type, device_id;
};
struct DLDataType { // NOLINT
    std::uint8_t code, bits;
    std::uint16_t lanes;
};
struct DLTensor { // NOLINT
    void* data;
    DLDevice device;
    std::int32_t ndim;
    DLDataType dtype;
    std::int64_t *shape, *strides;
    std::uint64_t byte_offset;
};
#endif

class dlpack : public testing::Test {
  protected:
    std::array<float, 64> numbers{};
    std::array<std::int64_t, 4> shape{2, 3, 4, 5};
    std::array<std::int64_t, 4> strides{-60, 1, 0, 7};
    DLTensor t = made();
    pantile_tensor to = {};

    DLTensor made() {
        DLTensor x = {};
        x.data = numbers.data();
        x.device.device_type = static_cast<decltype(x.device.device_type)>(1);
        x.ndim = 4;
        x.dtype = {2, 32, 1};
        x.shape = shape.data();
        return x;
    }
    pantile_status status(const char* layout) { return pantile_from_dlpack(&t, layout, &to); }
    std::string refusal(const char* layout = "bhsd") {
        const pantile_tensor before = to;
        EXPECT_EQ(status(layout), PANTILE_INVALID_ARGUMENT);
        EXPECT_EQ(std::memcmp(&before, &to, sizeof to), 0);
        t = made();
        return pantile_message();
    }
    void expect(std::array<std::int64_t, 4> extent, std::array<std::int64_t, 4> stride, int rank = 4) const {
        EXPECT_EQ(to.rank, rank);
        for (std::size_t i = 0; i < static_cast<std::size_t>(rank); ++i) {
            EXPECT_EQ(to.extent[i], extent[i]) << i;
            EXPECT_EQ(to.stride[i], stride[i]) << i;
        }
    }
};

TEST_F(dlpack, dense_tensors_in_every_layout) {
    ASSERT_EQ(status("bhsd"), PANTILE_OK) << pantile_message();
    EXPECT_EQ(to.data, numbers.data());
    EXPECT_EQ(to.dtype, PANTILE_FP32);
    EXPECT_EQ(to.memory, PANTILE_HOST);
    expect({2, 3, 4, 5}, {60, 20, 5, 1});
    ASSERT_EQ(status("bshd"), PANTILE_OK);
    expect({2, 4, 3, 5}, {60, 5, 20, 1});
    ASSERT_EQ(status("sbhd"), PANTILE_OK);
    expect({3, 4, 2, 5}, {20, 5, 60, 1});
    t.ndim = 3;
    ASSERT_EQ(status("shd"), PANTILE_OK);
    expect({1, 3, 2, 4}, {0, 4, 12, 1});
    ASSERT_EQ(status("bhs"), PANTILE_OK);
    expect({2, 3, 4}, {12, 4, 1}, 3);
    t.ndim = 2;
    ASSERT_EQ(status("sd"), PANTILE_OK);
    expect({1, 1, 2, 3}, {0, 0, 3, 1});
    t.ndim = 1;
    ASSERT_EQ(status("s"), PANTILE_OK);
    expect({1, 1, 2}, {0, 0, 1}, 3);
}

TEST_F(dlpack, strides_and_byte_offset) {
    t.strides = strides.data();
    t.byte_offset = 12;
    ASSERT_EQ(status("bshd"), PANTILE_OK);
    EXPECT_EQ(to.data, numbers.data() + 3);
    expect({2, 4, 3, 5}, {-60, 0, 1, 7});
    t.data = nullptr;
    ASSERT_EQ(status("bshd"), PANTILE_OK);
    EXPECT_EQ(to.data, nullptr);
}

TEST_F(dlpack, types_and_devices) {
    const auto type = [&](std::uint8_t code, std::uint8_t bits) {
        t.dtype = {code, bits, 1};
        return status("bhsd") == PANTILE_OK ? to.dtype : -1;
    };
    EXPECT_EQ(type(2, 16), PANTILE_FP16);
    EXPECT_EQ(type(2, 32), PANTILE_FP32);
    EXPECT_EQ(type(2, 64), PANTILE_FP64);
    EXPECT_EQ(type(4, 16), PANTILE_BF16);
    for (const auto& [code, bits] : {std::pair(2, 8), {4, 32}, {0, 32}, {1, 64}, {5, 64}, {2, 128}}) {
        EXPECT_EQ(type(static_cast<std::uint8_t>(code), static_cast<std::uint8_t>(bits)), -1) << code << " " << bits;
    }
    t = made();
    const auto device = [&](int code) {
        t.device.device_type = static_cast<decltype(t.device.device_type)>(code);
        return status("bhsd") == PANTILE_OK ? to.memory : -1;
    };
    EXPECT_EQ(device(1), PANTILE_HOST);
    EXPECT_EQ(device(3), PANTILE_HOST);
    EXPECT_EQ(device(2), PANTILE_DEVICE);
    EXPECT_EQ(device(13), PANTILE_DEVICE);
    for (const int code : {0, 4, 7, 8, 9, 10, 11, 12}) EXPECT_EQ(device(code), -1) << code;
}

TEST_F(dlpack, refusals) {
    EXPECT_EQ(pantile_from_dlpack(nullptr, "bhsd", &to), PANTILE_INVALID_ARGUMENT);
    EXPECT_STREQ(pantile_message(), "pantile: dl_tensor is NULL");
    EXPECT_EQ(pantile_from_dlpack(&t, nullptr, &to), PANTILE_INVALID_ARGUMENT);
    EXPECT_STREQ(pantile_message(), "pantile: layout is NULL");
    EXPECT_EQ(pantile_from_dlpack(&t, "bhsd", nullptr), PANTILE_INVALID_ARGUMENT);
    EXPECT_STREQ(pantile_message(), "pantile: tensor is NULL");
    EXPECT_EQ(refusal("bhs"),
              "pantile: layout is \"bhs\", dl_tensor.ndim is 4: there must be one letter an axis, of which a "
              "tensor has 1 to 4");
    for (const char* bad : {"bhhd", "bhxd", "BHSD", "bhs "}) {
        EXPECT_EQ(refusal(bad),
                  "pantile: layout is \"" + std::string(bad) +
                      "\": it must name each axis by b (batch), s (length), h (heads) or d (dim), each once");
    }
    t.ndim = 0;
    EXPECT_EQ(refusal(""),
              "pantile: layout is \"\", dl_tensor.ndim is 0: there must be one letter an axis, of which a tensor "
              "has 1 to 4");
    t.ndim = 5;
    EXPECT_EQ(refusal("bhsdb"),
              "pantile: layout is \"bhsdb\", dl_tensor.ndim is 5: there must be one letter an axis, of which "
              "a tensor has 1 to 4");
    t.ndim = -1;
    EXPECT_EQ(status("bhsd"), PANTILE_INVALID_ARGUMENT);
    t = made();
    t.shape = nullptr;
    EXPECT_EQ(refusal(), "pantile: dl_tensor.shape is NULL");
    t.dtype.lanes = 4;
    EXPECT_EQ(refusal(),
              "pantile: dl_tensor.dtype is {code 2, bits 32, lanes 4}: it must be a float (code 2) of 16, 32 or 64 "
              "bits or a bfloat (code 4) of 16, of 1 lane");
    t.device.device_type = static_cast<decltype(t.device.device_type)>(10);
    EXPECT_EQ(refusal(),
              "pantile: dl_tensor.device.device_type is 10: it must be kDLCPU (1), kDLCUDA (2), kDLCUDAHost (3) or "
              "kDLCUDAManaged (13)");
    shape = {INT64_MAX, INT64_MAX, INT64_MAX, 2};
    EXPECT_EQ(refusal(), "pantile: dl_tensor.shape has more than 2^63 elements");
}

/// A whole call: (length, heads, dim) of another library's, one batch.
TEST_F(dlpack, a_call_on_another_librarys_tensors) {
    std::vector<float> x = random_numbers<float>(5 * 2 * 8, 3), out(x.size()), expected(x.size());
    std::array<std::int64_t, 3> dense{5, 2, 8};
    t.data = x.data();
    t.ndim = 3;
    t.shape = dense.data();
    pantile_tensor q = {};
    pantile_results r = {sizeof r, {}, {}};
    ASSERT_EQ(pantile_from_dlpack(&t, "shd", &q), PANTILE_OK);
    t.data = out.data();
    ASSERT_EQ(pantile_from_dlpack(&t, "shd", &r.out), PANTILE_OK);
    ASSERT_EQ(pantile_attention(&q, &q, &q, &r, nullptr), PANTILE_OK) << pantile_message();
    const auto view = bshd<const float>(x.data(), 1, 5, 2, 8);
    attention(view, view, view, bshd(expected.data(), 1, 5, 2, 8));
    EXPECT_TRUE(same_bits(out, expected));
}

#if defined(PANTILE_HAS_DLPACK)
TEST(dlpack_header, the_codes_are_those_of_the_header) {
    EXPECT_EQ(static_cast<int>(kDLCPU), 1);
    EXPECT_EQ(static_cast<int>(kDLCUDA), 2);
    EXPECT_EQ(static_cast<int>(kDLCUDAHost), 3);
    EXPECT_EQ(static_cast<int>(kDLCUDAManaged), 13);
    EXPECT_EQ(static_cast<int>(kDLFloat), 2);
    EXPECT_EQ(static_cast<int>(kDLBfloat), 4);
    EXPECT_EQ(offsetof(DLManagedTensor, dl_tensor), 0U);
}
#endif

} // namespace
} // namespace pantile::test
