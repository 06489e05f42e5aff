// Must compile without a warning, with nothing ambiguous: every way of writing a call, those of 0.1 among them.
#include <array>
#include <span>
#include <utility>

#include "views.hpp"

namespace {

using pantile::bfloat16;
using pantile::float16;
using pantile::index_t;

/// What eigen.hpp's users have: a vector with data() and size(), whose size is signed.
struct numbers_like_eigen {
    std::array<index_t, 1> x{};
    [[nodiscard]] const index_t* data() const { return x.data(); }
    [[nodiscard]] std::ptrdiff_t size() const { return 1; }
};

struct head_numbers_like_eigen {
    std::array<double, 1> x{};
    [[nodiscard]] const double* data() const { return x.data(); }
    [[nodiscard]] double* data() { return x.data(); }
    [[nodiscard]] std::ptrdiff_t size() const { return 1; }
};

/// Classes of the caller's that are views, or become them.
struct own_input {
    operator pantile::tensor_view<const float>() const {
        return tensor<const float>();
    } // NOLINT(google-explicit-constructor)
};
struct own_view : pantile::tensor_view<float> {};
struct own_rows {
    operator pantile::row_view<float>() const { return rows<float>(); } // NOLINT(google-explicit-constructor)
};

template <class T, class Wide>
void on_the_host() {
    const auto q = tensor<const T>();
    const auto out = tensor<T>();
    const auto wide_out = tensor<Wide>();
    const auto lse = rows<Wide>();
    pantile::attention(q, q, q, out);
    pantile::attention(out, q, out, wide_out); // inputs may be views of what is not const
    pantile::attention(q, q, q, out, {});
    pantile::attention(q, q, q, out, {.mask = pantile::causal()});
    pantile::attention(q, q, q, out, pantile::options{});
    pantile::attention(q, q, q, out, lse);
    pantile::attention(q, q, q, out, lse, {});
    pantile::attention(q, q, q, wide_out, lse, {.mask = pantile::window(3, 0), .scale = 0.5, .threads = 2});
    pantile::attention(pantile::bshd(static_cast<const T*>(nullptr), 1, 1, 1, 1), q, q,
                       pantile::bhsd(out.data, 1, 1, 1, 1), pantile::bhs(lse.data, 1, 1, 1));
    // Results by name.
    pantile::attention(q, q, q, {.out = out});
    pantile::attention(q, q, q, {.out = out, .lse = lse});
    pantile::attention(q, q, q, {.out = wide_out, .lse = lse}, {.mask = pantile::causal()});
    const pantile::results to{.out = out};
    pantile::attention(q, q, q, to);
    pantile::attention(q, q, q, to, pantile::options{});
    // Backward.
    const auto given_lse = rows<const Wide>();
    pantile::attention_backward(q, q, q, q, given_lse, q, out, out, out);
    pantile::attention_backward(q, q, q, out, lse, out, wide_out, wide_out, wide_out, {.accumulate = true});
    pantile::attention_backward(q, q, q, q, lse, {.dout = q}, {.dq = out, .dk = out, .dv = out});
    pantile::attention_backward(q, q, q, q, lse, {.dout = q}, {.dq = wide_out, .dk = wide_out, .dv = wide_out},
                                {.mask = pantile::causal()});
    // Partial results, whole or in braces.
    const auto p = part<Wide>();
    const pantile::partial_view<const Wide> c = p;
    pantile::attention_partial(q, q, q, p);
    pantile::attention_partial(q, q, q, p, {.mask = pantile::causal().at_offset(5)});
    pantile::attention_partial(q, q, q, {wide_out, lse, lse});
    pantile::attention_partial(q, q, q, {wide_out, lse, lse}, {.scale = 1.0});
    pantile::merge(p, p, p);
    pantile::merge(c, p, p);
    pantile::merge(p, {wide_out, lse, lse}, p);
    pantile::merge({wide_out, lse, lse}, {wide_out, lse, lse}, {wide_out, lse, lse});
    pantile::finish(p, wide_out, lse);
    pantile::finish(c, wide_out, lse);
    pantile::finish({wide_out, lse, lse}, wide_out, lse);
    (void)pantile::explain(q, q, q);
    (void)pantile::explain(out, q, q, {.threads = 1});
    (void)pantile::explain_backward(q, out, q, {});
}

template <class T, class Wide>
void on_a_device() {
    const auto q = on_gpu<const T>();
    const auto out = on_gpu<T>();
    const auto wide_out = on_gpu<Wide>();
    const auto lse = rows_on_gpu<Wide>();
    const cudaStream_t stream = nullptr;
    pantile::attention(q, q, q, out, stream);
    pantile::attention(out, q, q, wide_out, nullptr);
    pantile::attention(q, q, q, out, {});
    pantile::attention(q, q, q, out, stream, {});
    pantile::attention(q, q, q, out, nullptr, {});
    pantile::attention(q, q, q, out, {}, {});
    pantile::attention(q, q, q, out, lse, {}, {});
    pantile::attention(q, q, q, out, {}, {.mask = pantile::causal()});
    pantile::attention(q, q, q, out, lse, stream);
    pantile::attention(q, q, q, out, lse, nullptr);
    pantile::attention(q, q, q, out, lse, {});
    pantile::attention(q, q, q, wide_out, lse, stream, {.mask = pantile::causal()});
    pantile::attention(q, q, q, out, lse, stream, pantile::device_options{});
    pantile::attention(q, q, q, {.out = out}, stream);
    pantile::attention(q, q, q, {.out = out, .lse = lse}, nullptr, {.key_splits = 4});
    const auto p = part_on_gpu<Wide>();
    const pantile::device_partial_view<const Wide> c = p;
    pantile::attention_partial(q, q, q, p, stream);
    pantile::attention_partial(q, q, q, p, nullptr, {.mask = pantile::causal()});
    pantile::attention_partial(q, q, q, {wide_out, lse, lse}, stream);
    pantile::merge(p, c, p, stream);
    pantile::merge(p, p, p, {});
    pantile::merge(p, p, p, nullptr);
    pantile::merge({wide_out, lse, lse}, p, {wide_out, lse, lse}, stream);
    pantile::finish(c, wide_out, lse, stream);
    pantile::finish(p, wide_out, lse, {});
    pantile::finish({wide_out, lse, lse}, wide_out, lse, nullptr);
    (void)pantile::explain(q, q, q);
    (void)pantile::explain(q, q, q, {.kernel = pantile::cuda_kernel::portable});
    const index_t* const lengths = nullptr;
    pantile::attention(q, q, q, out, stream, {.key_lengths = lengths, .key_splits = 2});
    pantile::attention(q, q, q, out, stream, {.key_lengths = nullptr});
    pantile::attention(q, q, q, out, stream, {.key_lengths = pantile::on_device(std::span(lengths, 1))});
    pantile::device_options o;
    o.key_lengths = lengths;
    o.workspace = std::span<std::byte>{};
    pantile::attention(q, q, q, out, stream, o);
}

template <class Lengths>
void with_lengths(const Lengths& lengths) {
    const auto t = tensor<float>();
    pantile::attention(t, t, t, t, {.key_lengths = lengths});
    pantile::options o;
    o.key_lengths = lengths;
    (void)pantile::explain(t, t, t, o);
}

template <class Numbers>
void with_numbers_of_heads(const Numbers& numbers) {
    const auto t = tensor<float>();
    pantile::attention(t, t, t, t, {.softcap = 30, .slopes = numbers, .sinks = numbers});
    pantile::options o;
    o.slopes = numbers;
    o.sinks = numbers;
    (void)pantile::explain(t, t, t, o);
    const auto g = on_gpu<float>();
    pantile::attention(g, g, g, g, nullptr, {.slopes = numbers, .sinks = numbers});
}

template <class Numbers>
void with_gradients_of_heads(Numbers&& numbers) {
    const auto t = tensor<float>();
    pantile::attention_backward(t, t, t, t, rows<float>(), {.dout = t},
                                {.dq = t, .dk = t, .dv = t, .dslopes = numbers, .dsinks = numbers});
    pantile::gradients to;
    to.dsinks = numbers;
    const pantile::gradients copy = to;
    pantile::head_gradients again = copy.dsinks; // of const and of what is not
    to.dslopes = again;
    pantile::head_gradients moved = std::move(again);
    to.dslopes = moved;
    pantile::attention_backward(t, t, t, t, rows<float>(), {.dout = t},
                                {.dq = t, .dk = t, .dv = t, .dslopes = moved, .dsinks = to.dsinks});
}

void numbers_of_heads() {
    std::vector<float> narrow(1);
    std::vector<double> wide(1);
    std::array<float, 1> standard_array{};
    double array[] = {1};
    const auto on_a_gpu = pantile::on_device(std::span<const float>(narrow));
    with_numbers_of_heads(narrow);
    with_numbers_of_heads(wide);
    with_numbers_of_heads(standard_array);
    with_numbers_of_heads(array);
    with_numbers_of_heads(std::span(narrow));
    with_numbers_of_heads(std::span<const double>(wide));
    with_numbers_of_heads(head_numbers_like_eigen{});
    with_numbers_of_heads(narrow.data());
    with_numbers_of_heads(static_cast<const double*>(wide.data()));
    with_numbers_of_heads(nullptr);
    with_numbers_of_heads(on_a_gpu);
    with_gradients_of_heads(narrow);
    with_gradients_of_heads(wide);
    with_gradients_of_heads(standard_array);
    with_gradients_of_heads(array);
    with_gradients_of_heads(std::span(narrow));
    with_gradients_of_heads(head_numbers_like_eigen{});
    with_gradients_of_heads(pantile::head_gradients{});
    const auto t = tensor<float>();
    pantile::attention(t, t, t, t, {.slopes = {}, .sinks = {wide.data(), wide.size()}});
    pantile::attention_backward(
        t, t, t, t, rows<float>(), {.dout = t},
        {.dq = t, .dk = t, .dv = t, .dslopes = {}, .dsinks = {narrow.data(), 1, pantile::memory::device}});
}

} // namespace

void right_calls() {
    on_the_host<float, float>();
    on_the_host<double, double>();
    on_the_host<float16, float>();
    on_the_host<bfloat16, float>();
    on_a_device<float, float>();
    on_a_device<double, double>();
    on_a_device<float16, float>();
    on_a_device<bfloat16, float>();

    pantile::attention(own_input{}, own_view{}, tensor<float>(), own_view{}, own_rows{});
    pantile::attention(own_input{}, own_view{}, tensor<float>(), own_view{}, {.mask = pantile::causal()});
    (void)pantile::explain(own_input{}, own_view{}, own_view{});

    std::vector<index_t> wide(1);
    const std::vector<int> narrow(1);
    const index_t array[] = {1};
    std::array<std::int32_t, 1> standard_array{};
    with_lengths(wide);
    with_lengths(narrow);
    with_lengths(array);
    with_lengths(standard_array);
    with_lengths(std::span<const index_t>(wide));
    with_lengths(std::span(wide));
    with_lengths(numbers_like_eigen{});
    with_lengths(wide.data());
    with_lengths(nullptr);
    numbers_of_heads();
    const auto t = tensor<float>();
    pantile::attention(t, t, t, t, {.key_lengths = {}});
    pantile::attention(t, t, t, t, {.key_lengths = {wide.data(), wide.size()}});

    pantile::erased::attention(t, t, t, {.out = t}, {});
    pantile::erased::attention(t, t, t, {.out = pantile::result_ref<4>(pantile::tensor_ref(t))}, {});
}
