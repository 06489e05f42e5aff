#include "api_call.hpp"

#include <algorithm>
#include <cstdint>
#include <span>
#include <stdexcept>

#include <support/library_mask.hpp>

namespace pantile::test {

options options_of(const attention_case& c, const call_style& s) {
    options o;
    o.mask = mask_of(c);
    o.scale = c.scale;
    o.softcap = c.softcap;
    o.slopes = c.slopes;
    o.sinks = c.sinks;
    o.key_lengths = c.key_lengths;
    o.isa = s.set;
    o.threads = s.threads;
    o.plan = s.plan;
    return o;
}

namespace {

template <class T>
tensor<double> take(const stored<T>& s, const char* what) {
    if (!s.gaps_are_untouched()) throw std::logic_error(std::string("memory around ") + what + " was written");
    return s.values();
}

/// Work memory as the style asks for it, full of NaN, between marked bytes.
class work_memory {
  public:
    work_memory(const call_style& s, index_t bytes) {
        if (s.workspace < 0) return;
        memory_.assign(static_cast<std::size_t>(bytes) + 4 * edge, mark);
        const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
        begin_ = edge + (edge - address % edge) % edge + static_cast<std::size_t>(s.workspace) % edge;
        bytes_ = static_cast<std::size_t>(bytes);
        std::fill_n(memory_.begin() + static_cast<std::ptrdiff_t>(begin_), bytes_, std::byte{0xff});
    }
    void hand_to(options& o) { o.workspace = std::span(memory_).subspan(begin_, bytes_); }
    void check() const {
        for (std::size_t n = 0; n < memory_.size(); ++n) {
            if ((n < begin_ || n >= begin_ + bytes_) && memory_[n] != mark) {
                throw std::logic_error("memory around the workspace was written");
            }
        }
    }

  private:
    static constexpr std::size_t edge = 64;
    static constexpr std::byte mark{0xa5};
    std::vector<std::byte> memory_;
    std::size_t begin_ = 0;
    std::size_t bytes_ = 0;
};

/// A case's numbers of heads in the type of T, and options that refer to them.
template <class T>
struct heads_of {
    std::vector<T> slopes, sinks;
    explicit heads_of(const attention_case& c)
        : slopes(c.slopes.begin(), c.slopes.end()), sinks(c.sinks.begin(), c.sinks.end()) {}
    void hand_to(options& o) const { o.slopes = slopes, o.sinks = sinks; }
};

/// A gradient of numbers that the heads have, between marked ones.
template <class T>
class head_result {
  public:
    explicit head_result(index_t heads) : numbers_(static_cast<std::size_t>(heads) + 2, mark) {}
    [[nodiscard]] head_gradients view() { return std::span(numbers_).subspan(1, numbers_.size() - 2); }
    [[nodiscard]] tensor<double> take(const char* what) const {
        if (numbers_.front() != mark || numbers_.back() != mark)
            throw std::logic_error(std::string("memory around ") + what + " was written");
        tensor<double> t({1, static_cast<index_t>(numbers_.size()) - 2, 1, 1});
        std::copy(numbers_.begin() + 1, numbers_.end() - 1, t.data.begin());
        return t;
    }

  private:
    static constexpr T mark = T(-12345.0);
    std::vector<T> numbers_;
};

template <class In, class Out, class Head>
call_results run(const attention_case& c, const attention_inputs& in, const call_style& s, bool backward) {
    using stat = std::conditional_t<std::is_same_v<In, double>, double, float>;
    options o = options_of(c, s);
    const heads_of<Head> heads(c);
    heads.hand_to(o);
    const stored<In> q(in.q, s.q);
    const stored<In> k(in.k, s.k);
    const stored<In> v(in.v, s.v);
    const stored<In> dout(in.dout, s.dout);
    call_results r;
    const explanation e = explain(q.view(), k.view(), v.view(), o);
    if (std::is_same_v<In, bfloat16> && e.isa == "amx") r.rounding = p_rounding::to_bfloat16;
    work_memory memory(s, e.workspace_bytes);
    memory.hand_to(o);
    r.inputs = {q.values(), k.values(), v.values(), dout.values()};

    stored<Out> out(c.out_extent(), s.out);
    stored<stat> lse(c.lse_extent(), s.lse);
    attention(q.view(), k.view(), v.view(), out.view(), lse.rows(), o);
    r.out = take(out, "out");
    r.lse = take(lse, "lse");

    stored<Out> alone(c.out_extent(), s.out); // without lse: the same bits
    attention(q.view(), k.view(), v.view(), alone.view(), o);
    const auto bits = take(alone, "out without lse");
    for (std::size_t n = 0; n < bits.data.size(); ++n) {
        if (bits.data[n] != r.out.data[n] && !(std::isnan(bits.data[n]) && std::isnan(r.out.data[n]))) {
            throw std::logic_error("out differs when lse is not asked for");
        }
    }
    memory.check();

    if (backward) {
        stored<In> forward_out(r.out, s.out);
        stored<Out> dq(c.q_extent(), s.out);
        stored<Out> dk(c.k_extent(), s.dk);
        stored<Out> dv(c.v_extent(), s.dk);
        o.workspace = {};
        work_memory own(s, explain_backward(q.view(), k.view(), v.view(), o).workspace_bytes);
        own.hand_to(o);
        // In the precision computed in, or in fp64.
        using head_number = std::conditional_t<std::is_same_v<Head, double>, double, stat>;
        head_result<head_number> dslopes(c.q_heads), dsinks(c.q_heads);
        gradients to{.dq = dq.view(), .dk = dk.view(), .dv = dv.view()};
        const bool slopes_of_heads = !c.slopes.empty() && !c.slopes_of_batches();
        if (slopes_of_heads) to.dslopes = dslopes.view();
        if (!c.sinks.empty()) to.dsinks = dsinks.view();
        attention_backward(q.view(), k.view(), v.view(), forward_out.view(), lse.rows(), {.dout = dout.view()}, to, o);
        if (slopes_of_heads) r.dslopes = dslopes.take("dslopes");
        if (!c.sinks.empty()) r.dsinks = dsinks.take("dsinks");
        r.dq = take(dq, "dq");
        r.dk = take(dk, "dk");
        r.dv = take(dv, "dv");
        own.check();
    }
    return r;
}

template <class In, class Out>
call_results run_heads(const attention_case& c, const attention_inputs& in, const call_style& s, bool backward) {
    return s.narrow_heads ? run<In, Out, float>(c, in, s, backward) : run<In, Out, double>(c, in, s, backward);
}

template <class In>
partial_results run_partial(const attention_case& c, const attention_inputs& in, const call_style& s) {
    using number = std::conditional_t<std::is_same_v<In, double>, double, float>;
    options o = options_of(c, s);
    const stored<In> q(in.q, s.q), k(in.k, s.k), v(in.v, s.v);
    stored<number> out(c.out_extent(), s.out), max(c.lse_extent(), s.lse), sum(c.lse_extent(), s.lse);
    work_memory memory(s, explain(q.view(), k.view(), v.view(), o).workspace_bytes);
    memory.hand_to(o);
    attention_partial(q.view(), k.view(), v.view(), {out.view(), max.rows(), sum.rows()}, o);
    memory.check();
    return {take(out, "part.out"), take(max, "part.max"), take(sum, "part.sum")};
}

} // namespace

call_results call_attention(const attention_case& c, const attention_inputs& in, const call_style& s, bool backward) {
    switch (s.type) {
    case dtype::fp64:
        return run_heads<double, double>(c, in, s, backward);
    case dtype::fp32:
        return run_heads<float, float>(c, in, s, backward);
    case dtype::fp16:
        return s.wide_out ? run_heads<float16, float>(c, in, s, backward)
                          : run_heads<float16, float16>(c, in, s, backward);
    case dtype::bf16:
        return s.wide_out ? run_heads<bfloat16, float>(c, in, s, backward)
                          : run_heads<bfloat16, bfloat16>(c, in, s, backward);
    case dtype::fp8:
        break;
    }
    return {};
}

partial_results call_partial(const attention_case& c, const attention_inputs& in, const call_style& s) {
    switch (s.type) {
    case dtype::fp64:
        return run_partial<double>(c, in, s);
    case dtype::fp32:
        return run_partial<float>(c, in, s);
    case dtype::fp16:
        return run_partial<float16>(c, in, s);
    case dtype::bf16:
        return run_partial<bfloat16>(c, in, s);
    case dtype::fp8:
        break;
    }
    return {};
}

const char* name(isa s) {
    switch (s) {
    case isa::automatic:
        return "automatic";
    case isa::baseline:
        return "baseline";
    case isa::avx2:
        return "avx2";
    case isa::avx512:
        return "avx512";
    case isa::amx:
        return "amx";
    }
    return "?";
}

const std::vector<isa>& available_isas() {
    static const std::vector<isa> found = [] {
        std::vector<isa> sets{isa::automatic};
        const float x = 0.0F;
        const auto one = bhsd(&x, 1, 1, 1, 1);
        for (const isa s : {isa::baseline, isa::avx2, isa::avx512, isa::amx}) {
            try {
                options o;
                o.isa = s;
                (void)explain(one, one, one, o);
                sets.push_back(s);
            } catch (const std::exception&) { // this machine has not got it
            }
        }
        return sets;
    }();
    return found;
}

rc::Gen<call_style> any_style() {
    return rc::gen::exec([] {
        using detail::chance;
        using detail::pick;
        call_style s;
        s.type = *rc::gen::element(dtype::fp64, dtype::fp32, dtype::fp16, dtype::bf16);
        s.wide_out = compute_dtype(s.type) != s.type && chance(40);
        if (chance(80)) {
            s.q = *any_input_layout();
            s.k = *any_input_layout();
            s.v = *any_input_layout();
            s.dout = *any_input_layout();
            s.out = *any_output_layout();
            s.lse = *any_output_layout();
            s.dk = *any_output_layout();
        }
        s.set = *rc::gen::elementOf(available_isas());
        s.threads = *rc::gen::element(0, 1, 2, 3, 5);
        s.narrow_heads = chance(50);
        if (chance(60)) {
            s.plan = tile_plan{chance(20) ? 0 : pick(1, 80), chance(20) ? 0 : pick(1, 80), chance(40) ? 0 : pick(1, 6)};
        }
        if (chance(30)) s.workspace = static_cast<int>(pick(0, 63));
        return s;
    });
}

void showValue(const call_style& s, std::ostream& os) { // NOLINT
    os << "{" << name(s.type) << (s.wide_out ? " to f32" : "") << " q=" << name(s.q) << " k=" << name(s.k)
       << " v=" << name(s.v) << " dout=" << name(s.dout) << " out=" << name(s.out) << " lse=" << name(s.lse)
       << " dk=" << name(s.dk) << " isa=" << name(s.set) << " threads=" << s.threads;
    if (s.plan) os << " plan=" << s.plan->row_tile << 'x' << s.plan->key_tile << '/' << s.plan->key_splits;
    if (s.narrow_heads) os << " heads in f32";
    if (s.workspace >= 0) os << " workspace+" << s.workspace;
    os << '}';
}

} // namespace pantile::test
