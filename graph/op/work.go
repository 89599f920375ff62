package op

import (
	"tandem/graph"
	"tandem/tensor"
)

// The functions here count arithmetic operations for Op.Work: a multiplication and an
// addition are two. What else an operator does (bias, activation) is left out.

// workProduct counts products of matrices: two for each element of the result and each
// of the inner dimension, which is the last of the left input unless that is transposed.
func workProduct(n *graph.Node, in, out []tensor.Shape) float64 {
	a := in[0]
	if len(a) == 0 {
		return 0
	}
	inner := a[len(a)-1]
	if len(a) > 1 && n.Attrs.Int("transA", 0) != 0 {
		inner = a[len(a)-2]
	}
	return 2 * float64(out[0].Len()) * float64(inner)
}

// workConv counts convolutions with weights [m, c/group, k…] as the given input: each
// element of the result adds up c/group·k… products.
func workConv(weights int) func(n *graph.Node, in, out []tensor.Shape) float64 {
	return func(_ *graph.Node, in, out []tensor.Shape) float64 {
		return 2 * float64(out[0].Len()) * float64(in[weights][1:].Len())
	}
}

// workConvTranspose: each element of the input is multiplied with [m/group, k…] weights.
func workConvTranspose(_ *graph.Node, in, _ []tensor.Shape) float64 {
	return 2 * float64(in[0].Len()) * float64(in[1][1:].Len())
}

// workRecurrent counts the products of each step with the weights of inputs and state:
// x is [steps, batch, …], or [batch, steps, …] with layout 1, which is as many.
func workRecurrent(_ *graph.Node, in, _ []tensor.Shape) float64 {
	return 2 * float64(in[0][:2].Len()) * float64(in[1].Len()+in[2].Len())
}

// workAttention counts the products of queries with keys, and of the weights with the
// values, whose width is taken to be that of the keys. Keys are those of output 1, where
// it joins them with those before, or of input 1.
func workAttention(_ *graph.Node, in, out []tensor.Shape) float64 {
	keys := 0
	switch {
	case len(out) > 1 && len(out[1]) == 4:
		keys = out[1][2]
	case len(in) < 2 || len(in[1]) < 3: // queries, keys and values in one
		keys = in[0][1]
	case len(in[1]) == 5:
		keys = in[1][1]
	default:
		keys = in[1][len(in[1])-2]
	}
	return 4 * float64(out[0].Len()) * float64(keys)
}

// workPackedAttention: rows [batch, rows, width] are multiplied with [width, 3·width]
// weights first.
func workPackedAttention(_ *graph.Node, in, out []tensor.Shape) float64 {
	return 2*float64(in[0][:2].Len())*float64(in[1].Len()) + 4*float64(out[0].Len())*float64(in[0][1])
}
