"""Networks of Keras by tf2onnx and by Keras' own export."""
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import sys  # noqa: E402
from pathlib import Path  # noqa: E402

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from keras import layers  # noqa: E402

import writing  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import feeds  # noqa: E402


def about(exporter, **more):
    return {"exporter": exporter, "versions": writing.versions("tensorflow-cpu", "keras", "tf2onnx"), **more}


def sensible(net, spec):
    """Batch norms take the statistics of pictures such as the network is given, one norm
    after another, and vary in scale."""
    rng = np.random.default_rng(3)
    pictures = feeds.fill(rng, spec, [8, *spec["shape"][1:]])
    norms = [x for x in net.layers if isinstance(x, layers.BatchNormalization)]
    for x in norms:
        x.momentum = 0.0
        x.gamma.assign(rng.uniform(0.6, 1.4, x.gamma.shape))
        x.beta.assign(rng.normal(0, 0.2, x.beta.shape))
    net(pictures, training=True)
    return net


IMAGE = {"dtype": "float32", "shape": ["batch", 224, 224, 3], "fill": "image-last"}
PIXELS = {**IMAGE, "pixels": True}  # for networks that normalise by themselves


def keras_export(net, path):
    """Keras' own way to ONNX, which wants a network that has been called."""
    net(np.zeros([1, *(n or 5 for n in net.input_shape[1:])], net.inputs[0].dtype))
    net.export(str(path), format="onnx", verbose=False)


def tf2onnx_export(net, path, signature, opset=17):
    import tf2onnx
    function = tf.function(lambda *x: net(x[0] if len(x) == 1 else list(x), training=False), input_signature=signature)
    tf2onnx.convert.from_function(function, input_signature=signature, opset=opset, output_path=str(path))


def renamed(path, names):
    """Gives the inputs the names of the manifest."""
    import onnx
    m = onnx.load(str(path))
    old = {i.name: n for i, n in zip(m.graph.input, names)}
    for i in m.graph.input:
        i.name = old[i.name]
    for n in m.graph.node:
        for k, x in enumerate(n.input):
            n.input[k] = old.get(x, x)
    onnx.save(m, str(path))


def picture_net(make, exporter, image=IMAGE):
    def maker(path):
        keras.utils.set_random_seed(1)
        net = sensible(make(weights=None), image)
        if exporter == "tf2onnx":
            tf2onnx_export(net, path, [tf.TensorSpec([None, 224, 224, 3], tf.float32, name="image")])
        else:
            keras_export(net, path)
        renamed(path, ["image"])
        return about(exporter, inputs={"image": image})
    return maker


def tagger(exporter):
    def maker(path):
        keras.utils.set_random_seed(2)
        tokens = keras.Input([None], dtype="int32", name="tokens")
        x = layers.Embedding(20000, 128)(tokens)
        x = layers.Bidirectional(layers.LSTM(128, return_sequences=True))(x)
        x = layers.GRU(128, return_sequences=True)(x)
        net = keras.Model(tokens, layers.Dense(45, activation="softmax")(x))
        for w in net.weights:
            w.assign(w * 2)
        if exporter == "tf2onnx":
            tf2onnx_export(net, path, [tf.TensorSpec([None, None], tf.int32, name="tokens")])
        else:
            keras_export(net, path)
        renamed(path, ["tokens"])
        return about(exporter, sizes={"length": [12, 3, 40, 25]}, inputs={"tokens": {"dtype": "int32", "shape": ["batch", "length"], "fill": "ids", "high": 20000}})
    return maker


def tanh_gelu(x):
    return keras.ops.gelu(x, approximate=True)


def encoder(exporter):
    """A Transformer of Keras' own layers, with a convolution over time behind it."""
    def maker(path):
        keras.utils.set_random_seed(3)
        tokens = keras.Input([48], dtype="int32", name="tokens")
        x = layers.Embedding(5000, 128)(tokens)
        for _ in range(2):
            y = layers.MultiHeadAttention(8, 16)(x, x)
            x = layers.LayerNormalization()(x + y)
            y = layers.Dense(128)(layers.Dense(512, activation=tanh_gelu)(x))
            x = layers.LayerNormalization()(x + y)
        x = layers.Conv1D(64, 3, padding="same", activation="relu")(x)
        net = keras.Model(tokens, layers.Dense(10)(layers.GlobalMaxPooling1D()(x)))
        if exporter == "tf2onnx":
            tf2onnx_export(net, path, [tf.TensorSpec([None, 48], tf.int32, name="tokens")])
        else:
            keras_export(net, path)
        renamed(path, ["tokens"])
        return about(exporter, inputs={"tokens": {"dtype": "int32", "shape": ["batch", 48], "fill": "ids", "high": 5000}})
    return maker


# What tf2onnx 1.17 cannot write with TensorFlow 2.21, by itself or behind Keras' export:
# the exact GELU (Erfc), convolutions in groups (a compiled function), so ConvNeXt; and the
# Normalization layer, so EfficientNet.
apps = keras.applications
TABLE = {
    "resnet50-tf2onnx": picture_net(apps.ResNet50, "tf2onnx"),
    "mobilenetv3-keras": picture_net(apps.MobileNetV3Large, "Keras export", PIXELS),
    "tagger-tf2onnx": tagger("tf2onnx"),
    "tagger-keras": tagger("Keras export"),
    "encoder-tf2onnx": encoder("tf2onnx"),
    "encoder-keras": encoder("Keras export"),
}

if __name__ == "__main__":
    writing.run(TABLE)
