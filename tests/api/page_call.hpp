/// \file
/// A valid call of any function of the page, whose every argument can be spoilt by name: what the tests of refusals work on.
#pragma once

#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include <pantile/attention.hpp>

#include <support/page_rules.hpp>

namespace pantile::test {

/// One tensor argument: its numbers, wherever its view keeps them.
struct page_argument {
    std::string name;
    int rank = 4;
    index_t* extent = nullptr;
    index_t* stride = nullptr;
    std::function<void()> make_null;
};

/// No two sizes are equal, so that no mismatch hides behind another: q (3, 4, 7, 5), k (3, 2, 11, 5), v (3, 2, 11, 6).
/// In: q, k, v. Out: out, gradients. Stat: lse, partial results.
template <class In, class Out, class Stat>
class page_call {
  public:
    static constexpr index_t batch = 3, q_heads = 4, kv_heads = 2, q_len = 7, k_len = 11, dim = 5, value_dim = 6;

    page_function function;
    pantile::options options;

    explicit page_call(page_function f) : function(f) {
        const auto add = [this](const char* name, auto& view) {
            arguments_.push_back({name, static_cast<int>(view.extent.size()), view.extent.data(), view.stride.data(),
                                  [&view] { view.data = nullptr; }});
        };
        const auto add_part = [&](const char* out, const char* max, const char* sum, partial_view<Stat>& part) {
            add(out, part.out), add(max, part.max), add(sum, part.sum);
        };
        const bool backward = f == page_function::backward;
        if (f == page_function::merge) {
            add_part("a.out", "a.max", "a.sum", a);
            add_part("b.out", "b.max", "b.sum", b);
            add_part("part.out", "part.max", "part.sum", part);
            return;
        }
        if (f == page_function::finish) {
            add_part("part.out", "part.max", "part.sum", part);
            add("out", finished), add("lse", lse);
            return;
        }
        add("q", q), add("k", k), add("v", v);
        if (f == page_function::partial) add_part("part.out", "part.max", "part.sum", part);
        if (f == page_function::forward || f == page_function::forward_lse) add("out", out);
        if (backward) add("out", given_out);
        if (f == page_function::forward_lse || backward) add("lse", lse);
        if (backward) add("dout", dout), add("dq", dq), add("dk", dk), add("dv", dv);
    }
    page_call(const page_call&) = delete; // arguments_ refers to the views
    page_call& operator=(const page_call&) = delete;

    [[nodiscard]] std::vector<page_argument>& arguments() { return arguments_; }
    [[nodiscard]] page_argument& argument(const std::string& name) {
        for (page_argument& x : arguments_) {
            if (x.name == name) return x;
        }
        throw std::logic_error("no argument " + name);
    }
    [[nodiscard]] bool takes_options() const {
        return function != page_function::merge && function != page_function::finish;
    }
    [[nodiscard]] const char* explained_by() const {
        return function == page_function::backward ? "explain_backward" : "explain";
    }
    [[nodiscard]] explanation explained() const {
        return function == page_function::backward || function == page_function::explain_backward
                   ? pantile::explain_backward(q, k, v, options)
                   : pantile::explain(q, k, v, options);
    }

    void operator()() const {
        switch (function) {
        case page_function::forward:
            return attention(q, k, v, out, options);
        case page_function::forward_lse:
            return attention(q, k, v, out, lse, options);
        case page_function::backward:
            return attention_backward(q, k, v, given_out, lse, dout, dq, dk, dv, options);
        case page_function::partial:
            return attention_partial(q, k, v, part, options);
        case page_function::merge:
            return pantile::merge(a, b, part);
        case page_function::finish:
            return pantile::finish(part, finished, lse);
        case page_function::explain:
            return (void)pantile::explain(q, k, v, options);
        case page_function::explain_backward:
            return (void)pantile::explain_backward(q, k, v, options);
        }
    }

    /// The text of the invalid_argument that the call throws; nothing may have been written by then.
    [[nodiscard]] std::string refusal() const {
        const std::vector<std::byte> before = memory_;
        std::string text = "no error";
        try {
            (*this)();
        } catch (const invalid_argument& e) {
            text = e.what();
        }
        return std::memcmp(before.data(), memory_.data(), before.size()) == 0 ? text : "written before: " + text;
    }

  private:
    static constexpr index_t slot = 16384; // bytes; the largest tensor has 3·4·7·6 numbers
    template <class T>
    T* at(int n) {
        return reinterpret_cast<T*>(memory_.data() + n * slot);
    }
    partial_view<Stat> part_at(int n) {
        return {bhsd(at<Stat>(n), batch, q_heads, q_len, value_dim), bhs(at<Stat>(n + 1), batch, q_heads, q_len),
                bhs(at<Stat>(n + 2), batch, q_heads, q_len)};
    }
    // A small number in every type; no result has these bytes.
    std::vector<std::byte> memory_ = std::vector<std::byte>(20 * static_cast<std::size_t>(slot), std::byte{0x11});
    std::vector<page_argument> arguments_;

  public:
    tensor_view<const In> q = bhsd<const In>(at<In>(0), batch, q_heads, q_len, dim);
    tensor_view<const In> k = bhsd<const In>(at<In>(1), batch, kv_heads, k_len, dim);
    tensor_view<const In> v = bhsd<const In>(at<In>(2), batch, kv_heads, k_len, value_dim);
    tensor_view<const In> given_out = bhsd<const In>(at<In>(3), batch, q_heads, q_len, value_dim);
    tensor_view<const In> dout = bhsd<const In>(at<In>(4), batch, q_heads, q_len, value_dim);
    tensor_view<Out> out = bhsd(at<Out>(5), batch, q_heads, q_len, value_dim);
    row_view<Stat> lse = bhs(at<Stat>(6), batch, q_heads, q_len);
    tensor_view<Out> dq = bhsd(at<Out>(7), batch, q_heads, q_len, dim);
    tensor_view<Out> dk = bhsd(at<Out>(8), batch, kv_heads, k_len, dim);
    tensor_view<Out> dv = bhsd(at<Out>(9), batch, kv_heads, k_len, value_dim);
    tensor_view<Stat> finished = bhsd(at<Stat>(10), batch, q_heads, q_len, value_dim);
    partial_view<Stat> a = part_at(11);
    partial_view<Stat> b = part_at(14);
    partial_view<Stat> part = part_at(17);
};

/// Calls f(call) with a fresh call of every overload of `function`.
template <class F>
void for_every_type(page_function function, F f) {
    const auto with = [&]<class In, class Out, class Stat>(page_call<In, Out, Stat>*) {
        page_call<In, Out, Stat> call(function);
        f(call);
    };
    with(static_cast<page_call<float, float, float>*>(nullptr));
    with(static_cast<page_call<double, double, double>*>(nullptr));
    with(static_cast<page_call<float16, float16, float>*>(nullptr));
    with(static_cast<page_call<float16, float, float>*>(nullptr));
    with(static_cast<page_call<bfloat16, bfloat16, float>*>(nullptr));
    with(static_cast<page_call<bfloat16, float, float>*>(nullptr));
}

} // namespace pantile::test
