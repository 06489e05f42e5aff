#include <pantile/simulator/trace.hpp>

#include <algorithm>

#include <nlohmann/json.hpp>

#include <pantile/error.hpp>

namespace pantile::inline v0::simulator {

namespace {

class recorder : public observer {
  public:
    recorder(const experiment& e, const machine& m, int lanes, std::size_t most)
        : type_(e.what.type), most_(most), free_at_(static_cast<std::size_t>(lanes)) {
        const auto matrix = m.matrix_tflops.find(std::string(name(type_)));
        const double far = m.last_cache_gb_per_s > 0 ? m.last_cache_gb_per_s : m.memory_gb_per_s;
        if (m.clock_ghz <= 0 || matrix == m.matrix_tflops.end() || far <= 0) {
            throw invalid_argument("machine " + m.name + " gives no clock, bandwidth or matrix rate for " +
                                   std::string(name(type_)) + ": there is no timeline");
        }
        const auto share = static_cast<double>(m.processors);
        bytes_per_second_ = far * 1e9 / share;
        flops_per_second_ = matrix->second * 1e12 * m.sustained_share / share;
        exponentials_per_second_ = m.exponentials_per_clock * m.clock_ghz * 1e9;
        vector_per_second_ = m.vector_operations_per_clock * m.clock_ghz * 1e9;
    }

    void begin_block(index_t place, index_t tile) override {
        lane_ = static_cast<int>(std::min_element(free_at_.begin(), free_at_.end()) - free_at_.begin());
        now_ = free_at_[static_cast<std::size_t>(lane_)];
        out.blocks.push_back({lane_, place, tile, now_, 0});
    }
    void moved(const transfer& t) override {
        const index_t bytes = t.elements() * bytes_of(t.what, type_);
        add((t.write ? "store " : "load ") + std::string(name(t.what)), static_cast<double>(bytes) / bytes_per_second_,
            bytes, 0);
    }
    void worked(const work& w) override {
        double seconds = static_cast<double>(w.matrix_flops) / flops_per_second_;
        if (exponentials_per_second_ > 0) seconds += static_cast<double>(w.exponentials) / exponentials_per_second_;
        if (vector_per_second_ > 0) seconds += static_cast<double>(w.vector_flops) / vector_per_second_;
        if (seconds > 0) add(w.matrix_flops > 0 ? "product" : "softmax", seconds, 0, w.matrix_flops);
    }
    void holds(index_t bytes) override {
        if (room()) out.footprint.push_back({lane_, now_, bytes});
    }
    void end_block() override {
        if (out.blocks.empty()) return;
        out.blocks.back().length = now_ - out.blocks.back().begin;
        free_at_[static_cast<std::size_t>(lane_)] = now_;
        out.seconds = std::max(out.seconds, now_);
    }

    timeline out;

  private:
    [[nodiscard]] bool room() {
        out.complete = out.complete && out.slices.size() < most_;
        return out.complete;
    }
    void add(std::string what, double seconds, index_t bytes, index_t flops) {
        // Arithmetic on one tile is one slice, however many steps count it.
        if (bytes == 0 && flops == 0 && !out.slices.empty()) {
            timeline_slice& last = out.slices.back();
            if (last.lane == lane_ && last.name == what && last.begin + last.length >= now_) {
                last.length += seconds;
                now_ += seconds;
                return;
            }
        }
        if (room()) out.slices.push_back({std::move(what), lane_, now_, seconds, bytes, flops});
        now_ += seconds;
    }

    dtype type_;
    std::size_t most_;
    double bytes_per_second_ = 0, flops_per_second_ = 0, exponentials_per_second_ = 0, vector_per_second_ = 0;
    std::vector<double> free_at_;
    int lane_ = 0;
    double now_ = 0;
};

} // namespace

timeline trace(const algorithm& a, const experiment& e, const machine& m, int lanes, std::size_t most) {
    if (lanes <= 0) throw invalid_argument("lanes is " + std::to_string(lanes) + ": it must be positive");
    recorder r(e, m, lanes, most);
    static_cast<void>(run(a, e, &r));
    return std::move(r.out);
}

std::string timeline_json(const timeline& t) {
    using json = nlohmann::ordered_json;
    json events = json::array();
    const auto micro = [](double seconds) { return seconds * 1e6; };
    int lanes = 0;
    for (const timeline_block& b : t.blocks) lanes = std::max(lanes, b.lane + 1);
    for (int lane = 0; lane < lanes; ++lane) {
        events.push_back({{"ph", "M"},
                          {"pid", 1},
                          {"tid", lane},
                          {"name", "thread_name"},
                          {"args", {{"name", "processor " + std::to_string(lane)}}}});
    }
    for (const timeline_block& b : t.blocks) {
        events.push_back({{"ph", "X"},
                          {"pid", 1},
                          {"tid", b.lane},
                          {"ts", micro(b.begin)},
                          {"dur", micro(b.length)},
                          {"name", "head " + std::to_string(b.place) + " tile " + std::to_string(b.tile)},
                          {"cat", "block"}});
    }
    for (const timeline_slice& s : t.slices) {
        events.push_back({{"ph", "X"},
                          {"pid", 1},
                          {"tid", s.lane},
                          {"ts", micro(s.begin)},
                          {"dur", micro(s.length)},
                          {"name", s.name},
                          {"cat", s.bytes > 0 ? "transfer" : "arithmetic"},
                          {"args", {{"bytes", s.bytes}, {"matrix_flops", s.matrix_flops}}}});
    }
    for (const timeline_sample& s : t.footprint) {
        events.push_back({{"ph", "C"},
                          {"pid", 1},
                          {"tid", s.lane},
                          {"ts", micro(s.at)},
                          {"name", "near memory, processor " + std::to_string(s.lane)},
                          {"args", {{"bytes", s.held_bytes}}}});
    }
    json root;
    root["displayTimeUnit"] = "ns";
    root["traceEvents"] = std::move(events);
    return root.dump() + '\n';
}

std::string timeline_summary_json(const timeline& t, std::string_view file, int lanes) {
    const nlohmann::ordered_json j{
        {"file", file},           {"lanes", lanes},      {"blocks", t.blocks.size()}, {"slices", t.slices.size()},
        {"complete", t.complete}, {"seconds", t.seconds}};
    return j.dump(2) + '\n';
}

} // namespace pantile::inline v0::simulator
