#include "kernels.hpp"
#include "plan.hpp"
#include "status.hpp"

#include <pantile/core/check.hpp>
#include <pantile/core/float_environment.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <ostream>
#include <random>
#include <span>
#include <sstream>
#include <string_view>

// The calls of pantile/cuda.hpp: check, choose, launch.

namespace pantile {
namespace cuda {
namespace {

template <class T>
constexpr element element_of = std::is_same_v<T, float16>    ? element::float16
                               : std::is_same_v<T, bfloat16> ? element::bfloat16
                               : std::is_same_v<T, float>    ? element::float32
                                                             : element::float64;
/// What is computed with: scores, sums, log-sum-exp, partial results.
template <class T>
using computed = std::conditional_t<std::is_same_v<T, double>, double, float>;

const char* name_of(cuda_kernel k) {
    switch (k) {
    case cuda_kernel::automatic:
        return "automatic";
    case cuda_kernel::portable:
        return "portable";
    case cuda_kernel::decode:
        return "decode";
    case cuda_kernel::sm90:
        return "sm90";
    case cuda_kernel::ffma:
        return "ffma";
    }
    return "";
}

/// options.kernel, or else what the environment asks for.
cuda_kernel forced_kernel(cuda_kernel option) {
    if (option != cuda_kernel::automatic) return option;
    const char* asked = std::getenv("PANTILE_CUDA_KERNEL"); // NOLINT(concurrency-mt-unsafe): nothing here sets it
    if (asked == nullptr || *asked == '\0') return cuda_kernel::automatic;
    for (const auto k :
         {cuda_kernel::automatic, cuda_kernel::portable, cuda_kernel::decode, cuda_kernel::sm90, cuda_kernel::ffma}) {
        if (std::string_view(asked) == name_of(k)) return k;
    }
    throw invalid_argument(std::string("pantile: PANTILE_CUDA_KERNEL is '") + asked +
                           "': it must be automatic, portable, decode, sm90 or ffma");
}

device_facts current_device() {
    int device = 0;
    check(cudaGetDevice(&device), "cudaGetDevice");
    const auto attribute = [device](cudaDeviceAttr which) {
        int value = 0;
        check(cudaDeviceGetAttribute(&value, which, device), "cudaDeviceGetAttribute");
        return value;
    };
    return {10 * attribute(cudaDevAttrComputeCapabilityMajor) + attribute(cudaDevAttrComputeCapabilityMinor),
            attribute(cudaDevAttrMultiProcessorCount), attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin)};
}

core::call describe(const device_options& o) {
    core::call c;
    c.left = o.mask.left;
    c.right = o.mask.right;
    c.align = o.mask.align;
    c.offset = o.mask.offset;
    c.has_scale = o.scale.has_value();
    c.scale = o.scale.value_or(0.0);
    c.plan = {0, 0, o.key_splits};
    return c;
}

/// A tensor on the device must be contiguous along its last dim.
void check_contiguous(const core::argument& a) {
    if (a.extent[3] <= 1 || a.empty() || a.stride[3] == 1) return;
    throw unsupported(std::string("pantile: the stride of ") + a.name + "'s last dim is " +
                      std::to_string(a.stride[3]) + ": the CUDA machine needs 1");
}

layout layout_of(const core::argument& a) { return {a.stride[0], a.stride[1], a.stride[2]}; }

/// May rows be moved in pieces of 16 bytes?
bool in_vectors(const core::argument& a) {
    const auto fits = [&](index_t elements) { return elements * a.element_bytes % 16 == 0; };
    bool all = reinterpret_cast<std::uintptr_t>(a.data) % 16 == 0 && fits(a.extent[3]);
    for (int i = 0; i < 3; ++i) all = all && (a.extent[i] <= 1 || fits(a.stride[i]));
    return all;
}

bool repeats(const core::argument& a) {
    for (int i = 0; i < 3; ++i) {
        if (a.extent[i] > 1 && a.stride[i] <= 0) return true;
    }
    return false;
}

/// Memory that is no tensor, as an argument.
core::argument memory_of(const char* name, const void* data, index_t count, index_t element_bytes) {
    core::argument a;
    a.name = name;
    a.data = data;
    a.rank = 1;
    a.extent[0] = count;
    a.stride[0] = 1;
    a.element_bytes = element_bytes;
    return a;
}

/// Checks the outputs of a call against its inputs: out (batch, q heads, q length, value_dim), and rows. And the memory that
/// the options name against both.
void check_outputs(const core::problem& p, const core::argument (&inputs)[3], std::span<const core::argument> outputs,
                   const device_options& options) {
    core::check_query_shape(outputs[0], inputs[0], p.value_dim, "v.value_dim");
    for (const auto& t : outputs.subspan(1)) core::check_query_shape(t, inputs[0], 0, "");
    const core::argument read[4] = {inputs[0], inputs[1], inputs[2],
                                    memory_of("options.key_lengths", options.key_lengths,
                                              options.key_lengths != nullptr ? p.batch : 0, sizeof(index_t))};
    core::check_memory(outputs.data(), static_cast<int>(outputs.size()), read, 4);
    check_contiguous(outputs[0]);
    const core::argument workspace =
        memory_of("options.workspace", options.workspace.data(), static_cast<index_t>(options.workspace.size()), 1);
    const auto apart_from = [&](const core::argument& other) {
        if (!core::may_overlap(workspace, other)) return;
        throw invalid_argument(std::string("pantile: options.workspace overlaps ") + other.name +
                               ": work memory must hold nothing else");
    };
    for (const core::argument& t : read) apart_from(t);
    for (const core::argument& t : outputs) apart_from(t);
}

/// A checked call.
struct prepared {
    forward_arguments arguments;
    forward_plan plan;
    device_facts device;
};

/// Checks all, and chooses a kernel for the current device. `outputs`: out, then rows; without any the call is only explained.
template <class T>
prepared prepare(device_view<const T> q, device_view<const T> k, device_view<const T> v, const device_options& options,
                 std::span<const core::argument> outputs = {}) {
    const core::argument inputs[3] = {core::describe("q", q), core::describe("k", k), core::describe("v", v)};
    prepared call;
    forward_arguments& a = call.arguments;
    a.shape = core::check_inputs(inputs[0], inputs[1], inputs[2], describe(options));
    a.shape.key_lengths = options.key_lengths;
    a.scale = sizeof(T) == 2 ? core::split_scale(a.shape.scale, 0, core::least_power<float>)
                             : core::split_scale<computed<T>>(a.shape.scale);
    for (const auto& t : inputs) check_contiguous(t);
    if (!outputs.empty()) check_outputs(a.shape, inputs, outputs, options);
    a.q = q.data;
    a.k = k.data;
    a.v = v.data;
    a.q_layout = layout_of(inputs[0]);
    a.k_layout = layout_of(inputs[1]);
    a.v_layout = layout_of(inputs[2]);
    call_facts facts;
    facts.type = element_of<T>;
    facts.vectors = in_vectors(inputs[0]) && in_vectors(inputs[1]) && in_vectors(inputs[2]);
    facts.repeats = repeats(inputs[0]) || repeats(inputs[1]) || repeats(inputs[2]);
    facts.key_splits = options.key_splits;
    facts.forced = forced_kernel(options.kernel);
    call.device = current_device();
    call.plan = choose(a.shape, facts, call.device);
    a.vectors = facts.vectors;
    a.tiles = call.plan.tiles;
    a.heads_packed = call.plan.heads_packed;
    a.tail = call.plan.tail;
    return call;
}

/// The workspace: the caller's, or the stream's pool's.
class scratch {
  public:
    scratch(std::span<std::byte> offered, index_t bytes, cudaStream_t stream) : stream_(stream) {
        if (offered.empty()) {
            check(cudaMallocAsync(&data_, static_cast<std::size_t>(bytes), stream), "cudaMallocAsync(workspace)");
            owned_ = true;
            return;
        }
        if (static_cast<index_t>(offered.size()) < bytes) {
            throw invalid_argument("pantile: options.workspace has " + std::to_string(offered.size()) +
                                   " bytes: this call needs " + std::to_string(bytes) +
                                   " (explain(...).workspace_bytes)");
        }
        if (reinterpret_cast<std::uintptr_t>(offered.data()) % 256 != 0) {
            throw invalid_argument("pantile: options.workspace is not 256-byte aligned");
        }
        data_ = offered.data();
    }
    scratch(const scratch&) = delete;
    scratch& operator=(const scratch&) = delete;
    ~scratch() {
        if (owned_) cudaFreeAsync(data_, stream_); // in a destructor there is nobody to tell of a failure
    }
    [[nodiscard]] void* data() const { return data_; }

  private:
    cudaStream_t stream_;
    void* data_ = nullptr;
    bool owned_ = false;
};

/// A number of 48 bits that no other launch of this process has, and that memory of unknown contents does not hold but by
/// chance: the first one is random.
std::uint64_t next_ticket() {
    static std::atomic<std::uint64_t> next{std::random_device{}() | std::uint64_t{std::random_device{}()} << 32};
    constexpr std::uint64_t top = std::uint64_t{1} << 47; // set, so that none is 0
    return (next.fetch_add(1, std::memory_order_relaxed) & (top - 1)) | top;
}

void run(const prepared& call, const device_options& options, element type, cudaStream_t stream) {
    const forward_arguments& a = call.arguments;
    const index_t rows = a.shape.batch * a.shape.q_heads * a.shape.q_len;
    if (rows == 0) return;
    if (call.plan.workspace_bytes == 0) {
        call.plan.chosen->launch(a, call.device.multiprocessors, stream);
        return;
    }
    const scratch room(options.workspace, call.plan.workspace_bytes, stream);
    if (call.plan.counts_items || call.plan.chosen->merges_splits) {
        forward_arguments sharing = a;
        sharing.workspace = room.data();
        sharing.ticket = next_ticket();
        call.plan.chosen->launch(sharing, call.device.multiprocessors, stream);
        return;
    }
    // The splits' O, sums and maxima, each (split, batch, head, row).
    forward_arguments partial = a;
    const index_t heads = a.shape.q_heads;
    const index_t length = a.shape.q_len;
    const index_t columns = a.shape.value_dim;
    const index_t bytes = computed_bytes(type);
    partial.kind = out_kind::partial;
    partial.out = room.data();
    partial.out_layout = {heads * length * columns, length * columns, columns};
    partial.out_vectors = columns * bytes % 16 == 0;
    partial.split_stride_out = rows * columns;
    partial.lse = static_cast<std::byte*>(room.data()) + a.tiles.key_splits * rows * columns * bytes;
    partial.max = static_cast<std::byte*>(partial.lse) + a.tiles.key_splits * rows * bytes;
    partial.lse_layout = partial.max_layout = {heads * length, length, 1};
    partial.split_stride_rows = rows;
    call.plan.chosen->launch(partial, call.device.multiprocessors, stream);
    launch_combine(partial, a, type, stream);
}

template <class T, class Out>
void forward(device_view<const T> q, device_view<const T> k, device_view<const T> v, device_view<Out> out,
             const device_row_view<computed<T>>* lse, cudaStream_t stream, const device_options& options) {
    const core::float_environment standard; // in which the scale is split
    core::argument outputs[2] = {core::describe("out", out), {}};
    if (lse != nullptr) outputs[1] = core::describe("lse", *lse);
    prepared call = prepare(q, k, v, options, std::span(outputs, lse != nullptr ? 2U : 1U));
    forward_arguments& a = call.arguments;
    a.out = out.data;
    a.out_layout = layout_of(outputs[0]);
    a.kind = std::is_same_v<T, Out> ? out_kind::same : out_kind::wide;
    a.out_vectors = in_vectors(outputs[0]);
    a.out_boxes = a.kind == out_kind::same && a.out_vectors && !repeats(outputs[0]);
    if (lse != nullptr) {
        a.lse = lse->data;
        a.lse_layout = layout_of(outputs[1]);
    }
    run(call, options, element_of<T>, stream);
}

template <class T>
void forward_partial(device_view<const T> q, device_view<const T> k, device_view<const T> v,
                     const device_partial_view<computed<T>>& part, cudaStream_t stream, const device_options& options) {
    const core::float_environment standard;
    const core::argument outputs[3] = {core::describe("part.out", part.out), core::describe("part.max", part.max),
                                       core::describe("part.sum", part.sum)};
    prepared call = prepare(q, k, v, options, outputs);
    forward_arguments& a = call.arguments;
    a.kind = out_kind::partial;
    a.out = part.out.data;
    a.out_layout = layout_of(outputs[0]);
    a.out_vectors = in_vectors(outputs[0]);
    a.max = part.max.data;
    a.max_layout = layout_of(outputs[1]);
    a.lse = part.sum.data;
    a.lse_layout = layout_of(outputs[2]);
    run(call, options, element_of<T>, stream);
}

/// The three tensors of a partial result, described and checked against the shape of `model`.
struct described_part {
    core::argument tensors[3];
    part_arguments arguments;
};

template <class T>
described_part describe_part(const char* out, const char* max, const char* sum, const device_partial_view<T>& part) {
    described_part d{{core::describe(out, part.out), core::describe(max, part.max), core::describe(sum, part.sum)}, {}};
    d.arguments.out = const_cast<std::remove_const_t<T>*>(part.out.data);
    d.arguments.max = const_cast<std::remove_const_t<T>*>(part.max.data);
    d.arguments.sum = const_cast<std::remove_const_t<T>*>(part.sum.data);
    d.arguments.out_layout = layout_of(d.tensors[0]);
    d.arguments.max_layout = layout_of(d.tensors[1]);
    d.arguments.sum_layout = layout_of(d.tensors[2]);
    return d;
}

void check_part(const described_part& part, const core::argument& model) {
    core::check_same_shape(part.tensors[0], model);
    core::check_query_shape(part.tensors[1], model, 0, "");
    core::check_query_shape(part.tensors[2], model, 0, "");
    check_contiguous(part.tensors[0]);
}

/// Rows of a tensor, which must be few enough for one block each.
index_t rows_of(const core::argument& t) {
    const index_t rows = t.extent[0] * t.extent[1] * t.extent[2];
    if (rows > 0x7fffffff) {
        throw unsupported("pantile: the call has " + std::to_string(rows) +
                          " rows; the CUDA machine merges up to 2^31 - 1");
    }
    return rows;
}

template <class T>
void merge_parts(const device_partial_view<const T>& a, const device_partial_view<const T>& b,
                 const device_partial_view<T>& part, cudaStream_t stream) {
    const described_part from_a = describe_part("a.out", "a.max", "a.sum", a);
    const described_part from_b = describe_part("b.out", "b.max", "b.sum", b);
    const described_part to = describe_part("part.out", "part.max", "part.sum", part);
    const core::argument& model = from_a.tensors[0];
    for (const described_part* p : {&from_a, &from_b, &to}) check_part(*p, model);
    bool in_place = true;
    for (int i = 0; i < 3; ++i) {
        in_place = in_place && from_a.tensors[i].data == to.tensors[i].data &&
                   std::equal(from_a.tensors[i].stride, from_a.tensors[i].stride + 4, to.tensors[i].stride);
    }
    if (!in_place) core::check_memory(to.tensors, 3, from_a.tensors, 3);
    core::check_memory(to.tensors, 3, from_b.tensors, 3);
    if (rows_of(model) == 0) return;
    launch_merge(from_a.arguments, from_b.arguments, to.arguments, model.extent[0], model.extent[1], model.extent[2],
                 model.extent[3], element_of<T>, stream);
}

template <class T>
void finish_part(const device_partial_view<const T>& part, const device_view<T>& out, const device_row_view<T>& lse,
                 cudaStream_t stream) {
    const described_part from = describe_part("part.out", "part.max", "part.sum", part);
    const core::argument& model = from.tensors[0];
    check_part(from, model);
    const core::argument outputs[2] = {core::describe("out", out), core::describe("lse", lse)};
    core::check_same_shape(outputs[0], model);
    core::check_query_shape(outputs[1], model, 0, "");
    check_contiguous(outputs[0]);
    const bool in_place =
        model.data == outputs[0].data && std::equal(model.stride, model.stride + 4, outputs[0].stride);
    core::check_memory(outputs, 2, from.tensors + 1, 2);
    if (!in_place) core::check_memory(outputs, 2, from.tensors, 1);
    if (rows_of(model) == 0) return;
    part_arguments to;
    to.out = out.data;
    to.sum = lse.data;
    to.out_layout = layout_of(outputs[0]);
    to.sum_layout = layout_of(outputs[1]);
    launch_finish(from.arguments, to, model.extent[0], model.extent[1], model.extent[2], model.extent[3], element_of<T>,
                  stream);
}

template <class T>
device_explanation explain(device_view<const T> q, device_view<const T> k, device_view<const T> v,
                           const device_options& options) {
    const core::float_environment standard;
    const prepared call = prepare(q, k, v, options);
    const kernel& chosen = *call.plan.chosen;
    core::problem p = call.arguments.shape;
    p.key_lengths = nullptr; // device memory: predicted for full lengths
    device_explanation e;
    e.kernel = std::string(name_of(chosen.kind)) + ", head dim up to " + std::to_string(chosen.dim);
    if (chosen.value_dim != chosen.dim) e.kernel += ", value dim up to " + std::to_string(chosen.value_dim);
    e.tiles = call.plan.tiles;
    e.heads_packed = call.plan.heads_packed;
    e.blocks = call.plan.blocks;
    e.threads = chosen.threads;
    e.shared_bytes = chosen.shared_bytes;
    e.workspace_bytes = call.plan.workspace_bytes;
    // Packed heads share a row tile, and so its K and V.
    core::problem packed = p;
    packed.q_heads = p.q_heads / e.heads_packed;
    e.traffic = core::forward_traffic(packed, {e.tiles.row_tile / e.heads_packed, e.tiles.key_tile, 1});
    e.traffic.q.reads *= e.heads_packed;
    e.traffic.out.writes *= e.heads_packed;
    e.traffic.lse.writes *= e.heads_packed;
    const core::transfers all = e.traffic.total();
    const index_t partials = e.tiles.key_splits > 1 ? e.workspace_bytes : 0; // written by the splits, read by the merge
    const index_t bytes = bytes_of(element_of<T>);
    e.read_bytes = bytes * all.reads + partials;
    e.write_bytes =
        bytes * (all.writes - e.traffic.lse.writes) + computed_bytes(element_of<T>) * e.traffic.lse.writes + partials;
    e.flops = 2.0 * static_cast<double>(p.head_dim + p.value_dim) * static_cast<double>(core::visible_pairs(p));
    return e;
}

} // namespace
} // namespace cuda

// clang-format off
#define PANTILE_ATTENTION(T, Out, Row)                                                                                 \
    void attention(device_view<const T> q, device_view<const T> k, device_view<const T> v, device_view<Out> out,       \
                   cudaStream_t stream, const device_options& options) {                                               \
        cuda::forward<T, Out>(q, k, v, out, nullptr, stream, options);                                                 \
    }                                                                                                                  \
    void attention(device_view<const T> q, device_view<const T> k, device_view<const T> v, device_view<Out> out,       \
                   device_row_view<Row> lse, cudaStream_t stream, const device_options& options) {                     \
        cuda::forward<T, Out>(q, k, v, out, &lse, stream, options);                                                    \
    }
PANTILE_ATTENTION(float, float, float)
PANTILE_ATTENTION(double, double, double)
PANTILE_ATTENTION(float16, float16, float)
PANTILE_ATTENTION(float16, float, float)
PANTILE_ATTENTION(bfloat16, bfloat16, float)
PANTILE_ATTENTION(bfloat16, float, float)
#undef PANTILE_ATTENTION

#define PANTILE_OF_INPUT(T, Row)                                                                                       \
    void attention_partial(device_view<const T> q, device_view<const T> k, device_view<const T> v,                     \
                           device_partial_view<Row> part, cudaStream_t stream, const device_options& options) {        \
        cuda::forward_partial<T>(q, k, v, part, stream, options);                                                      \
    }                                                                                                                  \
    device_explanation explain(device_view<const T> q, device_view<const T> k, device_view<const T> v,                 \
                               const device_options& options) {                                                        \
        return cuda::explain<T>(q, k, v, options);                                                                     \
    }
PANTILE_OF_INPUT(float, float)
PANTILE_OF_INPUT(double, double)
PANTILE_OF_INPUT(float16, float)
PANTILE_OF_INPUT(bfloat16, float)
#undef PANTILE_OF_INPUT

#define PANTILE_OF_PARTS(T)                                                                                            \
    void merge(device_partial_view<const T> a, device_partial_view<const T> b, device_partial_view<T> part,            \
               cudaStream_t stream) {                                                                                  \
        cuda::merge_parts<T>(a, b, part, stream);                                                                      \
    }                                                                                                                  \
    void finish(device_partial_view<const T> part, device_view<T> out, device_row_view<T> lse, cudaStream_t stream) {  \
        cuda::finish_part<T>(part, out, lse, stream);                                                                  \
    }
PANTILE_OF_PARTS(float)
PANTILE_OF_PARTS(double)
#undef PANTILE_OF_PARTS
// clang-format on

std::string to_string(const device_explanation& e) {
    std::ostringstream text;
    text << "cuda: " << e.kernel << "\ntiles: " << e.tiles.row_tile << " rows";
    if (e.heads_packed > 1) text << " (" << e.heads_packed << " heads packed)";
    text << " x " << e.tiles.key_tile << " keys";
    if (e.tiles.key_splits > 1) text << ", keys in " << e.tiles.key_splits << " splits";
    text << "\nblocks: " << e.blocks << " of " << e.threads << " threads, " << e.shared_bytes
         << " bytes of shared memory each\nworkspace: " << e.workspace_bytes
         << " bytes\npredicted L2 traffic: " << e.read_bytes << " bytes read, " << e.write_bytes
         << " written\nwork: " << e.flops << " FLOP\n";
    return text.str();
}

std::ostream& operator<<(std::ostream& os, const device_explanation& e) { return os << to_string(e); }

} // namespace pantile
