#include "call.hpp"
#include "explanation.hpp"
#include "kernel_names.hpp"
#include "status.hpp"
#include "work_memory.hpp"

#include <pantile/core/float_environment.hpp>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <random>

// attention, attention_partial and explain of pantile/cuda.hpp: check, choose, launch.

namespace pantile {
namespace cuda {
namespace {

/// options.kernel, or else what the environment asks for.
cuda_kernel forced_kernel(cuda_kernel option) {
    if (option != cuda_kernel::automatic) return option;
    return kernel_named(std::getenv("PANTILE_CUDA_KERNEL")); // NOLINT(concurrency-mt-unsafe): nothing here sets it
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
    call.arguments = checked_arguments(inputs, element_of<T>, options, outputs);
    const call_facts facts = facts_of(inputs, element_of<T>, options, forced_kernel(options.kernel));
    call.device = current_device();
    call.plan = choose(call.arguments.shape, facts, call.device);
    set_plan(call.arguments, call.plan);
    return call;
}

/// The workspace: the caller's, or the stream's pool's.
class scratch {
  public:
    scratch(std::span<std::byte> offered, index_t bytes, cudaStream_t stream) : stream_(stream) {
        if (!offered.empty()) {
            data_ = offered_memory(offered, bytes);
            return;
        }
        check(cudaMallocAsync(&data_, static_cast<std::size_t>(bytes), stream), "cudaMallocAsync(workspace)");
        owned_ = true;
    }
    scratch(const scratch&) = delete;
    scratch& operator=(const scratch&) = delete;
    ~scratch() {
        if (owned_) cudaFreeAsync(data_, stream_); // in a destructor there is nobody to tell of a failure
    }
    [[nodiscard]] std::byte* data() const { return static_cast<std::byte*>(data_); }

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
    const auto launch = [&](const forward_arguments& arguments) {
        call.plan.chosen->launch(arguments, call.device.multiprocessors, stream);
    };
    if (a.shape.batch * a.shape.q_heads * a.shape.q_len == 0) return;
    const work kind = work_of(call.plan);
    if (kind == work::none) return launch(a);
    const scratch room(options.workspace, call.plan.workspace_bytes, stream);
    if (kind == work::shared) {
        forward_arguments sharing = a;
        sharing.workspace = room.data();
        sharing.ticket = next_ticket();
        return launch(sharing);
    }
    const forward_arguments parts = into_parts(a, type, room.data());
    launch(parts);
    launch_combine(parts, a, type, stream);
}

template <class T, class Out>
void forward(device_view<const T> q, device_view<const T> k, device_view<const T> v, device_view<Out> out,
             const device_row_view<computed<T>>* lse, cudaStream_t stream, const device_options& options) {
    const core::float_environment standard; // in which the scale is split
    core::argument both[2] = {core::describe("out", out), {}};
    if (lse != nullptr) both[1] = core::describe("lse", *lse);
    const std::span<const core::argument> outputs(both, lse != nullptr ? 2U : 1U);
    prepared call = prepare(q, k, v, options, outputs);
    set_outputs(call.arguments, std::is_same_v<T, Out> ? out_kind::same : out_kind::wide, outputs);
    run(call, options, element_of<T>, stream);
}

template <class T>
void forward_partial(device_view<const T> q, device_view<const T> k, device_view<const T> v,
                     const device_partial_view<computed<T>>& part, cudaStream_t stream, const device_options& options) {
    const core::float_environment standard;
    const core::argument outputs[3] = {core::describe("part.out", part.out), core::describe("part.max", part.max),
                                       core::describe("part.sum", part.sum)};
    prepared call = prepare(q, k, v, options, outputs);
    set_outputs(call.arguments, out_kind::partial, outputs);
    run(call, options, element_of<T>, stream);
}

template <class T>
device_explanation explain(device_view<const T> q, device_view<const T> k, device_view<const T> v,
                           const device_options& options) {
    const core::float_environment standard;
    const prepared call = prepare(q, k, v, options);
    return explained(call.arguments.shape, call.plan, element_of<T>);
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
// clang-format on

} // namespace pantile
