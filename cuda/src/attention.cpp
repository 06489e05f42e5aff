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

namespace pantile::inline v0 {
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

/// q, k and v.
struct described_inputs {
    core::argument tensors[3];
};

described_inputs describe(const tensor_ref& q, const tensor_ref& k, const tensor_ref& v) {
    return {{core::describe("q", q), core::describe("k", k), core::describe("v", v)}};
}

/// Checks all, and chooses a kernel for the current device. `outputs`: out, then rows; without any the call is only explained.
prepared prepare(const described_inputs& inputs, const options& o, std::span<const core::argument> outputs = {}) {
    prepared call;
    call.arguments = checked_arguments(inputs.tensors, o, outputs);
    const call_facts facts = facts_of(inputs.tensors, o, forced_kernel(o.kernel));
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

void run(const prepared& call, const options& o, dtype type, cudaStream_t stream) {
    const forward_arguments& a = call.arguments;
    const auto launch = [&](const forward_arguments& arguments) {
        call.plan.chosen->launch(arguments, call.device.multiprocessors, stream);
    };
    if (a.shape.batch * a.shape.q_heads * a.shape.q_len == 0) return;
    const work kind = work_of(call.plan);
    if (kind == work::none) return launch(a);
    const scratch room(o.workspace, call.plan.workspace_bytes, stream);
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

} // namespace
} // namespace cuda

void erased::attention(const tensor_ref& q, const tensor_ref& k, const tensor_ref& v, const results& to,
                       cudaStream_t stream, const options& o) {
    const core::float_environment standard; // in which the scale is split
    core::check_given("out", to.out.wanted);
    const core::argument both[2] = {core::describe("out", to.out), core::describe("lse", to.lse)};
    const std::span<const core::argument> outputs(both, to.lse.wanted ? 2U : 1U);
    cuda::prepared call = cuda::prepare(cuda::describe(q, k, v), o, outputs);
    cuda::set_outputs(call.arguments, to.out.type == q.type ? cuda::out_kind::same : cuda::out_kind::wide, outputs);
    cuda::run(call, o, q.type, stream);
}

void erased::attention_partial(const tensor_ref& q, const tensor_ref& k, const tensor_ref& v, const partial_ref& part,
                               cudaStream_t stream, const options& o) {
    const core::float_environment standard;
    const core::argument outputs[3] = {core::describe("part.out", part.out), core::describe("part.max", part.max),
                                       core::describe("part.sum", part.sum)};
    const cuda::described_inputs inputs = cuda::describe(q, k, v);
    core::check_computed_type(outputs[0], inputs.tensors[0]);
    cuda::prepared call = cuda::prepare(inputs, o, outputs);
    cuda::set_outputs(call.arguments, cuda::out_kind::partial, outputs);
    cuda::run(call, o, q.type, stream);
}

device_explanation erased::explain_on_device(const tensor_ref& q, const tensor_ref& k, const tensor_ref& v,
                                             const options& o) {
    const core::float_environment standard;
    const cuda::prepared call = cuda::prepare(cuda::describe(q, k, v), o);
    return cuda::explained(call.arguments.shape, call.plan, q.type);
}

} // namespace pantile::inline v0
