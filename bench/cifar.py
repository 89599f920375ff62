#!/usr/bin/env python3
"""Accuracy of ResNet-18 on a part of CIFAR-10, Tandem beside PyTorch by the same recipe, over seeds.

    cifar.py [--seeds 1 2 3] [--epochs 1] [--width 64] [--limit 0] [--data ../shared/data/cifar10]

The data are train.zip and test.zip with a folder of pictures for each class. --width is that of the
network's first stage: a narrow one takes a fraction of the time. Prints rows for people and, as the last
line, one JSON object. Within the spread: the means differ by no more than the larger range over the seeds.
Run by `make bench-cifar`.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TANDEM = HERE.parent / "bin" / "tandem"
DATA = Path(os.environ.get("TANDEM_DATA", HERE.parent.parent / "shared" / "data")) / "cifar10"


def tandem(a, seed):
    with tempfile.TemporaryDirectory() as tmp:
        run = Path(tmp) / "run"
        cmd = [TANDEM, "train", "--family", "vision", "--data", a.data / "train.zip", "--set", f"data.test_path={a.data / 'test.zip'}",
               "--set", f"model.layers=[resnet: {{depth: 18, width: {a.width}}}]", "--set", "model.augment={flip: true, shift: 4}",
               "--epochs", a.epochs, "--seed", seed, "--threads", a.threads, "--out", run, "--json"]
        if a.limit:
            cmd += ["--limit-rows", a.limit]
        start = time.perf_counter()
        subprocess.run([str(c) for c in cmd], check=True, stdout=subprocess.DEVNULL)
        record = json.loads((run / "run.json").read_text())
        return {"test_accuracy": record["metrics"]["test_accuracy"], "seconds": round(time.perf_counter() - start, 1)}


def twin(a, seed):
    cmd = [sys.executable, HERE / "cifar_twin.py", "--train", a.data / "train.zip", "--test", a.data / "test.zip", "--width", a.width,
           "--epochs", a.epochs, "--seed", seed, "--threads", a.threads, "--limit", a.limit]
    return json.loads(subprocess.run([str(c) for c in cmd], check=True, capture_output=True, text=True).stdout)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    p.add_argument("--epochs", type=int, default=1)
    p.add_argument("--width", type=int, default=64)
    p.add_argument("--limit", type=int, default=0)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--data", type=Path, default=DATA)
    a = p.parse_args()
    ours, theirs = [], []
    for seed in a.seeds:
        ours.append(tandem(a, seed)["test_accuracy"])
        theirs.append(twin(a, seed)["test_accuracy"])
        print(f"  seed {seed}: tandem {ours[-1]:.4f}, torch {theirs[-1]:.4f}", flush=True)
    means, ranges = [statistics.mean(s) for s in (ours, theirs)], [max(s) - min(s) for s in (ours, theirs)]
    within = abs(means[0] - means[1]) <= max(ranges)
    print(f"resnet18, width {a.width}, {a.epochs} epochs: tandem {means[0]:.4f} ± {ranges[0] / 2:.4f}, torch {means[1]:.4f} ± {ranges[1] / 2:.4f}, "
          f"{'within the spread' if within else 'NOT within the spread'}")
    print(json.dumps({"bench": "cifar", "rows": [{"name": "resnet18", "width": a.width, "epochs": a.epochs, "tandem": ours, "peer": theirs, "within": within}]}))


if __name__ == "__main__":
    main()
