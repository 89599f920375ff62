package openai

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"

	"tandem/fault"
	"tandem/llm"
)

// request is a body whose members the table allows.
type request struct {
	members map[string]json.RawMessage

	model    string
	stream   bool
	options  streamOptions
	n        int
	maxOut   int // 0: not given
	sampling numbers
	stop     []string
	bias     map[int]float32
	seed     *int64
	ignore   bool // ignore_eos
}

// streamOptions say which chunks of a stream have usage.
type streamOptions struct {
	Usage     bool  `json:"include_usage"`          // the last; the others say null
	Each      bool  `json:"continuous_usage_stats"` // with Usage: what has been used so far, as vLLM does
	Obfuscate *bool `json:"include_obfuscation"`
}

// on is what the chunk of a token says of usage.
func (o streamOptions) on(u usage) *usage {
	if !o.Each {
		return nil
	}
	return &u
}

// numbers are the parameters that are numbers; nil: not given.
type numbers struct {
	temperature, topP, minP, presence, frequency, repetition *float64
	topK                                                     *int
}

// maxAnswers bounds n, and the prompts of one request.
const maxAnswers = 32

// maxNesting bounds the depth of a body's JSON.
const maxNesting = 64

// readRequest reads the body and what both routes have in common.
func readRequest(r *http.Request, route Route) (*request, error) {
	text, err := io.ReadAll(r.Body) // the gateway bounds it
	if err != nil {
		return nil, fault.From(err, "openai.request")
	}
	if err := checkNesting(text); err != nil {
		return nil, err
	}
	q := &request{n: 1}
	if err := json.Unmarshal(text, &q.members); err != nil {
		return nil, invalidJSON("", text, err)
	}
	if err := checkFields(route, q.members); err != nil {
		return nil, err
	}
	for _, read := range []func() error{q.readModel, q.readCounts, q.readNumbers, q.readStop, q.readBias} {
		if err := read(); err != nil {
			return nil, err
		}
	}
	return q, nil
}

// checkNesting refuses deep JSON before anything recurses into it.
func checkNesting(text []byte) error {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxNesting {
				return invalid("", "the JSON is nested more than %d deep", maxNesting)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// hasNull finds null in lists of strings or numbers: to encoding/json it is "" or 0.
func hasNull(list []byte) bool {
	quoted := false
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && c == 'n':
			return true
		}
	}
	return false
}

func compact(value []byte) string {
	var b bytes.Buffer
	if err := json.Compact(&b, value); err != nil {
		return string(value)
	}
	return b.String()
}

// read decodes a member into v; false if it is not given.
func (q *request) read(name string, v any) (bool, error) {
	value, ok := q.members[name]
	if !ok || string(value) == "null" {
		return false, nil
	}
	if err := json.Unmarshal(value, v); err != nil {
		return false, invalidJSON(name, value, err)
	}
	return true, nil
}

func (q *request) readModel() error {
	if given, err := q.read("model", &q.model); err != nil || !given {
		if err == nil {
			err = invalid("model", "the parameter \"model\" is missing")
		}
		return err
	}
	return nil
}

func (q *request) readCounts() error {
	if _, err := q.read("stream", &q.stream); err != nil {
		return err
	}
	var members map[string]json.RawMessage
	given, err := q.read("stream_options", &members)
	if err != nil {
		return err
	}
	if given && !q.stream {
		return invalid("stream_options", "stream_options is given and stream is not true")
	}
	for name := range members {
		if name != "include_usage" && name != "continuous_usage_stats" && name != "include_obfuscation" {
			return invalid("stream_options", "unknown member %.100q of stream_options", name)
		}
	}
	if _, err := q.read("stream_options", &q.options); err != nil {
		return err
	}
	if _, err := q.read("n", &q.n); err != nil {
		return err
	}
	if q.n < 1 || q.n > maxAnswers {
		return invalid("n", "n is %d, expected 1 to %d", q.n, maxAnswers)
	}
	for _, name := range []string{"max_tokens", "max_completion_tokens"} {
		before := q.maxOut
		if given, err := q.read(name, &q.maxOut); err != nil {
			return err
		} else if given && q.maxOut < 1 {
			return invalid(name, "%s is %d, expected 1 or more", name, q.maxOut)
		}
		if before != 0 && q.maxOut != before {
			return invalid(name, "max_tokens is %d and %s is %d: give one of them", before, name, q.maxOut)
		}
	}
	if _, err := q.read("seed", &q.seed); err != nil {
		return err
	}
	_, err = q.read("ignore_eos", &q.ignore)
	return err
}

func (q *request) readNumbers() error {
	for _, f := range []struct {
		name   string
		to     **float64
		lo, hi float64
	}{
		{"temperature", &q.sampling.temperature, 0, 2}, {"top_p", &q.sampling.topP, 0, 1}, {"min_p", &q.sampling.minP, 0, 1},
		{"presence_penalty", &q.sampling.presence, -2, 2}, {"frequency_penalty", &q.sampling.frequency, -2, 2},
		{"repetition_penalty", &q.sampling.repetition, llm.LeastRepetition, 2},
	} {
		if given, err := q.read(f.name, f.to); err != nil {
			return err
		} else if v := *f.to; given && (*v < f.lo || *v > f.hi) {
			return invalid(f.name, "%s is %g, expected %g to %g", f.name, *v, f.lo, f.hi)
		}
	}
	given, err := q.read("top_k", &q.sampling.topK)
	if given && *q.sampling.topK < -1 {
		return invalid("top_k", "top_k is %d, expected 0 or more, or -1 for all", *q.sampling.topK)
	}
	return err
}

// readStop: a string, or several.
func (q *request) readStop() error {
	value := q.members["stop"]
	if len(value) == 0 || string(value) == "null" {
		return nil
	}
	var one string
	if json.Unmarshal(value, &one) == nil {
		q.stop = []string{one}
	} else if json.Unmarshal(value, &q.stop) != nil {
		return wrongType("stop", "a string or a list of strings", value)
	}
	if len(q.stop) > llm.MaxStops {
		return invalid("stop", "%d stop strings are given, at most %d are allowed", len(q.stop), llm.MaxStops)
	}
	for _, s := range q.stop {
		if s == "" || len(s) > llm.MaxStopBytes {
			return invalid("stop", "a stop string has %d bytes, expected 1 to %d", len(s), llm.MaxStopBytes)
		}
	}
	return nil
}

func (q *request) readBias() error {
	var byText map[string]float32
	if _, err := q.read("logit_bias", &byText); err != nil {
		return err
	}
	for text, v := range byText {
		id, err := strconv.Atoi(text)
		if err != nil || strconv.Itoa(id) != text { // 5 and 05 would be one token with two biases
			return invalid("logit_bias", "%.40q in logit_bias is not a token", text)
		}
		if q.bias == nil {
			q.bias = map[int]float32{}
		}
		q.bias[id] = v
	}
	return nil
}
