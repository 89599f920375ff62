#!/usr/bin/env python3
"""Plots as SVG in docs/plots, by `make bench-plots`:

    speed_plot.py batches minilm resnet50     samples/s against batch (1–64) and threads (1, 2) beside onnxruntime
    speed_plot.py roofline resnet50 minilm    GFLOP/s of the ten heaviest kernels against FLOPs for each byte

Measured as bench/speed.py does: onnxruntime and Tandem in turns. --keep FILE keeps the rows
that were measured, so that a plot can be made in parts.
"""
import argparse
import json
import math
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np

import feeds
import speed

OUT = Path(__file__).resolve().parent.parent / "docs" / "plots"
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 400, 64, 48, 56


class Plot:
    """Axes with logarithmic scales, and what is drawn on them."""

    def __init__(self, title, x, y, xlabel, ylabel):
        self.x, self.y = x, y
        self.parts = [f'<text x="{WIDTH / 2}" y="20" text-anchor="middle" font-size="15">{title}</text>',
                      f'<text x="{(WIDTH + LEFT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{xlabel}</text>',
                      f'<text x="14" y="{HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 14 {HEIGHT / 2})">{ylabel}</text>',
                      f'<rect x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - 16}" height="{HEIGHT - TOP - BOTTOM}" fill="none" stroke="#999"/>']

    def at(self, x, y):
        part = lambda v, ends: (math.log(v) - math.log(ends[0])) / (math.log(ends[1]) - math.log(ends[0]))  # noqa: E731
        return LEFT + part(x, self.x) * (WIDTH - LEFT - 16), HEIGHT - BOTTOM - part(y, self.y) * (HEIGHT - TOP - BOTTOM)

    def ticks(self, xs, ys):
        for v in xs:
            px, _ = self.at(v, self.y[0])
            self.parts.append(f'<text x="{px:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{v:g}</text><path d="M{px:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        for v in ys:
            _, py = self.at(self.x[0], v)
            self.parts.append(f'<text x="{LEFT - 6}" y="{py + 4:.1f}" text-anchor="end">{v:g}</text><path d="M{LEFT} {py:.1f}H{WIDTH - 16}" stroke="#ddd"/>')

    def line(self, points, color, dash=""):
        path = " ".join(f"{'L' if i else 'M'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(self.at(*p) for p in points))
        self.parts.append(f'<path d="{path}" fill="none" stroke="{color}" stroke-width="2" stroke-dasharray="{dash}"/>')

    def dot(self, x, y, color, note):
        px, py = self.at(x, y)
        self.parts.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="4" fill="{color}"><title>{note}</title></circle>')

    def note(self, i, color, text):
        self.parts.append(f'<text x="{LEFT + 8 + 150 * i}" y="42" fill="{color}">{text}</text>')

    def write(self, name):
        OUT.mkdir(parents=True, exist_ok=True)
        body = "\n".join(self.parts)
        (OUT / name).write_text(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11">\n<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n')
        print("wrote", OUT / name)


def kept(path):
    rows = map(json.loads, path.read_text().splitlines()) if path and path.exists() else []
    return {(r["name"], r["batch"], r["threads"]): r for r in rows}


def batches(names, keep, rounds, seconds):
    rows = kept(keep)
    for name in names:
        for threads in (1, 2):
            for batch in (1, 2, 4, 8, 16, 32, 64):
                if (name, batch, threads) not in rows:
                    r = rows[name, batch, threads] = speed.measure(name, batch, threads, seconds, rounds)
                    print(speed.shown(r), flush=True)
                    if keep:
                        with keep.open("a") as f:
                            f.write(json.dumps(r) + "\n")
        mine = [r for r in rows.values() if r["name"] == name]
        most, least = max(max(r["tandem"], r["peer"]) for r in mine), min(min(r["tandem"], r["peer"]) for r in mine)
        p = Plot(f"{name}, float32: samples/s by batch", (1, 64), (least / 1.2, most * 1.2), "batch", "samples/s")
        p.ticks([1, 2, 4, 8, 16, 32, 64], [round(least * (most / least) ** (i / 4), 3 - len(str(int(most)))) for i in range(5)])
        i = 0
        for threads, dash in ((1, "4 3"), (2, "")):
            for who, color in (("tandem", "#0a58ca"), ("peer", "#c2410c")):
                p.line([(r["batch"], r[who]) for r in sorted(mine, key=lambda r: r["batch"]) if r["threads"] == threads], color, dash)
                p.note(i, color, f"{'Tandem' if who == 'tandem' else 'onnxruntime'}, {threads} thread{'s' * (threads - 1)}{' (dashed)' if dash else ''}")
                i += 1
        p.write(f"batches-{name}.svg")


def elements(shapes):
    """Elements of the tensors in a list such as "1x3x4, 5x5 → 7"."""
    return sum(math.prod(int(d) for d in s.split("x")) for s in re.findall(r"\d+(?:x\d+)*", shapes))


def roofline(names, peak, bandwidth):
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            fixed = {"length": 128} if 128 in feeds.manifest(name).get("sizes", {}).get("length", []) else {}
            np.savez(Path(folder) / "in.npz", **feeds.feed(name, batch=8, **fixed))
            command = [speed.TANDEM, "bench", feeds.MODELS / f"{name}.onnx", "--input", Path(folder) / "in.npz", "--batch", "8", "--threads", "1", "--seconds", "4", "--profile"]
            lines = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=True).stdout.splitlines()
        head = next(i for i, line in enumerate(lines) if line.startswith("OPERATOR"))
        p = Plot(f"{name}, batch 8, one thread: the ten heaviest kernels", (0.1, 1000), (0.1, 2 * peak), "FLOP for each byte of its operands and results", "GFLOP/s")
        p.ticks([0.1, 1, 10, 100, 1000], [0.1, 1, 10, 100])
        p.line([(0.1, 0.1 * bandwidth), (peak / bandwidth, peak), (1000, peak)], "#555")
        p.note(0, "#555", f"{peak:g} GFLOP/s, {bandwidth:g} GB/s")
        for line in lines[head + 1:head + 11]:
            op, share, ms, calls, gflops, shapes = re.split(r"\s{2,}", line.strip(), maxsplit=5)
            speed_now = max(float(gflops), 0.1)
            intensity = speed_now * float(ms) / 1e3 / float(calls) * 1e9 / (4 * elements(shapes))
            p.dot(min(max(intensity, 0.1), 1000), speed_now, "#0a58ca", f"{op} {shapes}: {share} of the time, {gflops} GFLOP/s")
            print(f"{name:12} {share:>6} {float(gflops):7.1f} GFLOP/s {intensity:8.1f} FLOP/byte  {op} {shapes}")
        p.write(f"roofline-{name}.svg")


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("what", choices=["batches", "roofline"])
    a.add_argument("names", nargs="+")
    a.add_argument("--keep", type=Path)
    a.add_argument("--rounds", type=int, default=3)
    a.add_argument("--seconds", type=float, default=1)
    a.add_argument("--peak", type=float, default=146, help="GFLOP/s of multiply-adds from registers, one core")
    a.add_argument("--bandwidth", type=float, default=12, help="GB/s of one core from memory")
    a = a.parse_args()
    if a.what == "batches":
        batches(a.names, a.keep, a.rounds, a.seconds)
    else:
        roofline(a.names, a.peak, a.bandwidth)


if __name__ == "__main__":
    main()
