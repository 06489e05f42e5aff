#!/usr/bin/env python3
"""bf16 forward: pantile's AMX kernels beside PyTorch's scaled_dot_product_attention, on this machine's CPU.

Both run in processes of their own on the same shapes with the same threads. In every round each is timed once, in turn, and
the ratio is taken within the round; the table shows medians. Needs PyTorch in this Python, and a processor with AMX.

  cmake --preset release && cmake --build --preset release --target pantile-amx-bench
  python3 bench/amx_peers.py build/release/bench/pantile-amx-bench
"""

import argparse
import statistics
import subprocess
import time

import torch


def pantile_seconds(worker, *line):
    worker.stdin.write(" ".join(map(str, line)) + "\n")
    worker.stdin.flush()
    answer = worker.stdout.readline().split()
    if not answer or answer[0] == "refused:":
        raise SystemExit("pantile-amx-bench: " + (" ".join(answer) or "ended"))
    return answer[0], float(answer[-1])


def torch_seconds(tensors, causal, repetitions):
    taken = []
    for i in range(repetitions + 1):  # the first call warms up
        start = time.perf_counter()
        torch.nn.functional.scaled_dot_product_attention(*tensors, is_causal=causal)
        if i > 0:
            taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("worker", help="the program pantile-amx-bench")
    options.add_argument("--threads", default="1,16")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--budget", type=float, default=0.25, help="seconds of work a measurement aims at")
    o = options.parse_args()
    worker = subprocess.Popen([o.worker], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    print(f"PyTorch {torch.__version__}; GFLOP/s")
    print("| threads | d | mask | N | PyTorch | pantile avx512 | pantile | isa | ratio |")
    print("| - | - | - | - | - | - | - | - | - |")
    with torch.inference_mode():
        for threads in map(int, o.threads.split(",")):
            torch.set_num_threads(threads)
            heads = max(threads, 1)
            for dim in (64, 128):
                for causal in (False, True):
                    for length in (2048, 8192):
                        flop = 4 * heads * length * length * dim / (2 if causal else 1)
                        tensors = [torch.randn(1, heads, length, dim, dtype=torch.bfloat16) for _ in range(3)]
                        repetitions = max(1, min(15, int(o.budget * 250e9 * threads / flop)))
                        rates = []
                        for _ in range(o.rounds):
                            shape = (dim, length, heads, int(causal), threads, 0, 0)
                            isa, amx = pantile_seconds(worker, *shape, "automatic", 2 * repetitions + 1)
                            theirs = torch_seconds(tensors, causal, repetitions)
                            rates.append((flop / theirs / 1e9, flop / amx / 1e9, theirs / amx))
                        _, avx512 = pantile_seconds(worker, *shape, "avx512", repetitions)
                        theirs, amx, ratio = (statistics.median(column) for column in zip(*rates))
                        mask = "causal" if causal else "full"
                        print(f"| {threads} | {dim} | {mask} | {length} | {theirs:.0f} | {flop / avx512 / 1e9:.0f} "
                              f"| {amx:.0f} | {isa} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
