package graph

import (
	"fmt"
	"slices"

	"tandem/tensor"
)

// Rules of gradients are written in float32. A node of float16, bfloat16 or float64 is
// put, before differentiation, between casts: it computes in float32 what it reads in its
// own type, and its results are rounded to theirs. Casts pass gradients on in float32, so
// that those of half precision neither vanish nor overflow between nodes.

// otherFloat reports whether v is of a floating-point type that gradients pass through
// by casts to float32.
func otherFloat(v *Value) bool {
	return v != nil && slices.Contains([]tensor.DType{tensor.Float16, tensor.BFloat16, tensor.Float64}, v.Type.DType)
}

// floating reports whether v is a float of at least 16 bits.
func floating(v *Value) bool {
	return otherFloat(v) || v != nil && v.Type.Known() && v.Type.DType == tensor.Float32
}

// throughFloat32 reports whether a node must be put between casts. Casts are what is left
// of other types; bodies and lists are written out first, and their nodes looked at then.
func throughFloat32(op *Op, n *Node) bool {
	if op.Late || len(n.Bodies()) > 0 || n.Op == (OpID{Name: "Cast"}) || n.Op == (OpID{Name: "CastLike"}) {
		return false
	}
	unknown := func(v *Value) bool { return v != nil && !v.Type.Known() }
	return slices.ContainsFunc(n.Outputs, otherFloat) ||
		slices.ContainsFunc(n.Inputs, otherFloat) && (slices.ContainsFunc(n.Outputs, floating) || slices.ContainsFunc(n.Outputs, unknown))
}

// inFloat32 is the Expand of a node of another type.
func inFloat32(e *Expansion) ([]*Value, error) {
	n := e.Node
	m := &Node{Op: n.Op, Version: n.Version, Attrs: n.Attrs, Inputs: slices.Clone(n.Inputs), Outputs: make([]*Value, len(n.Outputs))}
	for i, v := range m.Inputs {
		if otherFloat(v) {
			m.Inputs[i] = e.Op("Cast", Attrs{"to": int64(tensor.Float32)}, v)
		}
	}
	for i, v := range n.Outputs {
		if v == nil {
			continue
		}
		if !v.Type.Known() {
			return nil, fmt.Errorf("its result %s has a type that is known only when it runs, too late for a gradient", v.Name)
		}
		m.Outputs[i] = &Value{Name: e.unique(v.Name), Def: m}
	}
	if err := inferNode(e.G, e.Ops, m); err != nil {
		return nil, fmt.Errorf("in float32: %w", err)
	}
	e.G.Nodes = append(e.G.Nodes, m)
	results := slices.Clone(m.Outputs)
	for i, v := range n.Outputs {
		if v != nil && v.Type.DType != results[i].Type.DType {
			results[i] = e.Op("Cast", Attrs{"to": int64(v.Type.DType)}, results[i])
		}
	}
	return results, nil
}
