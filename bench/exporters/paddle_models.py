"""Networks of PaddlePaddle by paddle2onnx."""
import sys
import tempfile
from pathlib import Path

import numpy as np
import paddle
import paddle2onnx
from paddle import nn
from paddle.static import InputSpec

import writing

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import feeds  # noqa: E402


def about(**more):
    return {"exporter": "paddle2onnx", "versions": writing.versions("paddlepaddle", "paddle2onnx"), **more}


def sensible(net):
    rng = np.random.default_rng(4)
    norms = [m for m in net.sublayers() if isinstance(m, nn.BatchNorm2D)]
    for m in norms:
        m._momentum = 0.0
        m.weight.set_value(rng.uniform(0.6, 1.4, m.weight.shape).astype("float32"))
        m.bias.set_value(rng.normal(0, 0.2, m.bias.shape).astype("float32"))
    net.eval()
    for m in norms:
        m.train()
    with paddle.no_grad():
        net(paddle.to_tensor(feeds.images(rng, [8, 3, 224, 224]).astype("float32")))
    net.eval()
    return net


def write(net, spec, path):
    net.eval()
    with tempfile.TemporaryDirectory() as tmp:
        paddle.jit.save(net, f"{tmp}/net", input_spec=spec)
        program = next(p for p in (Path(tmp) / "net.json", Path(tmp) / "net.pdmodel") if p.exists())
        paddle2onnx.export(str(program), f"{tmp}/net.pdiparams", str(path), opset_version=17, enable_onnx_checker=True, verbose=False)


def picture_net(make):
    def maker(path):
        paddle.seed(1)
        write(sensible(make()), [InputSpec([None, 3, 224, 224], "float32", "image")], path)
        return about(inputs={"image": {"dtype": "float32", "shape": ["batch", 3, 224, 224], "fill": "image"}})
    return maker


class Tagger(nn.Layer):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20000, 96)
        self.recurrent = nn.LSTM(96, 128, direction="bidirect")
        self.tags = nn.Linear(256, 45)

    def forward(self, tokens):
        return nn.functional.softmax(self.tags(self.recurrent(self.embedding(tokens))[0]))


class Encoder(nn.Layer):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5000, 128)
        self.layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(128, 8, 512, activation="gelu"), 3)
        self.scores = nn.Linear(128, 10)

    def forward(self, tokens):
        return self.scores(self.layers(self.embedding(tokens)).mean(1))


def tokens_net(make, high):
    def maker(path):
        paddle.seed(2)
        write(make(), [InputSpec([None, None], "int64", "tokens")], path)
        return about(sizes={"length": [12, 3, 40, 25]}, inputs={"tokens": {"dtype": "int64", "shape": ["batch", "length"], "fill": "ids", "high": high}})
    return maker


models = paddle.vision.models
TABLE = {
    "resnet50-paddle": picture_net(models.resnet50),
    "mobilenetv3-paddle": picture_net(models.mobilenet_v3_large),
    "tagger-paddle": tokens_net(Tagger, 20000),
    "encoder-paddle": tokens_net(Encoder, 5000),
}

if __name__ == "__main__":
    writing.run(TABLE)
