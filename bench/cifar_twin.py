#!/usr/bin/env python3
"""ResNet-18 for pictures of 32x32 in PyTorch, by the recipe of `tandem train` in bench/cifar.py.

    cifar_twin.py --train ZIP --test ZIP [--width 64] [--epochs 1] [--seed 1] [--threads 2] [--limit 0]

The zips hold a folder of pictures for each class. First weights come from the same distributions,
pictures are mirrored and moved by up to 4 pixels, Adam goes by a cosine. Prints one JSON object.
"""
import argparse
import io
import json
import math
import time
import zipfile

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

BATCH, RATE, SHIFT = 64, 1e-3, 4


def load(path):
    with zipfile.ZipFile(path) as z:
        names = sorted(n for n in z.namelist() if not n.endswith("/"))
        classes = sorted({n.split("/")[-2] for n in names})
        pixels = [np.asarray(Image.open(io.BytesIO(z.read(n))).convert("RGB")) for n in names]
    labels = [classes.index(n.split("/")[-2]) for n in names]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous(), torch.tensor(labels)


class Block(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.norm2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        same = stride == 1 and inputs == width
        self.skip = nn.Sequential() if same else nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        return F.relu(self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))) + self.skip(x))


def resnet18(width, classes):
    layers, channels = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()], width
    for stage in range(4):
        for block in range(2):
            layers.append(Block(channels, width << stage, 2 if stage and not block else 1))
            channels = width << stage
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))
    for m in net.modules():
        if isinstance(m, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_uniform_(m.weight, nonlinearity="linear")
            if m.bias is not None:
                nn.init.zeros_(m.bias)
    return net


def varied(x):
    """Each picture is mirrored or not, and moved; the mean colour, 0, comes in at the edges."""
    out = F.pad(x, (SHIFT,) * 4)
    dy, dx = torch.randint(0, 2 * SHIFT + 1, (2, len(x))).tolist()
    flip = torch.rand(len(x)) < 0.5
    h, w = x.shape[2:]
    x = torch.stack([p[:, a:a + h, b:b + w] for p, a, b in zip(out, dy, dx)])
    return torch.where(flip[:, None, None, None], x.flip(3), x)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--train", required=True)
    p.add_argument("--test", required=True)
    p.add_argument("--width", type=int, default=64)
    p.add_argument("--epochs", type=int, default=1)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--limit", type=int, default=0)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    (x, y), (tx, ty) = load(a.train), load(a.test)
    if a.limit:  # the classes take turns, as Tandem's do
        turn = torch.argsort(torch.arange(len(y)) % (len(y) // 10), stable=True)[:a.limit]
        x, y = x[turn], y[turn]
    mean, std = x.double().div(255).mean((0, 2, 3)).float(), x.double().div(255).std((0, 2, 3), unbiased=False).float()
    normal = lambda pixels: (pixels.float() / 255 - mean[:, None, None]) / std[:, None, None]
    net = resnet18(a.width, int(y.max()) + 1)
    opt = torch.optim.Adam(net.parameters(), RATE)
    steps, done, start = math.ceil(len(x) / BATCH) * a.epochs, 0, time.perf_counter()
    for _ in range(a.epochs):
        for rows in torch.randperm(len(x)).split(BATCH):
            for group in opt.param_groups:
                group["lr"] = RATE * (1 + math.cos(math.pi * done / steps)) / 2
            opt.zero_grad()
            F.cross_entropy(net(varied(normal(x[rows]))), y[rows]).backward()
            opt.step()
            done += 1
    took = time.perf_counter() - start
    net.eval()
    with torch.no_grad():
        hits = sum((net(normal(tx[r])).argmax(1) == ty[r]).sum().item() for r in torch.arange(len(tx)).split(250))
    print(json.dumps({"seed": a.seed, "steps": done, "test_accuracy": hits / len(tx), "seconds": round(took, 1),
                      "parameters": sum(v.numel() for v in net.parameters()), "torch": torch.__version__}))


if __name__ == "__main__":
    main()
