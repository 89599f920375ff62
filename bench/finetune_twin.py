#!/usr/bin/env python3
"""The frozen features of bench/finetune with scikit-learn's logistic regression.

    finetune_twin.py --tokenizer tokenizer.json [--model bench/.models/minilm.onnx] [--limit 4000] [--length 32]
                     [--data ../shared/data/sst2]

onnxruntime computes the model's states of each sentence, whose mean over the tokens is the feature, as
bench/finetune has it; LogisticRegression (L-BFGS to the end, C = 1 and others) is trained on the same
sentences. Prints one JSON object. Run by `make bench-finetune`.
"""
import argparse
import json
import os
from pathlib import Path

import numpy as np
import onnxruntime
import sklearn
from sklearn.linear_model import LogisticRegression
from tokenizers import Tokenizer

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("TANDEM_DATA", HERE.parent.parent / "shared" / "data")) / "sst2"


def sentences(path, tokenizer, length, limit=0):
    lines = path.read_text().splitlines()[: limit or None]
    texts, labels = zip(*(line.split("\t") for line in lines))
    ids = np.zeros((len(texts), length), np.int64)
    mask = np.zeros_like(ids)
    for i, e in enumerate(tokenizer.encode_batch(list(texts))):
        tokens = e.ids if len(e.ids) <= length else e.ids[: length - 1] + e.ids[-1:]
        ids[i, : len(tokens)], mask[i, : len(tokens)] = tokens, 1
    return ids, mask, np.array(labels, np.int64)


def features(session, ids, mask):
    rows = []
    for i in range(0, len(ids), 64):
        feed = {"input_ids": ids[i:i + 64], "attention_mask": mask[i:i + 64]}
        feed |= {v.name: np.zeros_like(ids[i:i + 64]) for v in session.get_inputs() if v.name not in feed}
        states = session.run(["states"], feed)[0]
        weights = mask[i:i + 64, :, None].astype(np.float32)
        rows.append((states * weights).sum(1) / weights.sum(1))
    return np.concatenate(rows)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--tokenizer", required=True)
    p.add_argument("--model", type=Path, default=HERE / ".models" / "minilm.onnx")
    p.add_argument("--data", type=Path, default=DATA)
    p.add_argument("--limit", type=int, default=0)
    p.add_argument("--length", type=int, default=32)
    a = p.parse_args()
    tokenizer = Tokenizer.from_file(a.tokenizer)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    session = onnxruntime.InferenceSession(str(a.model), providers=["CPUExecutionProvider"])
    ids, mask, y = sentences(a.data / "train.tsv", tokenizer, a.length, a.limit)
    test_ids, test_mask, test_y = sentences(a.data / "dev.tsv", tokenizer, a.length)
    x, test_x = features(session, ids, mask), features(session, test_ids, test_mask)
    rows = []
    for c in (0.1, 1.0, 10.0, 100.0):
        m = LogisticRegression(C=c, max_iter=10000).fit(x, y)
        rows.append({"name": f"logistic regression, C = {c:g}", "accuracy": round(m.score(test_x, test_y), 4), "train_accuracy": round(m.score(x, y), 4)})
        print(f"{rows[-1]['name']:32} accuracy {rows[-1]['accuracy']:.4f}, of the training set {rows[-1]['train_accuracy']:.4f}", flush=True)
    print(json.dumps({"bench": "finetune-twin", "train": len(y), "dev": len(test_y), "rows": rows, "scikit-learn": sklearn.__version__}))


if __name__ == "__main__":
    main()
