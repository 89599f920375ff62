"""Speed of Tandem's tokenizers beside Hugging Face's library, on one thread, in turns.

    python tokenizer_speed.py CASES VOCABULARIES

CASES is what tokenizer_cases.py wrote with --vocabularies VOCABULARIES. Prints MB of text a second, medians
of three rounds, and closes with one JSON object."""

import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import Tokenizer  # noqa: E402

# The same text as BenchmarkEncode of processor/tokenizer.
TEXT = "The quick brown fox jumps over the lazy dog's back; 12345 times.\n大规模语言模型的训练。" * 1000
NAMES = {"llama-bpe-llama3": "ggml-vocab-llama-bpe", "qwen2-qwen2": "ggml-vocab-qwen2", "llama-spm": "ggml-vocab-llama-spm"}
MB = len(TEXT.encode()) / 1e6


def peer(tok):
    best = 0.0
    end = time.perf_counter() + 1
    while time.perf_counter() < end:
        t = time.perf_counter()
        tok.encode(TEXT, add_special_tokens=False)
        best = max(best, MB / (time.perf_counter() - t))
    return best


def tandem(vocabularies, binary, name):
    out = subprocess.run([binary, "-test.run", "^$", "-test.bench", f"BenchmarkEncode/{name}$", "-test.cpu", "1"], capture_output=True, text=True, check=True,
        env={**os.environ, "LLAMA_VOCABULARIES": vocabularies}).stdout
    return float(re.search(r"([0-9.]+) MB/s", out).group(1))


def main():
    cases, vocabularies = pathlib.Path(sys.argv[1]), sys.argv[2]
    binary = str(cases.absolute() / "tokenizer.test")
    subprocess.run(["go", "test", "-c", "-o", binary, "./processor/tokenizer"], check=True)
    rows = []
    for case, vocabulary in NAMES.items():
        tok = Tokenizer.from_file(str(cases / f"{case}.json"))
        pairs = [(tandem(vocabularies, binary, vocabulary), peer(tok)) for _ in range(3)]
        ours, theirs = (statistics.median(p[i] for p in pairs) for i in (0, 1))
        rows.append({"name": case, "tandem": round(ours, 2), "peer": round(theirs, 2), "ratio": round(ours / theirs, 2), "unit": "MB/s", "threads": 1})
        print(f"{case:20s} Tandem {ours:7.2f} MB/s   tokenizers {theirs:7.2f} MB/s   {ours / theirs:.2f} ×", flush=True)
    print(json.dumps({"bench": "tokenizers", "rows": rows}))


main()
