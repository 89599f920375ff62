#!/usr/bin/env python3
"""How far quantising moves a trained model, in Tandem and in llama.cpp.

    llm_kl.py --build BIN --source SRC --texts DIR OUT

trains a small Llama (width 512) on the characters of DIR's .txt files for a few minutes,
writes it as OUT/f32.gguf by llama.cpp's converter and quantises it with llama-quantize.
OUT/llama.json then has stretches of 200 tokens that the model has not seen, and what
llama.cpp answers after each of them, in each format.
`LLM_KL=OUT go test ./llm -run TestQuantisedDivergence -v` lets Tandem answer too, and prints
the divergence of both from their own float32. Equal arguments give equal models on one machine. BIN has llama-server and
llama-quantize, SRC is llama.cpp's source.
"""

import argparse
import json
import pathlib
import subprocess
import sys

import torch
import transformers

from llm_llama import CONVERT, post, server, version

WIDTH, LAYERS, LENGTH, BATCH = 512, 3, 64, 8
STRETCH = 200
FIRST = 4  # ids before are for special tokens
FORMATS = ["Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0"]


def read(texts):
    text = "".join(p.read_text() for p in sorted(texts.glob("*.txt")))
    letters = sorted(set(text))
    ids = torch.tensor([FIRST + letters.index(c) for c in text])
    cut = len(ids) * 9 // 10
    return FIRST + len(letters), ids[:cut], ids[cut:]


def train(vocab, ids, steps, seed):
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=vocab, hidden_size=WIDTH, intermediate_size=3 * WIDTH, num_hidden_layers=LAYERS, num_attention_heads=8,
        num_key_value_heads=4, max_position_embeddings=256, tie_word_embeddings=False, bos_token_id=1, eos_token_id=2)
    model = transformers.AutoModelForCausalLM.from_config(config).float()
    adam = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(adam, 1e-3, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        at = torch.randint(len(ids) - LENGTH, (BATCH,))
        x = torch.stack([ids[i:i + LENGTH] for i in at])
        loss = model(input_ids=x, labels=x).loss
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1)
        adam.step()
        rate.step()
        if step % 10 == 9:
            print(f"step {step + 1}: loss {loss.item():.3f}", flush=True)
    return model.eval()


def write(model, vocab, out, source, build):
    folder = out / "hf"
    model.save_pretrained(folder)
    # Of no use, but llama.cpp's converter counts what is in it.
    (folder / "tokenizer.json").write_text(json.dumps(dict(model=dict(vocab={str(i): i for i in range(vocab)}), added_tokens=[])))
    dense = out / "f32.gguf"
    program = CONVERT.format(source=str(source), model=str(folder), out=str(dense))
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for f in FORMATS:
        subprocess.run([build / "llama-quantize", dense, out / f"{f}.gguf", f, "1"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def stretches(ids, count):
    """Beginnings of texts, spread over all of ids."""
    step = len(ids) // count
    return [[1] + ids[i * step:][:STRETCH - 1].tolist() for i in range(count)]


def ask(build, gguf, texts, vocab):
    rows = []
    with server(build, gguf, 256) as url:
        for tokens in texts:
            for n in range(1, len(tokens) + 1):
                answer = post(url + "/completion", dict(prompt=tokens[:n], n_predict=1, temperature=0, n_probs=vocab, cache_prompt=True))
                top = {t["id"]: t["logprob"] for t in answer["completion_probabilities"][0]["top_logprobs"]}
                rows.append([round(top[i], 8) for i in range(vocab)])
    return rows


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", type=pathlib.Path, required=True)
    p.add_argument("--source", type=pathlib.Path, required=True)
    p.add_argument("--texts", type=pathlib.Path, required=True)
    p.add_argument("--steps", type=int, default=400)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--stretches", type=int, default=20, help="of 200 rows")
    p.add_argument("out", type=pathlib.Path)
    args = p.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    vocab, seen, unseen = read(args.texts)
    if not (args.out / f"{FORMATS[-1]}.gguf").exists():
        write(train(vocab, seen, args.steps, args.seed), vocab, args.out, args.source, args.build)
    texts = stretches(unseen, args.stretches)
    formats = {f: ask(args.build, args.out / f"{f}.gguf", texts, vocab) for f in ["f32"] + FORMATS}
    record = dict(made_by="llama.cpp " + version(args.build), stretches=texts, formats=formats)
    (args.out / "llama.json").write_text(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
