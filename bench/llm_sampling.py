#!/usr/bin/env python3
"""Which tokens transformers leaves to chance, and with what probability: test data.

    llm_sampling.py > llm/testdata/sampling.json

Each case has logits, the tokens so far, and settings; from transformers' own processors,
in the order of its generate, come the probabilities of what is left.
"""

import json

import numpy as np
import torch
import transformers
from transformers.generation import logits_process as process

VOCAB = 40
SETTINGS = [
    dict(temperature=0.7),
    dict(temperature=1.3, top_k=5),
    dict(temperature=1.0, top_p=0.6),
    dict(temperature=1.0, top_p=0.95),
    dict(temperature=1.5, min_p=0.15),
    dict(temperature=0.8, top_k=12, top_p=0.7),
    dict(temperature=4.0, top_k=12, top_p=0.5, min_p=0.6),
    dict(temperature=4.0, top_p=0.4, min_p=0.5),
    dict(temperature=1.0, repetition_penalty=1.4),
    dict(temperature=0.9, repetition_penalty=0.8, top_k=8),
    dict(temperature=2.0, repetition_penalty=2.0, top_k=20, top_p=0.9, min_p=0.2),
]


def left(logits, tokens, s):
    chain = transformers.LogitsProcessorList()
    if "repetition_penalty" in s:
        chain.append(process.RepetitionPenaltyLogitsProcessor(s["repetition_penalty"]))
    chain.append(process.TemperatureLogitsWarper(s["temperature"]))
    if "top_k" in s:
        chain.append(process.TopKLogitsWarper(s["top_k"]))
    if "top_p" in s:
        chain.append(process.TopPLogitsWarper(s["top_p"]))
    if "min_p" in s:
        chain.append(process.MinPLogitsWarper(s["min_p"]))
    p = torch.softmax(chain(torch.tensor([tokens]), torch.tensor([logits])).double(), -1)[0]
    return {str(i): float(f"{v:.7g}") for i, v in enumerate(p.tolist()) if v > 0}


def main():
    rng = np.random.default_rng(5)
    cases = []
    for s in SETTINGS:
        for _ in range(3):
            logits = [float(f"{v:.4f}") for v in rng.normal(0, 2.5, VOCAB)]
            tokens = rng.integers(0, VOCAB, 12).tolist()
            cases.append(dict(settings=s, logits=logits, tokens=tokens, left=left(logits, tokens, s)))
    lines = ",\n".join(json.dumps(c) for c in cases)
    print(f'{{"made_by": "transformers {transformers.__version__}", "cases": [\n{lines}\n]}}')


if __name__ == "__main__":
    main()
