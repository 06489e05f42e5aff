// The readers of conformance cases: any case.json, beside arrays that are always the same, passes, fails or is unsupported
// with a text and without an exception; what reaches the backend is one consistent problem, and the one that the file states.
// The backend is the plain formula, so that nothing of this needs kernels.
#include <array>
#include <cmath>
#include <fstream>
#include <optional>
#include <string_view>

#include <nlohmann/json.hpp>
#include <npy.hpp>

#include <conformance/conformance.hpp>
#include <support/formula.hpp>
#include <support/scratch_folder.hpp>

#include "fuzz.hpp"

namespace pantile::fuzz {
namespace {

using conformance::attention_case;
using conformance::attention_inputs;
using nlohmann::json;
using test::tensor;

/// The problem that the arrays below belong to: (1, 2 over 1, 3 x 4, 2 and 2).
attention_case stored_problem() {
    attention_case c;
    c.q_heads = 2;
    c.q_len = 3;
    c.k_len = 4;
    c.head_dim = c.value_dim = 2;
    c.scale = 1.0 / std::sqrt(2.0);
    return c;
}

tensor<double> numbers(const test::extents& e, int seed) {
    tensor<double> t(e);
    for (std::size_t n = 0; n < t.data.size(); ++n)
        t.data[n] = 0.25 * static_cast<double>((5 * n + 3 * static_cast<std::size_t>(seed)) % 9) - 1.0;
    return t;
}

/// The folder of all cases: every file that a case.json may name.
class case_folder {
  public:
    case_folder() {
        const attention_case c = stored_problem();
        attention_inputs in{numbers(c.q_extent(), 1), numbers(c.k_extent(), 2), numbers(c.v_extent(), 3),
                            numbers(c.out_extent(), 4)};
        const auto forward = test::plain_forward<double>(c, in);
        const auto backward = test::plain_backward<double>(c, in);
        put("Q", in.q), put("K", in.k), put("V", in.v), put("O", forward.out), put("Y", forward.out);
        // These are read only where case.json names them.
        put("l", forward.lse), put("g", in.dout), put("a", backward.dq), put("b", backward.dk), put("c", backward.dv);
        const std::vector<double> per_head{0.5, 0.25};
        npy::write(folder_ / "h", npy::make({2}, per_head.data()));
        const std::vector<float> three_axes{1, 2, 3, 4, 5, 6, 7, 8, 9, 8, 7, 6};
        npy::write(folder_ / "t", npy::make({1, 3, 4}, three_axes.data()));
        const std::vector<unsigned char> mask{1, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0};
        npy::write(folder_ / "m", npy::make(npy::type::b1, {3, 4}, mask.data()));
        const std::vector<std::int64_t> length{3};
        npy::write(folder_ / "n", npy::make({1}, length.data()));
        npy::write(folder_ / "s", npy::make({}, per_head.data()));
        // No elements, and a shape whose product is in no integer.
        npy::write(folder_ / "e", npy::array{npy::type::f8, {0, std::int64_t{1} << 62}, {}});
        npy::write(folder_ / "z", npy::array{npy::type::f8, {std::int64_t{1} << 40, std::int64_t{1} << 21, 0, 1}, {}});
    }
    [[nodiscard]] const std::filesystem::path& path() const { return folder_.path(); }

  private:
    void put(const std::string& name, const tensor<double>& t) {
        const std::vector<std::int64_t> shape(t.extent.begin(), t.extent.end());
        npy::write(folder_ / (name.size() == 1 && name[0] < 'a' ? name + ".npy" : name),
                   npy::make(shape, t.data.data()));
    }
    test::scratch_folder folder_;
};

/// What reached the backend last.
std::optional<attention_case> received; // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

void require_consistent(const attention_case& c, const attention_inputs& in) {
    require(in.q.extent == c.q_extent() && in.k.extent == c.k_extent() && in.v.extent == c.v_extent(),
            "case: inputs of other shapes than the problem's");
    require(in.dout.extent == c.out_extent(), "case: dO of another shape than the problem's");
    require(c.kv_heads >= 1 ? c.q_heads % c.kv_heads == 0 : c.q_heads == 0, "case: heads that make no groups");
    require(c.key_lengths.empty() || c.key_lengths.size() == static_cast<std::size_t>(c.batch),
            "case: not one key length a batch");
    for (const index_t n : c.key_lengths) require(n >= 0 && n <= c.k_len, "case: a key length beyond the keys");
    require(c.left.value_or(0) >= 0 && c.right.value_or(0) >= 0, "case: a negative side of the window");
    require(c.softcap >= 0.0, "case: a soft cap below 0");
    for (const auto* numbers : {&c.slopes, &c.sinks}) {
        require(numbers->empty() || numbers->size() == static_cast<std::size_t>(c.q_heads),
                "case: not one number a query head");
    }
    require(c.bias.empty() && c.block_mask.empty(), "case: a feature that the page does not have");
}

conformance::results run_plainly(const attention_case& c, const attention_inputs& in, conformance::dtype,
                                 conformance::layout, bool backward) {
    require_consistent(c, in);
    received = c;
    const auto forward = test::plain_forward<double>(c, in);
    conformance::results r;
    r.out = forward.out;
    r.lse = forward.lse;
    if (!backward) return r;
    auto gradients = test::plain_backward<double>(c, in);
    r.dq = std::move(gradients.dq);
    r.dk = std::move(gradients.dk);
    r.dv = std::move(gradients.dv);
    const auto as_rows = [](const std::vector<double>& heads) {
        tensor<double> t({1, static_cast<index_t>(heads.size()), 1, 1});
        t.data = heads;
        return t;
    };
    r.dslopes = as_rows(gradients.dslopes);
    r.dsinks = as_rows(gradients.dsinks);
    return r;
}

std::optional<index_t> side_of(const json& file, const char* field) {
    const json said = file.value(field, json(-1));
    require(said.is_number_integer(), std::string("case: ran, but is no whole number: ") + field);
    return said < json(0) ? std::nullopt : std::optional(said.get<index_t>());
}

/// A case of the repository's own kind: the fields say what the problem must be.
void require_as_said(const json& file, const attention_case& c) {
    const json mask = file.value("mask", json("full"));
    const bool windowed = mask == "window";
    const auto left = windowed ? side_of(file, "window_left") : std::nullopt;
    const auto right = windowed           ? side_of(file, "window_right")
                       : mask == "causal" ? std::optional<index_t>(0)
                                          : std::nullopt;
    require(windowed || mask == "full" || mask == "causal", "case: ran under a mask that nobody knows");
    require(c.left == left && c.right == right, "case: ran under another window than the file's");
    const json align = file.value("align", json("bottom_right"));
    require(c.align == (align == "top_left" ? test::anchor::top_left : test::anchor::bottom_right) &&
                (align == "top_left" || align == "bottom_right"),
            "case: ran under another alignment than the file's");
    const json scale = file.value("scale", json(1.0 / std::sqrt(static_cast<double>(c.head_dim))));
    require(scale.is_number() && scale.get<double>() == c.scale, "case: ran under another scale than the file's");
    const json softcap = file.value("softcap", json(0.0));
    require(softcap.is_number() && softcap.get<double>() == c.softcap,
            "case: ran under another soft cap than the file's");
    const json shape = file.value("shape", json::object());
    const std::pair<const char*, index_t> sizes[] = {
        {"batch", c.batch}, {"q_heads", c.q_heads},   {"kv_heads", c.kv_heads},  {"q_len", c.q_len},
        {"k_len", c.k_len}, {"head_dim", c.head_dim}, {"value_dim", c.value_dim}};
    for (const auto& [key, size] : sizes) {
        require(shape.value(key, json(size)) == json(size),
                [&, k = key] { return std::string("case: ran in spite of its ") + k; });
    }
}

/// A node test: with no other rule, is_causal shows the keys j <= i, and 0 shows all.
void require_as_node(const json& file, const attention_case& c) {
    const json attributes = file.value("attributes", json::object());
    const json inputs = file.value("inputs", json::object());
    for (const char* rule : {"attn_mask", "past_key", "past_value", "nonpad_kv_seqlen"}) {
        if (inputs.contains(rule)) return;
    }
    const json said = attributes.value("is_causal", json(0));
    require(said.is_null() || said.is_number_integer(), "case: ran, but is_causal is no whole number");
    const bool causal = !said.is_null() && said != json(0);
    for (index_t b = 0; b < c.batch; ++b)
        for (index_t i = 0; i < c.q_len; ++i)
            for (index_t j = 0; j < c.k_len; ++j)
                require(c.visible(b, 0, i, j) == (!causal || j <= i), "case: is_causal shows other keys");
    const json scale = attributes.value("scale", json());
    if (scale.is_number()) require(c.scale == scale.get<double>(), "case: ran under another scale than the node's");
}

} // namespace

void case_file(std::span<const std::uint8_t> input) {
    static const case_folder folder;
    const std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
    // A file that is named must be one of the folder's: some others would be waited for.
    if (text.find('/') != std::string_view::npos || text.find("\\u") != std::string_view::npos) return;
    std::ofstream(folder.path() / "case.json", std::ios::binary) << text;
    received.reset();
    conformance::report r;
    try {
        r = conformance::run_case(folder.path(), {run_plainly, "plain", std::nullopt});
    } catch (const finding&) {
        throw;
    } catch (...) {
        require(false, "case: an exception left run_case");
    }
    require(r.text.empty() == (r.result == conformance::outcome::passed),
            [&] { return "case: the text does not fit the outcome: " + r.text; });
    if (!received) {
        require(r.result != conformance::outcome::passed, "case: passed without having run");
        return;
    }
    const json file = json::parse(text);
    if (file.contains("attributes") || file.contains("opset")) {
        require_as_node(file, *received);
    } else {
        require_as_said(file, *received);
    }
}

} // namespace pantile::fuzz
