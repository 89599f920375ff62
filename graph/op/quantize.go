package op

import (
	"fmt"
	"math"
	"slices"

	"tandem/graph"
	"tandem/graph/op/narrow"
	"tandem/kernel"
	"tandem/tensor"
)

// quantizeOps go between numbers and small integers or floats with a scale.
func quantizeOps() []graph.Op {
	return []graph.Op{
		{ID: onnx("QuantizeLinear"), Since: 10, Infer: inferQuantize, Kernel: kernelQuantize},
		{ID: onnx("DequantizeLinear"), Since: 10, Infer: inferDequantize, Kernel: kernelDequantize, Expand: expandDequantize},
		{ID: onnx("DynamicQuantizeLinear"), Since: 11, Infer: inferDynamicQuantize, Kernel: kernelDynamicQuantize},
		{ID: microsoft("QuantizeLinear"), Since: 1, Infer: inferQuantize, Kernel: kernelQuantize},
		{ID: microsoft("DequantizeLinear"), Since: 1, Infer: inferDequantize, Kernel: kernelDequantize, Expand: expandDequantize},
		{ID: microsoft("QLinearAdd"), Since: 1, Infer: inferQLinear, Kernel: kernelQLinear(false)},
		{ID: microsoft("QLinearMul"), Since: 1, Infer: inferQLinear, Kernel: kernelQLinear(true)},
	}
}

// grain tells which scale belongs to which element of [outer, axis, inner].
type grain struct {
	outer, axis, inner int
	block              int // elements along the axis that share a scale
	blocks             int // scales along the axis
	perInner           bool
}

// scaleAt is the index of the scale of the elements (o, k, …); with perInner the
// scales of the following inner elements follow it.
func (g grain) scaleAt(o, k int) int {
	if g.perInner {
		return (o*g.blocks + k/g.block) * g.inner
	}
	return k / g.block
}

// grainOf finds how a scale of the given shape is laid over x (ONNX, QuantizeLinear):
// one number for all, one for each index of the axis, or one for each block.
func grainOf(a graph.Attrs, x, scale tensor.Shape) (grain, error) {
	n := x.Len()
	if scale.Len() == 1 && len(scale) < 2 {
		return grain{outer: 1, axis: n, inner: 1, block: max(n, 1), blocks: 1}, nil
	}
	axis := a.Int("axis", 1)
	if len(x) == 1 && axis == 1 {
		axis = 0
	}
	axis, err := graph.Axis(axis, len(x))
	if err != nil {
		return grain{}, err
	}
	g := grain{outer: x[:axis].Len(), axis: x[axis], inner: x[axis+1:].Len(), block: 1, blocks: x[axis]}
	block := a.Int("block_size", 0)
	if block == 0 {
		if len(scale) != 1 || scale[0] != x[axis] {
			return g, fmt.Errorf("the scale has shape %v; %d numbers are expected for dimension %d of %v", scale, x[axis], axis, x)
		}
		return g, nil
	}
	if block < 0 {
		return g, fmt.Errorf("block_size is %d", block)
	}
	g.block, g.blocks, g.perInner = block, (x[axis]+block-1)/block, true
	want := append(tensor.Shape{}, x...)
	want[axis] = g.blocks
	if !scale.Equal(want) {
		return g, fmt.Errorf("the scale has shape %v; %v is expected for blocks of %d along dimension %d of %v", scale, want, block, axis, x)
	}
	return g, nil
}

// expandDequantize is for a scale that is trained: codes with the scale 1, times it.
func expandDequantize(e *graph.Expansion) ([]*graph.Value, error) {
	if !e.Needs(1) {
		return nil, nil
	}
	a, x, scale := e.Node.Attrs, e.In(0).Type.Shape, e.In(1)
	shape, ok := scale.Type.Shape.Static()
	if !ok {
		return nil, fmt.Errorf("the shape of the scale, %v, is not known", scale.Type.Shape)
	}
	ones := tensor.New(tensor.Float32, shape...)
	for i := range ones.F32() {
		ones.F32()[i] = 1
	}
	in := slices.Clone(e.Node.Inputs)
	in[1] = e.Const("ones", ones)
	y := e.Builder.Node(e.Node.Op, 1, a, in...)[0]
	if shape.Len() == 1 && len(shape) < 2 {
		return []*graph.Value{e.Op("Mul", nil, y, e.Op("Reshape", nil, scale, e.Const("scalar", tensor.New(tensor.Int64, 0))))}, nil
	}
	axis := a.Int("axis", 1)
	if len(x) == 1 && axis == 1 {
		axis = 0
	}
	axis, err := graph.Axis(axis, len(x))
	if err != nil {
		return nil, err
	}
	if block := a.Int("block_size", 0); block > 0 {
		n, ok := x[axis].Value()
		if !ok {
			return nil, fmt.Errorf("dimension %d of %v, of which blocks share a scale, is not known", axis, x)
		}
		scale = e.Op("Gather", graph.Attrs{"axis": int64(axis)}, scale, e.Const("block", blocksOf(n, block)))
	} else if axis < len(x)-1 {
		var behind []int64
		for d := 1; d < len(x)-axis; d++ {
			behind = append(behind, int64(d))
		}
		scale = e.Op("Unsqueeze", nil, scale, e.Ints("axes", behind...))
	}
	return []*graph.Value{e.Op("Mul", nil, y, scale)}, nil
}

// inferScales checks the inputs x, scale and zero point.
func inferScales(c *graph.Infer) error {
	if err := c.Require(2, 3); err != nil {
		return err
	}
	if c.Has(2) {
		a, b := c.In(1).Shape, c.In(2).Shape
		if len(a) != len(b) && !(a.Len().Is(1) && b.Len().Is(1)) {
			return fmt.Errorf("scale and zero point have shapes %v and %v", a, b)
		}
		if err := c.Same(a.Len(), b.Len(), "numbers of scales and zero points"); err != nil {
			return err
		}
	}
	x, ok := c.In(0).Shape.Static()
	scale, ok2 := c.In(1).Shape.Static()
	if ok && ok2 {
		_, err := grainOf(c.Node.Attrs, x, scale)
		return err
	}
	return nil
}

// typeAttr is an attribute that names an element type; Undefined if it is absent.
func typeAttr(a graph.Attrs, name string) (tensor.DType, error) {
	n := a.Int(name, 0)
	if n < 0 || n > 255 || n != 0 && !tensor.DType(n).Numeric() {
		return 0, fmt.Errorf("%s is %d, which is no numeric type", name, n)
	}
	return tensor.DType(n), nil
}

func inferQuantize(c *graph.Infer) error {
	if err := inferScales(c); err != nil {
		return err
	}
	d, err := typeAttr(c.Node.Attrs, "output_dtype")
	if err != nil {
		return err
	}
	if _, err := typeAttr(c.Node.Attrs, "precision"); err != nil {
		return err
	}
	if c.Has(2) {
		if zero := c.In(2).DType; d != tensor.Undefined && d != zero {
			return fmt.Errorf("output_dtype is %v, the zero point is %v", d, zero)
		}
		d = c.In(2).DType
	}
	if d == tensor.Undefined {
		d = tensor.Uint8
	}
	if !isQuantType(d) || d == tensor.Int32 {
		return fmt.Errorf("numbers cannot be quantized to %v", d)
	}
	for i := range 2 {
		if in := c.In(i).DType; !in.Float() && in != tensor.Int32 {
			return fmt.Errorf("input %d (%s) is %v, expected a floating-point type or int32", i, c.Node.Inputs[i].Name, in)
		}
	}
	c.Out(0, d, c.In(0).Shape)
	return nil
}

// isQuantType reports whether d is a type that quantized numbers have.
func isQuantType(d tensor.DType) bool {
	switch d {
	case tensor.Int32, tensor.Bool, tensor.Float8E8M0:
		return d == tensor.Int32
	}
	return d.Numeric() && (d.Bits() <= 8 || d == tensor.Int16 || d == tensor.Uint16)
}

// numberRange is the least and the greatest number of an integer type; infinite for floats.
func numberRange(d tensor.DType) (lo, hi float64) {
	if d.Float() {
		return math.Inf(-1), math.Inf(1)
	}
	span := math.Ldexp(1, d.Bits())
	switch d {
	case tensor.Int2, tensor.Int4, tensor.Int8, tensor.Int16, tensor.Int32:
		return -span / 2, span/2 - 1
	}
	return 0, span - 1
}

// asFloats reads x into room and returns it and what is left of room.
func asFloats(room []float32, x *tensor.Tensor) (f, rest []float32) {
	if x == nil {
		return nil, room
	}
	n := x.Len()
	tensor.Float32s(room[:n], x)
	return room[:n], room[n:]
}

// kernelQuantize: y = saturate(round(x/scale) + zero). The quotient is rounded to
// the precision that the attribute or the scale's type asks for.
func kernelQuantize(c *graph.Call) (func() error, error) {
	x, scale, y := c.In[0], c.In[1], c.Out[0]
	g, err := grainOf(c.Node.Attrs, x.Shape(), scale.Shape())
	if err != nil {
		return nil, err
	}
	precision, err := typeAttr(c.Node.Attrs, "precision")
	if err != nil {
		return nil, err
	}
	if precision == tensor.Undefined && scale.DType() != tensor.Float8E8M0 {
		precision = scale.DType()
	}
	if run, ok := quantizeInOne(c, precision); ok {
		return run, nil
	}
	coarse := narrow.Is(precision)
	var zero *tensor.Tensor
	if c.Has(2) {
		zero = c.In[2]
	}
	n := x.Len()
	c.Reserve(4*(n+2*scale.Len()) + 2*n)
	wide, rounded := new(tensor.Tensor), new(tensor.Tensor)
	convert := tensor.Conversion{Saturate: c.Node.Attrs.Int("saturate", 1) != 0}
	lo, hi := numberRange(y.DType())
	return func() error {
		q, room := asFloats(c.ScratchF32(), x)
		s, room := asFloats(room, scale)
		z, _ := asFloats(room, zero)
		wide.Set(tensor.Float32, x.Shape(), c.Scratch()[:4*n])
		rounded.Set(precision, x.Shape(), c.Scratch()[4*(n+2*scale.Len()):][:precision.ByteLen(n)*btoi(coarse)])
		roundTo(q, rounded, coarse)
		g.each(q, s, nil, func(v, s, _ float32) float32 { return v / s })
		roundTo(q, rounded, coarse)
		if !y.DType().Float() {
			g.each(q, s, z, func(v, _, z float32) float32 {
				return float32(min(max(math.RoundToEven(float64(v))+float64(z), lo), hi))
			})
		}
		return convert.Run(y, wide)
	}, nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// roundTo rounds numbers to what the type of room can hold.
func roundTo(x []float32, room *tensor.Tensor, coarse bool) {
	if coarse {
		tensor.SetFloat32s(room, x)
		tensor.Float32s(x, room)
	}
}

// each replaces every element by f(element, its scale, its zero point).
func (g grain) each(x, scale, zero []float32, f func(v, s, z float32) float32) {
	z := float32(0)
	for o := range g.outer {
		for k := range g.axis {
			at := g.scaleAt(o, k)
			row := x[(o*g.axis+k)*g.inner:][:g.inner]
			for i, v := range row {
				if zero != nil {
					z = zero[at]
				}
				row[i] = f(v, scale[at], z)
				if g.perInner {
					at++
				}
			}
		}
	}
}

func inferDequantize(c *graph.Infer) error {
	if err := inferScales(c); err != nil {
		return err
	}
	if err := alike(c, 0, 2); err != nil {
		return err
	}
	if d := c.In(0).DType; !isQuantType(d) {
		return fmt.Errorf("input 0 (%s) is %v, expected a quantized type", c.Node.Inputs[0].Name, d)
	}
	if d := c.In(1).DType; !d.Float() {
		return fmt.Errorf("input 1 (%s) is %v, expected a floating-point type", c.Node.Inputs[1].Name, d)
	}
	d, err := typeAttr(c.Node.Attrs, "output_dtype")
	if err != nil {
		return err
	}
	if d == tensor.Undefined {
		d = c.In(1).DType
	}
	if !d.Float() || d.Bits() < 16 {
		return fmt.Errorf("quantized numbers cannot become %v", d)
	}
	c.Out(0, d, c.In(0).Shape)
	return nil
}

// kernelDequantize: y = (x - zero)·scale.
func kernelDequantize(c *graph.Call) (func() error, error) {
	if run, ok := dequantizeInOne(c); ok {
		return run, nil
	}
	x, scale, y := c.In[0], c.In[1], c.Out[0]
	g, err := grainOf(c.Node.Attrs, x.Shape(), scale.Shape())
	if err != nil {
		return nil, err
	}
	var zero *tensor.Tensor
	if c.Has(2) {
		zero = c.In[2]
	}
	c.Reserve(4 * (x.Len() + 2*scale.Len()))
	return func() error {
		q, room := asFloats(c.ScratchF32(), x)
		s, room := asFloats(room, scale)
		z, _ := asFloats(room, zero)
		g.each(q, s, z, func(v, s, z float32) float32 { return (v - z) * s })
		tensor.SetFloat32s(y, q)
		return nil
	}, nil
}

func inferDynamicQuantize(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	if err := c.Floats(0); err != nil {
		return err
	}
	c.Out(0, tensor.Uint8, c.In(0).Shape)
	c.Out(1, tensor.Float32, graph.Shape{})
	c.Out(2, tensor.Uint8, graph.Shape{})
	return nil
}

// kernelDynamicQuantize: the range of x, widened to hold 0, becomes 0 to 255. Where
// x is 0 throughout, the scale is 1.
func kernelDynamicQuantize(c *graph.Call) (func() error, error) {
	reach, q := new(kernel.ByteRange), new(kernel.QuantizeBytes)
	return func() error {
		reach.X = c.F32(0)
		reach.Run(c.Pool)
		scale := (reach.Hi - reach.Lo) / 255
		if scale == 0 {
			scale = 1
		}
		zero := uint8(min(max(math.RoundToEven(float64(-reach.Lo/scale)), 0), 255))
		q.X, q.Y, q.Scale, q.Zero = c.F32(0), c.Out[0].Bytes(), scale, int32(zero)
		q.Run(c.Pool)
		if len(c.Out) > 1 && c.Out[1] != nil {
			c.Out[1].F32()[0] = scale
		}
		if len(c.Out) > 2 && c.Out[2] != nil {
			c.Out[2].Bytes()[0] = zero
		}
		return nil
	}, nil
}

// inOne reports whether bytes have one scale, in float32, and one zero point or none.
func inOne(c *graph.Call, bytes, floats *tensor.Tensor) bool {
	scale := c.In[1]
	return isByte(bytes.DType()) && floats.DType() == tensor.Float32 && scale.DType() == tensor.Float32 && scale.Len() == 1 && scale.Rank() < 2 &&
		(!c.Has(2) || c.In[2].Len() == 1)
}

// zeroOf is the zero point of the bytes, if there is one.
func zeroOf(c *graph.Call) int32 {
	if !c.Has(2) {
		return 0
	}
	return int32(smallByte(c.In[2], 0))
}

func quantizeInOne(c *graph.Call, precision tensor.DType) (func() error, bool) {
	x, y := c.In[0], c.Out[0]
	if !inOne(c, y, x) || precision != tensor.Float32 {
		return nil, false
	}
	k := &kernel.QuantizeBytes{Signed: y.DType() == tensor.Int8}
	return func() error {
		k.X, k.Y, k.Scale, k.Zero = x.F32(), y.Bytes(), c.F32(1)[0], zeroOf(c)
		k.Run(c.Pool)
		return nil
	}, true
}

func dequantizeInOne(c *graph.Call) (func() error, bool) {
	x, y := c.In[0], c.Out[0]
	if !inOne(c, x, y) {
		return nil, false
	}
	k := &kernel.DequantizeBytes{Signed: x.DType() == tensor.Int8}
	return func() error {
		k.X, k.Y, k.Scale, k.Zero = x.Bytes(), y.F32(), c.F32(1)[0], zeroOf(c)
		k.Run(c.Pool)
		return nil
	}, true
}
