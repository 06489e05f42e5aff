// exported-symbols NM HEADERS LIBRARY...: do the shared libraries show what the headers (a folder) mark, all of it, and nothing
// else? Every function must be in some library, so all rooms whose headers are installed must be named.
#include "exports.hpp"
#include "symbols.hpp"

#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <sstream>

int main(int argc, char** argv) {
    using namespace pantile::boundaries;
    try {
        if (argc < 4) throw std::runtime_error("usage: exported-symbols NM HEADERS LIBRARY...");
        public_names names;
        for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[2])) {
            if (entry.path().extension() != ".hpp") continue;
            std::stringstream text;
            text << std::ifstream(entry.path()).rdbuf();
            add_public_names(text.str(), names);
        }
        int faults = 0;
        const auto object = [&](const std::string& text) { std::printf("%s\n", text.c_str()), ++faults; };
        std::vector<std::string> all;
        for (int i = 3; i < argc; ++i) {
            std::vector<std::string> symbols;
            for (const symbol& s : exported_symbols(argv[1], argv[i])) symbols.push_back(s.name);
            if (symbols.empty()) object(std::string(argv[i]) + " exports nothing");
            for (const std::string& fault : export_faults(symbols, names)) object(std::string(argv[i]) + ": " + fault);
            all.insert(all.end(), symbols.begin(), symbols.end());
        }
        for (const std::string& name : missing_exports(all, names))
            object(name + " is marked, but no library exports it");
        std::printf("%zu symbols, %d faults\n", all.size(), faults);
        return faults == 0 && !all.empty() ? 0 : 1;
    } catch (const std::exception& e) {
        std::printf("%s\n", e.what());
        return 1;
    }
}
