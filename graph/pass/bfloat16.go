package pass

import (
	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

var bfloat16Linear = graph.OpID{Domain: graph.Private, Name: "BFloat16Linear"}

// FuseBFloat16 makes a product of numbers that have been rounded to bfloat16 one of
// bfloat16: where x has been cast there and back to float32, and the weights are a constant
// of bfloat16 that is cast to float32. It comes before Fold, which would make these weights
// ones of float32. What follows (bias, activation, summand) is FuseLinear's to join.
func FuseBFloat16(p *kernel.Pool, packing Packing) graph.Pass {
	packing = packing.orInMemory()
	return graph.Pass{Name: "fuse-bfloat16", Run: func(g *graph.Graph, ops *graph.Table) error {
		packed := map[panelOf]*graph.Value{}
		for _, n := range g.Nodes {
			if !isLinear(n) {
				continue
			}
			x, w := castFrom(castFrom(n.Inputs[0], tensor.BFloat16), tensor.Float32), castFrom(n.Inputs[1], tensor.BFloat16)
			if x == nil || w == nil || w.Const == nil || w.Const.Encoding != graph.Dense {
				continue
			}
			panel := panelOf{w, n.Attrs.Int("transB", 0) != 0}
			if packed[panel] == nil {
				v, err := packBFloat16(p, panel, packing)
				if err != nil {
					return err
				}
				packed[panel] = v
			}
			inputs := []*graph.Value{x, packed[panel]}
			if b := n.Input(2); b != nil {
				inputs = append(inputs, b)
			}
			n.Op, n.Inputs, n.Attrs = bfloat16Linear, inputs, graph.Attrs{}
			if panel.trans {
				n.Attrs["transB"] = int64(1)
			}
		}
		return nil
	}}
}

// castFrom is the value of the given type that v is cast from; nil if it is not.
func castFrom(v *graph.Value, d tensor.DType) *graph.Value {
	if v == nil || v.Def == nil || v.Def.Op != (graph.OpID{Name: "Cast"}) {
		return nil
	}
	x := v.Def.Inputs[0]
	if !x.Type.Known() || x.Type.DType != d {
		return nil
	}
	return x
}

func packBFloat16(p *kernel.Pool, panel panelOf, packing Packing) (*graph.Value, error) {
	w := panel.w.Const
	k, n := w.Shape[0], w.Shape[1]
	if panel.trans {
		k, n = n, k
	}
	data, err := packing(panel.key(), kernel.PackedBFloat16Len(k, n, p), func(dst []byte) {
		kernel.PackBFloat16(p, dst, w.Data, k, n, panel.trans)
	})
	if err != nil {
		return nil, err
	}
	c := &graph.Constant{DType: tensor.BFloat16, Shape: w.Shape, Encoding: graph.PanelBFloat16, Data: data}
	return &graph.Value{Name: panel.w.Name + ".packed", Type: panel.w.Type, Const: c}, nil
}

// RoundProducts lets the products of float32 in a graph of training round their operands
// to bfloat16, in the forward pass and in the gradients. What they read, parameters among
// it, and what they give stays float32. It comes after those that look for products.
func RoundProducts() graph.Pass {
	rounded := map[graph.OpID]string{
		{Name: "MatMul"}: "BFloat16MatMul", {Domain: "com.microsoft", Name: "FusedMatMul"}: "BFloat16MatMul",
		{Name: "Gemm"}: "BFloat16Gemm", {Domain: "com.microsoft", Name: "FusedGemm"}: "BFloat16Gemm",
	}
	return graph.Pass{Name: "round-products", Run: func(g *graph.Graph, _ *graph.Table) error {
		for _, n := range g.Nodes {
			if to := rounded[n.Op]; to != "" && isFloat32(n.Inputs[0]) {
				n.Op = graph.OpID{Domain: graph.Private, Name: to}
			}
		}
		return nil
	}}
}
