"""Pipelines of scikit-learn, with LightGBM and XGBoost among them, by skl2onnx and onnxmltools."""
import numpy as np
from lightgbm import LGBMClassifier
from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost
from skl2onnx import to_onnx, update_registered_converter
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes, calculate_linear_regressor_output_shapes
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, PolynomialFeatures, StandardScaler
from sklearn.svm import SVC
from xgboost import XGBRegressor

import writing

WORDS = ("the a quick slow brown red fox dog jumps sleeps over under lazy busy market price rises falls goal match team wins "
         "loses election vote law court doctor patient trial drug rocket orbit moon star code bug test release").split()
COLOURS = ["red", "green", "blue", "grey", "black"]


def about(*packages, **more):
    return {"exporter": "skl2onnx" + (" with onnxmltools" if "onnxmltools" in packages else ""), "batches": [1, 3, 8, 64], "versions": writing.versions("scikit-learn", "skl2onnx", *packages), **more}


def table(seed=0, rows=2000):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, 16)).astype(np.float32)
    y = np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + 0.5 * np.abs(x[:, 3]) + 0.1 * rng.standard_normal(rows)
    return x, y.astype(np.float32)


NUMBERS = {"x": {"dtype": "float32", "shape": ["batch", 16], "fill": "normal"}}


def numbers(make, target, options=None, packages=(), **more):
    def maker(path):
        x, y = table()
        net = make().fit(x, target(y))
        onx = to_onnx(net, initial_types=[("x", FloatTensorType([None, 16]))], target_opset={"": 18, "ai.onnx.ml": 3}, options={id(net): options} if options else None)
        path.write_bytes(onx.SerializeToString())
        return about(*packages, inputs=NUMBERS, **more)
    return maker


def boosters():
    """Teaches skl2onnx the two libraries of boosted trees."""
    zipmap = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
    update_registered_converter(LGBMClassifier, "LightGbmLGBMClassifier", calculate_linear_classifier_output_shapes, convert_lightgbm, options=zipmap)
    update_registered_converter(XGBRegressor, "XGBoostXGBRegressor", calculate_linear_regressor_output_shapes, convert_xgboost)


def classes(y):
    return np.digitize(y, [-0.5, 0.5, 1.2])


def text(path):
    rng = np.random.default_rng(1)
    rows = [" ".join(rng.choice(WORDS, rng.integers(4, 40), p=np.roll(np.linspace(1, 8, len(WORDS)) / np.linspace(1, 8, len(WORDS)).sum(), 9 * (i % 4)))) for i in range(800)]
    net = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), token_pattern="[a-zA-Z]+"), LogisticRegression(max_iter=300))
    net.fit(rows, [f"class {i % 4}" for i in range(800)])
    words = {id(net): {"zipmap": False}, TfidfVectorizer: {"locale": "C"}}  # onnxruntime has no other locale everywhere
    onx = to_onnx(net, initial_types=[("text", StringTensorType([None, 1]))], target_opset={"": 18, "ai.onnx.ml": 3}, options=words)
    path.write_bytes(onx.SerializeToString())
    return about(inputs={"text": {"dtype": "str", "shape": ["batch", 1], "fill": "words", "words": WORDS}})


def columns(path):
    """Numbers, whole numbers and words of a table, each prepared in its way."""
    rng = np.random.default_rng(2)
    import pandas as pd
    n = 1500
    frame = pd.DataFrame({"age": rng.normal(40, 12, n).astype(np.float32), "income": rng.lognormal(10, 1, n).astype(np.float32),
                          "children": rng.integers(0, 5, n), "colour": rng.choice(COLOURS, n)})
    y = (frame.age / 10 + np.log(frame.income) + (frame.colour == "red") * 2 + frame.children > 15.5).to_numpy().astype(int)
    net = make_pipeline(ColumnTransformer([
        ("scaled", make_pipeline(StandardScaler(), PolynomialFeatures(2)), ["age", "income"]),
        ("binned", KBinsDiscretizer(5, encode="onehot-dense", strategy="uniform"), ["age"]),
        ("counted", OneHotEncoder(handle_unknown="ignore"), ["children"]),
        ("named", OneHotEncoder(handle_unknown="ignore"), ["colour"]),
    ]), GradientBoostingClassifier(n_estimators=60)).fit(frame, y)
    kinds = [("age", FloatTensorType([None, 1])), ("income", FloatTensorType([None, 1])), ("children", Int64TensorType([None, 1])), ("colour", StringTensorType([None, 1]))]
    onx = to_onnx(net, initial_types=kinds, target_opset={"": 18, "ai.onnx.ml": 3}, options={"zipmap": False})
    path.write_bytes(onx.SerializeToString())
    shape = ["batch", 1]
    return about("pandas", inputs={
        "age": {"dtype": "float32", "shape": shape, "fill": "normal", "scale": 30}, "income": {"dtype": "float32", "shape": shape, "fill": "normal", "scale": 30000},
        "children": {"dtype": "int64", "shape": shape, "fill": "ids", "high": 7}, "colour": {"dtype": "str", "shape": shape, "fill": "category", "words": [*COLOURS, "pink"]}})


PLAIN = {"zipmap": False}
# HistGradientBoosting is not among them: skl2onnx 1.20 fails on that of scikit-learn 1.9.
TABLE = {
    "boosted-classifier": numbers(lambda: GradientBoostingClassifier(n_estimators=60, max_depth=4), classes, PLAIN),
    "boosted-regressor": numbers(lambda: GradientBoostingRegressor(n_estimators=100, max_depth=4), np.asarray),
    "lightgbm": numbers(lambda: LGBMClassifier(n_estimators=40, num_leaves=63, verbose=-1), classes, PLAIN, ("lightgbm", "onnxmltools")),
    "xgboost": numbers(lambda: XGBRegressor(n_estimators=80, max_depth=6), np.asarray, None, ("xgboost-cpu", "onnxmltools")),
    "forest": numbers(lambda: RandomForestClassifier(n_estimators=50, max_depth=10), classes, PLAIN),
    "svm": numbers(lambda: make_pipeline(StandardScaler(), SVC(probability=True)), classes, PLAIN),
    "mlp": numbers(lambda: make_pipeline(StandardScaler(), MLPClassifier((64, 32), max_iter=60)), classes, PLAIN),
    "text-pipeline": text,
    "column-pipeline": columns,
}

if __name__ == "__main__":
    boosters()
    writing.run(TABLE)
