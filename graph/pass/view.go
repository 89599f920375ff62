package pass

import (
	"slices"

	"tandem/graph"
)

// view is how a value's elements lie in the memory of an earlier one, over nodes
// that only rearrange: every dimension is a list of strided runs, outermost first.
type view struct {
	dims   [][]run
	offset graph.Dim
}

// run is a number of elements at a distance.
type run struct{ size, stride graph.Dim }

// dense is the view of a value on itself.
func dense(shape graph.Shape) view {
	v := view{dims: make([][]run, len(shape))}
	for i, d := range shape {
		v.dims[i] = []run{{d, shape[i+1:].Len()}}
	}
	return v
}

// through is the view after a node, whose input 0 it is the view of; false where
// the node does more than rearrange, or in a way that is not known.
func (v view) through(n *graph.Node, out *graph.Value) (view, bool) {
	if n.Op.Domain != "" || !out.Type.Known() {
		return v, false
	}
	switch n.Op.Name {
	case "Transpose":
		perm := n.Attrs.Ints("perm")
		if len(perm) != len(v.dims) {
			return v, false
		}
		dims := make([][]run, len(perm))
		for i, p := range perm {
			dims[i] = v.dims[p]
		}
		return view{dims, v.offset}, true
	case "Reshape", "Squeeze", "Unsqueeze", "Flatten":
		return v.reshape(out.Type.Shape)
	case "Gather":
		axis := n.Attrs.Int("axis", 0)
		at, ok := index(n.Inputs[1])
		if !ok || axis < 0 || axis >= len(v.dims) || len(v.dims[axis]) != 1 {
			return v, false
		}
		offset := v.offset.Add(v.dims[axis][0].stride.Mul(graph.Const(at)))
		return view{slices.Delete(slices.Clone(v.dims), axis, axis+1), offset}, true
	case "Split":
		return v.split(n, out)
	}
	return v, false
}

// split is the view of one output of Split.
func (v view) split(n *graph.Node, out *graph.Value) (view, bool) {
	axis := n.Attrs.Int("axis", 0)
	if axis < 0 {
		axis += len(v.dims)
	}
	if axis < 0 || axis >= len(v.dims) || len(v.dims[axis]) != 1 {
		return v, false
	}
	r := v.dims[axis][0]
	for _, o := range n.Outputs {
		if o == nil || !o.Type.Known() {
			return v, false
		}
		if o == out {
			break
		}
		v.offset = v.offset.Add(r.stride.Mul(o.Type.Shape[axis]))
	}
	v.dims = slices.Clone(v.dims)
	v.dims[axis] = []run{{out.Type.Shape[axis], r.stride}}
	return v, true
}

// index is the number in a constant scalar, not counted from the end.
func index(v *graph.Value) (int, bool) {
	if v == nil || v.Const == nil || len(v.Const.Shape) != 0 {
		return 0, false
	}
	t, err := v.Const.Tensor()
	if err != nil {
		return 0, false
	}
	switch v.Const.DType.String() {
	case "int64":
		return int(t.I64()[0]), t.I64()[0] >= 0
	}
	return 0, false
}

// reshape hands the runs out to other dimensions, in order, and divides a run where
// a dimension ends within it.
func (v view) reshape(shape graph.Shape) (view, bool) {
	left := slices.Concat(v.dims...)
	out := view{dims: make([][]run, len(shape)), offset: v.offset}
	for i, need := range shape {
		for !need.Is(1) {
			for len(left) > 0 && left[0].size.Is(1) {
				left = left[1:]
			}
			if len(left) == 0 {
				return v, false
			}
			r := left[0]
			if rest, ok := quotient(need, r.size); ok { // the whole run
				out.dims[i] = append(out.dims[i], r)
				need, left = rest, left[1:]
			} else if inner, ok := quotient(r.size, need); ok { // its outer part
				out.dims[i] = append(out.dims[i], run{need, r.stride.Mul(inner)})
				left = append([]run{{inner, r.stride}}, left[1:]...)
				need = graph.Const(1)
			} else {
				return v, false
			}
		}
	}
	for _, r := range left {
		if !r.size.Is(1) {
			return v, false
		}
	}
	return out, true
}

// quotient is a/b where that is exact for every size.
func quotient(a, b graph.Dim) (graph.Dim, bool) {
	if b.Is(0) {
		return a, false
	}
	q := a.Div(b)
	return q, q.Mul(b).Equal(a)
}

// single is a dimension as one run: neighbours that continue each other are joined.
func (v view) single(i int) (run, bool) {
	list := slices.DeleteFunc(slices.Clone(v.dims[i]), func(r run) bool { return r.size.Is(1) })
	if len(list) == 0 {
		return run{graph.Const(1), graph.Const(0)}, true
	}
	r := list[0]
	for _, next := range list[1:] {
		if !next.stride.Mul(next.size).Equal(r.stride) {
			return r, false
		}
		r = run{r.size.Mul(next.size), next.stride}
	}
	return r, true
}
