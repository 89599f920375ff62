"""Asks llama.cpp's server what it answers, for tests to compare with.

    llm_llama.py --build BIN story GGUF OUT.json     tokens of a story, greedy
    llm_llama.py --build BIN --source SRC gguf DIR   each Hugging Face folder in DIR (llm_make.py) becomes
                                                     model.gguf, with its logarithmic probabilities in llama.json

BIN has llama-server, SRC is llama.cpp's source, whose converter is used.
"""

import argparse
import contextlib
import json
import math
import pathlib
import socket
import subprocess
import sys
import time
import urllib.request


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


@contextlib.contextmanager
def server(build, gguf, context):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    p = subprocess.Popen([build / "llama-server", "-m", gguf, "--port", str(port), "-t", "1", "-c", str(context), "-np", "1",
                          "-ctk", "f32", "-ctv", "f32", "-fa", "off", "--no-webui"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(300):
            try:
                urllib.request.urlopen(url + "/health", timeout=5)
                break
            except OSError:
                if p.poll() is not None:
                    raise SystemExit(f"llama-server does not open {gguf}")
                time.sleep(0.2)
        yield url
    finally:
        p.terminate()
        p.wait()


def story(args):
    prompt = "Once upon a time"
    with server(args.build, args.model, 512) as url:
        tokens = post(url + "/tokenize", dict(content=prompt, add_special=True))["tokens"]
        answer = post(url + "/completion", dict(prompt=prompt, n_predict=256, temperature=0, return_tokens=True, cache_prompt=False))
    record = dict(made_by="llama.cpp " + version(args.build), prompt=prompt, prompt_tokens=tokens, tokens=answer["tokens"], text=answer["content"])
    args.out.write_text(json.dumps(record, ensure_ascii=False) + "\n")


def version(build):
    text = subprocess.run([build / "llama-server", "--version"], capture_output=True, text=True)
    return (text.stderr + text.stdout).splitlines()[0].removeprefix("version: ")


CONVERT = """
import sys
sys.path[:0] = [{source!r}, {source!r} + "/gguf-py"]
import conversion.base as base
import convert_hf_to_gguf as convert


def vocabulary(self):  # the models have none: any will do
    n = self.hparams.get("vocab_size")
    pieces = ["<unk>", "<s>", "</s>", "<|endoftext|>"] + ["<0x%02X>" % i for i in range(n - 4)]
    self.gguf_writer.add_tokenizer_model("llama")
    self.gguf_writer.add_tokenizer_pre("default")
    self.gguf_writer.add_token_list(pieces)
    self.gguf_writer.add_token_scores([0.0] * n)
    self.gguf_writer.add_token_types([2, 3, 3, 3] + [6] * (n - 4))
    self.gguf_writer.add_bos_token_id(1)
    self.gguf_writer.add_eos_token_id(2)


def every(c):
    yield c
    for s in c.__subclasses__():
        yield from every(s)


import importlib
for m in ("llama", "mistral", "qwen", "phi", "gemma", "gpt2", "smollm"):
    try:
        importlib.import_module("conversion." + m)
    except ImportError:
        pass
for c in every(base.TextModel):
    if "set_vocab" in vars(c) or c is base.TextModel:
        c.set_vocab = vocabulary
sys.argv = ["convert", {model!r}, "--outtype", "f32", "--outfile", {out!r}]
convert.main()
"""


def convert(args):
    failed = []
    for folder in sorted(args.model.iterdir()):
        out = folder / "model.gguf"
        program = CONVERT.format(source=str(args.source), model=str(folder), out=str(out))
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        if done.returncode != 0 or not out.exists():
            print(folder.name, "cannot be converted:", done.stderr.strip().splitlines()[-1])
            failed.append(folder.name)
            continue
        expected = json.loads((folder / "expected.json").read_text())
        rows = []
        with server(args.build, out, 128) as url:
            for row in expected["rows"]:
                answer = post(url + "/completion", dict(prompt=expected["tokens"][: row + 1], n_predict=1, temperature=0,
                                                        n_probs=len(expected["logits"][0]), cache_prompt=False))
                top = answer["completion_probabilities"][0]["top_logprobs"]
                rows.append([next(t["logprob"] for t in top if t["id"] == i) for i in range(len(top))])
        worst = 0
        for ours, theirs in zip(expected["logits"], rows):
            total = math.log(sum(math.exp(x) for x in ours))
            worst = max(worst, max(abs(a - total - b) for a, b in zip(ours, theirs)))
        record = dict(made_by="llama.cpp " + version(args.build), tokens=expected["tokens"], rows=expected["rows"], logits=rows)
        (folder / "llama.json").write_text(json.dumps(record) + "\n")
        print(f"{folder.name}: llama.cpp and transformers differ by up to {worst:.2g}")
    if failed:
        raise SystemExit("not converted: " + ", ".join(failed))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", type=pathlib.Path, required=True)
    p.add_argument("--source", type=pathlib.Path)
    p.add_argument("what", choices=["story", "gguf"])
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("out", type=pathlib.Path, nargs="?")
    args = p.parse_args()
    story(args) if args.what == "story" else convert(args)


if __name__ == "__main__":
    main()
