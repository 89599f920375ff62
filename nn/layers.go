package nn

import (
	"fmt"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// Layer writes nodes that compute its result from x. What is wrong is kept in b: see
// graph.Builder.Err.
type Layer interface {
	Build(b *Builder, x *graph.Value) *graph.Value
}

// Func is a layer of one's own, or a part of a network written as a function.
type Func func(b *Builder, x *graph.Value) *graph.Value

func (f Func) Build(b *Builder, x *graph.Value) *graph.Value { return f(b, x) }

// Sequential applies layers one after the other.
type Sequential []Layer

func (s Sequential) Build(b *Builder, x *graph.Value) *graph.Value {
	for _, l := range s {
		if b.Err() != nil {
			return x
		}
		x = l.Build(b, x)
	}
	return x
}

// Residual adds what its layers make of x to x, or to what Skip makes of it.
type Residual struct {
	Layers     Sequential
	Skip       Layer // nil: x itself
	Activation Activation
}

func (l Residual) Build(b *Builder, x *graph.Value) *graph.Value {
	y, skip := l.Layers.Build(b, x), x
	if l.Skip != nil {
		skip = l.Skip.Build(b, x)
	}
	return l.Activation.Build(b, b.Op("Add", nil, y, skip))
}

// Concat joins what each layer makes of x along Axis, which is not 0, the batch.
type Concat struct {
	Layers []Layer
	Axis   int
}

func (l Concat) Build(b *Builder, x *graph.Value) *graph.Value {
	if l.Axis == 0 {
		b.Fail(fmt.Errorf("concat: axis 0 is the batch, another must be given, such as 1 or -1"))
		return x
	}
	parts := make([]*graph.Value, len(l.Layers))
	for i, layer := range l.Layers {
		parts[i] = layer.Build(b, x)
	}
	return b.Op("Concat", graph.Attrs{"axis": int64(l.Axis)}, parts...)
}

// size is dimension axis of x, from the end if negative, which must be known; the
// rank must be at least min.
func size(b *Builder, layer string, min, axis int, x *graph.Value) (int, bool) {
	s := x.Type.Shape
	if b.Err() != nil {
		return 0, false
	}
	if len(s) < min {
		b.Fail(fmt.Errorf("%s takes at least %d dimensions, its input has shape %v", layer, min, s))
		return 0, false
	}
	if axis < 0 {
		axis += len(s)
	}
	n, ok := s[axis].Value()
	if !ok {
		b.Fail(fmt.Errorf("%s needs to know dimension %d of its input of shape %v", layer, axis, s))
	}
	return n, ok
}

// positive fails unless all numbers are at least 1.
func positive(b *Builder, layer string, numbers ...int) bool {
	for _, n := range numbers {
		if n < 1 {
			b.Fail(fmt.Errorf("%s: %d must be positive", layer, n))
			return false
		}
	}
	return b.Err() == nil
}

// Dropout sets elements to 0 with probability Ratio while training (Srivastava et
// al., 2014), and passes its input on otherwise.
type Dropout struct {
	Ratio float32
}

func (l Dropout) Build(b *Builder, x *graph.Value) *graph.Value {
	if !(l.Ratio >= 0 && l.Ratio < 1) {
		b.Fail(fmt.Errorf("dropout: ratio %v is not in [0,1)", l.Ratio))
		return x
	}
	return b.Op("Dropout", nil, x, b.Const("ratio", tensor.Scalar(l.Ratio)))
}

// Reshape gives each example another shape of as many elements; one of its dimensions may
// be -1, for what is left.
type Reshape struct {
	Shape []int // without the batch
}

func (l Reshape) Build(b *Builder, x *graph.Value) *graph.Value {
	shape, want, left := []int64{0}, 1, 0 // the batch is copied
	for _, d := range l.Shape {
		if shape = append(shape, int64(d)); d == -1 {
			left++
			continue
		}
		want *= d
	}
	if want < 1 || left > 1 {
		b.Fail(fmt.Errorf("reshape: %v must be positive numbers, or one -1", l.Shape))
		return x
	}
	has := 1
	for _, d := range x.Type.Shape[min(1, len(x.Type.Shape)):] {
		n, known := d.Value()
		if !known {
			return b.Op("Reshape", nil, x, b.Ints("shape", shape...))
		}
		has *= n
	}
	if has%want != 0 || left == 0 && has != want {
		b.Fail(fmt.Errorf("reshape: an example of shape %v has %d elements, which do not make %v", x.Type.Shape[1:], has, l.Shape))
		return x
	}
	return b.Op("Reshape", nil, x, b.Ints("shape", shape...))
}

// Permute changes the order of an example's dimensions: [2, 1] makes rows columns.
type Permute struct {
	Axes []int // each from 1 on once: the batch, dimension 0, stays
}

func (l Permute) Build(b *Builder, x *graph.Value) *graph.Value {
	order := []int64{0}
	for _, a := range l.Axes {
		order = append(order, int64(a))
	}
	if sorted := slices.Sorted(slices.Values(l.Axes)); len(order) != len(x.Type.Shape) || len(sorted) > 0 && (sorted[0] != 1 || sorted[len(sorted)-1] != len(sorted) || len(slices.Compact(sorted)) != len(order)-1) {
		b.Fail(fmt.Errorf("permute: %v must name the dimensions of an example, from 1 on, each once; the input has shape %v", l.Axes, x.Type.Shape))
		return x
	}
	return b.Op("Transpose", graph.Attrs{"perm": order}, x)
}

// Flatten makes a matrix of one row per example.
type Flatten struct{}

func (Flatten) Build(b *Builder, x *graph.Value) *graph.Value { return b.Op("Flatten", nil, x) }
