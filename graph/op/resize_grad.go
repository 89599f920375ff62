package op

import (
	"fmt"
	"maps"

	"tandem/graph"
	"tandem/graph/op/move"
	"tandem/tensor"
)

// grad: the nearest element is moved; interpolation is linear in the data, and its
// gradient spreads each element back to those that it was made of.
func (s resizing) grad(g *graph.Gradient) error {
	if g.Node.Attrs.String("mode", "nearest") == "nearest" {
		return move.Gradient(0)(g)
	}
	attrs := maps.Clone(g.Node.Attrs)
	attrs["scales_input"], attrs["sizes_input"], attrs["roi_input"] = int64(s.scales), int64(s.sizes), int64(s.roi)
	if s.legacy {
		attrs["legacy"] = int64(1)
	}
	inputs := append([]*graph.Value{g.In(0)}, g.Node.Inputs[1:]...)
	for len(inputs) < 4 {
		inputs = append(inputs, nil)
	}
	g.Set(0, g.Private("ResizeGrad", attrs, append(inputs, g.Out(0))...))
	return nil
}

// resizeGradOps: (the inputs of Resize, dy) -> dx.
func resizeGradOps() []graph.Op {
	return []graph.Op{{ID: private("ResizeGrad"), Infer: sameAs(0, 1, 5), Kernel: kernelResizeGrad}}
}

func kernelResizeGrad(c *graph.Call) (func() error, error) {
	a := c.Node.Attrs
	s := resizing{a.Int("legacy", 0) != 0, a.Int("roi_input", 0), a.Int("scales_input", 0), a.Int("sizes_input", 0)}
	dy := c.In[4]
	// The forward call, whose plan is walked backwards.
	forward := &graph.Call{Node: c.Node, In: c.In[:4], Out: []*tensor.Tensor{dy}, Pool: c.Pool}
	m, err := s.mode(a, c.In[0].Rank())
	if err != nil {
		return nil, err
	}
	var passes []resizeBack
	return func() error {
		plan, err := s.plan(forward, m)
		if err != nil {
			return err
		}
		if passes, err = backwards(c, plan, c.In[0].Shape(), dy.Shape(), passes[:0]); err != nil {
			return err
		}
		src := c.In[4].F32()
		for i, p := range passes {
			dst := p.room
			if i == len(passes)-1 {
				dst = c.Out[0].F32()
			}
			p.run(dst, src)
			src = dst
		}
		if len(passes) == 0 {
			copy(c.Out[0].F32(), src)
		}
		return nil
	}, nil
}

// resizeBack is one axis of an interpolation, from its result to its operand.
type resizeBack struct {
	taps                   *axisTaps
	outer, from, to, inner int // to elements of the result come of from of the operand
	room                   []float32
}

// backwards are the axes in the order opposite to interpolation's.
func backwards(c *graph.Call, plan []*axisTaps, in, out []int, passes []resizeBack) ([]resizeBack, error) {
	shape := append([]int{}, out...)
	for d, taps := range plan {
		if taps == nil {
			continue
		}
		if len(taps.index) != out[d]*taps.n {
			return nil, fmt.Errorf("dimension %d has %d elements, %d taps", d, out[d], len(taps.index))
		}
		p := resizeBack{taps: taps, from: in[d]}
		p.outer, p.to, p.inner = around(shape, d)
		shape[d] = in[d]
		var err error
		if p.room, err = graph.Room[float32](c, p.outer*p.from*p.inner); err != nil {
			return nil, err
		}
		passes = append(passes, p)
	}
	return passes, nil
}

func (p *resizeBack) run(dst, src []float32) {
	clear(dst)
	for o := range p.outer {
		to, from := dst[o*p.from*p.inner:][:p.from*p.inner], src[o*p.to*p.inner:][:p.to*p.inner]
		for i := range p.to {
			if p.taps.outside != nil && p.taps.outside[i] {
				continue
			}
			row := from[i*p.inner:][:p.inner]
			for k := range p.taps.n {
				w, sums := float32(p.taps.weight[i*p.taps.n+k]), to[p.taps.index[i*p.taps.n+k]*p.inner:][:p.inner]
				for j, v := range row {
					sums[j] += w * v
				}
			}
		}
	}
}
