"""Writes the test models of graph/onnx with the onnx package, which shares no code with Tandem.

Run: bench/.venv/bin/python graph/onnx/testdata/make.py
"""
import os
import numpy as np
import onnx
from onnx import TensorProto as T, helper as h, numpy_helper as nh

here = os.path.dirname(os.path.abspath(__file__))


def save(name, graph, **kw):
    kw.setdefault("opset_imports", [h.make_opsetid("", 21)])
    m = h.make_model(graph, ir_version=10, producer_name="make.py", **kw)
    onnx.checker.check_model(m)
    with open(os.path.join(here, name), "wb") as f:
        f.write(m.SerializeToString(deterministic=True))


# One tensor of 1, 0, 1, 1 for every element type, in its typed field and in raw_data.
values = [1, 0, 1, 1]
inits, outs = [], []
for name, t in sorted(T.DataType.items()):
    if name in ("UNDEFINED", "FLOAT6E2M3", "FLOAT6E3M2"):
        continue
    for raw in (False, True):
        if t == T.STRING:
            if raw:
                continue
            p = h.make_tensor("string", t, [2, 2], [b"1", b"", b"1", b"\xff"])
        else:
            p = h.make_tensor(name.lower(), t, [2, 2], values)
            if raw:
                arr = nh.to_array(p)
                p = nh.from_array(arr, name.lower() + "_raw")
                assert p.data_type == t, name
        inits.append(p)
        outs.append(h.make_tensor_value_info(p.name, t, [2, 2]))
save("forms.onnx", h.make_graph([], "forms", [], outs, inits))

# Inner graphs that read outer values, and every kind of attribute.
x = h.make_tensor_value_info("x", T.FLOAT, ["batch", None, 3])
then = h.make_graph([h.make_node("Neg", ["x"], ["neg"])], "then", [], [h.make_tensor_value_info("neg", T.FLOAT, None)])
other = h.make_graph([h.make_node("Add", ["x", "inner"], ["sum"])], "else", [],
                     [h.make_tensor_value_info("sum", T.FLOAT, None)], [h.make_tensor("inner", T.FLOAT, [], [2.0])])
save("if.onnx", h.make_graph([
    h.make_node("Constant", [], ["yes"], value=h.make_tensor("", T.BOOL, [], [True])),
    h.make_node("If", ["yes"], ["y"], name="choose", then_branch=then, else_branch=other),
], "if", [x], [h.make_tensor_value_info("y", T.FLOAT, ["batch", None, 3])]))
save("attrs.onnx", h.make_graph([
    h.make_node("Many", ["x", "", "x"], ["", "y"], domain="example", i=-7, f=0.5, s="text", ints=[1, -2], floats=[0.5, -1.5],
                strings=["a", "b"], t=h.make_tensor("", T.INT64, [2], [5, 6])),
], "attrs", [x], [h.make_tensor_value_info("y", T.FLOAT, [])]),
    opset_imports=[h.make_opsetid("", 21), h.make_opsetid("example", 3)])

# A function with a default attribute, one that is passed on, and a call within a call.
scale = h.make_function("local", "Scale", ["a"], ["b"], [
    onnx.NodeProto(op_type="Constant", output=["k"], attribute=[onnx.AttributeProto(name="value_float", ref_attr_name="by", type=onnx.AttributeProto.FLOAT)]),
    h.make_node("Mul", ["a", "k"], ["b"]),
], [h.make_opsetid("", 21)], attribute_protos=[h.make_attribute("by", 3.0)])
twice = h.make_function("local", "Twice", ["a", "unused"], ["b", "a2"], [
    h.make_node("Scale", ["a"], ["mid"], domain="local", by=2.0),
    h.make_node("Scale", ["mid"], ["b"], domain="local"),
    h.make_node("Identity", ["a"], ["a2"]),
], [h.make_opsetid("", 21), h.make_opsetid("local", 1)])
save("function.onnx", h.make_graph([
    h.make_node("Twice", ["x"], ["mid", "copy"], name="first", domain="local"),
    h.make_node("Add", ["mid", "copy"], ["y"]),
], "function", [x], [h.make_tensor_value_info("y", T.FLOAT, ["batch", None, 3])]),
    functions=[scale, twice], opset_imports=[h.make_opsetid("", 21), h.make_opsetid("local", 1)])

# External data, the first tensor at an offset.
w, b = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([7, 8, 9], dtype=np.int64)
blob = b"\0" * 64 + w.tobytes() + b.tobytes()
with open(os.path.join(here, "external.bin"), "wb") as f:
    f.write(blob)


def outside(name, arr, offset):
    p = nh.from_array(arr, name)
    p.ClearField("raw_data")
    p.data_location = T.EXTERNAL
    for key, value in (("location", "external.bin"), ("offset", str(offset)), ("length", str(arr.nbytes))):
        p.external_data.add(key=key, value=value)
    return p


m = h.make_model(h.make_graph([], "external", [], [h.make_tensor_value_info("w", T.FLOAT, [2, 3]), h.make_tensor_value_info("b", T.INT64, [3])],
                              [outside("w", w, 64), outside("b", b, 64 + 24)]), ir_version=10, opset_imports=[h.make_opsetid("", 21)])
with open(os.path.join(here, "external.onnx"), "wb") as f:
    f.write(m.SerializeToString(deterministic=True))
