"""Image networks of torchvision by torch.onnx, by its newer exporter (dynamo) and the older."""
import sys
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import nn

import writing
from torch_export import export

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import feeds  # noqa: E402


def pictures(n, seed, size=224):
    return torch.from_numpy(feeds.images(np.random.default_rng(seed), [n, 3, size, size]).astype(np.float32))


def sensible(net):
    """Random weights with which every layer tells: the running statistics are those of
    pictures, scales and offsets of norms vary, what begins as zero does not stay zero."""
    torch.manual_seed(7)
    for m in net.modules():
        if isinstance(m, (nn.BatchNorm2d, nn.LayerNorm)) and m.weight is not None:
            nn.init.uniform_(m.weight, 0.6, 1.4)
            nn.init.normal_(m.bias, 0, 0.2)
        if isinstance(m, nn.BatchNorm2d):
            m.momentum = None  # the mean of all batches
        if isinstance(m, nn.Linear) and not m.weight.any():
            nn.init.normal_(m.weight, 0, m.in_features**-0.5)
    for name, p in net.named_parameters():
        if name.endswith("layer_scale"):
            nn.init.uniform_(p, 0.1, 0.5)
    if any(isinstance(m, nn.BatchNorm2d) for m in net.modules()):
        net.eval()
        for m in net.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.train()
        with torch.no_grad():
            for seed in range(2):
                net(pictures(8, seed))
    return net.eval()


NETS = {
    "resnet50": torchvision.models.resnet50,
    "mobilenetv3": torchvision.models.mobilenet_v3_large,
    "efficientnet-b0": torchvision.models.efficientnet_b0,
    "convnext-tiny": torchvision.models.convnext_tiny,
    "vit-b16": torchvision.models.vit_b_16,
}


def classifier(make, dynamo):
    def maker(path):
        torch.manual_seed(1)
        export(sensible(make(weights=None)), (pictures(2, 9),), path, dynamo, {"x": ["batch", 3, 224, 224]}, ["scores"])
        return {
            "exporter": f"torch.onnx {'dynamo' if dynamo else 'legacy'}", "versions": writing.versions("torch", "torchvision", "onnxscript"),
            "inputs": {"x": {"dtype": "float32", "shape": ["batch", 3, 224, 224], "fill": "image"}},
        }
    return maker


TABLE = {name: classifier(make, True) for name, make in NETS.items()}
TABLE |= {name + "-legacy": classifier(make, False) for name, make in NETS.items()}

if __name__ == "__main__":
    writing.run(TABLE)
