"""Makes a small model of each architecture with transformers, and what it answers.

    llm_make.py OUT            Hugging Face folders OUT/ARCH, with expected.json
    llm_make.py --record DIR   only expected.json of each, as DIR/ARCH.json: test data

Weights are a formula of a tensor's name and an element's index, so that the tests in Go
make the same ones and need no files but the expected logits.
"""

import argparse
import json
import pathlib

import numpy as np
import torch
import transformers

VOCAB, WIDTH, CONTEXT = 96, 64, 128


def splitmix(x):
    """The 64-bit mixer of Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def fnv(name):
    h = 0xCBF29CE484222325
    for c in name.encode():
        h = (h ^ c) * 0x100000001B3 % 2**64
    return h


def weights(name, shape, offset):
    """Uniform: ±√(3/inputs) for matrices, ±0.2 around 1 (or 0) for norms, ±0.2 for biases."""
    n = int(np.prod(shape))
    with np.errstate(over="ignore"):
        bits = splitmix(np.uint64(fnv(name)) + np.arange(n, dtype=np.uint64))
    u = (bits >> np.uint64(40)).astype(np.float32) * np.float32(2**-23) - np.float32(1)
    if len(shape) > 1:
        u = u * np.float32(np.sqrt(3 / shape[-1]))
    else:
        u = u * np.float32(0.2)
        if not offset and not name.endswith("bias"):
            u = u + np.float32(1)
    return u.reshape(shape)


def architectures():
    t = transformers
    base = dict(vocab_size=VOCAB, hidden_size=WIDTH, intermediate_size=112, num_hidden_layers=3, num_attention_heads=4,
                num_key_value_heads=2, max_position_embeddings=CONTEXT, rms_norm_eps=1e-5, tie_word_embeddings=False,
                pad_token_id=0, bos_token_id=1, eos_token_id=2)
    llama3 = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                  original_max_position_embeddings=64)
    plain = lambda theta: dict(rope_type="default", rope_theta=theta)
    long = dict(rope_type="longrope", rope_theta=10000.0, short_factor=[1.0 + 0.1 * i for i in range(8)],
                long_factor=[1.0 + i for i in range(8)], original_max_position_embeddings=64)
    # Wide bounds, so that some of eight pairs stay, some are slowed, and some lie between.
    yarn = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=32, beta_fast=4.0, beta_slow=0.25)
    temperate = dict(rope_type="yarn", rope_theta=10000.0, factor=2.0, original_max_position_embeddings=64, beta_fast=32.0, beta_slow=1.0,
                     mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.1)
    tied = dict(base, tie_word_embeddings=True)
    gemma3 = dict(tied, num_hidden_layers=7, head_dim=32, sliding_window=8, query_pre_attn_scalar=32,
                  rope_parameters=dict(full_attention=plain(1e6), sliding_attention=plain(1e4)))
    gemma4 = dict(tied, num_hidden_layers=12, head_dim=16, global_head_dim=32, sliding_window=8, num_kv_shared_layers=6,
                  hidden_size_per_layer_input=16, vocab_size_per_layer_input=VOCAB, use_double_wide_mlp=True,
                  final_logit_softcapping=30.0,
                  rope_parameters=dict(full_attention=dict(rope_type="proportional", partial_rotary_factor=0.25, rope_theta=1e6),
                                       sliding_attention=plain(1e4)))
    wide = dict(tied, num_hidden_layers=6, head_dim=16, global_head_dim=32, num_global_key_value_heads=1, attention_k_eq_v=True,
                sliding_window=8, hidden_size_per_layer_input=0, rope_parameters=gemma4["rope_parameters"])
    return {
        "llama2": t.LlamaConfig(**base),
        "llama3": t.LlamaConfig(**dict(tied, rope_parameters=llama3)),
        "llama-bias": t.LlamaConfig(**dict(base, attention_bias=True, mlp_bias=True, head_dim=24)),
        "llama-yarn": t.LlamaConfig(**dict(base, rope_parameters=dict(yarn, attention_factor=1.25))),
        "ministral3": t.Ministral3Config(**dict(base, head_dim=16, rope_parameters=temperate)),
        "mistral": t.MistralConfig(**dict(base, sliding_window=8)),
        "qwen2": t.Qwen2Config(**dict(tied, rope_parameters=plain(1e6))),
        "qwen2-yarn": t.Qwen2Config(**dict(base, rope_parameters=dict(yarn, beta_fast=32.0, beta_slow=1.0))),
        "qwen3-yarn": t.Qwen3Config(**dict(tied, head_dim=32, rope_parameters=dict(yarn, beta_fast=32.0, beta_slow=1.0, truncate=False))),
        "qwen3": t.Qwen3Config(**dict(tied, head_dim=32, rope_parameters=plain(1e6))),
        "smollm3": t.SmolLM3Config(**dict(tied, num_hidden_layers=5, rope_parameters=plain(2e6))),
        "phi3": t.Phi3Config(**dict(base, sliding_window=8)),
        "phi3-long": t.Phi3Config(**dict(base, original_max_position_embeddings=64, rope_parameters=long)),
        "gpt2": t.GPT2Config(vocab_size=VOCAB, n_embd=WIDTH, n_layer=3, n_head=4, n_positions=CONTEXT, n_ctx=CONTEXT,
                             bos_token_id=1, eos_token_id=2),
        "gemma3": t.Gemma3TextConfig(**gemma3),
        "gemma3-scale": t.Gemma3TextConfig(**dict(gemma3, query_pre_attn_scalar=24)),
        "gemma4": t.Gemma4TextConfig(**gemma4),
        "gemma4-wide": t.Gemma4TextConfig(**wide),
    }


def make(config):
    torch.manual_seed(0)
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    tied = config.tie_word_embeddings
    shapes = {}
    for name, p in list(model.named_parameters()) + list(model.named_buffers()):
        if name.startswith("lm_head") and tied or not p.is_floating_point():
            continue
        if name not in model.state_dict():
            continue
        shapes[name] = list(p.shape)
        p.data.copy_(torch.from_numpy(weights(name, p.shape, config.model_type.startswith("gemma3"))))
    return model, shapes


def expected(model):
    tokens = [1] + [int(x) for x in splitmix(np.arange(39, dtype=np.uint64)) % np.uint64(VOCAB)]
    with torch.no_grad():
        logits = model(torch.tensor([tokens])).logits[0].double().numpy()
    return tokens, logits


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--record", action="store_true")
    p.add_argument("--only", nargs="*")
    args = p.parse_args()
    for name, config in architectures().items():
        if args.only and name not in args.only:
            continue
        model, shapes = make(config)
        tokens, logits = expected(model)
        record = dict(
            made_by=f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}",
            config=json.loads(config.to_json_string()), tensors=shapes, tokens=tokens,
            logits=[[float(f"{x:.7g}") for x in row] for row in logits[[0, 1, 9, 20, len(tokens) - 1]]],
            rows=[0, 1, 9, 20, len(tokens) - 1])
        folder = args.out if args.record else args.out / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / (f"{name}.json" if args.record else "expected.json")).write_text(json.dumps(record) + "\n")
        if not args.record:
            model.save_pretrained(folder)
            # Of no use, but llama.cpp's converter counts what is in it.
            (folder / "tokenizer.json").write_text(json.dumps(dict(model=dict(vocab={str(i): i for i in range(VOCAB)}), added_tokens=[])))
        print(name, sum(p.numel() for p in model.parameters()), "parameters, logits from", round(logits.min(), 3), "to", round(logits.max(), 3))


if __name__ == "__main__":
    main()
