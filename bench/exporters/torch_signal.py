"""Smaller networks by torch.onnx: taggers with LSTM and GRU, a network that separates
sounds as Conv-TasNet does, and detectors that end in non-maximum suppression."""
import torch
import torchvision
from torch import nn

import writing
from torch_export import export
from torch_vision import pictures, sensible


def about(dynamo, **more):
    return {"exporter": f"torch.onnx {'dynamo' if dynamo else 'legacy'}", "versions": writing.versions("torch", "torchvision", "onnxscript"), **more}


class Tagger(nn.Module):
    """Embeddings, two layers in both directions, scores of tags for each token."""

    def __init__(self, kind):
        super().__init__()
        self.embedding = nn.Embedding(20000, 128)
        self.recurrent = kind(128, 192, num_layers=2, batch_first=True, bidirectional=True)
        self.tags = nn.Linear(384, 45)
        with torch.no_grad():
            for p in self.parameters():
                p.mul_(2 if p.dim() > 1 else 1)

    def forward(self, tokens):
        return self.tags(self.recurrent(self.embedding(tokens))[0]).log_softmax(-1)


def tagger(kind, dynamo):
    def maker(path):
        torch.manual_seed(4)
        shape = ["batch", "length"]
        export(Tagger(kind).eval(), (torch.randint(0, 20000, (2, 9)),), path, dynamo, {"tokens": shape}, ["tags"])
        return about(dynamo, sizes={"length": [12, 3, 40, 25]}, inputs={"tokens": {"dtype": "int64", "shape": shape, "fill": "ids", "high": 20000}})
    return maker


class Block(nn.Module):
    """A dilated depthwise block of the separator: bottleneck, norm over everything, skip."""

    def __init__(self, channels, hidden, dilation):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv1d(channels, hidden, 1), nn.PReLU(), nn.GroupNorm(1, hidden),
            nn.Conv1d(hidden, hidden, 3, padding=dilation, dilation=dilation, groups=hidden), nn.PReLU(), nn.GroupNorm(1, hidden))
        self.residual = nn.Conv1d(hidden, channels, 1)
        self.skip = nn.Conv1d(hidden, channels, 1)

    def forward(self, x):
        y = self.net(x)
        return x + self.residual(y), self.skip(y)


class Separator(nn.Module):
    """Two sources from one channel: learned filters, masks by dilated blocks, filters back."""

    def __init__(self, filters=256, channels=128, hidden=256, blocks=8, repeats=2):
        super().__init__()
        self.encoder = nn.Conv1d(1, filters, 16, stride=8, bias=False)
        self.bottleneck = nn.Sequential(nn.GroupNorm(1, filters), nn.Conv1d(filters, channels, 1))
        self.blocks = nn.ModuleList(Block(channels, hidden, 2**i) for _ in range(repeats) for i in range(blocks))
        self.masks = nn.Sequential(nn.PReLU(), nn.Conv1d(channels, 2 * filters, 1), nn.Sigmoid())
        self.decoder = nn.ConvTranspose1d(filters, 1, 16, stride=8, bias=False)

    def forward(self, sound):
        codes = self.encoder(sound)
        x, total = self.bottleneck(codes), 0
        for block in self.blocks:
            x, skip = block(x)
            total = total + skip
        masked = self.masks(total).unflatten(1, (2, -1)) * codes.unsqueeze(1)
        return self.decoder(masked.flatten(0, 1)).reshape(sound.shape[0], 2, -1)


def separator(dynamo):
    def maker(path):
        torch.manual_seed(5)
        net = Separator().eval()
        with torch.no_grad():
            for m in net.modules():
                if isinstance(m, nn.GroupNorm):
                    nn.init.uniform_(m.weight, 0.6, 1.4)
                    nn.init.normal_(m.bias, 0, 0.2)
        export(net, (torch.randn(2, 1, 4000),), path, dynamo, {"sound": ["batch", 1, "samples"]}, ["sources"])
        return about(dynamo, sizes={"samples": [8000, 4000, 2400]}, inputs={"sound": {"dtype": "float32", "shape": ["batch", 1, "samples"], "fill": "audio"}})
    return maker


class Detector(nn.Module):
    """One-stage detector over two maps of a MobileNet, boxes from anchors, suppression by class."""

    def __init__(self, classes=12):
        super().__init__()
        net = sensible(torchvision.models.mobilenet_v3_small(weights=None)).features
        self.low, self.high = net[:9], net[9:]
        self.classes = classes
        self.heads = nn.ModuleList(nn.Conv2d(c, 3 * (4 + classes), 3, padding=1) for c in (48, 576))
        for h in self.heads:
            nn.init.normal_(h.weight, 0, 0.02)
        for i, (cells, stride) in enumerate(((20, 16), (10, 32))):
            y, x, s = torch.meshgrid(torch.arange(float(cells)), torch.arange(float(cells)), torch.tensor([1.5, 3.0, 5.0]), indexing="ij")
            anchors = torch.stack([(x + 0.5) * stride, (y + 0.5) * stride, s * stride, s * stride], -1)
            self.register_buffer(f"anchors{i}", anchors.reshape(-1, 4).float())

    def forward(self, image):
        low = self.low(image)
        found = []
        for head, x in zip(self.heads, (low, self.high(low))):
            y = head(x).permute(0, 2, 3, 1)
            found.append(y.reshape(image.shape[0], -1, 4 + self.classes))
        y, anchors = torch.cat(found, 1), torch.cat([self.anchors0, self.anchors1])
        middle = anchors[:, :2] + y[..., :2].tanh() * anchors[:, 2:]
        half = anchors[:, 2:] * (y[..., 2:4].clamp(-2, 2)).exp() / 2
        boxes = torch.cat([middle - half, middle + half], -1).clamp(0, 320)
        score, label = y[..., 4:].sigmoid().max(-1)
        keep = score > 0.8
        picture = torch.arange(image.shape[0]).unsqueeze(1).expand_as(label)[keep]
        boxes, score, label = boxes[keep], score[keep], label[keep]
        group = picture * self.classes + label  # boxes of other groups never overlap: each lies in a place of its own
        kept = torchvision.ops.nms(boxes + group.unsqueeze(1) * 400.0, score, 0.5)
        return picture[kept], boxes[kept], score[kept], label[kept]


DETECTIONS = {"kind": "detections", "picture": 0, "boxes": 1, "scores": 2, "labels": 3}


def detector(dynamo):
    def maker(path):
        torch.manual_seed(6)
        export(Detector().eval(), (pictures(2, 5, 320),), path, dynamo, {"image": ["batch", 3, 320, 320]}, ["picture", "boxes", "scores", "labels"])
        return about(dynamo, compare=DETECTIONS, inputs={"image": {"dtype": "float32", "shape": ["batch", 3, 320, 320], "fill": "image"}})
    return maker


class SSD(nn.Module):
    """torchvision's SSDLite on the pictures of one tensor: the boxes of one picture."""

    def __init__(self):
        super().__init__()
        self.net = sensible_ssd()

    def forward(self, image):
        found = self.net(list(image.unbind(0)))[0]
        return found["boxes"], found["scores"], found["labels"]


def sensible_ssd():
    net = torchvision.models.detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=12, score_thresh=0.2)
    sensible(net.backbone)
    for name, p in net.head.named_parameters():
        if p.dim() == 4:
            nn.init.normal_(p, 0, 0.08)
    return net.eval()


def ssd(path):
    torch.manual_seed(8)
    export(SSD(), (pictures(1, 5, 320),), path, False, {"image": [1, 3, 320, 320]}, ["boxes", "scores", "labels"])
    return about(False, batches=[1], compare={"kind": "detections", "boxes": 0, "scores": 1, "labels": 2},
                 inputs={"image": {"dtype": "float32", "shape": [1, 3, 320, 320], "fill": "image"}})


TABLE = {
    "lstm-tagger": tagger(nn.LSTM, True), "gru-tagger": tagger(nn.GRU, True),
    "lstm-tagger-legacy": tagger(nn.LSTM, False), "gru-tagger-legacy": tagger(nn.GRU, False),
    "separator": separator(True), "separator-legacy": separator(False),
    "detector": detector(True), "detector-legacy": detector(False), "ssdlite-legacy": ssd,
}

if __name__ == "__main__":
    writing.run(TABLE)
