#!/usr/bin/env python3
"""Writes networks of MatMulNBits for bench/speed.py --models FOLDER: eight times 1024 → 4096
→ 1024 with ReLU and a sum, made by onnxruntime's quantiser with weights of four or eight
bits in blocks of 32. accuracy_level 0 keeps activations in float32 (dense-int4, dense-int8),
4 lets them be rounded to bytes (dense-int4-bytes). Run by `make bench-int4`.

    few_bits.py FOLDER
"""
import json
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

LAYERS, NARROW, WIDE = 8, 1024, 4096


def floats():
    rng = np.random.default_rng(7)
    nodes, constants, x = [], [], "x"
    for i in range(LAYERS):
        for k, n, what in ((NARROW, WIDE, "up"), (WIDE, NARROW, "down")):
            w = rng.standard_normal((k, n)).astype(np.float32) / np.float32(np.sqrt(k))
            constants.append(numpy_helper.from_array(w, f"{what}{i}.weight"))
        nodes += [
            helper.make_node("MatMul", [x, f"up{i}.weight"], [f"wide{i}"], f"up{i}"), helper.make_node("Relu", [f"wide{i}"], [f"active{i}"]),
            helper.make_node("MatMul", [f"active{i}", f"down{i}.weight"], [f"narrow{i}"], f"down{i}"), helper.make_node("Add", [x, f"narrow{i}"], [f"sum{i}"]),
        ]
        x = f"sum{i}"
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", NARROW])] for name in ("x", x)]
    return helper.make_model(helper.make_graph(nodes, "dense", *ends, constants), opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def main(folder):
    folder.mkdir(exist_ok=True)
    for name, bits, accuracy in (("dense-int4", 4, 0), ("dense-int4-bytes", 4, 4), ("dense-int8", 8, 0)):
        q = MatMulNBitsQuantizer(floats(), bits=bits, block_size=32, is_symmetric=True, accuracy_level=accuracy)
        q.process()
        save(q.model.model, str(folder / f"{name}.onnx"))
        inputs = {"x": {"dtype": "float32", "shape": ["batch", NARROW], "fill": "normal"}}
        (folder / f"{name}.json").write_text(json.dumps({"name": name, "inputs": inputs, "quantised": True}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
