package openai

import (
	"encoding/json"
	"net/http"

	"tandem/internal/serve"
	"tandem/internal/tenant"
	"tandem/llm"
)

// chatAnswer is an answer or, with Object "chat.completion.chunk", a part of one.
type chatAnswer struct {
	ID      string       `json:"id"`
	Object  string       `json:"object"`
	Created int64        `json:"created"`
	Model   string       `json:"model"`
	Choices []chatChoice `json:"choices"`
}

// withUsage has what an answer used, and with a nil Usage says so.
type withUsage struct {
	chatAnswer
	Usage *usage `json:"usage"`
}

type chatChoice struct {
	Index    int           `json:"index"`
	Message  *message      `json:"message,omitempty"`
	Delta    *delta        `json:"delta,omitempty"`
	Logprobs *chatLogprobs `json:"logprobs"`
	Finish   *llm.Finish   `json:"finish_reason"`
}

type message struct {
	Role    string  `json:"role"`
	Content string  `json:"content"`
	Refusal *string `json:"refusal"`
}

type delta struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
}

type chatLogprobs struct {
	Content []tokenLogprob `json:"content"`
	Refusal *string        `json:"refusal"`
}

type tokenLogprob struct {
	spelledLogprob
	Top []spelledLogprob `json:"top_logprobs"`
}

type spelledLogprob struct {
	Token   string  `json:"token"`
	Logprob float32 `json:"logprob"`
	Bytes   []int   `json:"bytes"`
}

// Chat answers a conversation.
func (s *Service) Chat(w http.ResponseWriter, r *http.Request, p tenant.Principal) error {
	return s.generateFor(w, r, p, Chat, s.newChat)
}

// chat is one request on its way.
type chat struct {
	answer   chatAnswer
	model    *serve.Lease
	logprobs bool
	options  streamOptions
}

func (s *Service) newChat(q *request, lease *serve.Lease) (answering, []llm.Request, error) {
	c := &chat{model: lease, options: q.options, answer: chatAnswer{ID: id("chatcmpl-"), Created: s.now().Unix(), Model: q.model}}
	messages, err := q.messages()
	if err != nil {
		return nil, nil, err
	}
	var members map[string]json.RawMessage // so that 5 is not 5.0 to the template
	if _, err := q.read("chat_template_kwargs", &members); err != nil {
		return nil, nil, err
	}
	arguments := map[string]any{}
	for name, value := range members {
		arguments[name] = value
	}
	prompt, err := lease.Chat(messages, arguments)
	if err != nil {
		return nil, nil, checked(err, "messages")
	}
	if _, err := q.read("logprobs", &c.logprobs); err != nil {
		return nil, nil, err
	}
	top, alternatives := 0, -1
	given, err := q.read("top_logprobs", &top)
	switch {
	case err != nil:
		return nil, nil, err
	case given && !c.logprobs:
		return nil, nil, invalid("top_logprobs", "top_logprobs is given and logprobs is not true")
	case top < 0 || top > 20:
		return nil, nil, invalid("top_logprobs", "top_logprobs is %d, expected 0 to 20", top)
	case c.logprobs:
		alternatives = top
	}
	requests := make([]llm.Request, q.n)
	for i := range requests {
		requests[i] = q.requestOf(lease.Sampling(), prompt, alternatives, i)
	}
	return c, requests, nil
}

// whole answers when all is there.
func (c *chat) whole(w http.ResponseWriter, r *http.Request, all answers) (usage, error) {
	choices := make([]chatChoice, len(all.queued))
	for i := range choices {
		choices[i] = chatChoice{Index: i, Message: &message{Role: "assistant"}}
		if c.logprobs {
			choices[i].Logprobs = &chatLogprobs{Content: []tokenLogprob{}}
		}
	}
	u, err := all.generate(r.Context(), func(p piece) error {
		to := &choices[p.answer]
		to.Message.Content += p.Text
		if c.logprobs && !p.End {
			to.Logprobs.Content = append(to.Logprobs.Content, c.spell(p.Piece))
		}
		if p.Finish != llm.FinishNone {
			to.Finish = &p.Finish
		}
		return nil
	})
	if err != nil {
		return u, err
	}
	c.answer.Object, c.answer.Choices = "chat.completion", choices
	return u, send(w, withUsage{c.answer, &u})
}

// stream answers as it comes.
func (c *chat) stream(w http.ResponseWriter, r *http.Request, all answers) (usage, error) {
	e, err := newEvents(w)
	if err != nil {
		return usage{}, err
	}
	c.answer.Object = "chat.completion.chunk"
	empty := ""
	for i := range all.queued {
		if err := c.chunk(e, chatChoice{Index: i, Delta: &delta{Role: "assistant", Content: &empty}}, nil); err != nil {
			return usage{}, err
		}
	}
	u, err := all.generate(r.Context(), func(p piece) error { return c.put(e, p) })
	var last any
	if c.options.Usage {
		c.answer.Choices = []chatChoice{}
		last = withUsage{c.answer, &u}
	}
	return u, e.end(last, err, requestIDOf(w))
}

// put sends a token, if there is something to show, and the end.
func (c *chat) put(e *events, p piece) error {
	used := c.options.on(p.used)
	if p.Text != "" || c.logprobs && !p.End {
		choice := chatChoice{Index: p.answer, Delta: &delta{Content: &p.Text}}
		if c.logprobs && !p.End {
			choice.Logprobs = &chatLogprobs{Content: []tokenLogprob{c.spell(p.Piece)}}
		}
		if err := c.chunk(e, choice, used); err != nil {
			return err
		}
	}
	if p.Finish == llm.FinishNone {
		return nil
	}
	return c.chunk(e, chatChoice{Index: p.answer, Delta: &delta{}, Finish: &p.Finish}, used)
}

// chunk sends a part of the answer; if usage is asked for, each says what it is so far,
// or that it is not known yet.
func (c *chat) chunk(e *events, choice chatChoice, used *usage) error {
	c.answer.Choices = []chatChoice{choice}
	if c.options.Usage {
		return e.data(withUsage{c.answer, used})
	}
	return e.data(c.answer)
}

func (c *chat) spell(p llm.Piece) tokenLogprob {
	t := tokenLogprob{spelledLogprob: c.spellOne(p.Alternative), Top: make([]spelledLogprob, len(p.Top))}
	for i, a := range p.Top {
		t.Top[i] = c.spellOne(a)
	}
	return t
}

func (c *chat) spellOne(a llm.Alternative) spelledLogprob {
	bytes := c.model.TokenBytes(a.ID)
	s := spelledLogprob{Token: valid(bytes), Logprob: max(a.Logprob, lowestLogprob), Bytes: make([]int, len(bytes))}
	for i, b := range bytes {
		s.Bytes[i] = int(b)
	}
	return s
}
