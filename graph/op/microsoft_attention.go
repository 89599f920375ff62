package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/tensor"
)

// microsoftAttentionOps are ONNX Runtime's forms of attention.
func microsoftAttentionOps() []graph.Op {
	return []graph.Op{
		{ID: microsoft("MultiHeadAttention"), Since: 1, Infer: inferMultiHead, Kernel: floating(kernelMultiHead[float32], kernelMultiHead[float64]), Expand: expandMultiHead, Work: workAttention},
		{ID: microsoft("Attention"), Since: 1, Infer: inferPackedAttention, Kernel: floating(kernelPackedAttention[float32], kernelPackedAttention[float64]), Expand: expandPackedAttention, Work: workPackedAttention},
		{ID: microsoft("GroupQueryAttention"), Since: 1, Infer: inferGroupQuery, Kernel: floating(kernelGroupQuery[float32], kernelGroupQuery[float64]), Expand: expandGroupQuery, Work: workAttention},
		{ID: microsoft("PagedAttention"), Since: 1, Infer: inferMicrosoftPaged, Kernel: kernelMicrosoftPaged, Expand: expandMicrosoftPaged, InPlace: []graph.Alias{{In: paKeyCache, Out: 1}, {In: paValueCache, Out: 2}}},
	}
}

// Inputs of MultiHeadAttention. Queries are [batch, rows, width], or all three are
// packed as [batch, rows, heads, 3, size]; keys are alike, or packed with the values
// as [batch, keys, heads, 2, size], or both are [batch, heads, keys, size].
const (
	mhaQuery = iota
	mhaKey
	mhaValue
	mhaBias
	mhaMask
	mhaScores
	mhaPastKey
	mhaPastValue
	mhaPastLength
	mhaCache
)

func inferMultiHead(c *graph.Infer) error {
	if err := c.Require(1, 10); err != nil {
		return err
	}
	if err := floats(c, mhaQuery, mhaKey, mhaValue, mhaBias, mhaScores, mhaPastKey, mhaPastValue); err != nil {
		return err
	}
	if c.Has(mhaPastLength) || c.Has(mhaCache) {
		return fmt.Errorf("a cache in the memory of its input is not supported")
	}
	if c.Node.Attrs.Int("num_heads", 0) < 1 {
		return fmt.Errorf("num_heads is %d", c.Node.Attrs.Int("num_heads", 0))
	}
	d, err := multiHeadDims(c)
	if err != nil {
		return err
	}
	if err := d.readPast(c, mhaPastKey); err != nil {
		return err
	}
	if err := checkPadding(c, mhaMask); err != nil {
		return err
	}
	if err := checkAdded(c, mhaScores, d); err != nil {
		return err
	}
	if c.Has(mhaBias) {
		if err := c.Same(c.In(mhaBias).Shape.Len(), d.heads.Mul(d.size.Add(d.size).Add(d.valueSize)), "elements of the bias"); err != nil {
			return err
		}
	}
	t := c.In(0).DType
	c.Out(0, t, graph.Shape{d.batch, d.rows, d.heads.Mul(d.valueSize)})
	c.Out(1, t, graph.Shape{d.batch, d.heads, d.keys(), d.size})
	c.Out(2, t, graph.Shape{d.batch, d.heads, d.keys(), d.valueSize})
	c.Out(3, t, graph.Shape{d.batch, d.heads, d.rows, d.keys()})
	return nil
}

func multiHeadDims(c *graph.Infer) (d attentionDims, err error) {
	heads_ := graph.Const(c.Node.Attrs.Int("num_heads", 0))
	q := c.In(mhaQuery).Shape
	if len(q) == 5 && !c.Has(mhaKey) && !c.Has(mhaValue) {
		d = attentionDims{batch: q[0], heads: heads_, kvHeads: heads_, rows: q[1], fresh: q[1], size: q[4], valueSize: q[4]}
		return d, sameDims(c, "packed queries, keys and values", q[2], heads_, q[3], graph.Const(3))
	}
	if len(q) != 3 || !c.Has(mhaKey) {
		return d, fmt.Errorf("queries have shape %v: keys are missing, or they are not packed", q)
	}
	if w, ok := q[2].Value(); ok && w%c.Node.Attrs.Int("num_heads", 0) != 0 {
		return d, fmt.Errorf("queries have shape %v for num_heads %v", q, heads_)
	}
	d = attentionDims{batch: q[0], heads: heads_, kvHeads: heads_, rows: q[1], size: q[2].Div(heads_)}
	k := c.In(mhaKey).Shape
	if len(k) == 5 && !c.Has(mhaValue) {
		d.fresh, d.valueSize = k[1], d.size
		return d, sameDims(c, "packed keys and values", k[0], d.batch, k[2], heads_, k[3], graph.Const(2), k[4], d.size)
	}
	if !c.Has(mhaValue) || len(k) != len(c.In(mhaValue).Shape) || len(k) != 3 && len(k) != 4 {
		return d, fmt.Errorf("keys have shape %v: values are missing, or they are not packed", k)
	}
	v := c.In(mhaValue).Shape
	if len(k) == 4 {
		d.fresh, d.valueSize = k[2], v[3]
		return d, sameDims(c, "keys and values", k[0], d.batch, v[0], d.batch, k[1], heads_, v[1], heads_, k[3], d.size, v[2], d.fresh)
	}
	d.fresh, d.valueSize = k[1], v[2].Div(heads_)
	if w, ok := v[2].Value(); ok && w%c.Node.Attrs.Int("num_heads", 0) != 0 {
		return d, fmt.Errorf("values have shape %v for num_heads %v", v, heads_)
	}
	return d, sameDims(c, "keys and values", k[0], d.batch, v[0], d.batch, k[2], q[2], v[1], d.fresh)
}

// checkPadding checks the type of a mask of tokens.
func checkPadding(c *graph.Infer, i int) error {
	if c.Has(i) && c.In(i).DType != tensor.Int32 {
		return fmt.Errorf("the mask is %v, expected int32", c.In(i).DType)
	}
	return nil
}

// checkAdded checks that what is added to the scores can be broadcast to them.
func checkAdded(c *graph.Infer, i int, d attentionDims) error {
	if !c.Has(i) {
		return nil
	}
	if err := c.Rank(i, 4); err != nil {
		return err
	}
	s, full := c.In(i).Shape, graph.Shape{d.batch, d.heads, d.rows, d.keys()}
	for j := range s {
		if j < 2 && s[j].Is(1) {
			continue
		}
		if err := c.Same(s[j], full[j], fmt.Sprintf("dimension %d of what is added to the scores", j)); err != nil {
			return err
		}
	}
	return nil
}

func kernelMultiHead[T wide](c *graph.Call) (func() error, error) {
	a := &attention[T]{heads: c.Node.Attrs.Int("num_heads", 1)}
	q := c.In[mhaQuery].Shape()
	a.kvHeads, a.batch, a.rows = a.heads, q[0], q[1]
	a.size = q[len(q)-1]
	if len(q) == 3 {
		a.size /= a.heads
	}
	fresh, bind := multiHeadViews(c, a)
	past := 0
	if c.Has(mhaPastKey) {
		past = c.In[mhaPastKey].Dim(2)
	}
	a.keys = past + fresh
	a.scale = microsoftScale[T](c.Node.Attrs, a.size)
	pad, err := newTokenMask[T](c, mhaMask, a)
	if err != nil {
		return nil, err
	}
	added := addedScores[T](c, mhaScores)
	causal := c.Node.Attrs.Int("unidirectional", 0) != 0
	a.bias = microsoftBias(pad, added, causal, past)
	cache, err := newCache(c, a, fresh, mhaPastKey)
	if err != nil {
		return nil, err
	}
	var withBias [3]biased[T]
	if c.Has(mhaBias) {
		width, all := a.heads*a.size, !c.Has(mhaKey) || c.In[mhaKey].Rank() != 4
		for i, b := range []biased[T]{{a.rows, a.size, 0, nil}, {fresh, a.size, width, nil}, {fresh, a.valueSize, 2 * width, nil}} {
			if i > 0 && !all {
				continue
			}
			if b.room, err = graph.Room[T](c, a.batch*a.heads*b.rows*b.size); err != nil {
				return nil, err
			}
			withBias[i] = b
		}
	}
	return func() error {
		q, k, v := bind()
		for i, h := range []*heads[T]{&q, &k, &v} {
			if b := withBias[i]; b.room != nil {
				*h = b.add(*h, tensor.Data[T](c.In[mhaBias]), a.batch, a.heads)
			}
		}
		a.q, a.y = q, rowsFirst(tensor.Data[T](c.Out[0]), a.heads, a.rows, a.valueSize)
		a.k, a.v = cache.put(k, v)
		if len(c.Out) > 3 && c.Out[3] != nil {
			a.trace = tensor.Data[T](c.Out[3])
		}
		a.run(c.Pool)
		return nil
	}, nil
}

// multiHeadViews finds how queries, keys and values lie in the inputs.
func multiHeadViews[T wide](c *graph.Call, a *attention[T]) (fresh int, bind func() (q, k, v heads[T])) {
	packed := func(x *tensor.Tensor, of, part, rows int) heads[T] {
		data := tensor.Data[T](x)
		step := of * a.size
		return heads[T]{data[min(len(data), part*a.size):], rows * a.heads * step, step, a.heads * step}
	}
	query := func() heads[T] { return rowsFirst(tensor.Data[T](c.In[mhaQuery]), a.heads, a.rows, a.size) }
	switch {
	case !c.Has(mhaKey):
		a.valueSize = a.size
		return a.rows, func() (q, k, v heads[T]) {
			x := c.In[mhaQuery]
			return packed(x, 3, 0, a.rows), packed(x, 3, 1, a.rows), packed(x, 3, 2, a.rows)
		}
	case c.In[mhaKey].Rank() == 5:
		a.valueSize, fresh = a.size, c.In[mhaKey].Dim(1)
		return fresh, func() (q, k, v heads[T]) {
			return query(), packed(c.In[mhaKey], 2, 0, fresh), packed(c.In[mhaKey], 2, 1, fresh)
		}
	case c.In[mhaKey].Rank() == 4:
		a.valueSize, fresh = c.In[mhaValue].Dim(3), c.In[mhaKey].Dim(2)
		return fresh, func() (q, k, v heads[T]) {
			return query(), headsFirst(tensor.Data[T](c.In[mhaKey]), a.heads, fresh, a.size), headsFirst(tensor.Data[T](c.In[mhaValue]), a.heads, fresh, a.valueSize)
		}
	}
	a.valueSize, fresh = c.In[mhaValue].Dim(2)/a.heads, c.In[mhaKey].Dim(1)
	return fresh, func() (q, k, v heads[T]) {
		return query(), rowsFirst(tensor.Data[T](c.In[mhaKey]), a.heads, fresh, a.size), rowsFirst(tensor.Data[T](c.In[mhaValue]), a.heads, fresh, a.valueSize)
	}
}

// biased is room for rows with a vector [heads, size], from an element of the bias on,
// added to each.
type biased[T wide] struct {
	rows, size, from int
	room             []T
}

func (k biased[T]) add(h heads[T], bias []T, batch, heads_ int) heads[T] {
	to := headsFirst(k.room, heads_, k.rows, k.size)
	for b := range batch {
		for n := range heads_ {
			add := bias[k.from+n*k.size:][:k.size]
			for r := range k.rows {
				row := to.at(b, n, r, k.size)
				for i, v := range h.at(b, n, r, k.size) {
					row[i] = v + add[i]
				}
			}
		}
	}
	return to
}

// microsoftScale is 1/sqrt(size) unless the attribute says otherwise; 0 does not.
func microsoftScale[T wide](a graph.Attrs, size int) T {
	if s := a.Float("scale", 0); s != 0 {
		return T(s)
	}
	return T(1 / math.Sqrt(float64(size)))
}

// addedScores is the mask of a float input that is added as it is.
func addedScores[T wide](c *graph.Call, i int) *addMask[T] {
	if !c.Has(i) {
		return nil
	}
	return newAddMask[T](c.In[i])
}

// microsoftBias joins what is added to a row of scores.
func microsoftBias[T wide](pad *tokenMask[T], added *addMask[T], causal bool, past int) func(b, head, row int, bias []T) {
	return func(b, head, row int, bias []T) {
		if clear(bias); added != nil {
			added.fill(b, head, row, bias)
		}
		if pad != nil {
			pad.add(b, row, bias)
		}
		if causal {
			hideOutside(bias, row+past, -1, 0)
		}
	}
}
