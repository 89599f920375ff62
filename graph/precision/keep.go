package precision

import (
	"context"
	"slices"
	"sync"

	"tandem/fault"
	"tandem/graph"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// Prepare copies g and makes it what Pass rounds: constants are folded, batch
// normalisation is part of the weights. It computes what g does, and can be saved.
func Prepare(g *graph.Graph, ops *graph.Table, pool *kernel.Pool) (*graph.Graph, error) {
	return rewritten(g, ops, pool, pass.Fold(pool), pass.FoldBatchNorm(), pass.Dead())
}

// Round copies g, which Prepare made, and rounds it. What comes out are operators of ONNX.
func Round(g *graph.Graph, ops *graph.Table, form Form, opt Options) (*graph.Graph, error) {
	return rewritten(g, ops, opt.Pool, Pass(form, opt), pass.Dead())
}

func rewritten(g *graph.Graph, ops *graph.Table, pool *kernel.Pool, passes ...graph.Pass) (*graph.Graph, error) {
	program, err := graph.Compile(g, graph.Options{Ops: ops, Pool: pool, Passes: passes})
	if err != nil {
		return nil, err
	}
	return program.Graph(), nil
}

// Search looks for a rounding of a network that is near enough.
type Search struct {
	Graph  *graph.Graph // that Prepare made
	Ops    *graph.Table
	Form   Form
	Inputs [][]*tensor.Tensor // in the order of the graph's inputs
	Always []string           // names of layers that stay in floats in any case
	Options

	want [][]*tensor.Tensor // of the network in floats
	once memo
}

// memo keeps what weights were rounded to from one try to the next.
type memo struct {
	mu   sync.Mutex
	kept map[string][]byte
}

func (m *memo) packing(name string, size int, fill func([]byte)) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if data := m.kept[name]; len(data) == size && data != nil {
		return data, nil
	}
	if m.kept == nil {
		m.kept = map[string][]byte{}
	}
	data := tensor.AlignedBytes(size)
	fill(data)
	m.kept[name] = data
	return data, nil
}

// Result is a rounded network.
type Result struct {
	Graph   *graph.Graph
	Layers  int      // that were rounded
	Kept    []string // layers that stay in floats
	Outputs [][]*tensor.Tensor
	Difference
}

// Wanted are the outputs of the network in floats.
func (s *Search) Wanted(ctx context.Context) ([][]*tensor.Tensor, error) {
	var err error
	if s.want == nil {
		s.want, err = s.outputs(ctx, s.Graph)
	}
	return s.want, err
}

// With rounds all layers but those to keep, and compares.
func (s *Search) With(ctx context.Context, kept []string) (*Result, error) {
	want, err := s.Wanted(ctx)
	if err != nil {
		return nil, err
	}
	opt := s.Options
	opt.Packing = s.once.packing
	opt.Keep = func(name string) bool { return slices.Contains(kept, name) || slices.Contains(s.Always, name) }
	g, err := Round(s.Graph, s.Ops, s.Form, opt)
	if err != nil {
		return nil, err
	}
	r := &Result{Graph: g, Kept: slices.Concat(s.Always, kept), Layers: len(Layers(s.Graph)) - len(Layers(g))}
	if r.Outputs, err = s.outputs(ctx, g); err != nil {
		return nil, err
	}
	r.Difference = Compare(want, r.Outputs)
	return r, nil
}

// outputs runs a graph on all inputs.
func (s *Search) outputs(ctx context.Context, g *graph.Graph) ([][]*tensor.Tensor, error) {
	program, err := graph.Compile(g, graph.Options{Ops: s.Ops, Pool: s.Pool, Passes: pass.Inference(s.Pool)})
	if err != nil {
		return nil, err
	}
	session, err := program.NewSession()
	if err != nil {
		return nil, err
	}
	defer session.Close()
	var list [][]*tensor.Tensor
	for _, in := range s.Inputs {
		out, err := session.Run(ctx, in, nil)
		if err != nil {
			return nil, err
		}
		list = append(list, out)
	}
	return list, nil
}

// Near rounds as many layers as an error of at most limit allows, if that can be with half
// of them: each layer is rounded alone, and those that then are farthest stay in floats.
// The last of several tries is returned if none is near enough. Without inputs, or with a
// limit below 0, all are rounded.
func (s *Search) Near(ctx context.Context, limit float64) (*Result, error) {
	r, err := s.With(ctx, nil)
	if err != nil || r.Error <= limit || limit < 0 || len(s.Inputs) == 0 {
		return r, err
	}
	order, err := s.costs(ctx)
	if err != nil {
		return nil, err
	}
	// The error falls with the number that is kept, nearly always.
	lo, hi := 0, max(1, len(order)/2)
	best, err := s.With(ctx, order[:hi])
	for err == nil && best.Error <= limit && hi-lo > 1 {
		middle := (lo + hi) / 2
		if r, err = s.With(ctx, order[:middle]); err != nil {
			break
		}
		if r.Error <= limit {
			hi, best = middle, r
		} else {
			lo = middle
		}
	}
	return best, err
}

// costs are the names of the layers, those first whose rounding alone costs most.
func (s *Search) costs(ctx context.Context) ([]string, error) {
	var names []string
	for _, l := range Layers(s.Graph) {
		if !slices.Contains(s.Always, l.Name()) {
			names = append(names, l.Name())
		}
	}
	if len(names) < 2 {
		return nil, fault.New("precision.near", fault.Invalid, "the network has %d layers with weights to round", len(names))
	}
	all := s.Inputs
	want := s.want
	defer func() { s.Inputs, s.want = all, want }()
	s.Inputs, s.want = all[:1], want[:1] // one input tells the order well enough
	cost := map[string]float64{}
	for i, name := range names {
		r, err := s.With(ctx, slices.Concat(names[:i], names[i+1:]))
		if err != nil {
			return nil, err
		}
		cost[name] = r.Error
	}
	slices.SortStableFunc(names, func(a, b string) int {
		switch {
		case cost[a] > cost[b]:
			return -1
		case cost[a] < cost[b]:
			return 1
		}
		return 0
	})
	return names, nil
}
