package pass

import (
	"tandem/graph"
	"tandem/tensor"
)

// SplitStacks lets a product of stacks [batch·heads, …] of matrices, whose result is
// given the shape [batch, heads, …] afterwards, be one of such stacks from the start: as
// exporters of einsum write attention. What it replaces is left to Dead.
func SplitStacks() graph.Pass {
	return graph.Pass{Name: "split-stacks", Run: func(g *graph.Graph, ops *graph.Table) error {
		nodes := g.Nodes
		s := &stackSplitter{b: graph.Extend(g, ops), uses: g.Uses(), g: g}
		g.Nodes = nil
		changed := false
		for _, n := range nodes {
			if s.split(n) {
				changed = true
				continue
			}
			g.Nodes = append(g.Nodes, n)
		}
		if s.b.Err() != nil || !changed {
			return s.b.Err()
		}
		return Dead().Run(g, ops)
	}}
}

type stackSplitter struct {
	g    *graph.Graph
	b    *graph.Builder
	uses map[*graph.Value][]*graph.Node
}

// split computes the result of n by a product in four dimensions, if n gives that shape
// to one in three.
func (s *stackSplitter) split(n *graph.Node) bool {
	if !reshapes(n) || !isFloat32(n.Outputs[0]) || len(n.Outputs[0].Type.Shape) != 4 {
		return false
	}
	y := n.Outputs[0]
	shape, p := y.Type.Shape, n.Inputs[0]
	for p.Def != nil && reshapes(p.Def) && len(s.uses[p]) == 1 && !s.g.Kept(p) {
		p = p.Def.Inputs[0]
	}
	in := operands(p, "MatMul")
	if in == nil || len(s.uses[p]) != 1 || s.g.Kept(p) || !isFloat32(p) || len(p.Type.Shape) != 3 ||
		!isFloat32(in[0]) || !isFloat32(in[1]) || len(in[0].Type.Shape) != 3 || len(in[1].Type.Shape) != 3 {
		return false
	}
	a, c := in[0].Type.Shape, in[1].Type.Shape
	stacks := shape[0].Mul(shape[1])
	if !p.Type.Shape[0].Equal(stacks) || !p.Type.Shape[1].Equal(shape[2]) || !p.Type.Shape[2].Equal(shape[3]) ||
		!a[0].Equal(stacks) || !c[0].Equal(stacks) {
		return false
	}
	left, right := s.stack(in[0], shape[0], shape[1]), s.stack(in[1], shape[0], shape[1])
	if left == nil || right == nil {
		return false
	}
	made := s.b.Op("MatMul", nil, left, right)
	if s.b.Err() != nil {
		return false
	}
	made.Def.Outputs[0] = y
	y.Def = made.Def
	return true
}

// reshapes reports whether n only gives its input another shape.
func reshapes(n *graph.Node) bool {
	return n.Op.Domain == "" && (n.Op.Name == "Reshape" || n.Op.Name == "Squeeze" || n.Op.Name == "Unsqueeze")
}

// stack is v [batch·heads, rows, columns] in four dimensions: an earlier value that has
// this shape, or v reshaped; nil where the sizes are not known in numbers.
func (s *stackSplitter) stack(v *graph.Value, batch, heads graph.Dim) *graph.Value {
	rows, columns := v.Type.Shape[1], v.Type.Shape[2]
	for x := v; x.Def != nil && reshapes(x.Def); {
		x = x.Def.Inputs[0]
		if isFloat32(x) && x.Type.Shape.Equal(graph.Shape{batch, heads, rows, columns}) {
			return x
		}
	}
	sizes := []int64{-1}
	for _, d := range []graph.Dim{heads, rows, columns} {
		n, ok := d.Value()
		if !ok || n < 1 {
			return nil
		}
		sizes = append(sizes, int64(n))
	}
	return s.b.Op("Reshape", nil, v, s.b.Const("stack", tensor.Of(sizes, len(sizes))))
}
