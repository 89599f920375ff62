package op

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// Inputs of GroupQueryAttention: queries [batch, rows, heads·size], keys and values
// alike, or all three packed into the first; a cache [batch, heads, keys, size]; for
// each example the position of its last token; the greatest number of tokens; tables
// and positions for a rotation; what is added to the scores; a sink for each head.
const (
	gqaQuery = iota
	gqaKey
	gqaValue
	gqaPastKey
	gqaPastValue
	gqaLast
	gqaTotal
	gqaCos
	gqaSin
	gqaPositions
	gqaScores
	gqaSink
)

func inferGroupQuery(c *graph.Infer) error {
	if err := c.Require(1, 14); err != nil {
		return err
	}
	if len(c.Node.Inputs) <= gqaTotal || !c.Has(gqaLast) || !c.Has(gqaTotal) {
		return fmt.Errorf("the positions of the last tokens or the total length are missing")
	}
	if c.Has(12) || c.Has(13) || c.Node.Attrs.String("k_quant_type", "NONE") != "NONE" || c.Node.Attrs.String("v_quant_type", "NONE") != "NONE" {
		return fmt.Errorf("a quantized cache is not supported")
	}
	if err := floats(c, gqaQuery, gqaKey, gqaValue, gqaPastKey, gqaPastValue, gqaCos, gqaSin, gqaScores, gqaSink); err != nil {
		return err
	}
	d, err := groupDims(c)
	if err != nil {
		return err
	}
	for _, i := range []int{gqaLast, gqaTotal} {
		if c.In(i).DType != tensor.Int32 {
			return fmt.Errorf("input %d (%s) is %v, expected int32", i, c.Node.Inputs[i].Name, c.In(i).DType)
		}
	}
	if err := c.Same(c.In(gqaLast).Shape.Len(), d.batch, "positions of last tokens and batch"); err != nil {
		return err
	}
	if err := d.readPast(c, gqaPastKey); err != nil {
		return err
	}
	rotary := c.Node.Attrs.Int("do_rotary", 0) != 0
	if rotary && (!c.Has(gqaCos) || !c.Has(gqaSin)) {
		return fmt.Errorf("do_rotary needs tables of cosines and sines")
	}
	if rotary && (len(c.In(gqaCos).Shape) != 2 || !c.In(gqaCos).Shape.Equal(c.In(gqaSin).Shape)) {
		return fmt.Errorf("cosines have shape %v, sines %v", c.In(gqaCos).Shape, c.In(gqaSin).Shape)
	}
	if c.Has(gqaPositions) && c.In(gqaPositions).DType != tensor.Int64 {
		return fmt.Errorf("positions are %v, expected int64", c.In(gqaPositions).DType)
	}
	if c.Has(gqaSink) {
		if err := c.Same(c.In(gqaSink).Shape.Len(), d.heads, "sinks and heads"); err != nil {
			return err
		}
	}
	if mode := c.Node.Attrs.Int("qk_output", 0); mode != 0 {
		return fmt.Errorf("qk_output %d is not supported", mode)
	}
	if c.Has(gqaScores) {
		if err := c.Rank(gqaScores, 4); err != nil {
			return err
		}
	}
	total, err := contentScalar(c, gqaTotal)
	if err != nil {
		return err
	}
	t, keys := c.In(0).DType, d.past.Max(total)
	c.Out(0, t, graph.Shape{d.batch, d.rows, d.heads.Mul(d.size)})
	c.Out(1, t, graph.Shape{d.batch, d.kvHeads, keys, d.size})
	c.Out(2, t, graph.Shape{d.batch, d.kvHeads, keys, d.size})
	return nil
}

func groupDims(c *graph.Infer) (d attentionDims, err error) {
	n, kv := c.Node.Attrs.Int("num_heads", 0), c.Node.Attrs.Int("kv_num_heads", 0)
	if n < 1 || kv < 1 || n%kv != 0 {
		return d, fmt.Errorf("%d heads of queries cannot share %d heads of keys", n, kv)
	}
	if err := c.Rank(gqaQuery, 3); err != nil {
		return d, err
	}
	q, units := c.In(gqaQuery).Shape, n
	if c.Has(gqaKey) != c.Has(gqaValue) {
		return d, fmt.Errorf("keys and values come together")
	}
	if !c.Has(gqaKey) {
		units += 2 * kv
	}
	if w, ok := q[2].Value(); ok && w%units != 0 {
		return d, fmt.Errorf("queries have %d columns for %d heads", w, units)
	}
	size := q[2].Div(graph.Const(units))
	d = attentionDims{batch: q[0], heads: graph.Const(n), kvHeads: graph.Const(kv), rows: q[1], fresh: q[1], size: size, valueSize: size}
	for i := gqaKey; i <= gqaValue && c.Has(i); i++ {
		if err := c.Rank(i, 3); err != nil {
			return d, err
		}
		s := c.In(i).Shape
		if err := sameDims(c, "keys or values and queries", s[0], d.batch, s[1], d.rows, s[2], size.Mul(d.kvHeads)); err != nil {
			return d, err
		}
	}
	return d, nil
}

// groupQuery is a prepared call.
type groupQuery[T wide] struct {
	c        *graph.Call
	a        *attention[T]
	packed   bool
	turn     rotation
	rotary   bool
	fresh    []T // keys of this run after the rotation
	turned   []T // queries alike
	before   []int
	keys     [2][]T
	window   int
	pastRows int
}

func kernelGroupQuery[T wide](c *graph.Call) (func() error, error) {
	attrs, q := c.Node.Attrs, c.In[gqaQuery].Shape()
	a := &attention[T]{batch: q[0], rows: q[1], heads: attrs.Int("num_heads", 1), kvHeads: attrs.Int("kv_num_heads", 1)}
	g := &groupQuery[T]{c: c, a: a, packed: !c.Has(gqaKey), window: attrs.Int("local_window_size", -1)}
	units := a.heads
	if g.packed {
		units += 2 * a.kvHeads
	}
	a.size = q[2] / units
	a.valueSize, a.scale, a.softcap = a.size, microsoftScale[T](attrs, a.size), T(attrs.Float("softcap", 0))
	if c.Has(gqaPastKey) {
		g.pastRows = c.In[gqaPastKey].Dim(2)
	}
	if g.rotary = attrs.Int("do_rotary", 0) != 0; g.rotary {
		g.turn = rotation{c.In[gqaCos].Dim(1), attrs.Int("rotary_interleaved", 0) != 0}
		if 2*g.turn.half > a.size {
			return nil, fmt.Errorf("the tables turn %d elements of a head of %d", 2*g.turn.half, a.size)
		}
	}
	g.before = make([]int, a.batch)
	var err error
	if g.turned, err = graph.Room[T](c, a.batch*a.heads*a.rows*a.size); err != nil {
		return nil, err
	}
	if g.fresh, err = graph.Room[T](c, a.batch*a.kvHeads*a.rows*a.size); err != nil {
		return nil, err
	}
	g.setBias()
	return g.run, nil
}

// setBias: a query sees the keys up to its own position, and with a window as many
// of the last of them as the attribute says.
func (g *groupQuery[T]) setBias() {
	added, a, c := addedScores[T](g.c, gqaScores), g.a, g.c
	a.bias = func(b, head, row int, bias []T) {
		if clear(bias); added != nil {
			added.fill(b, head, row, bias)
		}
		left := -1
		if g.window > 0 {
			left = g.window - 1
		}
		hideOutside(bias, g.before[b]+row, left, 0)
	}
	switch {
	case c.Has(gqaSink):
		a.sink = func(head int) T { return tensor.Data[T](c.In[gqaSink])[head] }
	case c.Node.Attrs.Int("smooth_softmax", 0) > 0:
		a.sink = func(int) T { return 0 }
	}
}

func (g *groupQuery[T]) run() error {
	a, c := g.a, g.c
	total := c.In[gqaTotal].Ints()[0]
	if total < a.rows {
		return fmt.Errorf("the total length is %d, there are %d rows", total, a.rows)
	}
	a.keys = max(total, g.pastRows)
	if len(c.Out) > 1 && c.Out[1] != nil && c.Out[1].Dim(2) != a.keys {
		return fmt.Errorf("the total length is %d, the cache has room for %d", total, c.Out[1].Dim(2))
	}
	if c.Has(gqaScores) && c.In[gqaScores].Dim(3) < total {
		return fmt.Errorf("what is added to the scores has shape %v, there are %d keys", c.In[gqaScores].Shape(), total)
	}
	for b, last := range c.In[gqaLast].Ints() {
		if last < 0 || last >= total {
			return fmt.Errorf("the last token of example %d is at %d, the total length is %d", b, last, total)
		}
		// The first run fills the cache from its beginning, however many
		// tokens an example has.
		g.before[b] = 0
		if total != a.rows {
			g.before[b] = last + 1 - a.rows
		}
		if n := g.before[b]; n < 0 || n > g.pastRows {
			return fmt.Errorf("example %d has %d tokens before these %d, its cache %d", b, n, a.rows, g.pastRows)
		}
	}
	q, k, v := g.views()
	var err error
	if g.rotary {
		if q, err = g.rotated(g.turned, q, a.heads); err != nil {
			return err
		}
		if k, err = g.rotated(g.fresh, k, a.kvHeads); err != nil {
			return err
		}
	}
	a.q, a.y = q, rowsFirst(tensor.Data[T](c.Out[0]), a.heads, a.rows, a.size)
	if a.k, err = g.cached(0, k); err != nil {
		return err
	}
	if a.v, err = g.cached(1, v); err != nil {
		return err
	}
	a.run(c.Pool)
	return nil
}

// views are queries, keys and values as they lie in the inputs.
func (g *groupQuery[T]) views() (q, k, v heads[T]) {
	a, data := g.a, tensor.Data[T](g.c.In[gqaQuery])
	if !g.packed {
		return rowsFirst(data, a.heads, a.rows, a.size),
			rowsFirst(tensor.Data[T](g.c.In[gqaKey]), a.kvHeads, a.rows, a.size),
			rowsFirst(tensor.Data[T](g.c.In[gqaValue]), a.kvHeads, a.rows, a.size)
	}
	width := (a.heads + 2*a.kvHeads) * a.size
	part := func(first int) heads[T] {
		return heads[T]{data[min(len(data), first*a.size):], a.rows * width, a.size, width}
	}
	return part(0), part(a.heads), part(a.heads + a.kvHeads)
}

// rotated turns every head by its position, into room.
func (g *groupQuery[T]) rotated(room []T, from heads[T], heads_ int) (heads[T], error) {
	a, c := g.a, g.c
	to := headsFirst(room, heads_, a.rows, a.size)
	cos, sin := tensor.Data[T](c.In[gqaCos]), tensor.Data[T](c.In[gqaSin])
	for b := range a.batch {
		for row := range a.rows {
			at := g.before[b] + row
			if c.Has(gqaPositions) {
				p := c.In[gqaPositions].I64()
				if len(p) != a.batch*a.rows {
					return to, fmt.Errorf("%d positions for %d examples of %d rows", len(p), a.batch, a.rows)
				}
				at = int(p[b*a.rows+row])
			}
			if at < 0 || at >= c.In[gqaCos].Dim(0) {
				return to, fmt.Errorf("position %d, the tables have %d", at, c.In[gqaCos].Dim(0))
			}
			for h := range heads_ {
				rotate(g.turn, to.at(b, h, row, a.size), from.at(b, h, row, a.size), cos[at*g.turn.half:][:g.turn.half], sin[at*g.turn.half:][:g.turn.half])
			}
		}
	}
	return to, nil
}

// cached copies the past and puts the fresh rows behind each example's own tokens.
func (g *groupQuery[T]) cached(j int, from heads[T]) (to heads[T], err error) {
	a, c := g.a, g.c
	n := a.batch * a.kvHeads * a.keys * a.size
	if i := 1 + j; i < len(c.Out) && c.Out[i] != nil {
		g.keys[j] = tensor.Data[T](c.Out[i])
	} else if len(g.keys[j]) != n {
		if g.keys[j], err = graph.Room[T](c, n); err != nil {
			return to, err
		}
	}
	to = headsFirst(g.keys[j], a.kvHeads, a.keys, a.size)
	for b := range a.batch {
		for h := range a.kvHeads {
			rest := to.at(b, h, 0, a.keys*a.size)
			clear(rest)
			if c.Has(gqaPastKey) {
				past := headsFirst(tensor.Data[T](c.In[gqaPastKey+j]), a.kvHeads, g.pastRows, a.size)
				copy(rest, past.at(b, h, 0, g.before[b]*a.size))
			}
			for r := range min(a.rows, a.keys-g.before[b]) {
				copy(to.at(b, h, g.before[b]+r, a.size), from.at(b, h, r, a.size))
			}
		}
	}
	return to, nil
}
