// What the CUDA page refuses before it asks for any device: each size, stride and pointer of each argument of each function,
// and the options, with the text in full. Addresses are made up: nothing is read, and no GPU is needed.

#include <pantile/cuda.hpp>

#include <support/page_rules.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <stdexcept>

namespace pantile::test {
namespace {

constexpr index_t limit = index_t{1} << 48;
using enum page_function;
constexpr page_function device_functions[] = {forward, forward_lse, partial, merge, finish, explain};

struct argument {
    std::string name;
    std::vector<index_t*> extent;
    std::vector<index_t*> stride;
    std::function<void()> make_null;
};

/// A call of any function of the page: q (3, 4, 7, 5), k (3, 2, 11, 5), v (3, 2, 11, 6), 64 KiB apart.
template <class In, class Out, class Stat>
struct device_call {
    page_function function;
    device_options options{};
    device_view<const In> q = on_device(bhsd<const In>(at<In>(0), 3, 4, 7, 5));
    device_view<const In> k = on_device(bhsd<const In>(at<In>(1), 3, 2, 11, 5));
    device_view<const In> v = on_device(bhsd<const In>(at<In>(2), 3, 2, 11, 6));
    device_view<Out> out = on_device(bhsd(at<Out>(3), 3, 4, 7, 6));
    device_row_view<Stat> lse = on_device(bhs(at<Stat>(4), 3, 4, 7));
    device_view<Stat> finished = on_device(bhsd(at<Stat>(5), 3, 4, 7, 6));
    device_partial_view<Stat> a = part_at(6), b = part_at(9), part = part_at(12);

    explicit device_call(page_function f) : function(f) {}
    device_call(const device_call&) = delete;
    device_call& operator=(const device_call&) = delete;

    template <class T>
    static T* at(int n) {
        return reinterpret_cast<T*>(0x1000000 + 0x10000 * std::uintptr_t(n)); // NOLINT(performance-no-int-to-ptr)
    }
    static device_partial_view<Stat> part_at(int n) {
        return {on_device(bhsd(at<Stat>(n), 3, 4, 7, 6)), on_device(bhs(at<Stat>(n + 1), 3, 4, 7)),
                on_device(bhs(at<Stat>(n + 2), 3, 4, 7))};
    }
    template <class View>
    static argument of(const std::string& name, View& view) {
        argument x{name, {}, {}, [&view] { view.data = nullptr; }};
        for (index_t& n : view.extent) x.extent.push_back(&n);
        for (index_t& n : view.stride) x.stride.push_back(&n);
        return x;
    }
    static std::vector<argument> of_part(const std::string& name, device_partial_view<Stat>& p) {
        return {of(name + ".out", p.out), of(name + ".max", p.max), of(name + ".sum", p.sum)};
    }
    std::vector<argument> arguments() {
        std::vector<argument> all;
        const auto add = [&](const std::vector<argument>& more) { all.insert(all.end(), more.begin(), more.end()); };
        if (function == merge) add(of_part("a", a)), add(of_part("b", b));
        if (function == merge || function == partial || function == finish) add(of_part("part", part));
        if (function == finish) add({of("out", finished), of("lse", lse)});
        if (function == merge || function == finish) return all;
        add({of("q", q), of("k", k), of("v", v)});
        if (function == forward || function == forward_lse) add({of("out", out)});
        if (function == forward_lse) add({of("lse", lse)});
        return all;
    }
    argument argument_named(const std::string& name) {
        for (const argument& x : arguments()) {
            if (x.name == name) return x;
        }
        throw std::logic_error("no argument " + name);
    }
    void operator()() {
        switch (function) {
        case forward:
            return attention(q, k, v, out, nullptr, options);
        case forward_lse:
            return attention(q, k, v, out, lse, nullptr, options);
        case partial:
            return attention_partial(q, k, v, part, nullptr, options);
        case merge:
            return pantile::merge(device_partial_view<const Stat>(a), device_partial_view<const Stat>(b), part,
                                  nullptr);
        case finish:
            return pantile::finish(device_partial_view<const Stat>(part), finished, lse, nullptr);
        default:
            return (void)pantile::explain(q, k, v, options);
        }
    }
    /// The text of the refusal. With a device, a call that is none would run on made-up addresses: it must not come to that.
    std::string refusal() {
        try {
            (*this)();
        } catch (const invalid_argument& e) {
            return e.what();
        } catch (const unsupported& e) {
            return std::string("unsupported: ") + e.what();
        } catch (const std::exception& e) {
            return std::string("not refused: ") + e.what();
        }
        return "no error";
    }
};

template <class F>
void for_every_type(page_function function, F f) {
    const auto with = [&]<class In, class Out, class Stat>(device_call<In, Out, Stat>*) {
        device_call<In, Out, Stat> call(function);
        f(call);
    };
    with(static_cast<device_call<float, float, float>*>(nullptr));
    with(static_cast<device_call<double, double, double>*>(nullptr));
    with(static_cast<device_call<float16, float16, float>*>(nullptr));
    with(static_cast<device_call<float16, float, float>*>(nullptr));
    with(static_cast<device_call<bfloat16, bfloat16, float>*>(nullptr));
    with(static_cast<device_call<bfloat16, float, float>*>(nullptr));
}

TEST(cuda_refusals, sizes_that_do_not_fit) {
    for (const size_rule& r : size_rules()) {
        if (r.function == backward || r.function == explain_backward) continue;
        for_every_type(r.function, [&](auto& call) {
            index_t& size = *call.argument_named(r.spoilt).extent[static_cast<std::size_t>(r.axis)];
            const index_t good = size;
            for (const index_t bad : {good + 1, good - 1}) {
                size = bad;
                const bool named_is_spoilt = std::string(r.named) == r.spoilt;
                EXPECT_EQ(call.refusal(), "pantile: " + std::string(r.named) + "." + axis_name(r.named, r.axis) +
                                              " is " + std::to_string(named_is_spoilt ? bad : good) + ", " + r.model +
                                              "." + axis_name(r.model, r.axis) + " is " +
                                              std::to_string(named_is_spoilt ? good : bad) + ": they must be equal")
                    << r.spoilt;
            }
        });
    }
}

TEST(cuda_refusals, sizes_and_strides_out_of_range) {
    for (const page_function f : device_functions) {
        for_every_type(f, [](auto& call) {
            for (const argument& a : call.arguments()) {
                for (std::size_t axis = 0; axis < a.extent.size(); ++axis) {
                    const std::string field = a.name + "." + axis_name(a.name, static_cast<int>(axis)) + " is ";
                    for (const index_t bad : {index_t{-1}, limit + 1}) {
                        const index_t good = std::exchange(*a.extent[axis], bad);
                        EXPECT_EQ(call.refusal(),
                                  "pantile: " + field + std::to_string(bad) + ": it must be between 0 and 2^48");
                        *a.extent[axis] = good;
                    }
                    for (const index_t bad : {limit + 1, -limit - 1}) {
                        const index_t good = std::exchange(*a.stride[axis], bad);
                        EXPECT_EQ(call.refusal(), "pantile: the stride of " + field + std::to_string(bad) +
                                                      ": it must be within ±2^48 elements");
                        *a.stride[axis] = good;
                    }
                }
            }
        });
    }
}

TEST(cuda_refusals, null_pointers) {
    for (const page_function f : device_functions) {
        device_call<float, float, float> names(f);
        for (const argument& a : names.arguments()) {
            for_every_type(f, [&](auto& call) {
                call.argument_named(a.name).make_null();
                EXPECT_EQ(call.refusal(), "pantile: " + a.name + ".data is null, but the tensor is not empty");
            });
        }
    }
}

TEST(cuda_refusals, last_dims_that_are_not_contiguous) {
    for (const page_function f : device_functions) {
        device_call<float, float, float> names(f);
        for (const argument& named : names.arguments()) {
            if (named.extent.size() < 4) continue;
            for_every_type(f, [&](auto& call) {
                const argument a = call.argument_named(named.name);
                // Twice as far, and backwards: no element shares memory with another.
                for (index_t* stride : a.stride) *stride *= 2;
                for (const index_t stride : {2, -1}) {
                    *a.stride[3] = stride;
                    EXPECT_EQ(call.refusal(), "unsupported: pantile: the stride of " + a.name + "'s last dim is " +
                                                  std::to_string(stride) + ": the CUDA machine needs 1");
                }
            });
        }
    }
}

TEST(cuda_refusals, options_out_of_range) {
    struct bad_option {
        std::function<void(device_options&)> spoil;
        std::string text;
    };
    const std::string unbounded_text = ": it must be at least 0 (pantile::unbounded lifts the limit)";
    const bad_option all[] = {
        {[](device_options& o) { o.mask.left = -1; }, "mask.left is -1" + unbounded_text},
        {[](device_options& o) { o.mask.right = -1; }, "mask.right is -1" + unbounded_text},
        {[](device_options& o) { o.mask.offset = limit + 1; },
         "mask.offset is 281474976710657: it must be within ±2^48"},
        {[](device_options& o) { o.mask.offset = -limit - 1; },
         "mask.offset is -281474976710657: it must be within ±2^48"},
        {[](device_options& o) { o.scale = std::nan(""); }, "scale is nan: it must be finite"},
        {[](device_options& o) { o.scale = -HUGE_VAL; }, "scale is -inf: it must be finite"},
        {[](device_options& o) { o.key_splits = -1; }, "key_splits is -1: it must be at least 0 (0: chosen)"},
        {[](device_options& o) {
             o.plan = tile_plan{-1, 0, 0};
         },
         "plan is {-1, 0, 0}: its fields must be at least 0 (0: chosen)"}};
    for (const page_function f : {forward, forward_lse, partial, explain}) {
        for (const bad_option& bad : all) {
            for_every_type(f, [&](auto& call) {
                bad.spoil(call.options);
                EXPECT_EQ(call.refusal(), "pantile: options." + bad.text);
            });
        }
    }
}

/// A part that is a's memory but for one thing, and so not in place.
TEST(cuda_refusals, a_part_that_is_nearly_in_place) {
    const std::string own = ": an output needs memory of its own";
    const auto text = [](auto change) {
        device_call<float, float, float> call(merge);
        // Heads and rows equally many, so that their strides may be swapped.
        for (auto* p : {&call.a, &call.b}) {
            const device_row_view<float> rows = on_device(bhs(p->max.data, 3, 4, 4));
            p->out = on_device(bhsd(p->out.data, 3, 4, 4, 6));
            p->max = rows;
            p->sum = {p->sum.data, rows.extent, rows.stride};
        }
        call.part = call.a;
        change(call.part);
        return call.refusal();
    };
    const std::string over_out = "pantile: part.out overlaps a.out" + own;
    EXPECT_EQ(text([](auto& p) { p.out.data += 1; }), over_out);
    EXPECT_EQ(text([](auto& p) { p.max.data += 1; }), over_out);
    EXPECT_EQ(text([](auto& p) { p.sum.data += 1; }), over_out);
    EXPECT_EQ(text([](auto& p) { std::swap(p.out.stride[1], p.out.stride[2]); }), over_out);
    EXPECT_EQ(text([](auto& p) { std::swap(p.max.stride[1], p.max.stride[2]); }), over_out);
    EXPECT_EQ(text([](auto& p) { std::swap(p.sum.stride[1], p.sum.stride[2]); }), over_out);
    EXPECT_EQ(text([](auto& p) { p.out.data += 100000; }), "pantile: part.max overlaps a.max" + own);
    EXPECT_EQ(text([](auto& p) { p.out.data += 100000, p.max.data += 100000; }),
              "pantile: part.sum overlaps a.sum" + own);
}

TEST(cuda_refusals, a_result_that_is_nearly_in_place) {
    const std::string own = ": an output needs memory of its own";
    const auto text = [](auto change) {
        device_call<float, float, float> call(finish);
        call.part.out = on_device(bhsd(call.part.out.data, 3, 4, 4, 6));
        call.part.max = on_device(bhs(call.part.max.data, 3, 4, 4));
        call.part.sum = on_device(bhs(call.part.sum.data, 3, 4, 4));
        call.lse = on_device(bhs(call.lse.data, 3, 4, 4));
        call.finished = call.part.out;
        change(call);
        return call.refusal();
    };
    EXPECT_EQ(text([](auto& c) { c.finished.data += 1; }), "pantile: out overlaps part.out" + own);
    EXPECT_EQ(text([](auto& c) { std::swap(c.finished.stride[1], c.finished.stride[2]); }),
              "pantile: out overlaps part.out" + own);
    EXPECT_EQ(text([](auto& c) { c.lse = c.part.max; }), "pantile: lse overlaps part.max" + own);
    EXPECT_EQ(text([](auto& c) { c.lse = c.part.sum; }), "pantile: lse overlaps part.sum" + own);
    EXPECT_EQ(text([](auto& c) { c.lse.data = c.part.out.data + 5; }), "pantile: lse overlaps out" + own);
}

/// A block a row: more of them than a grid holds.
TEST(cuda_refusals, more_rows_than_a_merge_serves) {
    const auto text = [](page_function f, index_t rows) {
        device_call<double, double, double> call(f);
        for (const argument& a : call.arguments()) {
            *a.extent[0] = *a.extent[1] = 1;
            *a.extent[2] = rows;
            if (a.extent.size() == 4) *a.extent[3] = 1, *a.stride[2] = 1;
        }
        // 2^40 bytes for each.
        const auto far = [](auto& view, std::uintptr_t n) {
            view.data = reinterpret_cast<double*>(n << 40); // NOLINT(performance-no-int-to-ptr)
        };
        std::uintptr_t n = 1;
        for (auto* p : {&call.a, &call.b, &call.part}) far(p->out, n++), far(p->max, n++), far(p->sum, n++);
        far(call.finished, n++), far(call.lse, n++);
        return call.refusal();
    };
    for (const page_function f : {merge, finish}) {
        EXPECT_EQ(text(f, index_t{1} << 31), "unsupported: pantile: the call has 2147483648 rows; the CUDA machine "
                                             "merges up to 2^31 - 1");
        EXPECT_EQ(text(f, 0), "no error"); // nothing to do: no device is asked
    }
}

} // namespace
} // namespace pantile::test
