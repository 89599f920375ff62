"""Writes ctc.json: losses and gradients of torch.nn.functional.ctc_loss for TestCTC.

Run with a Python that has torch: python3 nn/testdata/ctc.py
"""

import json
import pathlib

import torch

torch.manual_seed(3)
cases = []


def case(name, shape, labels, steps, letters, blank=0):
    x = torch.randn(shape, requires_grad=True)
    labels = torch.tensor(labels)
    loss = torch.nn.functional.ctc_loss(x.log_softmax(-1), labels, torch.tensor(steps), torch.tensor(letters), blank=blank)
    loss.backward()
    numbers = lambda v: [float(f"{n:.9g}") for n in v.reshape(-1).tolist()]
    cases.append({"name": name, "blank": blank, "shape": list(shape), "scores": numbers(x.detach()), "labels": labels.reshape(-1).tolist(),
                  "steps": steps, "letters": letters, "loss": float(f"{loss.item():.9g}"), "grad": numbers(x.grad)})


case("plain", (6, 2, 4), [[1, 2, 3], [3, 1, 2]], [6, 6], [3, 3])
case("repeated letters", (8, 2, 3), [[1, 1, 2], [2, 2, 2]], [8, 8], [3, 3])
case("lengths", (9, 3, 5), [[1, 2, 3, 4], [4, 4, 1, 1], [2, 1, 1, 1]], [9, 5, 3], [4, 2, 1])
case("an empty text", (5, 2, 4), [[1, 2], [1, 1]], [5, 4], [2, 0])
case("last class as blank", (7, 2, 4), [[0, 1, 2], [2, 2, 0]], [7, 6], [3, 3], blank=3)
case("long", (60, 2, 12), [list(range(1, 11)) * 2, list(range(10, 0, -1)) * 2], [60, 45], [20, 17])
path = pathlib.Path(__file__).with_name("ctc.json")
path.write_text("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n")
print(len(cases), "cases with torch", torch.__version__)
