package pass

import (
	"slices"

	"tandem/graph"
	"tandem/tensor"
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
	case "Slice":
		cut, ok := sliceAt(n)
		if !ok || len(v.dims[cut.axis]) != 1 {
			return v, false
		}
		r := v.dims[cut.axis][0]
		dims := slices.Clone(v.dims)
		dims[cut.axis] = []run{{out.Type.Shape[cut.axis], r.stride}}
		return view{dims, v.offset.Add(r.stride.Mul(graph.Const(cut.start)))}, true
	case "Expand":
		return v.expand(n.Inputs[0].Type.Shape, out.Type.Shape)
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

// expand is the view of shape in after Expand to shape out: what is repeated lies at a
// distance of 0.
func (v view) expand(in, out graph.Shape) (view, bool) {
	more := len(out) - len(in)
	dims := make([][]run, len(out))
	for i, d := range out {
		switch {
		case i >= more && in[i-more].Equal(d):
			dims[i] = v.dims[i-more]
		case i < more || in[i-more].Is(1):
			dims[i] = []run{{d, graph.Const(0)}}
		default:
			return v, false
		}
	}
	return view{dims, v.offset}, true
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

// once is the view without the repetitions within a dimension: where each of its elements
// comes several times, one after another, each comes once.
func (v view) once(i int) view {
	list := slices.DeleteFunc(slices.Clone(v.dims[i]), func(r run) bool { return r.size.Is(1) })
	if n := len(list); n > 0 && list[n-1].stride.Is(0) {
		v.dims = slices.Clone(v.dims)
		v.dims[i] = list[:n-1]
	}
	return v
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

// sliceStart is the dimension that a Slice cuts, and where it begins, if it cuts one by
// steps of 1 from a number on.
type sliceStart struct{ axis, start int }

func sliceAt(n *graph.Node) (s sliceStart, ok bool) {
	if n.Op != (graph.OpID{Name: "Slice"}) || n.Input(1) == nil || n.Input(3) == nil || !n.Inputs[0].Type.Known() {
		return s, false
	}
	starts, axes, steps := numbers(n.Inputs[1]), numbers(n.Inputs[3]), []int{1}
	if v := n.Input(4); v != nil {
		steps = numbers(v)
	}
	shape := n.Inputs[0].Type.Shape
	if len(starts) != 1 || len(axes) != 1 || !slices.Equal(steps, []int{1}) {
		return s, false
	}
	s = sliceStart{axes[0], starts[0]}
	if s.axis < 0 {
		s.axis += len(shape)
	}
	if s.axis < 0 || s.axis >= len(shape) {
		return s, false
	}
	if size, ok := shape[s.axis].Value(); s.start < 0 || ok && s.start > size {
		if s.start += size; !ok || s.start < 0 || s.start > size {
			return s, false
		}
	}
	return s, true
}

// numbers are the elements of a constant of int64; nil if v is none.
func numbers(v *graph.Value) []int {
	if v == nil || v.Const == nil || v.Const.DType != tensor.Int64 {
		return nil
	}
	t, err := v.Const.Tensor()
	if err != nil {
		return nil
	}
	list := make([]int, t.Len())
	for i, n := range t.I64() {
		list[i] = int(n)
	}
	return list
}
