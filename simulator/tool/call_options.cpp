#include "call_options.hpp"

#include <algorithm>
#include <cmath>

#include <pantile/error.hpp>

namespace pantile::inline v0::simulator::tool {

void call_options::add_sizes(CLI::App& verb) {
    verb.add_option("-n", n, "query rows and keys, as in 16384 or 16K")->capture_default_str();
    verb.add_option("--q-len", q_len, "query rows, if not -n");
    verb.add_option("--k-len", k_len, "keys, if not -n");
    verb.add_option("-d,--head-dim", head_dim, "head dim")->capture_default_str();
    verb.add_option("--value-dim", value_dim, "value dim, if not the head dim");
    verb.add_option("--batch", batch, "batch")->capture_default_str();
    verb.add_option("--heads", heads, "query heads")->capture_default_str();
    verb.add_option("--kv-heads", kv_heads, "key/value heads, if fewer than --heads");
    verb.add_flag("--packed", packed, "query heads of one key/value head form one long sequence of rows");
    verb.add_option("--mask", mask, "full, causal, causal-top-left, window:LEFT:RIGHT; may end in @OFFSET")
        ->capture_default_str();
    verb.add_option("--blocks", blocks, blocks_help);
    verb.add_option("--softcap", softcap, "soft cap of the logits; like the next two it changes no count  [none]");
    verb.add_flag("--alibi", alibi, "ALiBi with its published slopes, 2^(-8·h/H) for head h of H");
    verb.add_option("--sinks", sinks, "every head has a sink of this logit  [none]");
    verb.add_option("--devices", devices, "devices that share the work over their links (ring, split-keys)")
        ->capture_default_str();
    verb.add_option("--dtype", type, "fp64, fp32, fp16, bf16, fp8")->capture_default_str();
}

void call_options::add_algorithm(CLI::App& verb) {
    std::string names;
    for (const simulator::algorithm* a : algorithms()) names += (names.empty() ? "" : ", ") + std::string(a->name());
    verb.add_option("--algorithm", algorithm, names)->capture_default_str();
    verb.add_option("--pass", pass, "forward or backward")->capture_default_str();
}

void call_options::add_tiles(CLI::App& verb) {
    verb.add_option("--tiles", tiles,
                    "ROWSxKEYS; feasible: the least traffic that fits; paper: as published  [feasible where near "
                    "memory is bounded, else 128x128]");
    verb.add_option("--splits", splits, "parts of the keys (split-keys)")->capture_default_str();
    verb.add_option("--sram", near, "near memory: 64K is elements (the papers' M), 227KB is bytes  [unbounded]");
    std::string names;
    for (const std::string& m : machine_names()) names += m + ", ";
    verb.add_option(
        "--machine", machine,
        names + "here, or a JSON file: near memory, tile sizes and rates of a machine; pantile-sim machines has "
                "their figures and sources");
    verb.add_option("--stages", stages, "buffers of each streamed tile; 2 is double buffering")->capture_default_str();
    verb.add_flag("--separate-p", separate_p, "P has room of its own instead of overwriting S");
}

workload call_options::what() const {
    workload w;
    w.batch = batch;
    w.q_heads = heads;
    w.kv_heads = kv_heads < 0 ? heads : kv_heads;
    w.q_len = parse_size(q_len.empty() ? n : q_len, q_len.empty() ? "-n" : "--q-len");
    w.k_len = parse_size(k_len.empty() ? n : k_len, k_len.empty() ? "-n" : "--k-len");
    w.head_dim = head_dim;
    w.value_dim = value_dim < 0 ? head_dim : value_dim;
    w.packed_heads = packed;
    w.mask = parse_mask(mask);
    w.type = parse_dtype(type);
    w.devices = devices;
    w.softcap = softcap;
    const auto each_head = static_cast<std::size_t>(std::max<index_t>(w.q_heads, 0));
    for (std::size_t h = 1; alibi && h <= each_head; ++h)
        w.slopes.push_back(std::exp2(-8.0 * static_cast<double>(h) / static_cast<double>(each_head)));
    if (sinks) w.sinks.assign(each_head, *sinks);
    w.check(); // before a mask is drawn over these sizes
    if (!blocks.empty()) set_blocks(w, blocks);
    w.check();
    return w;
}

pass call_options::which() const {
    if (pass == "forward") return simulator::pass::forward;
    if (pass == "backward") return simulator::pass::backward;
    throw invalid_argument("--pass is '" + pass + "': it must be forward or backward");
}

experiment call_options::without_tiles() const {
    if (stages < 1) throw invalid_argument("--stages is " + std::to_string(stages) + ": it must be at least 1");
    if (!near.empty() && !machine.empty()) throw invalid_argument("--sram and --machine both say what near memory is");
    experiment e;
    e.what = what();
    e.which = which();
    e.plan.key_splits = splits;
    e.near = !near.empty()      ? parse_near(near, e.what.type)
             : !machine.empty() ? find_machine(machine).near(e.what.type)
                                : near_memory::of_bytes(unbounded, e.what.type);
    e.near.stages = stages;
    e.near.probabilities_in_place = !separate_p;
    return e;
}

experiment call_options::make(const simulator::algorithm& a) const {
    experiment e = without_tiles();
    const bool bounded = e.near.bytes < unbounded;
    if (a.tiled()) e.plan = parse_tiles(!tiles.empty() ? tiles : bounded ? "feasible" : "128x128", a, e, quantum());
    return e;
}

tile_quantum call_options::quantum() const { return machine.empty() ? tile_quantum{} : find_machine(machine).quantum; }

} // namespace pantile::inline v0::simulator::tool
