// pantile_cuda.h without a GPU: what is refused before any device is asked has the C++ texts, what is not served says so.
// Addresses are made up: nothing is read.
#include <algorithm>
#include <cstring>
#include <string>

#include <gtest/gtest.h>

#include <pantile/cuda.hpp>
#include <pantile/error.hpp>
#include <pantile_cuda.h>

#include "fields.hpp"

namespace pantile::test {
namespace {

TEST(c_fields, as_many_in_cpp_as_c_maps_of_a_device) {
    EXPECT_EQ(fields<device_explanation>(), 11U) << "pantile_device_explanation, to_c";
    EXPECT_EQ(sizeof(pantile_device_explanation), 8 + 128 + 3 * 8 + 8 + 8 + 2 * 4 + 8 + 14 * 16 + 8 + 8 + 8U);
}

/// A call of made-up device memory: q (3, 4, 7, 5), k (3, 2, 11, 5), v (3, 2, 11, 6).
class cuda_in_c : public testing::Test {
  protected:
    static void* at(int n) {
        return reinterpret_cast<void*>(0x1000000 + 0x10000 * std::uintptr_t(n)); // NOLINT(performance-no-int-to-ptr)
    }
    static pantile_tensor tensor(int n, int64_t heads, int64_t length, int64_t dim) {
        return pantile_on_device(pantile_bhsd(at(n), PANTILE_FP32, 3, heads, length, dim));
    }
    static pantile_tensor rows(int n) { return pantile_on_device(pantile_bhs(at(n), PANTILE_FP32, 3, 4, 7)); }
    static pantile_partial part_at(int n) {
        return {sizeof(pantile_partial), tensor(n, 4, 7, 6), rows(n + 1), rows(n + 2)};
    }

    pantile_tensor q = tensor(0, 4, 7, 5), k = tensor(1, 2, 11, 5), v = tensor(2, 2, 11, 6);
    pantile_results results = {sizeof(pantile_results), tensor(3, 4, 7, 6), rows(4)};
    pantile_partial a = part_at(5), b = part_at(8), part = part_at(11);
    pantile_device_explanation explanation = sized();
    pantile_options options = PANTILE_OPTIONS_INIT;

    static pantile_device_explanation sized() {
        pantile_device_explanation e = {};
        e.size = sizeof e;
        return e;
    }
    pantile_status forward() { return pantile_cuda_attention(&q, &k, &v, &results, nullptr, &options); }
    static void refused(pantile_status status, const char* text) {
        EXPECT_EQ(status, PANTILE_INVALID_ARGUMENT);
        EXPECT_EQ(pantile_cuda_message(), "pantile: " + std::string(text));
        EXPECT_EQ(pantile_cuda_message(), pantile_message());
    }
};

TEST_F(cuda_in_c, what_does_not_fit_has_the_texts_of_cpp) {
    k.extent[3] = 4;
    refused(forward(), "k.head_dim is 4, q.head_dim is 5: they must be equal");
    refused(pantile_cuda_attention_partial(&q, &k, &v, &part, nullptr, &options),
            "k.head_dim is 4, q.head_dim is 5: they must be equal");
    refused(pantile_cuda_explain(&q, &k, &v, &options, &explanation),
            "k.head_dim is 4, q.head_dim is 5: they must be equal");
    k = tensor(1, 2, 11, 5);
    q.memory = PANTILE_HOST;
    refused(forward(), "q is host memory: this function's tensors are device memory");
    q = tensor(0, 4, 7, 5);
    options.key_splits = -1;
    refused(forward(), "options.key_splits is -1: it must be at least 0 (0: chosen)");
    options = PANTILE_OPTIONS_INIT;
    part.max.extent[2] = 8;
    refused(pantile_cuda_merge(&a, &b, &part, nullptr), "part.max.length is 8, a.out.length is 7: they must be equal");
    part = part_at(11);
    results.out.extent[3] = 7;
    refused(pantile_cuda_finish(&part, &results, nullptr),
            "out.value_dim is 7, part.out.value_dim is 6: they must be equal");
}

TEST_F(cuda_in_c, null_pointers_and_sizes) {
    refused(pantile_cuda_attention(nullptr, &k, &v, &results, nullptr, nullptr), "q is NULL");
    refused(pantile_cuda_attention(&q, &k, &v, nullptr, nullptr, nullptr), "results is NULL");
    refused(pantile_cuda_attention_partial(&q, &k, &v, nullptr, nullptr, nullptr), "part is NULL");
    refused(pantile_cuda_merge(nullptr, &b, &part, nullptr), "a is NULL");
    refused(pantile_cuda_finish(nullptr, &results, nullptr), "part is NULL");
    refused(pantile_cuda_explain(&q, &k, &v, nullptr, nullptr), "explanation is NULL");
    explanation.size = 0;
    refused(pantile_cuda_explain(&q, &k, &v, nullptr, &explanation),
            "explanation.size is 0: it must be sizeof(pantile_device_explanation)");
}

TEST_F(cuda_in_c, other_tiles_than_the_compiled_ones_are_unsupported) {
    options.plan.row_tile = 32;
    EXPECT_EQ(forward(), PANTILE_UNSUPPORTED);
    EXPECT_NE(std::string(pantile_cuda_message()).find("tiles are compiled in; only key_splits may be named"),
              std::string::npos);
}

TEST_F(cuda_in_c, what_the_machine_has_not_got_is_unsupported_and_named) {
    EXPECT_EQ(pantile_cuda_attention_backward(&q, &k, &v, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr),
              PANTILE_UNSUPPORTED);
    EXPECT_STREQ(pantile_cuda_message(),
                 "pantile: pantile_cuda_attention_backward: the CUDA machine has no backward pass yet; it serves "
                 "pantile_cuda_attention, pantile_cuda_attention_partial, pantile_cuda_merge, pantile_cuda_finish and "
                 "pantile_cuda_explain, and the host serves pantile_attention_backward");
    EXPECT_EQ(pantile_cuda_explain_backward(&q, &k, &v, nullptr, &explanation), PANTILE_UNSUPPORTED);
    EXPECT_EQ(std::string(pantile_cuda_message()).find("pantile: pantile_cuda_explain_backward: "), 0U);
}

TEST_F(cuda_in_c, the_explanation_as_a_text) {
    std::strcpy(explanation.kernel, "sm90, head dim up to 128");
    explanation.tiles = {128, 64, 3};
    explanation.heads_packed = 2;
    explanation.blocks = 5;
    explanation.threads = 384;
    explanation.shared_bytes = 7;
    explanation.workspace_bytes = 8;
    explanation.read_bytes = 9;
    explanation.write_bytes = 10;
    explanation.flops = 11;
    device_explanation e;
    e.kernel = explanation.kernel;
    e.tiles = {128, 64, 3};
    e.heads_packed = 2;
    e.blocks = 5;
    e.threads = 384;
    e.shared_bytes = 7;
    e.workspace_bytes = 8;
    e.read_bytes = 9;
    e.write_bytes = 10;
    e.flops = 11;
    char text[1024];
    size_t needed = 0;
    EXPECT_EQ(pantile_cuda_explanation_text(&explanation, text, sizeof text, &needed), PANTILE_OK);
    EXPECT_EQ(to_string(e), text);
    EXPECT_EQ(needed, std::strlen(text) + 1);
}

/// The same explanation in both languages, with a device; without one the same failure.
TEST_F(cuda_in_c, explain) {
    const pantile_status status = pantile_cuda_explain(&q, &k, &v, nullptr, &explanation);
    const auto view = [](const pantile_tensor& t) {
        tensor_ref r;
        r.data = t.data;
        r.where = memory::device;
        std::copy_n(t.extent, 4, r.extent);
        std::copy_n(t.stride, 4, r.stride);
        return r;
    };
    device_explanation e;
    try {
        e = erased::explain_on_device(view(q), view(k), view(v), {});
    } catch (const cuda_error& error) {
        EXPECT_EQ(status, PANTILE_CUDA_ERROR);
        EXPECT_STREQ(pantile_cuda_message(), error.what());
        return;
    }
    ASSERT_EQ(status, PANTILE_OK) << pantile_cuda_message();
    char text[1024];
    EXPECT_EQ(pantile_cuda_explanation_text(&explanation, text, sizeof text, nullptr), PANTILE_OK);
    EXPECT_EQ(to_string(e), text);
    EXPECT_EQ(explanation.traffic.k.reads, e.traffic.k.reads);
}

} // namespace
} // namespace pantile::test
