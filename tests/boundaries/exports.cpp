#include "exports.hpp"

#include <cstdlib>
#include <memory>
#include <regex>

#include <cxxabi.h>

namespace pantile::boundaries {
namespace {

std::string without(std::string text, const std::string& part) {
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part)) text.erase(at, part.size());
    return text;
}

/// "pantile::v0::erased::merge(int)" of "_ZN7pantile2v0…"; the symbol itself if it is no name of C++.
std::string demangled(const std::string& symbol) {
    int status = 0;
    const std::unique_ptr<char, decltype(&std::free)> text(
        abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, &status), &std::free);
    return status == 0 ? text.get() : symbol;
}

/// The name that a function's symbol has in a program: up to its arguments. Those of operator() come after a second "(".
std::string name_of_function(const std::string& symbol) {
    const std::string text = std::regex_replace(symbol, std::regex(R"(\[abi:\w+\])"), "");
    const std::string call = "operator()";
    const std::size_t at = text.find(call);
    const std::size_t end = text.find('(', at == std::string::npos ? 0 : at + call.size());
    return without(text.substr(0, end), "v0::");
}

bool starts_with(const std::string& text, const std::string& prefix) {
    return text.compare(0, prefix.size(), prefix) == 0;
}

} // namespace

void add_public_names(const std::string& header, public_names& to) {
    // What opens or closes a namespace, and what is marked; comments are taken out first.
    static const std::regex comment(R"(//[^\n]*|/\*[^]*?\*/|#[^\n]*)");
    static const std::regex word(
        R"(namespace\s+([\w:\s]+?)\s*\{|(class|struct)\s+PANTILE_API\s+(\w+)|PANTILE_API\s+([^;{(]*?)(operator\S+|\w+)\s*\(|[{}])");
    const std::string code = std::regex_replace(header, comment, "");
    std::vector<std::string> opened; // a prefix for each brace that is open: empty for one of no namespace
    for (std::sregex_iterator it(code.begin(), code.end(), word), end; it != end; ++it) {
        const std::smatch& found = *it;
        std::string prefix;
        for (const std::string& part : opened) prefix += part;
        if (found[1].matched) {
            // "pantile::inline v0::simulator" -> "pantile::simulator::"
            opened.push_back(
                without(std::regex_replace(found[1].str(), std::regex(R"(inline\s+v0)"), "v0") + "::", "v0::"));
        } else if (found[3].matched) {
            to.classes.insert(prefix + found[3].str());
        } else if (found[5].matched) {
            to.functions.insert(prefix + found[5].str());
        } else if (found[0].str() == "{") {
            opened.emplace_back();
        } else if (!opened.empty()) {
            opened.pop_back();
        }
    }
}

std::vector<std::string> export_faults(const std::vector<std::string>& symbols, const public_names& names) {
    std::vector<std::string> faults;
    for (const std::string& symbol : symbols) {
        if (starts_with(symbol, "pantile_")) continue;
        const std::string text = demangled(symbol);
        std::string name = name_of_function(text);
        for (const char* kind : {"vtable for ", "typeinfo for ", "typeinfo name for "}) {
            if (starts_with(text, kind)) name = without(text.substr(std::string(kind).size()), "v0::") + "::";
        }
        bool is_public = names.functions.count(name) > 0;
        for (const std::string& owner : names.classes) is_public = is_public || starts_with(name, owner + "::");
        if (!is_public) faults.push_back(text + " is exported, but no header marks it with PANTILE_API");
    }
    return faults;
}

std::vector<std::string> missing_exports(const std::vector<std::string>& symbols, const public_names& names) {
    std::set<std::string> there;
    for (const std::string& symbol : symbols) there.insert(name_of_function(demangled(symbol)));
    std::vector<std::string> missing;
    for (const std::string& name : names.functions) {
        if (there.count(name) == 0) missing.push_back(name);
    }
    return missing;
}

} // namespace pantile::boundaries
