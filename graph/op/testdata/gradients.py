"""Writes gradients.json: values and gradients of PyTorch for TestGradientsEqualPyTorch.

Run with a Python that has torch: python3 graph/op/testdata/gradients.py
A case is one ONNX node, its inputs in order, the weights r of the loss sum(r*y), and
PyTorch's y and gradients of the loss by each input that has one.
"""

import json
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(7)
cases = []


def rand(*shape, scale=1.0):
    return torch.randn(*shape) * scale


def case(name, op, attrs, inputs, y, domain="", opset=24, outputs=1, index=0):
    """inputs are tensors or None; those that require a gradient get one."""
    r = torch.randn(y.shape)
    (r * y).sum().backward()
    listed = []
    for x in inputs:
        if x is None:
            listed.append(None)
            continue
        kind = {torch.float32: "float32", torch.int64: "int64", torch.int32: "int32", torch.bool: "bool"}[x.dtype]
        data = x.detach().to(torch.int64) if x.dtype == torch.bool else x.detach()
        entry = {"type": kind, "shape": list(x.shape), "data": numbers(data)}
        if x.requires_grad:
            entry["grad"] = numbers(x.grad)
        listed.append(entry)
    cases.append({"name": name, "domain": domain, "op": op, "opset": opset, "attrs": attrs, "inputs": listed,
                  "outputs": outputs, "index": index, "r": numbers(r), "y": numbers(y.detach())})


def numbers(x):
    if x.dtype.is_floating_point:
        return [float(f"{v:.9g}") for v in x.reshape(-1).tolist()]
    return x.reshape(-1).tolist()


def leaf(*shape, scale=1.0):
    return rand(*shape, scale=scale).requires_grad_()


def ints(*v):
    return torch.tensor(v, dtype=torch.int64)


def movements():
    for mode, torch_mode in [("constant", "constant"), ("reflect", "reflect"), ("edge", "replicate"), ("wrap", "circular")]:
        x = leaf(1, 2, 4, 5)
        case("Pad " + mode, "Pad", {"mode": mode}, [x, ints(0, 0, 1, 2, 0, 0, 2, 1)], F.pad(x, (2, 1, 1, 2), mode=torch_mode))
    x = leaf(3, 4)
    at = torch.tensor([[2, 0, 2], [1, 1, 0]])
    case("GatherElements", "GatherElements", {"axis": 1}, [x, at], torch.gather(x, 1, at))
    x = leaf(2, 3)
    case("Tile", "Tile", {}, [x, ints(2, 3)], x.repeat(2, 3))
    x = leaf(3, 4)
    case("CumSum", "CumSum", {}, [x, torch.tensor(1)], torch.cumsum(x, 1))
    x = leaf(3, 4)
    case("CumProd", "CumProd", {}, [x, torch.tensor(1)], torch.cumprod(x, 1), opset=26)
    for reduction, name in [("add", "sum"), ("max", "amax"), ("min", "amin")]:
        x, u = leaf(3, 4), leaf(3, 3)
        at = torch.tensor([[0, 1, 1], [2, 2, 2], [3, 0, 3]])
        case("ScatterElements " + reduction, "ScatterElements", {"axis": 1, "reduction": reduction}, [x, at, u],
             torch.scatter_reduce(x, 1, at, u, name))
    x, u = leaf(3, 4), leaf(3, 2)
    at = torch.tensor([[0, 1], [2, 3], [3, 0]])
    case("ScatterElements", "ScatterElements", {"axis": 1}, [x, at, u], torch.scatter(x, 1, at, u))
    x = leaf(3, 5)
    case("TopK", "TopK", {"axis": 1}, [x, ints(2)], torch.topk(x, 2, 1).values, outputs=2)
    for equation, shapes in [("ij,jk->ik", [(2, 3), (3, 4)]), ("bhid,bhjd->bhij", [(1, 2, 3, 4), (1, 2, 2, 4)]), ("ij,j,k->ki", [(2, 3), (3,), (2,)])]:
        xs = [leaf(*s) for s in shapes]
        case("Einsum " + equation, "Einsum", {"equation": equation}, xs, torch.einsum(equation, *xs))


def images():
    for mode, torch_mode in [("nearest", "nearest"), ("linear", "bilinear"), ("cubic", "bicubic")]:
        for size in [(7, 9), (3, 2)]:
            x = leaf(1, 2, 4, 5)
            attrs = {"mode": mode, "coordinate_transformation_mode": "half_pixel"}
            more = {} if mode == "nearest" else {"align_corners": False}
            if mode == "nearest":
                attrs.update(coordinate_transformation_mode="asymmetric", nearest_mode="floor")
            case(f"Resize {mode} {size}", "Resize", attrs, [x, None, None, ints(1, 2, *size)], F.interpolate(x, size=size, mode=torch_mode, **more))
    x = leaf(1, 2, 4, 5)
    case("Resize align", "Resize", {"mode": "linear", "coordinate_transformation_mode": "align_corners"}, [x, None, None, ints(1, 2, 7, 3)],
         F.interpolate(x, size=(7, 3), mode="bilinear", align_corners=True))
    for mode, torch_mode in [("linear", "bilinear"), ("cubic", "bicubic"), ("nearest", "nearest")]:
        for padding in ["zeros", "border", "reflection"]:
            for align in [False, True]:
                if (mode, padding) == ("cubic", "border"):
                    continue  # ONNX moves the point to the border, PyTorch only what it reads
                x, grid = leaf(2, 2, 5, 6), (torch.rand(2, 3, 4, 2) * 2.8 - 1.4).requires_grad_()
                case(f"GridSample {mode} {padding} {align}", "GridSample", {"mode": mode, "padding_mode": padding, "align_corners": int(align)}, [x, grid],
                     F.grid_sample(x, grid, mode=torch_mode, padding_mode=padding, align_corners=align))
    theta = leaf(2, 2, 3)
    case("AffineGrid", "AffineGrid", {}, [theta, ints(2, 1, 3, 4)], F.affine_grid(theta, [2, 1, 3, 4], align_corners=False))
    x = leaf(1, 8, 9)
    case("Col2Im", "Col2Im", {}, [x, ints(4, 4), ints(2, 2)], F.fold(x, (4, 4), (2, 2)))
    x, w, b = leaf(2, 4, 5, 4), leaf(4, 3, 3, 2), leaf(6)
    case("ConvTranspose", "ConvTranspose", {"strides": [2, 1], "pads": [1, 0, 1, 0], "output_padding": [1, 0], "group": 2}, [x, w, b],
         F.conv_transpose2d(x, w, b, stride=(2, 1), padding=(1, 0), output_padding=(1, 0), groups=2))


def layers():
    x, s, b = leaf(2, 4, 3, 3), leaf(4), leaf(4)
    case("GroupNormalization", "GroupNormalization", {"num_groups": 2}, [x, s, b], F.group_norm(x, 2, s, b))
    x, s, b = leaf(2, 3, 5), leaf(3), leaf(3)
    case("InstanceNormalization", "InstanceNormalization", {}, [x, s, b], F.instance_norm(x, weight=s, bias=b))
    x = leaf(1, 6, 3, 3)
    case("LRN", "LRN", {"size": 3, "alpha": 0.5, "beta": 0.7, "bias": 1.5}, [x], F.local_response_norm(x, 3, 0.5, 0.7, 1.5))
    x, s, b, m = leaf(2, 3, 4), leaf(3), leaf(3), rand(3)
    v = torch.rand(3) + 0.5
    case("BatchNormalization", "BatchNormalization", {}, [x, s, b, m, v], F.batch_norm(x, m, v, s, b))
    for reduction in ["mean", "sum", "none"]:
        for weighted in [False, True]:
            w = torch.rand(5) + 0.2 if weighted else None
            labels = torch.randint(0, 5, (3, 2))
            labels[0, 0] = 2
            x = leaf(3, 5, 2)
            case(f"CrossEntropy {reduction} {weighted}", "SoftmaxCrossEntropyLoss", {"reduction": reduction, "ignore_index": 2}, [x, labels, w],
                 F.cross_entropy(x, labels, w, ignore_index=2, reduction=reduction))
            x = leaf(3, 5, 2)
            case(f"NLL {reduction} {weighted}", "NegativeLogLikelihoodLoss", {"reduction": reduction}, [x, labels, w], F.nll_loss(x, labels, w, reduction=reduction))
    for causal in [False, True]:
        q, k, v = leaf(2, 3, 4, 8), leaf(2, 3, 4, 8), leaf(2, 3, 4, 6)
        case(f"Attention {causal}", "Attention", {"is_causal": int(causal)}, [q, k, v], F.scaled_dot_product_attention(q, k, v, is_causal=causal))
    q, k, v, m = leaf(1, 2, 4, 8), leaf(1, 2, 5, 8), leaf(1, 2, 5, 8), leaf(4, 5)
    case("Attention with a trained mask", "Attention", {}, [q, k, v, m], F.scaled_dot_product_attention(q, k, v, attn_mask=m))
    q, k, v, pk, pv = leaf(1, 2, 2, 8), leaf(1, 2, 2, 8), leaf(1, 2, 2, 8), leaf(1, 2, 3, 8), leaf(1, 2, 3, 8)
    mask = torch.ones(2, 5).tril(3).bool()
    case("Attention over past keys", "Attention", {"is_causal": 1}, [q, k, v, None, pk, pv],
         F.scaled_dot_product_attention(q, torch.cat([pk, k], 2), torch.cat([pv, v], 2), attn_mask=mask))
    q, k, v = leaf(2, 4, 6), leaf(2, 4, 6), leaf(2, 4, 6)
    heads = lambda x: x.reshape(2, 4, 2, 3).transpose(1, 2)
    y = F.scaled_dot_product_attention(heads(q), heads(k), heads(v)).transpose(1, 2).reshape(2, 4, 6)
    case("MultiHeadAttention", "MultiHeadAttention", {"num_heads": 2}, [q, k, v], y, domain="com.microsoft", opset=1)


def bilinear(x, y0, x0):
    """x [c, h, w] between its elements at y0, x0 [...]; 0 outside."""
    c, h, w = x.shape
    total = 0
    for dy in (0, 1):
        for dx in (0, 1):
            yi, xi = y0.floor() + dy, x0.floor() + dx
            weight = (1 - (y0 - yi).abs()) * (1 - (x0 - xi).abs())
            inside = (yi >= 0) & (yi < h) & (xi >= 0) & (xi < w)
            at = yi.clamp(0, h - 1).long() * w + xi.clamp(0, w - 1).long()
            total = total + x.reshape(c, -1)[:, at] * (weight * inside)
    return total


def rare():
    x = leaf(2, 3, 3)
    case("Det", "Det", {}, [x], torch.linalg.det(x))
    x, u = leaf(3, 4), leaf(3, 3)
    at = torch.tensor([[0, 1, 1], [2, 2, 2], [3, 0, 3]])
    case("ScatterElements mul", "ScatterElements", {"axis": 1, "reduction": "mul"}, [x, at, u], torch.scatter_reduce(x, 1, at, u, "prod"))
    x, u = leaf(3, 4), (torch.tensor([[0.0, 1, 1], [0, 0, 1], [1, 1, 1]]) * rand(3, 3)).requires_grad_()
    case("ScatterElements mul with zeros", "ScatterElements", {"axis": 1, "reduction": "mul"}, [x, at, u], torch.scatter_reduce(x, 1, at, u, "prod"))
    parts = lambda z: torch.view_as_real(z)
    x = leaf(2, 5, 1)
    case("DFT of real numbers", "DFT", {"onesided": 1}, [x], parts(torch.fft.rfft(x[..., 0])))
    x = leaf(2, 4, 2)
    case("DFT filled up", "DFT", {}, [x, torch.tensor(6)], parts(torch.fft.fft(torch.view_as_complex(x), 6)))
    x = leaf(2, 4, 2)
    case("DFT inverse", "DFT", {"inverse": 1}, [x], parts(torch.fft.ifft(torch.view_as_complex(x))))
    for n in (6, 5):
        x = leaf(2, 4, 2)
        case(f"DFT inverse of half a spectrum, {n}", "DFT", {"inverse": 1, "onesided": 1}, [x, torch.tensor(n)],
             torch.fft.irfft(torch.view_as_complex(x), n)[..., None])
    x, w = leaf(2, 9), leaf(4)
    y = torch.stft(x, 4, 2, window=w, center=False, return_complex=True)
    case("STFT", "STFT", {}, [x, torch.tensor(2), w], parts(y).transpose(1, 2))
    x, w, o, m = leaf(1, 2, 4, 5), leaf(3, 2, 2, 2), leaf(1, 8, 3, 4, scale=0.7), leaf(1, 4, 3, 4)
    b, gy, gx = leaf(3), *torch.meshgrid(torch.arange(3.0), torch.arange(4.0), indexing="ij")
    y = b[:, None, None]
    for k in range(4):
        read = bilinear(x[0], gy + k // 2 + o[0, 2 * k], gx + k % 2 + o[0, 2 * k + 1])
        y = y + torch.einsum("oc,chw->ohw", w[:, :, k // 2, k % 2], read * m[0, k])
    case("DeformConv", "DeformConv", {}, [x, w, o, b, m], y[None])
    x, w, b, s = leaf(2, 3, 5), leaf(3, 1, 3), leaf(3), leaf(2, 3, 2)
    y = F.silu(F.conv1d(torch.cat([s, x], 2), w, b, groups=3))
    case("CausalConvWithState", "CausalConvWithState", {"activation": "silu"}, [x, w, b, s], y, opset=27, outputs=2)
    q, k, v = leaf(1, 3, 4), leaf(1, 3, 4), leaf(1, 3, 4)
    s, decay, beta = leaf(1, 2, 2, 2), leaf(1, 3, 2, scale=0.3), leaf(1, 3, 2)
    state, results = s, []
    for t in range(3):
        kt, vt, qt = (z[:, t].reshape(1, 2, 2) for z in (k, v, q))
        state = state * decay[:, t].exp()[..., None, None]
        missing = beta[:, t][..., None] * (vt - torch.einsum("bhk,bhkv->bhv", kt, state))
        state = state + kt[..., None] * missing[..., None, :]
        results.append(torch.einsum("bhk,bhkv->bhv", qt, state).reshape(1, 1, 4) / 2**0.5)
    case("LinearAttention", "LinearAttention", {"q_num_heads": 2, "kv_num_heads": 2}, [q, k, v, s, decay, beta], torch.cat(results, 1), opset=27, outputs=2)
    q, k, v = leaf(2, 2, 3, 4), leaf(2, 2, 5, 4), leaf(2, 2, 5, 4)
    lengths = torch.tensor([3, 5])
    seen = torch.arange(5)[None, None, None] < lengths[:, None, None, None]
    seen = seen & (torch.arange(5)[None, :] <= torch.arange(3)[:, None] + lengths[:, None, None, None] - 3)
    case("Attention with lengths", "Attention", {"is_causal": 1}, [q, k, v, None, None, None, lengths], F.scaled_dot_product_attention(q, k, v, attn_mask=seen))


def main():
    movements()
    images()
    layers()
    rare()
    path = pathlib.Path(__file__).with_name("gradients.json")
    with open(path, "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n")
    print(len(cases), "cases with torch", torch.__version__)


main()
