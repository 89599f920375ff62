package op

import (
	"fmt"
	"math"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// quantized are the types of quantized matrices: bytes, and since opset 21 float8.
func quantized(d tensor.DType) bool {
	return isByte(d) || d == tensor.Float8E4M3FN || d == tensor.Float8E4M3FNUZ || d == tensor.Float8E5M2 || d == tensor.Float8E5M2FNUZ
}

// operandsQuantized checks the types of quantized operands and of their zero points.
func operandsQuantized(c *graph.Infer, allowed func(tensor.DType) bool, pairs ...[2]int) error {
	for _, p := range pairs {
		if err := typed(c, allowed, p[0]); err != nil {
			return err
		}
		if c.Has(p[1]) && c.In(p[1]).DType != c.In(p[0]).DType {
			return fmt.Errorf("zero point (input %d) is %v, its operand is %v", p[1], c.In(p[1]).DType, c.In(p[0]).DType)
		}
	}
	return nil
}

func inferMatMulInteger(c *graph.Infer) error {
	if err := c.Require(2, 4); err != nil {
		return err
	}
	if err := operandsQuantized(c, isByte, [2]int{0, 2}, [2]int{1, 3}); err != nil {
		return err
	}
	shape, err := matMulShape(c, 0, 1)
	if err != nil {
		return err
	}
	c.Out(0, tensor.Int32, shape)
	return nil
}

func kernelMatMulInteger(c *graph.Call) (func() error, error) {
	if p, ok := byteProductOf(c, matMulAttrs{}, 0, 1, 2, 3); ok {
		return p.byteSums(), nil
	}
	q, err := newQuantizedProduct[int32](c, 0, 1, 2, 3)
	if err != nil {
		return nil, err
	}
	return func() error {
		q.run(tensor.Data[int32](c.Out[0]))
		return nil
	}, nil
}

func inferQLinearMatMul(c *graph.Infer) error {
	if err := c.Require(8, 8); err != nil {
		return err
	}
	shape, err := qLinearMatMulShape(c, quantized)
	if err != nil {
		return err
	}
	c.Out(0, c.In(7).DType, shape)
	return nil
}

// qLinearMatMulShape checks the inputs of QLinearMatMul, whose operands are of allowed types.
func qLinearMatMulShape(c *graph.Infer, allowed func(tensor.DType) bool) (graph.Shape, error) {
	if err := operandsQuantized(c, allowed, [2]int{0, 2}, [2]int{3, 5}); err != nil {
		return nil, err
	}
	if err := floats(c, 1, 4, 6); err != nil {
		return nil, err
	}
	if err := typed(c, allowed, 7); err != nil {
		return nil, err
	}
	return matMulShape(c, 0, 3)
}

// inferJoinedMatMul has the inputs of QLinearMatMul on bytes, and more; what is added is a
// row.
func inferJoinedMatMul(c *graph.Infer) error {
	if err := c.Require(8, 14); err != nil {
		return err
	}
	shape, err := qLinearMatMulShape(c, isByte)
	if err != nil {
		return err
	}
	d, err := afterProduct.infer(c, 7, shape[max(0, len(shape)-1):])
	if err != nil {
		return err
	}
	c.Out(0, d, shape)
	return nil
}

func kernelJoinedMatMul(c *graph.Call) (func() error, error) {
	p, ok := byteProductOf(c, matMulAttrs{}, 0, 3, 2, 5)
	if !ok || !p.steppable(1, 4, 6, 7) {
		return nil, fmt.Errorf("operands %v and %v with these scales and zero points are no product of bytes", c.In[0].Shape(), c.In[3].Shape())
	}
	afterProduct.prepare(c, &p.Rescale)
	run := p.byteSteps(1, 4, 6, 7)
	return func() error {
		afterProduct.read(c, &p.Rescale, 6)
		return run()
	}, nil
}

func kernelQLinearMatMul(c *graph.Call) (func() error, error) {
	if isByte(c.In[0].DType()) && isByte(c.In[3].DType()) {
		if p, ok := byteProductOf(c, matMulAttrs{}, 0, 3, 2, 5); ok && p.steppable(1, 4, 6, 7) {
			return p.byteSteps(1, 4, 6, 7), nil
		}
		return qLinearMatMul[int32](c)
	}
	return qLinearMatMul[float32](c)
}

// qLinearMatMul: y = round(product · aScale·bScale/yScale) + yZero, saturated.
func qLinearMatMul[T int32 | float32](c *graph.Call) (func() error, error) {
	q, err := newQuantizedProduct[T](c, 0, 3, 2, 5)
	if err != nil {
		return nil, err
	}
	a, b, err := scalesOf(c, 1, 4)
	if err != nil {
		return nil, err
	}
	s, err := newSums[T](c)
	if err != nil {
		return nil, err
	}
	return func() error {
		q.run(s.exact)
		convert(s.real, s.exact)
		a.multiply(s.real)
		b.multiply(s.real)
		return s.requantize(c.Out[0], c.In[6], c.In[7])
	}, nil
}

// sums are those of products of quantized numbers, and what scales make of them.
type sums[T int32 | float32] struct {
	exact []T
	real  []float64
	wide  []float32 // for results that are no bytes
}

// newSums is for the result of a call.
func newSums[T int32 | float32](c *graph.Call) (s sums[T], err error) {
	y := c.Out[0]
	if s.exact, err = graph.Room[T](c, y.Len()); err != nil {
		return s, err
	}
	if s.real, err = graph.Room[float64](c, y.Len()); err == nil && !isByte(y.DType()) {
		s.wide, err = graph.Room[float32](c, y.Len())
	}
	return s, err
}

// scalesOf are the scales of a product's two operands: of rows and of columns.
func scalesOf(c *graph.Call, a, b int) (rows, cols *param, err error) {
	if rows, err = newParam(optional(c, a), c.Out[0].Shape(), true); err != nil {
		return nil, nil, err
	}
	cols, err = newParam(optional(c, b), c.Out[0].Shape(), false)
	return rows, cols, err
}

// requantize writes round(real/scale) + zero, saturated.
func (v sums[T]) requantize(y, scale, zero *tensor.Tensor) error {
	if scale != nil && scale.Len() != 1 || zero != nil && zero.Len() != 1 {
		return fmt.Errorf("the scale of the result is %v, its zero point %v, expected one number each", scale, zero)
	}
	s, z := float64(1), float64(0)
	if scale != nil {
		s = float64(numberOf(scale))
	}
	if zero != nil {
		z = float64(numberOf(zero))
	}
	switch y.DType() {
	case tensor.Int8:
		saturate(tensor.Data[int8](y), v.real, s, z, math.MinInt8, math.MaxInt8)
	case tensor.Uint8:
		saturate(tensor.Data[uint8](y), v.real, s, z, 0, math.MaxUint8)
	default:
		for i, x := range v.real {
			v.wide[i] = float32(x/s + z)
		}
		tensor.SetFloat32s(y, v.wide)
	}
	return nil
}

// numberOf is the one element of a tensor of any numeric type.
func numberOf(t *tensor.Tensor) float32 {
	var one [1]float32
	tensor.Float32s(one[:], t)
	return one[0]
}

func saturate[T int8 | uint8](y []T, v []float64, scale, zero, least, most float64) {
	for i, x := range v {
		y[i] = T(min(max(math.RoundToEven(x/scale)+zero, least), most))
	}
}

// smallFloats are the elements of a small tensor of any numeric type.
func smallFloats(t *tensor.Tensor) []float32 {
	f := make([]float32, t.Len())
	tensor.Float32s(f, t)
	return f
}

// optional is input i, or nil.
func optional(c *graph.Call, i int) *tensor.Tensor {
	if i >= 0 && i < len(c.In) {
		return c.In[i]
	}
	return nil
}

// param is a scale or a zero point that broadcasts to a larger tensor. A nil one
// changes nothing.
type param struct {
	t      *tensor.Tensor
	w      *walk
	values []float32 // the elements of t in this run
}

// newParam fits t to a tensor of shape to. A vector runs along the columns, or
// with byRow along the rows.
func newParam(t *tensor.Tensor, to tensor.Shape, byRow bool) (*param, error) {
	if t == nil {
		return nil, nil
	}
	shape := t.Shape()
	switch {
	case shape.Len() == 1:
		shape = nil
	case byRow && len(shape) == 1:
		shape = tensor.Shape{shape[0], 1}
	}
	w, err := newWalk(to, shape)
	if err != nil {
		return nil, fmt.Errorf("scale or zero point: %w", err)
	}
	return &param{t, w, make([]float32, t.Len())}, nil
}

// newChannelParam fits t, a number or a vector, to a dimension of a tensor.
func newChannelParam(t *tensor.Tensor, to tensor.Shape, axis int) (*param, error) {
	if t == nil {
		return nil, nil
	}
	var shape tensor.Shape
	if n := t.Len(); n != 1 {
		shape = append(tensor.Shape{n}, slices.Repeat([]int{1}, len(to)-axis-1)...)
	}
	w, err := newWalk(to, shape)
	if err != nil {
		return nil, fmt.Errorf("scale or zero point: %w", err)
	}
	return &param{t, w, make([]float32, t.Len())}, nil
}

// each calls f for every element of the tensor with the parameter that belongs to it.
func (p *param) each(f func(i int, v float32)) {
	if p == nil {
		return
	}
	cols, step := p.w.last(), 0
	tensor.Float32s(p.values, p.t)
	if len(p.w.out) > 0 {
		step = p.w.strides[len(p.w.out)-1]
	}
	for row := range p.w.rows() {
		off := p.w.offset(row)
		for i := range cols {
			f(row*cols+i, p.values[off+i*step])
		}
	}
}

func (p *param) multiply(v []float64) {
	p.each(func(i int, s float32) { v[i] *= float64(s) })
}

// centred reads a quantized tensor less its zero point.
type centred[T int32 | float32] struct {
	x      *tensor.Tensor
	zero   *param
	values []T
	wide   []float32 // of numbers that are no bytes
}

func newCentred[T int32 | float32](c *graph.Call, x *tensor.Tensor, zero *param) (q centred[T], err error) {
	q = centred[T]{x: x, zero: zero}
	if q.values, err = graph.Room[T](c, x.Len()); err == nil && !isByte(x.DType()) {
		q.wide, err = graph.Room[float32](c, x.Len())
	}
	return q, err
}

func (q *centred[T]) load() []T {
	switch q.x.DType() {
	case tensor.Int8:
		convert(q.values, tensor.Data[int8](q.x))
	case tensor.Uint8:
		convert(q.values, tensor.Data[uint8](q.x))
	default:
		tensor.Float32s(q.wide, q.x)
		convert(q.values, q.wide)
	}
	q.zero.each(func(i int, z float32) { q.values[i] -= T(z) })
	return q.values
}

func convert[T, S arith](to []T, from []S) {
	for i, v := range from {
		to[i] = T(v)
	}
}

// quantizedProduct is a product of stacks of matrices less their zero points.
// Sums of bytes are exact.
type quantizedProduct[T int32 | float32] struct {
	a, b    centred[T]
	stack   *stack[T]
	scratch []float32
}

// newQuantizedProduct takes the numbers of the inputs; a negative one is absent.
func newQuantizedProduct[T int32 | float32](c *graph.Call, a, b, aZero, bZero int) (*quantizedProduct[T], error) {
	return newProductOf[T](c, matMulAttrs{}, a, b, aZero, bZero)
}

func newProductOf[T int32 | float32](c *graph.Call, attrs matMulAttrs, a, b, aZero, bZero int) (*quantizedProduct[T], error) {
	x, y := c.In[a], c.In[b]
	aParam, err := newParam(optional(c, aZero), x.Shape(), x.Rank() > 1 && !attrs.trans[0])
	if err != nil {
		return nil, err
	}
	bParam, err := newParam(optional(c, bZero), y.Shape(), attrs.trans[1])
	if err != nil {
		return nil, err
	}
	q := &quantizedProduct[T]{}
	if q.a, err = newCentred[T](c, x, aParam); err != nil {
		return nil, err
	}
	if q.b, err = newCentred[T](c, y, bParam); err != nil {
		return nil, err
	}
	if q.stack, err = newStack[T](c, attrs, x.Shape(), y.Shape()); err != nil {
		return nil, err
	}
	q.scratch, err = graph.Room[float32](c, q.stack.scratchLen())
	return q, err
}

func (q *quantizedProduct[T]) run(y []T) { q.stack.run(q.a.load(), q.b.load(), y, q.scratch) }
