// pantile.h: every function translates, calls, and turns exceptions into a status.
#include <pantile.h>
#include <pantile/attention.hpp>
#include <pantile/c_translation.hpp>

namespace pantile::inline v0 {
namespace {

using namespace c_interface;

pantile_explanation to_c(const explanation& e) {
    const auto& [machine, isa, kernel, tiles, threads, workspace_bytes, traffic, read_bytes, write_bytes, flops, note] =
        e;
    pantile_explanation made = {};
    copy_text(machine, made.machine);
    copy_text(isa, made.isa);
    copy_text(kernel, made.kernel);
    made.tiles = c_interface::to_c(tiles);
    made.threads = threads;
    made.workspace_bytes = workspace_bytes;
    made.traffic = c_interface::to_c(traffic);
    made.read_bytes = read_bytes;
    made.write_bytes = write_bytes;
    made.flops = flops;
    copy_text(note, made.note);
    return made;
}

explanation from_c(const pantile_explanation& e) {
    explanation made;
    auto& [machine, isa, kernel, tiles, threads, workspace_bytes, traffic, read_bytes, write_bytes, flops, note] = made;
    machine = text_of(e.machine);
    isa = text_of(e.isa);
    kernel = text_of(e.kernel);
    tiles = c_interface::from_c(e.tiles);
    threads = e.threads;
    workspace_bytes = e.workspace_bytes;
    traffic = c_interface::from_c(e.traffic);
    read_bytes = e.read_bytes;
    write_bytes = e.write_bytes;
    flops = e.flops;
    note = text_of(e.note);
    return made;
}

template <class Explain>
pantile_status explain_by(const Explain& explain, const pantile_tensor* q, const pantile_tensor* k,
                          const pantile_tensor* v, const pantile_options* options, pantile_explanation* explanation) {
    return guarded([&] {
        const inputs in = to_inputs(q, k, v, options);
        check_sized(explanation, "explanation", "pantile_explanation");
        const pantile_explanation made = to_c(explain(in.q, in.k, in.v, in.o));
        write_sized(&made, explanation, sizeof made);
    });
}

} // namespace
} // namespace pantile::inline v0

using namespace pantile;

pantile_status pantile_attention(const pantile_tensor* q, const pantile_tensor* k, const pantile_tensor* v,
                                 const pantile_results* results, const pantile_options* options) {
    return guarded([&] {
        const inputs in = to_inputs(q, k, v, options);
        erased::attention(in.q, in.k, in.v, to_results(results), in.o);
    });
}

pantile_status pantile_attention_backward(const pantile_tensor* q, const pantile_tensor* k, const pantile_tensor* v,
                                          const pantile_tensor* out, const pantile_tensor* lse,
                                          const pantile_loss_gradients* loss_gradients,
                                          const pantile_gradients* gradients, const pantile_options* options) {
    return guarded([&] {
        const inputs in = to_inputs(q, k, v, options);
        const tensor_ref given_out = to_tensor(out, "out", 4);
        const tensor_ref given_lse = to_tensor(lse, "lse", 3);
        const pantile::loss_gradients from = to_loss_gradients(loss_gradients);
        erased::attention_backward(in.q, in.k, in.v, given_out, given_lse, from, to_gradients(gradients), in.o);
    });
}

pantile_status pantile_attention_partial(const pantile_tensor* q, const pantile_tensor* k, const pantile_tensor* v,
                                         const pantile_partial* part, const pantile_options* options) {
    return guarded([&] {
        const inputs in = to_inputs(q, k, v, options);
        erased::attention_partial(in.q, in.k, in.v, to_partial(part, "part"), in.o);
    });
}

pantile_status pantile_merge(const pantile_partial* a, const pantile_partial* b, const pantile_partial* part) {
    return guarded([&] {
        const partial_ref from_a = to_partial(a, "a");
        const partial_ref from_b = to_partial(b, "b");
        erased::merge(from_a, from_b, to_partial(part, "part"));
    });
}

pantile_status pantile_finish(const pantile_partial* part, const pantile_results* results) {
    return guarded([&] {
        const partial_ref from = to_partial(part, "part");
        erased::finish(from, to_results(results));
    });
}

pantile_status pantile_explain(const pantile_tensor* q, const pantile_tensor* k, const pantile_tensor* v,
                               const pantile_options* options, pantile_explanation* explanation) {
    return explain_by(erased::explain, q, k, v, options, explanation);
}

pantile_status pantile_explain_backward(const pantile_tensor* q, const pantile_tensor* k, const pantile_tensor* v,
                                        const pantile_options* options, pantile_explanation* explanation) {
    return explain_by(erased::explain_backward, q, k, v, options, explanation);
}

pantile_status pantile_explanation_text(const pantile_explanation* explanation, char* text, size_t capacity,
                                        size_t* needed) {
    return guarded([&] {
        pantile_explanation from;
        read_sized(explanation, "explanation", "pantile_explanation", &from, sizeof from);
        give_text(to_string(from_c(from)), text, capacity, needed);
    });
}
