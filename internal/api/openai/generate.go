package openai

import (
	"context"
	"net/http"
	"sync"

	"tandem/fault"
	"tandem/internal/serve"
	"tandem/internal/tenant"
	"tandem/llm"
)

// piece is a token of one of a request's answers.
type piece struct {
	answer int
	used   usage // by all answers, with this token
	llm.Piece
}

// usage are the tokens of a request.
type usage struct {
	Prompt int `json:"prompt_tokens"`
	Answer int `json:"completion_tokens"`
	Total  int `json:"total_tokens"`
}

// answering is a chat or a completion on its way: it answers when all is there, or as it
// comes.
type answering interface {
	whole(w http.ResponseWriter, r *http.Request, requests []llm.Request) (usage, error)
	stream(w http.ResponseWriter, r *http.Request, requests []llm.Request) (usage, error)
}

// generateFor leases the model that a request names, and records what it has used.
func (s *Service) generateFor(w http.ResponseWriter, r *http.Request, p tenant.Principal, route Route,
	begin func(*request, *serve.Lease) (answering, []llm.Request, error)) error {
	q, err := readRequest(r, route)
	if err != nil {
		return err
	}
	lease, err := s.lease(r, p, q.model)
	if err != nil {
		return err
	}
	defer lease.Release()
	a, requests, err := begin(q, lease)
	if err != nil {
		return err
	}
	answer := a.whole
	if q.stream {
		answer = a.stream
	}
	u, err := answer(w, r, requests)
	lease.Record(u.Prompt, u.Answer, err)
	return err
}

// generate computes all answers at the same time, each prompt perPrompt times, and hands
// their pieces to put as they come, one at a time. An error of put, of the model, or the
// end of ctx stops all. What has been used is told in every case: as the protocol has it,
// a prompt counts once, however many answers it gets.
func generate(ctx context.Context, m *serve.Lease, requests []llm.Request, perPrompt int, put func(piece) error) (u usage, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		all sync.WaitGroup
		mu  sync.Mutex
	)
	for i := 0; i < len(requests); i += perPrompt {
		u.Prompt += len(requests[i].Prompt)
	}
	u.Total = u.Prompt
	for i, r := range requests {
		all.Go(func() {
			for p, err := range m.Generate(ctx, r) {
				mu.Lock()
				if err == nil {
					u.Answer++
					u.Total++
					err = put(piece{i, u, p})
				}
				mu.Unlock()
				if err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	all.Wait()
	return u, fault.From(context.Cause(ctx), "openai.generate")
}

// check asks the model whether it will take every request, before anything is sent.
func check(m *serve.Lease, requests []llm.Request, param string) error {
	for _, r := range requests {
		if err := m.Check(r); err != nil {
			return checked(err, param)
		}
	}
	return nil
}
