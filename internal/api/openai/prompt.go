package openai

import (
	"encoding/json"
	"net/http"

	"tandem/fault"
	"tandem/internal/serve"
	"tandem/llm"
)

// requestOf is what a model is asked for one prompt. What the request leaves open is as
// the model's files recommend; the seed of answer i of several follows from that of the
// first.
func (q *request) requestOf(recommended llm.Sampling, prompt []int, logprobs, i int) llm.Request {
	s := recommended
	s.Bias, s.Logprobs = q.bias, logprobs
	set(&s.Temperature, q.sampling.temperature)
	if p := q.sampling.topP; p != nil {
		s.TopP = llm.TopP(*p)
	}
	set(&s.MinP, q.sampling.minP)
	set(&s.Presence, q.sampling.presence)
	set(&s.Frequency, q.sampling.frequency)
	set(&s.Repetition, q.sampling.repetition)
	if k := q.sampling.topK; k != nil {
		s.TopK = max(*k, 0)
	}
	if q.seed != nil {
		s.Seed = uint64(*q.seed) + uint64(i)
	}
	return llm.Request{
		Prompt: prompt, MaxTokens: q.maxOut, Sampling: s, RandomSeed: q.seed == nil, Stop: q.stop, IgnoreEnd: q.ignore,
	}
}

func set(to, v *float64) {
	if v != nil {
		*to = *v
	}
}

// messages reads the conversation. Content is a string or a list of text parts.
func (q *request) messages() ([]llm.Message, error) {
	const name = "messages"
	var list []struct {
		Role         string          `json:"role"`
		Content      json.RawMessage `json:"content"`
		Name         string          `json:"name"`
		Refusal      *string         `json:"refusal"`
		Audio        json.RawMessage `json:"audio"`
		ToolCalls    []any           `json:"tool_calls"`
		FunctionCall json.RawMessage `json:"function_call"`
		ToolCallID   string          `json:"tool_call_id"`
	}
	given, err := q.read(name, &list)
	if err != nil {
		return nil, err
	}
	if !given || len(list) == 0 {
		return nil, invalid(name, "there are no messages")
	}
	out := make([]llm.Message, len(list))
	for i, m := range list {
		switch m.Role {
		case "system", "user", "assistant":
		case "developer":
			m.Role = "system" // what it was called before
		case "tool", "function":
			return nil, unsupported(name, "message %d is of a tool: tools are not called yet", i)
		default:
			return nil, invalid(name, "message %d has the role %.40q", i, m.Role)
		}
		if len(m.ToolCalls) > 0 || len(m.FunctionCall) > 0 && string(m.FunctionCall) != "null" {
			return nil, unsupported(name, "message %d calls tools: tools are not called yet", i)
		}
		if len(m.Audio) > 0 && string(m.Audio) != "null" {
			return nil, unsupported(name, "message %d has audio: models here read text only", i)
		}
		text, given, err := textOf(m.Content)
		if err != nil {
			return nil, invalid(name, "messages[%d].%s", i, fault.From(err, "").(*fault.Error).Message())
		}
		if !given && m.Role != "assistant" { // an assistant may have refused, or called a tool
			return nil, invalid(name, "message %d has no content", i)
		}
		out[i] = llm.Message{Role: m.Role, Content: text}
	}
	return out, nil
}

// textOf joins the parts of a content; false: there is none.
func textOf(content json.RawMessage) (text string, given bool, err error) {
	if len(content) == 0 || string(content) == "null" {
		return "", false, nil
	}
	if json.Unmarshal(content, &text) == nil {
		return text, true, nil
	}
	var parts []struct {
		Type    string `json:"type"`
		Text    string `json:"text"`
		Refusal string `json:"refusal"`
	}
	if content[0] != '[' {
		return "", false, fault.New("openai.request", fault.Invalid, "content is neither a string nor a list of parts")
	}
	if err := json.Unmarshal(content, &parts); err != nil {
		return "", false, fault.JSON("content", content, err)
	}
	for i, p := range parts {
		switch p.Type {
		case "text":
			text += p.Text
		case "refusal":
			text += p.Refusal
		default:
			return "", false, fault.New("openai.request", fault.Unsupported, "content[%d] is of type %.40q: models here read text only", i, p.Type)
		}
	}
	return text, true, nil
}

// prompts reads the prompts of /v1/completions: a string, strings, tokens, or lists of
// tokens.
func (q *request) prompts(m *serve.Lease) ([][]int, error) {
	const name = "prompt"
	value := q.members[name]
	var (
		text   string
		texts  []string
		tokens []int
		lists  [][]int
	)
	switch {
	case len(value) == 0 || string(value) == "null":
		return nil, invalid(name, "the parameter \"prompt\" is missing")
	case json.Unmarshal(value, &text) == nil:
		texts = []string{text}
	case string(compact(value)) == "[]":
		return nil, invalid(name, "there are no prompts")
	case hasNull(value):
		return nil, wrongType(name, "a string, strings, tokens, or lists of tokens", value)
	case json.Unmarshal(value, &texts) == nil:
	case json.Unmarshal(value, &tokens) == nil:
		texts, lists = nil, [][]int{tokens}
	case json.Unmarshal(value, &lists) == nil:
		texts = nil
	default:
		return nil, wrongType(name, "a string, strings, tokens, or lists of tokens", value)
	}
	if n := len(texts) + len(lists); n*q.n > maxAnswers {
		return nil, invalid(name, "%d prompts with %d answers each are asked for, at most %d in one request", n, q.n, maxAnswers)
	}
	for _, t := range texts {
		tokens, err := m.Prompt(t)
		if err != nil {
			return nil, checked(err, name)
		}
		lists = append(lists, tokens)
	}
	return lists, nil
}

// checked puts what a model refuses into the protocol's form.
func checked(err error, param string) error {
	e, ok := err.(*fault.Error)
	if !ok {
		return err
	}
	switch e.Kind {
	case fault.TooLarge:
		return &paramError{param, "context_length_exceeded", e}
	case fault.Invalid:
		return &paramError{"", "", e}
	}
	return err
}

// requestIDOf is the id under which the gateway knows the request.
func requestIDOf(w http.ResponseWriter) string { return w.Header().Get("X-Request-Id") }
