#include "page_model.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace pantile::fuzz {
namespace {

__extension__ typedef __int128 wide; // NOLINT(modernize-use-using): only a typedef takes __extension__

constexpr wide limit = wide{1} << 48;

std::string text_of(index_t n) { return std::to_string(n); }

std::string axis_of(const view& v, int axis) {
    static constexpr const char* names[] = {"batch", "heads", "length"};
    const std::string name = v.name;
    const bool keys_or_queries = name == "q" || name == "k" || name == "dq" || name == "dk";
    return name + "." + (axis < 3 ? names[axis] : keys_or_queries ? "head_dim" : "value_dim");
}

/// An axis of a view and how long it is.
struct length_of {
    const view& v;
    int axis;
    [[nodiscard]] index_t value() const { return v.extent[static_cast<std::size_t>(axis)]; }
    [[nodiscard]] std::string text() const { return axis_of(v, axis) + " is " + text_of(value()); }
};

void require_same(std::vector<fault>& found, length_of a, length_of b) {
    if (a.value() != b.value()) found.push_back({a.text() + ", " + b.text(), "must be equal"});
}

void judge_view(std::vector<fault>& found, const view& v) {
    for (int i = 0; i < v.rank; ++i) {
        const index_t extent = v.extent[static_cast<std::size_t>(i)];
        const index_t stride = v.stride[static_cast<std::size_t>(i)];
        if (extent < 0 || extent > limit) found.push_back({length_of{v, i}.text(), "between 0 and 2^48"});
        if (stride < -limit || stride > limit)
            found.push_back({"the stride of " + axis_of(v, i) + " is " + text_of(stride), "within ±2^48"});
    }
    if (v.null && !v.empty()) found.push_back({std::string(v.name) + ".data is null", "not empty"});
}

/// `dims` of a tensor that has as many rows as q.
void judge_rows(std::vector<fault>& found, const view& v, const view& q, const view* dims) {
    judge_view(found, v);
    for (int i = 0; i < 3; ++i) require_same(found, {v, i}, {q, i});
    if (v.rank == 4) require_same(found, {v, 3}, {*dims, 3});
}

/// More than the precision computed in holds, times log2(e); or no number.
bool is_too_large(double x, number type) {
    const long double largest = type == number::f64 ? static_cast<long double>(std::numeric_limits<double>::max())
                                                    : static_cast<long double>(std::numeric_limits<float>::max());
    return !std::isfinite(x) || std::abs(static_cast<long double>(x)) * 1.442695040888963407L > largest;
}

void judge_heads(std::vector<fault>& found, const std::string& name, const heads& h, const page_call& c) {
    const auto refuse = [&](bool wrong, const std::string& subject, const char* reason) {
        if (wrong) found.push_back({name + subject, reason});
    };
    const bool of_batches = &h == &c.slopes;
    const auto count = static_cast<index_t>(h.numbers.size());
    if (count == 0) return;
    const view& q = c.views[0];
    const bool fits = count == q.extent[1] || (of_batches && wide{count} == wide{q.extent[0]} * q.extent[1]);
    refuse(h.device, " is device memory", "must lie together");
    refuse(h.null, " has " + text_of(count) + " entries", "data is null");
    refuse(!fits, " has " + text_of(count) + " entries", "one a query head");
    for (std::size_t i = 0; i < h.numbers.size(); ++i) {
        const bool no_sink = !of_batches && h[i] == -HUGE_VAL;
        refuse(is_too_large(h[i], c.type) && !no_sink, "[" + std::to_string(i) + "] is ", "must be finite");
    }
}

void judge_options(std::vector<fault>& found, const page_call& c, const view& q, const view& k) {
    const options& o = c.o;
    const auto refuse = [&](bool wrong, const std::string& subject, const char* reason) {
        if (wrong) found.push_back({"options." + subject, reason});
    };
    refuse(o.mask.left < 0, "mask.left is " + text_of(o.mask.left), "at least 0");
    refuse(o.mask.right < 0, "mask.right is " + text_of(o.mask.right), "at least 0");
    refuse(o.mask.offset < -limit || o.mask.offset > limit, "mask.offset is " + text_of(o.mask.offset), "within ±2^48");
    const int align = static_cast<int>(o.mask.align);
    refuse(align > 2, "mask.align is " + text_of(align), "alignment::bottom_right");
    refuse(is_too_large(o.scale.value_or(0.0), c.type), "scale is ", "finite");
    refuse(is_too_large(o.softcap, c.type) || o.softcap < 0.0, "softcap is ", "at least 0");
    judge_heads(found, "options.slopes", c.slopes, c);
    judge_heads(found, "options.sinks", c.sinks, c);
    refuse(o.threads < 0, "threads is " + text_of(o.threads), "at least 0");
    const tile_plan plan = o.plan.value_or(tile_plan{0, 0, 0});
    refuse(plan.row_tile < 0 || plan.key_tile < 0 || plan.key_splits < 0,
           "plan is {" + text_of(plan.row_tile) + ", " + text_of(plan.key_tile) + ", " + text_of(plan.key_splits) + "}",
           "at least 0");
    const int set = static_cast<int>(o.isa);
    refuse(set > static_cast<int>(isa::amx), "isa is " + text_of(set), "isa::automatic");
    const auto count = static_cast<index_t>(c.key_lengths.size());
    if (count == 0) return;
    refuse(count != q.extent[0], "key_lengths has " + text_of(count) + " entries", "one a batch");
    for (index_t b = 0; b < count && count == q.extent[0]; ++b) {
        const index_t n = c.key_lengths[static_cast<std::size_t>(b)];
        refuse(n < 0 || n > k.extent[2], "key_lengths[" + text_of(b) + "] is " + text_of(n), "between 0 and k.length");
    }
}

void judge_inputs(std::vector<fault>& found, const page_call& c) {
    const view &q = c.views[0], &k = c.views[1], &v = c.views[2];
    for (const view* x : {&q, &k, &v}) judge_view(found, *x);
    require_same(found, {k, 0}, {q, 0});
    require_same(found, {v, 0}, {q, 0});
    require_same(found, {k, 3}, {q, 3});
    require_same(found, {v, 1}, {k, 1});
    require_same(found, {v, 2}, {k, 2});
    const auto judge_size = [&](const char* name, const std::array<index_t, 4>& e) {
        long double elements = 1; // exact far beyond the limit, which is a power of two
        for (const index_t n : e) elements *= static_cast<long double>(std::max<index_t>(n, 1));
        if (elements > 0x1p58L) found.push_back({std::string(name) + " is (", "at most 2^58 elements"});
    };
    for (const view* x : {&q, &k, &v}) judge_size(x->name, x->extent);
    judge_size("the shape of out", {q.extent[0], q.extent[1], q.extent[2], v.extent[3]});
    const wide heads = q.extent[1], kv_heads = k.extent[1];
    if (kv_heads == 0 ? heads != 0 : heads % kv_heads != 0)
        found.push_back({length_of{q, 1}.text() + ", " + length_of{k, 1}.text(), "must be a multiple"});
    judge_options(found, c, q, k);
}

/// Gradients of slopes or sinks that are wanted.
void judge_gradients(std::vector<fault>& found, const view& v, const page_call& c) {
    const std::string name = v.name;
    const heads& h = name == "dslopes" ? c.slopes : c.sinks;
    const view& q = c.views[0];
    const auto refuse = [&](bool wrong, const std::string& subject, const char* reason) {
        if (wrong) found.push_back({name + subject, reason});
    };
    const auto given = static_cast<index_t>(h.numbers.size());
    refuse(given == 0, " is wanted", "is not given");
    refuse(given > 0 && given != q.extent[1], " is wanted", "summed over batches");
    refuse(v.device, " is device memory", "must lie together");
    refuse(v.extent[2] != q.extent[1], " has " + text_of(v.extent[2]) + " entries", "one a query head");
    refuse(v.null && v.extent[2] > 0, ".data is null", "has entries");
}

void judge_shapes(std::vector<fault>& found, const page_call& c) {
    const auto& v = c.views;
    switch (c.what) {
    case function::merge:
        for (const view& x : v) judge_rows(found, x, v[0], v.data());
        break;
    case function::finish:
        for (const view& x : v) judge_rows(found, x, v[0], v.data());
        break;
    case function::backward:
        for (std::size_t n = 3; n < 6; ++n) judge_rows(found, v[n], v[0], &v[2]);
        for (std::size_t n = 6; n < 9; ++n) {
            judge_view(found, v[n]);
            for (int i = 0; i < 4; ++i) require_same(found, {v[n], i}, {v[n - 6], i});
        }
        for (std::size_t n = c.tensors; n < v.size(); ++n) judge_gradients(found, v[n], c);
        break;
    default:
        for (std::size_t n = 3; n < v.size(); ++n) judge_rows(found, v[n], v[0], &v[2]);
    }
}

/// A piece of memory: its bytes [begin, end), and which of them it owns, if that is known.
struct region {
    std::string name;
    wide begin = 0, end = 0;
    index_t element_bytes = 1;
    std::optional<std::vector<index_t>> places;
};

region region_of(const view& v) {
    region r{v.name, v.at, wide{v.at} + v.element_bytes, v.element_bytes, places_of(v)};
    for (int i = 0; i < v.rank; ++i) {
        const wide reach = wide{v.extent[static_cast<std::size_t>(i)] - 1} * v.stride[static_cast<std::size_t>(i)];
        (reach < 0 ? r.begin : r.end) += reach * v.element_bytes;
    }
    return r;
}

region array_of(const char* name, index_t at, index_t bytes) {
    return {name, at, wide{at} + bytes, bytes, std::vector{at}};
}

bool share_a_byte(const region& a, const region& b) {
    std::size_t j = 0;
    for (const index_t place : *a.places) {
        while (j < b.places->size() && (*b.places)[j] + b.element_bytes <= place) ++j;
        if (j < b.places->size() && (*b.places)[j] < place + a.element_bytes) return true;
    }
    return false;
}

/// Elements of one view all lie apart. `nested`: each stride steps over what the smaller ones reach.
bool is_nested(const view& v) {
    std::vector<std::pair<wide, wide>> steps; // stride, extent
    for (int i = 0; i < v.rank; ++i) {
        const wide s = v.stride[static_cast<std::size_t>(i)];
        if (v.extent[static_cast<std::size_t>(i)] > 1)
            steps.emplace_back(s < 0 ? -s : s, v.extent[static_cast<std::size_t>(i)]);
    }
    std::sort(steps.begin(), steps.end());
    wide reach = 0;
    for (const auto& [stride, extent] : steps) {
        if (stride <= reach) return false;
        reach += stride * (extent - 1);
    }
    return true;
}

class memory_judge {
  public:
    memory_judge(const page_call& c, judgement& j) : call_(c), judgement_(j) {
        for (const view& v : c.views) regions_.push_back(region_of(v));
    }
    void judge() {
        const auto& v = call_.views;
        for (std::size_t n = 0; n < v.size(); ++n) {
            if (!v[n].output || v[n].empty()) continue;
            judge_distinct(v[n], regions_[n]);
            for (std::size_t m = 0; m < v.size(); ++m) {
                if (v[m].empty() || n == m || in_place(n, m)) continue;
                if (!v[m].output || m < n) judge_pair(regions_[n], regions_[m], "memory of its own");
            }
        }
        std::vector<region> read; // what the options name
        const auto add = [&](const char* name, index_t at, index_t bytes) {
            if (bytes > 0) read.push_back(array_of(name, at, bytes));
        };
        add("options.key_lengths", call_.key_lengths_at.value_or(0),
            static_cast<index_t>(call_.key_lengths.size() * sizeof(index_t)));
        add("options.slopes", call_.slopes.at, call_.slopes.bytes());
        add("options.sinks", call_.sinks.at, call_.sinks.bytes());
        const region work = array_of("options.workspace", call_.workspace_at, call_.workspace_bytes);
        for (std::size_t n = 0; n < v.size(); ++n) {
            if (v[n].empty()) continue;
            for (const region& array : read) {
                if (v[n].output) judge_pair(regions_[n], array, "memory of its own");
            }
            if (call_.workspace_bytes > 0) judge_pair(work, regions_[n], "work memory");
        }
        for (const region& array : read) {
            if (call_.workspace_bytes > 0) judge_pair(work, array, "work memory");
        }
    }

  private:
    void judge_distinct(const view& v, const region& r) {
        const fault shared{"the stride of " + std::string(v.name) + ".", "share memory"};
        bool distinct = true;
        if (r.places) {
            for (std::size_t n = 1; n < r.places->size(); ++n)
                distinct &= (*r.places)[n] >= (*r.places)[n - 1] + r.element_bytes;
        }
        if (!distinct) judgement_.others.push_back(shared);
        if (distinct && !is_nested(v)) judgement_.doubts.push_back(shared);
    }
    void judge_pair(const region& a, const region& b, const char* reason) {
        if (a.end <= b.begin || b.end <= a.begin) return;
        const bool known = a.places && b.places;
        (known && share_a_byte(a, b) ? judgement_.others : judgement_.doubts)
            .push_back({a.name + " overlaps " + b.name, reason});
    }
    /// The two documented forms: merge into a, finish into part.out.
    [[nodiscard]] bool in_place(std::size_t n, std::size_t m) const {
        const auto& v = call_.views;
        const auto same = [&](std::size_t x, std::size_t y) {
            return v[x].at == v[y].at && v[x].null == v[y].null &&
                   std::equal(v[x].stride.begin(), v[x].stride.begin() + v[x].rank, v[y].stride.begin());
        };
        if (call_.what == function::finish) return n == 3 && m == 0 && same(3, 0);
        return call_.what == function::merge && n >= 6 && m < 3 && same(6, 0) && same(7, 1) && same(8, 2);
    }

    const page_call& call_;
    judgement& judgement_;
    std::vector<region> regions_;
};

bool fits(const std::string& text, const fault& f) {
    return text.find(f.subject) != std::string::npos && text.find(f.reason) != std::string::npos;
}

} // namespace

judgement judge(const page_call& c) {
    judgement j;
    if (c.has_options()) judge_inputs(j.inputs, c);
    judge_shapes(j.others, c);
    if (!j.must_be_refused()) memory_judge(c, j).judge();
    if (c.has_options() && c.o.isa != isa::automatic && c.o.isa != isa::baseline)
        j.doubts.push_back({"options.isa is ", "available on this machine"});
    return j;
}

void hold_verdict(const char* function, const std::string& text, const std::vector<fault>& faults,
                  const std::vector<fault>& doubts) {
    const auto list = [&] {
        std::string all = std::string(function) + (text.empty() ? " accepted a call" : " refused a call: " + text);
        for (const fault& f : faults) all += "\n  wrong with it: " + f.subject + " … " + f.reason;
        for (const fault& f : doubts) all += "\n  in doubt: " + f.subject + " … " + f.reason;
        return all;
    };
    if (text.empty()) return require(faults.empty(), list);
    require(text.rfind("pantile: ", 0) == 0, list);
    const auto fits_text = [&](const fault& f) { return fits(text, f); };
    require(std::any_of(faults.begin(), faults.end(), fits_text) ||
                std::any_of(doubts.begin(), doubts.end(), fits_text),
            list);
}

} // namespace pantile::fuzz
