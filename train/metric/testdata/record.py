"""Records what scikit-learn computes: python record.py > sklearn.json

scikit-learn 1.7.2, numpy 2.3.5. Scores are rounded so that some are equal.
"""
import json
import warnings

import numpy as np
from sklearn import metrics as m

warnings.simplefilter("ignore")


def labels(name, rows, classes, seed, k, decimals, missing=()):
    rng = np.random.default_rng(seed)
    y = rng.choice([c for c in range(classes) if c not in missing], rows)
    s = rng.normal(size=(rows, classes)) + 1.2 * np.eye(classes)[y]
    if name == "one answer":
        s[:, 1] += 100
    p = np.exp(s) / np.exp(s).sum(1, keepdims=True)
    # Halves, quarters and so on are the same in every precision, and sum to 1 where
    # ties are wanted.
    p = (np.round(p * 2**decimals) / 2**decimals).astype(np.float32)
    said = p.argmax(1)
    v = {
        "accuracy": m.accuracy_score(y, said),
        "log_loss": m.log_loss(y, p, labels=range(classes)),
    }
    if classes > 2:
        v["top_k_accuracy"] = m.top_k_accuracy_score(y, p, k=k, labels=range(classes))
    for mean in ["macro", "micro"]:
        v[f"precision_{mean}"], v[f"recall_{mean}"], v[f"f1_{mean}"], _ = m.precision_recall_fscore_support(y, said, average=mean, zero_division=0)
    if classes == 2:
        v["precision"], v["recall"], v["f1"], _ = m.precision_recall_fscore_support(y, said, average="binary", zero_division=0)
        v["auc"] = m.roc_auc_score(y, p[:, 1])
    elif not missing:
        v["auc"] = float(np.mean([m.roc_auc_score(y == c, p[:, c]) for c in range(classes)]))
        q = p.astype(np.float64)
        if np.allclose(1, q.sum(1)):
            assert abs(v["auc"] - m.roc_auc_score(y, q, multi_class="ovr", labels=range(classes))) < 1e-12
    each = m.precision_recall_fscore_support(y, said, labels=range(classes), zero_division=0)
    return {"name": name, "classes": classes, "k": k, "labels": y.tolist(), "scores": p.ravel().tolist(), "values": v,
            "precision": each[0].tolist(), "recall": each[1].tolist(), "f1": each[2].tolist(),
            "confusion": m.confusion_matrix(y, said, labels=range(classes)).tolist()}


def numbers(name, rows, width, seed, shift=0.0, constant=False):
    rng = np.random.default_rng(seed)
    y = (rng.normal(size=(rows, width)) * 3 + shift).astype(np.float32)
    if constant:
        y[:] = 2
    if name == "zeros":
        y[::5] = 0
    p = (y + rng.normal(size=y.shape)).astype(np.float32)
    a, b = y.astype(np.float64), p.astype(np.float64)
    return {"name": name, "width": width, "targets": y.ravel().tolist(), "predictions": p.ravel().tolist(), "values": {
        "rmse": m.root_mean_squared_error(a, b), "mae": m.mean_absolute_error(a, b), "r2": m.r2_score(a, b),
        "mape": m.mean_absolute_percentage_error(a, b)}}


print(json.dumps({
    "labels": [
        labels("two classes", 150, 2, 1, 1, 30),
        labels("two classes with ties", 150, 2, 2, 1, 3),
        labels("five classes", 200, 5, 3, 2, 30),
        labels("five classes with ties", 200, 5, 4, 3, 3),
        labels("a class without examples", 100, 4, 5, 2, 30, missing=(2,)),
        labels("one answer", 60, 3, 6, 1, 30),
    ],
    "numbers": [
        numbers("one number", 120, 1, 7, 10),
        numbers("three numbers", 80, 3, 8),
        numbers("far from 0", 100, 1, 9, 10000),
        numbers("zeros", 50, 1, 10),
        numbers("constant targets", 30, 1, 11, constant=True),
    ],
}))
