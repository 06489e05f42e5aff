/// \file
/// A valid call of any function of pantile::erased, whose every tensor can be spoilt by name.
#pragma once

#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include <pantile/attention.hpp>

#include <support/page_rules.hpp>

namespace pantile::test {

struct named_tensor {
    std::string name;
    tensor_ref tensor;
};

/// q (2, 4, 5, 3), k (2, 2, 7, 3), v (2, 2, 7, 6).
class erased_call {
  public:
    page_function function;
    dtype in;       ///< of q, k, v, and of out and dout of a backward call
    dtype result;   ///< of out, dq, dk, dv
    dtype computed; ///< of lse and partial results
    pantile::options options{};

    erased_call(page_function f, dtype inputs, dtype results_type)
        : function(f), in(inputs), result(results_type), computed(computed_in(inputs)) {
        using enum page_function;
        if (f == merge) {
            add_part("a."), add_part("b."), add_part("part.");
            return;
        }
        if (f == finish) {
            add_part("part."), add("out", computed, out_shape), add("lse", computed, row_shape);
            return;
        }
        add("q", in, q_shape), add("k", in, k_shape), add("v", in, v_shape);
        if (f == partial) add_part("part.");
        if (f == forward || f == forward_lse) add("out", result, out_shape);
        if (f == backward) add("out", in, out_shape);
        if (f == forward_lse || f == backward) add("lse", computed, row_shape);
        if (f != backward) return;
        add("dout", in, out_shape), add("dq", result, q_shape), add("dk", result, k_shape), add("dv", result, v_shape);
    }

    [[nodiscard]] std::vector<named_tensor>& tensors() { return tensors_; }
    [[nodiscard]] tensor_ref& at(const std::string& name) {
        for (named_tensor& t : tensors_) {
            if (t.name == name) return t.tensor;
        }
        throw std::logic_error("no tensor " + name);
    }

    void operator()() {
        switch (function) {
        case page_function::forward:
            return erased::attention(at("q"), at("k"), at("v"), {.out = to<4>("out")}, options);
        case page_function::forward_lse:
            return erased::attention(at("q"), at("k"), at("v"), {.out = to<4>("out"), .lse = to<3>("lse")}, options);
        case page_function::backward:
            return erased::attention_backward(at("q"), at("k"), at("v"), at("out"), at("lse"), {.dout = at("dout")},
                                              {.dq = to<4>("dq"), .dk = to<4>("dk"), .dv = to<4>("dv")}, options);
        case page_function::partial:
            return erased::attention_partial(at("q"), at("k"), at("v"), part("part."), options);
        case page_function::merge:
            return erased::merge(part("a."), part("b."), part("part."));
        case page_function::finish:
            return erased::finish(part("part."), {.out = to<4>("out"), .lse = to<3>("lse")});
        case page_function::explain:
            return (void)erased::explain(at("q"), at("k"), at("v"), options);
        case page_function::explain_backward:
            return (void)erased::explain_backward(at("q"), at("k"), at("v"), options);
        }
    }

    /// The text of the invalid_argument that the call throws; nothing may have been written by then.
    [[nodiscard]] std::string refusal() {
        const std::vector<std::byte> before = memory_;
        std::string text = "no error";
        try {
            (*this)();
        } catch (const invalid_argument& e) {
            text = e.what();
        }
        return before == memory_ ? text : "written before: " + text;
    }

  private:
    using shape = std::vector<index_t>;
    static inline const shape q_shape{2, 4, 5, 3}, k_shape{2, 2, 7, 3}, v_shape{2, 2, 7, 6}, out_shape{2, 4, 5, 6},
        row_shape{2, 4, 5};
    static constexpr std::size_t slot = 4096; // bytes; the largest tensor has 2·4·5·6 numbers

    void add(const std::string& name, dtype type, const shape& extent) {
        tensor_ref t;
        t.data = memory_.data() + tensors_.size() * slot;
        t.type = type;
        t.rank = static_cast<int>(extent.size());
        index_t stride = 1;
        for (std::size_t i = extent.size(); i-- > 0; stride *= extent[i]) t.extent[i] = extent[i], t.stride[i] = stride;
        tensors_.push_back({name, t});
    }
    void add_part(const std::string& prefix) {
        add(prefix + "out", computed, out_shape);
        add(prefix + "max", computed, row_shape);
        add(prefix + "sum", computed, row_shape);
    }
    template <int rank>
    [[nodiscard]] result_ref<rank> to(const std::string& name) {
        return result_ref<rank>(at(name));
    }
    [[nodiscard]] partial_ref part(const std::string& prefix) {
        return {at(prefix + "out"), at(prefix + "max"), at(prefix + "sum")};
    }

    // A small number in every type; no result has these bytes.
    std::vector<std::byte> memory_ = std::vector<std::byte>(10 * slot, std::byte{0x11});
    std::vector<named_tensor> tensors_;
};

/// Calls f(call) with a fresh call for every pair of types that inputs and results may have.
template <class F>
void for_every_erased_type(page_function function, F f) {
    const std::pair<dtype, dtype> types[] = {{dtype::fp32, dtype::fp32}, {dtype::fp64, dtype::fp64},
                                             {dtype::fp16, dtype::fp16}, {dtype::fp16, dtype::fp32},
                                             {dtype::bf16, dtype::bf16}, {dtype::bf16, dtype::fp32}};
    for (const auto& [in, result] : types) {
        erased_call call(function, in, result);
        f(call);
    }
}

} // namespace pantile::test
