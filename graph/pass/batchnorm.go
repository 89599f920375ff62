package pass

import (
	"math"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// FoldBatchNorm multiplies the weights of a convolution by the factors of the
// BatchNormalization that alone reads its result, where all are constants, and moves
// its summands into the bias.
func FoldBatchNorm() graph.Pass {
	return graph.Pass{Name: "fold-batch-norm", Run: func(g *graph.Graph, ops *graph.Table) error {
		uses := g.Uses()
		gone := map[*graph.Node]bool{}
		b := graph.Extend(g, ops)
		for _, n := range g.Nodes {
			if n.Op != (graph.OpID{Name: "BatchNormalization"}) || n.Inputs[0].Def == nil {
				continue
			}
			conv := n.Inputs[0].Def
			if conv.Op != (graph.OpID{Name: "Conv"}) || len(uses[n.Inputs[0]]) != 1 || g.Kept(n.Inputs[0]) {
				continue
			}
			scale, shift, ok, err := affine(n)
			if err != nil {
				return err
			}
			if !ok || !foldInto(b, conv, scale, shift) {
				continue
			}
			conv.Outputs[0] = n.Outputs[0]
			conv.Outputs[0].Def = conv
			gone[n] = true
		}
		g.Nodes = slices.DeleteFunc(g.Nodes, func(n *graph.Node) bool { return gone[n] })
		return nil
	}}
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

// foldInto multiplies the weights of conv's output channels and adapts its bias.
func foldInto(b *graph.Builder, conv *graph.Node, scale, shift []float32) bool {
	w, bias := conv.Inputs[1], conv.Input(2)
	constant := func(v *graph.Value) bool {
		return v.Const != nil && v.Const.Encoding == graph.Dense && v.Const.DType == tensor.Float32
	}
	if !constant(w) || bias != nil && !constant(bias) || w.Const.Shape[0] != len(scale) {
		return false
	}
	t, err := w.Const.Tensor()
	if err != nil {
		return false
	}
	weights, row := slices.Clone(t.F32()), t.Len()/len(scale)
	sum := slices.Clone(shift)
	if bias != nil {
		t, err := bias.Const.Tensor()
		if err != nil {
			return false
		}
		for i, v := range t.F32() {
			sum[i] += v * scale[i]
		}
	}
	for i := range weights {
		weights[i] *= scale[i/row]
	}
	conv.Inputs = []*graph.Value{conv.Inputs[0], b.Const(w.Name+".folded", tensor.Of(weights, t.Shape()...)), b.Const(w.Name+".bias", tensor.Of(sum, len(sum)))}
	return true
}
