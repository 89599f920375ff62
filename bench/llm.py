#!/usr/bin/env python3
"""Language models in Tandem beside llama.cpp: the same files, the same threads, in turns.

    llm.py [--rounds 3] [--threads 1 2] [--models qwen3-0.6b llama3.2-1b] [--formats Q8_0 Q4_K_M]
           [--only prompt decode parallel depth]

Rows: reading a prompt of 512; decoding 128 from an empty cache, and after 2,048 tokens;
16 sequences decoding at once. Run by `make bench-llm`, which builds bin/tandem first.

LLAMA_BIN   folder with llama-bench, llama-batched-bench and llama-quantize. Without it
            llama.cpp is built from the source that the PyPI sdist of llama-cpp-python
            carries, into bench/.llama (about 18 minutes on two cores).
LLM_MODELS  folder of GGUF files; what is missing there is made, with random weights,
            by ../shared/peers/make_gguf.py (LLM_MAKE names another path).

QUICK=1 does one round, of one model, on two threads. Prints rows for people and, as the
last line, one JSON object.
"""
import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TANDEM = HERE.parent / "bin" / "tandem"
QUICK = bool(os.environ.get("QUICK"))
SDIST = "llama_cpp_python==0.3.36"
TARGETS = ["llama-bench", "llama-batched-bench", "llama-quantize"]
VOCABULARIES = {"qwen3-0.6b": "ggml-vocab-qwen2.gguf", "qwen3-1.7b": "ggml-vocab-qwen2.gguf", "llama3.2-1b": "ggml-vocab-llama-bpe.gguf"}


def call(*cmd, **kw):
    return subprocess.run([str(c) for c in cmd], check=True, text=True, **kw)


def source():
    """The folder of llama.cpp's source, downloaded once."""
    folder = HERE / ".llama"
    found = list(folder.glob("*/vendor/llama.cpp"))
    if not found:
        folder.mkdir(exist_ok=True)
        call(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", folder, SDIST)
        with tarfile.open(next(folder.glob("*.tar.gz"))) as tar:
            tar.extractall(folder, filter="data")
        found = list(folder.glob("*/vendor/llama.cpp"))
    return found[0]


def llama():
    """The folder of llama.cpp's programs."""
    if os.environ.get("LLAMA_BIN"):
        return Path(os.environ["LLAMA_BIN"])
    build = HERE / ".llama" / "build"
    if not (build / "bin" / TARGETS[-1]).exists():
        call("cmake", "-S", source(), "-B", build, "-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DLLAMA_CURL=OFF", stdout=sys.stderr)
        call("cmake", "--build", build, "-j", os.cpu_count(), "--target", *TARGETS, stdout=sys.stderr)
    return build / "bin"


def model(name, fmt, bin):
    """The path of a model's file, made if it is not there."""
    folder = Path(os.environ.get("LLM_MODELS") or HERE / ".llama" / "models")
    path = folder / f"{name}-{fmt}.gguf"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        dense = folder / f"{name}-f16.gguf"
        if not dense.exists():
            make = Path(os.environ.get("LLM_MAKE") or HERE.parent.parent / "shared" / "peers" / "make_gguf.py")
            vocabularies = Path(os.environ.get("LLAMA_SOURCE") or source()) / "models"
            call(sys.executable, make, "--shape", name, "--vocab", vocabularies / VOCABULARIES[name], "--out", dense, stdout=sys.stderr)
        call(bin / "llama-quantize", dense, path, fmt, os.cpu_count(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return path


def tandem(path, threads, *flags):
    out = call(TANDEM, "bench", path, "--threads", threads, "--rounds", 1, "--json", *flags, capture_output=True).stdout
    return json.loads(out.splitlines()[-1])


def llama_bench(bin, path, threads, *flags):
    out = call(bin / "llama-bench", "-m", path, "-t", threads, "-r", 1, "-o", "json", *flags, capture_output=True).stdout
    return json.loads(out)[-1]["avg_ts"]


def batched_bench(bin, path, threads, n):
    out = call(bin / "llama-batched-bench", "-m", path, "-t", threads, "-tb", threads, "-c", n * 160, "-npp", 16, "-ntg", 32, "-npl", n,
               capture_output=True).stdout
    row = [line for line in out.splitlines() if re.match(r"\|\s+\d+\s+\|", line)][-1]
    return float(row.split("|")[8])  # S_TG t/s


# What is measured: a name, the ratio asked for in each format, and how each side does it.
CASES = {
    "prompt": ("prompt of 512", {"Q8_0": 2.9, "Q4_K_M": 2.5},
               lambda p, t: tandem(p, t, "--pp", 512, "--tg", 1)["prefill_tokens_per_s"],
               lambda b, p, t: llama_bench(b, p, t, "-p", 512, "-n", 0)),
    "decode": ("decode 128", {"Q8_0": 1.3, "Q4_K_M": 1.2},
               lambda p, t: tandem(p, t, "--pp", 8, "--tg", 128)["decode_tokens_per_s"],
               lambda b, p, t: llama_bench(b, p, t, "-p", 0, "-n", 128)),
    "parallel": ("16 sequences decode", {"Q8_0": 4, "Q4_K_M": 4},
                 lambda p, t: tandem(p, t, "--pp", 16, "--tg", 32, "--depth", 16, "--parallel", 16)["decode_tokens_per_s"],
                 lambda b, p, t: batched_bench(b, p, t, 16)),
    "depth": ("decode 32 at depth 2048", {"Q8_0": 2, "Q4_K_M": 2},
              lambda p, t: tandem(p, t, "--pp", 8, "--tg", 32, "--depth", 2048)["decode_tokens_per_s"],
              lambda b, p, t: llama_bench(b, p, t, "-p", 0, "-n", 32, "-d", 2048)),
}


def measure(case, path, threads, rounds, bin, label):
    name, asked, ours, theirs = CASES[case]
    a, b = [], []
    for _ in range(rounds):
        a.append(ours(path, threads))
        b.append(theirs(bin, path, threads))
    ratios = sorted(x / y for x, y in zip(a, b))
    row = {"name": f"{label}, {name}", "tandem": round(statistics.median(a), 2), "peer": round(statistics.median(b), 2),
           "ratio": round(statistics.median(ratios), 3), "ratio_min": round(ratios[0], 3), "ratio_max": round(ratios[-1], 3),
           "asked": asked[label.split()[1]], "unit": "tokens/s", "threads": threads, "rounds": rounds}
    print(f"  {row['name']}, {threads} threads: tandem {row['tandem']}, llama.cpp {row['peer']} tokens/s: "
          f"{row['ratio']} × ({row['ratio_min']} to {row['ratio_max']}, asked {row['asked']})", flush=True)
    return row


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=1 if QUICK else 3)
    p.add_argument("--threads", type=int, nargs="+", default=[2] if QUICK else [1, 2])
    p.add_argument("--models", nargs="+", default=["qwen3-0.6b"] if QUICK else ["qwen3-0.6b", "llama3.2-1b"])
    p.add_argument("--formats", nargs="+", default=["Q8_0", "Q4_K_M"], choices=["Q8_0", "Q4_K_M"])
    p.add_argument("--only", nargs="+", default=list(CASES), choices=list(CASES))
    a = p.parse_args()
    bin, rows = llama(), []
    for name in a.models:
        for fmt in a.formats:
            path = model(name, fmt, bin)
            for threads in a.threads:
                for case in a.only:
                    rows.append(measure(case, path, threads, a.rounds, bin, f"{name} {fmt}"))
    ratios = [r["ratio"] for r in rows]
    print(json.dumps({"bench": "llm", "geomean": round(statistics.geometric_mean(ratios), 3), "worst": min(ratios), "rows": rows,
                      "machine": platform.processor() or platform.machine(), "cores": os.cpu_count()}))


if __name__ == "__main__":
    main()
