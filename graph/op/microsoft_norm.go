package op

import (
	"fmt"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// microsoftNormOps are layer norms joined with what comes before them.
func microsoftNormOps() []graph.Op {
	return []graph.Op{
		// (x, skip, gamma, beta, bias)
		{ID: microsoft("SkipLayerNormalization"), Since: 1, Infer: inferSkipNorm(5),
			Kernel: floating(kernelSkipNorm[float32](false), kernelSkipNorm[float64](false)), Expand: expandSkipNorm(false)},
		// (x, skip, gamma, bias)
		{ID: microsoft("SkipSimplifiedLayerNormalization"), Since: 1, Infer: inferSkipNorm(4),
			Kernel: floating(kernelSkipNorm[float32](true), kernelSkipNorm[float64](true)), Expand: expandSkipNorm(true)},
		{ID: microsoft("EmbedLayerNormalization"), Since: 1, Infer: inferEmbedNorm,
			Kernel: floating(kernelEmbedNorm[float32], kernelEmbedNorm[float64]), Expand: expandEmbedNorm},
	}
}

// inferSkipNorm: outputs are (y, mean, inverse deviation, x+skip+bias).
func inferSkipNorm(inputs int) func(*graph.Infer) error {
	return func(c *graph.Infer) error {
		if err := c.Require(3, inputs); err != nil {
			return err
		}
		if err := floats(c, 0, 1, 2, 3, 4); err != nil {
			return err
		}
		x := c.In(0)
		if len(x.Shape) < 1 || len(c.In(1).Shape) > len(x.Shape) {
			return fmt.Errorf("x has shape %v, skip %v", x.Shape, c.In(1).Shape)
		}
		cols := x.Shape[len(x.Shape)-1]
		for i := 2; i < inputs; i++ {
			if !c.Has(i) {
				continue
			}
			if err := c.Rank(i, 1); err != nil {
				return err
			}
			if err := c.Same(c.In(i).Shape[0], cols, "elements of a vector and columns"); err != nil {
				return err
			}
		}
		if _, err := graph.Broadcast(x.Shape, c.In(1).Shape); err != nil {
			return err
		}
		statistics := append(graph.Shape{}, x.Shape...)
		statistics[len(statistics)-1] = graph.Const(1)
		c.Out(0, x.DType, x.Shape)
		c.Out(1, tensor.Float32, statistics)
		c.Out(2, tensor.Float32, statistics)
		c.Out(3, x.DType, x.Shape)
		return nil
	}
}

func kernelSkipNorm[T wide](rms bool) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		rows, cols := matrix(c)
		skip, bias := c.In[1].Len(), 4
		if rms {
			bias = 3
		}
		if skip == 0 || rows*cols%skip != 0 || skip%max(cols, 1) != 0 {
			return nil, fmt.Errorf("skip has shape %v, x %v", c.In[1].Shape(), c.In[0].Shape())
		}
		n := &rowNorm[T]{epsilon: float64(c.Node.Attrs.Float("epsilon", 1e-12)), rms: rms}
		if rms {
			n.epsilon = float64(c.Node.Attrs.Float("epsilon", 1e-6))
		}
		if skip == rows*cols && !c.Has(bias) && float32Values(c) {
			return vectorSkipNorm(c, kernel.LayerNorm{Rows: rows, Cols: cols, RMS: rms, Epsilon: float32(n.epsilon)}), nil
		}
		keep := len(c.Out) > 3 && c.Out[3] != nil
		var x, skips, y, add, sums []T
		body := func(lo, hi, _ int) {
			for r := lo; r < hi; r++ {
				sum, other := sums[r*cols:][:cols], skips[r*cols%skip:][:cols]
				for i, v := range x[r*cols:][:cols] {
					if sum[i] = v + other[i]; add != nil {
						sum[i] += add[i]
					}
				}
				mean, inverse := n.row(y[r*cols:][:cols], sum)
				putF32(c, 1, r, mean)
				putF32(c, 2, r, inverse)
			}
		}
		return func() error {
			x, skips, y = tensor.Data[T](c.In[0]), tensor.Data[T](c.In[1]), tensor.Data[T](c.Out[0])
			n.scale = tensor.Data[T](c.In[2])
			if !rms && c.Has(3) {
				n.bias = tensor.Data[T](c.In[3])
			}
			if c.Has(bias) {
				add = tensor.Data[T](c.In[bias])
			}
			if sums = y; keep {
				sums = tensor.Data[T](c.Out[3])
			}
			c.Pool.For(rows, max(1, (1<<13)/max(1, cols)), body)
			return nil
		}, nil
	}
}

// vectorSkipNorm is for a skip of the shape of x, in float32.
func vectorSkipNorm(c *graph.Call, n kernel.LayerNorm) func() error {
	k := &n
	return func() error {
		k.X, k.Skip, k.Y, k.Scale, k.Bias = c.F32(0), c.F32(1), c.Out[0].F32(), c.F32(2), c.F32(3)
		k.Mean, k.Inverse, k.Sum = outputF32(c, 1), outputF32(c, 2), outputF32(c, 3)
		k.Run(c.Pool)
		return nil
	}
}

// putF32 writes an element of a float32 output, if the node has it.
func putF32(c *graph.Call, i, at int, v float64) { put(c, i, at, float32(v)) }

// embedInputs of EmbedLayerNormalization.
const (
	embedIDs = iota
	embedSegments
	embedWordTable
	embedPositionTable
	embedSegmentTable
	embedGamma
	embedBeta
	embedMask
	embedPositions
)

func inferEmbedNorm(c *graph.Infer) error {
	if err := c.Require(1, 9); err != nil {
		return err
	}
	for _, i := range []int{embedWordTable, embedPositionTable, embedGamma, embedBeta} {
		if !c.Has(i) {
			return fmt.Errorf("input %d is missing", i)
		}
	}
	if err := floats(c, embedWordTable, embedPositionTable, embedSegmentTable, embedGamma, embedBeta); err != nil {
		return err
	}
	return inferEmbedding(c, c.In(embedWordTable).DType)
}

// inferEmbedding checks what the forms of the operator have in common; d is the output's type.
func inferEmbedding(c *graph.Infer, d tensor.DType) error {
	if c.Has(embedSegments) != c.Has(embedSegmentTable) {
		return fmt.Errorf("segment ids and their table come together")
	}
	for _, i := range []int{embedIDs, embedSegments, embedMask, embedPositions} {
		if !c.Has(i) || i == embedPositions && c.In(embedWordTable).DType != d {
			continue // of the quantized form, that input is a scale
		}
		if c.In(i).DType != tensor.Int32 {
			return fmt.Errorf("input %d (%s) is %v, expected int32", i, c.Node.Inputs[i].Name, c.In(i).DType)
		}
		if err := c.Rank(i, 2); err != nil {
			return err
		}
	}
	cols := graph.Dim{}
	for i := embedWordTable; i <= embedBeta; i++ {
		if !c.Has(i) {
			continue
		}
		s := c.In(i).Shape
		if rank := 2 - (i-embedWordTable)/3; len(s) != rank {
			return fmt.Errorf("input %d (%s) has shape %v, expected %d dimensions", i, c.Node.Inputs[i].Name, s, rank)
		}
		if i == embedWordTable {
			cols = s[1]
		}
		if err := c.Same(s[len(s)-1], cols, "columns of tables"); err != nil {
			return err
		}
	}
	ids := c.In(embedIDs).Shape
	shape := graph.Shape{ids[0], ids[1], cols}
	c.Out(0, d, shape)
	c.Out(1, tensor.Int32, ids[:1])
	c.Out(2, d, shape)
	return nil
}

// kernelEmbedNorm adds up the rows of a word, its position and its segment and
// normalises. Output 1 counts the tokens of each example that the mask keeps.
func kernelEmbedNorm[T wide](c *graph.Call) (func() error, error) {
	batch, tokens, cols := c.In[embedIDs].Dim(0), c.In[embedIDs].Dim(1), c.In[embedWordTable].Dim(1)
	for _, i := range []int{embedSegments, embedMask} {
		if c.Has(i) && c.In[i].Len() != batch*tokens {
			return nil, fmt.Errorf("input %d has shape %v, ids %v", i, c.In[i].Shape(), c.In[embedIDs].Shape())
		}
	}
	if c.Has(embedPositions) && (c.In[embedPositions].Dim(1) != tokens || c.In[embedPositions].Dim(0) != 1 && c.In[embedPositions].Dim(0) != batch) {
		return nil, fmt.Errorf("positions have shape %v, ids %v", c.In[embedPositions].Shape(), c.In[embedIDs].Shape())
	}
	n := &rowNorm[T]{epsilon: float64(c.Node.Attrs.Float("epsilon", 1e-12))}
	keep := len(c.Out) > 2 && c.Out[2] != nil
	return func() error {
		y := tensor.Data[T](c.Out[0])
		n.scale, n.bias = tensor.Data[T](c.In[embedGamma]), tensor.Data[T](c.In[embedBeta])
		sums := y
		if keep {
			sums = tensor.Data[T](c.Out[2])
		}
		for i := range batch * tokens {
			sum := sums[i*cols:][:cols]
			clear(sum)
			position := i % tokens
			if c.Has(embedPositions) {
				p := tensor.Data[int32](c.In[embedPositions])
				position = int(p[i%len(p)])
			}
			if err := addRow(sum, c.In[embedWordTable], int(tensor.Data[int32](c.In[embedIDs])[i]), "id"); err != nil {
				return err
			}
			if err := addRow(sum, c.In[embedPositionTable], position, "position"); err != nil {
				return err
			}
			if c.Has(embedSegments) {
				if err := addRow(sum, c.In[embedSegmentTable], int(tensor.Data[int32](c.In[embedSegments])[i]), "segment"); err != nil {
					return err
				}
			}
			n.row(y[i*cols:][:cols], sum)
		}
		for b := range batch {
			kept := int32(0)
			if c.Has(embedMask) {
				for _, v := range tensor.Data[int32](c.In[embedMask])[b*tokens:][:tokens] {
					if v == 1 {
						kept++
					}
				}
			}
			put(c, 1, b, kept)
		}
		return nil
	}, nil
}

// addRow adds a row of a table.
func addRow[T wide](sum []T, table *tensor.Tensor, row int, what string) error {
	if row < 0 || row >= table.Dim(0) {
		return fmt.Errorf("%s %d, the table has %d rows", what, row, table.Dim(0))
	}
	for i, v := range tensor.Data[T](table)[row*len(sum):][:len(sum)] {
		sum[i] += v
	}
	return nil
}
