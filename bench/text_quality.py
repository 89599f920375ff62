#!/usr/bin/env python3
"""Bits per character after the same characters, Tandem beside PyTorch, over seeds.

    text_quality.py [--only lstm,transformer] [--seeds 1 2 3] [--steps 300] [--text ../shared/data/tinyshakespeare/input.txt]

Prints rows for people and, as the last line, one JSON object. A row is within the spread when the
means differ by no more than the larger range over the seeds.
"""
import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TANDEM = HERE.parent / "bin" / "tandem-train-bench"
TEXT = HERE.parent.parent / "shared" / "data" / "tinyshakespeare" / "input.txt"


def run(cmd):
    out = subprocess.run([str(c) for c in cmd], check=True, capture_output=True, text=True).stdout
    return json.loads(out.strip().splitlines()[-1])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", default="lstm,transformer")
    p.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    p.add_argument("--steps", type=int, default=300)
    p.add_argument("--text", type=Path, default=TEXT)
    a = p.parse_args()
    rows = []
    for name in a.only.split(","):
        ours, theirs = [], []
        for seed in a.seeds:
            common = ["--only", name, "--text", a.text, "--steps", a.steps, "--seed", seed]
            ours.append(run([TANDEM, *common]))
            theirs.append(run([sys.executable, HERE / "text_twin.py", *common]))
            print(f"  {name}, seed {seed}: tandem {ours[-1]['bits_per_character']:.4f} in {ours[-1]['seconds']:.1f} s, "
                  f"torch {theirs[-1]['bits_per_character']:.4f} in {theirs[-1]['seconds']:.1f} s", flush=True)
        bits = [[r["bits_per_character"] for r in side] for side in (ours, theirs)]
        means, ranges = [statistics.mean(b) for b in bits], [max(b) - min(b) for b in bits]
        rows.append({"name": name, "unit": "bits/character", "characters": ours[0]["characters"], "tandem": round(means[0], 4), "peer": round(means[1], 4),
                     "tandem_range": round(ranges[0], 4), "peer_range": round(ranges[1], 4), "within": abs(means[0] - means[1]) <= max(ranges)})
    for r in rows:
        print(f"{r['name']:12} tandem {r['tandem']:.4f} ± {r['tandem_range'] / 2:.4f}, torch {r['peer']:.4f} ± {r['peer_range'] / 2:.4f} bits per character, "
              f"{'within the spread' if r['within'] else 'NOT within the spread'}")
    print(json.dumps({"bench": "text-quality", "rows": rows}))


if __name__ == "__main__":
    main()
