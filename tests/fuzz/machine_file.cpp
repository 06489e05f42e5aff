// The simulator's machine files: any text is refused with invalid_argument, or gives a machine whose figures make sense, that
// is the same after it was written as a machine file (here) and read again, and whose two printed forms hold its figures.
#include <cmath>
#include <string_view>

#include <nlohmann/json.hpp>

#include <pantile/error.hpp>
#include <pantile/simulator/machine.hpp>

#include "fuzz.hpp"

namespace pantile::fuzz {
namespace {

using nlohmann::json;
using simulator::cache_level;
using simulator::machine;

/// The rates of a machine, by their names in a file.
constexpr std::pair<const char*, double machine::*> rates[] = {
    {"clock_ghz", &machine::clock_ghz},
    {"sustained_share", &machine::sustained_share},
    {"exponentials_per_clock", &machine::exponentials_per_clock},
    {"vector_operations_per_clock", &machine::vector_operations_per_clock},
    {"scratchpad_bytes_per_clock", &machine::scratchpad_bytes_per_clock},
    {"last_cache_gb_per_s", &machine::last_cache_gb_per_s},
    {"memory_gb_per_s", &machine::memory_gb_per_s},
    {"network_gb_per_s", &machine::network_gb_per_s}};
constexpr std::pair<const char*, index_t machine::*> counts[] = {{"processors", &machine::processors},
                                                                 {"scratchpad_bytes", &machine::scratchpad_bytes},
                                                                 {"register_bytes", &machine::register_bytes}};

/// A machine as a file. Sources of caches are not told from those of figures by a machine: they are left out, see `same`.
std::string file_of(const machine& m) {
    json j{{"name", m.name}, {"title", m.title}, {"matrix_tflops", m.matrix_tflops}};
    for (const auto& [name, count] : counts) j[name] = m.*count;
    for (const auto& [name, rate] : rates) j[name] = m.*rate;
    j["quantum"] = {{"rows", m.quantum.rows}, {"keys", m.quantum.keys}};
    j["caches"] = json::array();
    for (const cache_level& c : m.caches) {
        j["caches"].push_back({{"name", c.name},
                               {"bytes", c.bytes},
                               {"ways", c.ways},
                               {"line_bytes", c.line_bytes},
                               {"parts", c.parts},
                               {"shared", c.shared}});
    }
    return j.dump();
}

bool same(const cache_level& a, const cache_level& b) {
    return a.name == b.name && a.bytes == b.bytes && a.ways == b.ways && a.line_bytes == b.line_bytes &&
           a.parts == b.parts && a.shared == b.shared;
}

void require_same(const machine& a, const machine& b) {
    require(a.name == b.name && a.title == b.title, "machine: another name or title once written and read");
    for (const auto& [name, count] : counts) require(a.*count == b.*count, name);
    for (const auto& [name, rate] : rates) require(a.*rate == b.*rate, name);
    require(a.quantum.rows == b.quantum.rows && a.quantum.keys == b.quantum.keys, "machine: another quantum");
    require(a.matrix_tflops == b.matrix_tflops, "machine: another matrix_tflops");
    require(a.caches.size() == b.caches.size(), "machine: more or fewer caches");
    for (std::size_t n = 0; n < a.caches.size(); ++n) require(same(a.caches[n], b.caches[n]), "machine: another cache");
}

/// What every user of a machine relies on.
void require_sense(const machine& m) {
    require(m.processors > 0 && m.quantum.rows > 0 && m.quantum.keys > 0, "machine: a count that is not positive");
    for (const cache_level& c : m.caches) {
        require(c.bytes > 0 && c.ways > 0 && c.line_bytes > 0 && c.parts > 0, "machine: a cache of no size");
    }
    for (const auto& [name, count] : counts) require(m.*count >= 0, std::string("machine: a negative ") + name);
    for (const auto& [name, rate] : rates)
        require(std::isfinite(m.*rate) && m.*rate >= 0, std::string("machine: no rate: ") + name);
    for (const auto& [type, rate] : m.matrix_tflops)
        require(std::isfinite(rate) && rate >= 0, "machine: no rate: matrix_tflops");
}

/// Does an integer field of the machine hold what its file says? `of` is the object, whose member may be {value, source}.
void require_integer(const json& of, const char* field, index_t value) {
    if (!of.is_object() || !of.contains(field)) return;
    const json& member = of.at(field);
    const json& said = member.is_object() && member.contains("value") ? member.at("value") : member;
    require(said.is_number_integer() && said == json(value), [&] {
        return std::string("machine: ") + field + " is " + said.dump() + ", read as " + json(value).dump();
    });
}

void require_as_said(const json& file, const machine& m) {
    for (const auto& [name, count] : counts) require_integer(file, name, m.*count);
    if (file.contains("quantum")) {
        require_integer(file.at("quantum"), "rows", m.quantum.rows);
        require_integer(file.at("quantum"), "keys", m.quantum.keys);
    }
    if (!file.contains("caches")) return;
    require(file.at("caches").is_array() && file.at("caches").size() == m.caches.size(), "machine: caches are no list");
    for (std::size_t n = 0; n < m.caches.size(); ++n) {
        const json& c = file.at("caches").at(n);
        require_integer(c, "bytes", m.caches[n].bytes);
        require_integer(c, "ways", m.caches[n].ways);
        require_integer(c, "line_bytes", m.caches[n].line_bytes);
        require_integer(c, "parts", m.caches[n].parts);
    }
}

/// The JSON that people get: the machine's figures, as they are.
void require_printed(const machine& m) {
    const json printed = json::parse(simulator::machine_json(m));
    const auto figures = simulator::figures_of(m);
    require(printed.at("name") == m.name && printed.at("title") == m.title, "machine: printed under another name");
    const json list = printed.value("figures", json::array());
    require(list.size() == figures.size(), "machine: printed with more or fewer figures");
    const std::string text = simulator::machine_text(m);
    for (std::size_t n = 0; n < figures.size(); ++n) {
        require(list[n].at("figure") == figures[n].name && list[n].at("value") == figures[n].value &&
                    list[n].value("source", std::string()) == figures[n].source,
                "machine: printed with another figure");
        require(text.find(figures[n].name) != std::string::npos, "machine: the text lacks a figure");
    }
}

} // namespace

void machine_file(std::span<const std::uint8_t> input) {
    const std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
    machine m;
    try {
        m = simulator::parse_machine(text);
    } catch (const invalid_argument& e) {
        require(std::string_view(e.what()).rfind("machine: ", 0) == 0, "machine: an error that does not say of what");
        return;
    }
    require_sense(m);
    require_as_said(json::parse(text), m);
    machine again;
    try {
        again = simulator::parse_machine(file_of(m));
    } catch (const std::exception& e) {
        require(false, [&] { return std::string("machine: refused once written: ") + e.what(); });
    }
    require_same(m, again);
    require_printed(m);
    for (const auto type : {simulator::dtype::fp64, simulator::dtype::fp32, simulator::dtype::bf16})
        require(m.near(type).bytes > 0, "machine: near memory of no size");
}

} // namespace pantile::fuzz
