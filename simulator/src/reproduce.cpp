// Figures of FlashAttention (arXiv 2205.14135) whose numbers can be recomputed.

#include <pantile/simulator/reproduce.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <initializer_list>

#include <nlohmann/json.hpp>

#include <pantile/error.hpp>
#include <pantile/simulator/format.hpp>
#include <pantile/simulator/run.hpp>

namespace pantile::inline v0::simulator {

namespace {

reproduced_value value(std::string label, double published, double ours, std::string unit, double last_digit,
                       bool expected_miss = false) {
    return {std::move(label),
            published,
            ours,
            std::move(unit),
            rounds_to(published, ours, last_digit) ? verdict::hit : verdict::miss,
            expected_miss,
            last_digit};
}

counts counted(const char* name, const workload& w, pass which, const tile_plan& plan) {
    experiment e;
    e.what = w;
    e.which = which;
    e.plan = plan;
    return run(find_algorithm(name), e).moved;
}

double gigabytes(const counts& c, dtype type, std::initializer_list<tensor> without = {}) {
    counts rest = c;
    for (const tensor t : without) rest[t] = {};
    const core::transfers b = rest.bytes(type);
    return static_cast<double>(b.reads + b.writes) * 1e-9;
}

/// 16 heads of 64 sequences, N = 1024, d = 64, fp16.
workload gpt2_medium() {
    workload w = workload::square(1024, 64, 16, 64);
    w.type = dtype::fp16;
    return w;
}

reproduction fig2_middle() {
    reproduction r{"fa1-fig2-middle",
                   "FlashAttention, Figure 2 (middle): HBM accesses of the forward pass against block size",
                   "fa1-lazy, B·H = 1024, N = 1024, d = 64, fp16; K, V, Q, O counted, the statistics m and l not: "
                   "exactly (3Tc + 1)·B·H·N·d·2 bytes",
                   {}};
    constexpr std::array<std::pair<index_t, double>, 4> bars{{{64, 6.577}, {128, 3.355}, {256, 1.745}, {512, 0.940}}};
    for (const auto& [block, published] : bars) {
        const counts c = counted("fa1-lazy", gpt2_medium(), pass::forward, {64, block, 1});
        r.values.push_back(value("block " + std::to_string(block), published,
                                 gigabytes(c, dtype::fp16, {tensor::row_max, tensor::row_sum}), "GB", 0.001));
    }
    return r;
}

reproduction fig2_left() {
    reproduction r{
        "fa1-fig2-left",
        "FlashAttention, Figure 2 (left): HBM accesses of forward + backward, 40.3 and 4.4 GB",
        "B·H = 1024, N = 1024, d = 64, fp16. The figure's own accounting is not printed; each line names one. "
        "Additive mask: 2N². Dropout: 2.5N² each way (its mask in bytes)",
        {}};
    const workload w = gpt2_medium();
    const counts standard_forward = counted("standard", w, pass::forward, {});
    const counts standard_backward = counted("standard", w, pass::backward, {});
    const double plain = gigabytes(standard_forward, w.type) + gigabytes(standard_backward, w.type);
    r.values.push_back(value("standard: Algorithms 0 and 3 alone, 11N² + 12Nd", 40.3, plain, "GB", 0.1, true));
    const double pairs = static_cast<double>(standard_forward[tensor::scores].writes) * 2e-9; // N² of all heads, GB
    r.values.push_back(
        value("standard with additive mask and dropout, 18N² + 12Nd", 40.3, plain + 7 * pairs, "GB", 0.1));

    const tile_plan tiles{64, 256, 1}; // Tc = 4
    const double forward =
        gigabytes(counted("fa1-lazy", w, pass::forward, tiles), w.type, {tensor::row_max, tensor::row_sum});
    const counts backward = counted("fa1", w, pass::backward, tiles);
    const double all = gigabytes(backward, w.type, {tensor::row_max, tensor::row_sum});
    r.values.push_back(
        value("fa1-lazy forward 13Nd + fa1 backward as printed 27Nd, Tc = 4", 4.4, forward + all, "GB", 0.1, true));
    counts loop = backward; // Q, O, dO, dQ in and dQ out at each visit, 5Tc·Nd; what is moved once left out
    loop[tensor::dq].writes -= loop[tensor::dq].writes / 5;
    const double visits =
        gigabytes(loop, w.type, {tensor::k, tensor::v, tensor::dk, tensor::dv, tensor::row_max, tensor::row_sum});
    r.values.push_back(value("fa1-lazy forward 13Nd + row tensors of the backward loop 20Nd, Tc = 4", 4.4,
                             forward + visits, "GB", 0.1));
    return r;
}

double mebibytes(const workload& w, std::initializer_list<tensor> tensors, double more_nd) {
    double bytes = 0;
    for (const tensor t : tensors) {
        const auto [places, rows, columns] = shape_of(t, w);
        bytes += static_cast<double>(places * rows * columns * bytes_of(t, w.type));
    }
    bytes += more_nd * static_cast<double>(w.batch * w.q_heads * w.q_len * w.head_dim * bytes_of(w.type));
    return bytes / (1 << 20);
}

reproduction table21() {
    reproduction r{
        "fa1-table21",
        "FlashAttention, Table 21: memory of forward + backward, MiB",
        "B·H = 128, d = 64, fp16. PyTorch: S, P and their gradients, the eight tensors of length N and two more: "
        "4N² + 10Nd. Tiled: the eight and five more (three up to N = 256), m and l in fp32: 13Nd + 2N",
        {}};
    const auto at = [](index_t n) {
        workload w = workload::square(n, 64, 8, 16);
        w.type = dtype::fp16;
        return w;
    };
    constexpr std::array<double, 6> pytorch{36, 104, 336, 1184, 4416, 17024};
    for (std::size_t i = 0; i < pytorch.size(); ++i) {
        const workload w = at(index_t{128} << i);
        const double ours =
            mebibytes(w,
                      {tensor::q, tensor::k, tensor::v, tensor::out, tensor::dout, tensor::dq, tensor::dk, tensor::dv,
                       tensor::scores, tensor::probabilities, tensor::dscores, tensor::dprobabilities},
                      2);
        r.values.push_back(value("PyTorch N " + std::to_string(w.q_len), pytorch[i], ours, "MiB", 1));
    }
    constexpr std::array<double, 10> tiled{22, 44, 104, 209, 418, 836, 1672, 3344, 6688, 13376};
    for (std::size_t i = 0; i < tiled.size(); ++i) {
        const workload w = at(index_t{128} << i);
        const double ours = mebibytes(w,
                                      {tensor::q, tensor::k, tensor::v, tensor::out, tensor::dout, tensor::dq,
                                       tensor::dk, tensor::dv, tensor::row_max, tensor::row_sum},
                                      w.q_len <= 256 ? 3 : 5);
        r.values.push_back(value("tiled N " + std::to_string(w.q_len), tiled[i], ours, "MiB", 1));
    }
    return r;
}

/// Counted traffic of fa1 with `percent` of the blocks visible, relative to all of them.
double sparse_traffic(index_t percent, double dense) {
    workload w = workload::square(4000, 64);
    w.block_rows = w.block_cols = 100; // 40 x 40 blocks: a whole number of them in every ten percent
    w.blocks.assign(1600, 0);
    for (std::size_t i = 0; i < 1600; ++i) {
        w.blocks[i] = static_cast<index_t>(i * 37 % 100) < percent ? 1 : 0; // 37 and 100 have no common factor
    }
    const core::transfers t = counted("fa1", w, pass::forward, {100, 100, 1}).elements();
    return static_cast<double>(t.reads + t.writes) / dense;
}

reproduction fig2_right() {
    reproduction r{
        "fa1-fig2-right",
        "FlashAttention, Figure 2 (right): run time against the share of non-zero blocks",
        "the published times are fitted as affine in the traffic that fa1 counts over a block mask of that share "
        "(N = 4000, blocks of 100); a hit is within 2 % of the largest time",
        {}};
    constexpr std::array<double, 9> ms{27.2, 43.4, 60.3, 81.1, 99.4, 117.0, 135.6, 155.6, 175.6};
    const double dense = sparse_traffic(100, 1.0);
    std::array<double, 9> x{};
    double mean_x = 0;
    double mean_y = 0;
    for (std::size_t i = 0; i < ms.size(); ++i) {
        x[i] = sparse_traffic(static_cast<index_t>(10 * (i + 1)), dense);
        mean_x += x[i] / 9;
        mean_y += ms[i] / 9;
    }
    double xx = 0;
    double xy = 0;
    for (std::size_t i = 0; i < ms.size(); ++i) {
        xx += (x[i] - mean_x) * (x[i] - mean_x);
        xy += (x[i] - mean_x) * (ms[i] - mean_y);
    }
    for (std::size_t i = 0; i < ms.size(); ++i) {
        r.values.push_back(
            value(std::to_string(10 * (i + 1)) + " %", ms[i], mean_y + xy / xx * (x[i] - mean_x), "ms", 0.04 * 175.6));
    }
    return r;
}

std::string short_number(double x) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), x < 10 ? "%.3f" : x < 100 ? "%.2f" : "%.1f", x);
    return text.data();
}

const char* verdict_text(const reproduced_value& v) {
    if (v.is == verdict::hit) return "hit";
    return v.expected_miss ? "miss (shown to rule it out)" : "MISS";
}

} // namespace

bool rounds_to(double published, double ours, double last_digit) {
    return std::abs(published - ours) <= 0.5001 * last_digit;
}

bool reproduction::explained() const {
    return std::all_of(values.begin(), values.end(),
                       [](const reproduced_value& v) { return v.is == verdict::hit || v.expected_miss; });
}

std::vector<std::string> reproduction_names() {
    return {"fa1-fig2-middle", "fa1-fig2-left", "fa1-table21", "fa1-fig2-right"};
}

std::vector<reproduction> reproduce(std::string_view name) {
    using maker = reproduction (*)();
    constexpr std::array<maker, 4> makers{fig2_middle, fig2_left, table21, fig2_right};
    const std::vector<std::string> names = reproduction_names();
    std::vector<reproduction> list;
    std::string known = "all";
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (name == "all" || name == names[i]) list.push_back(makers[i]());
        known += ", " + names[i];
    }
    if (list.empty()) throw invalid_argument("there is no figure '" + std::string(name) + "'; there are " + known);
    return list;
}

std::string reproduction_text(const std::vector<reproduction>& list) {
    std::string text;
    for (const reproduction& r : list) {
        text += (text.empty() ? "" : "\n") + r.title + "\n" + r.accounting + "\n\n";
        std::vector<std::vector<std::string>> rows{{r.name, "published", "ours", "unit", ""}};
        for (const reproduced_value& v : r.values) {
            rows.push_back({v.label, short_number(v.published), short_number(v.ours), v.unit, verdict_text(v)});
        }
        text += table(rows);
    }
    return text;
}

std::string reproduction_csv(const std::vector<reproduction>& list) {
    std::string csv = "figure,label,published,ours,unit,verdict\n";
    for (const reproduction& r : list) {
        for (const reproduced_value& v : r.values) {
            csv += csv_line({r.name, v.label, std::to_string(v.published), std::to_string(v.ours), v.unit,
                             v.is == verdict::hit ? "hit"
                             : v.expected_miss    ? "expected miss"
                                                  : "miss"});
        }
    }
    return csv;
}

std::string reproduction_json(const std::vector<reproduction>& list) {
    nlohmann::ordered_json j = nlohmann::ordered_json::array();
    for (const reproduction& r : list) {
        nlohmann::ordered_json one{{"name", r.name}, {"title", r.title}, {"accounting", r.accounting}};
        for (const reproduced_value& v : r.values) {
            one["values"].push_back({{"label", v.label},
                                     {"published", v.published},
                                     {"ours", v.ours},
                                     {"unit", v.unit},
                                     {"hit", v.is == verdict::hit},
                                     {"expected_miss", v.expected_miss}});
        }
        j.push_back(one);
    }
    return j.dump(2) + '\n';
}

} // namespace pantile::inline v0::simulator
