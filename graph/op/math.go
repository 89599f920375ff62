package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/graph/op/narrow"
	"tandem/kernel"
	"tandem/tensor"
)

// curve is a function of one real number, applied to each element. Parameters are
// the node's attributes. It is computed in float64.
type curve struct {
	name  string
	since int
	at    func(a graph.Attrs) func(x float64) float64
	// slope is the derivative, nil if the operator has no gradient.
	slope func(a graph.Attrs) func(x float64) float64
}

// fixed is a function without parameters.
func fixed(f func(float64) float64) func(graph.Attrs) func(float64) float64 {
	return func(graph.Attrs) func(float64) float64 { return f }
}

// curveOps makes the definitions of curves: for each the operator, and a private
// one that multiplies a gradient by the slope.
func curveOps(curves []curve, id func(string) graph.OpID) []graph.Op {
	self := []graph.Alias{{In: 0, Out: 0}}
	var ops []graph.Op
	for _, k := range curves {
		o := graph.Op{ID: id(k.name), Since: k.since, Infer: inferCurve, Kernel: kernelCurve(k.at), InPlace: self}
		if k.slope != nil {
			grad := private(k.name + "Grad")
			ops = append(ops, graph.Op{ID: grad, Infer: floatPair, Kernel: kernelSlope(k.slope), InPlace: self})
			o.Grad = gradCurve(grad.Name)
		}
		ops = append(ops, o)
	}
	return ops
}

func inferCurve(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	c.Out(0, c.In(0).DType, c.In(0).Shape)
	return floats(c, 0)
}

func kernelCurve(at func(graph.Attrs) func(float64) float64) graph.Kernel {
	return narrow.Widened(func(c *graph.Call) (func() error, error) {
		f := at(c.Node.Attrs)
		if c.In[0].DType() == tensor.Float64 {
			return mapElements(c, func(y, x []float64) { mapTo(y, x, f) })
		}
		return mapElements(c, func(y, x []float32) { mapTo(y, x, f) })
	})
}

func mapTo[T anyFloat](y, x []T, f func(float64) float64) {
	for i, v := range x[:len(y)] {
		y[i] = T(f(float64(v)))
	}
}

// kernelSlope: (dy, x) -> dy·f'(x).
func kernelSlope(slope func(graph.Attrs) func(float64) float64) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		f := slope(c.Node.Attrs)
		return mapRows[float32](c, 0, func(y []float32, x [][]float32) error {
			for i, v := range x[1][:len(y)] {
				y[i] = x[0][i] * float32(f(float64(v)))
			}
			return nil
		})
	}
}

// mathOps are the functions of one number that mathematics has.
func mathOps() []graph.Op {
	self := []graph.Alias{{In: 0, Out: 0}}
	ops := []graph.Op{
		{ID: onnx("Neg"), Since: 1, Infer: inferSigned(numbers), Kernel: signed(opNeg), Grad: gradNeg, InPlace: self},
		{ID: onnx("Abs"), Since: 1, Infer: inferSigned(numbers), Kernel: signed(opAbs), Grad: gradAbs, InPlace: self},
		{ID: onnx("Sign"), Since: 9, Infer: inferSigned(numbers), Kernel: signed(opSign), Grad: gradCurve("FloorGrad"), InPlace: self},
	}
	erf := curveOps([]curve{{"Erf", 9, fixed(math.Erf), fixed(func(x float64) float64 { return 2 / math.Sqrt(math.Pi) * math.Exp(-x*x) })}}, onnx)
	for i := range erf {
		if erf[i].ID == onnx("Erf") {
			erf[i].Kernel = fast(kernel.OpErf, math.Erf)
		}
	}
	return append(append(ops, erf...), curveOps(mathCurves(), onnx)...)
}

func mathCurves() []curve {
	flat := fixed(func(float64) float64 { return 0 }) // but at the steps, which have no slope
	return []curve{
		{"Floor", 1, fixed(math.Floor), flat},
		{"Ceil", 1, fixed(math.Ceil), flat},
		{"Round", 11, fixed(math.RoundToEven), flat},
		{"Sqrt", 1, fixed(math.Sqrt), fixed(func(x float64) float64 { return 0.5 / math.Sqrt(x) })},
		{"Reciprocal", 1, fixed(func(x float64) float64 { return 1 / x }), fixed(func(x float64) float64 { return -1 / (x * x) })},
		{"Log", 1, fixed(math.Log), fixed(func(x float64) float64 { return 1 / x })},
		{"Sin", 7, fixed(math.Sin), fixed(math.Cos)},
		{"Cos", 7, fixed(math.Cos), fixed(func(x float64) float64 { return -math.Sin(x) })},
		{"Tan", 7, fixed(math.Tan), fixed(func(x float64) float64 { return 1 + square(math.Tan(x)) })},
		{"Asin", 7, fixed(math.Asin), fixed(func(x float64) float64 { return 1 / math.Sqrt(1-x*x) })},
		{"Acos", 7, fixed(math.Acos), fixed(func(x float64) float64 { return -1 / math.Sqrt(1-x*x) })},
		{"Atan", 7, fixed(math.Atan), fixed(func(x float64) float64 { return 1 / (1 + x*x) })},
		{"Sinh", 9, fixed(math.Sinh), fixed(math.Cosh)},
		{"Cosh", 9, fixed(math.Cosh), fixed(math.Sinh)},
		{"Asinh", 9, fixed(math.Asinh), fixed(func(x float64) float64 { return 1 / math.Sqrt(1+x*x) })},
		{"Acosh", 9, fixed(math.Acosh), fixed(func(x float64) float64 { return 1 / math.Sqrt(x*x-1) })},
		{"Atanh", 9, fixed(math.Atanh), fixed(func(x float64) float64 { return 1 / (1 - x*x) })},
	}
}

func square(x float64) float64 { return x * x }

// signOp is a function of a number's sign.
type signOp uint8

const (
	opNeg signOp = iota
	opAbs
	opSign
	opRelu
)

// inferSigned is the rule of one operand that check accepts.
func inferSigned(check func(c *graph.Infer, inputs ...int) error) func(*graph.Infer) error {
	return func(c *graph.Infer) error {
		if err := c.Require(1, 1); err != nil {
			return err
		}
		c.Out(0, c.In(0).DType, c.In(0).Shape)
		return check(c, 0)
	}
}

// signed is the kernel of a function of a number's sign, for all types.
func signed(op signOp) graph.Kernel {
	return narrow.Widened(func(c *graph.Call) (func() error, error) {
		switch c.In[0].DType() {
		case tensor.Float32:
			return mapElements(c, signRow[float32](op))
		case tensor.Float64:
			return mapElements(c, signRow[float64](op))
		case tensor.Int8:
			return mapElements(c, signRow[int8](op))
		case tensor.Int16:
			return mapElements(c, signRow[int16](op))
		case tensor.Int32:
			return mapElements(c, signRow[int32](op))
		case tensor.Int64:
			return mapElements(c, signRow[int64](op))
		case tensor.Uint8:
			return mapElements(c, signRow[uint8](op))
		case tensor.Uint16:
			return mapElements(c, signRow[uint16](op))
		case tensor.Uint32:
			return mapElements(c, signRow[uint32](op))
		case tensor.Uint64:
			return mapElements(c, signRow[uint64](op))
		}
		return nil, fmt.Errorf("%v does not calculate with %v", c.Node.Op, c.In[0].DType())
	})
}

func signRow[T anyNumber](op signOp) func(y, x []T) {
	switch op {
	case opNeg:
		return func(y, x []T) {
			for i, v := range x {
				y[i] = -v
			}
		}
	case opAbs:
		return func(y, x []T) {
			for i, v := range x {
				if v <= 0 { // -0 too
					v = 0 - v
				}
				y[i] = v
			}
		}
	case opRelu:
		return func(y, x []T) {
			for i, v := range x {
				if v < 0 {
					v = 0
				}
				y[i] = v
			}
		}
	}
	return func(y, x []T) {
		for i, v := range x {
			switch {
			case v > 0:
				v = 1
			case v < 0:
				v = 0
				v--
			}
			y[i] = v
		}
	}
}

func gradNeg(g *graph.Gradient) error {
	g.Set(0, g.Op("Neg", nil, g.Out(0)))
	return nil
}

func gradAbs(g *graph.Gradient) error {
	g.Set(0, g.Op("Mul", nil, g.Out(0), g.Op("Sign", nil, g.In(0))))
	return nil
}
