package graph

import (
	"fmt"
	"slices"

	"tandem/tensor"
)

// gradientOp is an operator of ONNX that differentiates the graph around it: attribute y
// names a value, xs those with respect to which, and zs others that are held fixed. The
// inputs are xs and zs themselves.
func gradientOp() OpID { return OpID{"ai.onnx.preview.training", "Gradient"} }

// ExpandGradients puts in place of each Gradient node the nodes that compute what it asks
// for. The gradient of a value that is no scalar is that of the sum of its elements.
func ExpandGradients(g *Graph, ops *Table) error {
	for {
		at := slices.IndexFunc(g.Nodes, func(n *Node) bool { return n.Op == gradientOp() })
		if at < 0 {
			return nil
		}
		if err := expandGradient(g, ops, at); err != nil {
			return fmt.Errorf("node %v: %w", g.Nodes[at], err)
		}
	}
}

func expandGradient(g *Graph, ops *Table, at int) error {
	n, rest := g.Nodes[at], g.Nodes[at+1:]
	inner := &Graph{Name: g.Name, Opset: g.Opset, Inputs: g.Inputs, Nodes: slices.Clone(g.Nodes[:at])}
	if err := InferTypes(inner, ops); err != nil {
		return err
	}
	b := Extend(inner, ops)
	for _, m := range g.Nodes[at:] { // names that are taken
		for _, v := range m.Outputs {
			if v != nil {
				b.names[v.Name] = true
			}
		}
	}
	wrt, y, err := gradientOf(inner, n)
	if err != nil {
		return err
	}
	if len(y.Type.Shape) > 0 {
		y = b.Op("ReduceSum", Attrs{"keepdims": int64(0)}, y)
	}
	grads, err := Grad(b, y, wrt)
	if err != nil {
		return err
	}
	for i, o := range n.Outputs {
		if o == nil {
			continue
		}
		d := grads[i]
		if d == nil { // y does not depend on it
			d = b.Op("Sub", nil, wrt[i], wrt[i])
		}
		id := &Node{Op: OpID{Name: "Identity"}, Inputs: []*Value{d}, Outputs: []*Value{o}}
		o.Def = id
		inner.Nodes = append(inner.Nodes, id)
	}
	if b.Err() != nil {
		return b.Err()
	}
	g.Nodes = append(inner.Nodes, rest...)
	return nil
}

// gradientOf finds the values that a Gradient node names.
func gradientOf(g *Graph, n *Node) (wrt []*Value, y *Value, err error) {
	byName := map[string]*Value{}
	enter := func(list []*Value) {
		for _, v := range list {
			if v != nil {
				byName[v.Name] = v
			}
		}
	}
	enter(g.Inputs)
	for _, m := range g.Nodes {
		enter(m.Inputs)
		enter(m.Outputs)
	}
	xs, _ := n.Attrs["xs"].([]string)
	zs, _ := n.Attrs["zs"].([]string)
	if len(xs) == 0 || len(n.Inputs) != len(xs)+len(zs) || len(n.Outputs) > len(xs) {
		return nil, nil, fmt.Errorf("%d inputs and %d outputs for %d values xs and %d zs", len(n.Inputs), len(n.Outputs), len(xs), len(zs))
	}
	for i, name := range slices.Concat(xs, zs) {
		v := byName[name]
		if v == nil || n.Inputs[i] != v {
			return nil, nil, fmt.Errorf("input %d is not %q: a gradient elsewhere than at the values of the graph is not supported", i, name)
		}
	}
	name := n.Attrs.String("y", "")
	if y = byName[name]; y == nil || !y.Type.Known() || y.Type.DType != tensor.Float32 {
		return nil, nil, fmt.Errorf("%q is not a float32 value that is computed before", name)
	}
	return n.Inputs[:len(xs)], y, nil
}
