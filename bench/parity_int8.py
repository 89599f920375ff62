"""Quantised networks beside onnxruntime, from one rounding to the next.

A value on the edge between two steps goes to one or the other by its last bit, and the
layers behind enlarge that until two correct runtimes differ by a tenth: so do the two
forms of onnxruntime. What tells right from wrong is each part by itself, on equal inputs.
onnxruntime runs the graph as it is written and gives every value in between; Tandem gets
exactly these, for the model cut in two ways:

  nodes      every quantised operator alone. Whole numbers must be equal, floats within
             1e-6 of the largest. Operators that calculate and round in one (EXACT) may
             differ by one step where the exact value, in double, lies on the edge between
             the two. DynamicQuantizeLSTM rounds its states in each step: it runs a step at a
             time, each from the states that onnxruntime has then.
  segments   the whole graph, but that behind each rounding onnxruntime's result goes on.
             So all that lies between two roundings is compiled as in the uncut model. A
             rounded value may differ by one step where the number that was rounded lies
             within the tolerance of floats from the edge between the two.
"""
from collections import Counter

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LAYER = "DynamicQuantizeLSTM"
ROUNDING = {"QuantizeLinear", "DynamicQuantizeLinear"}
QUANTISED = ROUNDING | {"DequantizeLinear", "MatMulInteger", "ConvInteger", "QLinearConv", "QLinearMatMul", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul",
                        "MatMulIntegerToFloat", "QGemm", "QAttention", "QEmbedLayerNormalization", "QLinearAdd", "QLinearMul", "QLinearSigmoid", "QLinearLeakyRelu",
                        "QLinearSoftmax", "QLinearConcat", "QLinearWhere", "QLinearAveragePool", "QLinearGlobalAveragePool"}
FUSED = QUANTISED - ROUNDING - {"DequantizeLinear", "MatMulInteger", "ConvInteger", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QAttention"}
NODE_TOLERANCE = 1e-6


def exact_pair(n, of):
    """What QLinearAdd and QLinearMul round, in steps of the result."""
    a, sa, za, b, sb, zb, s, z = (of(n, i) for i in range(8))
    a, b = (a - za) * sa, (b - zb) * sb
    return (a + b if n.op_type == "QLinearAdd" else a * b) / s + z


def exact_gemm(n, of):
    """What QGemm rounds."""
    attrs = {a.name: helper.get_attribute_value(a) for a in n.attribute}
    a, sa, za, b, sb, zb, bias, s, z = (of(n, i) for i in range(9))
    a, b = (a.T if attrs.get("transA") else a) - za, (b.T if attrs.get("transB") else b) - zb
    sums = a @ b + bias
    return sums * sa * sb * attrs.get("alpha", 1.0) / s + z


EXACT = {"QLinearAdd": exact_pair, "QLinearMul": exact_pair, "QGemm": exact_gemm}


class Cuts:
    """The three forms of a quantised model, and the nodes that they are about."""

    def __init__(self, path, folder):
        whole = onnx.load(str(path))
        g = whole.graph
        self.constants = {t.name: numpy_helper.to_array(t) for t in g.initializer}
        self.constants |= {n.output[0]: numpy_helper.to_array(n.attribute[0].t) for n in g.node if n.op_type == "Constant"}
        depends = lambda n: any(x and x not in self.constants for x in n.input)
        quantised = [n for n in g.node if n.op_type in QUANTISED and depends(n)]
        self.kinds = dict(sorted(Counter(n.op_type for n in quantised).items()))
        self.layers = [n for n in quantised if n.op_type == LAYER]
        self.nodes = [n for n in quantised if n.op_type != LAYER]
        self.rounding = [n for n in quantised if n.op_type in ROUNDING | FUSED | {LAYER}]
        self.given = {x for n in self.nodes for x in n.input if x and x not in self.constants}
        self.made = [y for n in self.nodes for y in n.output if y]
        seen_too = {x for n in self.layers for x in [n.input[0], *n.output] if x}
        self.outputs = [o.name for o in g.output]
        self.inputs = [i.name for i in g.input]
        self.whole, self.folder = whole, folder
        known = {*self.inputs, *self.outputs}
        self.between = sorted((self.given | set(self.made) | seen_too) - known)
        seen = onnx.ModelProto()
        seen.CopyFrom(whole)
        seen.graph.output.extend(onnx.ValueInfoProto(name=x) for x in self.between)
        self.seen = self.write(seen, "seen")

    def number(self, n, i, values):
        """An operand of a node as doubles; 0 where there is none."""
        x = n.input[i] if i < len(n.input) else ""
        if not x:
            return 0.0
        return (values[x] if x in values else self.constants[x]).astype(np.float64)

    def write(self, m, name):
        path = self.folder / f"{name}.onnx"
        onnx.save(m, str(path))
        return path

    def cut(self, values):
        """Writes the two cut models; values tell types and ranks."""
        self.alone, self.segments = self.write(self.nodes_alone(values), "nodes"), self.write(self.in_segments(values), "segments")

    def nodes_alone(self, values):
        m = onnx.ModelProto()
        m.CopyFrom(self.whole)
        g = m.graph
        used = {x for n in self.nodes for x in n.input}
        keep = [t for t in g.initializer if t.name in used]
        made_here = [n for n in g.node if n.op_type == "Constant" and n.output[0] in used]
        nodes = [onnx.NodeProto() for _ in self.nodes]
        for new, n in zip(nodes, self.nodes):
            new.CopyFrom(n)
            new.output[:] = [y and f"{y}#made" for y in n.output]
        for field in ("node", "initializer", "input", "output", "value_info"):
            g.ClearField(field)
        g.node.extend(made_here + nodes)
        g.initializer.extend(keep)
        g.input.extend(info(x, values[x]) for x in sorted(self.given))
        g.output.extend(info(f"{y}#made", values[y]) for y in self.made)
        return m

    def layer(self, n, x, hidden):
        """A model of one step of a layer: x, h and c in, h and c out."""
        m = onnx.ModelProto()
        m.CopyFrom(self.whole)
        g = m.graph
        one = onnx.NodeProto()
        one.CopyFrom(n)
        one.input[0], one.input[4], one.input[5], one.input[6] = "x", "", "h", "c"
        one.output[:] = ["y", "h_out", "c_out"]
        keep = [t for t in g.initializer if t.name in one.input]
        for field in ("node", "initializer", "input", "output", "value_info"):
            g.ClearField(field)
        g.node.append(one)
        g.initializer.extend(keep)
        g.input.extend([info("x", x), info("h", hidden), info("c", hidden)])
        g.output.extend([info("h_out", hidden), info("c_out", hidden)])
        return self.write(m, "layer")

    def in_segments(self, values):
        m = onnx.ModelProto()
        m.CopyFrom(self.whole)
        g = m.graph
        g.ClearField("value_info")
        names = {n.output[0] for n in self.rounding}
        for n in g.node:
            if n.output[0] in names:
                g.input.extend(info(y, values[y]) for y in n.output if y)
                g.output.extend(info(f"{y}#made", values[y]) for y in n.output if y)
                n.output[:] = [y and f"{y}#made" for y in n.output]
        return m


def info(name, value):
    kind = helper.np_dtype_to_tensor_dtype(value.dtype) if value.dtype != object else TensorProto.STRING
    return helper.make_tensor_value_info(name, kind, [f"{name}.{i}" for i in range(value.ndim)])


HEAD = "| quantised model |"


def line(r):
    """A row in Markdown."""
    nodes = ", ".join(f"{n} {k}" for k, n in r["nodes"].items())
    unequal = ", ".join(f"**{n} of {k}**" for k, n in r["unequal"].items()) or "none"
    return f"| {r['name']} | {r['rows']} | {nodes} | {unequal} | {r['node_error']:.1e} | {r['codes']:,} | {r['moved']:,} | {r['edge']:.1e} | {r['segment_error']:.1e} |"


class Tally:
    """What the comparisons found."""

    def __init__(self):
        self.unequal, self.node_error = {}, 0.0
        self.codes, self.moved, self.edge, self.segment_error = 0, 0, 0.0, 0.0

    def node(self, n, got, want, share, of=None):
        for a, b in zip(got, want, strict=True):
            if b.dtype.kind == "f":
                self.node_error = max(self.node_error, share([a], [b]))
            elif a.shape == b.shape and (a != b).any() and n.op_type in EXACT:
                v, z = EXACT[n.op_type](n, of), of(n, len(n.input) - 1)
                self.at_edges(a, b, v - z, 1.0, z)
            elif a.shape != b.shape or (a != b).any():
                count = int((a != b).sum()) if a.shape == b.shape else b.size
                self.unequal[n.op_type] = self.unequal.get(n.op_type, 0) + count

    def rounded(self, got, want, x, scale, zero):
        """got and want are codes, x the numbers that onnxruntime rounded."""
        self.codes += want.size
        self.at_edges(got, want, x, scale, zero)

    def at_edges(self, got, want, x, scale, zero):
        at = np.nonzero(got != want)
        if len(at[0]) == 0:
            return
        self.moved += len(at[0])
        a, b = got[at].astype(np.int64), want[at].astype(np.int64)
        if (abs(a - b) > 1).any():
            self.edge = np.inf
            return
        away = np.abs(x[at].astype(np.float64) / scale + zero - (a + b) / 2) * scale / np.abs(x).max()
        self.edge = max(self.edge, float(away.max()))

    def row(self, tolerance):
        ok = self.node_error <= NODE_TOLERANCE and not self.unequal and self.edge <= tolerance and self.segment_error <= tolerance
        return {"unequal": self.unequal, "node_error": self.node_error, "codes": self.codes, "moved": self.moved,
                "edge": self.edge, "segment_error": self.segment_error, "steps_right": ok}


def compare(model, inputs, folder, session, run, share, tolerance):
    """Runs both cuts on every input. session opens a model in onnxruntime as written, run
    runs one in Tandem on a list of inputs, share is the largest difference as a share of the largest value."""
    c, tally = Cuts(model, folder), Tally()
    peer = session(c.seen)
    names = [o.name for o in peer.get_outputs()]
    for x in inputs:
        values = {**x, **dict(zip(names, peer.run(None, x)))}
        if not hasattr(c, "alone"):
            c.cut(values)
        made = run(c.alone, [{k: values[k] for k in c.given}])[0]
        made = dict(zip(c.made, made, strict=True))
        for n in c.nodes:
            tally.node(n, *([side[y] for y in n.output if y] for side in (made, values)), share, lambda n, i: c.number(n, i, values))
        for n in c.layers:
            steps(c, tally, n, values, session, run, share)
        segments(c, tally, x, values, run, share)
    return {"nodes": c.kinds, **tally.row(tolerance)}


def steps(c, tally, n, values, session, run, share):
    """One layer, a step at a time: states go on as onnxruntime computes them."""
    x = values[n.input[0]]
    y = next(values[o] for o in n.output if o)  # [steps, directions, batch, hidden], or states
    h = cell = np.zeros((y.shape[-3], *y.shape[-2:]), np.float32)
    model = c.layer(n, x[:1], h)
    peer = session(model)
    feeds, want = [], []
    for step in x:
        feeds.append({"x": step[None], "h": h, "c": cell})
        h, cell = peer.run(None, feeds[-1])
        want.append((h, cell))
    for a, b in zip(run(model, feeds), want):
        tally.node(n, a, b, share)


def segments(c, tally, x, values, run, share):
    rounded = [y for n in c.whole.graph.node for y in n.output if y and any(n.output[0] == r.output[0] for r in c.rounding)]
    out = run(c.segments, [{**x, **{y: values[y] for y in rounded}}])[0]
    made = dict(zip([*c.outputs, *rounded], out, strict=True))
    tally.segment_error = max(tally.segment_error, share([made[y] for y in c.outputs if y not in rounded], [values[y] for y in c.outputs if y not in rounded]))
    for n in c.rounding:
        if n.op_type == LAYER:
            continue  # it rounds within
        got, want = ([side[y] for y in n.output if y] for side in (made, values))
        if n.op_type == "DynamicQuantizeLinear":
            rounded_dynamic(tally, got, want, values[n.input[0]], share)
        elif n.op_type == "QuantizeLinear":
            scale, zero = (c.number(n, i, values) for i in (1, 2))
            tally.rounded(got[0], want[0], values[n.input[0]], float(scale), float(zero))
        else:  # its inputs are onnxruntime's, whole numbers that it made
            tally.codes += want[0].size
            tally.node(n, got, want, share, lambda n, i: c.number(n, i, values))


def rounded_dynamic(tally, got, want, x, share):
    """The scale is a float; where the zero point is rounded to the other side, all codes move with it."""
    scale, zero = float(want[1]), float(want[2])
    tally.segment_error = max(tally.segment_error, share([got[1]], [want[1]]))
    least = np.minimum(x.min(), 0).reshape(1)
    tally.rounded(got[2].reshape(1), want[2].reshape(1), -least, scale, 0)
    tally.rounded(got[0].astype(np.int64) - int(got[2]), want[0].astype(np.int64) - int(zero), x, scale, 0)
