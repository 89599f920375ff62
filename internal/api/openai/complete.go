package openai

import (
	"net/http"
	"strings"
	"unicode/utf8"

	"tandem/internal/serve"
	"tandem/internal/tenant"
	"tandem/llm"
)

// lowestLogprob stands for minus infinity, which JSON does not have.
const lowestLogprob = -9999

// defaultCompletion is how many tokens an answer has if the request does not say.
const defaultCompletion = 16

// valid is text for JSON: bytes that are no character are replaced.
func valid(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }

// textAnswer is an answer, or a part of one in a stream.
type textAnswer struct {
	ID      string       `json:"id"`
	Object  string       `json:"object"`
	Created int64        `json:"created"`
	Model   string       `json:"model"`
	Choices []textChoice `json:"choices"`
}

type textWithUsage struct {
	textAnswer
	Usage *usage `json:"usage"`
}

type textChoice struct {
	Index    int           `json:"index"`
	Text     string        `json:"text"`
	Logprobs *textLogprobs `json:"logprobs"`
	Finish   *llm.Finish   `json:"finish_reason"`
}

type textLogprobs struct {
	Tokens   []string             `json:"tokens"`
	Logprobs []float32            `json:"token_logprobs"`
	Top      []map[string]float32 `json:"top_logprobs"`
	Offsets  []int                `json:"text_offset"` // of each token, in characters of the answer
}

// Complete goes on with texts or tokens.
func (s *Service) Complete(w http.ResponseWriter, r *http.Request, p tenant.Principal) error {
	return s.generateFor(w, r, p, Completions, s.newCompletion)
}

// completion is one request on its way.
type completion struct {
	answer   textAnswer
	model    *serve.Lease
	logprobs bool
	options  streamOptions
	written  []int // characters of each answer so far
}

func (s *Service) newCompletion(q *request, lease *serve.Lease) (answering, []llm.Request, error) {
	if q.maxOut == 0 {
		q.maxOut = defaultCompletion
	}
	top := -1
	given, err := q.read("logprobs", &top)
	switch {
	case err != nil:
		return nil, nil, err
	case given && (top < 0 || top > 5):
		return nil, nil, invalid("logprobs", "logprobs is %d, expected 0 to 5", top)
	}
	prompts, err := q.prompts(lease)
	if err != nil {
		return nil, nil, err
	}
	var requests []llm.Request
	for _, prompt := range prompts {
		for i := range q.n {
			requests = append(requests, q.requestOf(lease.Sampling(), prompt, top, i))
		}
	}
	c := &completion{
		model: lease, options: q.options, logprobs: given, written: make([]int, len(requests)),
		answer: textAnswer{ID: id("cmpl-"), Object: "text_completion", Created: s.now().Unix(), Model: q.model},
	}
	return c, requests, nil
}

// whole answers when all is there.
func (c *completion) whole(w http.ResponseWriter, r *http.Request, all answers) (usage, error) {
	choices := make([]textChoice, len(all.queued))
	for i := range choices {
		choices[i] = textChoice{Index: i}
		if c.logprobs {
			choices[i].Logprobs = newTextLogprobs()
		}
	}
	u, err := all.generate(r.Context(), func(p piece) error {
		to := &choices[p.answer]
		to.Text += p.Text
		if c.logprobs && !p.End {
			c.spell(to.Logprobs, p)
		}
		if p.Finish != llm.FinishNone {
			to.Finish = &p.Finish
		}
		return nil
	})
	if err != nil {
		return u, err
	}
	c.answer.Choices = choices
	return u, send(w, textWithUsage{c.answer, &u})
}

// stream answers as it comes.
func (c *completion) stream(w http.ResponseWriter, r *http.Request, all answers) (usage, error) {
	e, err := newEvents(w)
	if err != nil {
		return usage{}, err
	}
	u, err := all.generate(r.Context(), func(p piece) error {
		if p.Text == "" && !c.logprobs && p.Finish == llm.FinishNone {
			return nil
		}
		choice := textChoice{Index: p.answer, Text: p.Text}
		if c.logprobs && !p.End {
			choice.Logprobs = newTextLogprobs()
			c.spell(choice.Logprobs, p)
		}
		if p.Finish != llm.FinishNone {
			choice.Finish = &p.Finish
		}
		c.answer.Choices = []textChoice{choice}
		if c.options.Usage {
			return e.data(textWithUsage{c.answer, c.options.on(p.used)})
		}
		return e.data(c.answer)
	})
	var last any
	if c.options.Usage {
		c.answer.Choices = []textChoice{}
		last = textWithUsage{c.answer, &u}
	}
	return u, e.end(last, err, requestIDOf(w))
}

func newTextLogprobs() *textLogprobs {
	return &textLogprobs{Tokens: []string{}, Logprobs: []float32{}, Top: []map[string]float32{}, Offsets: []int{}}
}

// spell adds a token.
func (c *completion) spell(to *textLogprobs, p piece) {
	text := valid(c.model.TokenBytes(p.ID))
	top := map[string]float32{}
	for _, a := range p.Top {
		top[valid(c.model.TokenBytes(a.ID))] = max(a.Logprob, lowestLogprob)
	}
	to.Tokens, to.Logprobs = append(to.Tokens, text), append(to.Logprobs, max(p.Logprob, lowestLogprob))
	to.Top, to.Offsets = append(to.Top, top), append(to.Offsets, c.written[p.answer])
	c.written[p.answer] += charactersBegun(c.model.TokenBytes(p.ID))
}

// charactersBegun is how many characters begin in the bytes of a token: one may take
// several tokens.
func charactersBegun(token []byte) (n int) {
	for _, b := range token {
		if utf8.RuneStart(b) {
			n++
		}
	}
	return n
}
