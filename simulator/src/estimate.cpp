#include <pantile/simulator/estimate.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include <pantile/core/traffic.hpp>
#include <pantile/error.hpp>
#include <pantile/simulator/format.hpp>

#include "run_object.hpp"

namespace pantile::inline v0::simulator {

namespace {

/// Blocks that one processor holds at once, by scratchpad and registers.
index_t blocks_of_a_processor(const machine& m, const run_result& r) {
    index_t blocks = 16;
    if (m.scratchpad_bytes > 0 && r.peak_bytes > 0) blocks = std::min(blocks, m.scratchpad_bytes / r.peak_bytes);
    if (m.register_bytes > 0 && r.peak_register_bytes > 0) {
        blocks = std::min(blocks, m.register_bytes / r.peak_register_bytes);
    }
    return std::max<index_t>(1, blocks);
}

std::string text_of(const char* format, double x) {
    std::array<char, 48> text{};
    std::snprintf(text.data(), text.size(), format, x);
    return text.data();
}

} // namespace

double compulsory_bytes(const workload& w, pass which) {
    std::vector<tensor> moved{tensor::q, tensor::k, tensor::v, tensor::out, tensor::lse};
    if (which == pass::backward) {
        for (const tensor t : {tensor::dout, tensor::dq, tensor::dk, tensor::dv}) moved.push_back(t);
    }
    double bytes = 0;
    for (const tensor t : moved) {
        const auto [places, rows, columns] = shape_of(t, w);
        bytes += static_cast<double>(places) * static_cast<double>(rows) * static_cast<double>(columns) *
                 static_cast<double>(bytes_of(t, w.type));
    }
    return bytes;
}

time_estimate estimate(const machine& m, const experiment& e, const run_result& r, double memory_bytes) {
    const std::string type(name(e.what.type));
    const auto matrix = m.matrix_tflops.find(type);
    if (m.clock_ghz <= 0 || matrix == m.matrix_tflops.end()) {
        throw invalid_argument("machine " + m.name + " gives no clock or no matrix rate for " + type +
                               ": there is no time estimate");
    }
    time_estimate t;
    // Devices share the work evenly: each has these processors, caches, memory and link.
    const auto devices = static_cast<double>(e.what.devices);
    t.blocks_at_once = e.what.devices * m.processors * blocks_of_a_processor(m, r);
    const double waves = std::ceil(static_cast<double>(r.blocks) / static_cast<double>(t.blocks_at_once));
    t.wave_efficiency = waves > 0 ? static_cast<double>(r.blocks) / (waves * static_cast<double>(t.blocks_at_once)) : 1;

    // Rates of the whole machine; what a processor does itself also waits for the last, partly filled wave.
    const double clocks = devices * static_cast<double>(m.processors) * m.clock_ghz * 1e9 * t.wave_efficiency;
    const core::transfers moved = r.moved.bytes(e.what.type);
    const auto add = [&](const char* resource, double amount, double rate) {
        if (rate > 0) t.resources.push_back({resource, amount / rate});
    };
    const auto time_of = [&](const char* resource) {
        for (const resource_time& x : t.resources) {
            if (x.name == resource) return x.seconds;
        }
        return 0.0;
    };
    add("matrix", static_cast<double>(r.done.matrix_flops),
        devices * matrix->second * m.sustained_share * 1e12 * t.wave_efficiency);
    add("exponentials", static_cast<double>(r.done.exponentials), m.exponentials_per_clock * clocks);
    add("vector", static_cast<double>(r.done.vector_flops), m.vector_operations_per_clock * clocks);
    add("scratchpad", static_cast<double>(r.done.near_bytes), m.scratchpad_bytes_per_clock * clocks);
    add("last cache", static_cast<double>(moved.reads) + static_cast<double>(moved.writes),
        devices * m.last_cache_gb_per_s * 1e9);
    add("memory", memory_bytes, devices * m.memory_gb_per_s * 1e9);
    const index_t sent = r.sent.bytes(e.what.type).writes;
    if (sent > 0) add("network", static_cast<double>(sent), devices * m.network_gb_per_s * 1e9);
    const double arithmetic = time_of("matrix") + time_of("exponentials") + time_of("vector");
    std::stable_sort(t.resources.begin(), t.resources.end(),
                     [](const resource_time& a, const resource_time& b) { return a.seconds > b.seconds; });
    t.overlapped = t.resources.front().seconds;
    t.serial = std::max(t.overlapped, arithmetic);
    return t;
}

std::string estimate_text(const machine& m, const experiment& e, const run_result& r, const time_estimate& t) {
    std::vector<std::vector<std::string>> rows{{"resource", "busy", "share"}};
    for (const resource_time& x : t.resources) {
        rows.push_back(
            {x.name, text_of("%.1f us", x.seconds * 1e6), text_of("%.0f %%", 100 * x.seconds / t.overlapped)});
    }
    // FLOP as papers count them: visible pairs only.
    const double pairs = static_cast<double>(core::visible_pairs(e.what.problem()));
    const double per_pair = e.which == pass::forward
                                ? 2.0 * static_cast<double>(e.what.head_dim + e.what.value_dim)
                                : 2.0 * static_cast<double>(3 * e.what.head_dim + 2 * e.what.value_dim);
    const double flops = pairs * per_pair;
    std::string text = table(rows) + '\n';
    text += "on " + (e.what.devices > 1 ? std::to_string(e.what.devices) + " x " : "") + m.title + ": bound by " +
            t.binding() + "; between " + text_of("%.1f us", t.overlapped * 1e6) + " (all overlapped, " +
            text_of("%.0f", flops / t.overlapped * 1e-12) + " TFLOP/s) and " + text_of("%.1f us", t.serial * 1e6) +
            " (arithmetic in turn, " + text_of("%.0f", flops / t.serial * 1e-12) + " TFLOP/s)\n" + grouped(r.blocks) +
            " blocks, " + grouped(t.blocks_at_once) + " at once: waves are " +
            text_of("%.0f %%", 100 * t.wave_efficiency) + " full\n";
    return text;
}

std::string run_json(const algorithm& a, const experiment& e, const run_result& r, const machine& m,
                     const time_estimate& t) {
    nlohmann::ordered_json j = run_object(a, e, r);
    nlohmann::ordered_json resources;
    for (const resource_time& x : t.resources) resources[x.name] = x.seconds;
    j["estimate"] = {{"machine", m.name},
                     {"devices", e.what.devices},
                     {"bound_by", t.binding()},
                     {"seconds_overlapped", t.overlapped},
                     {"seconds_serial", t.serial},
                     {"busy_seconds", resources},
                     {"blocks_at_once", t.blocks_at_once},
                     {"wave_efficiency", t.wave_efficiency}};
    return j.dump(2) + '\n';
}

} // namespace pantile::inline v0::simulator
