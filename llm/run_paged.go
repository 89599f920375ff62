package llm

import (
	"context"
	"math/bits"

	"tandem/graph"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// pagedRunner computes steps by the paged form of a decoder: the tokens of all parts lie
// one after another, and each finds its keys and values by its pages.
type pagedRunner struct {
	session *graph.Session
	order   []string // of the graph's inputs
	vocab   int

	ids, positions, rows, past, lengths, blocks []int64
	logits                                      map[int]*tensor.Tensor // by number of rows: results are read before the next step
}

func newPagedRunner(p *graph.Program, vocab int) (*pagedRunner, error) {
	s, err := p.NewSession()
	if err != nil {
		return nil, err
	}
	r := &pagedRunner{session: s, vocab: vocab, logits: map[int]*tensor.Tensor{}}
	for _, v := range p.Graph().Inputs {
		r.order = append(r.order, v.Name)
	}
	return r, nil
}

func (r *pagedRunner) run(ctx context.Context, step []part) ([][]float32, error) {
	width := r.arrange(step)
	n, sequences := len(r.ids), len(step)
	byName := map[string]*tensor.Tensor{
		InputIDs: tensor.Of(r.ids, 1, n), InputPositions: tensor.Of(r.positions, 1, n),
		InputRows: tensor.Of(r.rows, len(r.rows)), InputPast: tensor.Of(r.past, sequences),
		pass.InputLengths: tensor.Of(r.lengths, sequences+1), pass.InputBlocks: tensor.Of(r.blocks, sequences, width),
	}
	in := make([]*tensor.Tensor, len(r.order))
	for i, name := range r.order {
		in[i] = byName[name]
	}
	y := r.logits[len(r.rows)]
	if y == nil {
		y = tensor.New(tensor.Float32, len(r.rows), r.vocab)
		r.logits[len(r.rows)] = y
	}
	if _, err := r.session.Run(ctx, in, []*tensor.Tensor{y}); err != nil {
		return nil, err
	}
	out := make([][]float32, 0, len(r.rows))
	for i := range r.rows {
		out = append(out, y.F32()[i*r.vocab:][:r.vocab])
	}
	return out, nil
}

// arrange fills the integers of a step, and returns how many pages a row of the table
// has: a power of two, so that a step has the shapes of the one before it, for which
// memory and kernels are prepared, more often than not.
func (r *pagedRunner) arrange(step []part) (width int) {
	r.ids, r.positions, r.rows, r.past, r.blocks = r.ids[:0], r.positions[:0], r.rows[:0], r.past[:0], r.blocks[:0]
	r.lengths = append(r.lengths[:0], 0)
	most := 1
	for _, p := range step {
		most = max(most, len(p.pages))
	}
	width = 1 << bits.Len(uint(most-1))
	for _, p := range step {
		for i := p.done; i < p.done+p.count; i++ {
			r.ids, r.positions = append(r.ids, int64(p.tokens[i])), append(r.positions, int64(i))
		}
		if p.last() {
			r.rows = append(r.rows, int64(len(r.ids)-1))
		}
		r.past, r.lengths = append(r.past, int64(p.done)), append(r.lengths, int64(len(r.ids)))
		for i := range width {
			page := int64(-1)
			if i < len(p.pages) {
				page = int64(p.pages[i])
			}
			r.blocks = append(r.blocks, page)
		}
	}
	return width
}

func (r *pagedRunner) close() { r.session.Close() }

// CacheBytes is the memory that keys and values of one position take, of all layers.
func (c *Config) CacheBytes() int64 {
	var n int64
	for _, l := range c.Layers {
		if l.Shares < 0 {
			n += int64(kernel.KeyPageBytes(l.KVHeads, l.HeadSize) + kernel.ValuePageBytes(l.KVHeads, l.HeadSize))
		}
	}
	return n / kernel.PageTokens
}
