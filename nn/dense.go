package nn

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// Dense is a linear layer on the last dimension: y = x·Wᵀ + bias, with W [units,
// inputs].
type Dense struct {
	Units      int
	NoBias     bool
	Activation Activation
	Init       Init // of the weight; "": what suits the activation
}

func (l Dense) Build(b *Builder, x *graph.Value) *graph.Value {
	name := b.scope("dense")
	in, ok := size(b, name, 2, -1, x)
	if !ok || !positive(b, name+" units", l.Units) {
		return x
	}
	inputs := []*graph.Value{x, b.Param(name+".weight", l.Init.or(l.Activation.init()), Fan{in, l.Units, l.Units, in}, l.Units, in)}
	if !l.NoBias {
		inputs = append(inputs, b.Param(name+".bias", Zeros, Fan{}, l.Units))
	}
	return l.Activation.Build(b, b.rows(x, l.Units, func(rows *graph.Value) *graph.Value {
		inputs[0] = rows
		return b.Op("Gemm", graph.Attrs{"transB": int64(1)}, inputs...)
	}))
}

// rows applies f to x as a matrix of rows of its last dimension, and gives the
// result, of n columns, the dimensions of x before the last again.
func (b *Builder) rows(x *graph.Value, n int, f func(*graph.Value) *graph.Value) *graph.Value {
	shape := x.Type.Shape
	if len(shape) == 2 || b.Err() != nil {
		return f(x)
	}
	width, _ := shape[len(shape)-1].Value()
	y := f(b.Op("Reshape", nil, x, b.Ints("matrix", -1, int64(width))))
	return b.Op("Reshape", nil, y, b.leading(x, n))
}

// leading is the shape of x with n as its last dimension, as a value.
func (b *Builder) leading(x *graph.Value, n int) *graph.Value {
	shape := x.Type.Shape
	known, unknown := make([]int64, len(shape)), 0
	for i, d := range shape {
		if v, ok := d.Value(); ok {
			known[i] = int64(v)
		} else {
			known[i] = -1
			unknown++
		}
	}
	known[len(known)-1] = int64(n)
	if unknown <= 1 {
		return b.Ints("shape", known...)
	}
	start := b.Op("Shape", graph.Attrs{"end": int64(-1)}, x)
	return b.Op("Concat", graph.Attrs{"axis": int64(0)}, start, b.Ints("units", int64(n)))
}

// Embedding looks rows of a table [Count, Size] up by int64 indices: the result
// has one dimension more.
type Embedding struct {
	Count, Size int
	Init        Init // "": Normal(1)
}

func (l Embedding) Build(b *Builder, x *graph.Value) *graph.Value {
	name := b.scope("embedding")
	if !positive(b, name+" count and size", l.Count, l.Size) {
		return x
	}
	if d := x.Type.DType; d != tensor.Int64 && d != tensor.Int32 && x.Type.Known() {
		b.Fail(fmt.Errorf("%s takes whole numbers, its input is %v", name, d))
		return x
	}
	return b.Op("Gather", nil, b.Param(name+".weight", l.Init.or(Normal(1)), Fan{l.Size, l.Size, l.Count, l.Size}, l.Count, l.Size), x)
}
