package narrow

import (
	"tandem/graph"
	"tandem/tensor"
)

// Is reports whether d is a float that no kernel computes in: its elements are
// widened to float32.
func Is(d tensor.DType) bool {
	return d.Float() && d != tensor.Float32 && d != tensor.Float64
}

// Widened lets a float32 kernel serve float16, bfloat16 and the 8- and 4-bit
// floats: it sees float32 tensors in place of every input and output of such a
// type, decoded before it runs and encoded afterwards, in scratch memory. It is
// prepared with types and shapes, so it must not read elements of inputs of these
// types then. The kernel of a Late operator cannot be widened.
func Widened(kernel graph.Kernel) graph.Kernel { return Through(tensor.Float32, kernel, Is) }

// Through lets a kernel see tensors of type wide in place of those whose type which
// picks.
func Through(wide tensor.DType, kernel graph.Kernel, which func(tensor.DType) bool) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		total := 0
		replace := func(list []*tensor.Tensor) (pairs []Pair) {
			for i, x := range list {
				if x == nil || !which(x.DType()) {
					continue
				}
				p := PairOf(x, wide)
				list[i] = p.Wide
				pairs = append(pairs, p)
				total += p.Bytes()
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
			Place(Place(c.Extra(), in), out)
			for _, p := range in {
				if err := tensor.Convert(p.Wide, p.Graph, true); err != nil {
					return err
				}
			}
			if err := run(); err != nil {
				return err
			}
			for _, p := range out {
				if err := tensor.Convert(p.Graph, p.Wide, true); err != nil {
					return err
				}
			}
			return nil
		}, nil
	}
}

// Pair is a tensor of the graph and the wide tensor that a kernel sees in its place.
type Pair struct{ Graph, Wide *tensor.Tensor }

// PairOf makes a wide tensor beside x, without elements: Place gives it memory.
func PairOf(x *tensor.Tensor, wide tensor.DType) Pair {
	p := Pair{x, new(tensor.Tensor)}
	p.Wide.Set(wide, x.Shape(), nil)
	return p
}

// Bytes is the room for the wide tensor, a multiple of a cache line.
func (p Pair) Bytes() int { return (p.Wide.DType().ByteLen(p.Wide.Len()) + 63) &^ 63 }

// Place gives the wide tensors their memory and returns what is left.
func Place(room []byte, pairs []Pair) []byte {
	for _, p := range pairs {
		d := p.Wide.DType()
		p.Wide.Set(d, p.Graph.Shape(), room[:d.ByteLen(p.Graph.Len())])
		room = room[p.Bytes():]
	}
	return room
}
