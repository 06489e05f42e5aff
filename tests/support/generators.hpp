/// \file
/// rapidcheck generators of problems. Sizes are small (the tiles are smaller), and every size may be 0 or 1. The numbers
/// themselves come from `make_inputs` and a seed, so that shrinking stays fast.
///
/// A failing property prints its seed; RC_PARAMS="seed=… max_success=…" in the environment repeats it.
#pragma once

#include <cmath>
#include <ostream>

#include <rapidcheck.h>

#include <support/data.hpp>

namespace pantile::test {

/// Upper ends of what is generated.
struct size_limits {
    index_t batch = 3;
    index_t kv_heads = 3;
    index_t group = 3;
    index_t length = 70;
    index_t dim = 40;
    bool empty = true; ///< sizes of 0 too
};

namespace detail {

inline index_t pick(index_t low, index_t high) { return *rc::gen::inRange<index_t>(low, high + 1); }
/// True in so many percent of the cases. (rapidcheck's ranges grow with the run: a chance must not.)
inline bool chance(int percent) { return *rc::gen::resize(rc::kNominalSize, rc::gen::inRange(0, 100)) < percent; }

} // namespace detail

/// Shapes, mask, key lengths, scale: what every machine serves.
[[nodiscard]] inline rc::Gen<attention_case> any_case(size_limits most = {}) {
    return rc::gen::exec([most] {
        using detail::chance;
        using detail::pick;
        attention_case c;
        c.batch = pick(1, most.batch);
        c.kv_heads = pick(1, most.kv_heads);
        c.q_heads = c.kv_heads * pick(1, most.group);
        c.q_len = chance(20) ? 1 : pick(1, most.length);
        c.k_len = chance(10) ? 1 : chance(30) ? c.q_len : pick(1, most.length);
        c.head_dim = pick(1, most.dim);
        c.value_dim = chance(50) ? c.head_dim : pick(1, most.dim);
        if (most.empty && chance(8)) { // one size is 0; head_dim 0 has no default scale and is a test of its own
            index_t* const sizes[] = {&c.batch, &c.q_len, &c.k_len, &c.value_dim};
            **rc::gen::resize(rc::kNominalSize,
                              rc::gen::elementOf(std::vector<index_t*>(std::begin(sizes), std::end(sizes)))) = 0;
        }
        if (chance(65)) {
            if (chance(60)) c.left = pick(0, most.length);
            if (chance(80)) c.right = chance(50) ? 0 : pick(0, most.length);
            c.align = *rc::gen::element(anchor::bottom_right, anchor::top_left, anchor::explicit_offset);
            if (c.align == anchor::explicit_offset) c.offset = pick(-most.length, most.length);
        }
        if (chance(30)) {
            for (index_t b = 0; b < c.batch; ++b) c.key_lengths.push_back(pick(0, c.k_len));
        }
        const double usual = 1.0 / std::sqrt(static_cast<double>(c.head_dim));
        c.scale = chance(70) ? usual : *rc::gen::element(1.0, -usual, 0.0, 0.3);
        return c;
    });
}

/// Slopes, one a query head or one a (batch, query head). Their numbers are 0.
inline void switch_slopes_on(attention_case& c) {
    c.slopes.assign(static_cast<std::size_t>(c.q_heads * (detail::chance(30) ? c.batch : 1)), 0.0);
}

/// Everything that the public page serves: in some of the cases soft caps, ALiBi, sinks.
[[nodiscard]] inline rc::Gen<attention_case> any_served_case(size_limits most = {}) {
    return rc::gen::exec([most] {
        using detail::chance;
        attention_case c = *any_case(most);
        if (chance(25)) c.softcap = *rc::gen::element(0.5, 3.0, 20.0, 50.0);
        if (chance(25)) switch_slopes_on(c);
        if (chance(25)) c.sinks.assign(static_cast<std::size_t>(c.q_heads), 0.0);
        fill_features(c, static_cast<std::uint64_t>(detail::pick(0, 1 << 20)));
        return c;
    });
}

/// The same with softcap, ALiBi, bias, sinks, block mask and dropout weights switched on or off: what the core's seams
/// are for.
[[nodiscard]] inline rc::Gen<attention_case> any_case_with_features(size_limits most = {}) {
    return rc::gen::exec([most] {
        using detail::chance;
        using detail::pick;
        attention_case c = *any_case(most);
        if (chance(40)) c.softcap = *rc::gen::element(0.5, 3.0, 20.0);
        if (chance(30)) switch_slopes_on(c);
        if (chance(30)) c.sinks.assign(static_cast<std::size_t>(c.q_heads), 0.0);
        if (chance(40)) {
            c.bias = tensor<double>({chance(50) ? c.batch : 1, chance(50) ? c.q_heads : 1, chance(70) ? c.q_len : 1,
                                     chance(70) ? c.k_len : 1});
        }
        if (chance(40)) {
            c.block_rows = pick(1, 20);
            c.block_cols = pick(1, 20);
            c.block_mask = tensor<unsigned char>(
                {1, 1, (c.q_len + c.block_rows - 1) / c.block_rows, (c.k_len + c.block_cols - 1) / c.block_cols});
        }
        if (chance(30)) c.weight = tensor<double>({c.batch, c.q_heads, c.q_len, c.k_len});
        fill_features(c, static_cast<std::uint64_t>(pick(0, 1 << 20)));
        return c;
    });
}

[[nodiscard]] inline rc::Gen<data_kind> any_data_kind() {
    return rc::gen::elementOf(std::vector<data_kind>(std::begin(data_kinds), std::end(data_kinds)));
}
[[nodiscard]] inline rc::Gen<layout> any_input_layout() {
    return rc::gen::elementOf(std::vector<layout>(std::begin(input_layouts), std::end(input_layouts)));
}
[[nodiscard]] inline rc::Gen<layout> any_output_layout() {
    return rc::gen::elementOf(std::vector<layout>(std::begin(output_layouts), std::end(output_layouts)));
}

inline void showValue(const attention_case& c, std::ostream& os) { // NOLINT: the name that rapidcheck looks for
    os << "{B=" << c.batch << " Hq=" << c.q_heads << " Hkv=" << c.kv_heads << " Sq=" << c.q_len << " Sk=" << c.k_len
       << " D=" << c.head_dim << " E=" << c.value_dim << " scale=" << c.scale;
    if (c.left) os << " left=" << *c.left;
    if (c.right) os << " right=" << *c.right;
    os << (c.align == anchor::bottom_right ? " bottom_right" : c.align == anchor::top_left ? " top_left" : " offset=");
    if (c.align == anchor::explicit_offset) os << c.offset;
    if (!c.key_lengths.empty()) {
        os << " key_lengths=";
        for (const index_t n : c.key_lengths) os << n << ' ';
    }
    if (c.softcap != 0.0) os << " softcap=" << c.softcap;
    const auto show = [&](const char* what, const std::vector<double>& numbers) {
        if (numbers.empty()) return;
        os << ' ' << what << '=';
        for (const double x : numbers) os << x << ' ';
    };
    show("slopes", c.slopes);
    show("sinks", c.sinks);
    if (!c.bias.empty()) {
        os << " bias(" << c.bias.extent[0] << ',' << c.bias.extent[1] << ',' << c.bias.extent[2] << ','
           << c.bias.extent[3] << ')';
    }
    if (!c.block_mask.empty()) os << " blocks=" << c.block_rows << 'x' << c.block_cols;
    if (!c.weight.empty()) os << " weights";
    os << '}';
}

inline void showValue(layout l, std::ostream& os) { os << name(l); }    // NOLINT
inline void showValue(data_kind k, std::ostream& os) { os << name(k); } // NOLINT
inline void showValue(dtype t, std::ostream& os) { os << name(t); }     // NOLINT

} // namespace pantile::test
