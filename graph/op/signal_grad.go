package op

import (
	"fmt"
	"math"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// gradDFT: the transform is linear, and its gradient the transform with the other sign. A
// half of a spectrum stands for both, so that all but what is its own mirror counts twice.
func gradDFT(g *graph.Gradient) error {
	t, err := dftFormOf(g)
	if err != nil {
		return err
	}
	dy := g.Out(0)
	axis := g.Const("axis", tensor.Scalar(int64(t.axis)))
	transform := func(inverse int64, x *graph.Value) *graph.Value {
		return g.Op("DFT", graph.Attrs{"inverse": inverse}, x, nil, axis)
	}
	var dx *graph.Value
	switch {
	case t.inverse && t.oneSided:
		dx = t.fit(g, transform(0, dy), t.n, t.n/2+1)
		twice := tensor.New(tensor.Float32, append([]int{t.n/2 + 1}, slices.Repeat([]int{1}, t.rank-1-t.axis)...)...)
		for k := range twice.F32() {
			if twice.F32()[k] = 2 / float32(t.n); k == 0 || 2*k == t.n {
				twice.F32()[k] = 1 / float32(t.n)
			}
		}
		dx = t.fit(g, g.Op("Mul", nil, dx, g.Const("twice", twice)), t.n/2+1, t.in)
	case t.inverse:
		dx = g.Op("Mul", nil, transform(0, dy), g.Scalar("share", 1/float32(t.n)))
		dx = t.fit(g, dx, t.n, t.in)
	default:
		dx = transform(1, t.fit(g, dy, t.out, t.n))
		dx = t.fit(g, g.Op("Mul", nil, dx, g.Scalar("number", float32(t.n))), t.n, t.in)
	}
	if t.real {
		dx = slice(g.Builder, dx, t.rank-1, 0, 1)
	}
	g.Set(0, dx)
	return nil
}

// dftForm is what one DFT does, in numbers.
type dftForm struct {
	axis, rank        int
	in, n, out        int // numbers that come, that are transformed, and that go
	inverse, oneSided bool
	real              bool // what comes
}

func dftFormOf(g *graph.Gradient) (dftForm, error) {
	a, x, y := g.Node.Attrs, g.In(0).Type.Shape, g.Node.Outputs[0].Type.Shape
	t := dftForm{rank: len(x), inverse: a.Int("inverse", 0) != 0, oneSided: a.Int("onesided", 0) != 0}
	axis, ok := -2, true
	if g.Builder.G.OpVersion(g.Node) < 20 {
		axis = a.Int("axis", 1)
	} else if g.In(2) != nil {
		axis, ok = graph.Integer(g.In(2))
	}
	if !ok {
		return t, fmt.Errorf("an axis that is computed has no gradient")
	}
	var err error
	if t.axis, err = dftAxis(axis, len(x)); err != nil {
		return t, err
	}
	in, ok1 := x[t.axis].Value()
	out, ok2 := y[t.axis].Value()
	parts, ok3 := x[len(x)-1].Value()
	if !ok1 || !ok2 || !ok3 {
		return t, fmt.Errorf("a signal of shape %v, whose length is not known, has no gradient", x)
	}
	t.in, t.out, t.n, t.real = in, out, out, parts == 1
	if given, ok := graph.Integer(g.In(1)); ok {
		t.n = given
	} else if t.oneSided && !t.inverse {
		t.n = in
	}
	return t, nil
}

// fit cuts or fills up with zeros from one number of elements to another.
func (t dftForm) fit(g *graph.Gradient, x *graph.Value, from, to int) *graph.Value {
	switch {
	case to < from:
		return slice(g.Builder, x, t.axis, 0, to)
	case to > from:
		pads := make([]int64, 2*t.rank)
		pads[t.rank+t.axis] = int64(to - from)
		return g.Op("Pad", nil, x, g.Ints("pads", pads...))
	}
	return x
}

// slice is elements [from,to) of a dimension.
func slice(b *graph.Builder, x *graph.Value, axis, from, to int) *graph.Value {
	return b.Op("Slice", nil, x, b.Ints("from", int64(from)), b.Ints("to", int64(to)), b.Ints("axis", int64(axis)))
}

// expandSTFT gathers the frames, weights them and transforms each.
func expandSTFT(e *graph.Expansion) ([]*graph.Value, error) {
	x, y := e.In(0), e.Node.Outputs[0].Type.Shape
	step, ok1 := graph.Integer(e.In(1))
	frames, ok2 := y[1].Value()
	length, ok3 := 0, true
	if e.In(3) != nil {
		length, ok3 = graph.Integer(e.In(3))
	} else {
		length, ok3 = e.In(2).Type.Shape[0].Value()
	}
	if !ok1 || !ok2 || !ok3 || frames*length > math.MaxInt32 {
		return nil, fmt.Errorf("frames whose number or length is not known before it runs have no gradient")
	}
	at := tensor.New(tensor.Int64, frames, length)
	for i := range at.I64() {
		at.I64()[i] = int64(i/length*step + i%length)
	}
	cut := e.Op("Gather", graph.Attrs{"axis": int64(1)}, x, e.Const("frames", at))
	if len(x.Type.Shape) == 2 {
		cut = e.Op("Unsqueeze", nil, cut, e.Ints("axis", 3))
	}
	if w := e.In(2); w != nil {
		cut = e.Op("Mul", nil, cut, e.Op("Unsqueeze", nil, w, e.Ints("axis", 1)))
	}
	attrs := graph.Attrs{"onesided": int64(e.Node.Attrs.Int("onesided", 1))}
	return []*graph.Value{e.Op("DFT", attrs, cut, nil, e.Const("axis", tensor.Scalar(int64(2))))}, nil
}
