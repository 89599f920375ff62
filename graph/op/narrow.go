package op

import (
	"fmt"
	"unsafe"

	"tandem/graph"
	"tandem/tensor"
)

// narrow reports whether d is a float that no kernel computes in: its elements are
// widened to float32.
func narrow(d tensor.DType) bool {
	return d.Float() && d != tensor.Float32 && d != tensor.Float64
}

// widened lets a float32 kernel serve float16, bfloat16 and the 8- and 4-bit
// floats: it sees float32 tensors in place of every input and output of such a
// type, decoded before it runs and encoded afterwards, in scratch memory. It is
// prepared with types and shapes, so it must not read elements of inputs of these
// types then. The kernel of a Late operator cannot be widened.
func widened(kernel graph.Kernel) graph.Kernel { return through(tensor.Float32, kernel, narrow) }

// carried pairs a tensor of the graph with the wide tensor that the kernel sees.
type carried struct{ graph, wide *tensor.Tensor }

// through lets a kernel see tensors of type wide in place of those whose type which
// picks.
func through(wide tensor.DType, kernel graph.Kernel, which func(tensor.DType) bool) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		total := 0
		replace := func(list []*tensor.Tensor) (pairs []carried) {
			for i, x := range list {
				if x == nil || !which(x.DType()) {
					continue
				}
				p := carried{x, new(tensor.Tensor)}
				p.wide.Set(wide, x.Shape(), nil)
				list[i] = p.wide
				pairs = append(pairs, p)
				total += wideBytes(p)
			}
			return pairs
		}
		in, out := replace(c.In), replace(c.Out)
		if len(in)+len(out) == 0 {
			return kernel(c)
		}
		c.ReserveExtra(total)
		run, err := kernel(c)
		if err != nil {
			return nil, err
		}
		return func() error {
			placeWide(placeWide(c.Extra(), in), out)
			for _, p := range in {
				if err := tensor.Convert(p.wide, p.graph, true); err != nil {
					return err
				}
			}
			if err := run(); err != nil {
				return err
			}
			for _, p := range out {
				if err := tensor.Convert(p.graph, p.wide, true); err != nil {
					return err
				}
			}
			return nil
		}, nil
	}
}

// wideBytes is the room for a wide tensor, a multiple of a cache line.
func wideBytes(p carried) int { return (p.wide.DType().ByteLen(p.wide.Len()) + 63) &^ 63 }

// placeWide gives the wide tensors their memory and returns what is left.
func placeWide(room []byte, pairs []carried) []byte {
	for _, p := range pairs {
		d := p.wide.DType()
		p.wide.Set(d, p.graph.Shape(), room[:d.ByteLen(p.graph.Len())])
		room = room[wideBytes(p):]
	}
	return room
}

// floats checks that the given inputs, where present, are of one floating-point
// type: float64, float32, float16 or bfloat16. The kernel behind it is widened.
func floats(c *graph.Infer, inputs ...int) error {
	if err := alike(c, inputs...); err != nil {
		return err
	}
	for _, i := range inputs {
		if c.Has(i) && (!c.In(i).DType.Float() || c.In(i).DType.Bits() < 16) {
			return fmt.Errorf("input %d (%s) is %v, expected a floating-point type", i, c.Node.Inputs[i].Name, c.In(i).DType)
		}
	}
	return nil
}

// alike checks that the given inputs, where present, are of one type.
func alike(c *graph.Infer, inputs ...int) error {
	first := -1
	for _, i := range inputs {
		switch {
		case !c.Has(i):
		case first < 0:
			first = i
		case c.In(i).DType != c.In(first).DType:
			return fmt.Errorf("input %d (%s) is %v, input %d (%s) is %v: one type is expected",
				first, c.Node.Inputs[first].Name, c.In(first).DType, i, c.Node.Inputs[i].Name, c.In(i).DType)
		}
	}
	return nil
}

// asElements is scratch memory as elements of type T.
func asElements[T tensor.Element](b []byte) []T {
	var zero T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(zero)))
}
