#!/usr/bin/env python3
"""Times pantile side by side with PyTorch, ONNX Runtime and OpenVINO on this machine's CPU.

Each library runs in a process of its own with the same threads, on the same inputs. In every round each of them is timed
once, in turn, while the others are stopped (SIGSTOP), and the ratio is taken within the round: a machine that drifts drifts
for all alike. The table shows medians over the rounds. Every result is compared with pantile's before it is timed.

The libraries come from PyPI into a virtual environment outside the repository (about 2 GB, made by the first run).

Examples:
  cmake --preset release && cmake --build --preset release --target pantile-peer-worker
  python3 bench/peers.py --quick                          a minute: fp32, one size
  python3 bench/peers.py --json peers.json                the whole grid (about 25 minutes)
  python3 bench/peers.py --json peers.json --resume --budget 60
                                                          a minute of it; exit code 3 while cells are left: repeat
  python3 bench/peers.py --kind decode --dtype fp32,bf16 --n 8192 --threads 2
  python3 bench/peers.py --json peers.json --show         print the tables of an earlier run
"""

import argparse
import ctypes
import datetime
import hashlib
import json
import os
import platform
import re
import select
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEERS = {"pytorch": "PyTorch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
KINDS = ["full", "causal", "backward", "backward-causal", "decode"]
DTYPES = ["fp32", "bf16", "fp16", "fp64"]
TITLES = {
    "full": "Forward, every row sees every key",
    "causal": "Forward, causal",
    "backward": "Backward, every row sees every key",
    "backward-causal": "Backward, causal",
    "decode": "Decode: one query over N keys, 32 query heads, 8 kv heads",
}
# Heads of the square problems: enough work for the threads, and less than a second a call where rows are many.
HEADS = {512: 8, 2048: 4, 8192: 2}
# Largest difference from pantile, for standard normal inputs, that still is the same function in that type: a few units in
# the last place of a 16-bit output, or the rounding of 16-bit probabilities inside the other library.
TOLERANCE = {"fp32": 2e-5, "fp64": 1e-12, "fp16": 2e-2, "bf16": 8e-2}

# Cores in use by other programs above which a measurement counts as disturbed.
BUSY = 0.1


class failure(Exception):
    """Ends the run with one line for the user."""


# ------------------------------------------------------------------------------------------------ the virtual environment


def pip_install(python, *arguments):
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        last = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise failure(f"`{shlex.join(command)}` failed:\n{last}")


def toolkit_folders():
    """Where a CUDA toolkit on this machine keeps its libraries."""
    roots = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    return [str(Path(r) / "lib64") for r in roots if r and (Path(r) / "lib64").is_dir()]


def requirement_of(library, requirements):
    """The requirement of torch that brings a CUDA library: "libcufile.so.0" gives "cuda-toolkit[cufile]==13.2.2"."""
    word = re.match(r"(?:lib)?([a-z]+)", library.lower())[1].removesuffix("_host")
    for r in requirements:
        name, extras, version = re.match(r"([\w-]+)(?:\[([\w,]+)\])?\s*([^;]*)", r).groups()
        if extras and word in extras.split(","):
            return f"{name}[{word}]{version}"
        if name.startswith(f"nvidia-{word}"):
            return f"{name}{version}"
    # The general library takes what it shares with its parts: libcublasLt comes with libcublas.
    return requirement_of(word[:-2], requirements) if word.endswith("lt") and word != "cusparselt" else None


def install_pytorch(python):
    """PyPI's torch asks for 3 GB of CUDA packages. The CPU part needs none of their code, but the loader wants the libraries:
    a toolkit on the machine serves most of them, and only those that are missing are installed."""
    pip_install(python, "--no-deps", "torch")
    pip_install(python, "typing-extensions", "filelock")
    environment = os.environ | {"LD_LIBRARY_PATH": ":".join(toolkit_folders())}
    ask = "import importlib.metadata as m; print('\\n'.join(m.requires('torch')))"
    requirements = subprocess.run([python, "-c", ask], capture_output=True, text=True).stdout.splitlines()
    for _ in range(20):
        tried = subprocess.run([python, "-c", "import torch"], capture_output=True, text=True, env=environment)
        if tried.returncode == 0:
            return
        missing = re.search(r"(lib\S+?\.so\S*): cannot open shared object file", tried.stderr)
        missing = missing or re.search(r"undefined symbol: (nccl|cudnn|cusparseLt|nvshmem|cublas|cusparse)", tried.stderr)
        wanted = requirement_of(missing[1], requirements) if missing else None
        if wanted is None:
            raise failure("PyTorch was installed but does not load: " + tried.stderr.strip().splitlines()[-1])
        print(f"  {missing[1]}: installing {wanted}", flush=True)
        # cuda-toolkit is a package of names only; what its extras name is wanted without further dependencies' weight.
        pip_install(python, *([] if "[" in wanted else ["--no-deps"]), wanted)
    raise failure("PyTorch was installed but still does not load")


def environment_python(folder, peers):
    """The interpreter of the virtual environment, which is made or completed first."""
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"making a virtual environment in {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    done = folder / "installed.txt"
    installed = done.read_text().split() if done.exists() else []
    for what in ["numpy", *peers]:
        if what in installed:
            continue
        print(f"installing {PEERS.get(what, what)} from PyPI", flush=True)
        if what == "pytorch":
            install_pytorch(str(python))
        elif what == "onnxruntime":
            pip_install(str(python), "--only-binary", ":all:", "onnxruntime", "onnx")
        elif what == "numpy":
            pip_install(str(python), "--only-binary", ":all:", "numpy", "ml_dtypes")
        else:
            pip_install(str(python), "--only-binary", ":all:", what)
        installed.append(what)
        done.write_text("\n".join(installed))
    return python


# ------------------------------------------------------------------------------------------------------ the timed processes


class worker:
    """A process that answers requests (peer_worker.py says which). It is stopped except while it answers."""

    def __init__(self, name, command, environment, freeze):
        self.name = name
        self.freeze = freeze
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
                                        preexec_fn=self.die_with_parent, bufsize=0)
        self.pending = b""
        self.stop()

    @staticmethod
    def die_with_parent():
        """A stopped process would outlive a killed parent; and Ctrl-C is for the parent alone."""
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def stop(self):
        if self.freeze and self.process.poll() is None:
            self.process.send_signal(signal.SIGSTOP)

    def ask(self, *words, limit=120):
        """(first word, rest) of the answer. An `error` ends the run; `unsupported` is an answer."""
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.stdin.write((" ".join(map(str, words)) + "\n").encode())
            deadline = time.monotonic() + limit
            while b"\n" not in self.pending:
                if not select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                    raise failure(f"{self.name} did not answer `{' '.join(map(str, words))}` within {limit} s")
                chunk = os.read(self.process.stdout.fileno(), 65536)
                if not chunk:
                    raise failure(f"{self.name} ended (exit code {self.process.wait()}) at `{' '.join(map(str, words))}`")
                self.pending += chunk
        except BrokenPipeError:
            raise failure(f"{self.name} ended (exit code {self.process.wait()})") from None
        self.stop()
        line, self.pending = self.pending.split(b"\n", 1)
        first, _, rest = line.decode().partition(" ")
        if first == "error":
            raise failure(f"{self.name}: {rest} (asked: {' '.join(map(str, words))})")
        return first, rest

    def number(self, *words):
        return float(self.ask(*words)[1])

    def end(self):
        self.process.kill()
        self.process.wait()


# -------------------------------------------------------------------------------------------------------------- one cell


def cells_of(arguments):
    return [{"kind": kind, "dtype": dtype, "d": d, "n": n, "threads": threads}
            for kind in arguments.kind for dtype in arguments.dtype for threads in arguments.threads
            for d in arguments.d for n in arguments.n]


def key_of(cell):
    return "{kind} {dtype} d{d} n{n} t{threads}".format(**cell)


def shape_of(cell):
    """batch, q_heads, kv_heads, q_len, k_len, dim"""
    n = cell["n"]
    if cell["kind"] == "decode":
        return 1, 32, 8, 1, n, cell["d"]
    heads = HEADS.get(n, max(2, min(8, 8192 // n)))
    return 1, heads, heads, n, n, cell["d"]


def work_of(cell):
    """Multiply-adds count twice: 4·d for each visible pair forward, 10·d backward. Decode: bytes of K and V."""
    batch, q_heads, kv_heads, q_len, k_len, d = shape_of(cell)
    if cell["kind"] == "decode":
        return 2 * batch * kv_heads * k_len * d * {"fp32": 4, "fp64": 8}.get(cell["dtype"], 2)
    pairs = batch * q_heads * q_len * (k_len + 1) / 2 if "causal" in cell["kind"] else batch * q_heads * q_len * k_len
    return pairs * d * (10 if "backward" in cell["kind"] else 4)


def write_inputs(folder, cell):
    import ml_dtypes
    import numpy as np

    kinds = {"fp32": np.float32, "fp64": np.float64, "fp16": np.float16, "bf16": ml_dtypes.bfloat16}
    batch, q_heads, kv_heads, q_len, k_len, d = shape_of(cell)
    random = np.random.default_rng(1)
    for name in ("q", "k", "v", "dout"):
        shape = (batch, kv_heads, k_len, d) if name in "kv" else (batch, q_heads, q_len, d)
        random.standard_normal(shape, np.float32).astype(kinds[cell["dtype"]]).tofile(folder / f"{name}.bin")


def largest_difference(folder, peer, cell):
    """(largest absolute difference from pantile, unit): gradients grow with N, so they are taken relative to the largest."""
    import ml_dtypes
    import numpy as np

    kinds = {"fp32": np.float32, "fp64": np.float64, "fp16": np.float16, "bf16": ml_dtypes.bfloat16}
    worst = 0.0
    for name in ("dq", "dk", "dv") if "backward" in cell["kind"] else ("out",):
        ours, theirs = (np.fromfile(folder / f"{who}.{name}.bin", kinds[cell["dtype"]]).astype(np.float64)
                        for who in ("pantile", peer))
        worst = max(worst, float(np.max(np.abs(ours - theirs)) / max(1.0, float(np.max(np.abs(ours))))))
    return worst


def processor_seconds(workers):
    """(used by everybody, used by this script and its workers), since some fixed moment."""
    tick = os.sysconf("SC_CLK_TCK")
    user, nice, system, idle, iowait, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
    own = 0
    for pid in [os.getpid(), *(w.process.pid for w in workers.values())]:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        own += int(fields[11]) + int(fields[12])  # user and system time, all threads
    return (user + nice + system + irq + softirq) / tick, own / tick


def far_behind(seconds, name):
    """True for who takes seconds and is clearly not the best: one round of it is enough."""
    return bool(seconds[name]) and seconds[name][0] > max(0.5, 4 * seconds["pantile"][0])


def measure(cell, workers, folder, arguments):
    """Prepares the problem in every process, compares the results, then times the rounds."""
    write_inputs(folder, cell)
    direction = "backward" if "backward" in cell["kind"] else "forward"
    mask = "causal" if "causal" in cell["kind"] else "full"
    prepare = ["prepare", folder, direction, cell["dtype"], mask, *shape_of(cell), cell["threads"]]
    record = dict(cell, work=work_of(cell), forms={}, differences={}, unsupported={}, seconds={})

    taking_part = {}
    for name, w in workers.items():
        verdict, text = w.ask(*prepare)
        if verdict == "unsupported":
            record["unsupported"][name] = text
            continue
        record["forms"][name] = text
        w.ask("store")
        if name != "pantile":
            difference = largest_difference(folder, name, cell)
            record["differences"][name] = difference
            if not difference <= TOLERANCE[cell["dtype"]]:
                record["unsupported"][name] = f"differs from pantile by {difference:.1e}: not the same function"
                continue
        taking_part[name] = w

    names = list(taking_part)
    record["seconds"] = {name: [] for name in names}
    limit_of = "gbytes" if cell["kind"] == "decode" else "gflops"
    record[limit_of] = []
    begin = time.monotonic()
    all_before, own_before = processor_seconds(workers)
    for turn in range(arguments.rounds):
        record[limit_of].append(workers["pantile"].number("read" if cell["kind"] == "decode" else "peak"))
        for i in range(len(names)):  # each round starts with another library
            name = names[(i + turn) % len(names)]
            if far_behind(record["seconds"], name):
                continue
            time.sleep(0.003)  # the one before is stopped by now
            record["seconds"][name].append(taking_part[name].number("run", arguments.visit))
        if turn >= 2 and time.monotonic() - begin > arguments.cell_seconds:
            break
    all_after, own_after = processor_seconds(workers)
    spent = (all_after - all_before) - (own_after - own_before)
    record["others"] = max(0.0, spent / (time.monotonic() - begin))
    return record


# ---------------------------------------------------------------------------------------------------------------- results


def ratios(record, peer):
    """Times faster than the peer, one a round."""
    return [theirs / ours for ours, theirs in zip(record["seconds"]["pantile"], record["seconds"][peer])]


def best_ratio(record):
    """Against the best of the others in each round; None where nobody else takes part."""
    others = [ratios(record, peer) for peer in PEERS if record["seconds"].get(peer)]
    rounds = max(map(len, others), default=0)
    return statistics.median(min(r[i] for r in others if i < len(r)) for i in range(rounds)) if others else None


def share_of_limit(record):
    """pantile's speed as a share of the multiply-add peak (of the plain read bandwidth, for decode), within the round."""
    limits = record["gbytes" if record["kind"] == "decode" else "gflops"]
    return statistics.median(record["work"] / s / 1e9 / limit for s, limit in zip(record["seconds"]["pantile"], limits))


def tables(results, markdown=False):
    """The lines to print, one table for each kind."""
    lines = []
    for kind in KINDS:
        records = [r for r in results["cells"].values() if r["kind"] == kind]
        if not records:
            continue
        decode = kind == "decode"
        peers = [p for p in PEERS if p in results["versions"] and (p == "pytorch" or "backward" not in kind)]
        head = ["type", "threads", "d", "N", "GB/s" if decode else "GFLOP/s", "of reading" if decode else "of peak",
                *(f"× {PEERS[p]}" for p in peers), "× best", "difference"]
        rows = []
        for r in sorted(records, key=lambda r: (DTYPES.index(r["dtype"]), r["threads"], r["d"], r["n"])):
            best = best_ratio(r)
            compared = [difference for p, difference in r["differences"].items() if r["seconds"].get(p)]
            speed = r["work"] / statistics.median(r["seconds"]["pantile"]) / 1e9
            rows.append([r["dtype"], str(r["threads"]), str(r["d"]), str(r["n"]), f"{speed:.0f}", f"{share_of_limit(r):.2f}",
                         *(f"{statistics.median(ratios(r, p)):.2f}" if r["seconds"].get(p) else "–" for p in peers),
                         "–" if best is None else f"{best:.2f}" + (" <" if best <= 1 and not markdown else ""),
                         f"{max(compared):.0e}" if compared else "–"])
            if best is not None and best <= 1 and markdown:
                rows[-1][-2] = f"**{rows[-1][-2]}**"
        if markdown:
            lines += [f"### {TITLES[kind]}", "", "| " + " | ".join(head) + " |", "| - | -: " + "| -: " * (len(head) - 2) + "|"]
            lines += ["| " + " | ".join(row) + " |" for row in rows] + [""]
        else:
            widths = [max(map(len, column)) for column in zip(head, *rows)]
            lines += [TITLES[kind]]
            lines += ["  " + "  ".join(x.rjust(w) for x, w in zip(row, widths)) for row in [head, *rows]] + [""]
    return lines


def summary(results):
    records = [r for r in results["cells"].values() if best_ratio(r) is not None]
    behind = [r for r in records if best_ratio(r) <= 1]
    lines = [f"{len(records)} cells compared; pantile is ahead of the best of the others in {len(records) - len(behind)}."]
    for r in behind:
        fastest = min(PEERS, key=lambda p: statistics.median(ratios(r, p)) if r["seconds"].get(p) else float("inf"))
        lines.append(f"  not ahead: {key_of(r)}: {best_ratio(r):.2f} × {PEERS[fastest]} ({r['forms'][fastest]})")
    busy = [r for r in results["cells"].values() if r["others"] > BUSY]
    if busy:
        lines.append(f"  {len(busy)} cells were measured while other programs used more than {BUSY} of a core "
                     f"(median {statistics.median(r['others'] for r in busy):.1f} cores): repeat them on a quiet machine")
    for dtype in DTYPES:
        for p in PEERS:
            why = [r["unsupported"][p] for r in results["cells"].values() if r["dtype"] == dtype and p in r["unsupported"]]
            if any("differs" in w for w in why):
                lines.append(f"  left out: {PEERS[p]} in {dtype}, in one case because it {next(w for w in why if 'differs' in w)}")
    return lines


def processor():
    try:
        return re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())[1]
    except (OSError, TypeError):
        return platform.processor() or platform.machine()


# --------------------------------------------------------------------------------------------------------------- the run


def parse_arguments():
    def some_of(known):
        def parse(text):
            chosen = text.split(",")
            for x in chosen:
                if x not in known:
                    raise argparse.ArgumentTypeError(f"'{x}' is not one of {', '.join(known)}")
            return chosen
        return parse

    def numbers(text):
        try:
            chosen = [int(x) for x in text.split(",")]
        except ValueError:
            raise argparse.ArgumentTypeError(f"'{text}' is not a list of numbers such as 512,2048") from None
        if min(chosen) < 1:
            raise argparse.ArgumentTypeError("numbers must be positive")
        return chosen

    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--worker", type=Path, help="pantile-peer-worker (default: of build/release, else build/cpu)")
    a.add_argument("--venv", type=Path, default=Path.home() / ".cache" / "pantile" / "peers-venv",
                   help="virtual environment of the other libraries (default: %(default)s)")
    a.add_argument("--peers", type=some_of(list(PEERS)), default=list(PEERS), help="default: " + ",".join(PEERS))
    a.add_argument("--quick", action="store_true", help="fp32, N = 2048, d = 64, fewer rounds")
    a.add_argument("--kind", type=some_of(KINDS), help="default: " + ",".join(KINDS))
    a.add_argument("--dtype", type=some_of(DTYPES), help="default: " + ",".join(DTYPES))
    a.add_argument("--n", type=numbers, help="lengths (default: 512,2048,8192)")
    a.add_argument("--d", type=numbers, help="head dims (default: 64,128)")
    a.add_argument("--threads", type=numbers, help="default: 1,2")
    a.add_argument("--rounds", type=int, help="at most so many rounds a cell (default: 9)")
    a.add_argument("--cell-seconds", type=float, default=4, help="no new round after so long, but three (default: %(default)s)")
    a.add_argument("--visit", type=float, default=0.05, help="seconds of calls a round and library (default: %(default)s)")
    a.add_argument("--json", type=Path, metavar="FILE", help="write the results to FILE, after each cell")
    a.add_argument("--resume", action="store_true", help="keep what FILE holds and measure what is missing")
    a.add_argument("--budget", type=float, metavar="SECONDS", help="start no cell after so long; exit code 3 if cells are left")
    a.add_argument("--show", action="store_true", help="measure nothing, print the tables of FILE")
    a.add_argument("--markdown", action="store_true", help="print the tables in Markdown")
    a.add_argument("--no-freeze", action="store_true", help="let the processes that wait run on (to see what that costs)")
    chosen = a.parse_args()
    quick = {"kind": KINDS, "dtype": ["fp32"], "n": [2048], "d": [64], "threads": [1, 2], "rounds": 5}
    whole = {"kind": KINDS, "dtype": DTYPES, "n": [512, 2048, 8192], "d": [64, 128], "threads": [1, 2], "rounds": 9}
    for name, value in (quick if chosen.quick else whole).items():
        if getattr(chosen, name) is None:
            setattr(chosen, name, value)
    if (chosen.resume or chosen.show) and not chosen.json:
        a.error("--resume and --show need --json FILE")
    if chosen.rounds < 3:
        a.error("--rounds: a median needs at least 3")
    return chosen


def find_worker(chosen):
    if chosen:
        candidates = [chosen]
    else:
        candidates = [HERE.parent / "build" / preset / "bench" / "pantile-peer-worker" for preset in ("release", "cpu")]
    for c in candidates:
        if c.is_file() and os.access(c, os.X_OK):
            return c.resolve()
    raise failure(f"no program at {candidates[0]}: build it with\n  cmake --preset release && "
                  "cmake --build --preset release --target pantile-peer-worker\nor say where it is: --worker PATH")


def load(path):
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as e:
        raise failure(f"cannot read {path}: {e}") from None


def store(path, results):
    """All or nothing: an interrupted write leaves the old file."""
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(results, indent=1) + "\n")
    new.replace(path)


def run(arguments):
    begin = time.monotonic()
    binary = find_worker(arguments.worker)
    build = hashlib.sha256(binary.read_bytes()).hexdigest()[:16]
    old = load(arguments.json) if arguments.resume else None
    if old and old["build"] != build:
        raise failure(f"{arguments.json} holds measurements of another build of pantile: name another file, or leave --resume out")

    python = environment_python(arguments.venv.expanduser().resolve(), arguments.peers)
    if Path(sys.prefix).resolve() != python.parent.parent:  # numpy is there
        os.execv(python, [str(python), str(HERE / "peers.py"), *sys.argv[1:]])

    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "MKL_", "KMP_", "OPENBLAS_"))}
    environment |= {"OMP_PROC_BIND": "true", "OMP_PLACES": "cores"}  # pantile and PyTorch; peer_worker.py binds the others
    for_pytorch = environment | {"LD_LIBRARY_PATH": ":".join(toolkit_folders())}
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="pantile-peers-", dir=memory))
    workers = {}
    try:
        workers["pantile"] = worker("pantile", [binary], environment, not arguments.no_freeze)
        for peer in arguments.peers:
            workers[peer] = worker(PEERS[peer], [python, HERE / "peer_worker.py", peer],
                                   for_pytorch if peer == "pytorch" else environment, not arguments.no_freeze)
        results = old or {
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            "processor": processor(), "cores": os.cpu_count(), "build": build,
            "versions": {p: workers[p].ask("version")[1] for p in arguments.peers} | {
                "python": platform.python_version(), "numpy": metadata.version("numpy")},
            "settings": {"rounds": arguments.rounds, "visit": arguments.visit, "freeze": not arguments.no_freeze},
            "cells": {},
        }
        wanted = [c for c in cells_of(arguments) if key_of(c) not in results["cells"]]
        left = len(wanted)
        for cell in wanted:
            if arguments.budget and time.monotonic() - begin > arguments.budget:
                break
            record = measure(cell, workers, folder, arguments)
            results["cells"][key_of(cell)] = record
            left -= 1
            best = best_ratio(record)
            beside = "alone" if best is None else f"{best:.2f} × the best of {len(record['seconds']) - 1}"
            print(f"{key_of(cell):36} {share_of_limit(record):.2f} of the limit, {beside}", flush=True)
            if arguments.json:
                store(arguments.json, results)
    finally:
        for w in workers.values():
            w.end()
        shutil.rmtree(folder, ignore_errors=True)
    return results, left


def main():
    arguments = parse_arguments()
    try:
        if arguments.show:
            results, left = load(arguments.json), 0
            if results is None:
                raise failure(f"there is no {arguments.json}")
        else:
            results, left = run(arguments)
    except failure as e:
        print(f"peers.py: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\npeers.py: interrupted" + (f"; what was measured is in {arguments.json}" if arguments.json else ""), file=sys.stderr)
        return 130
    if left:
        print(f"{left} cells left: run the same command again")
        return 3
    print()
    print("\n".join(tables(results, arguments.markdown) + summary(results)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
