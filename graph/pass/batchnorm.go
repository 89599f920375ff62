package pass

import (
	"math"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// FoldBatchNorm multiplies the weights of a convolution by the factors of the
// BatchNormalization that alone reads its result, where all are constants, and moves
// its summands into the bias. Products and sums with a constant for each channel, as
// exporters that have normalised already write them, are folded too, before or behind a
// Transpose that moves the channels to the end.
func FoldBatchNorm() graph.Pass {
	return graph.Pass{Name: "fold-batch-norm", Run: func(g *graph.Graph, ops *graph.Table) error {
		f := &affineFolder{g: g, b: graph.Extend(g, ops), uses: g.Uses()}
		gone := map[*graph.Node]bool{}
		for _, n := range g.Nodes {
			done, err := f.fold(n)
			if err != nil {
				return err
			}
			gone[n] = done
		}
		g.Nodes = slices.DeleteFunc(g.Nodes, func(n *graph.Node) bool { return gone[n] })
		return nil
	}}
}

type affineFolder struct {
	g    *graph.Graph
	b    *graph.Builder
	uses map[*graph.Value][]*graph.Node
}

// fold makes n a part of the convolution whose result it reads, if it can.
func (f *affineFolder) fold(n *graph.Node) (bool, error) {
	x, scale, shift, err := f.read(n)
	if x == nil || err != nil {
		return false, err
	}
	conv, _ := f.convOf(x)
	if !foldInto(f.b, conv, scale, shift) {
		return false, nil
	}
	to := x.Def
	to.Outputs[0] = n.Outputs[0]
	to.Outputs[0].Def = to
	delete(f.uses, x)
	return true, nil
}

// convOf is the convolution whose result alone v is, and where its channels lie.
func (f *affineFolder) convOf(v *graph.Value) (conv *graph.Node, axis int) {
	if v == nil || v.Def == nil || len(f.uses[v]) != 1 || f.g.Kept(v) {
		return nil, 0
	}
	switch n := v.Def; n.Op {
	case graph.OpID{Name: "Conv"}:
		return n, 1
	case graph.OpID{Name: "Transpose"}:
		if conv, _ := f.convOf(n.Inputs[0]); conv != nil && n.Inputs[0].Def == conv && movesLast(n) {
			return conv, len(v.Type.Shape) - 1
		}
	}
	return nil, 0
}

// movesLast reports whether a Transpose moves dimension 1 behind the others.
func movesLast(n *graph.Node) bool {
	perm := n.Attrs.Ints("perm")
	return slices.Equal(perm, []int{0, 2, 3, 1}) || slices.Equal(perm, []int{0, 2, 1})
}

// read are the operand of n that is the result of a convolution, and what n multiplies
// it with (nil: nothing) and adds to it; no operand for other nodes.
func (f *affineFolder) read(n *graph.Node) (x *graph.Value, scale, shift []float32, err error) {
	switch n.Op {
	case graph.OpID{Name: "BatchNormalization"}:
		if conv, axis := f.convOf(n.Inputs[0]); conv == nil || axis != 1 {
			return nil, nil, nil, nil
		}
		scale, shift, ok, err := affine(n)
		if !ok || err != nil {
			return nil, nil, nil, err
		}
		return n.Inputs[0], scale, shift, nil
	case graph.OpID{Name: "Mul"}, graph.OpID{Name: "Add"}:
		for i, v := range n.Inputs {
			conv, axis := f.convOf(v)
			if conv == nil || conv.Inputs[1].Const == nil || len(n.Inputs) != 2 {
				continue
			}
			list := perChannel(n.Inputs[1-i], len(v.Type.Shape), axis, conv.Inputs[1].Const.Shape[0])
			switch {
			case list == nil:
			case n.Op.Name == "Mul":
				return v, list, make([]float32, len(list)), nil
			default:
				return v, nil, list, nil
			}
		}
	}
	return nil, nil, nil, nil
}

// perChannel are the numbers that a constant has for the channels of a value, which lie
// on an axis; nil if it varies along other dimensions.
func perChannel(v *graph.Value, rank, axis, channels int) []float32 {
	c := v.Const
	if c == nil || c.Encoding != graph.Dense || c.DType != tensor.Float32 || len(c.Shape) > rank {
		return nil
	}
	for i, d := range c.Shape {
		if d != 1 && (i+rank-len(c.Shape) != axis || d != channels) {
			return nil
		}
	}
	t, err := c.Tensor()
	if err != nil {
		return nil
	}
	list := make([]float32, channels)
	for i := range list {
		list[i] = t.F32()[i%t.Len()]
	}
	return list
}

// affine are the factor and the summand that a BatchNormalization with constant
// statistics has for each channel.
func affine(n *graph.Node) (scale, shift []float32, ok bool, err error) {
	if n.Attrs.Int("training_mode", 0) != 0 || n.Attrs.Int("spatial", 1) == 0 || n.Output(1) != nil {
		return nil, nil, false, nil
	}
	var p [4][]float32
	for i := range p {
		c := n.Inputs[i+1].Const
		if c == nil || c.Encoding != graph.Dense || c.DType != tensor.Float32 {
			return nil, nil, false, nil
		}
		t, err := c.Tensor()
		if err != nil {
			return nil, nil, false, err
		}
		p[i] = t.F32()
	}
	epsilon := float64(n.Attrs.Float("epsilon", 1e-5))
	for i, v := range p[3] {
		f := float64(p[0][i]) / math.Sqrt(float64(v)+epsilon)
		scale = append(scale, float32(f))
		shift = append(shift, float32(float64(p[1][i])-float64(p[2][i])*f))
	}
	return scale, shift, true, nil
}

// foldInto multiplies the weights of conv's output channels, unless scale is nil, and
// adapts its bias.
func foldInto(b *graph.Builder, conv *graph.Node, scale, shift []float32) bool {
	w, bias := conv.Inputs[1], conv.Input(2)
	constant := func(v *graph.Value) bool {
		return v.Const != nil && v.Const.Encoding == graph.Dense && v.Const.DType == tensor.Float32
	}
	if !constant(w) || bias != nil && !constant(bias) || w.Const.Shape[0] != len(shift) {
		return false
	}
	name, sum := w.Name, slices.Clone(shift)
	if bias != nil {
		t, err := bias.Const.Tensor()
		if err != nil {
			return false
		}
		for i, v := range t.F32() {
			if scale != nil {
				v *= scale[i]
			}
			sum[i] += v
		}
	}
	if scale != nil {
		t, err := w.Const.Tensor()
		if err != nil {
			return false
		}
		weights, row := make([]float32, t.Len()), t.Len()/len(scale)
		for i, by := range scale {
			from, to := t.F32()[i*row:][:row], weights[i*row:][:row]
			for j, v := range from {
				to[j] = v * by
			}
		}
		w = b.Const(name+".folded", tensor.Of(weights, t.Shape()...))
	}
	conv.Inputs = []*graph.Value{conv.Inputs[0], w, b.Const(name+".bias", tensor.Of(sum, len(sum)))}
	return true
}
