"""Training from a set of examples ten times the memory limit beside one that fits.

Both runs train the same network on rows of the same kind, with the same limit. They
are prepared, stopped, and then let go in turns; what counts is steps in the turns.

    python bench/data.py [--limit 128] [--threads 1]    # needs bin/tandem, numpy and 14 bytes in TMPDIR for each of the limit
"""

import argparse
import ctypes
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import numpy

COLUMNS = 20
PR_SET_PDEATHSIG = 1

SPEC = """
family: tabular
data: {path: %s, split: {test: 0.001}}
model: {target: y}
train: {epochs: 100, batch_rows: 256, seed: 1, checkpoint_steps: 100000000}
"""


def write(path, rows):
    """Rows of digits, and a label that depends on them."""
    rng = numpy.random.default_rng(1)
    with open(path, "wb") as f:
        f.write((",".join(f"x{i}" for i in range(COLUMNS)) + ",y\n").encode())
        while rows > 0:
            n = min(rows, 1 << 18)
            x = rng.integers(0, 10, (n, COLUMNS + 1), dtype=numpy.uint8)
            x[:, -1] = x[:, :5].sum(1) > 22
            text = numpy.full((n, 2 * (COLUMNS + 1)), ord(","), numpy.uint8)
            text[:, 0::2] = x + ord("0")
            text[:, -1] = ord("\n")
            f.write(text.tobytes())
            rows -= n


def die_with_parent():
    """Linux kills a run when this process is gone, even if it was killed while the run stood still."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Run:
    def __init__(self, tandem, folder, name, rows, threads, limit):
        self.out = folder / name
        path = folder / f"{name}.csv"
        write(path, rows)
        spec = folder / f"{name}.yaml"
        spec.write_text(SPEC % path)
        self.begun = time.time()
        self.process = subprocess.Popen(
            [tandem, "train", spec, "--out", self.out, "--memory", f"{limit}MiB", "--threads", str(threads), "--json"],
            stdout=subprocess.DEVNULL, env=dict(os.environ, GOMAXPROCS="2"), preexec_fn=die_with_parent)
        while self.step() < 100:
            if self.process.poll() is not None:
                raise SystemExit(f"{name}: the run ended early")
            time.sleep(0.05)
        self.opened_s = time.time() - self.begun
        self.process.send_signal(signal.SIGSTOP)

    def step(self):
        try:
            lines = (self.out / "metrics.jsonl").read_text().split("\n")
            return max((json.loads(x)["step"] for x in lines[:-1]), default=0)
        except FileNotFoundError:
            return 0

    def turn(self, seconds):
        """Steps a second while it may run."""
        self.process.send_signal(signal.SIGCONT)
        time.sleep(0.3)
        step, begun = self.step(), time.time()
        time.sleep(seconds)
        rate = (self.step() - step) / (time.time() - begun)
        self.process.send_signal(signal.SIGSTOP)
        return rate

    def peak_mib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(x for x in status.split("\n") if x.startswith("VmHWM")).split()[1]) / 1024


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))  # files go, too
    parser = argparse.ArgumentParser()
    parser.add_argument("--tandem", default="bin/tandem")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit", type=int, default=128, help="MiB of memory")
    args = parser.parse_args()
    all_rows = args.limit * (1 << 20) * 10 // (8 * (COLUMNS + 1))  # what they decode to is ten times the limit
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        runs = []
        try:
            for name, rows in [("fits", all_rows // 50), ("ten-times", all_rows)]:
                runs.append(Run(args.tandem, folder, name, rows, args.threads, args.limit))
            rates = [[r.turn(args.seconds) for r in runs] for _ in range(args.rounds)]
            ratios = sorted(b / a for a, b in rates)
            for a, b in rates:
                print(f"fits {a:8.1f} steps/s   ten times the limit {b:8.1f} steps/s   ratio {b / a:.3f}")
            row = {"name": "data", "ratio": round(ratios[len(ratios) // 2], 3), "least": round(ratios[0], 3),
                   "unit": "steps/s", "threads": args.threads, "limit_mib": args.limit, "rows": all_rows,
                   "peak_mib": [round(r.peak_mib(), 1) for r in runs], "opened_s": [round(r.opened_s, 1) for r in runs]}
            print(json.dumps({"bench": "data", "rows": [row]}))
        finally:
            for r in runs:
                r.process.kill()
                r.process.wait()


if __name__ == "__main__":
    main()
