#include <pantile/core/check.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>

#include <pantile/core/online_softmax.hpp>
#include <pantile/error.hpp>

namespace pantile::inline v0::core {
namespace {

// Lengths and strides beyond this are refused, so that sums of a few of them cannot overflow.
constexpr index_t largest_length = index_t{1} << 48;

// Addresses in bytes: extent · stride · element size may need more than 64 bits.
__extension__ typedef __int128 wide; // NOLINT(modernize-use-using): only a typedef takes __extension__

std::string number(index_t n) { return std::to_string(n); }

/// As short as it can be read: 0.1, 3e+38, nan.
std::string number(double x) {
    char text[32];
    std::snprintf(text, sizeof text, "%.6g", x);
    return text;
}

[[noreturn]] void refuse(const std::string& text) { throw invalid_argument("pantile: " + text); }

const char* axis_name(const argument& a, int axis) {
    static constexpr const char* names[] = {"batch", "heads", "length"};
    if (axis < 3) return names[axis];
    return std::strpbrk(a.name, "qk") != nullptr ? "head_dim" : "value_dim"; // q, k, dq, dk; v, out, dv, dout
}

std::string field(const argument& a, int axis) { return std::string(a.name) + "." + axis_name(a, axis); }

constexpr const char* swapped_hint = " (were heads and length swapped? see pantile::bhsd and pantile::bshd)";

/// Would `a` fit `b` with its heads and length swapped? Only where that changes something.
bool looks_swapped(const argument& a, const argument& b) {
    return a.extent[1] != a.extent[2] && a.extent[1] == b.extent[2] && a.extent[2] == b.extent[1];
}

void require_equal(const argument& a, const argument& b, int axis) {
    if (a.extent[axis] == b.extent[axis]) return;
    const bool swapped = (axis == 1 || axis == 2) && looks_swapped(a, b);
    refuse(field(a, axis) + " is " + number(a.extent[axis]) + ", " + field(b, axis) + " is " + number(b.extent[axis]) +
           ": they must be equal" + (swapped ? swapped_hint : ""));
}

/// Query heads must be a multiple of kv heads.
void check_heads(const argument& q, const argument& k) {
    const auto fits = [](index_t q_heads, index_t kv_heads) {
        return kv_heads == 0 ? q_heads == 0 : q_heads % kv_heads == 0;
    };
    if (fits(q.extent[1], k.extent[1])) return;
    // A hint where one tensor or both would fit and hold fewer heads than rows, as nearly all do.
    const bool q_turns = q.extent[2] > 1 && q.extent[1] > q.extent[2];
    const bool k_turns = k.extent[2] > 1 && k.extent[1] > k.extent[2];
    const bool swapped = (q_turns && fits(q.extent[2], k.extent[1])) || (k_turns && fits(q.extent[1], k.extent[2])) ||
                         (k_turns && fits(q.extent[2], k.extent[2]));
    refuse("q.heads is " + number(q.extent[1]) + ", k.heads is " + number(k.extent[1]) +
           ": q.heads must be a multiple of k.heads" + (swapped ? swapped_hint : ""));
}

/// Kernels hold scale · log2(e) in the precision that they compute in.
void check_scale(double scale, index_t element_bytes) {
    if (!__builtin_isfinite(scale)) refuse("options.scale is " + number(scale) + ": it must be finite");
    const bool wide = element_bytes == 8;
    const double largest = wide ? std::numeric_limits<double>::max() : std::numeric_limits<float>::max();
    if (std::abs(scale) * log2_e > largest) {
        refuse("options.scale is " + number(scale) + ": scale · log2(e) must be finite in " + (wide ? "fp64" : "fp32") +
               ", whose largest number is " + number(largest));
    }
}

/// Kernels hold caps, slopes and sinks times log2(e) in the precision that they compute in.
bool is_held(double x, index_t element_bytes) {
    const double largest = element_bytes == 8 ? std::numeric_limits<double>::max() : std::numeric_limits<float>::max();
    return std::abs(x) * log2_e <= largest; // which no NaN is
}
const char* computed_name(index_t element_bytes) { return element_bytes == 8 ? "fp64" : "fp32"; }

void check_softcap(double cap, index_t element_bytes) {
    if (cap >= 0.0 && is_held(cap, element_bytes)) return;
    refuse("options.softcap is " + number(cap) + ": it must be at least 0 (0: off), and softcap · log2(e) finite in " +
           computed_name(element_bytes));
}

const char* name_of(memory m) { return m == memory::host ? "host" : "device"; }

/// Refuses types that no call takes.
void check_number(const argument& a) {
    if (a.type == dtype::fp32 || a.type == dtype::fp64 || a.type == dtype::fp16 || a.type == dtype::bf16) return;
    refuse(std::string(a.name) + " is " + name_of(a.type) + ": calls take fp32, fp64, fp16 and bf16");
}

void check_memory_of(const argument& t, const argument& model) {
    if (t.where == model.where) return;
    refuse(std::string(t.name) + " is " + name_of(t.where) + " memory, " + model.name + " is " + name_of(model.where) +
           " memory: they must lie together");
}

/// `t` must lie `here`.
void check_memory_is(const argument& t, memory here) {
    if (t.where == here) return;
    refuse(std::string(t.name) + " is " + name_of(t.where) + " memory: this function's tensors are " + name_of(here) +
           " memory" + (here == memory::host ? " (calls on a device take a stream)" : ""));
}

void check_rank(const argument& a, int rank) {
    if (a.rank == rank) return;
    refuse(std::string(a.name) + ".rank is " + number(index_t{a.rank}) + ": it must be " + number(index_t{rank}));
}

void check_tensor(const argument& a) {
    for (int i = 0; i < a.rank; ++i) {
        if (a.extent[i] < 0 || a.extent[i] > largest_length) {
            refuse(field(a, i) + " is " + number(a.extent[i]) + ": it must be between 0 and 2^48");
        }
        if (a.stride[i] < -largest_length || a.stride[i] > largest_length) {
            refuse("the stride of " + field(a, i) + " is " + number(a.stride[i]) +
                   ": it must be within ±2^48 elements");
        }
    }
    if (a.data == nullptr && !a.empty()) refuse(std::string(a.name) + ".data is null, but the tensor is not empty");
}

void check_lie_here(const char* option, memory where, memory here) {
    if (where == here) return;
    refuse(std::string(option) + " is " + name_of(where) + " memory, q is " + name_of(here) +
           " memory: they must lie together" +
           (here == memory::host ? " (a bare pointer means device memory: give a range, or a pointer and a count)"
                                 : " (say of device memory that it is: on_device(…))"));
}

/// Slopes and sinks: their memory and count, and on the host their values.
void check_heads_of(const char* option, const described_heads& d, const problem& p, index_t element_bytes,
                    bool of_batches, memory here) {
    if (d.count == 0) return;
    check_lie_here(option, d.where, here);
    if (d.count == -1 && here == memory::device) return;
    if (!d.numbers.given()) {
        refuse(std::string(option) + " has " + number(d.count) + " entries, but its data is null");
    }
    if (d.count != p.q_heads && !(of_batches && d.count == p.batch * p.q_heads)) {
        refuse(std::string(option) + " has " + number(d.count) + " entries, q.heads is " + number(p.q_heads) +
               ": there must be one a query head" + (of_batches ? ", or one a batch and query head" : ""));
    }
    if (here == memory::device) return; // read by the call itself
    for (index_t i = 0; i < d.count; ++i) {
        const double x = d.numbers(0, i);
        const bool no_sink = !of_batches && x == -std::numeric_limits<double>::infinity();
        if (is_held(x, element_bytes) || no_sink) continue;
        refuse(std::string(option) + "[" + number(i) + "] is " + number(x) +
               ": it must be finite, also times log2(e) in " + computed_name(element_bytes) +
               (of_batches ? "" : ", or minus infinity (no sink)"));
    }
}

void check_options(const call& c, const problem& p, index_t element_bytes, memory here) {
    if (c.mask.left < 0) {
        refuse("options.mask.left is " + number(c.mask.left) +
               ": it must be at least 0 (pantile::unbounded lifts the limit)");
    }
    if (c.mask.right < 0) {
        refuse("options.mask.right is " + number(c.mask.right) +
               ": it must be at least 0 (pantile::unbounded lifts the limit)");
    }
    if (c.mask.offset < -largest_length || c.mask.offset > largest_length) {
        refuse("options.mask.offset is " + number(c.mask.offset) + ": it must be within ±2^48");
    }
    if (c.mask.align > alignment::explicit_offset) {
        refuse("options.mask.align is " + number(static_cast<index_t>(c.mask.align)) +
               ": it must be alignment::bottom_right, alignment::top_left or alignment::explicit_offset");
    }
    if (c.has_scale) check_scale(c.scale, element_bytes);
    check_softcap(c.softcap, element_bytes);
    check_heads_of("options.slopes", c.slopes, p, element_bytes, true, here);
    check_heads_of("options.sinks", c.sinks, p, element_bytes, false, here);
    if (c.threads < 0) {
        refuse("options.threads is " + number(index_t{c.threads}) + ": it must be at least 0 (0: OpenMP's choice)");
    }
    if (c.plan.row_tile < 0 || c.plan.key_tile < 0 || c.plan.key_splits < 0) {
        refuse("options.plan is {" + number(c.plan.row_tile) + ", " + number(c.plan.key_tile) + ", " +
               number(c.plan.key_splits) + "}: its fields must be at least 0 (0: chosen)");
    }
    if (c.key_splits < 0)
        refuse("options.key_splits is " + number(c.key_splits) + ": it must be at least 0 (0: chosen)");
    if (c.key_splits > 0 && c.plan.key_splits > 0 && c.key_splits != c.plan.key_splits) {
        refuse("options.key_splits is " + number(c.key_splits) + ", options.plan asks for " +
               number(c.plan.key_splits) + ": one of them must be 0, or both the same");
    }
    if (c.key_lengths_count == 0) return;
    check_lie_here("options.key_lengths", c.key_lengths_in, here);
    if (c.key_lengths_count == -1 && here == memory::device) return;
    if (!c.key_lengths.given()) {
        refuse("options.key_lengths has " + number(c.key_lengths_count) + " entries, but its data is null");
    }
    if (c.key_lengths_count != p.batch) {
        refuse("options.key_lengths has " + number(c.key_lengths_count) + " entries, q.batch is " + number(p.batch) +
               ": there must be one a batch");
    }
    if (here == memory::device) return; // read by the call itself
    for (index_t b = 0; b < p.batch; ++b) {
        if (c.key_lengths[b] < 0 || c.key_lengths[b] > p.k_len) {
            refuse("options.key_lengths[" + number(b) + "] is " + number(c.key_lengths[b]) +
                   ": it must be between 0 and k.length, " + number(p.k_len));
        }
    }
}

/// Elements are counted in index_t, also those of broadcast and of empty tensors.
void check_size(const char* what, index_t batch, index_t heads, index_t length, index_t dim) {
    if ((batch | heads | length | dim) < index_t{1} << 14) return; // small calls pay for no product
    constexpr wide most = wide{1} << 58;
    wide elements = 1;
    for (const index_t extent : {batch, heads, length, dim}) {
        elements *= max(extent, index_t{1});
        if (elements <= most) continue;
        refuse(std::string(what) + " is (" + number(batch) + ", " + number(heads) + ", " + number(length) + ", " +
               number(dim) + "): a tensor has at most 2^58 elements, where an extent of 0 counts as 1");
    }
}

/// An array that is no tensor.
argument describe_array(const char* name, const void* data, index_t count, index_t element_bytes) {
    argument a;
    a.name = name;
    // Only ever compared with other addresses.
    a.data = const_cast<void*>(data); // NOLINT(cppcoreguidelines-pro-type-const-cast)
    a.rank = 1;
    a.extent[0] = count;
    a.stride[0] = 1;
    a.element_bytes = element_bytes;
    return a;
}

/// First and one past the last byte that a tensor touches.
struct byte_range {
    wide begin = 0;
    wide end = 0;
};

byte_range extent_in_bytes(const argument& a) {
    byte_range r;
    r.begin = static_cast<wide>(reinterpret_cast<std::uintptr_t>(a.data));
    r.end = r.begin + a.element_bytes;
    for (int i = 0; i < a.rank; ++i) {
        if (a.extent[i] == 1) continue; // short calls have many of these
        const wide reach = static_cast<wide>(a.extent[i] - 1) * a.stride[i] * a.element_bytes;
        (reach < 0 ? r.begin : r.end) += reach;
    }
    return r;
}

/// The bytes of `a` modulo `period`, where dims whose stride is a multiple of the period vanish. The rest is one interval
/// [begin, end) with 0 <= begin < period; it may wrap.
byte_range residue(const argument& a, wide period) {
    argument rest = a;
    for (int i = 0; i < a.rank; ++i) {
        if (static_cast<wide>(a.stride[i]) * a.element_bytes % period == 0) rest.extent[i] = 1;
    }
    byte_range r = extent_in_bytes(rest);
    const wide length = r.end - r.begin;
    r.begin %= period;
    return {r.begin, r.begin + length};
}

bool disjoint_modulo(const argument& a, const argument& b, wide period) {
    const byte_range x = residue(a, period);
    const byte_range y = residue(b, period);
    if (x.end - x.begin > period || y.end - y.begin > period) return false;
    const auto apart = [](byte_range s, byte_range t) { return s.end <= t.begin || t.end <= s.begin; };
    const auto moved = [](byte_range s, wide by) { return byte_range{s.begin + by, s.end + by}; };
    return apart(x, y) && apart(x, moved(y, period)) && apart(moved(x, period), y);
}

/// Sufficient for distinct elements, and true of every sane layout: each stride steps over all that smaller ones reach.
void check_distinct(const argument& a) {
    int by_stride[4]; // dims of more than one element, the smallest stride first
    int dims = 0;
    for (int i = 0; i < a.rank; ++i) {
        if (a.extent[i] < 2) continue;
        int place = dims++;
        for (; place > 0 && std::abs(a.stride[i]) < std::abs(a.stride[by_stride[place - 1]]); --place) {
            by_stride[place] = by_stride[place - 1];
        }
        by_stride[place] = i;
    }
    wide reach = 0; // elements beyond the first that the dims taken so far touch
    for (int n = 0; n < dims; ++n) {
        const int dim = by_stride[n];
        const wide stride = std::abs(a.stride[dim]);
        if (stride <= reach) {
            refuse("the stride of " + field(a, dim) + " is " + number(a.stride[dim]) +
                   ": elements of this output would share memory");
        }
        reach += stride * (a.extent[dim] - 1);
    }
}

} // namespace

bool may_overlap(const argument& a, const argument& b) {
    if (a.empty() || b.empty()) return false;
    const byte_range x = extent_in_bytes(a);
    const byte_range y = extent_in_bytes(b);
    if (x.end <= y.begin || y.end <= x.begin) return false;
    for (const argument* t : {&a, &b}) {
        for (int i = 0; i < t->rank; ++i) {
            const wide period = static_cast<wide>(std::abs(t->stride[i])) * t->element_bytes;
            if (period > 0 && disjoint_modulo(a, b, period)) return false;
        }
    }
    return true;
}

problem check_inputs(const argument& q, const argument& k, const argument& v, const call& options, memory here) {
    for (const argument* t : {&q, &k, &v}) check_rank(*t, 4);
    check_number(q);
    check_memory_is(q, here);
    check_same_type(k, q);
    check_same_type(v, q);
    check_tensor(q);
    check_tensor(k);
    check_tensor(v);
    require_equal(k, q, 0);
    require_equal(v, q, 0);
    require_equal(k, q, 3);
    require_equal(v, k, 1);
    require_equal(v, k, 2);
    check_heads(q, k);
    problem p;
    p.batch = q.extent[0];
    p.q_heads = q.extent[1];
    p.kv_heads = k.extent[1];
    p.q_len = q.extent[2];
    p.k_len = k.extent[2];
    p.head_dim = q.extent[3];
    p.value_dim = v.extent[3];
    check_size("q", p.batch, p.q_heads, p.q_len, p.head_dim);
    check_size("k", p.batch, p.kv_heads, p.k_len, p.head_dim);
    check_size("v", p.batch, p.kv_heads, p.k_len, p.value_dim);
    check_size("the shape of out", p.batch, p.q_heads, p.q_len, p.value_dim);
    check_options(options, p, q.element_bytes, here);
    p.mask = options.mask;
    p.mask.left = min(options.mask.left, unbounded);
    p.mask.right = min(options.mask.right, unbounded);
    if (options.key_lengths_count != 0) p.key_lengths = options.key_lengths;
    p.features.softcap = options.softcap;
    if (options.slopes.count != 0) p.features.slopes = options.slopes.numbers;
    if (options.slopes.count > p.q_heads) p.features.slopes.batch_stride = p.q_heads;
    if (options.sinks.count != 0) p.features.sinks = options.sinks.numbers;
    // Without dims every score is 0, whatever the scale.
    const double standard = p.head_dim > 0 ? 1.0 / std::sqrt(static_cast<double>(p.head_dim)) : 1.0;
    p.scale = options.has_scale ? options.scale : standard;
    return p;
}

void check_same_type(const argument& t, const argument& model) {
    if (t.type != model.type) {
        refuse(std::string(t.name) + " is " + name_of(t.type) + ", " + model.name + " is " + name_of(model.type) +
               ": they must be equal");
    }
    check_memory_of(t, model);
}

void check_computed_type(const argument& t, const argument& q) {
    if (t.type != computed_in(q.type)) {
        refuse(std::string(t.name) + " is " + name_of(t.type) + ", " + q.name + " is " + name_of(q.type) +
               ": it must be " + name_of(computed_in(q.type)) + ", in which the call computes");
    }
    check_memory_of(t, q);
}

void check_result_type(const argument& t, const argument& q) {
    if (t.type != q.type && t.type != computed_in(q.type)) {
        const bool narrow = q.element_bytes == 2;
        refuse(std::string(t.name) + " is " + name_of(t.type) + ", " + q.name + " is " + name_of(q.type) +
               ": it must be " + name_of(q.type) + (narrow ? " or fp32" : ""));
    }
    check_memory_of(t, q);
}

argument check_head_gradients(const char* name, const char* option, void* data, dtype type, memory where, index_t count,
                              bool wanted, const head_numbers_ref& numbers, const problem& p, memory here) {
    if (!wanted) return describe_array(name, nullptr, 0, bytes_of(type));
    if (!numbers.given()) refuse(std::string(name) + " is wanted, but " + option + " is not given");
    if (numbers.batch_stride != 0) {
        refuse(std::string(name) + " is wanted, but " + option +
               " has one number a batch and query head: gradients are summed over batches");
    }
    check_lie_here(name, where, here);
    if (type != dtype::fp32 && type != dtype::fp64) {
        refuse(std::string(name) + " is " + name_of(type) + ": it must be fp32 or fp64");
    }
    if (count != p.q_heads) {
        refuse(std::string(name) + " has " + number(count) + " entries, q.heads is " + number(p.q_heads) +
               ": there must be one a query head");
    }
    if (data == nullptr && count > 0) refuse(std::string(name) + ".data is null, but it has entries");
    return describe_array(name, data, count, bytes_of(type));
}

void check_given(const char* name, bool given) {
    if (!given) refuse(std::string(name) + " is not given: the call writes it");
}

void check_out(const argument& t, const argument& q, index_t value_dim) {
    check_rank(t, 4);
    check_result_type(t, q);
    check_tensor(t);
    for (int axis = 0; axis < 3; ++axis) require_equal(t, q, axis);
    if (t.extent[3] != value_dim) {
        refuse(field(t, 3) + " is " + number(t.extent[3]) + ", v.value_dim is " + number(value_dim) +
               ": they must be equal");
    }
}

void check_rows(const argument& t, const argument& q) {
    check_rank(t, 3);
    check_computed_type(t, q);
    check_tensor(t);
    for (int axis = 0; axis < 3; ++axis) require_equal(t, q, axis);
}

void check_same_shape(const argument& t, const argument& model) {
    check_rank(t, model.rank);
    check_tensor(t);
    for (int axis = 0; axis < t.rank; ++axis) require_equal(t, model, axis);
}

namespace {

constexpr const char* own = "an output needs memory of its own";

void apart(const argument& a, const argument& b, const char* why) {
    if (may_overlap(a, b)) refuse(std::string(a.name) + " overlaps " + b.name + ": " + why);
}

/// What options name, against all others.
void check_option_memory(const argument* outputs, int output_count, const argument* inputs, int input_count,
                         const option_memory& options) {
    const argument arrays[] = {
        describe_array("options.key_lengths", options.key_lengths.data(), options.key_lengths_count,
                       options.key_lengths.element_bytes()),
        describe_array("options.slopes", options.slopes.data(), options.slopes_count, options.slopes.element_bytes()),
        describe_array("options.sinks", options.sinks.data(), options.sinks_count, options.sinks.element_bytes())};
    const argument workspace = describe_array("options.workspace", options.workspace, options.workspace_bytes, 1);
    constexpr const char* work = "work memory must hold nothing else";
    for (int i = 0; i < output_count; ++i) {
        for (const argument& array : arrays) apart(outputs[i], array, own);
        apart(workspace, outputs[i], work);
    }
    for (int j = 0; j < input_count; ++j) apart(workspace, inputs[j], work);
    for (const argument& array : arrays) apart(workspace, array, work);
}

} // namespace

void check_memory(const argument* outputs, int output_count, const argument* inputs, int input_count,
                  const option_memory& options) {
    // Tensors mostly lie apart as a whole: each one's range is found once, not once a pair, which a short call would notice.
    constexpr int kept = 8;
    byte_range ranges[kept];
    for (int j = 0; j < input_count && j < kept; ++j) ranges[j] = extent_in_bytes(inputs[j]);
    for (int i = 0; i < output_count; ++i) {
        if (outputs[i].empty()) continue;
        check_distinct(outputs[i]);
        const byte_range output = extent_in_bytes(outputs[i]);
        for (int j = 0; j < input_count; ++j) {
            if (j < kept && (output.end <= ranges[j].begin || ranges[j].end <= output.begin)) continue;
            apart(outputs[i], inputs[j], own);
        }
        for (int j = 0; j < i; ++j) apart(outputs[i], outputs[j], own);
    }
    // A call apart, which most calls do without.
    if ((options.key_lengths_count | options.slopes_count | options.sinks_count | options.workspace_bytes) == 0) return;
    check_option_memory(outputs, output_count, inputs, input_count, options);
}

namespace {

void check_computed_number(const argument& t) {
    check_rank(t, 4);
    if (t.type == dtype::fp32 || t.type == dtype::fp64) return;
    refuse(std::string(t.name) + " is " + name_of(t.type) + ": partial results are fp32 or fp64");
}

/// A part's tensors must be fp32 or fp64, and have the type and the shape (batch, heads, length[, value_dim]) of `model`.
void check_part(const described_part& part, const argument& model) {
    check_computed_number(part.out);
    check_same_type(part.out, model);
    check_same_shape(part.out, model);
    check_rows(part.max, model);
    check_rows(part.sum, model);
}

/// The same memory, laid out alike: what may be overwritten in place.
bool same_memory(const argument& a, const argument& b) {
    return a.data == b.data && std::equal(a.stride, a.stride + a.rank, b.stride);
}

} // namespace

void check_merge(const described_part& a, const described_part& b, const described_part& part, memory here) {
    check_memory_is(a.out, here);
    for (const described_part* p : {&a, &b, &part}) check_part(*p, a.out);
    const argument to[] = {part.out, part.max, part.sum};
    const argument from_a[] = {a.out, a.max, a.sum};
    const argument from_b[] = {b.out, b.max, b.sum};
    const bool in_place = same_memory(a.out, part.out) && same_memory(a.max, part.max) && same_memory(a.sum, part.sum);
    if (!in_place) check_memory(to, 3, from_a, 3);
    check_memory(to, 3, from_b, 3);
}

void check_finish(const described_part& part, const argument& out, const argument& lse, memory here) {
    check_memory_is(part.out, here);
    check_part(part, part.out);
    check_same_type(out, part.out);
    check_same_shape(out, part.out);
    check_rows(lse, part.out);
    const argument to[] = {out, lse};
    const argument statistics[] = {part.max, part.sum};
    // In place, out has been read by the time it is written, but the other arrays must still lie apart.
    check_memory(to, 2, statistics, 2);
    if (!same_memory(part.out, out)) check_memory(to, 2, &part.out, 1);
}

} // namespace pantile::inline v0::core
