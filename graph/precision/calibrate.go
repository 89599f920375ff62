package precision

import (
	"context"
	"slices"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// Range are the least and the greatest number that a value is taken to have.
type Range struct{ Lo, Hi float32 }

// Ranges are ranges by the names of values.
type Ranges map[string]Range

// samplesPerRun bounds what is kept of a value in one run, and samplesOfAll in all, to find
// percentiles.
const (
	samplesPerRun = 1 << 13
	samplesOfAll  = 1 << 20
)

// Calibrate runs g, a graph that Prepare made, on inputs, and returns the ranges of all its
// values of float32: from the least to the greatest number, or of a percentage of the
// numbers in the middle if it is less than 100.
func Calibrate(ctx context.Context, g *graph.Graph, ops *graph.Table, pool *kernel.Pool, inputs [][]*tensor.Tensor, percent float64) (Ranges, error) {
	seen := map[string]*observed{}
	look := func(name string, t *tensor.Tensor) {
		if t == nil || t.DType() != tensor.Float32 || t.Len() == 0 {
			return
		}
		if seen[name] == nil {
			seen[name] = &observed{}
		}
		seen[name].add(t.F32(), percent < 100)
	}
	program, err := graph.Compile(g, graph.Options{Ops: ops, Pool: pool, Check: func(n *graph.Node, output int, t *tensor.Tensor) error {
		look(n.Outputs[output].Name, t)
		return nil
	}})
	if err != nil {
		return nil, err
	}
	s, err := program.NewSession()
	if err != nil {
		return nil, err
	}
	defer s.Close()
	for _, in := range inputs {
		for i, t := range in {
			look(g.Inputs[i].Name, t)
		}
		if _, err := s.Run(ctx, in, nil); err != nil {
			return nil, err
		}
	}
	found := Ranges{}
	for name, o := range seen {
		found[name] = o.rangeOf(percent)
	}
	return found, nil
}

// observed is what has been seen of a value.
type observed struct {
	Range
	samples []float32
}

func (o *observed) add(x []float32, sample bool) {
	for _, v := range x {
		o.Lo, o.Hi = min(o.Lo, v), max(o.Hi, v)
	}
	if !sample {
		return
	}
	// A step that shares no factor with usual sizes goes over all channels.
	step := max(1, len(x)/samplesPerRun) | 1
	for i := 0; i < len(x) && len(o.samples) < samplesOfAll; i += step {
		o.samples = append(o.samples, x[i])
	}
}

// rangeOf holds 0 in any case.
func (o *observed) rangeOf(percent float64) Range {
	if n := len(o.samples); n > 0 {
		slices.Sort(o.samples)
		out := int(float64(n) * (100 - percent) / 200)
		return Range{min(o.samples[out], 0), max(o.samples[n-1-out], 0)}
	}
	return o.Range
}
