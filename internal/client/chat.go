package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"

	"tandem/fault"
)

// ChatRequest asks for an answer, in the form of /v1/chat/completions. What is nil is
// left to the server.
type ChatRequest struct {
	Model       string         `json:"model"`
	Messages    []ChatMessage  `json:"messages"`
	MaxTokens   int            `json:"max_tokens,omitempty"`
	Temperature *float64       `json:"temperature,omitempty"`
	TopP        *float64       `json:"top_p,omitempty"`
	TopK        *int           `json:"top_k,omitempty"`
	Seed        *uint64        `json:"seed,omitempty"`
	Arguments   map[string]any `json:"chat_template_kwargs,omitempty"`
	Stream      bool           `json:"stream"`
	Options     struct {
		Usage bool `json:"include_usage"`
		Each  bool `json:"continuous_usage_stats"`
	} `json:"stream_options"`
}

// ChatMessage is one turn.
type ChatMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// ChatPiece is a part of an answer.
type ChatPiece struct {
	Text   string
	Tokens int    // of the answer so far; 0 before the first
	Finish string // why the answer ends, with the piece that ends it: stop or length
}

// maxEventBytes bounds one server-sent event.
const maxEventBytes = 4 << 20

// Language checks that a model of the server generates text: NotFound if it does not.
func (c *Client) Language(ctx context.Context, name string) error {
	return c.call(ctx, "client.language", "GET", "/v1/models/"+url.PathEscape(name), nil, nil)
}

// Chat asks for an answer and gives it as it comes. Leaving the loop, or the end of ctx,
// stops the server's work.
func (c *Client) Chat(ctx context.Context, q ChatRequest) iter.Seq2[ChatPiece, error] {
	const op = "client.chat"
	return func(yield func(ChatPiece, error) bool) {
		q.Stream, q.Options.Usage, q.Options.Each = true, true, true
		text, err := json.Marshal(q)
		if err != nil {
			yield(ChatPiece{}, fault.From(err, op))
			return
		}
		header := http.Header{"Content-Type": {"application/json"}, "Accept": {"text/event-stream"}}
		r, err := c.do(ctx, op, "POST", "/v1/chat/completions", header, bytes.NewReader(text), int64(len(text)))
		if err != nil {
			yield(ChatPiece{}, err)
			return
		}
		defer r.Body.Close()
		lines := bufio.NewScanner(r.Body)
		lines.Buffer(nil, maxEventBytes)
		for lines.Scan() {
			event, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
			if !ok {
				continue // between events, or a comment
			}
			if string(event) == "[DONE]" {
				return
			}
			p, err := chatPiece(event)
			if !yield(p, err) || err != nil {
				return
			}
		}
		err = fault.New(op, fault.Unavailable, "the answer of %s ends too early", c.base)
		if lines.Err() != nil {
			err = c.unreachable(lines.Err(), op)
		}
		yield(ChatPiece{}, err)
	}
}

func chatPiece(event []byte) (p ChatPiece, err error) {
	var chunk struct {
		Choices []struct {
			Delta  struct{ Content string }
			Finish string `json:"finish_reason"`
		}
		Usage struct {
			Tokens int `json:"completion_tokens"`
		}
		Error *struct{ Message string }
	}
	if err := json.Unmarshal(event, &chunk); err != nil {
		return p, fault.Wrap(err, "client.chat", fault.Unavailable, "an event of the server is not understood")
	}
	if chunk.Error != nil {
		return p, fault.New("client.chat", fault.Internal, "%s", chunk.Error.Message)
	}
	for _, choice := range chunk.Choices {
		p.Text, p.Finish = p.Text+choice.Delta.Content, choice.Finish
	}
	p.Tokens = chunk.Usage.Tokens
	return p, nil
}
