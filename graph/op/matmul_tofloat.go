package op

import (
	"math"

	"tandem/graph"
	"tandem/tensor"
)

// MatMulIntegerToFloat(a, b, aScale, bScale, aZero, bZero, bias) -> float.
func inferMatMulToFloat(c *graph.Infer) error {
	if err := c.Require(4, 7); err != nil {
		return err
	}
	if err := operandsQuantized(c, isByte, [2]int{0, 4}, [2]int{1, 5}); err != nil {
		return err
	}
	if err := c.Floats(2, 3, 6); err != nil {
		return err
	}
	return inferScaledProduct(c)
}

func inferScaledProduct(c *graph.Infer) error {
	shape, err := matMulShape(c, 0, 1)
	if err != nil {
		return err
	}
	c.Out(0, tensor.Float32, shape)
	return nil
}

func kernelMatMulToFloat(c *graph.Call) (func() error, error) {
	q, err := newQuantizedProduct[int32](c, 0, 1, 4, 5)
	if err != nil {
		return nil, err
	}
	aScale, bScale, err := scalesOf(c, 2, 3)
	if err != nil {
		return nil, err
	}
	bias, err := newParam(optional(c, 6), c.Out[0].Shape(), false)
	if err != nil {
		return nil, err
	}
	s, err := newSums[int32](c)
	if err != nil {
		return nil, err
	}
	return func() error {
		q.run(s.exact)
		convert(s.real, s.exact)
		aScale.multiply(s.real)
		bScale.multiply(s.real)
		bias.each(func(i int, v float32) { s.real[i] += float64(v) })
		convert(c.Out[0].F32(), s.real)
		return nil
	}, nil
}

// DynamicQuantizeMatMul(a, b, bScale, bZero, bias) -> float: a is quantized to
// bytes by its own range first.
func inferDynamicMatMul(c *graph.Infer) error {
	if err := c.Require(3, 5); err != nil {
		return err
	}
	if err := operandsQuantized(c, isByte, [2]int{1, 3}); err != nil {
		return err
	}
	if err := c.Floats(0, 2, 4); err != nil {
		return err
	}
	return inferScaledProduct(c)
}

func kernelDynamicMatMul(c *graph.Call) (func() error, error) {
	a, y := c.In[0], c.Out[0]
	q, err := newQuantizedProduct[int32](c, 0, 1, -1, 3)
	if err != nil {
		return nil, err
	}
	bScale, err := newParam(c.In[2], y.Shape(), false)
	if err != nil {
		return nil, err
	}
	bias, err := newParam(optional(c, 4), y.Shape(), false)
	if err != nil {
		return nil, err
	}
	s, err := newSums[int32](c)
	if err != nil {
		return nil, err
	}
	return func() error {
		scale := quantizeByRange(q.a.values, a.F32())
		q.stack.run(q.a.values, q.b.load(), s.exact, q.scratch)
		for i, v := range s.exact {
			s.real[i] = float64(v) * float64(scale)
		}
		bScale.multiply(s.real)
		bias.each(func(i int, v float32) { s.real[i] += float64(v) })
		convert(y.F32(), s.real)
		return nil
	}, nil
}

// quantizeByRange writes what DynamicQuantizeLinear makes of x, less its zero
// point, and returns the scale.
func quantizeByRange(q []int32, x []float32) float32 {
	least, most := float32(0), float32(0)
	for _, v := range x {
		least, most = min(least, v), max(most, v)
	}
	scale := (most - least) / 255
	if scale == 0 {
		clear(q)
		return 0
	}
	zero := min(max(math.RoundToEven(float64(-least/scale)), 0), 255)
	for i, v := range x {
		n := math.RoundToEven(float64(v/scale)) + zero
		q[i] = int32(min(max(n, 0), 255) - zero)
	}
	return scale
}
