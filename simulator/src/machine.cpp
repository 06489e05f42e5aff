#include <pantile/simulator/machine.hpp>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>
#include <thread>

#include <nlohmann/json.hpp>

#include <pantile/error.hpp>
#include <pantile/simulator/format.hpp>

#include "machine_presets.hpp"

namespace pantile::inline v0::simulator {

namespace {

using nlohmann::json;

/// Reads one object and remembers which fields it knows, so that a misspelt one is not silently ignored.
class reader {
  public:
    reader(const json& object, std::string where, std::map<std::string, std::string>* sources)
        : object_(object), where_(std::move(where)), sources_(sources) {
        if (!object.is_object()) throw invalid_argument("machine: " + where_ + " must be an object");
    }
    template <class T>
    void get(const char* field, T& into) {
        known_.insert(field);
        if (!object_.contains(field)) return;
        const json* value = &object_.at(field);
        if (value->is_object() && value->contains("value")) {
            if (sources_ != nullptr && value->contains("source")) {
                take((*sources_)[field], std::string(field) + ".source", value->at("source"));
            }
            value = &value->at("value");
        }
        take(into, field, *value);
    }
    [[nodiscard]] const json* child(const char* field) {
        known_.insert(field);
        return object_.contains(field) ? &object_.at(field) : nullptr;
    }
    void reject_others() const {
        for (const auto& [key, value] : object_.items()) {
            if (known_.count(key) == 0) throw invalid_argument("machine: there is no field '" + where_ + key + "'");
        }
    }

  private:
    /// A count is a whole number: get_to would take true for 1, 2.9 for 2, and 1e300 or 2^63 for anything.
    template <class T>
    void take(T& into, const std::string& field, const json& value) const {
        bool fits = true;
        if constexpr (std::is_same_v<T, index_t>) {
            fits = value.is_number_integer() &&
                   !(value.is_number_unsigned() && value.get<std::uint64_t>() > std::numeric_limits<index_t>::max());
        } else if constexpr (std::is_same_v<T, double>) {
            fits = value.is_number();
        }
        try {
            if (fits) value.get_to(into);
        } catch (const json::exception&) {
            fits = false;
        }
        if (!fits) throw invalid_argument("machine: " + where_ + field + " is " + value.dump() + ": wrong type");
    }

    const json& object_;
    std::string where_;
    std::map<std::string, std::string>* sources_;
    std::set<std::string> known_;
};

cache_level read_cache(const json& object, std::map<std::string, std::string>& sources) {
    cache_level c;
    reader r(object, "caches.", nullptr);
    r.get("name", c.name);
    r.get("bytes", c.bytes);
    r.get("ways", c.ways);
    r.get("line_bytes", c.line_bytes);
    r.get("parts", c.parts);
    r.get("shared", c.shared);
    std::string source;
    r.get("source", source);
    r.reject_others();
    if (c.bytes <= 0 || c.ways <= 0 || c.line_bytes <= 0 || c.parts <= 0) {
        throw invalid_argument("machine: cache '" + c.name + "' needs positive bytes, ways, line_bytes and parts");
    }
    if (!source.empty()) sources[c.name] = source;
    return c;
}

std::string read_word(const std::filesystem::path& file) {
    std::ifstream in(file);
    std::string word;
    in >> word;
    return word;
}

} // namespace

near_memory machine::near(dtype type) const {
    return near_memory::of_bytes(scratchpad_bytes > 0 ? scratchpad_bytes : unbounded, type, register_bytes);
}

machine parse_machine(std::string_view text) {
    const json object = json::parse(text, nullptr, false);
    if (object.is_discarded()) throw invalid_argument("machine: this is not JSON");
    machine m;
    reader r(object, "", &m.sources);
    r.get("name", m.name);
    r.get("title", m.title);
    r.get("processors", m.processors);
    r.get("clock_ghz", m.clock_ghz);
    r.get("scratchpad_bytes", m.scratchpad_bytes);
    r.get("register_bytes", m.register_bytes);
    r.get("matrix_tflops", m.matrix_tflops);
    r.get("sustained_share", m.sustained_share);
    r.get("exponentials_per_clock", m.exponentials_per_clock);
    r.get("vector_operations_per_clock", m.vector_operations_per_clock);
    r.get("scratchpad_bytes_per_clock", m.scratchpad_bytes_per_clock);
    r.get("last_cache_gb_per_s", m.last_cache_gb_per_s);
    r.get("memory_gb_per_s", m.memory_gb_per_s);
    r.get("network_gb_per_s", m.network_gb_per_s);
    if (const json* quantum = r.child("quantum")) {
        reader q(*quantum, "quantum.", nullptr);
        q.get("rows", m.quantum.rows);
        q.get("keys", m.quantum.keys);
        q.reject_others();
    }
    if (const json* caches = r.child("caches")) {
        if (!caches->is_array()) throw invalid_argument("machine: caches must be a list");
        for (const json& c : *caches) m.caches.push_back(read_cache(c, m.sources));
    }
    r.reject_others();
    if (m.processors <= 0) throw invalid_argument("machine: processors must be positive");
    if (m.quantum.rows <= 0 || m.quantum.keys <= 0) throw invalid_argument("machine: quantum must be positive");
    const auto reject_negative = [](const char* field, auto value) {
        if (value < 0) throw invalid_argument(std::string("machine: ") + field + " must not be negative");
    };
    reject_negative("clock_ghz", m.clock_ghz);
    reject_negative("scratchpad_bytes", m.scratchpad_bytes);
    reject_negative("register_bytes", m.register_bytes);
    for (const auto& [type, rate] : m.matrix_tflops) reject_negative("matrix_tflops", rate);
    reject_negative("sustained_share", m.sustained_share);
    reject_negative("exponentials_per_clock", m.exponentials_per_clock);
    reject_negative("vector_operations_per_clock", m.vector_operations_per_clock);
    reject_negative("scratchpad_bytes_per_clock", m.scratchpad_bytes_per_clock);
    reject_negative("last_cache_gb_per_s", m.last_cache_gb_per_s);
    reject_negative("memory_gb_per_s", m.memory_gb_per_s);
    reject_negative("network_gb_per_s", m.network_gb_per_s);
    return m;
}

std::vector<std::string> machine_names() {
    std::vector<std::string> names;
    for (const std::string_view preset : machine_presets()) names.push_back(parse_machine(preset).name);
    return names;
}

machine find_machine(std::string_view name) {
    if (name == "here") return this_machine();
    std::string names = "here";
    for (const std::string_view preset : machine_presets()) {
        machine m = parse_machine(preset);
        if (m.name == name) return m;
        names += ", " + m.name;
    }
    std::ifstream file{std::string(name)};
    if (!file) {
        throw invalid_argument("machine is '" + std::string(name) + "': it must be a JSON file or one of " + names);
    }
    std::stringstream text;
    text << file.rdbuf();
    return parse_machine(text.str());
}

machine this_machine() {
    namespace fs = std::filesystem;
    machine m;
    m.name = "here";
    m.title = "this CPU";
    m.processors = std::max(1U, std::thread::hardware_concurrency());
    const fs::path root = "/sys/devices/system/cpu/cpu0/cache";
    for (int i = 0; fs::exists(root / ("index" + std::to_string(i))); ++i) {
        const fs::path at = root / ("index" + std::to_string(i));
        if (read_word(at / "type") == "Instruction") continue;
        cache_level c;
        c.name = "L" + read_word(at / "level");
        c.bytes = parse_size(read_word(at / "size"), c.name + " size");
        c.ways = parse_size(read_word(at / "ways_of_associativity"), c.name + " ways");
        c.line_bytes = parse_size(read_word(at / "coherency_line_size"), c.name + " line");
        c.shared = read_word(at / "shared_cpu_list").find_first_of(",-") != std::string::npos;
        m.sources[c.name] = at.string();
        m.caches.push_back(c);
    }
    if (m.caches.empty())
        throw invalid_argument("machine: this system does not tell its caches under " + root.string());
    return m;
}

std::vector<machine_figure> figures_of(const machine& m) {
    std::vector<machine_figure> list;
    const auto source_of = [&](const std::string& name) {
        const auto at = m.sources.find(name);
        return at == m.sources.end() ? std::string() : at->second;
    };
    const auto add = [&](const std::string& name, double value) {
        if (value > 0) list.push_back({name, value, source_of(name)});
    };
    add("processors", static_cast<double>(m.processors));
    add("clock_ghz", m.clock_ghz);
    add("scratchpad_bytes", static_cast<double>(m.scratchpad_bytes));
    add("register_bytes", static_cast<double>(m.register_bytes));
    for (const cache_level& c : m.caches) {
        list.push_back({c.name + " bytes" + (c.parts > 1 ? ", " + std::to_string(c.parts) + " parts" : ""),
                        static_cast<double>(c.bytes), source_of(c.name)});
    }
    for (const auto& [type, rate] : m.matrix_tflops)
        list.push_back({"matrix_tflops " + type, rate, source_of("matrix_tflops")});
    if (m.sustained_share < 1) add("sustained_share", m.sustained_share);
    add("exponentials_per_clock", m.exponentials_per_clock);
    add("vector_operations_per_clock", m.vector_operations_per_clock);
    add("scratchpad_bytes_per_clock", m.scratchpad_bytes_per_clock);
    add("last_cache_gb_per_s", m.last_cache_gb_per_s);
    add("memory_gb_per_s", m.memory_gb_per_s);
    add("network_gb_per_s", m.network_gb_per_s);
    return list;
}

std::string machine_text(const machine& m) {
    std::vector<std::vector<std::string>> rows{{"figure", "value"}};
    const std::vector<machine_figure> figures = figures_of(m);
    for (const machine_figure& f : figures) {
        std::ostringstream value;
        value << f.value;
        const bool whole = f.value == std::floor(f.value) && f.value < 0x1p63;
        rows.push_back({f.name, whole ? grouped(static_cast<index_t>(f.value)) : value.str()});
    }
    // The source follows flush left.
    std::stringstream lines(table(rows));
    std::string text = m.title + " (" + m.name + ")\n\n";
    std::string line;
    std::getline(lines, line);
    text += line + "  source\n";
    for (const machine_figure& f : figures) {
        std::getline(lines, line);
        text += line + (f.source.empty() ? "" : "  " + f.source) + '\n';
    }
    return text;
}

std::string machine_json(const machine& m) {
    nlohmann::ordered_json j{{"name", m.name}, {"title", m.title}};
    for (const machine_figure& f : figures_of(m)) {
        nlohmann::ordered_json one{{"figure", f.name}, {"value", f.value}};
        if (!f.source.empty()) one["source"] = f.source;
        j["figures"].push_back(one);
    }
    return j.dump(2) + '\n';
}

} // namespace pantile::inline v0::simulator
