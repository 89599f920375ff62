package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// pagedOps are attention over a cache in pages; see kernel.PagedAttention.
//
// PagedAttention(q, k, v, keys, values, lengths, past, blocks, qScale, kScale, cos,
// sin, positions) -> (y, keys, values): rows of all sequences of a step lie one
// after another in q, k and v, [1, tokens, heads·size]; sequence s has the rows from
// lengths[s] to lengths[s+1], and past[s] positions in the cache, whose pages are
// blocks[s]. Without k and v, either q holds all three side by side (attribute
// joined), or keys and values are those of another node, which are only read.
//
// With scales, heads of queries and keys are RMS-normalised (attribute epsilon);
// with tables, turned by their positions (attribute interleaved).
func pagedOps() []graph.Op {
	return []graph.Op{
		{ID: private("PagedAttention"), Infer: inferPaged, Kernel: kernelPaged, InPlace: []graph.Alias{{In: 3, Out: 1}, {In: 4, Out: 2}}},
	}
}

func inferPaged(c *graph.Infer) error {
	if len(c.Node.Inputs) != 13 {
		return fmt.Errorf("%d inputs, expected 13", len(c.Node.Inputs))
	}
	for _, i := range []int{0, 3, 4, 5, 6, 7} {
		if !c.Has(i) {
			return fmt.Errorf("input %d is missing", i)
		}
	}
	if err := c.Floats(0, 1, 2, 8, 9, 10, 11); err != nil {
		return err
	}
	heads, kv := c.Node.Attrs.Int("q_num_heads", 0), c.Node.Attrs.Int("kv_num_heads", 0)
	size := c.Node.Attrs.Int("head_size", 0)
	if heads < 1 || kv < 1 || heads%kv != 0 || size < 1 {
		return fmt.Errorf("q_num_heads %d, kv_num_heads %d and head_size %d do not fit each other", heads, kv, size)
	}
	q := c.In(0).Shape
	width := heads * size
	if besideEachOther(c.Node) {
		width += 2 * kv * size
	}
	if len(q) != 3 {
		return fmt.Errorf("queries have shape %v, expected 3 dimensions", q)
	}
	if err := c.Same(q[2], graph.Const(width), "columns of queries and heads"); err != nil {
		return err
	}
	c.Out(0, tensor.Float32, graph.Shape{q[0], q[1], graph.Const(heads * size)})
	c.Out(1, c.In(3).DType, c.In(3).Shape)
	c.Out(2, c.In(4).DType, c.In(4).Shape)
	return nil
}

func besideEachOther(n *graph.Node) bool { return n.Attrs.Int("joined", 0) != 0 }

func kernelPaged(c *graph.Call) (func() error, error) {
	attrs := c.Node.Attrs
	a := &kernel.PagedAttention{
		Heads: attrs.Int("q_num_heads", 0), KVHeads: attrs.Int("kv_num_heads", 0), Size: attrs.Int("head_size", 0),
		SoftCap: attrs.Float("softcap", 0), Window: attrs.Int("left_window_size", -1),
		Epsilon: attrs.Float("epsilon", 1e-5), Interleaved: attrs.Int("interleaved", 0) != 0,
	}
	a.Scale = attrs.Float("scale", float32(1/math.Sqrt(float64(a.Size))))
	for i, size := range []int{kernel.KeyPageBytes(a.KVHeads, a.Size), kernel.ValuePageBytes(a.KVHeads, a.Size)} {
		if t := c.In[3+i]; t.DType() != tensor.Float16 || t.Rank() != 2 || t.Dim(1)*2 != size {
			return nil, fmt.Errorf("the cache is %v, expected pages of %d float16", t, size/2)
		}
	}
	if c.In[0].Dim(0) != 1 || c.In[7].Rank() != 2 || c.In[7].Dim(0) != c.In[6].Len() || c.In[5].Len() != c.In[6].Len()+1 {
		return nil, fmt.Errorf("queries %v, lengths %v, past %v and blocks %v do not fit each other", c.In[0], c.In[5], c.In[6], c.In[7])
	}
	if c.Has(10) {
		a.Rotary = 2 * c.In[10].Dim(1)
		if a.Rotary > a.Size || !c.Has(11) || !c.Has(12) || c.In[12].Len() != c.In[0].Dim(1) {
			return nil, fmt.Errorf("%d elements of a head of %d are turned, without tables or positions that fit", a.Rotary, a.Size)
		}
	}
	a.BlocksPerRow = c.In[7].Dim(1)
	c.Reserve(a.ScratchLen(c.Pool))
	all, some := a.Heads*a.Size, a.KVHeads*a.Size
	return func() error {
		a.Q, a.K, a.V, a.Y = c.F32(0), c.F32(1), c.F32(2), c.Out[0].F32()
		a.LDQ, a.LDK, a.LDV = all, some, some
		if besideEachOther(c.Node) {
			a.LDQ = all + 2*some
			a.LDK, a.LDV = a.LDQ, a.LDQ
			if len(a.Q) > 0 {
				a.K, a.V = a.Q[all:], a.Q[all+some:]
			}
		}
		a.Keys, a.Values = c.In[3].Bytes(), c.In[4].Bytes()
		a.Lengths, a.Past, a.Blocks = c.In[5].I64(), c.In[6].I64(), c.In[7].I64()
		a.QNorm, a.KNorm, a.Cos, a.Sin = c.F32(8), c.F32(9), c.F32(10), c.F32(11)
		if c.Has(12) {
			a.Positions = c.In[12].I64()
		}
		return a.Run(c.Pool, c.Scratch())
	}, nil
}
