"""Write cases of com.microsoft's operators, most of them on quantized numbers, with what
onnxruntime gives for them, as the folders that `tandem conformance onnx DIR` reads.

    python bench/microsoft_cases.py DIR

onnxruntime runs one thread: the scales of DynamicQuantizeLSTM depend on how many there are.
PagedAttention, which it has for GPUs only, is compared with its definition in numpy, in
doubles (microsoft_paged.py).
"""
import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

import microsoft_paged

ORT = onnxruntime.InferenceSession
U8, I8, F32, I32 = np.uint8, np.int8, np.float32, np.int32


def scale(v):
    return np.array(v, F32)


def codes(rng, dtype, *shape):
    i = np.iinfo(dtype)
    return rng.integers(i.min, i.max + 1, shape).astype(dtype)


def quantised(rng, dtype, *shape, of=0.03):
    """A tensor, its scale and its zero point."""
    return [codes(rng, dtype, *shape), scale(of * rng.uniform(0.5, 2)), codes(rng, dtype)]


def out(rng, dtype, of=0.02):
    return [scale(of * rng.uniform(0.5, 2)), codes(rng, dtype)]


def cases():
    """(name, operator, attributes, inputs, outputs); None is an absent input. Outputs are
    their number, or what they are to be where onnxruntime cannot say."""
    rng = np.random.default_rng(11)
    for dtype in (U8, I8):
        t = np.dtype(dtype).name
        x = lambda *shape: quantised(rng, dtype, *shape)
        yield f"sigmoid_{t}", "QLinearSigmoid", {}, [*x(7, 300), *out(rng, dtype, 0.004)], 1
        yield f"leaky_relu_{t}", "QLinearLeakyRelu", {"alpha": 0.1}, [*x(3, 500), *out(rng, dtype)], 1
        yield f"global_average_{t}", "QLinearGlobalAveragePool", {}, [*x(2, 9, 7, 5), *out(rng, dtype)], 1
        for name, a in (("plain", {"kernel_shape": [3, 2]}), ("padded", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}),
                        ("counted", {"kernel_shape": [3, 3], "pads": [1, 0, 1, 2], "count_include_pad": 1})):
            yield f"average_pool_{name}_{t}", "QLinearAveragePool", a, [*x(2, 5, 11, 8), *out(rng, dtype)], 1
        yield f"concat_{t}", "QLinearConcat", {"axis": 1}, [*out(rng, dtype), *x(2, 3, 5), *x(2, 4, 5), *x(2, 1, 5)], 1
        yield f"where_{t}", "QLinearWhere", {}, [rng.random((4, 1, 6)) < 0.5, *x(4, 5, 6), *x(5, 1), *out(rng, dtype, 0.03)], 1
        yield f"add_{t}", "QLinearAdd", {}, [*x(3, 4, 50), *x(4, 1), *out(rng, dtype, 0.06)], 1
        yield f"mul_{t}", "QLinearMul", {}, [*x(3, 4, 50), *x(50), *out(rng, dtype, 0.06)], 1
        for opset in (11, 13):
            yield f"softmax_{opset}_{t}", "QLinearSoftmax", {"axis": -1, "opset": opset}, [codes(rng, dtype, 5, 40), scale(0.05), codes(rng, dtype), scale(1 / 256), np.array(0 if dtype is U8 else -128, dtype)], 1
    yield from products(rng)
    yield from attention(rng)
    yield from embedding(rng)
    yield from lstm(rng)
    yield from channels_last(rng)
    yield from tables(rng)
    yield from experts(rng)
    yield from small_floats(rng)
    yield from matrices(rng)
    yield from microsoft_paged.cases(rng)


def products(rng):
    for dtype in (U8, I8):
        t = np.dtype(dtype).name
        for trans in (0, 1):
            b = codes(rng, dtype, 9, 24) if trans else codes(rng, dtype, 24, 9)
            per, zero = scale(rng.uniform(0.01, 0.05, 9)), np.zeros(9, dtype)
            a = quantised(rng, U8, 6, 24)
            yield f"gemm_columns_{trans}_{t}", "QGemm", {"transB": trans, "alpha": 1.5}, [*a, b, per, zero, rng.integers(-9999, 9999, 9).astype(I32), *out(rng, U8, 0.3)], 1
            yield f"gemm_float_{trans}_{t}", "QGemm", {"transB": trans}, [*a, b, scale(0.02), codes(rng, dtype), None], 1
        yield f"matmul_to_float_{t}", "MatMulIntegerToFloat", {}, [codes(rng, U8, 3, 4, 16), codes(rng, dtype, 16, 10), scale(0.01), scale(rng.uniform(0.01, 0.05, 10)), codes(rng, U8), np.zeros(10, dtype), rng.standard_normal(10).astype(F32)], 1
        yield f"dynamic_matmul_{t}", "DynamicQuantizeMatMul", {}, [rng.standard_normal((3, 4, 16)).astype(F32), codes(rng, dtype, 16, 10), scale(0.03), codes(rng, dtype), rng.standard_normal(10).astype(F32)], 1


def attention(rng):
    batch, rows, width, heads, size = 2, 5, 12, 3, 4
    columns = 3 * heads * size
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], I32)
    past = rng.standard_normal((2, batch, heads, 3, size)).astype(F32)
    for name, one, more, attributes, outputs in (
        ("plain", True, [None, codes(rng, U8), np.zeros((), I8)], {}, 1),
        ("columns", False, [None, codes(rng, U8), np.zeros(columns, I8)], {}, 1),
        ("masked", True, [mask, codes(rng, U8), np.zeros((), I8)], {}, 1),
        ("past", True, [None, codes(rng, U8), np.zeros((), I8), past], {"unidirectional": 1}, 2),
    ):
        w = scale(0.003) if one else scale(rng.uniform(0.001, 0.005, columns))
        inputs = [codes(rng, U8, batch, rows, width), codes(rng, I8, width, columns), rng.standard_normal(columns).astype(F32), scale(0.02), w, *more]
        yield f"attention_{name}", "QAttention", {"num_heads": heads, **attributes}, inputs, outputs


def embedding(rng):
    tables = [quantised(rng, U8, *s) for s in ((20, 8), (10, 8), (2, 8), (8,), (8,))]
    ids, segments = rng.integers(0, 20, (2, 6)).astype(I32), rng.integers(0, 2, (2, 6)).astype(I32)
    mask = np.array([[1] * 6, [1, 1, 1, 0, 0, 0]], I32)
    for name, use in (("segments", True), ("words", False)):
        pick = lambda i: [t[i] if use or k != 2 else None for k, t in enumerate(tables)]
        inputs = [ids, segments if use else None, *pick(0), mask, *pick(1), *pick(2)]
        yield f"embedding_{name}", "QEmbedLayerNormalization", {"epsilon": 1e-5}, inputs, 2


def channels_last(rng):
    for dtype in (U8, I8):
        t = np.dtype(dtype).name
        x = quantised(rng, dtype, 2, 7, 9, 5)
        yield f"global_average_last_{t}", "QLinearGlobalAveragePool", {"channels_last": 1}, [*x, *out(rng, dtype)], 1
        yield f"average_pool_last_{t}", "QLinearAveragePool", {"channels_last": 1, "kernel_shape": [3, 2], "pads": [1, 0, 1, 0], "strides": [2, 1]}, [*x, *out(rng, dtype)], 1
        yield f"max_pool_last_{t}", "NhwcMaxPool", {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "strides": [2, 1]}, [x[0]], 1


def packed(codes, bits):
    """Codes along the last dimension, the first in the low bits, lines filled up to bytes."""
    per = 8 // bits
    lines = np.zeros((*codes.shape[:-1], -(-codes.shape[-1] // per)), U8)
    for i in range(per):
        part = codes[..., i::per]
        lines[..., :part.shape[-1]] |= (part << (bits * i)).astype(U8)
    return lines


def tables(rng):
    for kind, name in ((0, "fp4"), (1, "nf4")):
        for k, n, block in ((32, 5, 16), (33, 3, 32)):
            inputs = [rng.standard_normal((2, 3, k)).astype(F32), codes(rng, U8, (n * k + 1) // 2), rng.uniform(0.5, 2, -(-n * k // block)).astype(F32)]
            yield f"matmul_{name}_{k}", "MatMulBnb4", {"K": k, "N": n, "block_size": block, "quant_type": kind}, inputs, 1
    for bits in (2, 4, 8):
        table, blocks = rng.integers(0, 2**bits, (6, 40)), 3
        for zeros in (False, True):
            inputs = [packed(table, bits), np.array([[0, 3], [-1, 5]]), rng.uniform(0.5, 2, (6, blocks)).astype(F32), packed(rng.integers(0, 2**bits, (6, blocks)), bits) if zeros else None]
            yield f"gather_{bits}{'_zeros' if zeros else ''}", "GatherBlockQuantized", {"bits": bits, "block_size": 16, "quantize_axis": 1, "given": 1}, inputs, 1


def experts(rng):
    tokens, hidden, inner, count = 5, 32, 64, 4
    n = lambda *shape: rng.standard_normal(shape).astype(F32)
    for act, k, norm, more in (("relu", 1, 0, {}), ("gelu", 2, 1, {}), ("silu", 2, 0, {}), ("identity", 3, 1, {}), ("swiglu", 2, 1, {"swiglu_fusion": 1}),
                               ("swiglu", 2, 0, {"swiglu_fusion": 1, "activation_alpha": 1.7, "activation_beta": 1.0, "swiglu_limit": 1.5})):
        rows = inner * (2 if act == "swiglu" else 1)
        name = f"{act}_{k}{'_limited' if len(more) > 1 else ''}"
        a = {"k": k, "activation_type": act, "normalize_routing_weights": norm, **more}
        yield f"experts_{name}", "MoE", a, [n(tokens, hidden), n(tokens, count), F32(0.2) * n(count, rows, hidden), n(count, rows), F32(0.2) * n(count, hidden, inner), n(count, hidden)], 1
    for bits, block, zeros in ((2, 0, False), (4, 0, True), (4, 32, False), (4, 32, True), (8, 0, True)):
        layer = lambda r, c: [packed(rng.integers(0, 2**bits, (count, r, c)), bits), rng.uniform(0.005, 0.02, (count, r, c // block) if block else (count, r)).astype(F32), n(count, r)]
        zero = lambda r, c: packed(rng.integers(0, 2**bits, (count, r, c // block) if block else (count, r)), bits) if zeros else None
        a = {"k": 2, "activation_type": "silu", "normalize_routing_weights": 1, "expert_weight_bits": bits, **({"block_size": block} if block else {})}
        inputs = [n(tokens, hidden), n(tokens, count), *layer(inner, hidden), *layer(hidden, inner), None, None, None, zero(inner, hidden), zero(hidden, inner)]
        yield f"quantised_experts_{bits}_{block}{'_zeros' if zeros else ''}", "QMoE", a, inputs, 1


def small_floats(rng):
    """Tables of floats of 8 and 4 bits, in blocks or one scale for a row, of their own or shared."""
    for t, bits in ((np.dtype(d), 4 if d.startswith("float4") else 8) for d in ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float4_e2m1fn")):
        table = rng.standard_normal((6, 40)).astype(F32).astype(t)
        for block, scales in ((16, (6, 3)), (0, (6, 1)), (32, (1, 2))):
            inputs = [table, np.array([[0, 3], [-1, 5]]), rng.uniform(0.5, 2, scales).astype(F32)]
            yield f"gather_{t.name}_{block}", "GatherBlockQuantized", {"block_size": block, "quantize_axis": 1, "given": 1}, inputs, 1


def matrices(rng):
    for dtype in (F32, np.float64):
        t = np.dtype(dtype).name
        n = lambda *shape: rng.standard_normal(shape).astype(dtype)
        for metric in ("sqeuclidean", "euclidean"):
            for rows, cols, width in ((5, 3, 7), (20, 33, 65), (1, 1, 1)):
                yield f"distances_{metric}_{rows}_{t}", "CDist", {"metric": metric, "given": 0}, [n(rows, width), n(cols, width)], 1
        for shape in ((3, 3), (2, 5, 4, 4), (1, 1), (3, 20, 20)):
            yield f"inverse_{len(shape)}_{shape[-1]}_{t}", "Inverse", {"given": 0}, [n(*shape) + 4 * np.eye(shape[-1], dtype=dtype)], 1


def lstm(rng):
    seq, batch, width, hidden = 6, 3, 10, 8
    for name, direction, full, columns, dtype in (
        ("forward", "forward", False, False, I8), ("unsigned", "forward", False, False, U8), ("reverse", "reverse", True, False, I8),
        ("both", "bidirectional", True, True, I8), ("both_plain", "bidirectional", False, False, I8),
    ):
        d = 2 if direction == "bidirectional" else 1
        n = lambda *shape: rng.standard_normal(shape).astype(F32)
        per = (d, 4 * hidden) if columns else (d,)
        zero = np.zeros(per, dtype) + (128 if dtype is U8 else 0)
        step = lambda: rng.uniform(0.002, 0.006, per).astype(F32)
        rest = [np.array([6, 2, 4], I32), n(d, batch, hidden), n(d, batch, hidden), n(d, 3 * hidden)] if full else [None] * 4
        inputs = [n(seq, batch, width), codes(rng, dtype, d, width, 4 * hidden), codes(rng, dtype, d, hidden, 4 * hidden), n(d, 8 * hidden), *rest,
                  step(), zero.astype(dtype), step(), zero.astype(dtype)]
        yield f"lstm_{name}", "DynamicQuantizeLSTM", {"hidden_size": hidden, "direction": direction}, inputs, 3


def model(op, attributes, inputs, outputs):
    names = ["" if x is None else f"x{i}" for i, x in enumerate(inputs)]
    results = [f"y{i}" for i in range(outputs if isinstance(outputs, int) else len(outputs))]
    # Parameters are constants, as quantisers write them; the first input is the model's.
    given = attributes.pop("given", None)
    if given is None:
        given = next(i for i, x in enumerate(inputs) if x is not None and x.size > 1)
    node = helper.make_node(op, names, results, domain="com.microsoft", **attributes)
    typed = lambda i: helper.make_tensor_value_info(names[i], helper.np_dtype_to_tensor_dtype(inputs[i].dtype), inputs[i].shape)
    constants = [numpy_helper.from_array(x, names[i]) for i, x in enumerate(inputs) if x is not None and i != given]
    g = helper.make_graph([node], op, [typed(given)], [onnx.ValueInfoProto(name=y) for y in results], constants)
    m = helper.make_model(g, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)], ir_version=11)
    return m, {names[given]: inputs[given]}


def run(m, feed):
    o = onnxruntime.SessionOptions()
    o.intra_op_num_threads = 1
    o.log_severity_level = 4
    o.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ORT(m.SerializeToString(), o, providers=["CPUExecutionProvider"]).run(None, feed)


def write(root, name, m, feed, got):
    del m.graph.output[:]
    m.graph.output.extend(helper.make_tensor_value_info(f"y{i}", helper.np_dtype_to_tensor_dtype(y.dtype), y.shape) for i, y in enumerate(got))
    data = root / "microsoft" / f"test_{name}" / "test_data_set_0"
    data.mkdir(parents=True, exist_ok=True)
    half = any(y.dtype == np.float16 for y in got)
    (data.parent / "model.onnx").write_bytes(m.SerializeToString())
    (data.parent / "data.json").write_text(json.dumps({"rtol": 1e-3, "atol": 1e-4} if half else {"rtol": 1e-5, "atol": 1e-6}))
    (data / "input_0.pb").write_bytes(numpy_helper.from_array(*feed.values()).SerializeToString())
    for i, y in enumerate(got):
        (data / f"output_{i}.pb").write_bytes(numpy_helper.from_array(y).SerializeToString())


def main():
    root = pathlib.Path(sys.argv[1])
    n = 0
    for name, op, attributes, inputs, outputs in cases():
        m, feed = model(op, attributes, [None if x is None else np.asarray(x) for x in inputs], outputs)
        try:
            got = run(m, feed) if isinstance(outputs, int) else outputs
        except Exception as e:
            raise RuntimeError(f"{name}: onnxruntime: {e}") from e
        write(root, name, m, feed, got)
        n += 1
    (root / "version").write_text(f"onnxruntime {onnxruntime.__version__}, {n} cases\n")
    print(f"{n} cases of onnxruntime {onnxruntime.__version__} in {root}")


if __name__ == "__main__":
    main()
