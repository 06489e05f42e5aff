#include <pantile/c_translation.hpp>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include <pantile/error.hpp>

namespace pantile::inline v0::c_interface {
namespace {

// A size beyond this is no struct of any pantile's, but memory that was never set.
constexpr std::size_t largest_struct = 4096;

std::size_t size_of(const void* s, const char* name, const char* type) {
    if (s == nullptr) refuse(std::string(name) + " is NULL");
    std::size_t size = 0;
    std::memcpy(&size, s, sizeof size);
    if (size < sizeof size || size > largest_struct) {
        refuse(std::string(name) + ".size is " + std::to_string(size) + ": it must be sizeof(" + type + ")");
    }
    return size;
}

/// Refuses a number that is none of `names`, which are numbered from 0.
template <std::size_t n>
void check_enum(const std::string& field, std::int64_t number, const char* const (&names)[n]) {
    if (number >= 0 && number < static_cast<std::int64_t>(n)) return;
    std::string text = field + " is " + std::to_string(number) + ": it must be ";
    for (std::size_t i = 0; i < n; ++i) {
        text += (i == 0 ? "" : i + 1 < n ? ", " : " or ") + std::string(names[i]) + " (" + std::to_string(i) + ")";
    }
    refuse(text);
}

void check_zero(const std::string& field, std::int64_t number) {
    if (number != 0) refuse(field + " is " + std::to_string(number) + ": it must be 0");
}

void check_flag(const std::string& field, std::int32_t number) {
    if (number != 0 && number != 1) refuse(field + " is " + std::to_string(number) + ": it must be 0 or 1");
}

constexpr const char* memories[] = {"PANTILE_HOST", "PANTILE_DEVICE"};

memory to_memory(const std::string& field, std::int32_t number) {
    check_enum(field, number, memories);
    return number == PANTILE_HOST ? memory::host : memory::device;
}

dtype to_dtype(const std::string& field, std::int32_t number) {
    check_enum(field, number, {"PANTILE_FP32", "PANTILE_FP64", "PANTILE_FP16", "PANTILE_BF16"});
    constexpr dtype types[] = {dtype::fp32, dtype::fp64, dtype::fp16, dtype::bf16};
    return types[number];
}

bool is_given(const pantile_tensor& t) { return t.rank != 0; }

template <int rank>
result_ref<rank> to_result(const pantile_tensor& t, const char* name) {
    return result_ref<rank>(to_tensor(&t, name, rank));
}

mask to_mask(const pantile_mask& m) {
    check_enum("options.mask.align", m.align,
               {"PANTILE_NO_MASK", "PANTILE_BOTTOM_RIGHT", "PANTILE_TOP_LEFT", "PANTILE_EXPLICIT_OFFSET"});
    mask made;
    if (m.align == PANTILE_NO_MASK) {
        if (m.left != 0 || m.right != 0 || m.offset != 0) {
            refuse("options.mask is {" + std::to_string(m.left) + ", " + std::to_string(m.right) +
                   ", PANTILE_NO_MASK, " + std::to_string(m.offset) +
                   "}: say by mask.align where row 0 stands (PANTILE_BOTTOM_RIGHT, PANTILE_TOP_LEFT or "
                   "PANTILE_EXPLICIT_OFFSET), or leave all of it 0");
        }
        return made;
    }
    auto& [left, right, align, offset] = made;
    left = m.left;
    right = m.right;
    align = m.align == PANTILE_BOTTOM_RIGHT ? alignment::bottom_right
            : m.align == PANTILE_TOP_LEFT   ? alignment::top_left
                                            : alignment::explicit_offset;
    offset = m.offset;
    return made;
}

std::optional<double> to_scale(double scale, std::int32_t has_scale) {
    check_flag("options.has_scale", has_scale);
    if (has_scale == 1) return scale;
    if (scale != 0) {
        char text[32];
        std::snprintf(text, sizeof text, "%.6g", scale);
        refuse(std::string("options.scale is ") + text + ", but options.has_scale is 0");
    }
    return std::nullopt;
}

lengths_view to_lengths(const pantile_lengths& l, const tensor_ref& q) {
    const std::string name = "options.key_lengths";
    const memory where = to_memory(name + ".memory", l.memory);
    if (l.data == nullptr) {
        if (l.count != 0) refuse(name + ".data is NULL, but its count is " + std::to_string(l.count));
        return {};
    }
    if (l.bits != 32 && l.bits != 64) refuse(name + ".bits is " + std::to_string(l.bits) + ": it must be 32 or 64");
    // Of numbers in host memory the library wants to know how many it may read.
    if (l.count < PANTILE_ONE_A_BATCH || (l.count == PANTILE_ONE_A_BATCH && where == memory::host)) {
        refuse(name + ".count is " + std::to_string(l.count) +
               ": it must be at least 0, or in device memory PANTILE_ONE_A_BATCH (-1)");
    }
    // In C++ an empty range, which means none. Here it is a count that was forgotten.
    if (l.count == 0 && q.extent[0] != 0) {
        refuse(name + " has 0 entries, q.batch is " + std::to_string(q.extent[0]) + ": there must be one a batch");
    }
    const auto count = static_cast<std::size_t>(l.count);
    if (l.bits == 64) return {static_cast<const std::int64_t*>(l.data), count, where};
    return {static_cast<const std::int32_t*>(l.data), count, where};
}

/// The type of numbers that lie one a query head.
dtype to_heads_type(const std::string& name, std::int32_t number) {
    const dtype type = to_dtype(name + ".dtype", number);
    if (type != dtype::fp32 && type != dtype::fp64) {
        refuse(name + ".dtype is " + std::to_string(number) + ": it must be PANTILE_FP32 (0) or PANTILE_FP64 (1)");
    }
    return type;
}

void check_no_count(const std::string& name, std::int64_t count) {
    if (count != 0) refuse(name + ".data is NULL, but its count is " + std::to_string(count));
}

head_numbers to_head_numbers(const pantile_head_numbers& n, const char* option, const tensor_ref& q) {
    const std::string name = std::string("options.") + option;
    const dtype type = to_heads_type(name, n.dtype);
    const memory where = to_memory(name + ".memory", n.memory);
    if (n.data == nullptr) {
        check_no_count(name, n.count);
        return {};
    }
    if (n.count < PANTILE_ONE_A_HEAD || (n.count == PANTILE_ONE_A_HEAD && where == memory::host)) {
        refuse(name + ".count is " + std::to_string(n.count) +
               ": it must be at least 0, or in device memory PANTILE_ONE_A_HEAD (-1)");
    }
    // In C++ an empty range, which means none. Here it is a count that was forgotten.
    if (n.count == 0 && q.extent[1] != 0) {
        refuse(name + " has 0 entries, q.heads is " + std::to_string(q.extent[1]) + ": there must be one a query head");
    }
    const auto count = static_cast<std::size_t>(n.count);
    if (type == dtype::fp64) return {static_cast<const double*>(n.data), count, where};
    return {static_cast<const float*>(n.data), count, where};
}

head_gradients to_head_gradients(const pantile_head_gradients& g, const std::string& name) {
    const dtype type = to_heads_type(name, g.dtype);
    const memory where = to_memory(name + ".memory", g.memory);
    if (g.data == nullptr) {
        check_no_count(name, g.count);
        return {};
    }
    if (g.count < 0) refuse(name + ".count is " + std::to_string(g.count) + ": it must be at least 0");
    const auto count = static_cast<std::size_t>(g.count);
    if (type == dtype::fp64) return {static_cast<double*>(g.data), count, where};
    return {static_cast<float*>(g.data), count, where};
}

/// Fields of 0 are chosen: all of them, and it is as if no plan were asked for.
std::optional<tile_plan> to_plan(const pantile_tile_plan& plan) {
    if (plan.row_tile == 0 && plan.key_tile == 0 && plan.key_splits == 0) return std::nullopt;
    return from_c(plan);
}

isa to_isa(std::int32_t number) {
    check_enum(
        "options.isa", number,
        {"PANTILE_ISA_AUTOMATIC", "PANTILE_ISA_BASELINE", "PANTILE_ISA_AVX2", "PANTILE_ISA_AVX512", "PANTILE_ISA_AMX"});
    constexpr isa sets[] = {isa::automatic, isa::baseline, isa::avx2, isa::avx512, isa::amx};
    return sets[number];
}

cuda_kernel to_kernel(std::int32_t number) {
    check_enum("options.kernel", number,
               {"PANTILE_KERNEL_AUTOMATIC", "PANTILE_KERNEL_PORTABLE", "PANTILE_KERNEL_DECODE", "PANTILE_KERNEL_SM90",
                "PANTILE_KERNEL_FFMA"});
    constexpr cuda_kernel kernels[] = {cuda_kernel::automatic, cuda_kernel::portable, cuda_kernel::decode,
                                       cuda_kernel::sm90, cuda_kernel::ffma};
    return kernels[number];
}

std::span<std::byte> to_workspace(void* data, std::int64_t bytes) {
    if (bytes < 0) refuse("options.workspace_bytes is " + std::to_string(bytes) + ": it must be at least 0");
    if (data == nullptr && bytes > 0) {
        refuse("options.workspace is NULL, but options.workspace_bytes is " + std::to_string(bytes));
    }
    return {static_cast<std::byte*>(data), static_cast<std::size_t>(bytes)};
}

pantile_transfers to_c(const core::transfers& t) {
    const auto& [reads, writes] = t;
    return {reads, writes};
}

core::transfers from_c(const pantile_transfers& t) { return {t.reads, t.writes}; }

/// Of a call on q. Null: the defaults.
options to_options(const pantile_options* o, const tensor_ref& q) {
    options made;
    if (o == nullptr) return made;
    pantile_options from;
    read_sized(o, "options", "pantile_options", &from, sizeof from);
    check_zero("options.reserved", from.reserved);
    auto& [mask, scale, softcap, slopes, sinks, key_lengths, accumulate, threads, isa, plan, kernel, key_splits,
           workspace] = made;
    mask = to_mask(from.mask);
    scale = to_scale(from.scale, from.has_scale);
    softcap = from.softcap;
    slopes = to_head_numbers(from.slopes, "slopes", q);
    sinks = to_head_numbers(from.sinks, "sinks", q);
    key_lengths = to_lengths(from.key_lengths, q);
    check_flag("options.accumulate", from.accumulate);
    accumulate = from.accumulate == 1;
    threads = from.threads;
    isa = to_isa(from.isa);
    plan = to_plan(from.plan);
    kernel = to_kernel(from.kernel);
    key_splits = from.key_splits;
    workspace = to_workspace(from.workspace, from.workspace_bytes);
    return made;
}

} // namespace

void refuse(const std::string& text) { throw invalid_argument("pantile: " + text); }

void check_sized(const void* to, const char* name, const char* type) { (void)size_of(to, name, type); }

void read_sized(const void* from, const char* name, const char* type, void* to, std::size_t known) {
    const std::size_t size = size_of(from, name, type);
    const auto* bytes = static_cast<const unsigned char*>(from);
    if (size > known && std::any_of(bytes + known, bytes + size, [](unsigned char b) { return b != 0; })) {
        refuse(std::string(name) + ".size is " + std::to_string(size) + ", of which this library knows " +
               std::to_string(known) + " bytes, and what lies beyond is not 0: it asks for something that pantile " +
               std::to_string(PANTILE_VERSION_MAJOR) + "." + std::to_string(PANTILE_VERSION_MINOR) + "." +
               std::to_string(PANTILE_VERSION_PATCH) + " has not got");
    }
    std::memset(to, 0, known);
    std::memcpy(to, from, std::min(size, known));
}

void write_sized(const void* from, void* to, std::size_t known) {
    std::size_t size = 0;
    std::memcpy(&size, to, sizeof size);
    auto* target = static_cast<unsigned char*>(to);
    const auto* source = static_cast<const unsigned char*>(from);
    std::copy(source + sizeof size, source + std::min(size, known), target + sizeof size);
    if (size > known) std::fill(target + known, target + size, static_cast<unsigned char>(0));
}

tensor_ref to_tensor(const pantile_tensor* t, const char* name, int wanted_rank) {
    if (t == nullptr) refuse(std::string(name) + " is NULL");
    const std::string field = std::string(name) + ".";
    if (t->rank != wanted_rank) {
        refuse(field + "rank is " + std::to_string(t->rank) + ": it must be " + std::to_string(wanted_rank));
    }
    check_zero(field + "reserved", t->reserved);
    tensor_ref made;
    auto& [data, type, where, rank, extent, stride] = made;
    data = t->data;
    type = to_dtype(field + "dtype", t->dtype);
    where = to_memory(field + "memory", t->memory);
    rank = wanted_rank;
    std::copy_n(t->extent, wanted_rank, extent);
    std::copy_n(t->stride, wanted_rank, stride);
    return made;
}

results to_results(const pantile_results* r) {
    pantile_results from;
    read_sized(r, "results", "pantile_results", &from, sizeof from);
    results made;
    auto& [out, lse] = made;
    out = to_result<4>(from.out, "out");
    if (is_given(from.lse)) lse = to_result<3>(from.lse, "lse");
    return made;
}

loss_gradients to_loss_gradients(const pantile_loss_gradients* g) {
    pantile_loss_gradients from;
    read_sized(g, "loss_gradients", "pantile_loss_gradients", &from, sizeof from);
    loss_gradients made;
    auto& [dout] = made;
    dout = to_tensor(&from.dout, "dout", 4);
    return made;
}

gradients to_gradients(const pantile_gradients* g) {
    pantile_gradients from;
    read_sized(g, "gradients", "pantile_gradients", &from, sizeof from);
    gradients made;
    auto& [dq, dk, dv, dslopes, dsinks] = made;
    dq = to_result<4>(from.dq, "dq");
    dk = to_result<4>(from.dk, "dk");
    dv = to_result<4>(from.dv, "dv");
    dslopes = to_head_gradients(from.dslopes, "dslopes");
    dsinks = to_head_gradients(from.dsinks, "dsinks");
    return made;
}

partial_ref to_partial(const pantile_partial* p, const char* name) {
    pantile_partial from;
    read_sized(p, name, "pantile_partial", &from, sizeof from);
    partial_ref made;
    auto& [out, max, sum] = made;
    const auto named = [&](const char* field) { return std::string(name) + "." + field; };
    out = to_tensor(&from.out, named("out").c_str(), 4);
    max = to_tensor(&from.max, named("max").c_str(), 3);
    sum = to_tensor(&from.sum, named("sum").c_str(), 3);
    return made;
}

inputs to_inputs(const pantile_tensor* q, const pantile_tensor* k, const pantile_tensor* v, const pantile_options* o) {
    inputs made;
    made.q = to_tensor(q, "q", 4);
    made.k = to_tensor(k, "k", 4);
    made.v = to_tensor(v, "v", 4);
    made.o = to_options(o, made.q);
    return made;
}

pantile_tile_plan to_c(const tile_plan& plan) {
    const auto& [row_tile, key_tile, key_splits] = plan;
    return {row_tile, key_tile, key_splits};
}

tile_plan from_c(const pantile_tile_plan& plan) { return {plan.row_tile, plan.key_tile, plan.key_splits}; }

pantile_traffic to_c(const core::traffic& traffic) {
    const auto& [q, k, v, out, lse, dout, dq, dk, dv, delta, scores, probabilities, dscores, dprobabilities] = traffic;
    return {to_c(q),  to_c(k),  to_c(v),     to_c(out),    to_c(lse),           to_c(dout),    to_c(dq),
            to_c(dk), to_c(dv), to_c(delta), to_c(scores), to_c(probabilities), to_c(dscores), to_c(dprobabilities)};
}

core::traffic from_c(const pantile_traffic& t) {
    return {from_c(t.q),       from_c(t.k),
            from_c(t.v),       from_c(t.out),
            from_c(t.lse),     from_c(t.dout),
            from_c(t.dq),      from_c(t.dk),
            from_c(t.dv),      from_c(t.delta),
            from_c(t.scores),  from_c(t.probabilities),
            from_c(t.dscores), from_c(t.dprobabilities)};
}

void give_text(const std::string& from, char* to, std::size_t capacity, std::size_t* needed) {
    if (to == nullptr && capacity > 0) refuse("text is NULL, but capacity is " + std::to_string(capacity));
    if (needed != nullptr) *needed = from.size() + 1;
    if (capacity > 0) to[from.copy(to, capacity - 1)] = '\0';
}

} // namespace pantile::inline v0::c_interface
