// pantile_cuda.h: every function translates, calls, and turns exceptions into a status.
#include <pantile/c_translation.hpp>
#include <pantile/cuda.hpp>
#include <pantile_cuda.h>

namespace pantile::inline v0 {
namespace {

using namespace c_interface;

pantile_device_explanation to_c(const device_explanation& e) {
    const auto& [kernel, tiles, heads_packed, blocks, threads, shared_bytes, workspace_bytes, traffic, read_bytes,
                 write_bytes, flops] = e;
    pantile_device_explanation made = {};
    copy_text(kernel, made.kernel);
    made.tiles = c_interface::to_c(tiles);
    made.heads_packed = heads_packed;
    made.blocks = blocks;
    made.threads = threads;
    made.shared_bytes = shared_bytes;
    made.workspace_bytes = workspace_bytes;
    made.traffic = c_interface::to_c(traffic);
    made.read_bytes = read_bytes;
    made.write_bytes = write_bytes;
    made.flops = flops;
    return made;
}

device_explanation from_c(const pantile_device_explanation& e) {
    device_explanation made;
    auto& [kernel, tiles, heads_packed, blocks, threads, shared_bytes, workspace_bytes, traffic, read_bytes,
           write_bytes, flops] = made;
    kernel = text_of(e.kernel);
    tiles = c_interface::from_c(e.tiles);
    heads_packed = e.heads_packed;
    blocks = e.blocks;
    threads = e.threads;
    shared_bytes = e.shared_bytes;
    workspace_bytes = e.workspace_bytes;
    traffic = c_interface::from_c(e.traffic);
    read_bytes = e.read_bytes;
    write_bytes = e.write_bytes;
    flops = e.flops;
    return made;
}

/// What the host has and the device has not.
pantile_status not_served(const char* function, const char* host_function) {
    return guarded([&] {
        throw unsupported("pantile: " + std::string(function) +
                          ": the CUDA machine has no backward pass yet; it serves pantile_cuda_attention, "
                          "pantile_cuda_attention_partial, pantile_cuda_merge, pantile_cuda_finish and "
                          "pantile_cuda_explain, and the host serves " +
                          host_function);
    });
}

} // namespace
} // namespace pantile::inline v0

using namespace pantile;

const char* pantile_cuda_message(void) { return pantile::c_interface::last_message(); }

pantile_status pantile_cuda_attention(const pantile_tensor* q, const pantile_tensor* k, const pantile_tensor* v,
                                      const pantile_results* results, void* stream, const pantile_options* options) {
    return guarded([&] {
        const inputs in = to_inputs(q, k, v, options);
        erased::attention(in.q, in.k, in.v, to_results(results), static_cast<cudaStream_t>(stream), in.o);
    });
}

pantile_status pantile_cuda_attention_backward(const pantile_tensor*, const pantile_tensor*, const pantile_tensor*,
                                               const pantile_tensor*, const pantile_tensor*,
                                               const pantile_loss_gradients*, const pantile_gradients*, void*,
                                               const pantile_options*) {
    return not_served("pantile_cuda_attention_backward", "pantile_attention_backward");
}

pantile_status pantile_cuda_attention_partial(const pantile_tensor* q, const pantile_tensor* k, const pantile_tensor* v,
                                              const pantile_partial* part, void* stream,
                                              const pantile_options* options) {
    return guarded([&] {
        const inputs in = to_inputs(q, k, v, options);
        erased::attention_partial(in.q, in.k, in.v, to_partial(part, "part"), static_cast<cudaStream_t>(stream), in.o);
    });
}

pantile_status pantile_cuda_merge(const pantile_partial* a, const pantile_partial* b, const pantile_partial* part,
                                  void* stream) {
    return guarded([&] {
        const partial_ref from_a = to_partial(a, "a");
        const partial_ref from_b = to_partial(b, "b");
        erased::merge(from_a, from_b, to_partial(part, "part"), static_cast<cudaStream_t>(stream));
    });
}

pantile_status pantile_cuda_finish(const pantile_partial* part, const pantile_results* results, void* stream) {
    return guarded([&] {
        const partial_ref from = to_partial(part, "part");
        erased::finish(from, to_results(results), static_cast<cudaStream_t>(stream));
    });
}

pantile_status pantile_cuda_explain(const pantile_tensor* q, const pantile_tensor* k, const pantile_tensor* v,
                                    const pantile_options* options, pantile_device_explanation* explanation) {
    return guarded([&] {
        const inputs in = to_inputs(q, k, v, options);
        check_sized(explanation, "explanation", "pantile_device_explanation");
        const pantile_device_explanation made = to_c(erased::explain_on_device(in.q, in.k, in.v, in.o));
        write_sized(&made, explanation, sizeof made);
    });
}

pantile_status pantile_cuda_explain_backward(const pantile_tensor*, const pantile_tensor*, const pantile_tensor*,
                                             const pantile_options*, pantile_device_explanation*) {
    return not_served("pantile_cuda_explain_backward", "pantile_explain_backward");
}

pantile_status pantile_cuda_explanation_text(const pantile_device_explanation* explanation, char* text, size_t capacity,
                                             size_t* needed) {
    return guarded([&] {
        pantile_device_explanation from;
        read_sized(explanation, "explanation", "pantile_device_explanation", &from, sizeof from);
        give_text(to_string(from_c(from)), text, capacity, needed);
    });
}
