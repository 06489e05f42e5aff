// pantile-conformance: runs every case folder below a folder and says which fail.
#include <cstdio>
#include <cstring>
#include <exception>
#include <optional>
#include <string>

#include <support/vector_case.hpp>

#include "conformance.hpp"

namespace {

constexpr const char* usage =
    "usage: pantile-conformance DIR [--backend cpu|cuda] [--dtype f64|f32|f16|bf16] [--allow-unsupported]\n"
    "\n"
    "Runs every folder below DIR that holds a case.json (tests/conformance/README.md has the formats). Prints a line "
    "for\n"
    "each case that fails or is not supported, then the counts. --dtype rounds the inputs to another type and compares "
    "by\n"
    "the error rule of docs/numerics.md. Exit status: 0 if some passed and none failed, 1 if one failed or none "
    "passed,\n"
    "2 if the call makes no sense. With --allow-unsupported a folder whose cases are all not supported ends in 0, "
    "too.\n";

struct arguments {
    std::string folder;
    pantile::conformance::settings settings;
    bool allow_unsupported = false;
};

std::optional<pantile::conformance::dtype> parse_dtype(const std::string& name) {
    using pantile::conformance::dtype;
    for (const dtype t : {dtype::fp64, dtype::fp32, dtype::fp16, dtype::bf16}) {
        if (name == pantile::test::name(t)) return t;
    }
    return std::nullopt;
}

/// Fills `a`, or says what is wrong.
std::string parse(int argc, char** argv, arguments& a) {
    for (int n = 1; n < argc; ++n) {
        std::string word = argv[n];
        std::string value;
        const bool is_option = word == "--backend" || word == "--dtype" || word.rfind("--backend=", 0) == 0 ||
                               word.rfind("--dtype=", 0) == 0;
        if (word == "--allow-unsupported") {
            a.allow_unsupported = true;
            continue;
        }
        if (!is_option) {
            if (word.rfind("--", 0) == 0) return "there is no option " + word;
            if (!a.folder.empty()) return "one folder at a time: " + a.folder + " or " + word;
            a.folder = word;
            continue;
        }
        if (const auto equals = word.find('='); equals != std::string::npos) {
            value = word.substr(equals + 1);
            word.resize(equals);
        } else if (n + 1 < argc) {
            value = argv[++n];
        } else {
            return word + " needs a value";
        }
        if (word == "--backend") {
            if (value != "cpu" && value != "cuda") return "--backend is cpu or cuda, not " + value;
            a.settings.backend = value;
        } else {
            a.settings.type = parse_dtype(value);
            if (!a.settings.type) return "--dtype is f64, f32, f16 or bf16, not " + value;
        }
    }
    if (a.folder.empty()) return "which folder?";
    if (!std::filesystem::is_directory(a.folder)) return a.folder + " is not a folder";
    a.settings.run = pantile::conformance::find_backend(a.settings.backend);
    return {};
}

int run(const arguments& a) {
    using namespace pantile::conformance;
    int counts[3] = {0, 0, 0};
    for (const auto& folder : pantile::test::case_folders(a.folder)) {
        const report r = run_case(folder, a.settings);
        ++counts[static_cast<int>(r.result)];
        if (r.result == outcome::passed) continue;
        const std::string name = std::filesystem::relative(folder, a.folder).string();
        std::printf("%s %s: %s\n", r.result == outcome::failed ? "FAILED     " : "unsupported", name.c_str(),
                    r.text.c_str());
    }
    const auto [passed, failed, unsupported] = counts;
    std::printf("%d passed, %d failed, %d unsupported\n", passed, failed, unsupported);
    if (failed > 0) return 1;
    // What compared nothing is no success: a build without the backend, or a folder with a typing mistake.
    if (passed > 0 || (unsupported > 0 && a.allow_unsupported)) return 0;
    if (unsupported > 0) {
        std::fprintf(stderr, "no case passed: none is supported (--allow-unsupported takes that for success)\n");
    } else {
        std::fprintf(stderr, "no case.json below %s\n", a.folder.c_str());
    }
    return 1;
}

} // namespace

int main(int argc, char** argv) {
    try {
        if (argc == 2 && (std::strcmp(argv[1], "--help") == 0 || std::strcmp(argv[1], "-h") == 0)) {
            std::fputs(usage, stdout);
            return 0;
        }
        arguments a;
        if (const std::string wrong = parse(argc, argv, a); !wrong.empty()) {
            std::fprintf(stderr, "pantile-conformance: %s\n\n%s", wrong.c_str(), usage);
            return 2;
        }
        return run(a);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "pantile-conformance: %s\n", e.what());
        return 2;
    }
}
