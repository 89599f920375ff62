#!/usr/bin/env python3
"""Training steps of Tandem beside PyTorch's, the same networks, batches and optimizer.

    train.py [--threads 1 2] [--only mlp,cnn,resnet18,lstm,gru,transformer] [--rounds 3] [--scale 1] [--compile]
             [--bf16] [--into FILE] [--peer ../shared/peers/train_step.py]

The peer's script is run unmodified. A round runs the peer and then bin/tandem-train-bench, one
network a process, so that the two alternate and memory is each network's own; a process reports
the median time of five batches of steps. The ratio is the median over rounds of the peer's time by
Tandem's; "best" compares the fastest rounds of both, which other work on the machine disturbs
less. --compile runs the peer a second time under torch.compile, which needs a C++ compiler; its
ratio is shown and not part of the mean. So is that of Tandem's steps with products in bfloat16
(--bf16) by the peer's in float32. --into keeps what has been measured in a file, one line a
round: a run that was cut off goes on there, and more rounds add to it. Run by `make bench-train`;
QUICK=1 does one round of fewer steps. Prints rows for people and, as the last line, one JSON object.
"""
import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TANDEM = HERE.parent / "bin" / "tandem-train-bench"
PEER = HERE.parent.parent / "shared" / "peers" / "train_step.py"
QUICK = bool(os.environ.get("QUICK"))
NAMES = ["mlp", "cnn", "resnet18", "lstm", "gru", "transformer"]


def run(cmd):
    out = subprocess.run([str(c) for c in cmd], check=True, capture_output=True, text=True).stdout
    return json.loads(out.strip().splitlines()[-1])


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def kept(path):
    """Rounds by network and threads that the file holds; a line that was cut off is left out."""
    rounds = {}
    for line in path.read_text().splitlines() if path and path.exists() else []:
        try:
            r = json.loads(line)
            rounds.setdefault((r["name"], r["threads"]), []).append(r)
        except json.JSONDecodeError:
            print(f"  {path}: a line that was cut off is left out")
    return rounds


def one_round(a, name, threads):
    common = ["--threads", threads, "--only", name, "--scale", a.scale]
    r = {"name": name, "threads": threads, "scale": a.scale, "peer": run([sys.executable, a.peer, *common]), "tandem": run([TANDEM, *common])}
    if a.compile:
        r["compiled"] = run([sys.executable, a.peer, *common, "--compile"])
    if a.bf16:
        r["bf16"] = run([TANDEM, *common, "--precision", "bf16"])
    print(f"  {name}, {threads} threads: torch {r['peer']['ms_per_step']:.1f}, tandem {r['tandem']['ms_per_step']:.1f} ms a step", flush=True)
    if a.into:
        with a.into.open("a") as f:
            f.write(json.dumps(r) + "\n")
    return r


def summary(name, threads, rounds):
    peer, ours = [r["peer"] for r in rounds], [r["tandem"] for r in rounds]
    compiled = [(r["compiled"], r["tandem"]) for r in rounds if "compiled" in r]
    rounded = [(r["peer"], r["bf16"]) for r in rounds if "bf16" in r]

    def ms(list):
        return statistics.median(r["ms_per_step"] for r in list)

    def ratio(pairs):
        return round(statistics.median(p["ms_per_step"] / o["ms_per_step"] for p, o in pairs), 3)

    row = {
        "name": name, "threads": threads, "rounds": len(rounds), "unit": "steps/s",
        "tandem": round(1e3 / ms(ours), 3), "peer": round(1e3 / ms(peer), 3),
        "ratio": ratio(list(zip(peer, ours))),
        "lowest": min(ratio([pair]) for pair in zip(peer, ours)), "highest": max(ratio([pair]) for pair in zip(peer, ours)),
        "best": round(min(r["spread_ms"][0] for r in peer) / min(r["spread_ms"][0] for r in ours), 3),
        "tandem_peak_mb": min(r["peak_mb_over_start"] for r in ours), "peer_peak_mb": min(r["peak_mb_over_import"] for r in peer),
    }
    if compiled:
        row["ratio_compiled"] = ratio(compiled)
    if rounded:
        row["ratio_bf16"] = ratio(rounded)
    return row


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    p.add_argument("--only", default=",".join(NAMES))
    p.add_argument("--rounds", type=int, default=1 if QUICK else 3)
    p.add_argument("--scale", type=float, default=0.34 if QUICK else 1)
    p.add_argument("--compile", action="store_true")
    p.add_argument("--bf16", action="store_true")
    p.add_argument("--into", type=Path)
    p.add_argument("--peer", type=Path, default=PEER)
    a = p.parse_args()
    if not a.peer.exists():
        sys.exit(f"{a.peer} is missing: give the peer's script by --peer")
    cases, done = [(name, threads) for threads in a.threads for name in a.only.split(",")], kept(a.into)
    for i in range(a.rounds):
        for name, threads in cases:
            if len(done.setdefault((name, threads), [])) <= i:
                done[name, threads].append(one_round(a, name, threads))
    rows = [summary(name, threads, done[name, threads]) for name, threads in cases]
    print(f"\n{'network':<12} {'threads':>7} {'tandem':>9} {'torch':>9} {'ratio':>6} {'spread':>11} {'best':>6} {'compiled':>8} {'bf16':>6} {'MB':>6} {'torch MB':>8}")
    for r in rows:
        print(f"{r['name']:<12} {r['threads']:>7} {r['tandem']:>9.2f} {r['peer']:>9.2f} {r['ratio']:>6.2f} {r['lowest']:>5.2f}-{r['highest']:<5.2f} {r['best']:>6.2f} "
              f"{r.get('ratio_compiled', ''):>8} {r.get('ratio_bf16', ''):>6} {r['tandem_peak_mb']:>6} {r['peer_peak_mb']:>8}")
    ratios = [r["ratio"] for r in rows]
    geomean = math.exp(statistics.fmean(math.log(r) for r in ratios))
    print(json.dumps({"bench": "train", "geomean": round(geomean, 3), "worst": min(ratios), "processor": processor(), "rows": rows}))


if __name__ == "__main__":
    main()
