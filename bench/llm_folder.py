#!/usr/bin/env python3
"""A Hugging Face folder with a real tokenizer, from import to a conversation over HTTP.

    llm_folder.py VOCABULARIES     llama.cpp's folder models

makes a small Qwen3 of random weights with Qwen's tokenizer (151,936 tokens) and Qwen3's own
chat template, lets bin/tandem import, deploy and serve it, and compares what it answers
with what transformers does. Requests say nothing of sampling: that the most probable token
is taken follows from generation_config.json. An answer is compared up to where the
reference's two best tokens are as near as rounding the cache to float16.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.request

import torch
import transformers

import tokenizer_cases

TANDEM = pathlib.Path(__file__).resolve().parent.parent / "bin" / "tandem"
ANSWER = 24
MESSAGES = [
    [{"role": "user", "content": "Tell me of the sea."}],
    [{"role": "system", "content": "你是一位诗人。"}, {"role": "user", "content": "写一首关于秋天的诗 🍂"}],
    [{"role": "user", "content": "def f(x):\n\treturn x**2  # <|im_end|> is text here"}, {"role": "assistant", "content": "It squares."},
     {"role": "user", "content": "Ça va? 12345 — naïve coöperation"}],
]


def make(folder, vocabularies):
    name, tok = next((n, t) for n, t in tokenizer_cases.rebuilt(vocabularies) if n.startswith("qwen2-"))
    torch.manual_seed(1)
    config = transformers.Qwen3Config(
        vocab_size=151936, hidden_size=128, intermediate_size=256, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        head_dim=32, max_position_embeddings=1024, tie_word_embeddings=True, initializer_range=0.2,
        eos_token_id=tok.token_to_id("<|im_end|>"), bos_token_id=tok.token_to_id("<|endoftext|>"))
    model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    model.save_pretrained(folder, max_shard_size="40MB")
    tok.save(str(folder / "tokenizer.json"))
    template = (vocabularies / "templates" / "Qwen-Qwen3-0.6B.jinja").read_text()
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "chat_template": template}))
    (folder / "generation_config.json").write_text(json.dumps({"do_sample": True, "temperature": 0.7, "top_k": 1, "eos_token_id": [config.eos_token_id]}))
    return model, transformers.AutoTokenizer.from_pretrained(folder)


def reference(model, tok, messages):
    """The prompt's length, what is answered as far as it is certain, and whether it is all."""
    text = tok.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    ids = prompt = tok(text)["input_ids"]
    with torch.no_grad():
        while len(ids) < len(prompt) + ANSWER:
            logits = model(torch.tensor([ids])).logits[0, -1]
            two = logits.topk(2)
            if two.values[0] - two.values[1] < 0.003 * logits.std():
                return len(prompt), tok.decode(ids[len(prompt):]), False
            if (best := int(two.indices[0])) == model.config.eos_token_id:
                break
            ids = ids + [best]
    return len(prompt), tok.decode(ids[len(prompt):]), True


@contextlib.contextmanager
def server(folder, home):
    env = dict(os.environ, XDG_CONFIG_HOME=str(home), TANDEM_SERVER="", TANDEM_KEY="")
    p = subprocess.Popen([TANDEM, "serve", "--data", home / "data", "--http", "127.0.0.1:0", "--json"], env=env, text=True, stdout=subprocess.PIPE)
    try:
        said = json.loads(p.stdout.readline())
        subprocess.run([TANDEM, "import", folder, "--name", "qwen"], env=env, check=True)
        subprocess.run([TANDEM, "deploy", "qwen"], env=env, check=True)
        yield said
    finally:
        p.terminate()
        p.wait()


def main():
    with tempfile.TemporaryDirectory() as home:
        home = pathlib.Path(home)
        folder = home / "qwen"
        folder.mkdir()
        model, tok = make(folder, pathlib.Path(sys.argv[1]))
        failed = 0
        with server(folder, home) as said:
            for messages in MESSAGES:
                body = {"model": "qwen", "messages": messages, "max_tokens": ANSWER, "chat_template_kwargs": {"enable_thinking": False}}
                request = urllib.request.Request(said["url"] + "/v1/chat/completions", json.dumps(body).encode(),
                                                 {"Content-Type": "application/json", "Authorization": "Bearer " + said["key"]})
                with urllib.request.urlopen(request, timeout=120) as answer:
                    got = json.load(answer)
                text, n = got["choices"][0]["message"]["content"], got["usage"]["prompt_tokens"]
                length, want, whole = reference(model, tok, messages)
                same = n == length and (text == want if whole else text.startswith(want.rstrip("\N{REPLACEMENT CHARACTER}")))
                failed += not same
                print(f"{length} tokens asked, {len(want)} characters {'compared' if whole else 'certain'}: {'equal' if same else f'{n} tokens, {text!r}, expected {want!r}'}")
        if failed:
            raise SystemExit(f"{failed} answers differ")


if __name__ == "__main__":
    main()
