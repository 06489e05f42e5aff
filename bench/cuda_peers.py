#!/usr/bin/env python3
"""Times pantile's CUDA kernels in turn with PyTorch's, in one process, and prints a table of ratios.

    bench/cuda_peers.py BUILD/cuda/libpantile_bench_cuda.so [--grid hopper|portable|decode|fp32|fp64|features] [--json FILE]

Needs PyTorch with CUDA. Each cell runs every library in rotation, several rounds of short bursts, and takes medians, so
that the clock and power state of the GPU is the same for all. The grid "features" has no peers: it times soft caps (50, and 1,
which all logits pass), ALiBi and sinks beside the plain call, each kernel forced. TFLOP/s count 4 B H S^2 d (half of it under a causal mask).
"""
import argparse
import ctypes
import json
import statistics
import sys

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

KERNELS = {"automatic": 0, "portable": 1, "decode": 2, "sm90": 3, "ffma": 4}


def load(path):
    library = ctypes.CDLL(path)
    library.pantile_bench_forward.restype = ctypes.c_char_p
    return library


def pantile(library, q, k, v, causal, kernel):
    out = torch.empty_like(q)
    sizes = (ctypes.c_int64 * 6)(q.shape[0], q.shape[1], k.shape[1], q.shape[2], k.shape[2], q.shape[3])
    kind = {torch.float16: 0, torch.bfloat16: 1, torch.float32: 2, torch.float64: 3}[q.dtype]
    pointers = [ctypes.c_void_p(t.data_ptr()) for t in (q, k, v, out)]

    def run():
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        fault = library.pantile_bench_forward(kind, *pointers, sizes, int(causal), KERNELS[kernel], stream)
        if fault:
            raise RuntimeError(fault.decode())
        return out

    return run


def with_features(library, q, k, v, causal, kernel, softcap=0.0, slopes=None, sinks=None):
    """pantile with a soft cap, slopes and sinks."""
    library.pantile_bench_forward_with.restype = ctypes.c_char_p
    out = torch.empty_like(q)
    sizes = (ctypes.c_int64 * 6)(q.shape[0], q.shape[1], k.shape[1], q.shape[2], k.shape[2], q.shape[3])
    kind = {torch.float16: 0, torch.bfloat16: 1, torch.float32: 2, torch.float64: 3}[q.dtype]
    pointers = [ctypes.c_void_p(t.data_ptr()) for t in (q, k, v, out)]
    heads = [ctypes.c_void_p(t.data_ptr() if t is not None else None) for t in (slopes, sinks)]

    def run():
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        fault = library.pantile_bench_forward_with(kind, *pointers, sizes, int(causal), KERNELS[kernel],
                                                   ctypes.c_double(softcap), *heads, stream)
        if fault:
            raise RuntimeError(fault.decode())
        return out

    return run


def torch_kernel(backend, q, k, v, causal):
    def run():
        with sdpa_kernel(backend):
            return torch.nn.functional.scaled_dot_product_attention(
                q, k, v, is_causal=causal, enable_gqa=q.shape[1] != k.shape[1])

    return run


def burst(run, repeats):
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(repeats):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / repeats


def measure(contestants, rounds, burst_ms):
    """Median milliseconds of each contestant; None for one that cannot serve the call."""
    repeats, times = {}, {}
    for name, run in contestants.items():
        try:
            run()
            torch.cuda.synchronize()
            repeats[name] = max(1, round(burst_ms / max(burst(run, 2), 1e-3)))
            times[name] = []
        except RuntimeError as fault:
            print(f"  {name}: {str(fault).splitlines()[0]}", file=sys.stderr)
    for _ in range(rounds):
        for name in times:
            times[name].append(burst(contestants[name], repeats[name]))
    return {name: statistics.median(times[name]) if name in times else None for name in contestants}


def copy_rate():
    """GB/s read and written by a copy of 2 GB within the device."""
    source = torch.empty(1 << 31, device="cuda", dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * source.numel() * 1e-6 / statistics.median(burst(lambda: target.copy_(source), 3) for _ in range(5))


def tensors(batch, q_heads, kv_heads, q_len, k_len, dim, dtype):
    shapes = [(batch, q_heads, q_len, dim), (batch, kv_heads, k_len, dim), (batch, kv_heads, k_len, dim)]
    return [torch.randn(s, device="cuda", dtype=dtype) for s in shapes]


def check(results, name, against, where):
    difference = (results[name].float() - results[against].float()).abs().max().item()
    scale = results[against].float().abs().max().item()
    if not difference <= 0.02 * scale:
        print(f"  WRONG: {where}: {name} differs from {against} by {difference}", file=sys.stderr)


def write(report, path):
    if not path:
        return
    with open(path, "w", encoding="utf-8") as file:
        json.dump(report, file, indent=1)


def measure_features(library, chosen):
    """What soft caps, ALiBi and sinks cost: time beside that of the plain call."""
    names = ["softcap 50", "softcap 1", "alibi", "sinks", "all"]
    print(f"{torch.cuda.get_device_name()}, times beside the plain call's")
    print(f"{'':32}" + "".join(f"{n:>12}" for n in names))
    report = []
    for kernel, dtype in (("sm90", "bfloat16"), ("portable", "bfloat16"), ("sm90", "float32"), ("sm90", "float64")):
        for dim in map(int, (chosen.dims or "64,128,256").split(",")):
            for length in map(int, chosen.lengths.split(",")):
                for causal in (False, True):
                    heads = 2048 // dim
                    q, k, v = tensors(16384 // length, heads, heads, length, length, dim, getattr(torch, dtype))
                    numbers = torch.rand(heads, device="cuda")
                    calls = [{}, {"softcap": 50.0}, {"softcap": 1.0}, {"slopes": numbers}, {"sinks": numbers},
                             {"softcap": 50.0, "slopes": numbers, "sinks": numbers}]
                    runs = {str(n): with_features(library, q, k, v, causal, kernel, **c) for n, c in enumerate(calls)}
                    times = measure(runs, chosen.rounds, chosen.burst_ms)
                    label = f"{kernel} {dtype} d {dim} S {length} {'causal' if causal else 'full'}"
                    ratios = [times[str(n)] / times["0"] for n in range(1, len(calls))]
                    print(f"{label:32}" + "".join(f"{r:12.3f}" for r in ratios), flush=True)
                    report.append({"cell": label, "beside plain": dict(zip(names, ratios))})
    return report


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("library", nargs="+", help="one or more builds of libpantile_bench_cuda.so to compare")
    options.add_argument("--grid", default="hopper", choices=["hopper", "portable", "decode", "fp32", "fp64", "features"])
    options.add_argument("--dims", help="head dims; by default 64,128,256, and 192 in fp32 and fp64")
    options.add_argument("--lengths", default="512,2048,8192,16384")
    options.add_argument("--dtype", default="bfloat16", choices=["float16", "bfloat16"])
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--burst-ms", type=float, default=4.0)
    options.add_argument("--json", help="write all figures to this file")
    chosen = options.parse_args()
    libraries = [load(path) for path in chosen.library]
    if chosen.grid == "features":
        write(measure_features(libraries[0], chosen), chosen.json)
        return
    dtype = getattr(torch, chosen.dtype)
    ours = [f"pantile{n or ''}" for n in range(len(libraries))]
    peers = {"cudnn": SDPBackend.CUDNN_ATTENTION, "flash": SDPBackend.FLASH_ATTENTION}
    if chosen.grid == "portable":
        del peers["cudnn"]
    if chosen.grid in ("fp32", "fp64"):  # PyTorch has one fused kernel for fp32, none for fp64: there it writes the scores
        dtype = {"fp32": torch.float32, "fp64": torch.float64}[chosen.grid]
        peers = {"fused": SDPBackend.EFFICIENT_ATTENTION} if chosen.grid == "fp32" else {"math": SDPBackend.MATH}
    cells = []
    if chosen.grid == "decode":
        for batch, k_len in ((1, 8192), (1, 65536), (16, 8192), (64, 8192)):
            cells.append((f"decode {batch} x {k_len}", (batch, 32, 8, 1, k_len, 128), False))
    else:
        dims = chosen.dims or ("64,128,192,256" if chosen.grid in ("fp32", "fp64") else "64,128,256")
        for dim in map(int, dims.split(",")):
            for causal in (False, True):
                for length in map(int, chosen.lengths.split(",")):
                    sizes = (16384 // length, 2048 // dim, 2048 // dim, length, length, dim)
                    cells.append((f"d {dim} S {length} {'causal' if causal else 'full'}", sizes, causal))
    kernel = "portable" if chosen.grid == "portable" else "automatic"
    others = ["portable", "ffma"] if chosen.grid == "fp32" else []  # our other kernels, beside the chosen one
    unit = "GB/s of K and V" if chosen.grid == "decode" else "TFLOP/s"
    names = ours + others + list(peers)
    print(f"{torch.cuda.get_device_name()}, {dtype}, torch {torch.__version__}, "
          f"cuDNN {torch.backends.cudnn.version()}, {unit}")
    if chosen.grid == "decode":
        print(f"a copy within the device moves {copy_rate():.0f} GB/s")
    print(f"{'':24}" + "".join(f"{n:>10}" for n in names) + "".join(f"{o + '/best':>14}" for o in ours))
    ratios, report = {o: [] for o in ours}, []
    for label, sizes, causal in cells:
        q, k, v = tensors(*sizes, dtype)
        contestants = {o: pantile(library, q, k, v, causal, kernel) for o, library in zip(ours, libraries)}
        contestants |= {other: pantile(libraries[0], q, k, v, causal, other) for other in others}
        contestants |= {n: torch_kernel(backend, q, k, v, causal) for n, backend in peers.items()}
        times = measure(contestants, chosen.rounds, chosen.burst_ms)
        results = {n: contestants[n]().clone() for n in names if times[n]}
        for o in ours:
            check(results, o, next(n for n in peers if times[n]), label)
        batch, q_heads, kv_heads, q_len, k_len, dim = sizes
        if chosen.grid == "decode":
            work = 2 * batch * kv_heads * k_len * dim * q.element_size() * 1e-6
        else:
            work = 4 * batch * q_heads * q_len * k_len * dim * (0.5 if causal else 1) * 1e-9
        rates = {n: work / times[n] if times[n] else float("nan") for n in names}
        best = max(rates[n] for n in peers if times[n])
        for o in ours:
            ratios[o].append(rates[o] / best)
        print(f"{label:24}" + "".join(f"{rates[n]:10.0f}" for n in names)
              + "".join(f"{ratios[o][-1]:14.2f}" for o in ours), flush=True)
        report.append({"cell": label, "unit": unit, "rates": rates})
    for o in ours:
        print(f"{o}: median ratio to the faster peer {statistics.median(ratios[o]):.2f}, worst {min(ratios[o]):.2f}")
    write(report, chosen.json)


if __name__ == "__main__":
    main()
