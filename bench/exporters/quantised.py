"""Networks of the other scripts made int8 by onnxruntime's own quantiser: static (QDQ, and
operators on quantized numbers), with ranges measured on varied inputs, and dynamic. They need the network that they begin with."""
import logging
import sys
import tempfile
from pathlib import Path

from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

import writing

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import feeds  # noqa: E402


class Samples(CalibrationDataReader):
    def __init__(self, name, count=6):
        self.left = [feeds.feed(name, 2, 1000 + i) for i in range(count)]

    def get_next(self):
        return self.left.pop() if self.left else None


def about(source, how):
    m = feeds.manifest(source)
    # Where a value lies on the edge between two steps, a difference in the last bit of what
    # came before moves it by a step: the measure is the share of a step, not of a bit.
    return {**{k: m[k] for k in ("inputs", "sizes", "sums", "compare") if k in m}, "exporter": f"onnxruntime quantiser, {how}", "quantised": True,
            "from": source, "versions": writing.versions("onnxruntime")}


def static(source, per_channel=True, form=QuantFormat.QDQ):
    def maker(path):
        logging.getLogger().setLevel(logging.ERROR)
        with tempfile.TemporaryDirectory() as tmp:
            clean = Path(tmp) / "clean.onnx"
            quant_pre_process(str(feeds.MODELS / f"{source}.onnx"), str(clean), skip_symbolic_shape=True)
            quantize_static(str(clean), str(path), Samples(source), quant_format=form, per_channel=per_channel,
                            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
        return about(source, f"static {form}")
    return maker


def dynamic(source):
    def maker(path):
        logging.getLogger().setLevel(logging.ERROR)
        quantize_dynamic(str(feeds.MODELS / f"{source}.onnx"), str(path), weight_type=QuantType.QInt8)
        return about(source, "dynamic")
    return maker


TABLE = {
    "resnet50-int8": static("resnet50"),
    "mobilenetv3-int8": static("mobilenetv3"),
    "mobilenetv3-int8-operators": static("mobilenetv3", form=QuantFormat.QOperator),
    "minilm-int8-static": static("minilm"),
    "minilm-int8": dynamic("minilm"),
    "bert-base-int8": dynamic("bert-base"),
    "lstm-tagger-int8": dynamic("lstm-tagger-legacy"),
}

if __name__ == "__main__":
    writing.run(TABLE)
