#!/usr/bin/env python3
"""Outputs of Tandem beside those of onnxruntime, on the models that export.py writes.

    parity.py [NAMES]            all models, or these; 64 rows in batches of 1, 3 and 8
    parity.py --shapes minilm    run times of new shapes beside those of known ones

For each model: the largest difference through the library (bench/outputs), as a share of
the largest value; the same bits by `tandem predict`, with one thread as with two, and for
each row alone as in its batch; for the models of NETWORK also over HTTP. Run by
`make bench-parity`. QUICK=1: one batch of each size. The last line is one JSON object.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime

import feeds

HERE = Path(__file__).resolve().parent
BIN = HERE.parent / "bin"
QUICK = bool(os.environ.get("QUICK"))
RUNS = {1: 1, 3: 1, 8: 1} if QUICK else {1: 8, 3: 8, 8: 4}  # batches of each size: 64 rows
TOLERANCE = 1e-4
NETWORK = {"minilm", "mobilenetv3", "lstm-tagger", "boosted-classifier"}


def call(*cmd, **kw):
    r = subprocess.run([str(c) for c in cmd], capture_output=True, text=True, **kw)
    if r.returncode != 0:
        raise RuntimeError((r.stderr.strip() or r.stdout.strip())[-500:])
    return r.stdout


def session(path, optimised=True):
    o = onnxruntime.SessionOptions()
    o.intra_op_num_threads = 2
    o.log_severity_level = 4
    if not optimised:
        o.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), o, providers=["CPUExecutionProvider"])


def save(path, arrays):
    np.savez(path, **{k: v.astype(str) if v.dtype == object else v for k, v in arrays.items()})
    return path


def load(path):
    with np.load(path) as z:
        return [z[k] for k in z.files]


def outputs(model, inputs, folder, threads=2):
    """What the library gives for each input."""
    pairs = [(save(folder / f"{i}.in.npz", x), folder / f"{i}.{threads}.npz") for i, x in enumerate(inputs)]
    call(BIN / "outputs", "--threads", threads, model, *[p for pair in pairs for p in pair])
    return [load(out) for _, out in pairs]


def same(a, b):
    return len(a) == len(b) and all(x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes() for x, y in zip(a, b))


def difference(got, want):
    """Of one run: the largest |a-b| as a share of the largest |b|; infinite where shapes,
    whole numbers, words or places of NaN differ."""
    worst = 0.0
    for a, b in zip(got, want, strict=True):
        b = np.asarray(b)
        if a.shape != b.shape:
            return np.inf
        if b.dtype.kind not in "fc":
            if not (a.astype(str) == b.astype(str)).all():
                return np.inf
            continue
        a, b = a.astype(np.float64), b.astype(np.float64)
        if not (np.isfinite(a) == np.isfinite(b)).all():
            return np.inf
        if b.size and np.abs(b).max() > 0:
            worst = max(worst, float(np.nanmax(np.abs(a - b)) / np.nanmax(np.abs(b))))
        elif a.size and np.abs(a).max() > 0:
            return np.inf
    return worst


def unmatched(c, got, want):
    """The share of boxes without a partner of the same picture and label, IoU 0.99 and a
    score within 1e-4, and the largest difference of scores among partners."""
    group = lambda x: np.stack([x[c["picture"]] if "picture" in c else np.zeros(len(x[c["labels"]])), x[c["labels"]]], 1)
    ga, gb = group(got), group(want)
    free, lonely, worst = np.ones(len(gb), bool), 0, 0.0
    for i, g in enumerate(ga):
        apart = np.abs(got[c["scores"]][i] - want[c["scores"]])
        near = np.flatnonzero(free & (gb == g).all(1) & (apart <= TOLERANCE))
        near = near[overlap(got[c["boxes"]][i], want[c["boxes"]][near]) > 0.99]
        if len(near) == 0:
            lonely += 1
            continue
        best = near[apart[near].argmin()]
        free[best] = False
        worst = max(worst, float(apart[best]))
    return (lonely + free.sum()) / max(1, len(ga) + len(gb)), worst


def overlap(a, b):
    """IoU of one box and several. Boxes cut off at the edge of the picture may have no
    area: the same four numbers are the same box."""
    inter = np.clip(np.minimum(a[2:], b[:, 2:]) - np.maximum(a[:2], b[:, :2]), 0, None).prod(1)
    area = lambda x: (x[..., 2] - x[..., 0]) * (x[..., 3] - x[..., 1])
    same = np.abs(a - b).max(1) <= TOLERANCE * np.abs(a).max()
    return np.where(same, 1, inter / np.maximum(area(a) + area(b) - inter, 1e-9))


def rows_alone(m, model, x, whole, folder):
    """Whether each row gives the same bits alone, where the model has rows."""
    n = len(next(iter(x.values())))
    if "compare" in m or m.get("quantised") and "dynamic" in m["exporter"] or any(len(y) != n for y in whole):
        return None  # scales of dynamic quantisation are those of the whole batch
    alone = outputs(model, [{k: v[i:i + 1] for k, v in x.items()} for i in range(n)], folder)
    return all(same(row, [y[i:i + 1] for y in whole]) for i, row in enumerate(alone))


def compare(name, folder):
    m, model = feeds.manifest(name), feeds.MODELS / f"{name}.onnx"
    sizes = {b: n for b, n in RUNS.items() if b in m.get("batches", [1, 3, 8])}
    if m.get("batches") == [1]:
        sizes = {1: 3 if QUICK else 64}
    inputs = [feeds.feed(name, b, seed) for b, n in sizes.items() for seed in range(n)]
    peer = session(model)
    want = [peer.run(None, x) for x in inputs]
    del peer
    got = outputs(model, inputs, folder)
    row = {"name": name, "exporter": m["exporter"], "rows": sum(b * n for b, n in sizes.items()), "allowed": m.get("tolerance", TOLERANCE)}
    if "compare" in m:
        found = [unmatched(m["compare"], g, w) for g, w in zip(got, want)]
        row |= {"unmatched": max(f[0] for f in found), "error": max(f[1] for f in found), "boxes": sum(len(w[m["compare"]["labels"]]) for w in want)}
        row["allowed_unmatched"] = 0.01  # boxes at the edge of the threshold
    else:
        row["error"] = max(difference(g, w) for g, w in zip(got, want))
    if m.get("quantised"):
        row |= quantised(model, inputs, want, got)
    k = min(len(inputs) - 1, sizes.get(1, 0))  # the first batch of three
    out = folder / "cli.npz"
    call(BIN / "tandem", "predict", model, "--input", save(folder / "cli.in.npz", inputs[k]), "--output", out, "--threads", 2)
    row["cli_same"] = same(load(out), got[k])
    row["threads_same"] = same(outputs(model, [inputs[k]], folder, threads=1)[0], got[k])
    row["alone_same"] = rows_alone(m, model, inputs[k], got[k], folder)
    row["network_same"] = over_network(name, model, inputs[k], got[k], folder) if name in NETWORK else None
    row["passed"] = bool(row["error"] <= row["allowed"] and row.get("unmatched", 0) <= row.get("allowed_unmatched", 0)) and \
        all(row[k] is not False for k in ("cli_same", "threads_same", "alone_same", "network_same"))
    return row


def quantised(model, inputs, want, got):
    """A last bit decides between two steps, and what follows enlarges it: onnxruntime does
    not agree with itself with and without its optimisations. Each run is compared with the
    nearer of these two; the worst may be twice as far as they are from each other."""
    plain = session(model, optimised=False)
    other = [plain.run(None, x) for x in inputs]
    near = [min(difference(g, w), difference(g, o)) for g, w, o in zip(got, want, other)]
    spread = max(difference(o, w) for o, w in zip(other, want))
    return {"error": max(near), "peer_spread": spread, "allowed": max(TOLERANCE, 2 * spread), "exact_runs": sum(e <= TOLERANCE for e in near) / len(near)}


def over_network(name, model, x, want, folder):
    """Imports, deploys and calls the model with the public client of the protocol."""
    import tritonclient.http as triton
    env = {**os.environ, "XDG_CONFIG_HOME": str(folder / "config")}
    port = 18477
    server = subprocess.Popen([BIN / "tandem", "serve", "--data", folder / "data", "--http", f"127.0.0.1:{port}", "--insecure"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client = triton.InferenceServerClient(f"127.0.0.1:{port}", network_timeout=300, connection_timeout=300)
        ready(client)
        call(BIN / "tandem", "import", model, "--name", name, "--server", f"http://127.0.0.1:{port}", env=env)
        call(BIN / "tandem", "deploy", f"{name}:1", "--server", f"http://127.0.0.1:{port}", env=env)
        kinds = {"float32": "FP32", "int64": "INT64", "int32": "INT32"}
        ins = []
        for k, v in x.items():
            i = triton.InferInput(k, list(v.shape), kinds[str(v.dtype)])
            i.set_data_from_numpy(np.ascontiguousarray(v))
            ins.append(i)
        answer = client.infer(name, ins)
        names = [o["name"] for o in client.get_model_metadata(name)["outputs"]]
        return same([answer.as_numpy(n) for n in names], want)
    finally:
        server.terminate()
        server.wait()


def ready(client):
    for _ in range(400):
        try:
            if client.is_server_ready():
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise RuntimeError("the server does not become ready")


def shapes(name, folder):
    """First runs of 24 new shapes beside second runs of the same."""
    inputs = [feeds.feed(name, 1 + i % 5, i, length=8 + 5 * i) for i in range(24)]
    pairs = [p for i, x in enumerate(inputs) for p in (save(folder / f"{i}.npz", x), folder / f"{i}.out.npz")]
    lines = [json.loads(line) for line in call(BIN / "outputs", "--again", feeds.MODELS / f"{name}.onnx", *pairs).splitlines()]
    rows = [{"shape": list(next(iter(x.values())).shape), "first_ms": round(1e3 * t["first_s"], 2), "again_ms": round(1e3 * t["again_s"], 2)} for x, t in zip(inputs, lines)]
    for r in rows:
        print(r)
    return rows, sum(r["first_ms"] for r in rows) / sum(r["again_ms"] for r in rows)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("names", nargs="*")
    p.add_argument("--shapes", metavar="NAME", help="time new shapes of this model")
    p.add_argument("--report", type=Path, metavar="FILE", help="write the rows as a table in Markdown")
    a = p.parse_args()
    if a.shapes:
        with tempfile.TemporaryDirectory() as tmp:
            rows, ratio = shapes(a.shapes, Path(tmp))
        print(json.dumps({"bench": "parity-shapes", "name": a.shapes, "first_over_again": round(ratio, 3), "rows": rows}))
        return
    rows = []
    for name in a.names or feeds.names():
        with tempfile.TemporaryDirectory() as tmp:
            try:
                rows.append(compare(name, Path(tmp)))
            except Exception as e:
                rows.append({"name": name, "exporter": feeds.manifest(name)["exporter"], "error": None, "passed": False, "why": str(e)})
        print("  ".join(f"{k} {v:.2e}" if isinstance(v, float) else f"{k} {v}" for k, v in rows[-1].items()), flush=True)
    if a.report:
        a.report.write_text(table(rows))
    failed = [r["name"] for r in rows if not r["passed"]]
    print(json.dumps({"bench": "parity", "onnxruntime": onnxruntime.__version__, "passed": len(rows) - len(failed), "failed": failed, "rows": rows}))
    sys.exit(bool(failed))


def table(rows):
    lines = ["| model | exporter | rows | max\\|a−b\\| / max\\|b\\| | CLI | 1 thread | row alone | network | |", "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    mark = {True: "same bits", False: "**differs**", None: ""}
    for r in rows:
        error = "" if r["error"] is None else f"{r['error']:.1e}"
        if "unmatched" in r:
            error = f"scores {error}; {r['unmatched']:.2%} of {r['boxes']} boxes without partner"
        if "peer_spread" in r:
            error += f"; {r['exact_runs']:.0%} of the runs within 1e-4 (onnxruntime against itself: {r['peer_spread']:.1e})"
        lines.append(f"| {r['name']} | {r['exporter']} | {r.get('rows', '')} | {error} | " + " | ".join(mark[r.get(k)] for k in ("cli_same", "threads_same", "alone_same", "network_same"))
                     + f" | {'' if r['passed'] else '**not passed** ' + r.get('why', '')} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
