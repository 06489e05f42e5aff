#include <support/vector_case.hpp>

#include <algorithm>

#include <nlohmann/json.hpp>

namespace pantile::test {

using nlohmann::json;

namespace {

/// Every loop over a case visits its rows, also those of an array without elements, which may promise any number of them.
void refuse_many_rows_of_nothing(const extents& e) {
    double rows = 1;
    bool empty = false;
    for (const index_t n : e) {
        empty = empty || n == 0;
        rows *= static_cast<double>(std::max<index_t>(n, 1));
    }
    if (empty && rows > 1e6) throw case_error("an array has no elements, but more than a million rows");
}

/// A field that is a whole number; others would be rounded, or be no index_t at all.
index_t whole(const json& object, const char* field, index_t otherwise) {
    const auto found = object.find(field);
    if (found == object.end()) return otherwise;
    const bool fits = found->is_number_integer() &&
                      !(found->is_number_unsigned() && found->get<std::uint64_t>() > std::uint64_t{1} << 62);
    if (!fits)
        throw case_error(std::string(field) + " is " + found->dump() + " in case.json: it must be a whole number");
    return found->get<index_t>();
}

} // namespace

tensor<double> as_doubles(const npy::array& a, const extents& e) {
    refuse_many_rows_of_nothing(e);
    tensor<double> t(e);
    if (t.data.size() != static_cast<std::size_t>(a.size()))
        throw case_error("an array has not the size it should have");
    const auto take = [&](const auto& values) {
        for (std::size_t n = 0; n < values.size(); ++n) t.data[n] = static_cast<double>(values[n]);
    };
    switch (a.type) {
    case npy::type::f4:
        take(a.as<float>());
        break;
    case npy::type::f8:
        take(a.as<double>());
        break;
    case npy::type::f2: {
        std::vector<float> wide;
        for (const float16 x : a.copy_bits<float16>()) wide.push_back(static_cast<float>(x));
        take(wide);
        break;
    }
    case npy::type::b1:
        take(a.as<unsigned char>());
        break;
    case npy::type::i8:
        take(a.as<std::int64_t>());
        break;
    }
    return t;
}

tensor<double> read_tensor(const std::filesystem::path& file) {
    const npy::array a = npy::read(file);
    if (a.shape.size() > 4) {
        throw case_error(file.string() + ": has " + std::to_string(a.shape.size()) + " axes, served are 4");
    }
    extents e{1, 1, 1, 1};
    std::copy(a.shape.begin(), a.shape.end(), e.end() - static_cast<std::ptrdiff_t>(a.shape.size()));
    return as_doubles(a, e);
}

namespace {

void expect_extent(const tensor<double>& t, const extents& e, const std::string& what) {
    if (t.extent == e) return;
    const auto text = [](const extents& x) {
        return "(" + std::to_string(x[0]) + ", " + std::to_string(x[1]) + ", " + std::to_string(x[2]) + ", " +
               std::to_string(x[3]) + ")";
    };
    throw case_error(what + " has the shape " + text(t.extent) + ", the case promises " + text(e));
}

void require_known(const json& listed, std::initializer_list<const char*> known, const char* what) {
    if (!listed.is_object()) throw case_error(std::string("case.json: a list of ") + what + "s is no object");
    for (const auto& [key, value] : listed.items()) {
        if (std::find(known.begin(), known.end(), key) == known.end())
            throw unknown_feature(std::string("unknown ") + what + " \"" + key + "\"");
    }
}

} // namespace

namespace {

/// What cases may ask for that no machine has, and that the plain formula does not have either.
void refuse_what_nobody_serves(const json& j, const json& inputs) {
    std::string needs;
    const auto note = [&](bool needed, const char* feature) {
        if (needed) needs += (needs.empty() ? "" : ", ") + std::string(feature);
    };
    const std::string kind = j.value("kind", std::string("dense"));
    note(kind == "packed" || inputs.contains("q_offsets") || inputs.contains("k_offsets"), "packed batches");
    note(kind == "paged" || inputs.contains("page_table"), "paged keys");
    note(inputs.contains("spans"), "spans");
    note(inputs.contains("visible"), "boolean mask");
    note(inputs.contains("dLSE"), "dLSE");
    if (!needs.empty()) {
        note(inputs.contains("bias"), "bias"); // named as well, so that the text is whole
        throw unknown_feature(needs);
    }
    static const char* const kinds[] = {"dense", "dlse", "no_value", "wide"};
    if (std::find(std::begin(kinds), std::end(kinds), kind) == std::end(kinds))
        throw unknown_feature("unknown kind \"" + kind + "\"");
}

} // namespace

vector_case read_vector_case(const std::filesystem::path& folder) {
    std::ifstream file(folder / "case.json");
    json j;
    try {
        j = json::parse(file);
    } catch (const json::exception& e) {
        throw case_error(std::string("case.json: ") + e.what());
    }
    if (!j.is_object()) throw case_error("case.json: is not an object");
    for (const auto& [key, value] : j.items()) {
        static const char* const known[] = {"shape",   "mask",    "window_left", "window_right", "align",
                                            "scale",   "softcap", "block_rows",  "block_cols",   "inputs",
                                            "outputs", "name",    "description", "seed",         "comment",
                                            "dtype",   "kind",    "page",        "spans_are"};
        if (std::find(std::begin(known), std::end(known), key) == std::end(known)) {
            throw unknown_feature("unknown field \"" + key + "\" in case.json");
        }
    }

    vector_case r;
    attention_case& c = r.problem;
    try {
        const json inputs = j.value("inputs", json::object());
        const json outputs = j.value("outputs", json::object());
        require_known(inputs,
                      {"Q", "K", "V", "dO", "dLSE", "alibi_slopes", "sinks", "bias", "block_mask", "spans", "visible",
                       "key_lengths", "q_offsets", "k_offsets", "page_table"},
                      "input");
        require_known(outputs, {"O", "LSE", "dQ", "dK", "dV", "dbias", "dslopes", "dsinks"}, "output");
        refuse_what_nobody_serves(j, inputs);
        const auto path_of = [&](const json& listed, const char* role) {
            const auto found = listed.find(role);
            if (found != listed.end()) return folder / found->get<std::string>();
            const auto usual = folder / (std::string(role) + ".npy");
            return std::filesystem::exists(usual) ? usual : std::filesystem::path();
        };
        const auto need = [&](const json& listed, const char* role) {
            const auto path = path_of(listed, role);
            if (path.empty()) throw case_error(std::string("has no ") + role);
            return read_tensor(path);
        };
        r.inputs.q = need(inputs, "Q");
        r.inputs.k = need(inputs, "K");
        r.inputs.v = need(inputs, "V");
        c.batch = r.inputs.q.extent[0];
        c.q_heads = r.inputs.q.extent[1];
        c.q_len = r.inputs.q.extent[2];
        c.head_dim = r.inputs.q.extent[3];
        c.kv_heads = r.inputs.k.extent[1];
        c.k_len = r.inputs.k.extent[2];
        c.value_dim = r.inputs.v.extent[3];
        expect_extent(r.inputs.k, c.k_extent(), "K");
        expect_extent(r.inputs.v, c.v_extent(), "V");
        const json shape = j.value("shape", json::object());
        require_known(shape, {"batch", "q_heads", "kv_heads", "q_len", "k_len", "head_dim", "value_dim"}, "size");
        const std::pair<const char*, index_t> sizes[] = {
            {"batch", c.batch}, {"q_heads", c.q_heads},   {"kv_heads", c.kv_heads},  {"q_len", c.q_len},
            {"k_len", c.k_len}, {"head_dim", c.head_dim}, {"value_dim", c.value_dim}};
        for (const auto& [key, size] : sizes) {
            if (whole(shape, key, size) != size) {
                throw case_error(std::string(key) + " is " + shape[key].dump() + " in case.json, " +
                                 std::to_string(size) + " in the arrays");
            }
        }

        const std::string mask = j.value("mask", std::string("full"));
        if (mask == "causal") {
            c.right = 0;
        } else if (mask == "window") {
            const index_t left = whole(j, "window_left", -1);
            const index_t right = whole(j, "window_right", -1);
            if (left >= 0) c.left = left;
            if (right >= 0) c.right = right;
        } else if (mask != "full") {
            throw unknown_feature("unknown mask \"" + mask + "\"");
        }
        const std::string align = j.value("align", std::string("bottom_right"));
        if (align != "bottom_right" && align != "top_left") throw unknown_feature("unknown align \"" + align + "\"");
        c.align = align == "top_left" ? anchor::top_left : anchor::bottom_right;
        c.scale = j.value("scale", 1.0 / std::sqrt(static_cast<double>(std::max<index_t>(c.head_dim, 1))));
        c.softcap = j.value("softcap", 0.0);
        if (!(c.softcap >= 0.0)) throw case_error("softcap is " + j["softcap"].dump() + ": it must be at least 0");

        if (const auto path = path_of(inputs, "alibi_slopes"); !path.empty()) c.slopes = read_tensor(path).data;
        if (const auto path = path_of(inputs, "sinks"); !path.empty()) c.sinks = read_tensor(path).data;
        if (const auto path = path_of(inputs, "bias"); !path.empty()) c.bias = read_tensor(path);
        if (const auto path = path_of(inputs, "block_mask"); !path.empty()) {
            for (const char* field : {"block_rows", "block_cols"}) {
                if (!j.contains(field)) throw case_error(std::string("block_mask is given, but not ") + field);
            }
            c.block_rows = whole(j, "block_rows", 0);
            c.block_cols = whole(j, "block_cols", 0);
            if (c.block_rows < 1 || c.block_cols < 1) throw case_error("block_rows and block_cols must be at least 1");
            const tensor<double> blocks = read_tensor(path);
            c.block_mask = tensor<unsigned char>(blocks.extent);
            for (std::size_t n = 0; n < blocks.data.size(); ++n) c.block_mask.data[n] = blocks.data[n] != 0.0 ? 1 : 0;
        }
        for (const auto* per_head : {&c.slopes, &c.sinks}) {
            if (!per_head->empty() && per_head->size() != static_cast<std::size_t>(c.q_heads)) {
                throw case_error("alibi_slopes and sinks have one number a query head");
            }
        }
        if (const auto path = path_of(inputs, "key_lengths"); !path.empty()) {
            const tensor<double> lengths = read_tensor(path);
            if (lengths.data.size() != static_cast<std::size_t>(c.batch))
                throw case_error("key_lengths has not one number a batch");
            for (const double n : lengths.data) {
                if (!(n >= 0.0 && n <= static_cast<double>(c.k_len)) || n != std::floor(n))
                    throw case_error("key_lengths are not within the keys");
                c.key_lengths.push_back(static_cast<index_t>(n));
            }
        }

        r.out = need(outputs, "O");
        expect_extent(r.out, c.out_extent(), "O");
        if (const auto path = path_of(outputs, "LSE"); !path.empty()) {
            r.lse = read_tensor(path);
            if (r.lse.data.size() != static_cast<std::size_t>(c.batch * c.q_heads * c.q_len)) {
                throw case_error("LSE does not have one number a row");
            }
            r.lse.extent = c.lse_extent();
        }
        const auto has = [&](const json& listed, const char* role) { return !path_of(listed, role).empty(); };
        const bool gradients = has(outputs, "dQ") || has(outputs, "dK") || has(outputs, "dV");
        if (gradients && !(has(inputs, "dO") && has(outputs, "dQ") && has(outputs, "dK") && has(outputs, "dV"))) {
            throw case_error("has some of dO, dQ, dK and dV, not all");
        }
        r.inputs.dout = gradients ? need(inputs, "dO") : tensor<double>(c.out_extent());
        expect_extent(r.inputs.dout, c.out_extent(), "dO");
        r.has_backward = gradients;
        if (gradients) {
            r.dq = need(outputs, "dQ");
            r.dk = need(outputs, "dK");
            r.dv = need(outputs, "dV");
            expect_extent(r.dq, c.q_extent(), "dQ");
            expect_extent(r.dk, c.k_extent(), "dK");
            expect_extent(r.dv, c.v_extent(), "dV");
            if (const auto path = path_of(outputs, "dbias"); !path.empty()) r.dbias = read_tensor(path);
            const std::pair<const char*, tensor<double>*> of_heads[] = {{"dslopes", &r.dslopes}, {"dsinks", &r.dsinks}};
            for (const auto& [role, to] : of_heads) {
                const auto path = path_of(outputs, role);
                if (path.empty()) continue;
                const std::vector<double>& numbers = std::string(role) == "dslopes" ? c.slopes : c.sinks;
                *to = read_tensor(path);
                if (numbers.empty() || to->data.size() != numbers.size())
                    throw case_error(std::string(role) + " does not fit the numbers that it is the gradient of");
                to->extent = {1, c.q_heads, 1, 1};
            }
        }
    } catch (const json::exception& e) {
        throw case_error(std::string("case.json: ") + e.what());
    }
    return r;
}

std::vector<std::filesystem::path> case_folders(const std::filesystem::path& root) {
    std::vector<std::filesystem::path> found;
    if (std::filesystem::exists(root / "case.json")) found.push_back(root);
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
        if (entry.is_directory() && std::filesystem::exists(entry.path() / "case.json")) found.push_back(entry.path());
    }
    std::sort(found.begin(), found.end());
    return found;
}

} // namespace pantile::test
