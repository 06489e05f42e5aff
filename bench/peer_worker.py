"""One other library as a process that peers.py times in turn with pantile.

Usage: python peer_worker.py pytorch|onnxruntime|openvino

It reads one request a line and answers with one line (peer_worker.cpp does the same for pantile):
    prepare DIR pass dtype mask batch q_heads kv_heads q_len k_len head_dim threads
                    -> ok FORM           q.bin, k.bin, v.bin (backward: dout.bin too) are read from DIR; dense (B, H, S, D)
                     | unsupported WHY
    run SECONDS     -> seconds T         median seconds a call over about SECONDS of calls
    store           -> ok                DIR/<library>.out.bin, or .dq.bin, .dk.bin, .dv.bin
    version         -> version TEXT
and `error TEXT` for whatever fails.

A library often offers several forms of the same computation (operators, layouts, precision hints). prepare tries all that
are listed for it here and keeps the fastest: the comparison is with the best that the library has.
"""

import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import ml_dtypes

NUMPY = {"fp32": np.float32, "fp64": np.float64, "fp16": np.float16, "bf16": ml_dtypes.bfloat16}


class unsupported(Exception):
    pass


class problem:
    """The shape and the inputs, as dense (B, H, S, D) arrays."""

    def __init__(self, words):
        self.folder = Path(words[0])
        self.is_backward = words[1] == "backward"
        self.dtype = words[2]
        self.causal = words[3] == "causal"
        self.batch, self.q_heads, self.kv_heads, self.q_len, self.k_len, self.dim, self.threads = map(int, words[4:])
        self.group = self.q_heads // self.kv_heads
        self.decode = self.q_len == 1
        self.q_shape = (self.batch, self.q_heads, self.q_len, self.dim)
        self.k_shape = (self.batch, self.kv_heads, self.k_len, self.dim)
        self.q = self.read("q", self.q_shape)
        self.k = self.read("k", self.k_shape)
        self.v = self.read("v", self.k_shape)
        if self.is_backward:
            self.dout = self.read("dout", self.q_shape)
        if self.q_len not in (1, self.k_len):
            raise unsupported("only q_len = 1 and q_len = k_len are compared")

    def read(self, name, shape):
        return np.fromfile(self.folder / f"{name}.bin", NUMPY[self.dtype]).reshape(shape)

    def grouped(self, q):
        """One query, (B, Hq, 1, D), as a row tile of its kv head, (B, Hkv, group, D): the same memory, the same result."""
        return q.reshape(self.batch, self.kv_heads, self.group, self.dim)


def with_heads_inside(x):
    """(B, H, S, D) as (B, S, H·D)."""
    b, h, s, d = x.shape
    return np.ascontiguousarray(x.transpose(0, 2, 1, 3)).reshape(b, s, h * d)


def with_heads_outside(x, heads):
    """(B, S, H·D) as (B, H, S, D)."""
    b, s, hd = x.shape
    return np.ascontiguousarray(x.reshape(b, s, heads, hd // heads).transpose(0, 2, 1, 3))


# A library is a class with forms(problem): a list of (name, make); make() returns (call, results), where call() computes
# and results() gives {"out": array in (B, H, S, D)} or {"dq": ..., "dk": ..., "dv": ...}. make and the first call may raise.


class pytorch:
    def __init__(self):
        import torch

        self.torch = torch
        self.version = torch.__version__

    def tensor(self, x):
        torch = self.torch
        if x.dtype == ml_dtypes.bfloat16:
            return torch.from_numpy(x.view(np.uint16)).view(torch.bfloat16)
        return torch.from_numpy(x)

    def array(self, t):
        torch = self.torch
        if t.dtype == torch.bfloat16:
            return t.contiguous().view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
        return t.contiguous().numpy()

    def forms(self, p):
        torch = self.torch
        torch.set_num_threads(p.threads)
        q, k, v = (self.tensor(x) for x in (p.q, p.k, p.v))
        if p.is_backward:
            dout = self.tensor(p.dout)
            return [("flash backward", lambda: self.flash_backward(p, q, k, v, dout)),
                    ("autograd of scaled_dot_product_attention", lambda: self.autograd(p, q, k, v, dout))]
        flash, math = torch.nn.attention.SDPBackend.FLASH_ATTENTION, torch.nn.attention.SDPBackend.MATH
        if p.group == 1:  # the unfused back end is three to four times slower here, at any length
            return [("flash", lambda: self.sdpa(p, flash, q, k, v))]
        rows = p.grouped(q)
        list_of = []
        for backend, name in ((flash, "flash"), (math, "math")):
            list_of.append((f"{name}, enable_gqa", lambda b=backend: self.sdpa(p, b, q, k, v, enable_gqa=True)))
            list_of.append((f"{name}, group as rows", lambda b=backend: self.sdpa(p, b, rows, k, v)))
        return list_of

    def sdpa(self, p, backend, q, k, v, **options):
        from torch.nn.attention import sdpa_kernel
        from torch.nn.functional import scaled_dot_product_attention

        last = []

        def call():
            with self.torch.inference_mode(), sdpa_kernel(backend):
                last[:] = [scaled_dot_product_attention(q, k, v, is_causal=p.causal and not p.decode, **options)]

        return call, lambda: {"out": self.array(last[0]).reshape(p.q_shape)}

    def flash_backward(self, p, q, k, v, dout):
        """The operator that autograd would call, without autograd around it."""
        aten = self.torch.ops.aten
        last = []
        with self.torch.inference_mode():
            out, lse = aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, p.causal)

        def call():
            with self.torch.inference_mode():
                last[:] = aten._scaled_dot_product_flash_attention_for_cpu_backward(dout, q, k, v, out, lse, 0.0, p.causal)

        return call, lambda: dict(zip(("dq", "dk", "dv"), map(self.array, last)))

    def autograd(self, p, q, k, v, dout):
        leaves = [x.clone().requires_grad_() for x in (q, k, v)]
        out = self.torch.nn.functional.scaled_dot_product_attention(*leaves, is_causal=p.causal)
        last = []

        def call():
            last[:] = self.torch.autograd.grad(out, leaves, dout, retain_graph=True)

        return call, lambda: dict(zip(("dq", "dk", "dv"), map(self.array, last)))


class onnxruntime:
    def __init__(self):
        import onnxruntime as ort

        ort.set_default_logger_severity(4)
        self.processors = sorted(os.sched_getaffinity(0))
        self.ort = ort
        self.version = ort.__version__

    def forms(self, p):
        if p.is_backward:
            raise unsupported("the package is for inference")
        if p.dtype == "bf16":
            raise unsupported("no CPU operator takes bf16")
        h = {"num_heads": p.q_heads}
        q, k, v = (with_heads_inside(x) for x in (p.q, p.k, p.v))
        list_of = []
        if p.group == 1:
            list_of.append(("MultiHeadAttention", lambda: self.build(
                p, "MultiHeadAttention", [q, k, v], unidirectional=int(p.causal), **h)))
        else:
            rows = with_heads_inside(p.grouped(p.q))
            list_of.append(("MultiHeadAttention, group as rows", lambda: self.build(
                p, "MultiHeadAttention", [rows, k, v], num_heads=p.kv_heads)))
        list_of.append(("Attention of opset 23", lambda: self.build(
            p, "Attention", [p.q, p.k, p.v], is_causal=int(p.causal and not p.decode))))
        if p.causal or p.decode:
            list_of.append(("GroupQueryAttention", lambda: self.group_query(p, q, k, v)))
        return list_of

    def session(self, p, nodes, inputs, outputs):
        import onnx
        from onnx import helper

        def info(name, x):
            return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)

        graph = helper.make_graph(nodes, "attention", [info(n, x) for n, x in inputs.items()],
                                  [info(n, x) for n, x in outputs.items()])
        model = helper.make_model(graph, ir_version=10, opset_imports=[
            onnx.helper.make_opsetid("", 23), onnx.helper.make_opsetid("com.microsoft", 1)])
        options = self.ort.SessionOptions()
        options.intra_op_num_threads = p.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # One thread a core, as OMP_PROC_BIND gives pantile and PyTorch; processors count from 1 here.
        os.sched_setaffinity(0, self.processors[:1])
        if p.threads > 1:
            others = ";".join(str(c + 1) for c in self.processors[1:p.threads])
            options.add_session_config_entry("session.intra_op_thread_affinities", others)
        return self.ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def bound_call(self, session, inputs, outputs):
        """session.run with all memory given by the caller: nothing is allocated or copied around the operator."""
        binding = session.io_binding()
        for name, x in inputs.items():
            binding.bind_ortvalue_input(name, x)
        for name, x in outputs.items():
            binding.bind_ortvalue_output(name, x)
        return lambda: session.run_with_iobinding(binding)

    def value(self, x):
        return self.ort.OrtValue.ortvalue_from_numpy(x)

    def build(self, p, operator, arrays, **attributes):
        from onnx import helper

        domain = "" if operator == "Attention" else "com.microsoft"
        inputs = dict(zip("qkv", arrays))
        out = np.zeros(arrays[0].shape, arrays[0].dtype)
        node = helper.make_node(operator, list("qkv"), ["out"], domain=domain, **attributes)
        session = self.session(p, [node], inputs, {"out": out})
        values = {n: self.value(x) for n, x in inputs.items()}
        result = self.value(out)
        call = self.bound_call(session, values, {"out": result})

        def results():
            x = result.numpy()
            if x.ndim == 3:
                x = with_heads_outside(x, attributes["num_heads"])
            return {"out": x.reshape(p.q_shape)}

        return call, results

    def group_query(self, p, q, k, v):
        """Causal over all keys, or one step of decoding on a cache that is updated in place (the last key is the new one)."""
        from onnx import helper

        inputs = {"q": q, "k": k[:, -p.q_len:].copy(), "v": v[:, -p.q_len:].copy(),
                  "lengths": np.full(p.batch, p.k_len - 1, np.int32), "total": np.array([p.k_len], np.int32)}
        cache = {"past_k": p.k, "past_v": p.v} if p.decode else {}
        present = {"present_k": p.k, "present_v": p.v}
        out = np.zeros(q.shape, q.dtype)
        node = helper.make_node("GroupQueryAttention", ["q", "k", "v", *(cache or ("", "")), "lengths", "total"],
                                ["out", *present], domain="com.microsoft", num_heads=p.q_heads, kv_num_heads=p.kv_heads)
        session = self.session(p, [node], inputs | cache, {"out": out} | present)
        values = {n: self.value(x) for n, x in inputs.items()}
        shared = {n: self.value(x) for n, x in present.items()}
        values |= dict(zip(cache, shared.values()))
        result = self.value(out)
        call = self.bound_call(session, values, {"out": result} | shared)
        return call, lambda: {"out": with_heads_outside(result.numpy(), p.q_heads).reshape(p.q_shape)}


class openvino:
    def __init__(self):
        import openvino as ov

        self.ov = ov
        self.core = ov.Core()
        self.version = ov.__version__.split("-")[0]

    def forms(self, p):
        if p.is_backward:
            raise unsupported("the package is for inference")
        if p.dtype == "fp64":
            raise unsupported("the CPU plugin computes fp64 in fp32")
        hints = {"fp32": ["f32"], "bf16": ["f32", "bf16"], "fp16": ["f32", "f16"]}[p.dtype]
        list_of = []
        for hint in hints:
            if p.group == 1:
                list_of.append((f"precision {hint}", lambda h=hint: self.build(p, h, p.q, False)))
            else:
                list_of.append((f"precision {hint}, group as rows", lambda h=hint: self.build(p, h, p.grouped(p.q), False)))
                list_of.append((f"precision {hint}, broadcast heads", lambda h=hint: self.build(p, h, p.q, True)))
        return list_of

    def build(self, p, hint, q, broadcast):
        ov = self.ov
        from openvino import opset13 as ops

        element = {"fp32": ov.Type.f32, "bf16": ov.Type.bf16, "fp16": ov.Type.f16}[p.dtype]
        inputs = [q, p.k, p.v]
        parameters = [ops.parameter(list(x.shape), element) for x in inputs]
        operands = list(parameters)
        if broadcast:
            wide = [p.batch, p.kv_heads, p.group, p.k_len, p.dim]
            for i in (1, 2):
                apart = ops.unsqueeze(parameters[i], ops.constant(np.int64(2)))
                together = ops.broadcast(apart, ops.constant(np.array(wide, np.int64)), broadcast_spec="BIDIRECTIONAL")
                shape = np.array([p.batch, p.q_heads, p.k_len, p.dim], np.int64)
                operands[i] = ops.reshape(together, ops.constant(shape), special_zero=False)
        node = ops.scaled_dot_product_attention(*operands, causal=p.causal and not p.decode)
        compiled = self.core.compile_model(ov.Model([node], parameters, "attention"), "CPU", {
            "INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": p.threads, "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": True})
        request = compiled.create_infer_request()
        for i, x in enumerate(inputs):
            tensor = ov.Tensor(element, ov.Shape(x.shape))
            np.asarray(tensor.data).view(np.uint8).reshape(-1)[:] = np.ascontiguousarray(x).view(np.uint8).reshape(-1)
            request.set_input_tensor(i, tensor)

        def results():
            raw = np.ascontiguousarray(request.get_output_tensor(0).data)
            return {"out": raw.view(NUMPY[p.dtype]).reshape(p.q_shape)}

        return request.infer, results


def time_calls(call, budget):
    """Median seconds a call. A first call warms caches and wakes threads; if it alone outlasts the budget, it is the answer."""
    begin = time.perf_counter()
    call()
    first = time.perf_counter() - begin
    if first > budget:
        return first
    seconds = []
    t = time.perf_counter()
    end = t + budget
    while t < end:
        call()
        after = time.perf_counter()
        seconds.append(after - t)
        t = after
    return statistics.median(seconds)


def fastest_form(library, p):
    """(name, call, results) of the form that won a short race; a form that fails is out."""
    best, failures = None, []
    for name, make in library.forms(p):
        try:
            call, results = make()
            begin = time.perf_counter()
            call()
            seconds = time.perf_counter() - begin
            if seconds < 1 or best is None or seconds < 2 * best[0]:  # else too slow to be tried again
                seconds = time_calls(call, 0.05)
        except Exception as e:  # whatever the library throws: the form is not to be had
            failures.append(f"{name}: {e}")
            continue
        if best is None or seconds < best[0]:
            best = (seconds, name, call, results)
    if best is None:
        raise unsupported("; ".join(failures))
    return best[1:]


def main():
    library = {"pytorch": pytorch, "onnxruntime": onnxruntime, "openvino": openvino}[sys.argv[1]]()
    state = {}

    def answer(words):
        if words[0] == "version":
            return f"version {library.version}"
        if words[0] == "prepare":
            state.clear()
            p = problem(words[1:])
            name, state["call"], state["results"] = fastest_form(library, p)
            state["problem"] = p
            return f"ok {name}"
        if "call" not in state:
            raise RuntimeError("nothing is prepared")
        if words[0] == "run":
            return f"seconds {time_calls(state['call'], float(words[1])):.9g}"
        if words[0] == "store":
            for name, x in state["results"]().items():
                x.astype(NUMPY[state["problem"].dtype]).tofile(state["problem"].folder / f"{sys.argv[1]}.{name}.bin")
            return "ok"
        raise RuntimeError(f"unknown request {words[0]}")

    for line in sys.stdin:
        try:
            reply = answer(line.split())
        except unsupported as e:
            reply = f"unsupported {e}"
        except Exception as e:
            reply = f"error {type(e).__name__}: {e}"
        print(" ".join(reply.split()), flush=True)


if __name__ == "__main__":
    main()
