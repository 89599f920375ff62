package openai

import (
	"encoding/json"
	"slices"
)

// Fate is what becomes of a parameter.
type Fate uint8

const (
	Refused  Fate = iota // its meaning cannot be honoured; so is every parameter that is not in the table
	Honoured             // it does what the protocol says
	Accepted             // it is not acted upon, because it cannot change the answer
	Neutral              // only values that ask for nothing are accepted
)

// Route is where a parameter may be.
type Route uint8

const (
	Chat Route = 1 << iota
	Completions
	Both = Chat | Completions
)

// prompt is the parameter that holds a route's prompt.
func (r Route) prompt() string {
	if r == Chat {
		return "messages"
	}
	return "prompt"
}

// Field says what becomes of one parameter.
type Field struct {
	Route Route
	Name  string
	Fate  Fate
	// Neutral are the values, in JSON, of a neutral one; null is always among them.
	Neutral []string
	Why     string // of a parameter that is not honoured
}

// Fields is the whole table. A parameter that is not in it is refused by name; null
// means that it is not given.
func Fields() []Field {
	const noTools, noStore = "tools are not called yet", "answers are not kept"
	return []Field{
		{Both, "model", Honoured, nil, ""},
		{Chat, "messages", Honoured, nil, ""},
		{Completions, "prompt", Honoured, nil, ""},
		{Both, "max_tokens", Honoured, nil, ""},
		{Chat, "max_completion_tokens", Honoured, nil, ""},
		{Both, "temperature", Honoured, nil, ""},
		{Both, "top_p", Honoured, nil, ""},
		{Both, "n", Honoured, nil, ""},
		{Both, "stream", Honoured, nil, ""},
		{Both, "stream_options", Honoured, nil, ""},
		{Both, "stop", Honoured, nil, ""},
		{Both, "presence_penalty", Honoured, nil, ""},
		{Both, "frequency_penalty", Honoured, nil, ""},
		{Both, "logit_bias", Honoured, nil, ""},
		{Both, "logprobs", Honoured, nil, ""},
		{Chat, "top_logprobs", Honoured, nil, ""},
		{Both, "seed", Honoured, nil, ""},

		// Of other servers of open models, by the names that clients send.
		{Both, "top_k", Honoured, nil, ""},
		{Both, "min_p", Honoured, nil, ""},
		{Both, "repetition_penalty", Honoured, nil, ""},
		{Both, "ignore_eos", Honoured, nil, ""},
		{Chat, "chat_template_kwargs", Honoured, nil, ""},

		{Both, "user", Accepted, nil, "it names the end user and changes nothing"},
		{Chat, "safety_identifier", Accepted, nil, "it names the end user and changes nothing"},
		{Chat, "prompt_cache_key", Accepted, nil, "a hint to caches"},
		{Chat, "prompt_cache_retention", Accepted, nil, "a hint to caches"},
		{Chat, "prediction", Accepted, nil, "a hint that makes answers faster, not other"},
		{Chat, "metadata", Accepted, nil, "it belongs to kept answers"},
		{Chat, "service_tier", Accepted, nil, "there is one tier"},
		{Chat, "parallel_tool_calls", Accepted, nil, "without tools it says nothing"},

		{Chat, "store", Neutral, []string{"false"}, noStore},
		{Chat, "modalities", Neutral, []string{`["text"]`}, "models here write text only"},
		{Chat, "response_format", Neutral, []string{`{"type":"text"}`}, "answers are not held to a format yet"},
		{Chat, "tools", Neutral, []string{"[]"}, noTools},
		{Chat, "tool_choice", Neutral, []string{`"none"`, `"auto"`}, noTools},
		{Chat, "functions", Neutral, []string{"[]"}, noTools},
		{Chat, "function_call", Neutral, []string{`"none"`, `"auto"`}, noTools},
		{Completions, "best_of", Neutral, []string{"1"}, "ask for n answers and choose among them"},
		{Completions, "echo", Neutral, []string{"false"}, "the prompt is not repeated"},
		{Completions, "suffix", Neutral, []string{`""`}, "models here do not fill gaps"},

		{Chat, "audio", Refused, nil, "models here write text only"},
		{Chat, "reasoning_effort", Refused, nil, "pass what the model's template knows in chat_template_kwargs"},
		{Chat, "verbosity", Refused, nil, "say in a message how long the answer should be"},
		{Chat, "web_search_options", Refused, nil, "nothing is searched"},
		{Chat, "moderation", Refused, nil, "nothing is moderated"},
	}
}

// checkFields holds a body's members to the table.
func checkFields(route Route, body map[string]json.RawMessage) error {
	table := Fields()
	for name, value := range body {
		i := slices.IndexFunc(table, func(f Field) bool { return f.Name == name && f.Route&route != 0 })
		if i < 0 {
			return invalid(name, "unknown parameter %.100q", name)
		}
		f := table[i]
		switch {
		case string(value) == "null":
		case f.Fate == Refused, f.Fate == Neutral && !slices.Contains(f.Neutral, compact(value)):
			return unsupported(name, "parameter %q is not supported with this value: %s", name, f.Why)
		}
	}
	return nil
}
