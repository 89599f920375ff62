package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// layerNormOps normalise the dimensions from an axis on, for each position of those
// before it. The simplified form and RMSNormalization are the same: no mean is taken.
func layerNormOps() []graph.Op {
	rms := floating(kernelLayerNorm[float32](true), kernelLayerNorm[float64](true))
	full := floating(kernelLayerNorm[float32](false), kernelLayerNorm[float64](false))
	return []graph.Op{
		{ID: onnx("LayerNormalization"), Since: 17, Infer: inferLayerNorm(3, 1, 2), Kernel: full, Grad: gradLayerNorm(false), Rows: layerNormByRow},
		{ID: onnx("RMSNormalization"), Since: 23, Infer: inferLayerNorm(2), Kernel: rms, Grad: gradLayerNorm(true)},
		// (dy, x, scale) -> dx, dscale, dbias; attributes axis, epsilon, rms
		{ID: private("LayerNormGrad"), Infer: inferLayerNormGrad, Kernel: kernelLayerNormGrad},
		// What ONNX Runtime's exporters write, in either domain: its second
		// output is the inverse of the root of the mean square.
		{ID: onnx("SimplifiedLayerNormalization"), Since: 1, Infer: inferLayerNorm(2, 1), Kernel: rms, Grad: gradLayerNorm(true)},
		{ID: microsoft("SimplifiedLayerNormalization"), Since: 1, Infer: inferLayerNorm(2, 1), Kernel: rms, Grad: gradLayerNorm(true)},
	}
}

// inferLayerNorm is the rule for (x, scale[, bias]); statistics are which outputs
// hold one number per normalised group, of type stash_type.
func inferLayerNorm(inputs int, statistics ...int) func(*graph.Infer) error {
	return func(c *graph.Infer) error {
		if err := c.Require(2, inputs); err != nil {
			return err
		}
		for i := range inputs {
			if c.Has(i) && !fullFloat(c.In(i).DType) {
				return fmt.Errorf("input %d (%s) is %v, expected floats", i, c.Node.Inputs[i].Name, c.In(i).DType)
			}
		}
		x := c.In(0)
		axis, err := graph.Axis(c.Node.Attrs.Int("axis", -1), len(x.Shape))
		if err != nil {
			return err
		}
		// RMSNormalization allows a scale of another type, which the result has.
		c.Out(0, c.In(1).DType, x.Shape)
		shape := append(graph.Shape{}, x.Shape...)
		for i := axis; i < len(shape); i++ {
			shape[i] = graph.Const(1)
		}
		stash := tensor.DType(c.Node.Attrs.Int("stash_type", 1))
		if stash != tensor.Float32 && stash != tensor.BFloat16 && stash != tensor.Float16 && stash != tensor.Float64 {
			return fmt.Errorf("stash_type %v is not a floating-point type", stash)
		}
		for _, i := range statistics {
			c.Out(i, stash, shape)
		}
		return nil
	}
}

// rowNorm normalises rows: (x-mean)/sqrt(variance+epsilon)·scale+bias, or without
// the mean.
type rowNorm[T wide] struct {
	epsilon     float64
	rms         bool
	scale, bias []T   // nil: absent
	scaleAt     []int // index into scale for each column, nil: the column
	biasAt      []int
}

// row computes one row; y may be x.
func (n *rowNorm[T]) row(y, x []T) (mean, inverse float64) {
	var variance float64
	if n.rms {
		for _, v := range x {
			variance += float64(v) * float64(v)
		}
		variance /= float64(len(x))
	} else {
		mean, variance = moments(x)
	}
	inverse = 1 / math.Sqrt(variance+n.epsilon)
	for i, v := range x {
		r := T((float64(v) - mean) * inverse)
		if n.scale != nil {
			r *= pick(n.scale, n.scaleAt, i)
		}
		if n.bias != nil {
			r += pick(n.bias, n.biasAt, i)
		}
		y[i] = r
	}
	return mean, inverse
}

func pick[T any](x []T, at []int, i int) T {
	if at != nil {
		i = at[i]
	}
	return x[i]
}

// broadcastAt is, for each position of the shape to, the index of the element of
// an operand of shape s that is broadcast to it; nil where they are the same.
func broadcastAt(to, s tensor.Shape) ([]int, error) {
	for len(s) > len(to) && s[0] == 1 {
		s = s[1:]
	}
	if s.Equal(to) {
		return nil, nil
	}
	if len(s) > len(to) {
		return nil, fmt.Errorf("shape %v cannot be broadcast to %v", s, to)
	}
	w, err := newWalk(to, s)
	if err != nil {
		return nil, err
	}
	at := make([]int, 0, to.Len())
	for row := range w.rows() {
		step := 0
		if len(to) > 0 {
			step = w.strides[len(to)-1]
		}
		for i := range w.last() {
			at = append(at, w.offset(row)+i*step)
		}
	}
	return at, nil
}

func kernelLayerNorm[T wide](rms bool) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		s := c.In[0].Shape()
		axis, err := graph.Axis(c.Node.Attrs.Int("axis", -1), len(s))
		if err != nil {
			return nil, err
		}
		n := &rowNorm[T]{epsilon: float64(c.Node.Attrs.Float("epsilon", 1e-5)), rms: rms}
		// The scale may vary over what comes before the axis too: then every
		// row has indices of its own.
		full := false
		for i := 1; i < len(c.In); i++ {
			full = full || c.In[i] != nil && c.In[i].Rank() > len(s)-axis && c.In[i].Shape()[:c.In[i].Rank()-len(s)+axis].Len() != 1
		}
		over := s[axis:]
		if full {
			over = s
		}
		if n.scaleAt, err = broadcastAt(over, c.In[1].Shape()); err != nil {
			return nil, err
		}
		if c.Has(2) {
			if n.biasAt, err = broadcastAt(over, c.In[2].Shape()); err != nil {
				return nil, err
			}
		}
		if full {
			return rowsFull(c, n, s[:axis].Len(), s[axis:].Len()), nil
		}
		rows, cols := s[:axis].Len(), s[axis:].Len()
		if n.scaleAt == nil && n.biasAt == nil && float32Values(c) {
			return vectorNorm(c, rms, rows, cols), nil
		}
		var x, y []T
		body := func(lo, hi, _ int) {
			for r := lo; r < hi; r++ {
				mean, inverse := n.row(y[r*cols:][:cols], x[r*cols:][:cols])
				putStatistics[T](c, rms, r, mean, inverse)
			}
		}
		return func() error {
			x, y = tensor.Data[T](c.In[0]), tensor.Data[T](c.Out[0])
			n.scale = tensor.Data[T](c.In[1])
			if c.Has(2) {
				n.bias = tensor.Data[T](c.In[2])
			}
			c.Pool.For(rows, max(1, (1<<13)/max(1, cols)), body)
			return nil
		}, nil
	}
}

// vectorNorm is for one scale and bias of float32.
func vectorNorm(c *graph.Call, rms bool, rows, cols int) func() error {
	k := &kernel.LayerNorm{Rows: rows, Cols: cols, RMS: rms, Epsilon: c.Node.Attrs.Float("epsilon", 1e-5)}
	return func() error {
		k.X, k.Y, k.Scale, k.Bias = c.F32(0), c.Out[0].F32(), c.F32(1), c.F32(2)
		if rms {
			k.Inverse = outputF32(c, 1)
		} else {
			k.Mean, k.Inverse = outputF32(c, 1), outputF32(c, 2)
		}
		k.Run(c.Pool)
		return nil
	}
}

// outputF32 are the elements of output i; nil if the node does not have it.
func outputF32(c *graph.Call, i int) []float32 {
	if i >= len(c.Out) || c.Out[i] == nil {
		return nil
	}
	return c.Out[i].F32()
}

// rowsFull is for a scale or bias that differs from row to row.
func rowsFull[T wide](c *graph.Call, n *rowNorm[T], rows, cols int) func() error {
	all := func(at []int, t *tensor.Tensor, r int) ([]T, []int) {
		switch data := tensor.Data[T](t); {
		case at != nil:
			return data, at[r*cols:][:cols]
		case len(data) == cols:
			return data, nil
		default:
			return data[r*cols:][:cols], nil
		}
	}
	return func() error {
		x, y := tensor.Data[T](c.In[0]), tensor.Data[T](c.Out[0])
		for r := range rows {
			one := *n
			one.scale, one.scaleAt = all(n.scaleAt, c.In[1], r)
			if c.Has(2) {
				one.bias, one.biasAt = all(n.biasAt, c.In[2], r)
			}
			mean, inverse := one.row(y[r*cols:][:cols], x[r*cols:][:cols])
			putStatistics[T](c, one.rms, r, mean, inverse)
		}
		return nil
	}
}

// putStatistics writes mean and inverse deviation of a row, where they are wanted.
func putStatistics[T wide](c *graph.Call, rms bool, row int, mean, inverse float64) {
	values := []float64{mean, inverse}
	if rms {
		values = values[1:]
	}
	for i, v := range values {
		if i+1 >= len(c.Out) || c.Out[i+1] == nil {
			continue
		}
		if t := c.Out[i+1]; t.DType() == tensor.Float32 {
			t.F32()[row] = float32(v)
		} else {
			tensor.Data[float64](t)[row] = v
		}
	}
}
