#!/usr/bin/env python3
"""Samples/s of exported models beside onnxruntime, on the same machine, inputs and
number of threads. Rounds are interleaved (onnxruntime, Tandem, onnxruntime, …); figures
are medians over the rounds. Run by `make bench-onnx`, which makes the models first.

    speed.py                          every model in bench/.models
    speed.py --quick                  a few of them, in five minutes (or QUICK=1)
    speed.py minilm vit-b16 --batch 1 8 --threads 1 2
    speed.py --keep rows.jsonl        goes on after the rows that the file has, and adds its own

onnxruntime runs with all its optimisations and one thread pool of the given size, in a
process of its own. Memory is the most that a process had, above what it held before it
opened the model: after its imports, and after Tandem's start. Means are over the
models in float32; those of a quantiser have a mean of their own. The last line is one
JSON object.
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
    """A session of onnxruntime in its own process, kept from round to round."""

    def __init__(self, path, inputs, threads):
        command = [sys.executable, __file__, "--peer", path, inputs, threads]
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.first_ms, self.peak_mb = self.answer(), 0

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"onnxruntime ended with {self.process.wait()}")
        return json.loads(line)

    def samples_per_s(self, batch, seconds):
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        per_s, self.peak_mb = self.answer()
        return batch * per_s

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def status_kb(key):
    """A figure of this process, such as VmRSS."""
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key + ":"))


def peer(path, inputs, threads):
    """The process of a Peer: milliseconds to the first result, then runs a second and MB of
    peak memory so far for each line that names a number of seconds."""
    feed = {k: v.astype(object) if v.dtype.kind == "U" else v for k, v in np.load(inputs).items()}
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = int(threads), 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    before, began = status_kb("VmRSS"), time.perf_counter()
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    session.run(None, feed)
    print(json.dumps(1e3 * (time.perf_counter() - began)), flush=True)
    for line in sys.stdin:
        runs, began = 0, time.perf_counter()
        while not runs or time.perf_counter() - began < float(line):
            session.run(None, feed)
            runs += 1
        print(json.dumps([runs / (time.perf_counter() - began), (status_kb("VmHWM") - before) * 1024 / 1e6]), flush=True)


def tandem(path, inputs, batch, threads, seconds):
    """One run of `tandem bench`; its JSON object."""
    command = [TANDEM, "bench", path, "--input", inputs, "--batch", batch, "--threads", threads, "--seconds", seconds, "--json"]
    r = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if r.returncode:
        raise RuntimeError(r.stderr.strip() or f"exit code {r.returncode}")
    return json.loads(r.stdout.strip().splitlines()[-1])


def measure(name, batch, threads, seconds, rounds):
    path, manifest = feeds.MODELS / f"{name}.onnx", feeds.manifest(name)
    fixed = {"length": 128} if 128 in manifest.get("sizes", {}).get("length", []) else {}
    feed = feeds.feed(name, batch=batch, **fixed)
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "in.npz"
        np.savez(inputs, **{k: v.astype(str) if v.dtype == object else v for k, v in feed.items()})
        session = Peer(path, inputs, threads)
        session.samples_per_s(batch, seconds / 4)  # warm
        theirs, ours = [], []
        for _ in range(rounds):
            theirs.append(session.samples_per_s(batch, seconds))
            ours.append(tandem(path, inputs, batch, threads, seconds))
        session.close()
    ratios = [o["samples_per_s"] / t for o, t in zip(ours, theirs)]
    return {
        "name": name, "batch": batch, "threads": threads, "unit": "samples/s", "quantised": manifest.get("quantised", False),
        "tandem": round(statistics.median(o["samples_per_s"] for o in ours), 2), "peer": round(statistics.median(theirs), 2),
        "ratio": round(statistics.median(ratios), 3), "ratio_low": round(min(ratios), 3), "ratio_high": round(max(ratios), 3), "rounds": rounds,
        "first_ms": round(statistics.median(o["first_result_ms"] for o in ours)), "peer_first_ms": round(session.first_ms),
        "peak_mb": round(statistics.median(o["peak_memory_bytes"] - o["memory_before_bytes"] for o in ours) / 1e6), "peer_peak_mb": round(session.peak_mb),
    }


def geomean(ratios):
    return round(math.exp(statistics.fmean(math.log(r) for r in ratios)), 3) if ratios else None


def means(rows, threads):
    """Geometric means of what Tandem does beside onnxruntime; below one is less."""
    out = {f"samples_per_s at {t} threads": geomean([r["ratio"] for r in rows if r["threads"] == t]) for t in threads}
    out["first_ms"] = geomean([r["first_ms"] / max(r["peer_first_ms"], 1) for r in rows if r["first_ms"]])
    out["peak_mb"] = geomean([r["peak_mb"] / r["peer_peak_mb"] for r in rows if r["peer_peak_mb"] > 0])
    return out


HEAD = f"{'model':24} {'batch':>5} {'threads':>7} {'tandem':>10} {'onnxrt':>10} {'ratio':>6} {'low–high':>12} {'first':>7} {'theirs':>7} {'MB':>6} {'theirs':>7}"


def shown(r):
    spread = f"{r['ratio_low']:.2f}–{r['ratio_high']:.2f}"
    return f"{r['name']:24} {r['batch']:5} {r['threads']:7} {r['tandem']:10.2f} {r['peer']:10.2f} {r['ratio']:6.2f} {spread:>12} {r['first_ms']:7} {r['peer_first_ms']:7} {r['peak_mb']:6} {r['peer_peak_mb']:7}"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("names", nargs="*")
    p.add_argument("--models", type=Path, help="a folder of NAME.onnx and NAME.json instead of bench/.models")
    p.add_argument("--batch", type=int, nargs="*")
    p.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    p.add_argument("--rounds", type=int)
    p.add_argument("--seconds", type=float, help="of measuring each side in a round")
    p.add_argument("--quick", action="store_true", default=os.environ.get("QUICK", "") not in ("", "0"))
    p.add_argument("--keep", type=Path, help="a file of rows, which are not measured again, for a bench in parts")
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
    kept = {}
    if a.keep and a.keep.exists():
        kept = {(r["name"], r["batch"], r["threads"]): r for r in map(json.loads, a.keep.read_text().splitlines())}
    print(f"onnxruntime {ort.__version__}, {rounds} rounds of {seconds} s; samples/s, medians; first: from opening to the first result, ms; MB: most memory, above what a process held before")
    print(HEAD)
    rows, failed = [], []
    for name in names:
        for batch in batches:
            if batch not in feeds.manifest(name).get("batches", batches):
                continue
            for threads in a.threads:
                try:
                    r = kept.get((name, batch, threads)) or measure(name, batch, threads, seconds, rounds)
                except Exception as e:  # noqa: BLE001: a model that one side refuses is a row of its own
                    failed.append({"name": name, "batch": batch, "threads": threads, "error": str(e)[:300]})
                    print(f"{name:24} {batch:5} {threads:7} failed: {str(e)[:100]}", flush=True)
                    continue
                rows.append(r)
                print(shown(r), flush=True)
                if a.keep and (name, batch, threads) not in kept:
                    with a.keep.open("a") as f:
                        f.write(json.dumps(r) + "\n")
    floats = [r for r in rows if not r["quantised"]]
    over = {"float32": means(floats, a.threads), "quantised": means([r for r in rows if r["quantised"]], a.threads)}
    for kind, m in over.items():
        print(f"geometric means, {kind}: " + ", ".join(f"{k} {v}" for k, v in m.items() if v))
    print(json.dumps({"bench": "onnx", "geomeans": over, "worst": min((r["ratio"] for r in floats), default=None), "rows": rows, "failed": failed}))
    sys.exit(bool(failed) or not rows)


if __name__ == "__main__":
    peer(*sys.argv[2:]) if sys.argv[1:2] == ["--peer"] else main()
