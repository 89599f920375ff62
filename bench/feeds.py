"""Inputs for the exported models, from the manifest beside each: the same for the same
name, batch and seed. Needs numpy alone.

    from feeds import manifest, feed
    x = feed("resnet50", batch=8, seed=3)          # {"x": float32[8, 3, 224, 224]}
    x = feed("bert-base", batch=2, seed=0, length=128)

A manifest names each input's element type, its shape (numbers, or names of dimensions:
"batch", and others whose usual sizes stand under "sizes") and what fills it.
"""
import json
import zlib
from pathlib import Path

import numpy as np

MODELS = Path(__file__).resolve().parent / ".models"


def manifest(name):
    return json.loads((MODELS / f"{name}.json").read_text())


def names():
    return sorted(p.stem for p in MODELS.glob("*.json"))


def sizes(m, seed):
    """One size for each named dimension but the batch: a seed walks through the usual ones."""
    return {dim: usual[seed % len(usual)] for dim, usual in m.get("sizes", {}).items()}


def feed(name, batch=1, seed=0, **fixed):
    """The inputs of a model by name; fixed gives sizes of named dimensions."""
    m = manifest(name)
    rng = np.random.default_rng([zlib.crc32(name.encode()), seed, batch])
    dims = {"batch": batch, **sizes(m, seed), **fixed}
    for dim, parts in m.get("sums", {}).items():  # such as past + length
        dims[dim] = sum(dims[p] for p in parts)
    return {key: np.ascontiguousarray(fill(rng, spec, [dims.get(d, d) for d in spec["shape"]])) for key, spec in m["inputs"].items()}


def fill(rng, spec, shape):
    kind, dtype = spec["fill"], spec["dtype"]
    if kind == "image":  # about what normalised photographs are: smooth, with noise on top
        return images(rng, shape).astype(dtype)
    if kind == "image-last":  # channels last; "pixels": as they are before they are normalised
        x = np.moveaxis(images(rng, [shape[0], shape[3], shape[1], shape[2]]), 1, 3)
        return (np.clip(np.rint(255 * (0.45 + 0.226 * x)), 0, 255) if spec.get("pixels") else x).astype(dtype)
    if kind == "audio":
        return waves(rng, shape).astype(dtype)
    if kind == "normal":
        return (rng.standard_normal(shape) * spec.get("scale", 1)).astype(dtype)
    if kind == "ids":
        return rng.integers(spec.get("low", 0), spec["high"], shape).astype(dtype)
    if kind == "mask":  # rows of unlike lengths, the first one whole
        length = rng.integers((shape[-1] + 1) // 2, shape[-1] + 1, shape[0])
        length[0] = shape[-1]
        return (np.arange(shape[-1]) < length[:, None]).astype(dtype)
    if kind == "ones":
        return np.ones(shape, dtype)
    if kind == "zeros":
        return np.zeros(shape, dtype)
    if kind == "range":  # positions
        return np.broadcast_to(np.arange(shape[-1]), shape).astype(dtype)
    if kind == "lengths":
        return rng.integers(1, spec["high"] + 1, shape).astype(dtype)
    if kind == "words":
        return np.array([" ".join(rng.choice(spec["words"], rng.integers(3, 40))) for _ in range(int(np.prod(shape)))], object).reshape(shape)
    if kind == "category":
        return rng.choice(np.array(spec["words"], object), shape)
    raise ValueError(f"unknown fill {kind}")


def images(rng, shape):
    n, c, h, w = shape
    y, x = np.linspace(0, 1, h)[:, None], np.linspace(0, 1, w)[None, :]
    out = rng.standard_normal((n, c, h, w)) * 0.3
    for i in range(n):
        for _ in range(4):
            fy, fx, p = rng.uniform(-12, 12, 3)
            out[i] += rng.uniform(-1, 1, (c, 1, 1)) * np.sin(fy * y + fx * x + p)
    return out


def waves(rng, shape):
    t = np.arange(shape[-1]) / 8000
    out = rng.standard_normal(shape) * 0.02
    for _ in range(5):
        f = rng.uniform(80, 3000, shape[:-1] + [1])
        out += rng.uniform(0.02, 0.3, shape[:-1] + [1]) * np.sin(2 * np.pi * f * t + rng.uniform(0, 6, shape[:-1] + [1]))
    return out
