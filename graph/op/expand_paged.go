package op

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// writtenPaged is com.microsoft's PagedAttention in operators of its own, for its gradient:
// every token looks at the positions of all sequences, and a mask leaves those of its own.
// That is as many times the work as there are sequences. Numbers of tokens, sequences and
// blocks must be known; lengths and tables may be computed.
type writtenPaged struct {
	writtenAttention
	heads, kvHeads, size int
	tokens, sequences    int
	blocks, positions    int // in the cache; in a block
	perRow               int // blocks of a sequence
	// Of each token, int64 [tokens, 1]: its sequence and its position in it.
	sequence, position *graph.Value
}

func expandMicrosoftPaged(e *graph.Expansion) ([]*graph.Value, error) {
	w := writtenPaged{writtenAttention: writtenAttention{Expansion: e, scale: e.Node.Attrs.Float("scale", 0)}}
	if err := w.count(); err != nil {
		return nil, err
	}
	w.place()
	q, k, v := w.parts()
	q, k = w.turned(q, paQueryNorm), w.turned(k, paKeyNorm)
	slots := w.slots()
	keys, values := w.stored(k, paKeyCache, slots), w.stored(v, paValueCache, slots)
	rows, seen := w.seen()
	y, err := w.attend(q, w.gathered(keys, rows), w.gathered(values, rows), seen)
	if err != nil {
		return nil, err
	}
	y = w.Op("Transpose", graph.Attrs{"perm": []int64{0, 2, 1, 3}}, y)
	y = w.Op("Reshape", nil, y, w.Ints("rows", int64(w.tokens), int64(w.heads*w.size)))
	return []*graph.Value{y, w.cache(keys), w.cache(values)}, nil
}

func (w *writtenPaged) count() error {
	cache, ok1 := w.In(paKeyCache).Type.Shape.Static()
	table, ok2 := w.In(paTable).Type.Shape.Static()
	tokens, ok3 := w.In(paQuery).Type.Shape[0].Value()
	if !ok1 || !ok2 || !ok3 {
		return fmt.Errorf("numbers of tokens, sequences and blocks must be known, not %v, %v and %v",
			w.In(paQuery).Type.Shape, w.In(paTable).Type.Shape, w.In(paKeyCache).Type.Shape)
	}
	w.heads, w.kvHeads, w.size = w.Node.Attrs.Int("num_heads", 0), cache[2], cache[3]
	w.tokens, w.sequences, w.perRow = tokens, table[0], table[1]
	w.blocks, w.positions = cache[0], cache[1]
	return nil
}

// number is a constant to calculate places with.
func (w writtenPaged) number(n int) *graph.Value { return w.Const("number", tensor.Scalar(int64(n))) }

// whole is an input of int32 as int64, of the given shape.
func (w writtenPaged) whole(i int, shape ...int64) *graph.Value {
	x := w.Op("Cast", graph.Attrs{"to": int64(tensor.Int64)}, w.In(i))
	return w.Op("Reshape", nil, x, w.Ints("shape", shape...))
}

// place finds sequences and positions: a token belongs to as many-th a sequence as there
// are ends at or before it.
func (w *writtenPaged) place() {
	lengths := w.whole(paLengths, 1, -1)
	token := w.Op("Unsqueeze", nil, w.Const("token", rowsOf(w.tokens)), w.Ints("axis", 1))
	ends := w.Op("Slice", nil, lengths, w.Ints("from", 1), w.Ints("to", int64(w.sequences+1)), w.Ints("axis", 1))
	over := w.Op("Cast", graph.Attrs{"to": int64(tensor.Int64)}, w.Op("LessOrEqual", nil, ends, token))
	w.sequence = w.Op("ReduceSum", nil, over, w.Ints("axis", 1))
	of := func(x *graph.Value) *graph.Value {
		return w.Op("Gather", nil, w.Op("Reshape", nil, x, w.Ints("flat", -1)), w.sequence)
	}
	w.position = w.Op("Add", nil, of(w.whole(paPast, -1)), w.Op("Sub", nil, token, of(lengths)))
}

// parts are queries, keys and values, [1, heads, tokens, size].
func (w writtenPaged) parts() (q, k, v *graph.Value) {
	q, k, v = w.In(paQuery), w.In(paKey), w.In(paValue)
	if k == nil {
		kv := int64(w.kvHeads * w.size)
		parts := w.Builder.Node(onnx("Split"), 3, graph.Attrs{"axis": int64(1)}, q, w.Ints("widths", int64(w.heads*w.size), kv, kv))
		q, k, v = parts[0], parts[1], parts[2]
	}
	of := func(x *graph.Value, n int) *graph.Value {
		return w.headsFirst(w.Op("Unsqueeze", nil, x, w.Ints("batch", 0)), n)
	}
	return of(q, w.heads), of(k, w.kvHeads), of(v, w.kvHeads)
}

// turned normalises heads, where gain is an input that is there, and turns them.
func (w writtenPaged) turned(x *graph.Value, gain int) *graph.Value {
	a := w.Node.Attrs
	if w.In(gain) != nil {
		x = w.Op("RMSNormalization", graph.Attrs{"axis": int64(-1), "epsilon": a.Float("qk_norm_epsilon", 1e-6)}, x, w.In(gain))
	}
	if a.Int("do_rotary", 0) == 0 {
		return x
	}
	positions := w.Op("Reshape", nil, w.position, w.Ints("row", 1, -1))
	half, _ := w.In(paCos).Type.Shape[1].Value()
	turn := graph.Attrs{"interleaved": int64(a.Int("rotary_interleaved", 0)), "rotary_embedding_dim": int64(2 * half)}
	of := func(x *graph.Value) *graph.Value {
		return w.Builder.Node(microsoft("RotaryEmbedding"), 1, turn, x, positions, w.In(paCos), w.In(paSin))[0]
	}
	from, last := a.Int("rotary_offset", 0), graph.Attrs{"axis": int64(3)}
	if from == 0 {
		return of(x)
	}
	parts := w.Builder.Node(onnx("Split"), 2, last, x, w.Ints("widths", int64(from), int64(w.size-from)))
	return w.Op("Concat", last, parts[0], of(parts[1]))
}

// slots are the rows of the cache where tokens are stored, [tokens, 1]; the one behind all
// stands for nowhere, which a slot below 0 is, and one in a block that is not mapped.
func (w writtenPaged) slots() *graph.Value {
	var slot *graph.Value
	if w.In(paSlots) != nil {
		slot = w.whole(paSlots, -1, 1)
	} else {
		at := w.Op("Concat", graph.Attrs{"axis": int64(1)}, w.sequence, w.Op("Div", nil, w.position, w.number(w.positions)))
		block := w.Op("Unsqueeze", nil, w.Op("GatherND", nil, w.whole(paTable, int64(w.sequences), -1), at), w.Ints("axis", 1))
		slot = w.Op("Add", nil, w.Op("Mul", nil, block, w.number(w.positions)), w.Op("Mod", nil, w.position, w.number(w.positions)))
	}
	return w.Op("Where", nil, w.Op("Less", nil, slot, w.number(0)), w.number(w.blocks*w.positions), slot)
}

// stored puts tokens into a cache as rows [blocks·positions + 1, kvHeads·size].
func (w writtenPaged) stored(x *graph.Value, cache int, slots *graph.Value) *graph.Value {
	width := int64(w.kvHeads * w.size)
	rows := w.Op("Reshape", nil, w.In(cache), w.Ints("rows", -1, width))
	rows = w.Op("Pad", nil, rows, w.Ints("pads", 0, 0, 1, 0))
	x = w.Op("Reshape", nil, w.rowsFirst(x), w.Ints("tokens", -1, width))
	return w.Op("ScatterND", nil, rows, slots, x)
}

// cache is the node's output of a cache.
func (w writtenPaged) cache(rows *graph.Value) *graph.Value {
	rows = w.Op("Slice", nil, rows, w.Ints("from", 0), w.Ints("to", -1))
	return w.Op("Reshape", nil, rows, w.Ints("cache", int64(w.blocks), int64(w.positions), int64(w.kvHeads), int64(w.size)))
}

// seen lays the positions of all sequences side by side: in which row of the cache each
// lies, and which of them a token sees, [tokens, sequences·perRow·positions].
func (w writtenPaged) seen() (rows, seen *graph.Value) {
	capacity := w.perRow * w.positions
	at := w.Const("at", rowsOf(capacity)) // [capacity]
	block := w.Op("Gather", graph.Attrs{"axis": int64(1)}, w.whole(paTable, int64(w.sequences), -1), w.Const("block", blocksOf(capacity, w.positions)))
	lengths := w.whole(paLengths, -1, 1)
	part := func(from int) *graph.Value {
		return w.Op("Slice", nil, lengths, w.Ints("from", int64(from)), w.Ints("to", int64(from+w.sequences)))
	}
	end := w.Op("Add", nil, w.whole(paPast, -1, 1), w.Op("Sub", nil, part(1), part(0)))
	there := w.Op("And", nil, w.Op("GreaterOrEqual", nil, block, w.number(0)), w.Op("Less", nil, at, end)) // [sequences, capacity]
	rows = w.Op("Add", nil, w.Op("Mul", nil, block, w.number(w.positions)), w.Op("Mod", nil, at, w.number(w.positions)))
	rows = w.Op("Where", nil, there, rows, w.number(w.blocks*w.positions))

	row := func(x *graph.Value) *graph.Value { return w.Op("Reshape", nil, x, w.Ints("row", 1, -1)) }
	columns := func(of func(i int) int) *graph.Value {
		t := tensor.New(tensor.Int64, 1, w.sequences*capacity)
		for i := range t.I64() {
			t.I64()[i] = int64(of(i))
		}
		return w.Const("column", t)
	}
	position := columns(func(i int) int { return i % capacity })
	seen = w.Op("And", nil, row(there), w.Op("Equal", nil, w.sequence, columns(func(i int) int { return i / capacity })))
	if w.Node.Attrs.Int("is_causal", 1) != 0 {
		seen = w.Op("And", nil, seen, w.Op("LessOrEqual", nil, position, w.position))
	}
	if window := w.Node.Attrs.Int("local_window_size", -1); window > 0 {
		seen = w.Op("And", nil, seen, w.Op("Greater", nil, position, w.Op("Sub", nil, w.position, w.number(window))))
	}
	return row(rows), seen
}

// gathered are the rows of a cache as [1, kvHeads, positions of all sequences, size].
func (w writtenPaged) gathered(cache, rows *graph.Value) *graph.Value {
	return w.headsFirst(w.Op("Gather", nil, cache, rows), w.kvHeads)
}

func (w writtenPaged) attend(q, k, v, seen *graph.Value) (*graph.Value, error) {
	inner := *w.Expansion
	inner.Node = &graph.Node{Op: onnx("Attention"), Attrs: graph.Attrs{"softcap": w.Node.Attrs.Float("softcap", 0)},
		Inputs: []*graph.Value{q, k, v, seen}, Outputs: make([]*graph.Value, 1)}
	a := writtenAttention{Expansion: &inner, scale: w.scale, sink: w.In(paSink)}
	k, v, err := a.repeated(q, k, v)
	if err != nil {
		return nil, err
	}
	y, _, err := a.compute(q, k, v)
	return y, err
}
