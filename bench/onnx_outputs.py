#!/usr/bin/env python3
"""Runs ONNX files in onnxruntime: for each folder given, model.onnx on the arrays of
inputs.npz, by name; all outputs go to outputs.npz.

Pixels are turned into the network's input as the file's metadata describes it
("tandem.image"): scaled, less the mean, through the deviation, channels first.
"""
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort

for folder in map(Path, sys.argv[1:]):
    session = ort.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    feeds = dict(np.load(folder / "inputs.npz"))
    image = session.get_modelmeta().custom_metadata_map.get("tandem.image")
    if image and "pixels" in feeds:
        p = json.loads(image)
        x = feeds.pop("pixels").astype(np.float32) * np.float32(p["scale"])
        x = (x - np.float32(p["mean"])) / np.float32(p["std"])
        feeds[session.get_inputs()[0].name] = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    names = [o.name for o in session.get_outputs()]
    np.savez(folder / "outputs.npz", **dict(zip(names, session.run(names, feeds))))
