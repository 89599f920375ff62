#!/usr/bin/env python3
"""The network of `tandem demo` in PyTorch, by the same recipe.

    mnist_twin.py --data DIR [--epochs 3] [--seed 1] [--threads 2] [--steps N]

DIR holds the four files of the MNIST set. Prints one JSON object: accuracy on the
test set, images/s of training (median over windows of 20 steps), versions. With
--steps it stops after so many steps and does not evaluate.
"""
import argparse
import gzip
import json
import math
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


def read_idx(path):
    raw = gzip.decompress(path.read_bytes())
    rank = raw[3]
    shape = np.frombuffer(raw, ">u4", rank, 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def load(folder):
    names = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
    x, y, tx, ty = (torch.from_numpy(read_idx(folder / n).copy()) for n in names)
    return x[:, None], y.long(), tx[:, None], ty.long()


def network():
    """conv 3x3x32, conv 3x3x64, max pooling, dense 128, dropout."""
    net = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(64 * 12 * 12, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10))
    linear = [m for m in net if isinstance(m, (nn.Conv2d, nn.Linear))]
    for m in linear:
        # He's uniform before ReLU, else the same without its gain.
        nn.init.kaiming_uniform_(m.weight, nonlinearity="linear" if m is linear[-1] else "relu")
        nn.init.zeros_(m.bias)
    return net


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--epochs", type=int, default=3)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--steps", type=int, default=0)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    x, y, tx, ty = load(a.data)
    mean, std = x.float().div(255).mean(), x.float().div(255).std(unbiased=False)
    net, batch = network(), 64
    opt = torch.optim.Adam(net.parameters(), 1e-3)
    total = math.ceil(len(x) / batch) * a.epochs
    done, rates, start = 0, [], time.perf_counter()
    while done < total and not (a.steps and done >= a.steps):
        for rows in torch.randperm(len(x)).split(batch):
            for group in opt.param_groups:
                group["lr"] = 1e-3 * (1 + math.cos(math.pi * done / total)) / 2
            opt.zero_grad()
            loss = F.cross_entropy(net((x[rows].float() / 255 - mean) / std), y[rows])
            loss.backward()
            opt.step()
            loss.item()
            done += 1
            if done % 20 == 0:
                now = time.perf_counter()
                rates.append(20 * batch / (now - start))
                start = now
            if a.steps and done >= a.steps:
                break
    out = {"steps": done, "threads": a.threads, "seed": a.seed, "images_per_s": round(statistics.median(rates), 1), "torch": torch.__version__}
    if not a.steps:
        net.eval()
        with torch.no_grad():
            hits = sum((net((tx[r].float() / 255 - mean) / std).argmax(1) == ty[r]).sum().item() for r in torch.arange(len(tx)).split(500))
        out["test_accuracy"] = hits / len(tx)
    print(json.dumps(out))


if __name__ == "__main__":
    main()
