"""Chat templates and what transformers (or plain jinja2, set up as transformers does it) makes of them, for
the tests of Tandem's templates.

    python chat_cases.py TEMPLATES... > CASES

writes one JSON object a line: name, template, variables, and want, or error where the template fails. The
arguments are files or folders of .jinja files (llama.cpp's models/templates, which the source of
llama-cpp-python has)."""

import datetime
import json
import pathlib
import sys

NOW = datetime.datetime(2026, 3, 7, 9, 5, 2)


def environment():
    import jinja2
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        tags = {"generation"}

        def parse(self, parser):
            next(parser.stream)
            return parser.parse_statements(["name:endgeneration"], drop_needle=True)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    return env


def compiled(source):
    try:
        from transformers.utils.chat_template_utils import _compile_jinja_template
        t = _compile_jinja_template(source)
    except ImportError:
        t = environment().from_string(source)
    t.globals["strftime_now"] = NOW.strftime
    return t


WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "The weather <now> & \"here\"; 天气", "parameters": {"type": "object", "properties": {
    "city": {"type": "string", "description": "City"}, "unit": {"type": "string", "enum": ["C", "F"]}, "days": {"type": "integer", "default": 3}, "deep": {"type": "array", "items": {"type": "number"}}}, "required": ["city"]}, "return": {"type": "string", "description": "text"}}}
TIME = {"type": "function", "function": {"name": "get_time", "description": "", "parameters": {"type": "object", "properties": {}}}}
USER, AGAIN = {"role": "user", "content": "Hello, who are you?"}, {"role": "user", "content": "  And in 中文? {{ x }} 🙂\n"}
SYSTEM = {"role": "system", "content": "You are brief.\nVery."}
ANSWER = {"role": "assistant", "content": "I am a model."}
THOUGHT = {"role": "assistant", "content": "<think>\nHm, who am I?\n</think>\n\nI am a model."}
REASON = {"role": "assistant", "content": "A model.", "reasoning_content": "Who am I?", "thinking": "Who am I?"}


def call(arguments):
    return {"role": "assistant", "content": "", "tool_calls": [{"id": "abcdef123", "type": "function", "function": {"name": "get_weather", "arguments": arguments}}]}


RESULT = {"role": "tool", "tool_call_id": "abcdef123", "name": "get_weather", "content": "{\"t\": 21.5, \"sky\": \"klar\"}"}
CONVERSATIONS = {
    "one": dict(messages=[USER]), "two": dict(messages=[USER, ANSWER, AGAIN]), "system": dict(messages=[SYSTEM, USER, ANSWER, AGAIN]),
    "ends": dict(messages=[USER, ANSWER], add_generation_prompt=False), "thought": dict(messages=[USER, THOUGHT, AGAIN]), "reason": dict(messages=[SYSTEM, USER, REASON, AGAIN]),
    "thinking": dict(messages=[USER], enable_thinking=True, thinking=True), "quiet": dict(messages=[SYSTEM, USER], enable_thinking=False, thinking=False, reasoning_effort="low"),
    "tools": dict(messages=[SYSTEM, USER], tools=[WEATHER, TIME]), "tools-alone": dict(messages=[USER], tools=[WEATHER]),
    "called": dict(messages=[USER, call({"city": "Köln", "days": 2, "deep": [1.0, 0.5, 1e-7], "x": None, "y": True}), RESULT], tools=[WEATHER, TIME]),
    "called-text": dict(messages=[SYSTEM, USER, call("{\"city\": \"Köln\"}"), RESULT, ANSWER, AGAIN], tools=[WEATHER]),
    "parts": dict(messages=[{"role": "user", "content": [{"type": "text", "text": "Part one."}, {"type": "text", "text": "Part two."}]}]),
    "wrong": dict(messages=[ANSWER, ANSWER, USER, USER]), "empty": dict(messages=[{"role": "user", "content": ""}]), "developer": dict(messages=[{"role": "developer", "content": "Be kind."}, USER]),
}


def main():
    files = []
    for a in map(pathlib.Path, sys.argv[1:]):
        files += sorted(a.glob("*.jinja")) if a.is_dir() else [a]
    for f in files:
        source = f.read_text(encoding="utf-8")
        for name, c in CONVERSATIONS.items():
            variables = {"tools": None, "documents": None, "add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", **c}
            case = {"name": f"{f.stem}/{name}", "template": source, "variables": variables}
            try:
                case["want"] = compiled(source).render(**json.loads(json.dumps(variables)))
            except Exception as e:  # noqa: BLE001: whatever it is, Tandem must fail too
                case["error"] = f"{type(e).__name__}: {e}"
            print(json.dumps(case, ensure_ascii=False))


main()
