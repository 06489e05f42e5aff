#!/usr/bin/env python3
"""Makes conformance cases (case.json and .npy files) of ONNX's node tests of the Attention operator.

usage: onnx_to_npy.py NODE_DIR OUT_DIR

NODE_DIR holds the folders test_attention_*, each with model.onnx and test_data_set_0/*.pb, as in the onnx package under
onnx/backend/test/data/node. Needs nothing but the standard library: it reads the few protobuf fields that matter.
"""
import json
import os
import struct
import sys

NUMPY_TYPES = {1: "<f4", 6: "<i4", 7: "<i8", 9: "|b1", 10: "<f2", 11: "<f8"}  # TensorProto.DataType
BFLOAT16 = 16  # NumPy has none: stored as float32, whose upper half it is, and named in case.json
INPUTS = ["Q", "K", "V", "attn_mask", "past_key", "past_value", "nonpad_kv_seqlen"]
OUTPUTS = ["Y", "present_key", "present_value", "qk_matmul_output"]


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(data):
    """The (number, wire type, value) of each field of a protobuf message."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = varint(data, at)
        else:
            if wire == 2:
                length, at = varint(data, at)
            else:
                length = 4 if wire == 5 else 8
            value = data[at:at + length]
            at += length
        yield number, wire, value


def packed(data):
    values, at = [], 0
    while at < len(data):
        value, at = varint(data, at)
        values.append(value)
    return values


def read_tensor(data):
    """(dims, DataType, bytes) of a TensorProto."""
    dims, data_type, raw, floats, words = [], 0, None, b"", []
    for number, wire, value in fields(data):
        if number == 1:
            dims += [value] if wire == 0 else packed(value)
        elif number == 2:
            data_type = value
        elif number == 4:
            floats = value
        elif number == 5:  # also 16-bit floats, one a number
            words += [value] if wire == 0 else packed(value)
        elif number == 9:
            raw = value
    if raw is None:
        raw = struct.pack("<%dH" % len(words), *words) if words and data_type in (10, BFLOAT16) else floats
    return dims, data_type, raw


def write_npy(path, dims, data_type, raw):
    if data_type == BFLOAT16:
        halves = struct.unpack("<%dH" % (len(raw) // 2), raw)
        data_type, raw = 1, struct.pack("<%dI" % len(halves), *(x << 16 for x in halves))
    shape = ", ".join(map(str, dims)) + ("," if len(dims) == 1 else "")
    header = "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }" % (NUMPY_TYPES[data_type], shape)
    header += " " * ((64 - (10 + len(header) + 1) % 64) % 64) + "\n"
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + raw)


def read_attribute(data):
    name = value = None
    for number, _, field in fields(data):
        if number == 1:
            name = field.decode()
        elif number == 2:
            value = struct.unpack("<f", field)[0]
        elif number == 3:
            value = field if field < 2 ** 63 else field - 2 ** 64
    return name, value


def read_model(data):
    """Names of the node's inputs and outputs, its attributes, those of the graph, and the opset."""
    model = list(fields(data))
    graph = next(value for number, _, value in model if number == 7)
    opset = max(value for number, _, entry in model if number == 8
                for field, _, value in fields(entry) if field == 2)
    node, graph_inputs, graph_outputs = None, [], []
    for number, _, value in fields(graph):
        if number == 1:
            node = value
        elif number in (11, 12):
            name = next(v.decode() for n, _, v in fields(value) if n == 1)
            (graph_inputs if number == 11 else graph_outputs).append(name)
    inputs, outputs, attributes = [], [], {}
    for number, _, value in fields(node):
        if number == 1:
            inputs.append(value.decode())
        elif number == 2:
            outputs.append(value.decode())
        elif number == 5:
            name, attribute = read_attribute(value)
            attributes[name] = attribute
    return inputs, outputs, attributes, graph_inputs, graph_outputs, opset


def read_file(path):
    with open(path, "rb") as file:
        return file.read()


def convert(source, target):
    inputs, outputs, attributes, graph_inputs, graph_outputs, opset = read_model(read_file(source + "/model.onnx"))
    os.makedirs(target, exist_ok=True)
    case = {"opset": opset, "attributes": attributes, "inputs": {}, "outputs": {}}
    for roles, names, listing, kind in ((INPUTS, inputs, graph_inputs, "input"),
                                        (OUTPUTS, outputs, graph_outputs, "output")):
        for role, name in zip(roles, names):
            if not name:
                continue
            stored = "%s/test_data_set_0/%s_%d.pb" % (source, kind, listing.index(name))
            tensor = read_tensor(read_file(stored))
            write_npy("%s/%s.npy" % (target, role), *tensor)
            if role == "Q" and tensor[1] == BFLOAT16:
                case["dtype"] = "bf16"
            case[kind + "s"][role] = role + ".npy"
    with open(target + "/case.json", "w") as file:
        json.dump(case, file, indent=1, sort_keys=True)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, target = sys.argv[1:]
    prefix = "test_attention_"
    for name in sorted(os.listdir(source)):
        # The *_expanded folders hold the same data under a model of primitive operators.
        if name.startswith(prefix) and not name.endswith("_expanded"):
            convert(os.path.join(source, name), os.path.join(target, name[len(prefix):]))


if __name__ == "__main__":
    main()
