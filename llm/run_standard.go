package llm

import (
	"context"

	"tandem/graph"
	"tandem/tensor"
)

// standardRunner runs the graph as it stands: one session, with a cache of the whole
// context, for each sequence.
type standardRunner struct {
	program  *graph.Program
	sessions map[int]*graph.Session // by slot
}

func (r *standardRunner) run(ctx context.Context, step []part) ([][]float32, error) {
	var logits [][]float32
	for _, p := range step {
		s := r.sessions[p.slot]
		if s == nil {
			var err error
			if s, err = r.program.NewSession(); err != nil {
				return nil, err
			}
			r.sessions[p.slot] = s
		}
		out, err := s.Run(ctx, inputsOf(p), nil)
		if err != nil {
			return nil, err
		}
		if p.last() {
			logits = append(logits, out[0].F32())
		}
	}
	return logits, nil
}

// inputsOf are the graph's inputs for a part, in the order of the graph; the last row
// alone gets logits.
func inputsOf(p part) []*tensor.Tensor {
	ids, positions := make([]int64, p.count), make([]int64, p.count)
	for i := range p.count {
		ids[i], positions[i] = int64(p.tokens[p.done+i]), int64(p.done+i)
	}
	one := func(n int) *tensor.Tensor { return tensor.Of([]int64{int64(n)}, 1) }
	return []*tensor.Tensor{
		tensor.Of(ids, 1, p.count), tensor.Of(positions, 1, p.count), one(p.done), one(p.done + p.count), one(p.count - 1),
	}
}

func (r *standardRunner) close() {
	for _, s := range r.sessions {
		s.Close()
	}
}
