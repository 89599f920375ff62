#!/usr/bin/env python3
"""What few bits cost and gain, beside onnxruntime's own quantised file: the error of both
against the outputs in floats over varied inputs, and samples/s in interleaved rounds.

    precision.py minilm --peer minilm-int8                     every precision
    precision.py resnet50 --peer resnet50-int8 --file q.onnx   a file of `tandem quantize`

The error is ‖a−b‖ of all outputs over ‖a−mean(a)‖, where a are onnxruntime's outputs of the
network in floats, and cosine that of the rows, the least one. The last line is one JSON object.
"""
import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime as ort

sys.path.insert(0, str(Path(__file__).resolve().parent))
import feeds  # noqa: E402
from speed import TANDEM, Peer  # noqa: E402


def session(path):
    o = ort.SessionOptions()
    o.log_severity_level, o.intra_op_num_threads = 3, 2
    return ort.InferenceSession(str(path), o, providers=["CPUExecutionProvider"])


def predict(path, precision, inputs, folder):
    out = Path(folder) / "out.npz"
    command = [TANDEM, "predict", path, "--input", inputs, "--output", out]
    if precision:
        command += ["--precision", precision]
    subprocess.run([str(c) for c in command], check=True, capture_output=True)
    return np.load(out)


def error(want, have):
    """Of one output over all inputs: the distance over the spread, and the least cosine."""
    a, b = np.concatenate([w.reshape(-1) for w in want]), np.concatenate([h.reshape(-1) for h in have])
    spread = np.linalg.norm(a - a.mean(dtype=np.float64))
    rows = [(w.reshape(len(w), -1), h.reshape(len(h), -1)) for w, h in zip(want, have)]
    cosine = min(float(((x * y).sum(1) / (np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1) + 1e-30)).min()) for x, y in rows)
    return float(np.linalg.norm(a - b) / max(spread, 1e-30)), cosine


def errors(name, sides, batch, count):
    reference = session(feeds.MODELS / f"{name}.onnx")
    names = [o.name for o in reference.get_outputs()]
    inputs = [feeds.feed(name, batch=batch, seed=i) for i in range(count // batch)]
    want = [reference.run(None, x) for x in inputs]
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for i, x in enumerate(inputs):
            files.append(Path(folder) / f"{i}.npz")
            np.savez(files[-1], **x)
        for label, path, precision in sides:
            if precision == "onnxruntime":
                s = session(path)
                have = [s.run(None, x) for x in inputs]
            else:
                have = [[y[n] for n in names] for y in (predict(path, precision, f, folder) for f in files)]
            per = [error([w[i] for w in want], [h[i] for h in have]) for i in range(len(names))]
            result[label] = {"error": max(e for e, _ in per), "cosine": min(c for _, c in per)}
            print(f"{label:28} error {result[label]['error']:.5f}  least cosine {result[label]['cosine']:.6f}", flush=True)
    return result


def speeds(name, sides, batch, threads, seconds, rounds):
    fixed = {"length": 128} if 128 in feeds.manifest(name).get("sizes", {}).get("length", []) else {}
    feed = feeds.feed(name, batch=batch, **fixed)
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "in.npz"
        np.savez(inputs, **feed)
        runs = {}
        for label, path, precision in sides:
            if precision == "onnxruntime":
                runs[label] = Peer(path, inputs, threads)
        found = {label: [] for label, _, _ in sides}
        for _ in range(rounds):
            for label, path, precision in sides:
                if label in runs:
                    found[label].append(runs[label].samples_per_s(batch, seconds))
                    continue
                command = [TANDEM, "bench", path, "--input", inputs, "--batch", batch, "--threads", threads, "--seconds", seconds, "--json"]
                if precision:
                    command += ["--precision", precision]
                r = subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True)
                found[label].append(json.loads(r.stdout.strip().splitlines()[-1])["samples_per_s"])
    return found


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("name")
    p.add_argument("--peer", help="name of the file that onnxruntime's quantiser wrote")
    p.add_argument("--file", action="append", default=[], help="a file of tandem quantize, for both programs")
    p.add_argument("--precision", nargs="*", default=["bf16", "int8", "int8-weights", "int4-weights"])
    p.add_argument("--count", type=int, default=64, help="inputs for the error; 0: none")
    p.add_argument("--batch", type=int, nargs="*", default=[8])
    p.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    p.add_argument("--rounds", type=int, default=3, help="of measuring speed; 0: none")
    p.add_argument("--seconds", type=float, default=0.6)
    a = p.parse_args()
    path = feeds.MODELS / f"{a.name}.onnx"
    sides = [(f"tandem {x}", path, x) for x in a.precision]
    for f in a.file:
        sides += [(f"tandem {Path(f).name}", f, ""), (f"onnxruntime {Path(f).name}", f, "onnxruntime")]
    if a.peer:
        sides.append((f"onnxruntime {a.peer}", feeds.MODELS / f"{a.peer}.onnx", "onnxruntime"))
    result = {"bench": "precision", "name": a.name, "errors": {}, "rows": []}
    if a.count:
        result["errors"] = errors(a.name, sides, 8, a.count)
    if a.rounds:
        sides.append(("onnxruntime f32", path, "onnxruntime"))
        for batch in a.batch:
            for threads in a.threads:
                found = speeds(a.name, sides, batch, threads, a.seconds, a.rounds)
                peer = found[f"onnxruntime {a.peer}" if a.peer else "onnxruntime f32"]
                for label, runs in found.items():
                    ratios = [x / y for x, y in zip(runs, peer)]
                    row = {"name": label, "batch": batch, "threads": threads, "unit": "samples/s", "samples_per_s": round(statistics.median(runs), 2),
                           "ratio": round(statistics.median(ratios), 3), "ratio_low": round(min(ratios), 3), "ratio_high": round(max(ratios), 3)}
                    result["rows"].append(row)
                    print(f"{label:28} batch {batch} threads {threads} {row['samples_per_s']:9.2f} /s  {row['ratio']:.2f} × ({row['ratio_low']:.2f}–{row['ratio_high']:.2f})", flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
