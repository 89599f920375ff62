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
	whole(w http.ResponseWriter, r *http.Request, all answers) (usage, error)
	stream(w http.ResponseWriter, r *http.Request, all answers) (usage, error)
}

// answers are what the model computes for one request.
type answers struct {
	queued []llm.Queued
	prompt int // tokens of the prompts
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
	// All are let in, or refused, before the first byte of the answer.
	queued, err := lease.Queue(requests...)
	if err != nil {
		return checked(err, route.prompt())
	}
	all := answers{queued: queued}
	for i, r := range requests {
		defer queued[i].Cancel()
		if i%q.n == 0 { // as the protocol has it, a prompt counts once, however many answers it gets
			all.prompt += len(r.Prompt)
		}
	}
	answer := a.whole
	if q.stream {
		answer = a.stream
	}
	u, err := answer(w, r, all)
	lease.Record(u.Prompt, u.Answer, err)
	return err
}

// generate reads all answers at the same time, and hands their pieces to put as they
// come, one at a time. An error of put, of the model, or the end of ctx stops all. What
// has been used is told in every case.
func (a answers) generate(ctx context.Context, put func(piece) error) (u usage, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		all sync.WaitGroup
		mu  sync.Mutex
	)
	u.Prompt, u.Total = a.prompt, a.prompt
	for i, q := range a.queued {
		all.Go(func() {
			for p, err := range q.Pieces(ctx) {
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
