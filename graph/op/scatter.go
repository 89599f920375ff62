package op

import (
	"fmt"

	"tandem/graph"
	"tandem/graph/op/move"
	"tandem/graph/op/narrow"
	"tandem/tensor"
)

// scatterOps put elements or blocks where indices say, in a copy of their data.
func scatterOps() []graph.Op {
	first := []graph.Alias{{In: 0, Out: 0}}
	return []graph.Op{
		{ID: onnx("Scatter"), Since: 9, Infer: inferScatterElements, Kernel: kernelScatterElements, Grad: move.Gradient(0, 2), InPlace: first},
		{ID: onnx("ScatterElements"), Since: 11, Infer: inferScatterElements, Kernel: widenedReduction(kernelScatterElements), Grad: scattering{"ScatterElements", "GatherElements"}.grad, InPlace: first},
		{ID: onnx("ScatterND"), Since: 11, Infer: inferScatterND, Kernel: widenedReduction(kernelScatterND), Grad: scattering{"ScatterND", "GatherND"}.grad, InPlace: first},
		{ID: onnx("TensorScatter"), Since: 24, Infer: inferTensorScatter, Kernel: move.Unpacked(kernelTensorScatter), Grad: move.Gradient(0, 1), InPlace: first},
	}
}

// widenedReduction computes in float32 where a reduction of narrow floats is
// asked for; without one, elements only move.
func widenedReduction(kernel graph.Kernel) graph.Kernel {
	wide := narrow.Widened(kernel)
	return func(c *graph.Call) (func() error, error) {
		if c.Node.Attrs.String("reduction", "none") != "none" {
			return wide(c)
		}
		return kernel(c)
	}
}

// scatter sets elements of dst, or combines them with what is there: the blocks of
// src from at on go to the offsets in to, in their order.
type scatter func(dst *tensor.Tensor, to []int, src *tensor.Tensor, at, block int)

// scatterFor is the scatter of a reduction.
func scatterFor(reduction string, d tensor.DType) (scatter, error) {
	if reduction == "none" {
		m, err := move.Of(d)
		return m.Put, err
	}
	var s scatter
	switch d {
	case tensor.Float32:
		s = combining[float32](reduction)
	case tensor.Float64:
		s = combining[float64](reduction)
	case tensor.Int8:
		s = combining[int8](reduction)
	case tensor.Int16:
		s = combining[int16](reduction)
	case tensor.Int32:
		s = combining[int32](reduction)
	case tensor.Int64:
		s = combining[int64](reduction)
	case tensor.Uint8:
		s = combining[uint8](reduction)
	case tensor.Uint16:
		s = combining[uint16](reduction)
	case tensor.Uint32:
		s = combining[uint32](reduction)
	case tensor.Uint64:
		s = combining[uint64](reduction)
	}
	if s == nil {
		return nil, fmt.Errorf("reduction %q of %v is not defined", reduction, d)
	}
	return s, nil
}

// arithmetic are the types with numbers' operators.
type arithmetic interface {
	float32 | float64 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}

func combining[T arithmetic](reduction string) scatter {
	var combine func(a, b T) T
	switch reduction {
	case "add":
		combine = func(a, b T) T { return a + b }
	case "mul":
		combine = func(a, b T) T { return a * b }
	case "max":
		combine = func(a, b T) T { return max(a, b) }
	case "min":
		combine = func(a, b T) T { return min(a, b) }
	default:
		return nil
	}
	return func(dst *tensor.Tensor, to []int, src *tensor.Tensor, at, block int) {
		out, in := tensor.Data[T](dst), tensor.Data[T](src)[at:]
		for i, t := range to {
			for j := range block {
				out[t+j] = combine(out[t+j], in[i*block+j])
			}
		}
	}
}

// copyAll makes dst equal to src, which may be the same memory.
func copyAll(dst, src *tensor.Tensor) {
	copy(dst.Bytes(), src.Bytes())
	copy(dst.Strings(), src.Strings())
}

func inferScatterElements(c *graph.Infer) error {
	if err := c.Require(3, 3); err != nil {
		return err
	}
	if err := checkAlong(c, 0, 1); err != nil {
		return err
	}
	in, at, updates := c.In(0), c.In(1), c.In(2)
	if updates.DType != in.DType || len(updates.Shape) != len(at.Shape) {
		return fmt.Errorf("the updates are %v for data of %v and indices of shape %v", updates, in.DType, at.Shape)
	}
	for i, d := range at.Shape {
		if err := c.Same(d, updates.Shape[i], fmt.Sprintf("dimension %d of indices and updates", i)); err != nil {
			return err
		}
	}
	c.Out(0, in.DType, in.Shape)
	return nil
}

func kernelScatterElements(c *graph.Call) (func() error, error) {
	put, err := scatterFor(c.Node.Attrs.String("reduction", "none"), c.In[0].DType())
	if err != nil {
		return nil, err
	}
	a, err := newAlong(c.In[0].Shape(), c.In[1].Shape(), c.Node.Attrs.Int("axis", 0))
	if err != nil {
		return nil, err
	}
	return func() error {
		copyAll(c.Out[0], c.In[0])
		return a.each(c.In[1], func(at int, offsets []int) { put(c.Out[0], offsets, c.In[2], at, 1) })
	}, nil
}

func inferScatterND(c *graph.Infer) error {
	if err := c.Require(3, 3); err != nil {
		return err
	}
	in, at, updates := c.In(0), c.In(1), c.In(2)
	if at.DType != tensor.Int64 || len(at.Shape) == 0 {
		return fmt.Errorf("the indices are %v, expected int64 of at least one dimension", at)
	}
	c.Out(0, in.DType, in.Shape)
	last := len(at.Shape) - 1
	depth, ok := at.Shape[last].Value()
	if !ok {
		return graph.ErrNeedsData
	}
	if depth < 0 || depth > len(in.Shape) {
		return fmt.Errorf("indices of shape %v index %d dimensions of %v", at.Shape, depth, in.Shape)
	}
	want := append(append(graph.Shape{}, at.Shape[:last]...), in.Shape[depth:]...)
	if updates.DType != in.DType || len(updates.Shape) != len(want) {
		return fmt.Errorf("the updates are %v, expected %v", updates, graph.Type{DType: in.DType, Shape: want})
	}
	for i, d := range want {
		if err := c.Same(d, updates.Shape[i], fmt.Sprintf("dimension %d of the updates", i)); err != nil {
			return err
		}
	}
	return nil
}

func kernelScatterND(c *graph.Call) (func() error, error) {
	put, err := scatterFor(c.Node.Attrs.String("reduction", "none"), c.In[0].DType())
	if err != nil {
		return nil, err
	}
	data, at := c.In[0].Shape(), c.In[1].Shape()
	depth := at[len(at)-1]
	if depth == 0 && at.Len() == 0 {
		return nil, fmt.Errorf("indices of shape %v index nothing", at)
	}
	t := newTuples(data, 0, depth)
	block := data[depth:].Len()
	return func() error {
		copyAll(c.Out[0], c.In[0])
		list, err := t.read(c.In[1].I64())
		if err != nil {
			return err
		}
		put(c.Out[0], list, c.In[2], 0, block)
		return nil
	}, nil
}

func inferTensorScatter(c *graph.Infer) error {
	if err := c.Require(2, 3); err != nil {
		return err
	}
	cache, update := c.In(0), c.In(1)
	rank := len(cache.Shape)
	axis, err := graph.Axis(c.Node.Attrs.Int("axis", -2), rank)
	if err != nil {
		return err
	}
	if axis == 0 || update.DType != cache.DType || len(update.Shape) != rank {
		return fmt.Errorf("an update %v of %v along axis %d is not possible", update, cache, axis)
	}
	for i, d := range cache.Shape {
		if i == axis {
			continue
		}
		if err := c.Same(d, update.Shape[i], fmt.Sprintf("dimension %d of cache and update", i)); err != nil {
			return err
		}
	}
	if mode := c.Node.Attrs.String("mode", "linear"); mode != "linear" && mode != "circular" {
		return fmt.Errorf("mode %q is neither linear nor circular", mode)
	}
	c.Out(0, cache.DType, cache.Shape)
	if !c.Has(2) {
		return nil
	}
	if err := wantIndices(c, 2); err != nil {
		return err
	}
	if err := c.Rank(2, 1); err != nil {
		return err
	}
	return c.Same(cache.Shape[0], c.In(2).Shape[0], "numbers of write indices and batches")
}

func kernelTensorScatter(c *graph.Call) (func() error, error) {
	m, err := move.Of(c.In[0].DType())
	if err != nil {
		return nil, err
	}
	axis, err := graph.Axis(c.Node.Attrs.Int("axis", -2), c.In[0].Rank())
	if err != nil {
		return nil, err
	}
	outer, dim, inner := around(c.In[0].Shape(), axis)
	steps := c.In[1].Dim(axis)
	circular := c.Node.Attrs.String("mode", "linear") == "circular"
	if steps > dim {
		return nil, fmt.Errorf("the update has %d steps, the cache holds %d", steps, dim)
	}
	perBatch := outer / max(c.In[0].Dim(0), 1)
	to := make([]int, steps)
	return func() error {
		copyAll(c.Out[0], c.In[0])
		var starts []int
		if c.Has(2) {
			starts = c.In[2].Ints()
		}
		for o := range outer {
			start := 0
			if starts != nil {
				start = starts[o/perBatch]
			}
			if start < 0 || !circular && start+steps > dim {
				return fmt.Errorf("%d steps from write index %d do not fit a cache of %d", steps, start, dim)
			}
			for i := range to {
				to[i] = (o*dim + (start+i)%dim) * inner
			}
			m.Put(c.Out[0], to, c.In[1], o*steps*inner, inner)
		}
		return nil
	}, nil
}
