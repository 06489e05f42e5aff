#include <algorithm>
#include <fstream>
#include <memory>
#include <sstream>

#include <pantile/error.hpp>

#include "call_options.hpp"
#include "output.hpp"
#include "verbs.hpp"

namespace pantile::inline v0::simulator::tool {

namespace {

struct compare_options {
    call_options call;
    std::string ncu;
    std::string callgrind;
    std::string kernel;
    std::string launch;
    double tolerance = 0.005;
    index_t scratch = 0;
    index_t lanes = 8;
    output out;
};

std::string read_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) throw invalid_argument("cannot read '" + path + "'");
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
}

std::vector<compared_value> compare(const compare_options& o, const algorithm& a, const experiment& e) {
    if (!o.ncu.empty()) {
        std::vector<ncu_kernel> launches = parse_ncu(read_file(o.ncu));
        if (!o.launch.empty()) {
            const auto other = [&](const ncu_kernel& k) { return k.id != o.launch; };
            launches.erase(std::remove_if(launches.begin(), launches.end(), other), launches.end());
            if (launches.empty()) throw invalid_argument("ncu: there is no launch " + o.launch);
        }
        return compare_ncu(launches, o.kernel, a, e);
    }
    const callgrind_counts counted = parse_callgrind(read_file(o.callgrind), o.kernel);
    if (o.scratch == 0) return compare_callgrind(counted, a, e, o.tolerance);
    return compare_callgrind(counted, e, panel_kernel_of(e.what, e.plan, o.scratch, o.lanes), o.tolerance);
}

} // namespace

void add_compare(CLI::App& app, action& chosen) {
    const auto o = std::make_shared<compare_options>();
    CLI::App* verb =
        app.add_subcommand("compare", "Counters of a real run (ncu, callgrind) beside what is counted here");
    verb->add_option("--ncu", o->ncu, "a CSV of Nsight Compute");
    verb->add_option(
        "--kernel", o->kernel,
        "part of the names of the kernels (--ncu) or functions (--callgrind) that count, or 'this|that'  [all]");
    verb->add_option("--launch", o->launch, "with --ncu: only the launch with this ID");
    verb->add_option("--callgrind", o->callgrind, "an output file of callgrind, run with --cache-sim=yes");
    verb->add_option("--tolerance", o->tolerance, "with --callgrind: relative")->capture_default_str();
    verb->add_option(
        "--scratch", o->scratch,
        "with --callgrind: bytes of a thread's scratch (explain's workspace_bytes); the lines are then those "
        "of pantile's own CPU kernel, scratch included");
    verb->add_option("--lanes", o->lanes, "with --scratch: fp32 numbers in a vector of the kernel")
        ->capture_default_str();
    o->call.add_algorithm(*verb);
    o->call.add_sizes(*verb);
    verb->add_option("--tiles", o->call.tiles, "ROWSxKEYS of the kernel")->required();
    o->out.add(*verb);
    verb->footer(
        "Exit code 4 if a value is outside its tolerance.\n"
        "Examples:\n"
        "  ncu --csv --metrics l1tex__m_xbar2l1tex_read_bytes.sum,dram__bytes_read.sum PROGRAM > report.csv\n"
        "  pantile-sim compare --ncu report.csv --kernel flash -n 4096 -d 64 --heads 16 --tiles 128x128\n"
        "  pantile-sim compare --callgrind callgrind.out --kernel 'cpu::product|cpu::transpose' -n 2048 -d 64 \\\n"
        "                      --dtype fp32 --tiles 256x64 --scratch 138688");
    verb->callback([o, &chosen] {
        chosen = [o] {
            if (o->ncu.empty() == o->callgrind.empty()) throw invalid_argument("give one of --ncu and --callgrind");
            const algorithm& a = find_algorithm(o->call.algorithm);
            const experiment e = o->call.make(a);
            const std::vector<compared_value> values = compare(*o, a, e);
            o->out.print([&] { return compare_text(values); }, [&] { return compare_json(values); },
                         [&] { return compare_csv(values); });
            const bool within =
                std::all_of(values.begin(), values.end(), [](const compared_value& v) { return v.within(); });
            return static_cast<int>(within ? done : mismatch);
        };
    });
}

} // namespace pantile::inline v0::simulator::tool
