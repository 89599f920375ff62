package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/graph/op/narrow"
	"tandem/kernel"
	"tandem/tensor"
)

// activationOps are the functions between layers. Of the first four, the gradient
// needs only the result, so that the operand's memory is free at once.
func activationOps() []graph.Op {
	self := []graph.Alias{{In: 0, Out: 0}}
	ops := []graph.Op{
		{ID: onnx("Relu"), Since: 1, Infer: inferSigned(numbers), Kernel: kernelRelu, Grad: gradBy("ReluGrad"), InPlace: self, Rows: byRow(0)},
		{ID: onnx("Tanh"), Since: 1, Infer: inferCurve, Kernel: fast(kernel.OpTanh, math.Tanh), Grad: gradBy("TanhGrad"), InPlace: self, Rows: byRow(0)},
		{ID: onnx("Sigmoid"), Since: 1, Infer: inferCurve, Kernel: fast(kernel.OpSigmoid, sigma), Grad: gradBy("SigmoidGrad"), InPlace: self, Rows: byRow(0)},
		{ID: onnx("Exp"), Since: 1, Infer: inferCurve, Kernel: fast(kernel.OpExp, math.Exp), Grad: gradExp, InPlace: self},

		// (dy, y) -> dx
		{ID: private("ReluGrad"), Infer: floatPair, Kernel: binary(kernel.OpReLUGrad), InPlace: self},
		{ID: private("TanhGrad"), Infer: floatPair, Kernel: binary(kernel.OpTanhGrad), InPlace: self},
		{ID: private("SigmoidGrad"), Infer: floatPair, Kernel: binary(kernel.OpSigmoidGrad), InPlace: self},

		{ID: onnx("Gelu"), Since: 20, Infer: inferGelu, Kernel: kernelGelu, Grad: gradCurve("GeluGrad"), InPlace: self, Rows: byRow(0)},
		{ID: microsoft("Gelu"), Since: 1, Infer: inferCurve, Kernel: fast(kernel.OpGELUErf, gelu), Grad: gradCurve("GeluGrad"), InPlace: self, Rows: byRow(0)},
		{ID: private("GeluGrad"), Infer: floatPair, Kernel: kernelGeluGrad, InPlace: self},
		{ID: microsoft("BiasGelu"), Since: 1, Infer: inferBiasGelu(2), Kernel: kernelBiasGelu(gelu), Expand: expandBiasGelu("none")},
		{ID: microsoft("FastGelu"), Since: 1, Infer: inferBiasGelu(1), Kernel: kernelBiasGelu(tanhGelu), Expand: expandBiasGelu("tanh")},
		{ID: onnx("SwiGLU"), Since: 28, Infer: inferSwiGLU, Kernel: kernelSwiGLU, Grad: gradSwiGLU, InPlace: []graph.Alias{{In: 0, Out: 0}, {In: 1, Out: 0}}},
		{ID: onnx("Shrink"), Since: 9, Infer: inferSigned(numbers), Kernel: kernelShrink, Grad: gradCurve("ShrinkGrad"), InPlace: self},
		{ID: private("ShrinkGrad"), Infer: floatPair, Kernel: kernelSlope(shrinkSlope), InPlace: self},
	}
	quick := curve{"QuickGelu", 1, parameter("alpha", 1.702, swish), parameter("alpha", 1.702, swishSlope)}
	ops = append(ops, curveOps([]curve{quick}, microsoft)...)
	return append(ops, inVectors(curveOps(activationCurves(), onnx))...)
}

// inVectors gives the curves their rows, and those that have vector kernels these for float32.
func inVectors(ops []graph.Op) []graph.Op {
	for i := range ops {
		ops[i].Rows = byRow(0)
		other := ops[i].Kernel
		switch ops[i].ID {
		case onnx("HardSigmoid"):
			ops[i].Kernel = func(c *graph.Call) (func() error, error) {
				a := c.Node.Attrs
				if c.In[0].DType() == tensor.Float32 && a.Float("alpha", 0.2) == float32(1.0/6) && a.Float("beta", 0.5) == 0.5 {
					return unary(kernel.OpHardSigmoid)(c)
				}
				return other(c)
			}
		case onnx("Swish"):
			ops[i].Kernel = func(c *graph.Call) (func() error, error) {
				if c.In[0].DType() == tensor.Float32 && c.Node.Attrs.Float("alpha", 1) == 1 {
					return unary(kernel.OpSiLU)(c)
				}
				return other(c)
			}
		case onnx("HardSwish"):
			ops[i].Kernel = func(c *graph.Call) (func() error, error) {
				if c.In[0].DType() == tensor.Float32 {
					return unary(kernel.OpHardSwish)(c)
				}
				return other(c)
			}
		}
	}
	return ops
}

// parameter makes a function of one attribute.
func parameter(name string, def float32, f func(p, x float64) float64) func(graph.Attrs) func(float64) float64 {
	return func(a graph.Attrs) func(float64) float64 {
		p := float64(a.Float(name, def))
		return func(x float64) float64 { return f(p, x) }
	}
}

// parameters makes a function of two attributes.
func parameters(name1 string, def1 float32, name2 string, def2 float32, f func(p, q, x float64) float64) func(graph.Attrs) func(float64) float64 {
	return func(a graph.Attrs) func(float64) float64 {
		p, q := float64(a.Float(name1, def1)), float64(a.Float(name2, def2))
		return func(x float64) float64 { return f(p, q, x) }
	}
}

func activationCurves() []curve {
	const alpha, gamma = 1.67326319217681884765625, 1.05070102214813232421875 // of Selu, as ONNX writes them
	return []curve{
		{"LeakyRelu", 1, parameter("alpha", 0.01, leakyRelu), parameter("alpha", 0.01, leakySlope)},
		{"Elu", 1, parameter("alpha", 1, elu), parameter("alpha", 1, eluSlope)},
		{"Celu", 12, parameter("alpha", 1, celu), parameter("alpha", 1, celuSlope)},
		{"Selu", 1, parameters("alpha", alpha, "gamma", gamma, func(a, g, x float64) float64 { return g * elu(a, x) }),
			parameters("alpha", alpha, "gamma", gamma, func(a, g, x float64) float64 { return g * eluSlope(a, x) })},
		{"ThresholdedRelu", 10, parameter("alpha", 1, thresholded), parameter("alpha", 1, thresholdedSlope)},
		{"HardSigmoid", 1, parameters("alpha", 0.2, "beta", 0.5, hardSigmoid), parameters("alpha", 0.2, "beta", 0.5, hardSigmoidSlope)},
		{"HardSwish", 14, fixed(func(x float64) float64 { return x * hardSigmoid(1./6, 0.5, x) }),
			fixed(func(x float64) float64 { return hardSigmoid(1./6, 0.5, x) + x*hardSigmoidSlope(1./6, 0.5, x) })},
		{"Softplus", 1, fixed(softplus), fixed(sigma)},
		{"Softsign", 1, fixed(func(x float64) float64 { return x / (1 + math.Abs(x)) }),
			fixed(func(x float64) float64 { return 1 / square(1+math.Abs(x)) })},
		{"Mish", 18, fixed(func(x float64) float64 { return x * math.Tanh(softplus(x)) }), fixed(mishSlope)},
		{"Swish", 24, parameter("alpha", 1, swish), parameter("alpha", 1, swishSlope)},
	}
}

func sigma(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// softplus is log(1 + exp(x)), written so that exp does not overflow.
func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

func leakyRelu(alpha, x float64) float64 {
	if x < 0 {
		return alpha * x
	}
	return x
}

// leakySlope is alpha at 0 too, as PyTorch and Keras have it.
func leakySlope(alpha, x float64) float64 {
	if x <= 0 {
		return alpha
	}
	return 1
}

func elu(alpha, x float64) float64 {
	if x < 0 {
		return alpha * math.Expm1(x)
	}
	return x
}

func eluSlope(alpha, x float64) float64 {
	if x <= 0 {
		return alpha * math.Exp(x)
	}
	return 1
}

func celu(alpha, x float64) float64 {
	if x < 0 {
		return alpha * math.Expm1(x/alpha)
	}
	return x
}

func celuSlope(alpha, x float64) float64 {
	if x < 0 {
		return math.Exp(x / alpha)
	}
	return 1
}

func thresholded(alpha, x float64) float64 {
	if x <= alpha {
		return 0
	}
	return x
}

func thresholdedSlope(alpha, x float64) float64 {
	if x <= alpha {
		return 0
	}
	return 1
}

func hardSigmoid(alpha, beta, x float64) float64 { return max(0, min(1, alpha*x+beta)) }

func hardSigmoidSlope(alpha, beta, x float64) float64 {
	if y := alpha*x + beta; y > 0 && y < 1 {
		return alpha
	}
	return 0
}

func mishSlope(x float64) float64 {
	t := math.Tanh(softplus(x))
	return t + x*sigma(x)*(1-t*t)
}

func swish(alpha, x float64) float64 { return x * sigma(alpha*x) }

func swishSlope(alpha, x float64) float64 {
	s := sigma(alpha * x)
	return s + alpha*x*s*(1-s)
}

func gelu(x float64) float64 { return 0.5 * x * (1 + math.Erf(x/math.Sqrt2)) }

func geluSlope(x float64) float64 {
	return 0.5*(1+math.Erf(x/math.Sqrt2)) + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
}

// tanhGelu approximates gelu: Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016).
func tanhGelu(x float64) float64 {
	return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
}

func tanhGeluSlope(x float64) float64 {
	t := math.Tanh(math.Sqrt(2/math.Pi) * (x + 0.044715*x*x*x))
	return 0.5*(1+t) + 0.5*x*(1-t*t)*math.Sqrt(2/math.Pi)*(1+3*0.044715*x*x)
}

func geluSlopeOf(a graph.Attrs) func(float64) float64 {
	if a.String("approximate", "none") == "tanh" {
		return tanhGeluSlope
	}
	return geluSlope
}

func inferGelu(c *graph.Infer) error {
	if a := c.Node.Attrs.String("approximate", "none"); a != "none" && a != "tanh" {
		return fmt.Errorf("approximate is %q, expected none or tanh", a)
	}
	return inferCurve(c)
}

func kernelGelu(c *graph.Call) (func() error, error) {
	if c.Node.Attrs.String("approximate", "none") == "tanh" {
		return fast(kernel.OpGELU, tanhGelu)(c)
	}
	return fast(kernel.OpGELUErf, gelu)(c)
}

func kernelGeluGrad(c *graph.Call) (func() error, error) {
	if c.Node.Attrs.String("approximate", "none") == "tanh" {
		return kernelSlope(geluSlopeOf)(c)
	}
	k := &kernel.Binary{Op: kernel.OpGELUGrad}
	return func() error {
		k.A, k.B, k.Y = c.F32(0), c.F32(1), c.Out[0].F32()
		k.Run(c.Pool)
		return nil
	}, nil
}

// inferBiasGelu: (x, bias), the bias as long as the last dimension.
func inferBiasGelu(least int) func(*graph.Infer) error {
	return func(c *graph.Infer) error {
		if err := c.Require(least, 2); err != nil {
			return err
		}
		if err := floats(c, 0, 1); err != nil {
			return err
		}
		x := c.In(0)
		if c.Has(1) {
			if err := c.Rank(1, 1); err != nil {
				return err
			}
			if len(x.Shape) == 0 {
				return fmt.Errorf("input 0 (%s) is a scalar", c.Node.Inputs[0].Name)
			}
			if err := c.Same(x.Shape[len(x.Shape)-1], c.In(1).Shape[0], "the last dimension and the bias"); err != nil {
				return err
			}
		}
		c.Out(0, x.DType, x.Shape)
		return nil
	}
}

func kernelBiasGelu(f func(float64) float64) graph.Kernel {
	return narrow.Widened(func(c *graph.Call) (func() error, error) {
		if c.In = presentInputs(c); len(c.In) == 1 { // FastGelu
			return fast(kernel.OpGELU, f)(c)
		}
		if c.In[0].DType() == tensor.Float64 {
			return mapRows[float64](c, 0, sumThen[float64](f))
		}
		return mapRows[float32](c, 0, sumThen[float32](f))
	})
}

// presentInputs are the inputs without those that are absent.
func presentInputs(c *graph.Call) []*tensor.Tensor {
	var in []*tensor.Tensor
	for _, x := range c.In {
		if x != nil {
			in = append(in, x)
		}
	}
	return in
}

// sumThen applies f to the sum of the operands.
func sumThen[T anyFloat](f func(float64) float64) rows2[T] {
	sum := foldRows[T](opAdd)
	return func(y []T, x [][]T) error {
		err := sum(y, x)
		mapTo(y, y, f)
		return err
	}
}

// SwiGLU(a, b) = Swish(a)·b, without broadcasting.
func inferSwiGLU(c *graph.Infer) error {
	if err := c.Require(2, 2); err != nil {
		return err
	}
	if err := c.Rank(1, len(c.In(0).Shape)); err != nil {
		return err
	}
	for i, d := range c.In(0).Shape {
		if err := c.Same(d, c.In(1).Shape[i], "dimensions of the gate and of the value"); err != nil {
			return err
		}
	}
	c.Out(0, c.In(0).DType, c.In(0).Shape)
	return floats(c, 0, 1)
}

func kernelSwiGLU(c *graph.Call) (func() error, error) {
	alpha := float64(c.Node.Attrs.Float("alpha", 1))
	return narrow.Widened(func(c *graph.Call) (func() error, error) {
		if c.In[0].DType() == tensor.Float64 {
			return mapRows[float64](c, 0, gated[float64](alpha))
		}
		return mapRows[float32](c, 0, gated[float32](alpha))
	})(c)
}

func gated[T anyFloat](alpha float64) rows2[T] {
	return func(y []T, x [][]T) error {
		for i := range y {
			y[i] = T(swish(alpha, float64(x[0][i])) * float64(x[1][i]))
		}
		return nil
	}
}

func gradSwiGLU(g *graph.Gradient) error {
	if g.Needs(0) {
		g.Set(0, g.Private("SwishGrad", g.Node.Attrs, g.Op("Mul", nil, g.Out(0), g.In(1)), g.In(0)))
	}
	if g.Needs(1) {
		g.Set(1, g.Op("Mul", nil, g.Out(0), g.Op("Swish", g.Node.Attrs, g.In(0))))
	}
	return nil
}

// kernelShrink: what lies within ±lambd becomes 0, the rest comes nearer by bias.
func kernelShrink(c *graph.Call) (func() error, error) {
	lambd, bias := float64(c.Node.Attrs.Float("lambd", 0.5)), float64(c.Node.Attrs.Float("bias", 0))
	kernel := kernelCurve(fixed(func(x float64) float64 {
		switch {
		case x < -lambd:
			return x + bias
		case x > lambd:
			return x - bias
		}
		return 0
	}))
	integers := func(d tensor.DType) bool { return !d.Float() }
	return narrow.Through(tensor.Float64, kernel, integers)(c)
}

func shrinkSlope(a graph.Attrs) func(float64) float64 {
	lambd := float64(a.Float("lambd", 0.5))
	return func(x float64) float64 {
		if math.Abs(x) > lambd {
			return 1
		}
		return 0
	}
}

func kernelRelu(c *graph.Call) (func() error, error) {
	if c.In[0].DType() == tensor.Float32 {
		return unary(kernel.OpReLU)(c)
	}
	return signed(opRelu)(c)
}

// fast is the kernel of a function that package kernel has for float32.
func fast(op kernel.UnaryOp, f func(float64) float64) graph.Kernel {
	return narrow.Widened(func(c *graph.Call) (func() error, error) {
		if c.In[0].DType() == tensor.Float64 {
			return mapElements(c, func(y, x []float64) { mapTo(y, x, f) })
		}
		return unary(op)(c)
	})
}

func unary(op kernel.UnaryOp) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		k := &kernel.Unary{Op: op}
		return func() error {
			k.X, k.Y = c.In[0].F32(), c.Out[0].F32()
			k.Run(c.Pool)
			return nil
		}, nil
	}
}

// gradBy is the gradient rule of an operator whose private counterpart computes
// dx from dy and y.
func gradBy(name string) func(*graph.Gradient) error {
	return func(g *graph.Gradient) error {
		g.Set(0, g.Private(name, nil, g.Out(0), g.Node.Outputs[0]))
		return nil
	}
}

// gradCurve is the gradient rule of an operator whose private counterpart computes
// dx from dy and x.
func gradCurve(name string) func(*graph.Gradient) error {
	return func(g *graph.Gradient) error {
		g.Set(0, g.Private(name, g.Node.Attrs, g.Out(0), g.In(0)))
		return nil
	}
}

func gradExp(g *graph.Gradient) error {
	g.Set(0, g.Op("Mul", nil, g.Out(0), g.Node.Outputs[0]))
	return nil
}
