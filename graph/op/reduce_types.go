package op

import (
	"fmt"

	"tandem/graph"
	"tandem/graph/op/narrow"
	"tandem/tensor"
)

// wide are the types in which floating-point kernels compute.
type wide interface{ ~float32 | ~float64 }

type integer interface {
	~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

type number interface{ wide | integer }

// floating picks the kernel by the type of float that a node computes in. Types
// narrower than float32 are computed in float32; float64 may stand beside others in
// outputs only.
func floating(k32, k64 graph.Kernel) graph.Kernel {
	through := narrow.Widened(k32)
	return func(c *graph.Call) (func() error, error) {
		has64, other := false, tensor.Undefined
		for _, t := range c.In {
			switch {
			case t == nil || !t.DType().Float():
			case t.DType() == tensor.Float64:
				has64 = true
			default:
				other = t.DType()
			}
		}
		if !has64 {
			return through(c) // which is k32 where nothing is narrow
		}
		for _, t := range c.Out {
			if t != nil && narrow.Is(t.DType()) {
				other = t.DType()
			}
		}
		if other != tensor.Undefined {
			return nil, fmt.Errorf("float64 beside %v is not supported", other)
		}
		return k64(c)
	}
}

// fullFloat reports whether d is a float that ONNX's arithmetic operators take.
func fullFloat(d tensor.DType) bool { return d.Float() && d.Bits() >= 16 }

// numeric picks the kernel by the type of input 0, any integer or float. A bool is
// computed as a uint8 where the operator allows it.
type numeric struct {
	f32, f64          graph.Kernel
	i8, i16, i32, i64 graph.Kernel
	u8, u16, u32, u64 graph.Kernel
	b                 graph.Kernel // nil: bool is refused
}

func (n numeric) prepare(c *graph.Call) (func() error, error) {
	d := c.In[0].DType()
	k := map[tensor.DType]graph.Kernel{
		tensor.Int8: n.i8, tensor.Int16: n.i16, tensor.Int32: n.i32, tensor.Int64: n.i64,
		tensor.Uint8: n.u8, tensor.Uint16: n.u16, tensor.Uint32: n.u32, tensor.Uint64: n.u64, tensor.Bool: n.b,
	}[d]
	switch {
	case k != nil:
		return k(c)
	case fullFloat(d) && n.f32 != nil:
		return floating(n.f32, n.f64)(c)
	}
	return nil, fmt.Errorf("elements of type %v are not supported", d)
}

// lines see a tensor as [outer, n, inner]: an operation goes along the middle.
type lines struct{ outer, n, inner int }

// linesAlong is the view along one axis of s, which must be one of its dimensions.
func linesAlong(s tensor.Shape, axis int) lines {
	return lines{s[:axis].Len(), s[axis], s[axis+1:].Len()}
}

// each calls f for the offset of every line's first element; its elements are
// inner apart.
func (l lines) each(f func(first int)) {
	for o := range l.outer {
		for i := range l.inner {
			f(o*l.n*l.inner + i)
		}
	}
}
