package op

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// Inputs of Microsoft's Attention: x [batch, rows, width], weights [width, queries +
// keys + values], a bias, a mask, the past [2, batch, heads, keys, size], scores to
// add.
const (
	packedX = iota
	packedWeights
	packedBias
	packedMask
	packedPast
	packedScores
	packedPastLength
)

// packedWidths are the columns of queries, keys and values.
func packedWidths(a graph.Attrs, columns graph.Dim) (q, k, v graph.Dim, err error) {
	heads := a.Int("num_heads", 0)
	if heads < 1 {
		return q, k, v, fmt.Errorf("num_heads is %d", heads)
	}
	if sizes := a.Ints("qkv_hidden_sizes"); sizes != nil {
		if len(sizes) != 3 || sizes[0] != sizes[1] || sizes[0] < 1 || sizes[2] < 1 || sizes[0]%heads != 0 || sizes[2]%heads != 0 {
			return q, k, v, fmt.Errorf("qkv_hidden_sizes %v with %d heads", sizes, heads)
		}
		return graph.Const(sizes[0]), graph.Const(sizes[1]), graph.Const(sizes[2]), nil
	}
	if n, ok := columns.Value(); ok && n%(3*heads) != 0 {
		return q, k, v, fmt.Errorf("the weights have %d columns for %d heads", n, heads)
	}
	third := columns.Div(graph.Const(3))
	return third, third, third, nil
}

func inferPackedAttention(c *graph.Infer) error {
	if err := c.Require(2, 7); err != nil {
		return err
	}
	if err := floats(c, packedX, packedWeights, packedBias, packedPast, packedScores); err != nil {
		return err
	}
	if c.Has(packedPastLength) {
		return fmt.Errorf("a cache in the memory of its input is not supported")
	}
	return inferPacked(c, c.In(packedX).DType, packedMask, packedPast, packedScores)
}

// inferPacked checks what Attention and QAttention have in common; mask, past and scores
// are inputs, or negative where there is no such input.
func inferPacked(c *graph.Infer, d tensor.DType, mask, past, scores int) error {
	if c.Node.Attrs.Int("do_rotary", 0) != 0 {
		return fmt.Errorf("do_rotary is not supported")
	}
	if err := c.Rank(packedX, 3); err != nil {
		return err
	}
	if err := c.Rank(packedWeights, 2); err != nil {
		return err
	}
	x, w := c.In(packedX).Shape, c.In(packedWeights).Shape
	q, k, v, err := packedWidths(c.Node.Attrs, w[1])
	if err != nil {
		return err
	}
	if err := sameDims(c, "columns", w[0], x[2], q.Add(k).Add(v), w[1]); err != nil {
		return err
	}
	if c.Has(packedBias) {
		if err := c.Same(c.In(packedBias).Shape.Len(), w[1], "elements of the bias and columns"); err != nil {
			return err
		}
	}
	heads_ := graph.Const(c.Node.Attrs.Int("num_heads", 1))
	dims := attentionDims{batch: x[0], heads: heads_, kvHeads: heads_, rows: x[1], fresh: x[1], past: graph.Const(0), size: q.Div(heads_), valueSize: v.Div(heads_)}
	if past >= 0 && c.Has(past) {
		if err := c.Rank(past, 5); err != nil {
			return err
		}
		p := c.In(past).Shape
		dims.past = p[3]
		if err := sameDims(c, "past", p[0], graph.Const(2), p[1], x[0], p[2], heads_, p[4], dims.size, dims.size, dims.valueSize); err != nil {
			return err
		}
	}
	if err := checkPadding(c, mask); err != nil {
		return err
	}
	if scores >= 0 {
		if err := checkAdded(c, scores, dims); err != nil {
			return err
		}
	}
	c.Out(0, d, graph.Shape{x[0], x[1], v})
	if c.Node.Output(1) != nil {
		if err := c.Same(dims.size, dims.valueSize, "sizes of a head of keys and values in one cache"); err != nil {
			return err
		}
		c.Out(1, d, graph.Shape{graph.Const(2), x[0], heads_, dims.keys(), dims.size})
	}
	return nil
}

func kernelPackedAttention[T wide](c *graph.Call) (func() error, error) {
	x := c.In[packedX].Shape()
	return packedAttention(c, func(all []T) {
		project(c, all, tensor.Data[T](c.In[packedX]), x[0]*x[1], x[2], c.In[packedWeights].Dim(1))
	})
}

// packedAttention has x projected to queries, keys and values first: all is [batch, rows,
// columns of the weights].
func packedAttention[T wide](c *graph.Call, projected func(all []T)) (func() error, error) {
	x, columns := c.In[packedX].Shape(), c.In[packedWeights].Dim(1)
	qw, _, vw, err := packedWidths(c.Node.Attrs, graph.Const(columns))
	if err != nil {
		return nil, err
	}
	width, _ := qw.Value()
	valueWidth, _ := vw.Value()
	a := &attention[T]{batch: x[0], heads: c.Node.Attrs.Int("num_heads", 1), rows: x[1], keys: x[1]}
	a.kvHeads, a.size, a.valueSize = a.heads, width/a.heads, valueWidth/a.heads
	past := 0
	if c.Has(packedPast) {
		past = c.In[packedPast].Dim(3)
		a.keys += past
	}
	a.scale = microsoftScale[T](c.Node.Attrs, a.size)
	pad, err := newTokenMask(c, packedMask, a)
	if err != nil {
		return nil, err
	}
	a.bias = microsoftBias(pad, addedScores[T](c, packedScores), c.Node.Attrs.Int("unidirectional", 0) != 0, past)
	all, err := graph.Room[T](c, x[0]*x[1]*columns)
	if err != nil {
		return nil, err
	}
	var own []T
	asked := len(c.Out) > 1 && c.Out[1] != nil
	if past > 0 && !asked {
		if own, err = graph.Room[T](c, 2*a.batch*a.heads*a.keys*a.size); err != nil {
			return nil, err
		}
	}
	part := func(first, size int) heads[T] {
		return heads[T]{all[min(len(all), first):], x[1] * columns, size, columns}
	}
	return func() error {
		projected(all)
		a.q, a.k, a.v = part(0, a.size), part(width, a.size), part(2*width, a.valueSize)
		a.y = rowsFirst(tensor.Data[T](c.Out[0]), a.heads, a.rows, a.valueSize)
		if asked {
			own = tensor.Data[T](c.Out[1])
		}
		if asked || past > 0 {
			var before []T
			if c.Has(packedPast) {
				before = tensor.Data[T](c.In[packedPast])
			}
			k := headsFirst(own[:len(own)/2], a.heads, a.keys, a.size)
			v := headsFirst(own[len(own)/2:], a.heads, a.keys, a.size)
			join(k, before[:len(before)/2], a.k, a.batch, a.heads, a.keys, a.rows, a.size)
			join(v, before[len(before)/2:], a.v, a.batch, a.heads, a.keys, a.rows, a.size)
			a.k, a.v = k, v
		}
		a.run(c.Pool)
		return nil
	}, nil
}

// project computes x·weights + bias for rows of x.
func project[T wide](c *graph.Call, y, x []T, rows, width, columns int) {
	w := tensor.Data[T](c.In[packedWeights])
	c.Pool.For(rows, max(1, (1<<15)/max(1, width*columns)), func(lo, hi, _ int) {
		for r := lo; r < hi; r++ {
			to := y[r*columns:][:columns]
			if clear(to); c.Has(packedBias) {
				copy(to, tensor.Data[T](c.In[packedBias]))
			}
			for i, v := range x[r*width:][:width] {
				for j, f := range w[i*columns:][:columns] {
					to[j] += v * f
				}
			}
		}
	})
}
