#!/usr/bin/env python3
"""An unmodified openai-python against a Tandem server.

    openai_client.py URL KEY MODEL

MODEL tells stories and has a chat template. Prints one line for each check and ends with
"ok"; stops at the first that fails.
"""

import concurrent.futures
import math
import sys
import threading
import time

import httpx2 as httpx
import openai

QUESTION = [{"role": "user", "content": "Once upon a time"}]


def check(name, condition, detail=""):
    if not condition:
        sys.exit(f"{name}: {detail}")
    print(name, flush=True)


def refused(name, kind, call, code=None, param=None):
    try:
        call()
    except kind as e:
        check(name, (code is None or e.code == code) and (param is None or e.param == param) and e.request_id, f"{e.code} {e.param} {e}")
        return e
    sys.exit(f"{name}: it was not refused")


def main():
    url, key, model = sys.argv[1:4]
    client = openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0, timeout=60)
    chat = lambda **more: client.chat.completions.create(**{**dict(model=model, messages=QUESTION, max_tokens=24, temperature=0), **more})
    complete = lambda **more: client.completions.create(**{**dict(model=model, prompt="Once upon a time", max_tokens=24, temperature=0), **more})

    models = client.models.list().data
    check("models", [m.id for m in models] == [model] and client.models.retrieve(model).id == model, models)

    first = chat()
    answer = first.choices[0]
    check("chat", answer.message.role == "assistant" and answer.message.content and answer.finish_reason == "length", first)
    check("usage", first.usage.completion_tokens == 24 and first.usage.total_tokens == first.usage.prompt_tokens + 24, first.usage)
    check("greedy repeats", chat().choices[0].message.content == answer.message.content)

    chunks = list(chat(stream=True, stream_options={"include_usage": True}))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    check("stream", text == answer.message.content, text)
    check("stream: one id", len({(c.id, c.created) for c in chunks}) == 1)
    check("stream: one role", [c.choices[0].delta.role for c in chunks if c.choices and c.choices[0].delta.role] == ["assistant"])
    check("stream: usage last", chunks[-1].choices == [] and chunks[-1].usage == first.usage and all(c.usage is None for c in chunks[:-1]), chunks[-1])
    check("stream: finish", [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "length")
    check("stream without usage", all(c.choices and c.usage is None for c in chat(stream=True)))

    probable = chat(logprobs=True, top_logprobs=3).choices[0].logprobs.content
    check("logprobs", len(probable) == 24 and all(len(t.top_logprobs) == 3 for t in probable))
    check("logprobs: greedy is the best", all(t.token == t.top_logprobs[0].token and math.isclose(t.logprob, t.top_logprobs[0].logprob) for t in probable))
    check("logprobs: bytes spell the answer", bytes(b for t in probable for b in t.bytes).decode().strip() == answer.message.content.strip(),
          bytes(b for t in probable for b in t.bytes))

    several = chat(n=3, temperature=1, seed=7)
    check("n", [c.index for c in several.choices] == [0, 1, 2] and len({c.message.content for c in several.choices}) > 1)
    check("n: a prompt counts once", several.usage.prompt_tokens == first.usage.prompt_tokens and several.usage.completion_tokens > 24, several.usage)
    check("seed repeats", [c.message.content for c in chat(n=3, temperature=1, seed=7).choices] == [c.message.content for c in several.choices])
    stop = answer.message.content[8:12]
    stopped = chat(stop=[stop]).choices[0]
    check("stop", stopped.finish_reason == "stop" and stopped.message.content == answer.message.content.split(stop)[0], stopped)
    parts = chat(messages=[{"role": "user", "content": [{"type": "text", "text": "Once upon"}, {"type": "text", "text": " a time"}]}])
    check("content in parts", parts.choices[0].message.content == answer.message.content)

    go_on = complete()
    check("completion", go_on.choices[0].text and go_on.usage.completion_tokens == 24, go_on)
    check("completion stream", "".join(c.choices[0].text for c in complete(stream=True)) == go_on.choices[0].text)
    listed = complete(prompt=["Once upon a time", "One day"], n=2)
    check("completion of several prompts", [c.index for c in listed.choices] == [0, 1, 2, 3] and listed.choices[0].text == go_on.choices[0].text)
    spelled = complete(logprobs=2).choices[0].logprobs
    check("completion logprobs", len(spelled.tokens) == len(spelled.token_logprobs) == len(spelled.text_offset) == 24 and all(len(t) == 2 for t in spelled.top_logprobs))
    tokens = [1, 403, 407, 261, 378]
    check("completion of tokens", complete(prompt=tokens).choices[0].text == go_on.choices[0].text, complete(prompt=tokens))
    check("completion of lists of tokens", len(complete(prompt=[tokens, tokens]).choices) == 2)
    check("ignore_eos", complete(max_tokens=200, extra_body={"ignore_eos": True}).usage.completion_tokens == 200)
    check("logit_bias", complete(max_tokens=3, logit_bias={"410": 100}).choices[0].logprobs is None)

    refused("unknown model", openai.NotFoundError, lambda: chat(model="none"), "model_not_found")
    refused("wrong key", openai.AuthenticationError, lambda: client.with_options(api_key="wrong").models.list(), "invalid_api_key")
    refused("context overflow", openai.BadRequestError, lambda: complete(prompt=[5] * 10_000), "context_length_exceeded", "prompt")
    refused("too long an answer", openai.BadRequestError, lambda: chat(max_tokens=100_000), "context_length_exceeded")
    refused("temperature", openai.BadRequestError, lambda: chat(temperature=3), param="temperature")
    refused("no messages", openai.BadRequestError, lambda: chat(messages=[]), param="messages")
    refused("unknown parameter", openai.BadRequestError, lambda: chat(extra_body={"temprature": 1}), param="temprature")
    refused("two lengths", openai.BadRequestError, lambda: chat(max_completion_tokens=3), param="max_completion_tokens")
    refused("too many stops", openai.BadRequestError, lambda: chat(stop=list("abcdefghijklmnopq")), param="stop")
    refused("echo", openai.BadRequestError, lambda: complete(echo=True), "unsupported_parameter", "echo")
    refused("suffix", openai.BadRequestError, lambda: complete(suffix="x"), "unsupported_parameter", "suffix")
    refused("best_of", openai.BadRequestError, lambda: complete(best_of=2), "unsupported_parameter", "best_of")
    refused("tools", openai.BadRequestError, lambda: chat(tools=[{"type": "function", "function": {"name": "f"}}]), "unsupported_parameter", "tools")
    refused("a format", openai.BadRequestError, lambda: chat(response_format={"type": "json_object"}), "unsupported_parameter", "response_format")
    refused("a picture", openai.BadRequestError, lambda: chat(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]), param="messages")
    check("what changes nothing is accepted", chat(user="u", store=False, metadata={"a": "b"}, response_format={"type": "text"}).choices[0].message.content == answer.message.content)

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        many = list(pool.map(lambda i: chat(max_tokens=24 + i % 3).choices[0].message.content, range(24)))
    check("many at once", all(m.startswith(answer.message.content) for m in many), many)

    # A client that goes away frees the model: the answers would take the context to its end.
    for _ in range(3):
        for chunk in complete(stream=True, max_tokens=400, extra_body={"ignore_eos": True}):
            break
        chunk = None
    gone = threading.Thread(target=lambda: quietly(url, key, model))
    gone.start()
    gone.join()
    began = time.time()
    complete(max_tokens=2)
    check("cancel", time.time() - began < 5, time.time() - began)

    retried = openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=2, http_client=httpx.Client(transport=Flaky(2)))
    check("retries", retried.completions.create(model=model, prompt="One day", max_tokens=2).choices[0].text is not None)
    print("ok")


def quietly(url, key, model):
    """A request whose client hangs up before the answer."""
    try:
        httpx.post(url + "/v1/completions", headers={"Authorization": "Bearer " + key}, timeout=0.2,
                   json=dict(model=model, prompt="One day", max_tokens=400, ignore_eos=True))
    except httpx.TimeoutException:
        pass


class Flaky(httpx.HTTPTransport):
    """Loses the connection a number of times."""

    def __init__(self, times):
        super().__init__()
        self.times = times

    def handle_request(self, request):
        if self.times > 0:
            self.times -= 1
            raise httpx.ConnectError("lost", request=request)
        return super().handle_request(request)


if __name__ == "__main__":
    main()
