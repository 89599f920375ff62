#!/usr/bin/env python3
"""Language models in Tandem beside llama.cpp: the same files, the same threads, in turns.

    llm.py [--rounds 3] [--threads 1 2] [--models qwen3-0.6b llama3.2-1b] [--formats Q8_0 Q4_K_M]
           [--only prompt decode parallel depth huge-prompt … memory load http] [--keep rounds.jsonl]

Rows: reading a prompt of 512; decoding 128 from an empty cache, and 32 after 2,048 tokens;
16 sequences decoding at once; all of these when llama.cpp has huge pages too; the most memory
that a run has; the time from a second start to the first token; and decoding for one
client over HTTP beside `tandem bench`. Run by `make bench-llm`, which builds bin/tandem
first.

LLAMA_BIN   folder with llama.cpp's programs. Without it llama.cpp is built from the
            source that the PyPI sdist of llama-cpp-python carries, into bench/.llama
            (about 18 minutes on two cores).
LLM_MODELS  folder of GGUF files; what is missing there is made, with random weights,
            by ../shared/peers/make_gguf.py (LLM_PEERS names another folder).

With --keep FILE, rounds that the file has are not measured again, and each new one is
added to it as it ends: a run that ended goes on where it was, and rows can be measured
one by one (--models, --formats, --threads, --only), of which `--keep FILE --rounds 0`
then prints all.

QUICK=1 does one round, of one model, on two threads. Prints rows for people and, as the
last line, one JSON object. A ratio of more than 1 is in Tandem's favour.
"""
import argparse
import functools
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TANDEM = HERE.parent / "bin" / "tandem"
QUICK = bool(os.environ.get("QUICK"))
SDIST = "llama_cpp_python==0.3.36"
TARGETS = ["llama-bench", "llama-batched-bench", "llama-completion", "llama-quantize"]
PEERS = Path(os.environ.get("LLM_PEERS") or HERE.parent.parent / "shared" / "peers")
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
            vocabularies = Path(os.environ.get("LLAMA_SOURCE") or source()) / "models"
            call(sys.executable, PEERS / "make_gguf.py", "--shape", name, "--vocab", vocabularies / VOCABULARIES[name], "--out", dense, stdout=sys.stderr)
        call(bin / "llama-quantize", dense, path, fmt, os.cpu_count(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return path


def tandem(path, threads, *flags):
    out = call(TANDEM, "bench", path, "--threads", threads, "--rounds", 1, "--json", *flags, capture_output=True).stdout
    return json.loads(out.splitlines()[-1])


def loading(huge):
    """How llama.cpp loads weights: into memory of malloc that asks for huge pages, or by mapping the file."""
    return (["--load-mode", "none"], dict(os.environ, GLIBC_TUNABLES="glibc.malloc.hugetlb=1")) if huge else ([], None)


def llama_bench(bin, path, threads, *flags, huge=False):
    load, env = loading(huge)
    out = call(bin / "llama-bench", "-m", path, "-t", threads, "-r", 1, "-o", "json", *load, *flags, capture_output=True, env=env).stdout
    return json.loads(out)[-1]["avg_ts"]


def batched_bench(bin, path, threads, n, huge=False):
    load, env = loading(huge)
    out = call(bin / "llama-batched-bench", "-m", path, "-t", threads, "-tb", threads, "-c", n * 160, "-npp", 16, "-ntg", 32, "-npl", n, *load,
               capture_output=True, env=env).stdout
    row = [line for line in out.splitlines() if re.match(r"\|\s+\d+\s+\|", line)][-1]
    return float(row.split("|")[8])  # S_TG t/s


def observed(*cmd):
    """Seconds that a program ran, and the most memory that it had in MB."""
    start = time.perf_counter()
    p = subprocess.Popen([str(c) for c in cmd], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(p.pid, 0)
    p.returncode = os.waitstatus_to_exitcode(status)
    if p.returncode:
        raise SystemExit(f"{cmd} ended with {p.returncode}")
    return time.perf_counter() - start, used.ru_maxrss / 1e3


def start_tandem(path, threads):
    chat = [TANDEM, "chat", path, "-p", "a", "--max-tokens", 1, "--threads", threads, "--context", 512]
    observed(*chat)  # the first start packs weights
    return observed(*chat)[0]


def start_llama(bin, path, threads):
    return observed(bin / "llama-completion", "-m", path, "-p", "a", "-n", 1, "-t", threads, "-c", 512, "-no-cnv", "--no-warmup")[0]


def http_rate(path, threads):
    """Tokens a second that one client reads from `tandem serve`."""
    with tempfile.TemporaryDirectory() as home:
        env = dict(os.environ, XDG_CONFIG_HOME=home, TANDEM_SERVER="", TANDEM_KEY="")
        p = subprocess.Popen([TANDEM, "serve", "--data", Path(home) / "data", "--http", "127.0.0.1:0", "--threads", str(threads), "--json"],
                             env=env, text=True, stdout=subprocess.PIPE)
        try:
            said = json.loads(p.stdout.readline())
            call(TANDEM, "import", path, "--name", "m", "--deploy", env=env, stdout=subprocess.DEVNULL)
            load = [sys.executable, PEERS / "llm_load.py", "--url", said["url"], "--key", said["key"], "--model", "m", "--prompt", 8, "--output", 129]
            call(*load, capture_output=True)  # to warm up
            return 1000 / json.loads(call(*load, capture_output=True).stdout)["between_tokens_ms_p50"]
        finally:
            p.terminate()
            p.wait()


def decode(path, threads):
    return tandem(path, threads, "--pp", 8, "--tg", 128)["decode_tokens_per_s"]


EVEN = {"Q8_0": 1, "Q4_K_M": 1}
FULL = ["-p", 512, "-n", 128, "-r", 1]
# What is measured: a name, the ratio asked for in each format, how each side does it, and the unit.
SPEEDS = {
    "prompt": ("prompt of 512", {"Q8_0": 2.9, "Q4_K_M": 2.5},
               lambda p, t: tandem(p, t, "--pp", 512, "--tg", 1)["prefill_tokens_per_s"],
               lambda b, p, t, huge=False: llama_bench(b, p, t, "-p", 512, "-n", 0, huge=huge), "tokens/s"),
    "decode": ("decode 128", {"Q8_0": 1.3, "Q4_K_M": 1.2}, decode,
               lambda b, p, t, huge=False: llama_bench(b, p, t, "-p", 0, "-n", 128, huge=huge), "tokens/s"),
    "parallel": ("16 sequences decode", {"Q8_0": 4, "Q4_K_M": 4},
                 lambda p, t: tandem(p, t, "--pp", 16, "--tg", 32, "--depth", 16, "--parallel", 16)["decode_tokens_per_s"],
                 lambda b, p, t, huge=False: batched_bench(b, p, t, 16, huge=huge), "tokens/s"),
    "depth": ("decode 32 at depth 2048", {"Q8_0": 2, "Q4_K_M": 2},
              lambda p, t: tandem(p, t, "--pp", 8, "--tg", 32, "--depth", 2048)["decode_tokens_per_s"],
              lambda b, p, t, huge=False: llama_bench(b, p, t, "-p", 0, "-n", 32, "-d", 2048, huge=huge), "tokens/s"),
}
HUGE = {f"huge-{case}": (f"{name}, llama.cpp with huge pages", EVEN, ours, functools.partial(theirs, huge=True), unit)
        for case, (name, _, ours, theirs, unit) in SPEEDS.items()}
CASES = SPEEDS | HUGE | {
    "memory": ("peak memory, 512 and 128", EVEN,
               lambda p, t: observed(TANDEM, "bench", p, "--threads", t, "--rounds", 1, "--pp", 512, "--tg", 128)[1],
               lambda b, p, t: observed(b / "llama-bench", "-m", p, "-t", t, *FULL)[1], "MB"),
    "load": ("second start to first token", EVEN, start_tandem, start_llama, "s"),
    "http": ("decode 128 over HTTP, beside tandem bench", {"Q8_0": 0.95, "Q4_K_M": 0.95}, http_rate, lambda b, p, t: decode(p, t), "tokens/s"),
}


class Kept:
    """Rounds that were measured before: pairs of what each side had."""

    def __init__(self, path):
        self.path, self.rounds = path, {}
        for line in path.read_text().splitlines() if path and path.exists() else []:
            r = json.loads(line)
            self.rounds.setdefault((r["row"], r["threads"]), []).append((r["tandem"], r["peer"]))

    def of(self, row, threads):
        return self.rounds.setdefault((row, threads), [])

    def add(self, row, threads, ours, theirs):
        self.of(row, threads).append((ours, theirs))
        if self.path:
            with self.path.open("a") as f:
                f.write(json.dumps({"row": row, "threads": threads, "tandem": ours, "peer": theirs}) + "\n")


def measure(case, path, threads, rounds, bin, label, kept):
    """A row; None if no round of it has been measured."""
    name, asked, ours, theirs, unit = CASES[case]
    name = f"{label}, {name}"
    while len(kept.of(name, threads)) < rounds:
        kept.add(name, threads, ours(path, threads), theirs(bin, path, threads))
    pairs = kept.of(name, threads)
    if not pairs:
        return None
    less = unit in ("s", "MB")
    ratios = sorted(y / x if less else x / y for x, y in pairs)
    row = {"name": name, "tandem": round(statistics.median(x for x, _ in pairs), 2), "peer": round(statistics.median(y for _, y in pairs), 2),
           "ratio": round(statistics.median(ratios), 3), "ratio_min": round(ratios[0], 3), "ratio_max": round(ratios[-1], 3),
           "asked": asked.get(label.split()[1]), "unit": unit, "threads": threads, "rounds": len(pairs)}
    print(f"  {row['name']}, {threads} threads: {row['tandem']} against {row['peer']} {unit}: "
          f"{row['ratio']} × ({row['ratio_min']} to {row['ratio_max']}, asked {row['asked']}; {len(pairs)} rounds)", flush=True)
    return row


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=1 if QUICK else 3)
    p.add_argument("--threads", type=int, nargs="+", default=[2] if QUICK else [1, 2])
    p.add_argument("--models", nargs="+", default=["qwen3-0.6b"] if QUICK else ["qwen3-0.6b", "llama3.2-1b"])
    p.add_argument("--formats", nargs="+", default=["Q8_0", "Q4_K_M"], choices=["Q8_0", "Q4_K_M", "BF16"])
    p.add_argument("--only", nargs="+", default=list(CASES), choices=list(CASES))
    p.add_argument("--keep", type=Path, help="a file of rounds, which are not measured again")
    a = p.parse_args()
    bin, rows, kept = llama(), [], Kept(a.keep)
    for name in a.models:
        for fmt in a.formats:
            path = model(name, fmt, bin)
            if a.rounds:
                tandem(path, a.threads[0], "--pp", 1, "--tg", 1)  # a first start packs weights, and writes them while it answers
            for threads in a.threads:
                for case in a.only:
                    row = measure(case, path, threads, a.rounds, bin, f"{name} {fmt}", kept)
                    rows += [row] if row else []
    if not rows:
        raise SystemExit("nothing was measured")
    ratios = [r["ratio"] for r in rows]
    print(json.dumps({"bench": "llm", "geomean": round(statistics.geometric_mean(ratios), 3), "worst": min(ratios), "rows": rows,
                      "machine": platform.processor() or platform.machine(), "cores": os.cpu_count()}))


if __name__ == "__main__":
    main()
