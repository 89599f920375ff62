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
        kind = {torch.float32: "float32", torch.int64: "int64", torch.int32: "int32", torch.uint8: "uint8", torch.bool: "bool"}[x.dtype]
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


def int32(v):
    return torch.tensor(v, dtype=torch.int32)


def floats(*v):
    """An attribute of floats, which JSON would not tell from one of integers."""
    return {"floats": list(v)}


def real(v):
    """An attribute of one float that may be whole."""
    return {"float": v}


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


def microsoft():
    ms = lambda name, op, attrs, inputs, y, **more: case(name, op, attrs, inputs, y, domain="com.microsoft", opset=1, **more)
    a, b = leaf(2, 4, 3), leaf(4, 5)
    ms("FusedMatMul", "FusedMatMul", {"transA": 1, "alpha": 0.5}, [a, b], 0.5 * a.mT @ b)
    a, b = leaf(3, 2, 4), leaf(2, 5, 4)
    ms("FusedMatMul of stacks behind rows", "FusedMatMul", {"transBatchA": 1, "transB": 1}, [a, b], a.transpose(0, 1) @ b.mT)
    a, b = leaf(2, 3, 4), leaf(5, 4)
    ms("TransposeMatMul", "TransposeMatMul", {"transB": 1, "alpha": 0.25}, [a, b], 0.25 * a @ b.mT)
    a, b, c = leaf(2, 3), leaf(4, 3), leaf(4)
    ms("FusedGemm", "FusedGemm", {"activation": "Tanh", "transB": 1}, [a, b, c], torch.tanh(a @ b.mT + c))
    x, w, b, z = leaf(1, 2, 3, 3), leaf(2, 2, 3, 3), leaf(2), leaf(1, 2, 3, 3)
    ms("FusedConv", "FusedConv", {"activation": "LeakyRelu", "activation_params": floats(0.2), "pads": [1, 1, 1, 1]}, [x, w, b, z],
       F.leaky_relu(F.conv2d(x, w, b, padding=1) + z, 0.2))
    x, b = leaf(2, 5), leaf(5)
    ms("BiasGelu", "BiasGelu", {}, [x, b], F.gelu(x + b))
    x, b = leaf(2, 5), leaf(5)
    ms("FastGelu", "FastGelu", {}, [x, b], F.gelu(x + b, approximate="tanh"))
    x = leaf(2, 5)
    ms("QuickGelu", "QuickGelu", {"alpha": 1.5}, [x], x * torch.sigmoid(1.5 * x))
    x = leaf(2, 5)
    ms("Gelu", "Gelu", {}, [x], F.gelu(x))
    x, gain = leaf(2, 3, 8), leaf(8)
    ms("SimplifiedLayerNormalization", "SimplifiedLayerNormalization", {"epsilon": 0.01}, [x, gain], F.rms_norm(x, (8,), gain, 0.01))
    x, skip, gain, beta, b = leaf(2, 3, 8), leaf(2, 3, 8), leaf(8), leaf(8), leaf(8)
    ms("SkipLayerNormalization", "SkipLayerNormalization", {"epsilon": 0.01}, [x, skip, gain, beta, b], F.layer_norm(x + skip + b, (8,), gain, beta, 0.01))
    x, skip, gain, b = leaf(2, 3, 8), leaf(2, 3, 8), leaf(8), leaf(8)
    ms("SkipSimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization", {"epsilon": 0.01}, [x, skip, gain, b], F.rms_norm(x + skip + b, (8,), gain, 0.01))
    words, places, kinds, gain, beta = leaf(5, 8), leaf(4, 8), leaf(2, 8), leaf(8), leaf(8)
    ids, segments = int32([[1, 4, 0], [2, 2, 3]]), int32([[0, 1, 1], [0, 0, 1]])
    ms("EmbedLayerNormalization", "EmbedLayerNormalization", {"epsilon": 0.01}, [ids, segments, words, places, kinds, gain, beta],
       F.layer_norm(words[ids] + places[:3] + kinds[segments], (8,), gain, beta, 0.01), outputs=2)
    x = leaf(2, 3, 3)
    ms("Inverse", "Inverse", {}, [x], torch.linalg.inv(x))
    for metric, power in [("sqeuclidean", 2), ("euclidean", 1)]:
        a, b = leaf(3, 4), leaf(2, 4)
        ms("CDist " + metric, "CDist", {"metric": metric}, [a, b], torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist") ** power)


def turned(x, cos, sin, interleaved=False):
    """x [..., rows, size], cos and sin [rows, size/2] or such that they broadcast."""
    a, b = (x[..., 0::2], x[..., 1::2]) if interleaved else x.chunk(2, -1)
    pair = a * cos - b * sin, a * sin + b * cos
    return torch.stack(pair, -1).flatten(-2) if interleaved else torch.cat(pair, -1)


def softmax_with(scores, sink):
    """sink [heads] is a score of each head that no value belongs to; None: none."""
    if sink is None:
        return scores.softmax(-1)
    column = sink[None, :, None, None].expand(*scores.shape[:3], 1)
    return torch.cat([scores, column], -1).softmax(-1)[..., :-1]


def heads(x, n):
    return x.reshape(*x.shape[:2], n, -1).transpose(1, 2)


def rows(x):
    return x.transpose(1, 2).flatten(2)


def microsoft_attention():
    ms = lambda name, op, attrs, inputs, y, **more: case(name, op, attrs, inputs, y, domain="com.microsoft", opset=1, **more)
    for interleaved in [0, 1]:
        x, cos, sin, at = leaf(2, 2, 3, 4), leaf(5, 2), leaf(5, 2), torch.tensor([[0, 1, 2], [4, 3, 1]])
        ms(f"RotaryEmbedding {interleaved}", "RotaryEmbedding", {"interleaved": interleaved}, [x, at, cos, sin],
           turned(x, cos[at][:, None], sin[at][:, None], interleaved == 1))
    q, k, v, b = leaf(2, 3, 8), leaf(2, 4, 8), leaf(2, 4, 6), leaf(22)
    mask = int32([[1, 1, 1, 0], [1, 1, 0, 0]])
    hidden = torch.where(mask > 0, 0.0, -10000.0)[:, None, None]
    y = F.scaled_dot_product_attention(heads(q + b[:8], 2), heads(k + b[8:16], 2), heads(v + b[16:], 2), attn_mask=hidden, scale=0.3)
    ms("MultiHeadAttention with a bias and a mask", "MultiHeadAttention", {"num_heads": 2, "scale": 0.3}, [q, k, v, b, mask], rows(y))
    q, k, v, added = leaf(2, 3, 8), leaf(2, 3, 8), leaf(2, 3, 8), leaf(1, 2, 3, 5)
    pk, pv = leaf(2, 2, 2, 4), leaf(2, 2, 2, 4)
    y = F.scaled_dot_product_attention(heads(q, 2), torch.cat([pk, heads(k, 2)], 2), torch.cat([pv, heads(v, 2)], 2), attn_mask=added)
    ms("MultiHeadAttention over past keys", "MultiHeadAttention", {"num_heads": 2}, [q, k, v, None, None, added, pk, pv], rows(y))
    x, w, b = leaf(2, 4, 6), leaf(6, 22), leaf(22)
    q, k, v = (x @ w + b).split([8, 8, 6], 2)
    ms("com.microsoft Attention", "Attention", {"num_heads": 2, "unidirectional": 1, "qkv_hidden_sizes": [8, 8, 6]}, [x, w, b],
       rows(F.scaled_dot_product_attention(heads(q, 2), heads(k, 2), heads(v, 2), is_causal=True)))
    for sink in [None, leaf(4)]:
        q, k, v, pk, pv = leaf(2, 2, 16), leaf(2, 2, 8), leaf(2, 2, 8), leaf(2, 2, 3, 4), leaf(2, 2, 3, 4)
        cos, sin = leaf(6, 2), leaf(6, 2)
        keys = torch.cat([pk, turned(heads(k, 2), cos[3:5], sin[3:5])], 2).repeat_interleave(2, 1)
        values = torch.cat([pv, heads(v, 2)], 2).repeat_interleave(2, 1)
        scores = turned(heads(q, 4), cos[3:5], sin[3:5]) @ keys.mT / 2
        at = torch.arange(5)[None] - torch.arange(3, 5)[:, None]
        scores = 1.5 * torch.tanh(scores / 1.5) + torch.where((at <= 0) & (at > -3), 0.0, -1e30)
        ms(f"GroupQueryAttention {'without' if sink is None else 'with'} a sink", "GroupQueryAttention",
           {"num_heads": 4, "kv_num_heads": 2, "do_rotary": 1, "softcap": 1.5, "local_window_size": 3},
           [q, k, v, pk, pv, int32([4, 4]), int32([5]), cos, sin, None, None, sink], rows(softmax_with(scores, sink) @ values), outputs=3)
    paged(ms)


def paged(ms):
    # Sequences of 3 and 1 tokens over caches of 5 blocks of 2 positions, of which they have 0 and 3.
    q, k, v, kc, vc = leaf(4, 8), leaf(4, 4), leaf(4, 4), leaf(5, 2, 1, 4), leaf(5, 2, 1, 4)
    sink, gq, gk, cos, sin = leaf(2), leaf(4), leaf(4), leaf(5, 2), leaf(5, 2)
    table, position = [[3, 1], [0, 4]], torch.tensor([0, 1, 2, 3])
    of = [0, 0, 0, 1]
    turn = lambda x, gain: turned(F.rms_norm(x.reshape(4, -1, 4), (4,), gain, 0.01), cos[position][:, None], sin[position][:, None])
    queries, fresh = turn(q, gq), turn(k, gk)
    slots = torch.tensor([table[s][p // 2] * 2 + p % 2 for s, p in zip(of, position.tolist())])
    keys = kc.reshape(10, 4).index_put((slots,), fresh[:, 0])
    values = vc.reshape(10, 4).index_put((slots,), v)
    y = []
    for t, (s, p) in enumerate(zip(of, position.tolist())):
        seen = torch.tensor([table[s][j // 2] * 2 + j % 2 for j in range(p + 1)])
        weights = softmax_with((queries[t] @ keys[seen].mT / 2)[None, :, None], sink)[0, :, 0]
        y.append((weights @ values[seen]).flatten())
    ms("PagedAttention", "PagedAttention", {"num_heads": 2, "kv_num_heads": 1, "do_rotary": 1, "qk_norm_epsilon": 0.01},
       [q, k, v, kc, vc, int32([0, 3, 4]), int32([0, 3]), int32(table), cos, sin, None, sink, gq, gk], torch.stack(y), outputs=3)


def mixture(x, router, k, normalized, first, second, activate):
    """x [rows, hidden]; first and second are pairs of weights [experts, out, in] and biases."""
    top = router.topk(k, -1)
    share = top.values.softmax(-1) if normalized else router.softmax(-1).gather(-1, top.indices)
    y = torch.zeros_like(x)
    for e in range(router.shape[1]):
        h = activate(x @ first[0][e].mT + first[1][e]) @ second[0][e].mT + second[1][e]
        y = y + (share * (top.indices == e)).sum(-1, keepdim=True) * h
    return y


def swiglu(x):
    gate, value = x[..., 0::2].clamp(max=2.5), x[..., 1::2].clamp(-2.5, 2.5)
    return gate * torch.sigmoid(1.7 * gate) * (value + 1)


def nibbles(codes):
    """The low bits of each byte, then the high ones, along the last axis."""
    return torch.stack([codes & 15, codes >> 4], -1).flatten(-2).float()


def some_bytes(*shape):
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def coded():
    ms = lambda name, op, attrs, inputs, y, **more: case(name, op, attrs, inputs, y, domain="com.microsoft", opset=1, **more)
    x, router = leaf(4, 6), leaf(4, 3)
    w1, b1, w2, b2 = leaf(3, 5, 6), leaf(3, 5), leaf(3, 6, 5), leaf(3, 6)
    ms("MoE", "MoE", {"k": 2, "activation_type": "silu"}, [x, router, w1, b1, w2, b2], mixture(x, router, 2, False, (w1, b1), (w2, b2), F.silu))
    x, router = leaf(4, 6), leaf(4, 3)
    w1, b1, w2, b2 = leaf(3, 10, 6), leaf(3, 10), leaf(3, 6, 5), leaf(3, 6)
    gated = {"activation_type": "swiglu", "swiglu_fusion": 1, "activation_alpha": 1.7, "activation_beta": real(1), "swiglu_limit": 2.5, "normalize_routing_weights": 1, "k": 2}
    ms("MoE of gated experts", "MoE", gated, [x, router, w1, b1, w2, b2], mixture(x, router, 2, True, (w1, b1), (w2, b2), swiglu))
    x, router = leaf(4, 8), leaf(4, 3)
    c1, s1, b1, c2, s2, b2 = some_bytes(3, 6, 4), leaf(3, 6, scale=0.1), leaf(3, 6), some_bytes(3, 8, 3), leaf(3, 8, scale=0.1), leaf(3, 8)
    w1, w2 = (nibbles(c1) - 8) * s1[..., None], (nibbles(c2) - 8) * s2[..., None]
    ms("QMoE", "QMoE", {"k": 2, "activation_type": "silu"}, [x, router, c1, s1, b1, c2, s2, b2], mixture(x, router, 2, False, (w1, b1), (w2, b2), F.silu))
    x, codes, scales, zeros, b = leaf(2, 24), some_bytes(3, 2, 8), leaf(6, scale=0.1), leaf(6, scale=5), leaf(3)
    per = lambda v: v.reshape(3, 2).repeat_interleave(16, 1)[:, :24]
    w = (nibbles(codes.reshape(3, 16))[:, :24] - per(zeros)) * per(scales)
    ms("MatMulNBits", "MatMulNBits", {"K": 24, "N": 3, "bits": 4, "block_size": 16}, [x, codes, scales, zeros, None, b], x @ w.mT + b)
    x, codes, scales = leaf(2, 24), some_bytes(36), leaf(5)
    levels = torch.tensor([0, 1 / 192, 2 / 3, 1, 1 / 3, 1 / 2, 1 / 6, 1 / 4])
    order = torch.stack([codes >> 4, codes & 15], -1).flatten().long()
    w = torch.cat([levels, -levels])[order] * scales.repeat_interleave(16)[:72]
    ms("MatMulBnb4", "MatMulBnb4", {"K": 24, "N": 3, "block_size": 16, "quant_type": 0}, [x, codes, scales], x @ w.reshape(3, 24).mT)
    codes, scales, at = some_bytes(5, 16), leaf(5, 2), torch.tensor([[3, 0], [4, 3]])
    ms("GatherBlockQuantized", "GatherBlockQuantized", {"block_size": 16}, [codes, at, scales], ((nibbles(codes) - 8) * scales.repeat_interleave(16, 1))[at])
    a, b = some_bytes(2, 3), some_bytes(3, 4)
    sa, sb, za, zb, add = leaf(2, scale=0.01), leaf(4), some_bytes(2), some_bytes(4), leaf(4)
    exact = (a.int() - za.int()[:, None]) @ (b.int() - zb.int())
    ms("MatMulIntegerToFloat", "MatMulIntegerToFloat", {}, [a, b, sa, sb, za, zb, add], exact * sa[:, None] * sb + add)
    codes, scales, zeros = some_bytes(2, 3, 4), leaf(3, scale=0.05), some_bytes(3)
    column = lambda v: v[:, None].float()
    case("DequantizeLinear", "DequantizeLinear", {}, [codes, scales, zeros], (codes.float() - column(zeros)) * scales[:, None], opset=21)


def classical():
    ml = lambda name, op, attrs, inputs, y: case(name, op, attrs, inputs, y, domain="ai.onnx.ml", opset=3)
    x = leaf(3, 4)
    ml("Scaler", "Scaler", {"offset": floats(0.3, -1, 2, 0.5), "scale": floats(2)}, [x], (x - torch.tensor([0.3, -1, 2, 0.5])) * 2)
    for norm, of in [("MAX", lambda x: x.amax(1, keepdim=True)), ("L1", lambda x: x.abs().sum(1, keepdim=True)), ("L2", lambda x: x.norm(dim=1, keepdim=True))]:
        x = leaf(3, 4)
        ml("Normalizer " + norm, "Normalizer", {"norm": norm}, [x], x / of(x))
    w, b = rand(3, 4), rand(3)
    coefficients = {"coefficients": floats(*w.flatten().tolist()), "intercepts": floats(*b.tolist()), "targets": 3}
    for post, of in [("NONE", lambda s: s), ("LOGISTIC", torch.sigmoid), ("SOFTMAX", lambda s: s.softmax(1))]:
        x = leaf(2, 4)
        ml("LinearRegressor " + post, "LinearRegressor", coefficients | {"post_transform": post}, [x], of(x @ w.mT + b))
    vectors, weights = rand(5, 4), rand(5)
    given = {"support_vectors": floats(*vectors.flatten().tolist()), "coefficients": floats(*weights.tolist()), "n_supports": 5, "rho": floats(0.4),
             "kernel_params": floats(0.3, 1.1, 2)}
    squares = lambda x: ((x[:, None] - vectors) ** 2).sum(2)
    for kind, of in [("LINEAR", lambda x: x @ vectors.mT), ("POLY", lambda x: (0.3 * x @ vectors.mT + 1.1) ** 2),
                     ("RBF", lambda x: torch.exp(-0.3 * squares(x))), ("SIGMOID", lambda x: torch.tanh(0.3 * x @ vectors.mT + 1.1))]:
        x = leaf(2, 4)
        ml("SVMRegressor " + kind, "SVMRegressor", given | {"kernel_type": kind}, [x], of(x) @ weights[:, None] + 0.4)


def main():
    movements()
    images()
    layers()
    rare()
    microsoft()
    microsoft_attention()
    coded()
    classical()
    path = pathlib.Path(__file__).with_name("gradients.json")
    with open(path, "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n")
    print(len(cases), "cases with torch", torch.__version__)


main()
