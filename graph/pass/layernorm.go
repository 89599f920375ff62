package pass

import (
	"tandem/graph"
	"tandem/tensor"
)

// FuseLayerNorm recognises the layer normalisation of lines [n,rows,elements] as Keras
// writes it, with factors and summands that are made of the statistics first:
//
//	x·s + (beta - mean·s), s = gamma/√(variance + epsilon)
//
// where mean and variance are averages "over the pixels". What it replaces is left to
// Dead.
func FuseLayerNorm() graph.Pass {
	return graph.Pass{Name: "fuse-layer-norm", Run: func(g *graph.Graph, ops *graph.Table) error {
		for _, n := range g.Nodes {
			m := normMatch{}
			if !m.match(n) {
				continue
			}
			n.Op, n.Inputs, n.Version = graph.OpID{Name: "LayerNormalization"}, []*graph.Value{m.x, vectorOf(m.gamma), vectorOf(m.beta)}, 17
			n.Attrs = graph.Attrs{"axis": int64(-1), "epsilon": m.epsilon}
		}
		return Dead().Run(g, ops)
	}}
}

// normMatch is what a layer normalisation reads.
type normMatch struct {
	x, mean, gamma, beta *graph.Value
	epsilon              float32
}

// operands of v, if the operator name computes it.
func operands(v *graph.Value, name string) []*graph.Value {
	if v == nil || v.Def == nil || v.Def.Op != (graph.OpID{Name: name}) {
		return nil
	}
	return v.Def.Inputs
}

// eachWay calls f with the operands of a function of two, in either order, until it is
// content.
func eachWay(v *graph.Value, name string, f func(a, b *graph.Value) bool) bool {
	in := operands(v, name)
	return len(in) == 2 && (f(in[0], in[1]) || f(in[1], in[0]))
}

func (m *normMatch) match(n *graph.Node) bool {
	if n.Op != (graph.OpID{Name: "Add"}) || !isFloat32(n.Outputs[0]) || len(n.Outputs[0].Type.Shape) != 3 {
		return false
	}
	return eachWay(n.Outputs[0], "Add", func(product, shift *graph.Value) bool {
		return eachWay(product, "Mul", func(x, s *graph.Value) bool {
			m.x = x
			return m.factor(s) && m.shift(shift, s)
		})
	}) && vectorAlong(m.gamma, m.x) && vectorAlong(m.beta, m.x)
}

// shift matches beta - mean·s.
func (m *normMatch) shift(v, s *graph.Value) bool {
	return eachWay(v, "Add", func(product, beta *graph.Value) bool {
		m.beta = beta
		return eachWay(product, "Mul", func(negated, other *graph.Value) bool {
			in := operands(negated, "Neg")
			return other == s && len(in) == 1 && in[0] == m.mean
		})
	})
}

// factor matches gamma/√(variance + epsilon) and finds the mean.
func (m *normMatch) factor(s *graph.Value) bool {
	return eachWay(s, "Mul", func(inverse, gamma *graph.Value) bool {
		m.gamma = gamma
		in := operands(inverse, "Reciprocal")
		if in == nil {
			return false
		}
		if in = operands(in[0], "Sqrt"); in == nil {
			return false
		}
		return eachWay(in[0], "Add", func(variance, epsilon *graph.Value) bool {
			var ok bool
			if m.epsilon, ok = number(epsilon); !ok {
				return false
			}
			squares := operands(variance, "GlobalAveragePool")
			if squares == nil {
				return false
			}
			deviations := operands(squares[0], "Mul")
			if deviations == nil || deviations[0] != deviations[1] {
				return false
			}
			parts := operands(deviations[0], "Sub")
			if parts == nil || parts[0] != m.x {
				return false
			}
			m.mean = parts[1]
			mean := operands(m.mean, "GlobalAveragePool")
			return mean != nil && mean[0] == m.x
		})
	})
}

// vectorAlong reports whether v is a constant vector along the last dimension of x.
func vectorAlong(v, x *graph.Value) bool {
	return v.Const != nil && v.Const.Encoding == graph.Dense && v.Const.DType == tensor.Float32 && isBias(v, x)
}

// vectorOf is a constant without its dimensions of 1.
func vectorOf(v *graph.Value) *graph.Value {
	if len(v.Const.Shape) == 1 {
		return v
	}
	c := *v.Const
	c.Shape = tensor.Shape{c.Shape.Len()}
	return &graph.Value{Name: v.Name, Type: graph.Type{DType: c.DType, Shape: graph.Dims(c.Shape...)}, Const: &c}
}
