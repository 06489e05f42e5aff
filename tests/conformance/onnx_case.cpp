// Node tests of ONNX's Attention operator (opset 23 and 24), as converted by onnx_to_npy.py, mapped onto the public page.
#include <algorithm>
#include <fstream>
#include <vector>

#include <nlohmann/json.hpp>

#include <support/vector_case.hpp>

#include "case_type.hpp"
#include "checks.hpp"

namespace pantile::conformance {
namespace {

using test::as_doubles;

using nlohmann::json;

void refuse(const std::string& text) { throw test::case_error(text); }

void require_known(const json& fields, std::initializer_list<const char*> known, const char* kind) {
    if (!fields.is_object()) refuse(std::string("case.json: the ") + kind + "s are no object");
    for (const auto& [key, value] : fields.items()) {
        const bool is_known = std::any_of(known.begin(), known.end(), [&, k = key](const char* x) { return k == x; });
        if (!is_known && !value.is_null()) throw unsupported_feature{std::string(kind) + " " + key};
    }
}

/// A folder's case.json and its arrays by role.
struct onnx_folder {
    explicit onnx_folder(const std::filesystem::path& folder) : path(folder) {
        std::ifstream file(folder / "case.json");
        description = json::parse(file);
        attributes = description.value("attributes", json::object());
        inputs = description.value("inputs", json::object());
        outputs = description.value("outputs", json::object());
        require_known(attributes,
                      {"is_causal", "scale", "softcap", "q_num_heads", "kv_num_heads", "qk_matmul_output_mode",
                       "softmax_precision"},
                      "attribute");
        require_known(inputs, {"Q", "K", "V", "attn_mask", "past_key", "past_value", "nonpad_kv_seqlen"}, "input");
        require_known(outputs, {"Y", "present_key", "present_value", "qk_matmul_output"}, "output");
    }
    [[nodiscard]] bool has(const json& listed, const char* role) const {
        return listed.contains(role) && listed[role].is_string();
    }
    [[nodiscard]] npy::array array(const json& listed, const char* role) const {
        if (!has(listed, role)) refuse(std::string("has no ") + role);
        return npy::read(path / listed[role].get<std::string>());
    }
    template <class T>
    [[nodiscard]] T attribute(const char* name, T otherwise) const {
        if (!attributes.contains(name) || attributes[name].is_null()) return otherwise;
        if (std::is_integral_v<T> && !attributes[name].is_number_integer())
            refuse(std::string(name) + " is " + attributes[name].dump() + ": it must be a whole number");
        return attributes[name].get<T>();
    }

    std::filesystem::path path;
    json description, attributes, inputs, outputs;
};

/// A (B, H, S, D) array, or a (B, S, H·D) one seen as that.
tensor<double> with_heads(const npy::array& a, index_t heads, const char* role) {
    if (a.shape.size() == 4) return as_doubles(a, {a.shape[0], a.shape[1], a.shape[2], a.shape[3]});
    if (a.shape.size() != 3) refuse(std::string(role) + " has " + std::to_string(a.shape.size()) + " axes, not 3 or 4");
    if (heads < 1 || a.shape[2] % heads != 0) {
        refuse(std::string(role) + " has " + std::to_string(a.shape[2]) + " columns for " + std::to_string(heads) +
               " heads");
    }
    const index_t dim = a.shape[2] / heads;
    const tensor<double> tokens = as_doubles(a, {a.shape[0], a.shape[1], heads, dim});
    tensor<double> t({a.shape[0], heads, a.shape[1], dim});
    t.for_each([&](index_t b, index_t h, index_t i, index_t x) { t(b, h, i, x) = tokens(b, i, h, x); });
    return t;
}

/// `past` in front of `now`, along the length.
tensor<double> joined(const tensor<double>& past, const tensor<double>& now, const char* role) {
    for (const std::size_t axis : {0, 1, 3}) {
        if (past.extent[axis] != now.extent[axis])
            refuse(std::string(role) + " does not fit what it is put in front of");
    }
    tensor<double> t({now.extent[0], now.extent[1], past.extent[2] + now.extent[2], now.extent[3]});
    t.for_each([&](index_t b, index_t h, index_t i, index_t x) {
        t(b, h, i, x) = i < past.extent[2] ? past(b, h, i, x) : now(b, h, i - past.extent[2], x);
    });
    return t;
}

/// Which pairs a case's rules leave visible, before they are recognised as a band.
struct visible_pairs {
    index_t batch, heads, q_len, k_len;
    std::vector<bool> bits;
    visible_pairs(index_t b, index_t h, index_t q, index_t k)
        : batch(b), heads(h), q_len(q), k_len(k), bits(static_cast<std::size_t>(b * h * q * k), true) {}
    [[nodiscard]] std::vector<bool>::reference at(index_t b, index_t h, index_t i, index_t j) {
        return bits[static_cast<std::size_t>(((b * heads + h) * q_len + i) * k_len + j)];
    }
};

/// Hides what attn_mask hides. Its last axis may be shorter than the keys: the rest is hidden.
void apply_attn_mask(visible_pairs& v, const npy::array& a) {
    if (a.shape.empty() || a.shape.size() > 4) refuse("attn_mask has " + std::to_string(a.shape.size()) + " axes");
    test::extents e{1, 1, 1, 1};
    std::copy(a.shape.begin(), a.shape.end(), e.end() - static_cast<std::ptrdiff_t>(a.shape.size()));
    const test::extents wanted{v.batch, v.heads, v.q_len, v.k_len};
    for (std::size_t axis = 0; axis < 3; ++axis) {
        if (e[axis] != 1 && e[axis] != wanted[axis]) refuse("attn_mask does not broadcast over the scores");
    }
    if (e[3] > v.k_len) refuse("attn_mask has more columns than there are keys");
    if (e[3] == 1 && v.k_len > 1) throw unsupported_feature{"attn_mask of one column (is it broadcast or short?)"};
    const tensor<double> mask = as_doubles(a, e);
    const bool boolean = a.type == npy::type::b1;
    for (const double x : mask.data) {
        if (!boolean && x != 0.0 && x != -HUGE_VAL)
            throw unsupported_feature{"attn_mask that adds to the scores (bias)"};
    }
    for (index_t b = 0; b < v.batch; ++b)
        for (index_t h = 0; h < v.heads; ++h)
            for (index_t i = 0; i < v.q_len; ++i)
                for (index_t j = 0; j < v.k_len; ++j) {
                    const bool shown = j < e[3] && (mask(e[0] == 1 ? 0 : b, e[1] == 1 ? 0 : h, e[2] == 1 ? 0 : i, j) !=
                                                    0.0) == boolean;
                    if (!shown) v.at(b, h, i, j) = false;
                }
}

bool equal(visible_pairs& v, const attention_case& c) {
    for (index_t b = 0; b < v.batch; ++b)
        for (index_t h = 0; h < v.heads; ++h)
            for (index_t i = 0; i < v.q_len; ++i)
                for (index_t j = 0; j < v.k_len; ++j)
                    if (v.at(b, h, i, j) != c.visible(b, h, i, j)) return false;
    return true;
}

/// Finds key lengths, alignment and window that show exactly these pairs. `lengths`: those that the case itself states.
bool recognise(visible_pairs& v, attention_case& c, const std::vector<index_t>& lengths) {
    std::vector<index_t> seen(static_cast<std::size_t>(v.batch), 0); // one past the last visible key of each batch
    for (index_t b = 0; b < v.batch; ++b)
        for (index_t h = 0; h < v.heads; ++h)
            for (index_t i = 0; i < v.q_len; ++i)
                for (index_t j = 0; j < v.k_len; ++j)
                    if (v.at(b, h, i, j))
                        seen[static_cast<std::size_t>(b)] = std::max(seen[static_cast<std::size_t>(b)], j + 1);

    for (const std::vector<index_t>& key_lengths : {std::vector<index_t>{}, lengths, seen}) {
        c.key_lengths = key_lengths;
        for (const test::anchor align : {test::anchor::bottom_right, test::anchor::explicit_offset}) {
            c.align = align;
            // The window that just holds every visible pair; an explicit offset is put where it needs no right side.
            c.offset = 0;
            c.left.reset();
            c.right.reset();
            bool any = false;
            index_t behind = 0; // largest i + off - j
            index_t ahead = 0;  // largest j - i - off
            for (index_t b = 0; b < v.batch; ++b)
                for (index_t h = 0; h < v.heads; ++h)
                    for (index_t i = 0; i < v.q_len; ++i)
                        for (index_t j = 0; j < v.k_len; ++j) {
                            if (!v.at(b, h, i, j)) continue;
                            const index_t distance = i + c.offset_of(b) - j;
                            behind = any ? std::max(behind, distance) : distance;
                            ahead = any ? std::max(ahead, -distance) : -distance;
                            any = true;
                        }
            if (align == test::anchor::explicit_offset) {
                c.offset = ahead;
                behind += ahead;
                ahead = 0;
            }
            for (const bool bounded_left : {false, true}) {
                for (const bool bounded_right : {false, true}) {
                    if ((bounded_left && behind < 0) || (bounded_right && ahead < 0)) continue;
                    c.left = bounded_left ? std::optional(behind) : std::nullopt;
                    c.right = bounded_right ? std::optional(ahead) : std::nullopt;
                    if (equal(v, c)) return true;
                }
            }
        }
    }
    return false;
}

void expect_same(const tensor<double>& made, const onnx_folder& f, const char* role) {
    if (!f.has(f.outputs, role)) return;
    const tensor<double> stored = with_heads(f.array(f.outputs, role), made.extent[1], role);
    if (stored.extent != made.extent || stored.data != made.data)
        refuse(std::string(role) + " differs from the joined cache");
}

} // namespace

expectation read_onnx_case(const std::filesystem::path& folder) {
    const onnx_folder f(folder);
    expectation e;
    attention_case& c = e.problem;

    const npy::array q = f.array(f.inputs, "Q");
    e.type = type_of_case(folder, f.description, q.type);
    e.tolerance = tolerance_of(e.type);
    e.out_name = "Y";
    const auto kv_heads = f.attribute<index_t>("kv_num_heads", 0);
    const auto q_heads = f.attribute<index_t>("q_num_heads", 0);
    e.inputs.q = with_heads(q, q_heads, "Q");
    e.inputs.k = with_heads(f.array(f.inputs, "K"), kv_heads, "K");
    e.inputs.v = with_heads(f.array(f.inputs, "V"), kv_heads, "V");
    e.memory = q.shape.size() == 3 ? layout::bshd : layout::bhsd;

    index_t past = 0;
    if (f.has(f.inputs, "past_key") != f.has(f.inputs, "past_value")) refuse("has one of past_key and past_value");
    if (f.has(f.inputs, "past_key")) {
        const tensor<double> past_key = with_heads(f.array(f.inputs, "past_key"), kv_heads, "past_key");
        past = past_key.extent[2];
        e.inputs.k = joined(past_key, e.inputs.k, "past_key");
        e.inputs.v =
            joined(with_heads(f.array(f.inputs, "past_value"), kv_heads, "past_value"), e.inputs.v, "past_value");
    }
    expect_same(e.inputs.k, f, "present_key");
    expect_same(e.inputs.v, f, "present_value");

    c.batch = e.inputs.q.extent[0];
    c.q_heads = e.inputs.q.extent[1];
    c.q_len = e.inputs.q.extent[2];
    c.head_dim = e.inputs.q.extent[3];
    c.kv_heads = e.inputs.k.extent[1];
    c.k_len = e.inputs.k.extent[2];
    c.value_dim = e.inputs.v.extent[3];
    if (e.inputs.k.extent != c.k_extent() || e.inputs.v.extent != c.v_extent())
        refuse("Q, K and V do not fit together");
    if (c.kv_heads < 1 || c.q_heads % c.kv_heads != 0) refuse("the heads of Q are not a multiple of those of K");
    e.inputs.dout = tensor<double>(c.out_extent());
    c.scale = f.attribute<double>("scale", 1.0 / std::sqrt(static_cast<double>(std::max<index_t>(c.head_dim, 1))));
    c.softcap = f.attribute<double>("softcap", 0.0);
    if (!(c.softcap >= 0.0)) refuse("softcap is " + f.attributes["softcap"].dump() + ": it must be at least 0");
    require_served(c);

    const bool causal = f.attribute<index_t>("is_causal", 0) != 0;
    std::vector<index_t> lengths;
    if (f.has(f.inputs, "nonpad_kv_seqlen")) {
        lengths = f.array(f.inputs, "nonpad_kv_seqlen").as<std::int64_t>();
        if (lengths.size() != static_cast<std::size_t>(c.batch)) refuse("nonpad_kv_seqlen has not one number a batch");
        for (const index_t n : lengths) {
            if (n < 0 || n > c.k_len) refuse("nonpad_kv_seqlen is not within the keys");
        }
    }
    visible_pairs visible(c.batch, c.q_heads, c.q_len, c.k_len);
    if (f.has(f.inputs, "attn_mask")) apply_attn_mask(visible, f.array(f.inputs, "attn_mask"));
    for (index_t b = 0; b < c.batch; ++b) {
        const index_t keys = lengths.empty() ? c.k_len : lengths[static_cast<std::size_t>(b)];
        const index_t offset = lengths.empty() ? past : keys - c.q_len;
        for (index_t h = 0; h < c.q_heads; ++h)
            for (index_t i = 0; i < c.q_len; ++i)
                for (index_t j = 0; j < c.k_len; ++j)
                    if (j >= keys || (causal && j > i + offset)) visible.at(b, h, i, j) = false;
    }
    if (!recognise(visible, c, lengths)) throw unsupported_feature{"attn_mask that is no band (boolean mask)"};

    e.stored.out = with_heads(f.array(f.outputs, "Y"), c.q_heads, "Y");
    if (e.stored.out.extent != c.out_extent()) refuse("Y has not the shape of the output");
    return e;
}

} // namespace pantile::conformance
