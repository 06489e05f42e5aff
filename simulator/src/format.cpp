#include <pantile/simulator/format.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>

#include <nlohmann/json.hpp>

#include <pantile/error.hpp>
#include <pantile/simulator/blocks.hpp>

#include "run_object.hpp"

namespace pantile::inline v0::simulator {

namespace {

/// Characters, not bytes: ASCII and the few two-byte letters that the tables use.
std::size_t width_of(const std::string& cell) {
    return static_cast<std::size_t>(std::count_if(
        cell.begin(), cell.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

std::string near_text(const experiment& e) {
    const near_memory& n = e.near;
    if (n.bytes >= unbounded) return "unbounded";
    if (n.counts_elements()) return grouped(n.bytes) + " elements";
    std::string text = grouped(n.bytes) + " bytes";
    if (n.accumulator_bytes > 0) text += ", registers " + grouped(n.accumulator_bytes) + " bytes";
    return text;
}

} // namespace

std::string table(const std::vector<std::vector<std::string>>& rows) {
    std::vector<std::size_t> widths;
    for (const auto& row : rows) {
        widths.resize(std::max(widths.size(), row.size()));
        for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
    }
    std::string text;
    for (const auto& row : rows) {
        std::string line;
        for (std::size_t i = 0; i < row.size(); ++i) {
            const std::string pad(widths[i] - width_of(row[i]), ' ');
            line += i == 0 ? row[i] + pad : "  " + pad + row[i];
        }
        text += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
    }
    return text;
}

std::string grouped(index_t n) {
    std::string digits = std::to_string(n);
    for (int at = static_cast<int>(digits.size()) - 3; at > (n < 0 ? 1 : 0); at -= 3) {
        digits.insert(static_cast<std::size_t>(at), ",");
    }
    return digits;
}

std::string human_bytes(double bytes) {
    static constexpr std::array<const char*, 6> units{"B", "kB", "MB", "GB", "TB", "PB"};
    std::size_t unit = 0;
    while (bytes >= 1000.0 && unit + 1 < units.size()) {
        bytes /= 1000.0;
        ++unit;
    }
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), unit == 0 ? "%.0f %s" : "%.2f %s", bytes, units[unit]);
    return text.data();
}

index_t parse_size(std::string_view text, std::string_view what) {
    const auto reject = [&] {
        throw invalid_argument(std::string(what) + " is '" + std::string(text) +
                               "': it must be a number, with K, M or G for 2^10, 2^20, 2^30");
    };
    index_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || value < 0) reject();
    const std::string_view suffix = text.substr(static_cast<std::size_t>(end - text.data()));
    if (suffix.empty()) return value;
    if (suffix == "K") return checked_mul(value, index_t{1} << 10);
    if (suffix == "M") return checked_mul(value, index_t{1} << 20);
    if (suffix == "G") return checked_mul(value, index_t{1} << 30);
    reject();
    return 0;
}

near_memory parse_near(std::string_view text, dtype type) {
    if (!text.empty() && text.back() == 'B') {
        return near_memory::of_bytes(parse_size(text.substr(0, text.size() - 1), "near memory"), type);
    }
    return near_memory::of_elements(parse_size(text, "near memory"));
}

mask parse_mask(std::string_view text) {
    const std::string whole(text);
    const auto reject = [&] {
        throw invalid_argument(
            "mask is '" + whole +
            "': it must be full, causal, causal-top-left or window:LEFT:RIGHT, and may end in @OFFSET");
    };
    const auto number = [&](std::string_view part) {
        index_t value = 0;
        const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
        if (error != std::errc{} || end != part.data() + part.size()) reject();
        return value;
    };
    std::optional<index_t> offset;
    if (const std::size_t at = text.find('@'); at != std::string_view::npos) {
        offset = number(text.substr(at + 1));
        text = text.substr(0, at);
    }
    pantile::mask m;
    if (text == "causal") {
        m = causal();
    } else if (text == "causal-top-left") {
        m = causal(alignment::top_left);
    } else if (text.substr(0, 7) == "window:") {
        const std::string_view sides = text.substr(7);
        const std::size_t colon = sides.find(':');
        if (colon == std::string_view::npos) reject();
        const auto side = [&](std::string_view part) { return part == "all" ? unbounded : number(part); };
        m = window(side(sides.substr(0, colon)), side(sides.substr(colon + 1)));
    } else if (text != "full") {
        reject();
    }
    return offset ? m.at_offset(*offset) : m;
}

std::string run_text(const algorithm& a, const experiment& e, const run_result& r) {
    const dtype type = e.what.type;
    std::vector<std::vector<std::string>> rows{{"tensor", "reads", "writes", "bytes read", "bytes written"}};
    for (int i = 0; i < tensor_kinds; ++i) {
        const auto t = static_cast<tensor>(i);
        const core::transfers m = r.moved[t];
        if (m.reads == 0 && m.writes == 0) continue;
        const index_t width = bytes_of(t, type);
        rows.push_back({std::string(name(t)), grouped(m.reads), grouped(m.writes),
                        human_bytes(static_cast<double>(m.reads * width)),
                        human_bytes(static_cast<double>(m.writes * width))});
    }
    const core::transfers all = r.moved.elements();
    const core::transfers bytes = r.moved.bytes(type);
    rows.push_back({"total", grouped(all.reads), grouped(all.writes), human_bytes(static_cast<double>(bytes.reads)),
                    human_bytes(static_cast<double>(bytes.writes))});

    std::string text =
        std::string(a.name()) + ' ' + describe(e) + ", " + std::string(name(type)) + "\n\n" + table(rows);
    const double moved = static_cast<double>(bytes.reads) + static_cast<double>(bytes.writes);
    const double flops = static_cast<double>(r.done.matrix_flops);
    std::array<char, 96> intensity{};
    std::snprintf(intensity.data(), intensity.size(), "%.3f GFLOP, %.1f FLOP a byte", flops * 1e-9,
                  moved > 0 ? flops / moved : 0.0);
    std::vector<std::vector<std::string>> facts{{"matrix products", intensity.data()},
                                                {"exponentials", grouped(r.done.exponentials)},
                                                {"blocks", grouped(r.blocks)},
                                                {"near memory held", grouped(r.peak_bytes) + " of " + near_text(e)}};
    if (const index_t sent = r.sent.bytes(type).writes; sent > 0) {
        facts.insert(facts.begin(), {"over the link", human_bytes(static_cast<double>(sent)) + " between " +
                                                          std::to_string(e.what.devices) + " devices"});
    }
    if (!e.what.blocks.empty()) {
        std::array<char, 32> share{};
        std::snprintf(share.data(), share.size(), "%.1f %%", 100 * visible_share(e.what));
        facts.push_back({"visible blocks", share.data()});
    }
    if (r.peak_register_bytes > 0) facts.push_back({"registers held", grouped(r.peak_register_bytes) + " bytes"});
    return text + '\n' + table(facts);
}

namespace {

nlohmann::ordered_json transfers_json(core::transfers t) { return {{"reads", t.reads}, {"writes", t.writes}}; }

} // namespace

nlohmann::ordered_json run_object(const algorithm& a, const experiment& e, const run_result& r) {
    nlohmann::ordered_json j;
    const workload& w = e.what;
    j["algorithm"] = a.name();
    j["pass"] = name(e.which);
    j["workload"] = {{"batch", w.batch},         {"q_heads", w.q_heads},      {"kv_heads", w.kv_heads},
                     {"q_len", w.q_len},         {"k_len", w.k_len},          {"head_dim", w.head_dim},
                     {"value_dim", w.value_dim}, {"dtype", name(w.type)},     {"packed_heads", w.packed_heads},
                     {"devices", w.devices},     {"description", describe(e)}};
    if (!w.blocks.empty()) j["workload"]["visible_blocks"] = visible_share(w);
    if (w.softcap > 0) j["workload"]["softcap"] = w.softcap;
    if (!w.slopes.empty()) j["workload"]["slopes"] = w.slopes;
    if (!w.sinks.empty()) j["workload"]["sinks"] = w.sinks;
    j["tiles"] = {{"row_tile", e.plan.row_tile}, {"key_tile", e.plan.key_tile}, {"key_splits", e.plan.key_splits}};
    for (int i = 0; i < tensor_kinds; ++i) {
        const auto t = static_cast<tensor>(i);
        if (r.moved[t] == core::transfers{}) continue;
        const index_t width = bytes_of(t, w.type);
        j["tensors"][std::string(name(t))] = {
            {"elements", transfers_json(r.moved[t])},
            {"bytes", transfers_json({checked_mul(r.moved[t].reads, width), checked_mul(r.moved[t].writes, width)})}};
    }
    j["elements"] = transfers_json(r.moved.elements());
    j["bytes"] = transfers_json(r.moved.bytes(w.type));
    if (r.sent != counts{}) {
        for (int i = 0; i < tensor_kinds; ++i) {
            const auto t = static_cast<tensor>(i);
            if (r.sent[t].writes > 0) j["link"]["elements"][std::string(name(t))] = r.sent[t].writes;
        }
        j["link"]["bytes"] = r.sent.bytes(w.type).writes;
    }
    j["matrix_flops"] = r.done.matrix_flops;
    j["exponentials"] = r.done.exponentials;
    j["vector_flops"] = r.done.vector_flops;
    j["blocks"] = r.blocks;
    j["near_memory"] = {
        {"unit", e.near.counts_elements() ? "elements" : "bytes"},
        {"capacity", e.near.bytes >= unbounded ? nlohmann::ordered_json() : nlohmann::ordered_json(e.near.bytes)},
        {"peak", r.peak_bytes},
        {"register_peak", r.peak_register_bytes}};
    return j;
}

std::string run_json(const algorithm& a, const experiment& e, const run_result& r) {
    return run_object(a, e, r).dump(2) + '\n';
}

std::string run_csv(const experiment& e, const run_result& r) {
    std::string csv = "tensor,reads,writes,bytes_read,bytes_written,bytes_over_link\n";
    for (int i = 0; i < tensor_kinds; ++i) {
        const auto t = static_cast<tensor>(i);
        const core::transfers m = r.moved[t];
        if (m == core::transfers{}) continue;
        const index_t width = bytes_of(t, e.what.type);
        csv += csv_line({std::string(name(t)), std::to_string(m.reads), std::to_string(m.writes),
                         std::to_string(checked_mul(m.reads, width)), std::to_string(checked_mul(m.writes, width)),
                         std::to_string(checked_mul(r.sent[t].writes, width))});
    }
    return csv;
}

std::string csv_line(const std::vector<std::string>& cells) {
    std::string line;
    for (const std::string& cell : cells) {
        line += line.empty() && &cell == &cells.front() ? "" : ",";
        if (cell.find_first_of(",\"\n") == std::string::npos) {
            line += cell;
            continue;
        }
        line += '"';
        for (const char c : cell) line += c == '"' ? std::string("\"\"") : std::string(1, c);
        line += '"';
    }
    return line + '\n';
}

std::string plan_text(const algorithm& a, const experiment& e, const std::vector<tile_choice>& choices) {
    const bool elements = e.near.counts_elements();
    const bool registers = e.near.accumulator_bytes > 0;
    std::vector<std::vector<std::string>> rows{{"rows x keys", elements ? "elements held" : "bytes held"}};
    if (registers) rows.front().push_back("in registers");
    for (const char* heading : {"reads", "writes", "moved"}) rows.front().emplace_back(heading);
    for (const tile_choice& c : choices) {
        rows.push_back(
            {std::to_string(c.plan.row_tile) + " x " + std::to_string(c.plan.key_tile), grouped(c.needs.bytes)});
        if (registers) rows.back().push_back(grouped(c.needs.register_bytes));
        rows.back().push_back(grouped(c.elements.reads));
        rows.back().push_back(grouped(c.elements.writes));
        rows.back().push_back(human_bytes(static_cast<double>(c.bytes.reads) + static_cast<double>(c.bytes.writes)));
    }
    const std::string on = e.what.features_text();
    return std::string(a.name()) + ' ' + std::string(name(e.which)) + (on.empty() ? "" : ", " + on) + ", near memory " +
           near_text(e) + "\n\n" + table(rows);
}

std::string plan_json(const algorithm& a, const experiment& e, const std::vector<tile_choice>& choices) {
    nlohmann::ordered_json j;
    j["algorithm"] = a.name();
    j["pass"] = name(e.which);
    if (const std::string on = e.what.features_text(); !on.empty()) j["features"] = on;
    j["plans"] = nlohmann::ordered_json::array();
    for (const tile_choice& c : choices) {
        j["plans"].push_back({{"row_tile", c.plan.row_tile},
                              {"key_tile", c.plan.key_tile},
                              {"near_held", c.needs.bytes},
                              {"registers_held", c.needs.register_bytes},
                              {"elements", transfers_json(c.elements)},
                              {"bytes", transfers_json(c.bytes)}});
    }
    return j.dump(2) + '\n';
}

std::string plan_csv(const std::vector<tile_choice>& choices) {
    std::string csv = "row_tile,key_tile,near_held,registers_held,reads,writes,bytes_read,bytes_written\n";
    for (const tile_choice& c : choices) {
        std::vector<std::string> cells;
        for (const index_t x : {c.plan.row_tile, c.plan.key_tile, c.needs.bytes, c.needs.register_bytes,
                                c.elements.reads, c.elements.writes, c.bytes.reads, c.bytes.writes}) {
            cells.push_back(std::to_string(x));
        }
        csv += csv_line(cells);
    }
    return csv;
}

std::string check_text(const check_result& r, std::optional<std::uint64_t> seed) {
    std::string text;
    for (const std::string& m : r.mismatches) text += "MISMATCH " + m + '\n';
    text += grouped(r.cases) +
            (seed           ? " random cases (seed " + std::to_string(*seed) + "), "
             : r.cases == 1 ? " algorithm, "
                            : " algorithms, ") +
            (r.mismatches.empty() ? "all counted == closed form, tensor by tensor"
                                  : grouped(static_cast<index_t>(r.mismatches.size())) + " mismatches") +
            '\n';
    return text;
}

std::string check_json(const check_result& r, std::optional<std::uint64_t> seed) {
    nlohmann::ordered_json j;
    j["cases"] = r.cases;
    if (seed) j["seed"] = *seed;
    j["mismatches"] = r.mismatches;
    return j.dump(2) + '\n';
}

} // namespace pantile::inline v0::simulator
