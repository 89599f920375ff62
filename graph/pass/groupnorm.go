package pass

import (
	"tandem/graph"
	"tandem/tensor"
)

// FuseGroupNorm recognises the normalisation of groups of channels as exporters before
// opset 21 write it, an instance normalisation of the groups as rows and what each channel
// is multiplied by and has added, and makes it GroupNormalization. What it replaces is left
// to Dead.
func FuseGroupNorm() graph.Pass {
	return graph.Pass{Name: "fuse-group-norm", Run: func(g *graph.Graph, ops *graph.Table) error {
		b := graph.Extend(g, ops)
		for _, n := range g.Nodes {
			m := groupMatch{}
			if !m.match(n) {
				continue
			}
			vector := func(name string, list []float32) *graph.Value { return b.Const(name, tensor.Of(list, len(list))) }
			n.Op, n.Inputs, n.Version = graph.OpID{Name: "GroupNormalization"}, []*graph.Value{m.x, vector("scale", m.scale), vector("bias", m.bias)}, 21
			n.Attrs = graph.Attrs{"num_groups": int64(m.groups), "epsilon": m.epsilon}
		}
		return Dead().Run(g, ops)
	}}
}

// groupMatch is what a group normalisation reads.
type groupMatch struct {
	x                *graph.Value
	scale, bias      []float32 // of each channel
	groups, channels int
	epsilon          float32
}

func (m *groupMatch) match(n *graph.Node) bool {
	return n.Op == graph.OpID{Name: "Add"} && isFloat32(n.Outputs[0]) && eachWay(n.Outputs[0], "Add", func(product, bias *graph.Value) bool {
		return eachWay(product, "Mul", func(normal, scale *graph.Value) bool {
			if !m.normalised(normal) {
				return false
			}
			rank := len(m.x.Type.Shape)
			m.scale, m.bias = perChannel(scale, rank, 1, m.channels), perChannel(bias, rank, 1, m.channels)
			return m.scale != nil && m.bias != nil
		})
	})
}

// normalised matches the rows (x - mean)/√(variance + epsilon), in the shape of x.
func (m *groupMatch) normalised(v *graph.Value) bool {
	rows := operands(v, "Reshape")
	if rows == nil {
		return false
	}
	norm := operands(rows[0], "InstanceNormalization")
	if norm == nil || !isAll(norm[1], 1) || !isAll(norm[2], 0) {
		return false
	}
	in := operands(norm[0], "Reshape")
	if in == nil || !isFloat32(in[0]) || !sameShape(v, in[0]) || len(in[0].Type.Shape) < 3 || len(norm[0].Type.Shape) != 3 {
		return false
	}
	m.x, m.epsilon = in[0], rows[0].Def.Attrs.Float("epsilon", 1e-5)
	groups, ok := norm[0].Type.Shape[1].Value()
	channels, known := m.x.Type.Shape[1].Value()
	m.groups, m.channels = groups, channels
	return ok && known && groups > 0 && channels%groups == 0 && norm[0].Type.Shape[0].Equal(m.x.Type.Shape[0])
}

// isAll reports whether v is a constant that has this one value.
func isAll(v *graph.Value, want float32) bool {
	c := v.Const
	if c == nil || c.Encoding != graph.Dense || c.DType != tensor.Float32 {
		return false
	}
	t, err := c.Tensor()
	if err != nil {
		return false
	}
	for _, x := range t.F32() {
		if x != want {
			return false
		}
	}
	return true
}
