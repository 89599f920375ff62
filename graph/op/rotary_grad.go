package op

import (
	"fmt"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// grad turns back: a rotation's transpose is the rotation by the opposite angle.
func (in rotaryInputs) grad(g *graph.Gradient) error {
	inputs := slices.Clone(g.Node.Inputs)
	inputs[0], inputs[in.sin] = g.Out(0), g.Op("Neg", nil, g.In(in.sin))
	g.Set(0, g.Again(g.Node.Attrs, inputs...))
	return nil
}

// writtenRotary is a rotation in operators of its own, for the gradient of its tables.
type writtenRotary struct {
	*graph.Expansion
	rotaryInputs
	rotation
}

func (in rotaryInputs) expand(e *graph.Expansion) ([]*graph.Value, error) {
	if !e.Needs(in.cos) && !e.Needs(in.sin) {
		return nil, nil
	}
	table := e.In(in.cos).Type.Shape
	w := writtenRotary{e, in, rotation{interleaved: e.Node.Attrs.Int("interleaved", 0) != 0}}
	var ok bool
	if w.half, ok = table[len(table)-1].Value(); !ok {
		return nil, fmt.Errorf("the width of the tables is not known")
	}
	x, heads, err := w.byHeads()
	if err != nil {
		return nil, err
	}
	cos, err := w.rows(in.cos, heads)
	if err != nil {
		return nil, err
	}
	sin, err := w.rows(in.sin, heads)
	if err != nil {
		return nil, err
	}
	size, ok := x.Type.Shape[3].Value()
	if !ok {
		return nil, fmt.Errorf("the size of a head is not known")
	}
	last, kept := graph.Attrs{"axis": int64(3)}, []*graph.Value(nil)
	if n := size - 2*w.half; n > 0 {
		parts := w.Builder.Node(onnx("Split"), 2, last, x, w.Ints("widths", int64(2*w.half), int64(n)))
		x, kept = parts[0], parts[1:]
	}
	a, b := w.pairs(x)
	mul := func(x, y *graph.Value) *graph.Value { return w.Op("Mul", nil, x, y) }
	y := w.joined(w.Op("Sub", nil, mul(a, cos), mul(b, sin)), w.Op("Add", nil, mul(a, sin), mul(b, cos)))
	y = w.Op("Concat", last, append([]*graph.Value{y}, kept...)...)
	return []*graph.Value{w.Private("ReshapeLike", nil, y, e.In(0))}, nil
}

// byHeads is the input with four dimensions, and which of them are the heads.
func (w writtenRotary) byHeads() (x *graph.Value, axis int64, err error) {
	x = w.In(0)
	if len(x.Type.Shape) == 4 {
		return x, 1, nil
	}
	width, ok := x.Type.Shape[2].Value()
	if !ok {
		return nil, 0, fmt.Errorf("the width of the input is not known")
	}
	n := rotaryHeads(w.Node, width, w.half)
	if n < 1 {
		return nil, 0, fmt.Errorf("%d columns for num_heads %d", width, n)
	}
	return w.Op("Reshape", nil, x, w.Ints("heads", 0, 0, int64(n), -1)), 2, nil
}

// rows are those of a table for each row of the input, with a dimension for the heads.
func (w writtenRotary) rows(table int, heads int64) (*graph.Value, error) {
	t, positions := w.In(table), w.In(w.positions)
	if positions != nil {
		shape := w.In(0).Type.Shape
		rows, ok := shape[len(shape)-2].Value()
		if positions.Type.Shape.Len().Is(1) { // where each example begins
			if !ok {
				return nil, fmt.Errorf("the number of rows is not known")
			}
			first := w.Op("Reshape", nil, positions, w.Ints("first", 1, 1))
			positions = w.Op("Add", nil, first, w.Const("row", rowsOf(rows)))
		}
		t = w.Op("Gather", nil, t, positions)
	}
	return w.Op("Unsqueeze", nil, t, w.Ints("heads", heads)), nil
}

// pairs are the two halves that are turned against each other.
func (w writtenRotary) pairs(x *graph.Value) (a, b *graph.Value) {
	if !w.interleaved {
		parts := w.Builder.Node(onnx("Split"), 2, graph.Attrs{"axis": int64(3), "num_outputs": int64(2)}, x)
		return parts[0], parts[1]
	}
	x = w.Op("Reshape", nil, x, w.Ints("pairs", 0, 0, 0, int64(w.half), 2))
	of := func(i int64) *graph.Value {
		return w.Op("Gather", graph.Attrs{"axis": int64(4)}, x, w.Const("which", tensor.Scalar(i)))
	}
	return of(0), of(1)
}

// joined undoes pairs.
func (w writtenRotary) joined(a, b *graph.Value) *graph.Value {
	if !w.interleaved {
		return w.Op("Concat", graph.Attrs{"axis": int64(3)}, a, b)
	}
	last := w.Ints("axis", 4)
	pairs := w.Op("Concat", graph.Attrs{"axis": int64(4)}, w.Op("Unsqueeze", nil, a, last), w.Op("Unsqueeze", nil, b, last))
	return w.Op("Reshape", nil, pairs, w.Ints("flat", 0, 0, 0, int64(2*w.half)))
}
