package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/tensor"
)

// attentionOps are scaled dot-product attention in ONNX's forms.
func attentionOps() []graph.Op {
	return []graph.Op{
		{ID: onnx("Attention"), Since: 23, Infer: inferAttention, Kernel: floating(kernelAttention[float32], kernelAttention[float64]), Grad: gradAttention, Expand: expandAttention, Work: workAttention},
		// (q, k, v, mask, dy) -> dq, dk, dv; attributes as Attention
		{ID: private("AttentionGrad"), Infer: inferAttentionGrad, Kernel: kernelAttentionGrad},
		{ID: graph.OpID{Domain: "ai.onnx.preview", Name: "FlexAttention"}, Since: 1, Infer: inferFlexAttention,
			Kernel: floating(kernelFlexAttention[float32], kernelFlexAttention[float64]), Expand: expandFlexAttention},
	}
}

// attentionDims are the dimensions of an attention's operands.
type attentionDims struct {
	batch, heads, kvHeads graph.Dim
	rows, fresh, past     graph.Dim // fresh: keys that come as input
	size, valueSize       graph.Dim
	packed                bool // heads lie within the last of three dimensions
}

func (d attentionDims) keys() graph.Dim { return d.past.Add(d.fresh) }

// readAttention finds the dimensions of q, k and v, which are inputs 0 to 2.
func readAttention(c *graph.Infer) (d attentionDims, err error) {
	q, k, v := c.In(0).Shape, c.In(1).Shape, c.In(2).Shape
	if len(q) != len(k) || len(q) != len(v) || len(q) != 3 && len(q) != 4 {
		return d, fmt.Errorf("queries, keys and values have shapes %v, %v and %v, expected 3 or 4 dimensions each", q, k, v)
	}
	d.batch, d.packed = q[0], len(q) == 3
	if d.packed {
		heads, kvHeads := c.Node.Attrs.Int("q_num_heads", 0), c.Node.Attrs.Int("kv_num_heads", 0)
		if heads < 1 || kvHeads < 1 {
			return d, fmt.Errorf("q_num_heads is %d and kv_num_heads %d: both are needed with 3 dimensions", heads, kvHeads)
		}
		d.heads, d.kvHeads = graph.Const(heads), graph.Const(kvHeads)
		for i, n := range []int{heads, kvHeads, kvHeads} {
			if w, ok := c.In(i).Shape[2].Value(); ok && w%n != 0 {
				return d, fmt.Errorf("input %d has %d columns for %d heads", i, w, n)
			}
		}
		d.rows, d.fresh = q[1], k[1]
		d.size, d.valueSize = q[2].Div(d.heads), v[2].Div(d.kvHeads)
		if err := c.Same(k[2].Div(d.kvHeads), d.size, "sizes of a head of keys and queries"); err != nil {
			return d, err
		}
		if err := c.Same(v[1], d.fresh, "numbers of values and keys"); err != nil {
			return d, err
		}
	} else {
		d.heads, d.kvHeads, d.rows, d.fresh = q[1], k[1], q[2], k[2]
		d.size, d.valueSize = q[3], v[3]
		if err := sameDims(c, "heads, rows or size", k[3], d.size, v[1], d.kvHeads, v[2], d.fresh); err != nil {
			return d, err
		}
	}
	m, ok1 := d.heads.Value()
	n, ok2 := d.kvHeads.Value()
	if ok1 && ok2 && (n == 0 || m%n != 0) {
		return d, fmt.Errorf("%d heads of queries cannot share %d heads of keys", m, n)
	}
	return d, sameDims(c, "batch", k[0], d.batch, v[0], d.batch)
}

// sameDims checks pairs of dimensions.
func sameDims(c *graph.Infer, what string, pairs ...graph.Dim) error {
	for i := 0; i+1 < len(pairs); i += 2 {
		if err := c.Same(pairs[i], pairs[i+1], what); err != nil {
			return err
		}
	}
	return nil
}

// readPast takes past keys and values into account, which are inputs i and i+1.
func (d *attentionDims) readPast(c *graph.Infer, i int) error {
	d.past = graph.Const(0)
	if c.Has(i) != c.Has(i+1) {
		return fmt.Errorf("past keys and past values come together")
	}
	if !c.Has(i) {
		return nil
	}
	if err := floats(c, 0, i, i+1); err != nil {
		return err
	}
	for j, size := range []graph.Dim{d.size, d.valueSize} {
		if err := c.Rank(i+j, 4); err != nil {
			return err
		}
		s := c.In(i + j).Shape
		if j == 0 {
			d.past = s[2]
		}
		if err := sameDims(c, "past and present", s[0], d.batch, s[1], d.kvHeads, s[2], d.past, s[3], size); err != nil {
			return err
		}
	}
	return nil
}

// inferAttention: (q, k, v, mask, past keys, past values, lengths) -> (y, keys,
// values, scores).
func inferAttention(c *graph.Infer) error {
	inputs := 7
	if c.Version < 24 {
		inputs = 6
	}
	if err := c.Require(3, inputs); err != nil {
		return err
	}
	if err := floats(c, 0, 1, 2); err != nil {
		return err
	}
	d, err := readAttention(c)
	if err != nil {
		return err
	}
	if err := d.readPast(c, 4); err != nil {
		return err
	}
	if err := checkMask(c, d); err != nil {
		return err
	}
	if c.Has(6) {
		if c.Has(4) {
			return fmt.Errorf("nonpad_kv_seqlen and past keys exclude each other")
		}
		if t := c.In(6); t.DType != tensor.Int64 || len(t.Shape) != 1 {
			return fmt.Errorf("nonpad_kv_seqlen is %v, expected a vector of int64", t)
		}
		if err := c.Same(c.In(6).Shape[0], d.batch, "lengths and batch"); err != nil {
			return err
		}
	}
	if mode := c.Node.Attrs.Int("qk_matmul_output_mode", 0); mode < 0 || mode > 3 {
		return fmt.Errorf("qk_matmul_output_mode is %d, expected 0 to 3", mode)
	}
	t := c.In(0).DType
	if d.packed {
		c.Out(0, t, graph.Shape{d.batch, d.rows, d.heads.Mul(d.valueSize)})
	} else {
		c.Out(0, t, graph.Shape{d.batch, d.heads, d.rows, d.valueSize})
	}
	c.Out(1, t, graph.Shape{d.batch, d.kvHeads, d.keys(), d.size})
	c.Out(2, t, graph.Shape{d.batch, d.kvHeads, d.keys(), d.valueSize})
	c.Out(3, t, graph.Shape{d.batch, d.heads, d.rows, d.keys()})
	return nil
}

// checkMask checks that input 3 can be broadcast to the scores.
func checkMask(c *graph.Infer, d attentionDims) error {
	if !c.Has(3) {
		return nil
	}
	m := c.In(3)
	if m.DType != tensor.Bool && m.DType != c.In(0).DType {
		return fmt.Errorf("the mask is %v, expected bool or %v", m.DType, c.In(0).DType)
	}
	if len(m.Shape) < 1 || len(m.Shape) > 4 {
		return fmt.Errorf("the mask has shape %v, expected up to 4 dimensions", m.Shape)
	}
	full := graph.Shape{d.batch, d.heads, d.rows, d.keys()}[4-len(m.Shape):]
	for i, s := range m.Shape {
		n, known := s.Value()
		want, ok := full[i].Value()
		last := i == len(m.Shape)-1
		if known && ok && n != want && (!last && n != 1 || last && n > want) {
			return fmt.Errorf("the mask has shape %v, which cannot be broadcast to %v", m.Shape, full)
		}
	}
	return nil
}

// kernelAttention: what a causal mask counts as a query's position is its row after
// the keys that were there before: the past, or with lengths what the last rows
// leave.
func kernelAttention[T wide](c *graph.Call) (func() error, error) {
	a := attentionOf[T](c)
	past, attrs := a.keys, c.Node.Attrs
	past -= c.In[1].Dim(c.In[1].Rank() - 2)
	left, right := attrs.Int("left_window_size", -1), attrs.Int("right_window_size", -1)
	if attrs.Int("is_causal", 0) != 0 {
		right = 0
		a.causal = past == 0 && !c.Has(6)
		a.only = left < 0 && !c.Has(3)
	}
	var mask *addMask[T]
	if c.Has(3) {
		mask = newAddMask[T](c.In[3])
	}
	var lengths []int64
	a.bias = func(b, head, row int, bias []T) {
		if clear(bias); mask != nil {
			mask.fill(b, head, row, bias)
		}
		position := row + past
		if lengths != nil {
			n := int(lengths[b])
			position = row + n - a.rows
			hideOutside(bias, 0, -1, n-1)
			if n <= 0 {
				hideOutside(bias, -1, -1, 0)
			}
		}
		hideOutside(bias, position, left, right)
	}
	bind, err := bindAttention(c, a, 4)
	if err != nil {
		return nil, err
	}
	return func() error {
		if bind(); len(c.In) > 6 && c.In[6] != nil {
			lengths = c.In[6].I64()
			for b, n := range lengths {
				if n < 0 || int(n) > a.keys {
					return fmt.Errorf("nonpad_kv_seqlen is %d for example %d, there are %d keys", n, b, a.keys)
				}
			}
		}
		a.run(c.Pool)
		return nil
	}, nil
}

// attentionOf reads the sizes from the shapes of q, k, v and their cache.
func attentionOf[T wide](c *graph.Call) *attention[T] {
	q, k, v, attrs := c.In[0].Shape(), c.In[1].Shape(), c.In[2].Shape(), c.Node.Attrs
	a := &attention[T]{batch: q[0], softcap: T(attrs.Float("softcap", 0)), stage: traceStage(attrs.Int("qk_matmul_output_mode", 0))}
	if len(q) == 3 {
		a.heads, a.kvHeads, a.rows, a.keys = attrs.Int("q_num_heads", 1), attrs.Int("kv_num_heads", 1), q[1], k[1]
		a.size, a.valueSize = q[2]/a.heads, v[2]/a.kvHeads
	} else {
		a.heads, a.kvHeads, a.rows, a.keys, a.size, a.valueSize = q[1], k[1], q[2], k[2], q[3], v[3]
	}
	if c.Has(4) {
		a.keys += c.In[4].Dim(2)
	}
	a.scale = T(scaleOf(c.Node, a.size))
	return a
}

// scaleOf is what scores are multiplied with.
func scaleOf(n *graph.Node, size int) float64 {
	if _, ok := n.Attrs["scale"]; ok {
		return float64(n.Attrs.Float("scale", 1))
	}
	return 1 / math.Sqrt(float64(size))
}

// bindAttention returns what points a at the operands of a run. Keys and values
// with a past, from input i on, are joined into the outputs 1 and 2, or into
// memory of its own where the node does not have them.
func bindAttention[T wide](c *graph.Call, a *attention[T], i int) (func(), error) {
	packed := c.In[0].Rank() == 3
	view := func(data []T, heads_, rows, size int) heads[T] {
		if packed {
			return rowsFirst(data, heads_, rows, size)
		}
		return headsFirst(data, heads_, rows, size)
	}
	fresh := c.In[1].Dim(c.In[1].Rank() - 2)
	joined, err := newCache(c, a, fresh, i)
	return func() {
		a.q = view(tensor.Data[T](c.In[0]), a.heads, a.rows, a.size)
		a.y = view(tensor.Data[T](c.Out[0]), a.heads, a.rows, a.valueSize)
		a.k, a.v = joined.put(view(tensor.Data[T](c.In[1]), a.kvHeads, fresh, a.size), view(tensor.Data[T](c.In[2]), a.kvHeads, fresh, a.valueSize))
		if len(c.Out) > 3 && c.Out[3] != nil {
			a.trace = tensor.Data[T](c.Out[3])
		}
	}, err
}
