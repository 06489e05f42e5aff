#include <pantile/simulator/report.hpp>

#include <pantile/simulator/format.hpp>
#include <pantile/simulator/l2.hpp>
#include <pantile/simulator/machine.hpp>
#include <pantile/simulator/plot.hpp>
#include <pantile/simulator/reproduce.hpp>
#include <pantile/simulator/sweep.hpp>

#include "markup.hpp"
#include "report_page.hpp"

namespace pantile::inline v0::simulator {

namespace {

/// Learns tile numbers from the transfers of Q and K, and a visit from the first product on a new pair.
class visit_recorder : public observer {
  public:
    explicit visit_recorder(const experiment& e) : e_(e) {}
    void moved(const transfer& t) override {
        bytes_ += t.elements() * bytes_of(t.what, e_.what.type);
        if (t.what == tensor::q) row_ = t.rows.begin / e_.plan.row_tile;
        if (t.what == tensor::k) key_ = t.rows.begin / e_.plan.key_tile;
    }
    void worked(const work& w) override {
        if (w.matrix_flops == 0) return;
        if (!visits.empty() && visits.back().row_tile == row_ && visits.back().key_tile == key_) {
            visits.back().moved_bytes = bytes_;
            return;
        }
        visits.push_back({row_, key_, bytes_});
    }
    std::vector<tile_visit> visits;

  private:
    const experiment& e_;
    index_t row_ = 0;
    index_t key_ = 0;
    index_t bytes_ = 0;
};

std::string section(const std::string& heading, const std::string& words, const std::string& body) {
    return "<section>\n<h2>" + heading + "</h2>\n<p>" + words + "</p>\n" + body + "</section>\n";
}

std::string pre(const std::string& text) { return "<pre>" + escaped(text) + "</pre>\n"; }

std::string laws(index_t head_dim) {
    sweep_request r;
    for (const char* c : {"standard", "fa1:paper", "fa1-lazy", "fa2", "small-cache"})
        r.contenders.push_back(parse_contender(c));
    r.lengths = {16384, 32768, 65536};
    r.near = parse_range("1K:1M:41", "near memory");
    r.head_dim = head_dim;
    const auto points = sweep(r);
    return sweep_svg(r, points) + pre(fit_text(fit(r, points), crossovers(r)));
}

std::string shared_cache() {
    const machine h100 = find_machine("h100");
    plot p;
    p.title = "32K query rows, d = 128, bf16, 132 blocks at once, 50 MiB L2";
    p.x_label = "K and V, MiB";
    p.y_label = "times that K and V are read from memory";
    p.log_y = false;
    for (const block_order order : {block_order::cyclic, block_order::sawtooth}) {
        for (const bool halves : {false, true}) {
            plot_series s;
            s.label = std::string(name(order)) + (halves ? ", halves" : "");
            s.dashed = halves;
            for (index_t mebibytes = 8; mebibytes <= 256; mebibytes += mebibytes < 64 ? 4 : 16) {
                l2_request r;
                r.what = workload::square(mebibytes << 11, 128); // 512 bytes a key
                r.what.q_len = 32768;
                r.plan = {128, 256, 1};
                r.blocks_at_once = h100.processors;
                r.bytes = h100.last_cache()->bytes;
                r.order = order;
                r.halves = halves;
                const l2_result x = simulate_l2(r);
                s.points.emplace_back(static_cast<double>(mebibytes),
                                      static_cast<double>(x.memory_bytes) / static_cast<double>(x.unique_bytes));
            }
            p.series.push_back(s);
        }
    }
    return svg(p);
}

/// One animated walk as an object of the page's script.
std::string walk_data(const char* algorithm_name, const tile_plan& plan) {
    experiment e;
    e.what = workload::square(1024, 64);
    e.what.mask = causal();
    e.plan = plan;
    std::string visits;
    for (const tile_visit& v : visits_of(find_algorithm(algorithm_name), e)) {
        visits += (visits.empty() ? "[" : ",[") + std::to_string(v.row_tile) + ',' + std::to_string(v.key_tile) + ',' +
                  std::to_string(v.moved_bytes) + ']';
    }
    return "{name:\"" + std::string(algorithm_name) + "\",rows:" + std::to_string(1024 / plan.row_tile) +
           ",keys:" + std::to_string(1024 / plan.key_tile) + ",visits:[" + visits + "]}";
}

} // namespace

std::vector<tile_visit> visits_of(const algorithm& a, const experiment& e) {
    visit_recorder recorder(e);
    static_cast<void>(run(a, e, &recorder));
    return std::move(recorder.visits);
}

std::string report_html() {
    std::string page(report_head);
    page += section(
        "Two orders of the same tiles",
        "Causal attention, N = 1024, d = 64, bf16, tiles of 64 x 64. fa2 keeps a row tile and lets the keys pass; "
        "fa1 keeps a key tile and lets rows, outputs and statistics pass. A tile lights up when its scores are "
        "computed; dark tiles are hidden by the mask and never visited.",
        std::string(report_animation));
    page += section("The laws, d = 64",
                    "Elements moved between near and far memory against near memory M. Below each plot: "
                    "slopes and constants of the fit, and where one algorithm overtakes another.",
                    laws(64));
    page += section("The laws, d = 128", "The same for a head dim of 128.", laws(128));
    page += section("Published figures", "Figures of FlashAttention (arXiv 2205.14135) beside what is counted here.",
                    pre(reproduction_text(reproduce("all"))));
    page += section(
        "A cache behind the blocks",
        "On a GPU the papers' far memory is the L2. What reaches main memory depends on whether K and V fit, on "
        "the order of the blocks, and on whether the cache's halves hold copies.",
        shared_cache());
    page += "<script>\nconst walks=[" + walk_data("fa2", {64, 64, 1}) + ',' + walk_data("fa1", {64, 64, 1}) + "];\n";
    page += std::string(report_script) + "</script>\n</body>\n</html>\n";
    return page;
}

} // namespace pantile::inline v0::simulator
