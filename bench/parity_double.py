"""A graph evaluated in double, by onnx's reference evaluator with PyTorch's convolution:
the arbiter where two runtimes that compute in float32 disagree."""
import warnings

import numpy as np
import onnx
import torch
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun


class Conv(OpRun):
    def _run(self, X, W, B=None, auto_pad=None, dilations=None, group=None, kernel_shape=None, pads=None, strides=None):
        n = W.ndim - 2
        strides, dilations = list(strides or [1] * n), list(dilations or [1] * n)
        before, after = (list(pads[:n]), list(pads[n:])) if pads else ([0] * n, [0] * n)
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            for i in range(n):
                size = X.shape[2 + i]
                total = max((-(-size // strides[i]) - 1) * strides[i] + (W.shape[2 + i] - 1) * dilations[i] + 1 - size, 0)
                short, long = total // 2, total - total // 2
                before[i], after[i] = (short, long) if auto_pad == "SAME_UPPER" else (long, short)
        edges = [p for i in reversed(range(n)) for p in (before[i], after[i])]
        x = torch.nn.functional.pad(torch.from_numpy(np.array(X)), edges)
        bias = None if B is None else torch.from_numpy(np.array(B))
        conv = {1: torch.nn.functional.conv1d, 2: torch.nn.functional.conv2d}[n]
        return (conv(x, torch.from_numpy(np.array(W)), bias, strides, 0, dilations, group or 1).numpy(),)


def evaluator(path):
    """Of the model with every float32 made a double."""
    m = onnx.load(str(path))
    double = lambda t, name="": numpy_helper.from_array(numpy_helper.to_array(t).astype(np.float64), name)
    for t in m.graph.initializer:
        if t.data_type == TensorProto.FLOAT:
            t.CopyFrom(double(t, t.name))
    for v in [*m.graph.input, *m.graph.output]:
        if v.type.tensor_type.elem_type == TensorProto.FLOAT:
            v.type.tensor_type.elem_type = TensorProto.DOUBLE
    for n in m.graph.node:
        for a in n.attribute:
            if a.t.data_type == TensorProto.FLOAT:
                a.t.CopyFrom(double(a.t))
            if n.op_type == "Cast" and a.name == "to" and a.i == TensorProto.FLOAT:
                a.i = TensorProto.DOUBLE
    m.graph.ClearField("value_info")
    return ReferenceEvaluator(m, new_ops=[Conv])


def distances(path, inputs, results, difference):
    """For each list of results, the largest difference from the evaluation in double."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        e, worst = evaluator(path), [0.0] * len(results)
        for i, x in enumerate(inputs):
            exact = e.run(None, {k: v.astype(np.float64) if v.dtype == np.float32 else v for k, v in x.items()})
            worst = [max(w, difference(r[i], exact)) for w, r in zip(worst, results)]
    return worst
