package op

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// expandAttention writes out the forms that AttentionGrad does not have: past keys, a
// cap, scores as a result, and a mask that is itself trained. Where a mask or a
// causal form depends on positions, the numbers of rows and keys must be known.
func expandAttention(e *graph.Expansion) ([]*graph.Value, error) {
	n := e.Node
	switch {
	case n.Input(6) == nil && n.Input(4) == nil && n.Output(1) == nil && n.Output(2) == nil && n.Output(3) == nil && !e.Needs(3) && n.Attrs.Float("softcap", 0) == 0:
		return nil, nil
	}
	w := writtenAttention{Expansion: e, scale: e.Node.Attrs.Float("scale", 0), packed: len(e.In(0).Type.Shape) == 3}
	heads_, kvHeads := n.Attrs.Int("q_num_heads", 0), n.Attrs.Int("kv_num_heads", 0)
	q, k, v := e.In(0), e.In(1), e.In(2)
	if w.packed {
		q, k, v = w.headsFirst(q, heads_), w.headsFirst(k, kvHeads), w.headsFirst(v, kvHeads)
	}
	if e.In(4) != nil {
		join := graph.Attrs{"axis": int64(2)}
		k, v = e.Op("Concat", join, e.In(4), k), e.Op("Concat", join, e.In(5), v)
	}
	present := []*graph.Value{k, v}
	var err error
	if k, v, err = w.repeated(q, k, v); err != nil {
		return nil, err
	}
	y, scores, err := w.compute(q, k, v)
	if err != nil {
		return nil, err
	}
	if w.packed {
		y = w.rowsFirst(y)
	}
	return []*graph.Value{y, present[0], present[1], scores}, nil
}

// writtenAttention is attention in operators of its own.
type writtenAttention struct {
	*graph.Expansion
	scale  float32 // 0: 1/sqrt(size)
	packed bool
	sink   *graph.Value // a further score of each head, that no value belongs to; nil: none
}

// headsFirst turns [batch, rows, heads·size] into [batch, heads, rows, size].
func (w writtenAttention) headsFirst(x *graph.Value, heads_ int) *graph.Value {
	x = w.Op("Reshape", nil, x, w.Ints("heads", 0, 0, int64(heads_), -1))
	return w.Op("Transpose", graph.Attrs{"perm": []int64{0, 2, 1, 3}}, x)
}

func (w writtenAttention) rowsFirst(x *graph.Value) *graph.Value {
	x = w.Op("Transpose", graph.Attrs{"perm": []int64{0, 2, 1, 3}}, x)
	return w.Op("Reshape", nil, x, w.Ints("rows", 0, 0, -1))
}

// repeated gives each head of queries its head of keys and values.
func (w writtenAttention) repeated(q, k, v *graph.Value) (keys, values *graph.Value, err error) {
	heads_, ok1 := q.Type.Shape[1].Value()
	kvHeads, ok2 := k.Type.Shape[1].Value()
	if !ok1 || !ok2 || kvHeads == 0 {
		return nil, nil, fmt.Errorf("the numbers of heads are not known")
	}
	if heads_ == kvHeads {
		return k, v, nil
	}
	shared := make([]int64, heads_)
	for i := range shared {
		shared[i] = int64(i / (heads_ / kvHeads))
	}
	at, axis := w.Ints("shared", shared...), graph.Attrs{"axis": int64(1)}
	return w.Op("Gather", axis, k, at), w.Op("Gather", axis, v, at), nil
}

// compute also gives the scores at the stage that qk_matmul_output_mode names.
func (w writtenAttention) compute(q, k, v *graph.Value) (y, scores *graph.Value, err error) {
	a, scale := w.Node.Attrs, w.scale
	if scale == 0 {
		size, ok := q.Type.Shape[3].Value()
		if !ok {
			return nil, nil, fmt.Errorf("the size of a head is not known")
		}
		scale = float32(1 / math.Sqrt(float64(size)))
	}
	s := w.Op("MatMul", nil, q, w.Op("Transpose", graph.Attrs{"perm": []int64{0, 1, 3, 2}}, k))
	s = w.Op("Mul", nil, s, w.Scalar("scale", scale))
	stages := []*graph.Value{s}
	if softcap := a.Float("softcap", 0); softcap != 0 {
		c := w.Scalar("cap", softcap)
		s = w.Op("Mul", nil, w.Op("Tanh", nil, w.Op("Div", nil, s, c)), c)
	}
	stages = append(stages, s)
	seen, err := w.seen(q, k)
	if err != nil {
		return nil, nil, err
	}
	if m := w.In(3); m != nil && m.Type.DType == tensor.Bool {
		if seen != nil {
			m = w.Op("And", nil, m, seen)
		}
		seen = m
	} else if m != nil {
		s = w.Op("Add", nil, s, m)
	}
	if seen != nil {
		s = w.Op("Where", nil, seen, s, w.Scalar("hidden", -1e30))
	}
	weights := w.Op("Softmax", graph.Attrs{"axis": int64(-1)}, w.withSink(s))
	if w.sink != nil {
		weights = w.Op("Slice", nil, weights, w.Ints("from", 0), w.Ints("to", -1), w.Ints("axis", 3))
	}
	if seen != nil { // a row that sees nothing gives zeros
		weights = w.Op("Mul", nil, weights, w.Op("Cast", graph.Attrs{"to": int64(tensor.Float32)}, seen))
	}
	stages = append(stages, s, weights)
	return w.Op("MatMul", nil, weights, v), stages[a.Int("qk_matmul_output_mode", 0)], nil
}

// withSink adds the sink of its head behind each row of scores.
func (w writtenAttention) withSink(s *graph.Value) *graph.Value {
	if w.sink == nil {
		return s
	}
	rows := w.Op("Concat", graph.Attrs{"axis": int64(0)}, w.Op("Shape", graph.Attrs{"end": int64(3)}, s), w.Ints("column", 1))
	column := w.Op("Reshape", nil, w.sink, w.Ints("heads", 1, -1, 1, 1))
	return w.Op("Concat", graph.Attrs{"axis": int64(3)}, s, w.Op("Expand", nil, column, rows))
}

// seen is which key a row may look at by its position, as a constant [rows, keys], or with
// lengths of examples computed, [batch, 1, rows, keys]; nil if all.
func (w writtenAttention) seen(q, k *graph.Value) (*graph.Value, error) {
	a := w.Node.Attrs
	left, right := a.Int("left_window_size", -1), a.Int("right_window_size", -1)
	if a.Int("is_causal", 0) != 0 {
		right = 0
	}
	if m := w.In(3); m != nil && len(m.Type.Shape) > 0 && !m.Type.Shape[len(m.Type.Shape)-1].Equal(k.Type.Shape[2]) {
		return nil, fmt.Errorf("a mask of shape %v for %v keys has no gradient", m.Type.Shape, k.Type.Shape[2])
	}
	if left < 0 && right < 0 && w.In(6) == nil {
		return nil, nil
	}
	rows, ok1 := q.Type.Shape[2].Value()
	keys, ok2 := k.Type.Shape[2].Value()
	if !ok1 || !ok2 {
		return nil, fmt.Errorf("a mask by position needs numbers of rows and keys that are known, not %v and %v", q.Type.Shape[2], k.Type.Shape[2])
	}
	if w.In(6) != nil {
		return w.seenOf(rows, keys, left, right), nil
	}
	past := 0
	if p := w.In(4); p != nil {
		if past, ok1 = p.Type.Shape[2].Value(); !ok1 {
			return nil, fmt.Errorf("the number of past keys is not known")
		}
	}
	mask := tensor.New(tensor.Bool, rows, keys)
	for i := range rows {
		for j := range keys {
			at := i + past
			tensor.Data[bool](mask)[i*keys+j] = (right < 0 || j <= at+right) && (left < 0 || j >= at-left)
		}
	}
	return w.Const("seen", mask), nil
}

// seenOf compares with the lengths of examples, whose last row has the position before
// its length.
func (w writtenAttention) seenOf(rows, keys, left, right int) *graph.Value {
	lengths := w.Op("Reshape", nil, w.In(6), w.Ints("column", -1, 1, 1, 1))
	// bound is what a length is compared with, for each row and key.
	bound := func(of func(i, j int) int) *graph.Value {
		t := tensor.New(tensor.Int64, rows, keys)
		for k := range t.I64() {
			t.I64()[k] = int64(of(k/keys, k%keys))
		}
		return w.Const("bound", t)
	}
	seen := w.Op("Less", nil, bound(func(_, j int) int { return j }), lengths)
	if right >= 0 {
		seen = w.Op("And", nil, seen, w.Op("LessOrEqual", nil, bound(func(i, j int) int { return j - i + rows - right }), lengths))
	}
	if left >= 0 {
		seen = w.Op("And", nil, seen, w.Op("GreaterOrEqual", nil, bound(func(i, j int) int { return j - i + rows + left }), lengths))
	}
	return seen
}

// expandMultiHead writes Microsoft's form as ONNX's.
func expandMultiHead(e *graph.Expansion) ([]*graph.Value, error) {
	n := e.Node
	heads_ := n.Attrs.Int("num_heads", 1)
	w := writtenAttention{Expansion: e}
	var q, k, v *graph.Value
	switch q = e.In(mhaQuery); {
	case e.In(mhaKey) == nil:
		parts := w.unpacked(q, 3)
		q, k, v = parts[0], parts[1], parts[2]
	case len(e.In(mhaKey).Type.Shape) == 5:
		parts := w.unpacked(e.In(mhaKey), 2)
		q, k, v = w.headsFirst(q, heads_), parts[0], parts[1]
	case len(e.In(mhaKey).Type.Shape) == 4:
		q, k, v = w.headsFirst(q, heads_), e.In(mhaKey), e.In(mhaValue)
	default:
		q, k, v = w.headsFirst(q, heads_), w.headsFirst(e.In(mhaKey), heads_), w.headsFirst(e.In(mhaValue), heads_)
	}
	if e.In(mhaBias) != nil {
		var err error
		if q, k, v, err = w.biased(q, k, v); err != nil {
			return nil, err
		}
	}
	mask, err := w.tokens(e.In(mhaMask), e.In(mhaScores))
	if err != nil {
		return nil, err
	}
	y := w.attention(q, k, v, mask, e.In(mhaPastKey), e.In(mhaPastValue))
	y[0] = w.rowsFirst(y[0])
	return y, nil
}

// unpacked takes [batch, rows, heads, n, size] apart into n of [batch, heads, rows, size].
func (w writtenAttention) unpacked(x *graph.Value, n int) []*graph.Value {
	parts := w.Builder.Node(onnx("Split"), n, graph.Attrs{"axis": int64(3)}, x)
	for i, p := range parts {
		p = w.Op("Squeeze", nil, p, w.Ints("axis", 3))
		parts[i] = w.Op("Transpose", graph.Attrs{"perm": []int64{0, 2, 1, 3}}, p)
	}
	return parts
}

// biased adds a part of the bias to each, [heads, 1, size]; keys and values that come
// with heads first have it already.
func (w writtenAttention) biased(q, k, v *graph.Value) (_, _, _ *graph.Value, err error) {
	list, sizes := []*graph.Value{q, k, v}, make([]int64, 3)
	for i, x := range list {
		h, ok1 := x.Type.Shape[1].Value()
		size, ok2 := x.Type.Shape[3].Value()
		if !ok1 || !ok2 {
			return nil, nil, nil, fmt.Errorf("the sizes of heads are not known")
		}
		sizes[i] = int64(h * size)
	}
	flat := w.Op("Reshape", nil, w.In(mhaBias), w.Ints("flat", -1))
	parts := w.Builder.Node(onnx("Split"), 3, graph.Attrs{"axis": int64(0)}, flat, w.Ints("sizes", sizes...))
	for i, x := range list {
		if i > 0 && w.In(mhaKey) != nil && len(w.In(mhaKey).Type.Shape) == 4 {
			continue
		}
		h, _ := x.Type.Shape[1].Value()
		list[i] = w.Op("Add", nil, x, w.Op("Reshape", nil, parts[i], w.Ints("heads", int64(h), 1, -1)))
	}
	return list[0], list[1], list[2], nil
}

// tokens joins a mask of tokens (see tokenMask) and what is added to the scores.
func (w writtenAttention) tokens(mask, added *graph.Value) (*graph.Value, error) {
	if mask == nil {
		return added, nil
	}
	var axes []int64
	switch len(mask.Type.Shape) {
	case 2:
		axes = []int64{1, 2}
	case 3:
		axes = []int64{1}
	default:
		return nil, fmt.Errorf("a mask of shape %v has no gradient", mask.Type.Shape)
	}
	zero := w.Const("zero", tensor.Scalar(int32(0)))
	filter := w.Scalar("filter", w.Node.Attrs.Float("mask_filter_value", -10000))
	m := w.Op("Where", nil, w.Op("Greater", nil, mask, zero), w.Scalar("none", 0), filter)
	m = w.Op("Unsqueeze", nil, m, w.Ints("axes", axes...))
	if added != nil {
		m = w.Op("Add", nil, m, added)
	}
	return m, nil
}

// attention adds ONNX's operator for heads first; its results are those of the node.
func (w writtenAttention) attention(q, k, v, mask, pastKey, pastValue *graph.Value) []*graph.Value {
	a := graph.Attrs{"is_causal": int64(w.Node.Attrs.Int("unidirectional", 0))}
	if s := w.Node.Attrs.Float("scale", 0); s != 0 {
		a["scale"] = s
	}
	inputs := []*graph.Value{q, k, v, mask}
	if pastKey != nil {
		inputs = append(inputs, pastKey, pastValue)
	}
	outputs := len(w.Node.Outputs)
	for outputs > 1 && w.Node.Outputs[outputs-1] == nil {
		outputs--
	}
	return w.Builder.Node(onnx("Attention"), outputs, a, inputs...)
}

// expandPackedAttention projects first.
func expandPackedAttention(e *graph.Expansion) ([]*graph.Value, error) {
	w := writtenAttention{Expansion: e}
	heads_ := e.Node.Attrs.Int("num_heads", 1)
	qw, kw, vw, err := packedWidths(e.Node.Attrs, e.In(packedWeights).Type.Shape[1])
	if err != nil {
		return nil, err
	}
	widths, ok := graph.Shape{qw, kw, vw}.Static()
	if !ok {
		return nil, fmt.Errorf("the widths of the weights are not known")
	}
	all := e.Op("MatMul", nil, e.In(packedX), e.In(packedWeights))
	if e.In(packedBias) != nil {
		all = e.Op("Add", nil, all, e.In(packedBias))
	}
	sizes := e.Ints("widths", int64(widths[0]), int64(widths[1]), int64(widths[2]))
	parts := e.Builder.Node(onnx("Split"), 3, graph.Attrs{"axis": int64(2)}, all, sizes)
	for i, p := range parts {
		parts[i] = w.headsFirst(p, heads_)
	}
	mask, err := w.tokens(e.In(packedMask), e.In(packedScores))
	if err != nil {
		return nil, err
	}
	var past [2]*graph.Value
	axis := e.Ints("axis", 0)
	if e.In(packedPast) != nil {
		halves := e.Builder.Node(onnx("Split"), 2, graph.Attrs{"axis": int64(0)}, e.In(packedPast))
		past = [2]*graph.Value{e.Op("Squeeze", nil, halves[0], axis), e.Op("Squeeze", nil, halves[1], axis)}
	}
	inner := *e
	inner.Node = &graph.Node{Attrs: e.Node.Attrs, Outputs: make([]*graph.Value, 1)}
	if e.Node.Output(1) != nil {
		inner.Node.Outputs = []*graph.Value{e.Node.Outputs[0], e.Node.Outputs[1], e.Node.Outputs[1]}
	}
	y := writtenAttention{Expansion: &inner}.attention(parts[0], parts[1], parts[2], mask, past[0], past[1])
	result := []*graph.Value{w.rowsFirst(y[0]), nil}
	if len(y) > 1 {
		result[1] = e.Op("Concat", graph.Attrs{"axis": int64(0)}, e.Op("Unsqueeze", nil, y[1], axis), e.Op("Unsqueeze", nil, y[2], axis))
	}
	return result, nil
}

// without copies attributes but for those named.
func without(a graph.Attrs, names ...string) graph.Attrs {
	c := maps.Clone(a)
	maps.DeleteFunc(c, func(name string, _ any) bool { return slices.Contains(names, name) })
	return c
}
