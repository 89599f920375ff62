#!/usr/bin/env python3
"""Samples/s of exported models beside onnxruntime, on the same machine, inputs and
number of threads. Rounds are interleaved (onnxruntime, Tandem, onnxruntime, …); figures
are medians over the rounds. Run by `make bench-onnx`, which makes the models first.

    speed.py                          every model in bench/.models
    speed.py --quick                  a few of them, in five minutes (or QUICK=1)
    speed.py minilm vit-b16 --batch 1 8 --threads 1 2

onnxruntime runs with all its optimisations and one thread pool of the given size. The
last line is one JSON object.
"""
import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

sys.path.insert(0, str(Path(__file__).resolve().parent))
import feeds  # noqa: E402

HERE = Path(__file__).resolve().parent
TANDEM = HERE.parent / "bin" / "tandem"
QUICK = ["minilm", "minilm-legacy", "distilbert", "resnet50", "mobilenetv3", "lstm-tagger", "boosted-classifier"]


class Peer:
    """A session of onnxruntime, kept from round to round."""

    def __init__(self, path, threads, feed):
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        began = time.perf_counter()
        self.session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.feed = feed
        self.outputs = self.session.run(None, feed)
        self.first_ms = 1e3 * (time.perf_counter() - began)

    def samples_per_s(self, batch, seconds):
        times = []
        began = time.perf_counter()
        while not times or time.perf_counter() - began < seconds:
            t = time.perf_counter()
            self.session.run(None, self.feed)
            times.append(time.perf_counter() - t)
        return batch * len(times) / sum(times)


def tandem(path, inputs, batch, threads, seconds):
    """One run of `tandem bench`; its JSON object."""
    command = [TANDEM, "bench", path, "--input", inputs, "--batch", batch, "--threads", threads, "--seconds", seconds, "--json"]
    r = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if r.returncode:
        raise RuntimeError(r.stderr.strip() or f"exit code {r.returncode}")
    return json.loads(r.stdout.strip().splitlines()[-1])


def measure(name, batch, threads, seconds, rounds):
    path = feeds.MODELS / f"{name}.onnx"
    fixed = {"length": 128} if 128 in feeds.manifest(name).get("sizes", {}).get("length", []) else {}
    feed = feeds.feed(name, batch=batch, **fixed)
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "in.npz"
        np.savez(inputs, **{k: v.astype(str) if v.dtype == object else v for k, v in feed.items()})
        peer = Peer(path, threads, feed)
        peer.samples_per_s(batch, seconds / 4)  # warm
        pairs, first = [], []
        for _ in range(rounds):
            theirs = peer.samples_per_s(batch, seconds)
            ours = tandem(path, inputs, batch, threads, seconds)
            pairs.append((ours["samples_per_s"], theirs))
            first.append(ours["first_result_ms"])
    ratios = [a / b for a, b in pairs]
    return {
        "name": name, "batch": batch, "threads": threads, "unit": "samples/s",
        "tandem": round(statistics.median(a for a, _ in pairs), 2), "peer": round(statistics.median(b for _, b in pairs), 2),
        "ratio": round(statistics.median(ratios), 3), "ratio_low": round(min(ratios), 3), "ratio_high": round(max(ratios), 3),
        "first_ms": round(statistics.median(first)), "peer_first_ms": round(peer.first_ms),
    }


def geomean(rows):
    return round(math.exp(statistics.fmean(math.log(r["ratio"]) for r in rows)), 3) if rows else None


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("names", nargs="*")
    p.add_argument("--models", type=Path, help="a folder of NAME.onnx and NAME.json instead of bench/.models")
    p.add_argument("--batch", type=int, nargs="*")
    p.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    p.add_argument("--rounds", type=int)
    p.add_argument("--seconds", type=float, help="of measuring each side in a round")
    p.add_argument("--quick", action="store_true", default=os.environ.get("QUICK", "") not in ("", "0"))
    p.add_argument("--list", action="store_true", help="the names of the quick ones, or of all, and no more")
    a = p.parse_args()
    if a.models:
        feeds.MODELS = a.models.resolve()
    there = feeds.names()
    if a.list:
        print(*(QUICK if a.quick else there))
        return
    names = a.names or ([n for n in QUICK if n in there] if a.quick else there)
    batches = a.batch or ([8] if a.quick else [1, 8])
    rounds, seconds = a.rounds or (3 if a.quick else 5), a.seconds or (0.7 if a.quick else 2)
    print(f"onnxruntime {ort.__version__}, {rounds} rounds of {seconds} s; samples/s, medians; first: from opening to the first result, ms")
    print(f"{'model':24} {'batch':>5} {'threads':>7} {'tandem':>10} {'onnxrt':>10} {'ratio':>6} {'low–high':>12} {'first':>7} {'theirs':>7}")
    rows, failed = [], []
    for name in names:
        for batch in batches:
            for threads in a.threads:
                try:
                    r = measure(name, batch, threads, seconds, rounds)
                except Exception as e:  # noqa: BLE001: a model that one side refuses is a row of its own
                    failed.append({"name": name, "batch": batch, "threads": threads, "error": str(e)[:300]})
                    print(f"{name:24} {batch:5} {threads:7} failed: {str(e)[:100]}", flush=True)
                    continue
                rows.append(r)
                spread = f"{r['ratio_low']:.2f}–{r['ratio_high']:.2f}"
                print(f"{name:24} {batch:5} {threads:7} {r['tandem']:10.2f} {r['peer']:10.2f} {r['ratio']:6.2f} {spread:>12} {r['first_ms']:7} {r['peer_first_ms']:7}", flush=True)
    by_threads = {str(t): geomean([r for r in rows if r["threads"] == t]) for t in a.threads}
    print("geometric mean of ratios: " + ", ".join(f"{v} at {t} threads" for t, v in by_threads.items()))
    print(json.dumps({
        "bench": "onnx", "geomean": geomean(rows), "geomean_by_threads": by_threads,
        "worst": min((r["ratio"] for r in rows), default=None), "rows": rows, "failed": failed,
    }))
    sys.exit(bool(failed) or not rows)


if __name__ == "__main__":
    main()
