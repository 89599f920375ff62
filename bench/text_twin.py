#!/usr/bin/env python3
"""The networks of bench/train/text.go in PyTorch, by the same recipe.

    text_twin.py --only lstm|transformer --text FILE [--steps 300] [--seed 1] [--threads 2]

Windows of text are drawn by the same generator, first weights from the same distributions.
Prints one JSON object: bits per character of the held-out tenth, seconds of training.
"""
import argparse
import json
import math
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

ROWS, STEPS, TESTS, RATE = 32, 64, 40, 2e-3
MASK = (1 << 64) - 1


def draw(seed, counter, n):
    z = (seed * 0xD1342543DE82EF95 + (counter + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK
    return (z ^ z >> 31) % n


def fan_in(weight, n):
    nn.init.uniform_(weight, -math.sqrt(3 / n), math.sqrt(3 / n))


def dense(inputs, units):
    layer = nn.Linear(inputs, units)
    fan_in(layer.weight, inputs)
    nn.init.zeros_(layer.bias)
    return layer


class Characters(nn.Module):
    def __init__(self, count):
        super().__init__()
        self.table, self.lstm, self.head = nn.Embedding(count, 64), nn.LSTM(64, 128, batch_first=True), dense(128, count)
        fan_in(self.lstm.weight_ih_l0, 64)
        fan_in(self.lstm.weight_hh_l0, 128)
        nn.init.zeros_(self.lstm.bias_ih_l0)
        nn.init.zeros_(self.lstm.bias_hh_l0)
        with torch.no_grad():
            self.lstm.bias_ih_l0[128:256] = 1  # the forget gate starts open

    def forward(self, x):
        return self.head(self.lstm(self.table(x))[0])


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = dense(width, 3 * width), dense(width, width)
        self.up, self.down = dense(width, 4 * width), dense(4 * width, width)

    def forward(self, x):
        b, t, w = x.shape
        q, k, v = (y.view(b, t, self.heads, w // self.heads).transpose(1, 2) for y in self.qkv(self.norm1(x)).split(w, dim=-1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, w)
        x = x + self.out(y)
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    def __init__(self, count, width=96):
        super().__init__()
        self.table = nn.Embedding(count, width)
        self.blocks = nn.Sequential(Block(width, 4), Block(width, 4))
        self.norm, self.head = nn.LayerNorm(width), dense(width, count)

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.table(x))))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", choices=["lstm", "transformer"], required=True)
    p.add_argument("--text", type=Path, required=True)
    p.add_argument("--steps", type=int, default=300)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    text = a.text.read_bytes()
    used = sorted(set(text))
    at = {b: i for i, b in enumerate(used)}
    classes = torch.tensor([at[b] for b in text])
    held = len(text) - len(text) // 10
    net = Characters(len(used)) if a.only == "lstm" else Transformer(len(used))
    opt = torch.optim.Adam(net.parameters(), RATE, betas=(0.9, 0.999), eps=1e-8)

    def batch(starts):
        rows = torch.stack([classes[s:s + STEPS + 1] for s in starts])
        return rows[:, :-1], rows[:, 1:]

    def loss(x, y):
        return F.cross_entropy(net(x).flatten(0, 1), y.flatten())

    start = time.perf_counter()
    for i in range(a.steps):
        for group in opt.param_groups:
            group["lr"] = RATE * (1 + math.cos(math.pi * i / a.steps)) / 2
        x, y = batch([draw(a.seed, i * ROWS + r, held - STEPS - 1) for r in range(ROWS)])
        opt.zero_grad()
        loss(x, y).backward()
        opt.step()
    took = time.perf_counter() - start
    with torch.no_grad():
        sums = sum(loss(*batch([held + (i * ROWS + r) * (len(text) - held - STEPS - 1) // (TESTS * ROWS) for r in range(ROWS)])).item() for i in range(TESTS))
    print(json.dumps({"model": a.only, "seed": a.seed, "steps": a.steps, "characters": a.steps * ROWS * STEPS, "seconds": round(took, 2),
                      "bits_per_character": sums / TESTS / math.log(2), "torch": torch.__version__}))


if __name__ == "__main__":
    main()
