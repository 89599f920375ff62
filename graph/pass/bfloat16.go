package pass

import (
	"maps"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

var (
	bfloat16Linear   = graph.OpID{Domain: graph.Private, Name: "BFloat16Linear"}
	bfloat16ConvLast = graph.OpID{Domain: graph.Private, Name: "BFloat16ConvLast"}
)

// FuseBFloat16 makes a product or a convolution of numbers that have been rounded to
// bfloat16 one of bfloat16: where x has been cast there and back to float32, and the weights
// are a constant of bfloat16 that is cast to float32. It comes before Fold, which would make
// these weights ones of float32. What follows (bias, activation, summand) is FuseLinear's and
// FuseConvLast's to join, and packing the weights of products is Pack's. The channels of a
// convolution move to the end and back, which is for ChannelsLast to spare.
func FuseBFloat16(p *kernel.Pool, packing Packing) graph.Pass {
	packing = packing.orInMemory()
	return graph.Pass{Name: "fuse-bfloat16", Run: func(g *graph.Graph, ops *graph.Table) error {
		packed := map[*graph.Value]*graph.Value{}
		nodes, b := g.Nodes, graph.Extend(g, ops)
		g.Nodes = nil
		for _, n := range nodes {
			conv := isConv(n)
			if !conv && !isLinear(n) {
				g.Nodes = append(g.Nodes, n)
				continue
			}
			x, w := castFrom(castFrom(n.Inputs[0], tensor.BFloat16), tensor.Float32), castFrom(n.Inputs[1], tensor.BFloat16)
			if x == nil || w == nil || w.Const == nil || w.Const.Encoding != graph.Dense || conv && !roundedConv(n, x, w.Const.Shape) {
				g.Nodes = append(g.Nodes, n)
				continue
			}
			inputs := []*graph.Value{x, w}
			if conv {
				if packed[w] == nil {
					v, err := packBFloat16Conv(p, panelOf{w, false}, packing)
					if err != nil {
						return err
					}
					packed[w] = v
				}
				inputs[1] = packed[w]
			}
			if bias := n.Input(2); bias != nil {
				inputs = append(inputs, bias)
			}
			if conv {
				inputs[0] = b.Private("ToLast", nil, x)
				y := b.Private(bfloat16ConvLast.Name, n.Attrs, inputs...)
				n.Op, n.Inputs, n.Attrs = toFirst, []*graph.Value{y}, nil
			} else {
				attrs := graph.Attrs{}
				if n.Attrs.Int("transB", 0) != 0 {
					attrs["transB"] = int64(1)
				}
				n.Op, n.Inputs, n.Attrs = bfloat16Linear, inputs, attrs
			}
			g.Nodes = append(g.Nodes, n)
		}
		return b.Err()
	}}
}

// isConv reports whether n is a convolution without an activation.
func isConv(n *graph.Node) bool { return n.Op == graph.OpID{Name: "Conv"} }

// roundedConv reports whether a convolution of x with weights of that shape has a kernel
// of bfloat16.
func roundedConv(n *graph.Node, x *graph.Value, w tensor.Shape) bool {
	return imageLike(x) && len(w) == len(x.Type.Shape) && RoundsConv(n, w)
}

// RoundsConv reports whether a convolution with weights of that shape is computed by
// products of bfloat16: one group of channels in pairs.
func RoundsConv(n *graph.Node, w tensor.Shape) bool {
	return kernel.BFloat16Conv(w[1], n.Attrs.Int("group", 1))
}

// FilteredConv reports whether Winograd's filtering, which is of float32, computes a
// convolution in less time than products of bfloat16.
func FilteredConv(n *graph.Node) bool {
	w, h, width, ok := filterable(n)
	return ok && kernel.WinogradBeatsDots(h, width, w[1], w[0])
}

// KeepBFloat16 lets products round their own results where nothing but products that would
// round them reads these, as they are or reshaped: half the memory is written and read, and
// what is rounded is still in the cache. It changes no bits.
func KeepBFloat16(p *kernel.Pool) graph.Pass {
	return graph.Pass{Name: "keep-bfloat16", Run: func(g *graph.Graph, _ *graph.Table) error {
		if !kernel.KeepsBFloat16(p) {
			return nil
		}
		uses := g.Uses()
		for _, n := range g.Nodes {
			if n.Op != bfloat16Linear || n.Input(3) != nil {
				continue
			}
			if values := readByBFloat16(g, uses, n.Outputs[0]); values != nil {
				n.Attrs = maps.Clone(n.Attrs)
				n.Attrs["rounded"] = int64(1)
				for _, v := range values {
					v.Type.DType = tensor.BFloat16
				}
			}
		}
		return nil
	}}
}

// readByBFloat16 is v, of rows of an even length, and what it is reshaped to, if all that
// reads them are products of bfloat16, as their x; else nil.
func readByBFloat16(g *graph.Graph, uses map[*graph.Value][]*graph.Node, v *graph.Value) []*graph.Value {
	if g.Kept(v) || !isFloat32(v) || len(uses[v]) == 0 {
		return nil
	}
	if row, ok := v.Type.Shape[len(v.Type.Shape)-1].Value(); !ok || row == 0 || row%2 != 0 {
		return nil
	}
	values := []*graph.Value{v}
	for _, n := range uses[v] {
		switch {
		case n.Op == bfloat16Linear && n.Inputs[0] == v && n.Input(3) != v:
		case n.Op == graph.OpID{Name: "Reshape"} && n.Inputs[0] == v:
			reshaped := readByBFloat16(g, uses, n.Outputs[0])
			if reshaped == nil {
				return nil
			}
			values = append(values, reshaped...)
		default:
			return nil
		}
	}
	return values
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
	t, count, k, n, err := matricesOf(panel)
	if err != nil {
		return nil, err
	}
	w, size := panel.w, kernel.PackedBFloat16Len(k, n, p)
	data, err := packing(panel.key(), count*size, func(dst []byte) {
		for i := range count {
			kernel.PackBFloat16(p, dst[i*size:][:size], t.Bytes()[2*i*k*n:], k, n, panel.trans)
		}
	})
	if err != nil {
		return nil, err
	}
	c := &graph.Constant{DType: tensor.BFloat16, Shape: t.Shape(), Encoding: graph.PanelBFloat16, Data: data}
	return &graph.Value{Name: w.Name + ".packed", Type: w.Type, Const: c}, nil
}

func packBFloat16Conv(p *kernel.Pool, panel panelOf, packing Packing) (*graph.Value, error) {
	w := panel.w.Const
	oc, ic, kh, kw := w.Shape[0], w.Shape[1], 1, w.Shape[len(w.Shape)-1]
	if len(w.Shape) == 4 {
		kh = w.Shape[2]
	}
	data, err := packing(panel.key(), kernel.BFloat16ConvLen(p, oc, ic, kh, kw), func(dst []byte) {
		kernel.PackBFloat16Conv(p, dst, w.Data, oc, ic, kh, kw)
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
