package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/graph/op/move"
	"tandem/tensor"
)

func sliceOps() []graph.Op {
	return []graph.Op{
		{ID: onnx("Slice"), Since: 1, Infer: inferSlice, Kernel: kernelSlice, Grad: gradSlice},
		{ID: private("SliceGrad"), Infer: inferSliceGrad, Kernel: kernelSliceGrad},
	}
}

// cut is what Slice takes of one dimension, with limits as they are given.
type cut struct {
	axis       int
	start, end graph.Dim
	step       int
}

func inferSlice(c *graph.Infer) error {
	if err := c.Require(1, 5); err != nil {
		return err
	}
	in := c.In(0)
	cuts, err := cutsOf(c, len(in.Shape))
	if err != nil {
		return err
	}
	shape := append(graph.Shape{}, in.Shape...)
	for _, k := range cuts {
		lo, hi := k.limits(in.Shape[k.axis])
		n := hi.Sub(lo).CeilDiv(graph.Const(k.step))
		if v, ok := n.Value(); ok {
			n = graph.Const(max(v, 0))
		}
		shape[k.axis] = n
	}
	c.Out(0, in.DType, shape)
	if len(shape) == 1 && len(cuts) == 1 {
		sliceContent(c, cuts[0])
	}
	return nil
}

func sliceContent(c *graph.Infer, k cut) {
	if d := c.In(0).DType; d != tensor.Int64 && d != tensor.Int32 {
		return
	}
	content, ok := c.Follow(0)
	if !ok {
		return
	}
	first, last := k.limits(graph.Const(len(content)))
	lo, ok1 := first.Value()
	hi, ok2 := last.Value()
	if !ok1 || !ok2 {
		return
	}
	part := []graph.Dim{}
	for i := lo; i < hi && k.step > 0 || i > hi && k.step < 0; i += k.step {
		part = append(part, content[i])
	}
	c.SetContent(0, part)
}

// cutsOf reads the limits from attributes (before version 10) or inputs.
func cutsOf(c *graph.Infer, rank int) ([]cut, error) {
	var lists [4][]graph.Dim // starts, ends, axes, steps
	for i, name := range []string{"starts", "ends", "axes", "steps"} {
		if list := c.Node.Attrs.Ints(name); list != nil {
			lists[i] = graph.Dims(list...)
		}
		if c.Has(i + 1) {
			var ok bool
			if lists[i], ok = c.Content(i + 1); !ok {
				return nil, graph.ErrNeedsData
			}
		}
	}
	n := len(lists[0])
	axes, err := limitList(lists[2], n, func(i int) int { return i })
	if err != nil {
		return nil, err
	}
	steps, err := limitList(lists[3], n, func(int) int { return 1 })
	if err != nil {
		return nil, err
	}
	if len(lists[1]) != n || len(axes) != n || len(steps) != n {
		return nil, fmt.Errorf("%d starts, %d ends, %d axes, %d steps", n, len(lists[1]), len(axes), len(steps))
	}
	if axes, err = axesIn(axes, rank); err != nil {
		return nil, err
	}
	cuts := make([]cut, n)
	for i := range cuts {
		if steps[i] == 0 {
			return nil, fmt.Errorf("the step along axis %d is 0", axes[i])
		}
		// Steps beyond any dimension are all the same.
		step := min(max(steps[i], -math.MaxInt32), math.MaxInt32)
		cuts[i] = cut{axes[i], lists[0][i], lists[1][i], step}
	}
	return cuts, nil
}

// limitList are the n values of a list of dimensions, or their defaults.
func limitList(list []graph.Dim, n int, def func(i int) int) ([]int, error) {
	if list == nil {
		out := make([]int, n)
		for i := range out {
			out[i] = def(i)
		}
		return out, nil
	}
	out := make([]int, len(list))
	for i, d := range list {
		v, ok := d.Value()
		if !ok {
			return nil, graph.ErrNeedsData
		}
		out[i] = v
	}
	return out, nil
}

// limits are the first index and the one that is not reached any more, in a
// dimension of length d. A limit that is a symbol is taken to be at least 0; when
// the numbers are known they are clamped.
func (k cut) limits(d graph.Dim) (lo, hi graph.Dim) {
	least, most := graph.Const(0), d
	if k.step < 0 {
		most = d.Sub(graph.Const(1))
	}
	lo = clampLimit(k.start, d, least, most)
	if n, ok := k.start.Value(); ok && n >= 0 && n < math.MaxInt32 && k.step > 0 && !isNumber(d) {
		lo = k.start // which leaves n - start, not n - min(start, n)
	}
	if k.step < 0 {
		least = graph.Const(-1)
	}
	return lo, clampLimit(k.end, d, least, most)
}

func isNumber(d graph.Dim) bool { _, ok := d.Value(); return ok }

func clampLimit(v, d, least, most graph.Dim) graph.Dim {
	n, number := v.Value()
	length, known := d.Value()
	switch {
	case number && known:
		if n < 0 {
			n = max(n, -1<<48) + length // no dimension is that long: the sum cannot overflow
		}
		lo, _ := least.Value()
		hi, _ := most.Value()
		return graph.Const(min(max(n, lo), hi))
	case number && n <= math.MinInt32:
		return least
	case number && n < 0:
		return d.Add(v)
	case number && n >= math.MaxInt32, v.Equal(d):
		return most
	case number && n == 0:
		return v
	}
	return v.Min(most)
}

// kernelSlice reads limits that are computed when it runs.
func kernelSlice(c *graph.Call) (func() error, error) {
	m, err := move.Of(c.In[0].DType())
	if err != nil {
		return nil, err
	}
	p := newSlicePlan(c, c.In[0].Shape(), 1)
	var s *move.Strides
	return func() error {
		if s == nil || !p.fixed {
			from, at, err := p.resolve()
			if err != nil {
				return err
			}
			s = move.Box(c.Out[0].Shape())
			s.From, s.FromAt = from, at
			s.Compact()
		}
		m.Strided(c.Out[0], c.In[0], s)
		return nil
	}, nil
}

// slicePlan finds where a slice lies in a tensor of that shape.
type slicePlan struct {
	c     *graph.Call
	shape []int
	first int  // the input that holds the starts
	fixed bool // the limits are constants
}

func newSlicePlan(c *graph.Call, shape []int, first int) *slicePlan {
	p := &slicePlan{c, shape, first, true}
	for i := first; i < len(c.Node.Inputs); i++ {
		if v := c.Node.Inputs[i]; v != nil && v.Const == nil {
			p.fixed = false
		}
	}
	return p
}

// list is one of starts, ends, axes and steps; nil if it is not given.
func (p *slicePlan) list(i int, name string) []int {
	if p.c.Has(p.first + i) {
		return p.c.In[p.first+i].Ints()
	}
	return p.c.Node.Attrs.Ints(name)
}

// resolve are the strides of the slice's elements and the offset of the first.
func (p *slicePlan) resolve() (from []int, at int, err error) {
	starts, axes, steps := p.list(0, "starts"), p.list(2, "axes"), p.list(3, "steps")
	from = move.Dense(p.shape)
	for i, start := range starts {
		k := cut{axis: i, start: graph.Const(start), step: 1}
		if axes != nil {
			if k.axis, err = graph.Axis(axes[i], len(p.shape)); err != nil {
				return nil, 0, err
			}
		}
		if steps != nil {
			k.step = min(max(steps[i], -math.MaxInt32), math.MaxInt32)
		}
		lo, _ := k.limits(graph.Const(p.shape[k.axis]))
		n, _ := lo.Value()
		at += n * from[k.axis]
		from[k.axis] *= k.step
	}
	return from, at, nil
}

// SliceGrad(dy, x, starts, ends, axes, steps) puts dy where the slice was and
// zeros elsewhere.
func gradSlice(g *graph.Gradient) error {
	inputs := append([]*graph.Value{g.Out(0)}, g.Node.Inputs...)
	g.Set(0, g.Private("SliceGrad", g.Node.Attrs, inputs...))
	return nil
}

func inferSliceGrad(c *graph.Infer) error {
	c.Out(0, c.In(1).DType, c.In(1).Shape)
	return nil
}

func kernelSliceGrad(c *graph.Call) (func() error, error) {
	m, err := move.Of(c.In[0].DType())
	if err != nil {
		return nil, err
	}
	p := newSlicePlan(c, c.In[1].Shape(), 2)
	return func() error {
		to, at, err := p.resolve()
		if err != nil {
			return err
		}
		clear(c.Out[0].Bytes())
		s := move.Box(c.In[0].Shape())
		s.To, s.ToAt = to, at
		m.Strided(c.Out[0], c.In[0], s.Compact())
		return nil
	}, nil
}
