package op

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// writtenGroup is GroupQueryAttention in operators of its own. Where there is a cache, the
// numbers of rows, of cached keys and of all tokens must be known; how many of the cached
// keys an example has may be computed.
type writtenGroup struct {
	writtenAttention
	rows, past, keys int
	before           *graph.Value // int64 [batch]: the tokens of an example before these rows; nil: none
}

func expandGroupQuery(e *graph.Expansion) ([]*graph.Value, error) {
	a := e.Node.Attrs
	w := writtenGroup{writtenAttention: writtenAttention{Expansion: e, scale: a.Float("scale", 0)}}
	q, k, v, err := w.parts()
	if err != nil {
		return nil, err
	}
	if err := w.count(); err != nil {
		return nil, err
	}
	if a.Int("do_rotary", 0) != 0 {
		if q, k, err = w.rotated(q, k); err != nil {
			return nil, err
		}
	}
	k, v = w.cached(k, gqaPastKey), w.cached(v, gqaPastValue)
	y, err := w.attend(q, k, v)
	if err != nil {
		return nil, err
	}
	return []*graph.Value{w.rowsFirst(y), k, v}, nil
}

// parts are queries, keys and values with heads first.
func (w writtenGroup) parts() (q, k, v *graph.Value, err error) {
	heads_, kvHeads := w.Node.Attrs.Int("num_heads", 1), w.Node.Attrs.Int("kv_num_heads", 1)
	q, k, v = w.In(gqaQuery), w.In(gqaKey), w.In(gqaValue)
	if k == nil {
		width, ok := q.Type.Shape[2].Value()
		if !ok {
			return nil, nil, nil, fmt.Errorf("the width of the queries is not known")
		}
		size := width / (heads_ + 2*kvHeads)
		widths := w.Ints("widths", int64(heads_*size), int64(kvHeads*size), int64(kvHeads*size))
		parts := w.Builder.Node(onnx("Split"), 3, graph.Attrs{"axis": int64(2)}, q, widths)
		q, k, v = parts[0], parts[1], parts[2]
	}
	return w.headsFirst(q, heads_), w.headsFirst(k, kvHeads), w.headsFirst(v, kvHeads), nil
}

// count finds the sizes of the cache and where the rows begin in it. Without a cache the
// rows are all that there is, unless the total says otherwise.
func (w *writtenGroup) count() error {
	rows, ok1 := w.In(gqaQuery).Type.Shape[1].Value()
	total, ok2 := graph.Integer(w.In(gqaTotal))
	ok3 := true
	if past := w.In(gqaPastKey); past != nil {
		w.past, ok3 = past.Type.Shape[2].Value()
	} else if !ok1 || !ok2 {
		return nil
	}
	if !ok1 || !ok2 || !ok3 {
		return fmt.Errorf("attention over a cache needs numbers of rows, cached keys and tokens that are known")
	}
	w.rows, w.keys = rows, max(total, w.past)
	if total == rows { // the first run, which fills the cache from its beginning
		return nil
	}
	last := w.Op("Cast", graph.Attrs{"to": int64(tensor.Int64)}, w.In(gqaLast))
	last = w.Op("Reshape", nil, last, w.Ints("batch", -1))
	w.before = w.Op("Sub", nil, last, w.Ints("rows", int64(rows-1)))
	return nil
}

func (w writtenGroup) rotated(q, k *graph.Value) (_, _ *graph.Value, err error) {
	positions := w.In(gqaPositions)
	switch {
	case positions != nil:
	case w.before != nil:
		from := w.Op("Unsqueeze", nil, w.before, w.Ints("axis", 1))
		positions = w.Op("Add", nil, from, w.Const("row", rowsOf(w.rows)))
	default:
		positions = w.Ints("first", 0)
	}
	half, ok := w.In(gqaCos).Type.Shape[1].Value()
	if !ok {
		return nil, nil, fmt.Errorf("the width of the rotation is not known")
	}
	turn := graph.Attrs{"interleaved": int64(w.Node.Attrs.Int("rotary_interleaved", 0)), "rotary_embedding_dim": int64(2 * half)}
	of := func(x *graph.Value) *graph.Value {
		return w.Builder.Node(microsoft("RotaryEmbedding"), 1, turn, x, positions, w.In(gqaCos), w.In(gqaSin))[0]
	}
	return of(q), of(k), nil
}

// rowsOf are the numbers of n rows: 0 to n-1.
func rowsOf(n int) *tensor.Tensor {
	t := tensor.New(tensor.Int64, n)
	for i := range t.I64() {
		t.I64()[i] = int64(i)
	}
	return t
}

// cached picks each of the keys, or values, of an example from its cache, from the fresh
// rows or, behind them, from a row of zeros.
func (w writtenGroup) cached(fresh *graph.Value, input int) *graph.Value {
	if w.before == nil && w.keys <= w.rows {
		return fresh
	}
	zero := w.Op("Pad", nil, fresh, w.Ints("pads", 0, 1), nil, w.Ints("axis", 2))
	at := w.Const("key", rowsOf(w.keys)) // [keys], or [batch, keys]: where key j lies in all
	all, none := zero, int64(w.rows)
	if w.before == nil {
		at = w.Op("Min", nil, at, w.Ints("none", none))
		return w.Op("Gather", graph.Attrs{"axis": int64(2)}, all, at)
	}
	before := w.Op("Unsqueeze", nil, w.before, w.Ints("axis", 1))
	row := w.Op("Min", nil, w.Op("Sub", nil, at, before), w.Ints("none", none))
	if past := w.In(input); past != nil {
		all = w.Op("Concat", graph.Attrs{"axis": int64(2)}, past, zero)
		row = w.Op("Where", nil, w.Op("Less", nil, at, before), at, w.Op("Add", nil, row, w.Ints("past", int64(w.past))))
	}
	rowsFirst := graph.Attrs{"perm": []int64{0, 2, 1, 3}}
	picked := w.Op("GatherND", graph.Attrs{"batch_dims": int64(1)}, w.Op("Transpose", rowsFirst, all), w.Op("Unsqueeze", nil, row, w.Ints("axis", 2)))
	return w.Op("Transpose", rowsFirst, picked)
}

// attend is ai.onnx's attention, whose lengths count the cached tokens and the rows of an
// example; with a sink, which it does not have, written out here.
func (w writtenGroup) attend(q, k, v *graph.Value) (*graph.Value, error) {
	a := w.Node.Attrs
	attrs := graph.Attrs{"is_causal": int64(1), "softcap": a.Float("softcap", 0)}
	if window := a.Int("local_window_size", -1); window > 0 {
		attrs["left_window_size"] = int64(window - 1)
	}
	if w.scale != 0 {
		attrs["scale"] = w.scale
	}
	in := []*graph.Value{q, k, v, w.added(k)}
	if w.before != nil {
		in = append(in, nil, nil, w.Op("Add", nil, w.before, w.Ints("rows", int64(w.rows))))
	}
	switch {
	case w.In(gqaSink) != nil:
		w.sink = w.In(gqaSink)
	case a.Int("smooth_softmax", 0) > 0:
		w.sink = w.Const("smooth", tensor.New(tensor.Float32, a.Int("num_heads", 1)))
	default:
		return w.Op("Attention", attrs, in...), nil
	}
	inner := *w.Expansion
	inner.Node = &graph.Node{Op: onnx("Attention"), Attrs: attrs, Inputs: in, Outputs: make([]*graph.Value, 1)}
	w.Expansion = &inner
	k, v, err := w.repeated(q, k, v)
	if err != nil {
		return nil, err
	}
	y, _, err := w.compute(q, k, v)
	return y, err
}

// added is what the node adds to the scores, cut or filled up to as many keys as there
// are: those that it lacks are hidden.
func (w writtenGroup) added(k *graph.Value) *graph.Value {
	m := w.In(gqaScores)
	if m == nil || m.Type.Shape[3].Equal(k.Type.Shape[2]) {
		return m
	}
	if n, ok := m.Type.Shape[3].Value(); ok && w.keys > 0 {
		m = w.Op("Pad", nil, m, w.Ints("pads", 0, int64(w.keys-n)), nil, w.Ints("axis", 3))
	}
	return m
}
