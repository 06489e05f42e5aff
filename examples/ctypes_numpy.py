#!/usr/bin/env python3
"""Attention on numpy arrays through ctypes and pantile's C interface (pantile.h): no build step, no copy.

    ctypes_numpy.py [PATH OF libpantile_cpu.so]

Needs pantile as a shared library (cmake -DBUILD_SHARED_LIBS=ON). The answers are held against the formula.
"""
import ctypes
import ctypes.util
import sys
from ctypes import POINTER, Structure, byref, c_char_p, c_double, c_int, c_int32, c_int64, c_size_t, c_void_p, sizeof

try:
    import numpy as np
except ImportError:
    print("skipped: there is no numpy here (Debian: python3-numpy)")
    sys.exit(77)

path = sys.argv[1] if len(sys.argv) > 1 else ctypes.util.find_library("pantile_cpu")
pantile = ctypes.CDLL(path)


# ---------------------------------------------------------------------------------------- the structs of pantile.h
class Tensor(Structure):
    _fields_ = [("data", c_void_p), ("dtype", c_int32), ("memory", c_int32), ("rank", c_int32), ("reserved", c_int32),
                ("extent", c_int64 * 4), ("stride", c_int64 * 4)]


class Mask(Structure):
    _fields_ = [("left", c_int64), ("right", c_int64), ("align", c_int64), ("offset", c_int64)]


class Lengths(Structure):
    _fields_ = [("data", c_void_p), ("count", c_int64), ("bits", c_int32), ("memory", c_int32)]


class HeadNumbers(Structure):  # one a query head; of slopes also one a (batch, query head)
    _fields_ = [("data", c_void_p), ("count", c_int64), ("dtype", c_int32), ("memory", c_int32)]


class TilePlan(Structure):
    _fields_ = [("row_tile", c_int64), ("key_tile", c_int64), ("key_splits", c_int64)]


class Options(Structure):
    _fields_ = [("size", c_size_t), ("mask", Mask), ("scale", c_double), ("has_scale", c_int32), ("accumulate", c_int32),
                ("key_lengths", Lengths), ("threads", c_int32), ("isa", c_int32), ("plan", TilePlan), ("kernel", c_int32),
                ("reserved", c_int32), ("key_splits", c_int64), ("workspace", c_void_p), ("workspace_bytes", c_int64),
                ("softcap", c_double), ("slopes", HeadNumbers), ("sinks", HeadNumbers)]


class Results(Structure):
    _fields_ = [("size", c_size_t), ("out", Tensor), ("lse", Tensor)]


pantile.pantile_message.restype = c_char_p
pantile.pantile_causal.restype = Mask
pantile.pantile_attention.restype = c_int
pantile.pantile_attention.argtypes = [POINTER(Tensor)] * 3 + [POINTER(Results), POINTER(Options)]
pantile.pantile_from_dlpack.argtypes = [c_void_p, c_char_p, POINTER(Tensor)]

DTYPES = {"float32": 0, "float64": 1, "float16": 2}
BOTTOM_RIGHT = 1


def check(status):
    if status != 0:
        raise ValueError(pantile.pantile_message().decode())


def view(x, axes):
    """The array as a tensor, nothing copied. `axes`: which axis of x is batch, heads, length[, dim]."""
    t = Tensor(data=x.ctypes.data, dtype=DTYPES[x.dtype.name], rank=len(axes))
    for place, axis in enumerate(axes):
        t.extent[place] = x.shape[axis]
        t.stride[place] = x.strides[axis] // x.itemsize
    return t


def head_numbers(x):
    """Numbers, one a query head, float32 or float64; x must outlive the call."""
    return HeadNumbers(data=x.ctypes.data, count=x.size, dtype=DTYPES[x.dtype.name])


def attention(q, k, v, causal=False, scale=None, softcap=0.0, slopes=None, sinks=None):
    """q (batch, length, heads, dim), k and v likewise with their own length and heads, any strides; gives out and lse.

    softcap caps the logits, slopes (heads) or (batch, heads) are ALiBi's, sinks (heads) logits of keys without a value.
    """
    out = np.empty(q.shape[:3] + v.shape[3:], q.dtype)
    lse = np.empty((q.shape[0], q.shape[2], q.shape[1]), np.float64 if q.dtype == np.float64 else np.float32)
    options = Options(size=sizeof(Options))
    if causal:
        options.mask = pantile.pantile_causal(BOTTOM_RIGHT)
    if scale is not None:
        options.has_scale, options.scale = 1, scale
    options.softcap = softcap
    if slopes is not None:
        slopes = np.ascontiguousarray(slopes)
        options.slopes = head_numbers(slopes)
    if sinks is not None:
        sinks = np.ascontiguousarray(sinks)
        options.sinks = head_numbers(sinks)
    bshd = (0, 2, 1, 3)
    results = Results(size=sizeof(Results), out=view(out, bshd), lse=view(lse, (0, 1, 2)))
    check(pantile.pantile_attention(view(q, bshd), view(k, bshd), view(v, bshd), byref(results), byref(options)))
    return out, lse


# ------------------------------------------------------------------------------------------------------------ DLPack
get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
get_pointer.restype, get_pointer.argtypes = c_void_p, [ctypes.py_object, c_char_p]


def view_by_dlpack(x, layout):
    """The same of anything that speaks DLPack (numpy, PyTorch, JAX, CuPy …). x must outlive the tensor."""
    capsule = x.__dlpack__()  # gives itself back when it is collected: pantile owns nothing
    t = Tensor()
    check(pantile.pantile_from_dlpack(get_pointer(capsule, b"dltensor"), layout, byref(t)))
    return t


# -------------------------------------------------------------------------------------------------------------- test
def formula(q, k, v, causal, scale=None, softcap=0.0, slopes=None, sinks=None):
    q, k, v = (x.astype(np.float64).transpose(0, 2, 1, 3) for x in (q, k, v))
    group = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
    logits = q @ k.transpose(0, 1, 3, 2) * (q.shape[3] ** -0.5 if scale is None else scale)
    rows, keys = logits.shape[2:]
    distance = np.arange(rows)[:, None] + keys - rows - np.arange(keys)  # the last row stands at the last key
    if softcap > 0:
        logits = softcap * np.tanh(logits / softcap)
    if slopes is not None:
        logits = logits - np.asarray(slopes, np.float64)[..., None, None] * np.abs(distance)
    if causal:
        logits[:, :, distance < 0] = -np.inf
    most = logits.max(axis=3, keepdims=True)
    weights = np.exp(logits - most)
    total = weights.sum(axis=3, keepdims=True)
    if sinks is not None:
        total = total + np.exp(np.asarray(sinks, np.float64)[:, None, None] - most)
    return (weights / total @ v).transpose(0, 2, 1, 3), (most + np.log(total))[..., 0]


def main():
    random = np.random.default_rng(1)
    worst = 0.0
    for dtype, tolerance in (("float32", 2e-6), ("float64", 1e-14), ("float16", 2e-3)):
        q = random.standard_normal((2, 33, 4, 16)).astype(dtype)
        kv = random.standard_normal((2, 65, 2, 2, 16)).astype(dtype)
        k, v = kv[:, :, 0], kv[:, ::-1, 1]  # packed in one array, and one of them back to front: strides, no copies
        for causal, scale in ((False, None), (True, None), (True, -0.3)):
            out, lse = attention(q, k, v, causal, scale)
            expected, expected_lse = formula(q, k, v, causal, scale)
            worst = max(np.abs(out - expected).max(), np.abs(lse - expected_lse).max())
            assert worst < tolerance, (dtype, causal, scale, worst)
            print(f"{dtype:8} causal={causal!s:5} scale={scale!s:5} largest difference {worst:.1e}")
        sinks = random.standard_normal(4)
        for slopes in (0.5 ** np.arange(1, 5), random.random((2, 4)).astype(np.float32)):
            features = {"softcap": 3.0, "slopes": slopes, "sinks": sinks}
            out, lse = attention(q, k, v, True, **features)
            expected, expected_lse = formula(q, k, v, True, **features)
            worst = max(np.abs(out - expected).max(), np.abs(lse - expected_lse).max())
            assert worst < tolerance, (dtype, features, worst)
            print(f"{dtype:8} with a cap, slopes of shape {slopes.shape} and sinks: largest difference {worst:.1e}")

    x = random.standard_normal((5, 3, 8))  # (length, heads, dim)
    out = np.empty_like(x)
    t = view_by_dlpack(x, b"shd")
    results = Results(size=sizeof(Results), out=view_by_dlpack(out, b"shd"))
    check(pantile.pantile_attention(t, t, t, byref(results), None))
    assert np.abs(out - formula(x[None], x[None], x[None], False)[0][0]).max() < 1e-14

    try:
        attention(q, k[..., :8], v)
        raise AssertionError("a wrong head dim was taken")
    except ValueError as refused:
        print(refused)
        assert str(refused) == "pantile: k.head_dim is 8, q.head_dim is 16: they must be equal"


if __name__ == "__main__":
    main()
