#!/usr/bin/env python3
"""Outputs of Tandem beside those of onnxruntime, on the models that export.py writes.

    parity.py [NAMES]            all models, or these; 64 rows in batches of 1, 3 and 8
    parity.py --shapes minilm    run times of new shapes beside those of known ones

For each model: the largest difference through the library (bench/outputs), as a share of
the largest value, from onnxruntime running the graph as it is written; beside it, how far
onnxruntime's optimised form is from the same and from Tandem. Where Tandem and the graph as written
disagree, the graph evaluated in double decides. The same bits by `tandem
predict`, with one thread as with two, and for each row alone as in its batch; for the
models of NETWORK also over HTTP. Run by `make bench-parity`. QUICK=1: one batch of each
size. --report FILE puts the rows into the tables of that document, each in the place of the
model's former one. Networks of small integers are judged by parity_int8.py. The last line
is one JSON object.
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
import parity_double
import parity_int8

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


def session(path, optimised, threads=2):
    o = onnxruntime.SessionOptions()
    o.intra_op_num_threads = threads
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


def reference(model, inputs, optimised, threads):
    """What onnxruntime gives for each input: for the graph as it is written, or after its
    optimisations, which compute something else that is equal in exact arithmetic."""
    peer = session(model, optimised, threads)
    return [peer.run(None, x) for x in inputs]


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
    """Whether each row gives the same bits alone, where the model has rows, or each picture
    the same detections."""
    n, c = len(next(iter(x.values()))), m.get("compare")
    if m.get("quantised") and "dynamic" in m["exporter"] or m.get("batches") == [1]:
        return None  # scales of dynamic quantisation are those of the whole batch
    if any(len(y) != (len(whole[c["picture"]]) if c else n) for y in whole):
        return None
    alone = outputs(model, [{k: v[i:i + 1] for k, v in x.items()} for i in range(n)], folder)
    if c is None:
        return all(same(row, [y[i:i + 1] for y in whole]) for i, row in enumerate(alone))
    without_picture = lambda ys: [y for k, y in enumerate(ys) if k != c["picture"]]
    return all(same(without_picture(row), without_picture([y[whole[c["picture"]] == i] for y in whole])) for i, row in enumerate(alone))


def compare(name, folder):
    m, model = feeds.manifest(name), feeds.MODELS / f"{name}.onnx"
    sizes = {b: n for b, n in RUNS.items() if b in m.get("batches", [1, 3, 8])}
    if m.get("batches") == [1]:
        sizes = {1: 3 if QUICK else 64}
    inputs = [feeds.feed(name, b, seed) for b, n in sizes.items() for seed in range(n)]
    # The scales of onnxruntime's DynamicQuantizeLSTM depend on how many threads it has.
    threads = 1 if m.get("quantised") else 2
    want, optimised = (reference(model, inputs, o, threads) for o in (False, True))
    got = outputs(model, inputs, folder)
    row = {"name": name, "exporter": m["exporter"], "rows": sum(b * n for b, n in sizes.items()), "allowed": m.get("tolerance", TOLERANCE)}
    for key, a, b in (("error", got, want), ("peer_spread", optimised, want), ("from_optimised", got, optimised)):
        if "compare" in m:
            found = [unmatched(m["compare"], x, y) for x, y in zip(a, b)]
            row |= {key: max(f[1] for f in found), f"{key}_unmatched": max(f[0] for f in found)}
        else:
            row[key] = max(difference(x, y) for x, y in zip(a, b))
    if "compare" in m:
        row |= {"boxes": sum(len(w[m["compare"]["labels"]]) for w in want), "allowed_unmatched": 0.01}  # boxes at the edge of the threshold
    if m.get("quantised"):
        row |= parity_int8.compare(model, inputs, folder, lambda p: session(p, False, threads), lambda p, xs: outputs(p, xs, folder), difference, TOLERANCE)
        right = row["steps_right"]
    else:
        right = row["error"] <= row["allowed"] and row.get("error_unmatched", 0) <= row.get("allowed_unmatched", 0)
        if not right and "compare" not in m:
            row["double"] = parity_double.distances(model, inputs, (got, want, optimised), difference)
            right = row["double"][0] <= row["allowed"]
    k = min(len(inputs) - 1, sizes.get(1, 0))  # the first batch of three
    out = folder / "cli.npz"
    call(BIN / "tandem", "predict", model, "--input", save(folder / "cli.in.npz", inputs[k]), "--output", out, "--threads", 2)
    row["cli_same"] = same(load(out), got[k])
    row["threads_same"] = same(outputs(model, [inputs[k]], folder, threads=1)[0], got[k])
    row["alone_same"] = rows_alone(m, model, inputs[k], got[k], folder)
    row["network_same"] = over_network(name, model, inputs[k], got[k], folder) if name in NETWORK else None
    row["passed"] = bool(right) and all(row[k] is not False for k in ("cli_same", "threads_same", "alone_same", "network_same"))
    return row


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
    p.add_argument("--report", type=Path, metavar="FILE", help="put the rows into the table of this document")
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
                rows.append({"name": name, "exporter": feeds.manifest(name)["exporter"], "passed": False, "why": str(e)})
        print("  ".join(f"{k} {v:.2e}" if isinstance(v, float) else f"{k} {v}" for k, v in rows[-1].items()), flush=True)
        if a.report:
            report(a.report, "| model |", line(rows[-1]))
            if "nodes" in rows[-1]:
                report(a.report, parity_int8.HEAD, parity_int8.line(rows[-1]))
    failed = [r["name"] for r in rows if not r["passed"]]
    print(json.dumps({"bench": "parity", "onnxruntime": onnxruntime.__version__, "passed": len(rows) - len(failed), "failed": failed, "rows": rows}))
    sys.exit(bool(failed))


def report(path, head, row):
    """Puts a row into the document's table that has this head."""
    lines = path.read_text().splitlines()
    begin = 2 + next(i for i, x in enumerate(lines) if x.startswith(head))
    end = next(i for i in range(begin, len(lines) + 1) if i == len(lines) or not lines[i].startswith("|"))
    name = lambda x: x.split("|")[1].strip()
    table = {name(x): x for x in [*lines[begin:end], row]}
    lines[begin:end] = [table[k] for k in sorted(table)]
    path.write_text("\n".join(lines) + "\n")


def line(r):
    """A row in Markdown: model, exporter, rows, differences, equal bits, what is wrong."""
    mark = {True: "same bits", False: "**differs**", None: ""}
    differences = []
    for key in ("error", "from_optimised", "peer_spread"):
        differences.append(f"{r[key]:.1e}" if key in r else "")
        if f"{key}_unmatched" in r:
            differences[-1] += f"; {r[f'{key}_unmatched']:.2%} of boxes without partner"
    if "double" in r:
        differences[0] += "; from the graph in double: Tandem {:.1e}, onnxruntime as written {:.1e}, optimised {:.1e}".format(*r["double"])
    bits = [mark[r.get(k)] for k in ("cli_same", "threads_same", "alone_same", "network_same")]
    return "| " + " | ".join([r["name"], r["exporter"], str(r.get("rows", "")), *differences, *bits, "" if r["passed"] else f"**not passed** {r.get('why', '')}".strip()]) + " |"


if __name__ == "__main__":
    main()
