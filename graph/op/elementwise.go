package op

import (
	"fmt"
	"slices"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// elementwiseOps are the functions of several operands with broadcasting (ONNX,
// "Broadcasting in ONNX", multidirectional). Before version 7 the second operand
// alone was broadcast, as attributes say.
func elementwiseOps() []graph.Op {
	both := []graph.Alias{{In: 0, Out: 0}, {In: 1, Out: 0}}
	ops := []graph.Op{
		{ID: onnx("Add"), Since: 7, Infer: inferArithmetic, Kernel: calculate(opAdd), Grad: gradAdd, InPlace: both, Rows: operandsByRow},
		{ID: onnx("Sub"), Since: 7, Infer: inferArithmetic, Kernel: calculate(opSub), Grad: gradSub, InPlace: both, Rows: operandsByRow},
		{ID: onnx("Mul"), Since: 7, Infer: inferArithmetic, Kernel: calculate(opMul), Grad: gradMul, InPlace: both, Rows: operandsByRow},
		{ID: onnx("Div"), Since: 7, Infer: inferArithmetic, Kernel: calculate(opDiv), Grad: gradDiv, InPlace: both, Rows: operandsByRow},
		{ID: onnx("Mod"), Since: 10, Infer: inferArithmetic, Kernel: kernelMod, Grad: gradMod, InPlace: both},
		{ID: onnx("Pow"), Since: 7, Infer: inferPow, Kernel: kernelPow, Grad: gradPow, InPlace: both[:1]},
		{ID: onnx("PRelu"), Since: 7, Infer: inferPRelu, Kernel: calculate(opPRelu), Grad: gradPRelu, InPlace: both[:1]},
		{ID: private("SumTo"), Infer: inferSumTo, Kernel: kernelSumTo, Grad: nil},
	}
	for _, name := range []string{"Add", "Sub", "Mul", "Div"} {
		ops = append(ops, oldBroadcast(name, numbers, tensor.Undefined, calculate(arithmeticOf(name))))
	}
	return append(ops,
		oldBroadcast("Pow", numbers, tensor.Undefined, kernelPow),
		oldBroadcast("PRelu", numbers, tensor.Undefined, calculate(opPRelu)))
}

// inferBroadcast is the shape rule of two operands of one type that check accepts.
func inferBroadcast(check func(c *graph.Infer, inputs ...int) error) func(*graph.Infer) error {
	return func(c *graph.Infer) error {
		if err := c.Require(2, 2); err != nil {
			return err
		}
		if err := check(c, 0, 1); err != nil {
			return err
		}
		shape, err := graph.Broadcast(c.In(0).Shape, c.In(1).Shape)
		if err != nil {
			return err
		}
		c.Out(0, c.In(0).DType, shape)
		return nil
	}
}

// numbers checks that the given inputs, where present, are of one type that one
// can calculate with: integers of whole bytes, and floats of 16 bits and more.
func numbers(c *graph.Infer, inputs ...int) error {
	if err := alike(c, inputs...); err != nil {
		return err
	}
	for _, i := range inputs {
		if !c.Has(i) {
			continue
		}
		d := c.In(i).DType
		if !d.Numeric() || d == tensor.Bool || d.Bits() < 8 || d.Float() && d.Bits() < 16 {
			return fmt.Errorf("input %d (%s) is %v, expected numbers of at least 8 bits, or floats of 16", i, c.Node.Inputs[i].Name, d)
		}
	}
	return nil
}

// inferArithmetic also follows shapes that nodes compute.
func inferArithmetic(c *graph.Infer) error {
	if err := inferBroadcast(numbers)(c); err != nil {
		return err
	}
	switch c.Node.Op.Name {
	case "Add":
		followBoth(c, func(a, b graph.Dim) (graph.Dim, bool) { return a.Add(b), true })
	case "Sub":
		followBoth(c, func(a, b graph.Dim) (graph.Dim, bool) { return a.Sub(b), true })
	case "Mul":
		followBoth(c, func(a, b graph.Dim) (graph.Dim, bool) { return a.Mul(b), true })
	case "Div":
		followBoth(c, divDims)
	}
	return nil
}

// divDims: Dim.Div rounds down, ONNX towards zero; for sizes it is the same.
func divDims(a, b graph.Dim) (graph.Dim, bool) {
	n, ok := a.Value()
	m, known := b.Value()
	if known && m <= 0 || ok && n < 0 {
		return graph.Dim{}, false
	}
	return a.Div(b), true
}

// followBoth records the elements of the result of two integer operands whose
// elements are known as dimensions. (Where they are numbers, as all are during a
// run, shapes that come of them need no look at the operands' memory.)
func followBoth(c *graph.Infer, f func(a, b graph.Dim) (graph.Dim, bool)) {
	if d := c.In(0).DType; d != tensor.Int64 && d != tensor.Int32 {
		return
	}
	follow(c, 2, func(x []graph.Dim) (graph.Dim, bool) { return f(x[0], x[1]) })
}

// follow records the elements of the result of n scalars or vectors.
func follow(c *graph.Infer, n int, f func(x []graph.Dim) (graph.Dim, bool)) {
	in, size := make([][]graph.Dim, n), 1
	for i := range in {
		var ok bool
		if len(c.In(i).Shape) > 1 {
			return
		}
		if in[i], ok = c.Follow(i); !ok || len(in[i]) == 0 {
			return
		}
		size = max(size, len(in[i]))
	}
	out, x := make([]graph.Dim, size), make([]graph.Dim, n)
	for k := range out {
		for i := range in {
			x[i] = in[i][k%len(in[i])]
		}
		var ok bool
		if out[k], ok = f(x); !ok {
			return
		}
	}
	c.SetContent(0, out)
}

// oldBroadcast is the definition of an operator of two operands before version 7:
// where "broadcast" is 1, the second is laid over the dimensions of the first from
// "axis" on, or over the last ones.
// The result has the type of the operands unless another is given.
func oldBroadcast(name string, check func(c *graph.Infer, inputs ...int) error, result tensor.DType, kernel graph.Kernel) graph.Op {
	op := graph.Op{
		ID: onnx(name), Since: 1,
		Infer: func(c *graph.Infer) error {
			if err := c.Require(2, 2); err != nil {
				return err
			}
			if err := check(c, 0, 1); err != nil {
				return err
			}
			a, d := c.In(0), result
			if a.DType == tensor.String {
				return fmt.Errorf("%s compares strings from version 19 on", name)
			}
			if d == tensor.Undefined {
				d = a.DType
			}
			b, err := oldShape(c.Node.Attrs, name, a.Shape, c.In(1).Shape)
			if err != nil {
				return err
			}
			if _, err := graph.Broadcast(a.Shape, b); err != nil {
				return err
			}
			c.Out(0, d, a.Shape)
			return nil
		},
		Kernel: func(c *graph.Call) (func() error, error) {
			b := c.In[1]
			dims, err := oldShape(c.Node.Attrs, name, graph.Dims(c.In[0].Shape()...), graph.Dims(b.Shape()...))
			if err != nil {
				return nil, err
			}
			shape, _ := dims.Static()
			view := new(tensor.Tensor)
			view.Set(b.DType(), shape, b.Bytes())
			c.In[1] = view
			run, err := kernel(c)
			return func() error {
				view.Set(b.DType(), shape, b.Bytes())
				return run()
			}, err
		},
	}
	if result == tensor.Undefined {
		op.Expand = expandOldBroadcast(name)
	}
	return op
}

// expandOldBroadcast writes today's operator.
func expandOldBroadcast(name string) func(*graph.Expansion) ([]*graph.Value, error) {
	return func(e *graph.Expansion) ([]*graph.Value, error) {
		a, b := e.In(0), e.In(1)
		shape, err := oldShape(e.Node.Attrs, name, a.Type.Shape, b.Type.Shape)
		if err != nil {
			return nil, err
		}
		var behind []int64
		for d := len(b.Type.Shape); d < len(shape); d++ {
			behind = append(behind, int64(d))
		}
		if behind != nil {
			b = e.Op("Unsqueeze", nil, b, e.Ints("axes", behind...))
		}
		return []*graph.Value{e.Op(name, nil, a, b)}, nil
	}
}

// oldShape is the shape of the second operand with dimensions of 1 added behind, so
// that today's rule of broadcasting fits.
func oldShape(attrs graph.Attrs, name string, a, b graph.Shape) (graph.Shape, error) {
	if b.Len().Is(1) && len(b) <= len(a) {
		return b, nil
	}
	if attrs.Int("broadcast", 0) == 0 && name != "PRelu" {
		if len(a) != len(b) {
			return nil, fmt.Errorf("shapes %v and %v differ, and broadcast is not set", a, b)
		}
		return b, nil
	}
	axis := attrs.Int("axis", len(a)-len(b))
	if name == "PRelu" && len(b) == 1 { // one slope for each channel
		axis = min(1, len(a)-1)
	}
	if axis < 0 {
		axis += len(a)
	}
	if axis < 0 || axis+len(b) > len(a) {
		return nil, fmt.Errorf("shape %v does not fit into %v from dimension %d", b, a, axis)
	}
	out := append(graph.Shape{}, b...)
	for len(out) < len(a)-axis {
		out = append(out, graph.Const(1))
	}
	return out, nil
}

func binary(op kernel.BinaryOp) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		a, b, y := c.In[0], c.In[1], c.Out[0]
		if a.Shape().Equal(b.Shape()) {
			k := &kernel.Binary{Op: op}
			return func() error {
				k.A, k.B, k.Y = a.F32(), b.F32(), y.F32()
				k.Run(c.Pool)
				return nil
			}, nil
		}
		n, err := newNest(y.Shape(), a.Shape(), b.Shape())
		if err != nil {
			return nil, err
		}
		if run := binaryRows(op, c, n); run != nil {
			return run, nil
		}
		return mapRows[float32](c, 0, func(y []float32, x [][]float32) error {
			op.Do(c.Pool, y, x[0], x[1])
			return nil
		})
	}
}

// binaryRows computes with an operand whose rows each stand for several of the
// other's, such as a factor for each channel behind the pixels; nil for other shapes.
func binaryRows(op kernel.BinaryOp, c *graph.Call, n *nest) func() error {
	whole, part := 0, 1
	if len(n.outer) == 0 || n.strides[0][len(n.outer)-1] == 0 {
		whole, part = 1, 0
	}
	if len(n.outer) == 0 || len(n.outer) > 2 || n.repeats[0] || n.repeats[1] || c.In[whole].Len() != c.Out[0].Len() ||
		c.In[part].Len()*n.outer[len(n.outer)-1] != c.Out[0].Len() || n.strides[part][len(n.outer)-1] != 0 ||
		whole == 1 && op != kernel.OpAdd && op != kernel.OpMul {
		return nil
	}
	k := &kernel.BinaryRows{Op: op, Outer: 1, Inner: n.outer[len(n.outer)-1], Row: n.row}
	if len(n.outer) == 2 {
		k.Outer = n.outer[0]
	}
	return func() error {
		k.A, k.B, k.Y = c.In[whole].F32(), c.In[part].F32(), c.Out[0].F32()
		k.Run(c.Pool)
		return nil
	}
}

// sumTo reduces a gradient to the shape of the operand it belongs to.
func sumTo(g *graph.Gradient, d *graph.Value, input int) *graph.Value {
	x := g.In(input)
	if x.Type.Shape.Equal(d.Type.Shape) {
		return d
	}
	return g.Private("SumTo", nil, d, x)
}

func gradAdd(g *graph.Gradient) error {
	for i := range 2 {
		if g.Needs(i) {
			g.Set(i, sumTo(g, g.Out(0), i))
		}
	}
	return nil
}

func gradSub(g *graph.Gradient) error {
	if g.Needs(0) {
		g.Set(0, sumTo(g, g.Out(0), 0))
	}
	if g.Needs(1) {
		g.Set(1, sumTo(g, g.Op("Neg", nil, g.Out(0)), 1))
	}
	return nil
}

func gradMul(g *graph.Gradient) error {
	for i := range 2 {
		if g.Needs(i) {
			g.Set(i, sumTo(g, g.Op("Mul", nil, g.Out(0), g.In(1-i)), i))
		}
	}
	return nil
}

// gradDiv: d(a/b) = da/b - db·(a/b)/b.
func gradDiv(g *graph.Gradient) error {
	quotient := g.Op("Div", nil, g.Out(0), g.In(1))
	if g.Needs(0) {
		g.Set(0, sumTo(g, quotient, 0))
	}
	if g.Needs(1) {
		scaled := g.Op("Mul", nil, quotient, g.Node.Outputs[0])
		g.Set(1, sumTo(g, g.Op("Neg", nil, scaled), 1))
	}
	return nil
}

// gradPow: d(x^y) = y·x^(y-1)·dx + x^y·log(x)·dy, of which x = 0 makes the former 0 where
// y is 0, and the latter where y is not negative.
func gradPow(g *graph.Gradient) error {
	x, y := g.In(0), g.In(1)
	if y.Type.DType != tensor.Float32 {
		return fmt.Errorf("the exponent is %v; only float32 has a gradient", y.Type.DType)
	}
	if g.Needs(0) {
		slope := g.Op("Mul", nil, y, g.Op("Pow", nil, x, g.Op("Sub", nil, y, g.Scalar("one", 1))))
		if mayBeZero(y) {
			slope = g.Op("Where", nil, g.Op("Equal", nil, y, g.Scalar("zero", 0)), g.Scalar("zero", 0), slope)
		}
		g.Set(0, sumTo(g, g.Op("Mul", nil, g.Out(0), slope), 0))
	}
	if g.Needs(1) {
		zero := g.Scalar("zero", 0)
		none := g.Op("And", nil, g.Op("Equal", nil, x, zero), g.Op("GreaterOrEqual", nil, y, zero))
		grown := g.Op("Where", nil, none, zero, g.Op("Mul", nil, g.Node.Outputs[0], g.Op("Log", nil, x)))
		g.Set(1, sumTo(g, g.Op("Mul", nil, g.Out(0), grown), 1))
	}
	return nil
}

// mayBeZero tells whether an element of v is 0, as far as that is known.
func mayBeZero(v *graph.Value) bool {
	if v.Const == nil {
		return true
	}
	t, err := v.Const.Tensor()
	return err != nil || t.DType() != tensor.Float32 || slices.Contains(t.F32(), 0)
}

// gradPRelu: up to 0 the slope multiplies the gradient of x, and x that of the slope.
func gradPRelu(g *graph.Gradient) error {
	zero := g.Scalar("zero", 0)
	below := g.Op("LessOrEqual", nil, g.In(0), zero)
	if g.Needs(0) {
		g.Set(0, g.Op("Where", nil, below, g.Op("Mul", nil, g.Out(0), g.In(1)), g.Out(0)))
	}
	if g.Needs(1) {
		g.Set(1, sumTo(g, g.Op("Where", nil, below, g.Op("Mul", nil, g.Out(0), g.In(0)), zero), 1))
	}
	return nil
}

// inferPow: the exponent's type is its own.
func inferPow(c *graph.Infer) error {
	return inferBroadcast(func(c *graph.Infer, inputs ...int) error {
		for _, i := range inputs {
			if err := numbers(c, i); err != nil {
				return err
			}
		}
		return nil
	})(c)
}

// inferPRelu: the slope is broadcast to x, never the other way.
func inferPRelu(c *graph.Infer) error {
	if err := inferBroadcast(numbers)(c); err != nil {
		return err
	}
	x, slope := c.In(0).Shape, c.In(1).Shape
	if len(slope) > len(x) {
		return fmt.Errorf("the slope's shape %v cannot be broadcast to %v", slope, x)
	}
	for i, d := range slope {
		if err := c.Same(d, x[len(x)-len(slope)+i], "dimensions of the slope and of x"); err != nil && !d.Is(1) {
			return err
		}
	}
	c.Out(0, c.In(0).DType, x)
	return nil
}
