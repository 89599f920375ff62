"""Write the node cases of the installed onnx package as folders.

    python bench/onnx_cases.py DIR

onnx 1.22 and earlier carry the cases as files; later packages only make them in memory.
A case becomes DIR/node/NAME with model.onnx and test_data_set_0, and data.json where its
tolerances are not the usual ones: what `tandem conformance onnx DIR` reads.
"""

import json
import pathlib
import sys

import numpy
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases


def encode(value, info):
    """The bytes of a tensor, a sequence or an optional."""
    kind = info.type.WhichOneof("value") if info is not None else "tensor_type"
    if isinstance(value, onnx.TensorProto):
        return value.SerializeToString()
    if kind == "sequence_type":
        return numpy_helper.from_list(value).SerializeToString()
    if kind == "optional_type":
        return numpy_helper.from_optional(value).SerializeToString()
    if isinstance(value, list):
        return numpy_helper.from_list(value).SerializeToString()
    return numpy_helper.from_array(numpy.asarray(value)).SerializeToString()


def write(case, root):
    folder = root / "node" / case.name
    data = folder / "test_data_set_0"
    data.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(case.model.SerializeToString())
    (folder / "data.json").write_text(json.dumps({"rtol": case.rtol, "atol": case.atol}))
    inputs, outputs = case.data_sets[0]
    for what, values, infos in (("input", inputs, case.model.graph.input), ("output", outputs, case.model.graph.output)):
        for i, value in enumerate(values):
            (data / f"{what}_{i}.pb").write_bytes(encode(value, infos[i] if i < len(infos) else None))


def main():
    root = pathlib.Path(sys.argv[1])
    cases = collect_testcases(None)
    names = set()
    for case in cases:
        write(case, root)
        names.add(case.name)
    (root / "version").write_text(f"onnx {onnx.__version__}, {len(names)} cases\n")
    print(f"{len(names)} cases of onnx {onnx.__version__} in {root}")


if __name__ == "__main__":
    main()
