package op

import (
	"tandem/graph"
	"tandem/kernel"
)

// activationOps are the functions of one operand whose gradient needs only their
// result, so that the operand's memory is free at once.
func activationOps() []graph.Op {
	self := []graph.Alias{{In: 0, Out: 0}}
	return []graph.Op{
		{ID: onnx("Relu"), Since: 6, Infer: floatLike(0, 1), Kernel: unary(kernel.OpReLU), Grad: gradBy("ReluGrad"), InPlace: self},
		{ID: onnx("Tanh"), Since: 6, Infer: floatLike(0, 1), Kernel: unary(kernel.OpTanh), Grad: gradBy("TanhGrad"), InPlace: self},
		{ID: onnx("Sigmoid"), Since: 6, Infer: floatLike(0, 1), Kernel: unary(kernel.OpSigmoid), Grad: gradBy("SigmoidGrad"), InPlace: self},
		{ID: onnx("Exp"), Since: 6, Infer: floatLike(0, 1), Kernel: unary(kernel.OpExp), Grad: gradExp, InPlace: self},

		// (dy, y) -> dx
		{ID: private("ReluGrad"), Infer: floatLike(0, 2), Kernel: binary(kernel.OpReLUGrad), InPlace: self},
		{ID: private("TanhGrad"), Infer: floatLike(0, 2), Kernel: binary(kernel.OpTanhGrad), InPlace: self},
		{ID: private("SigmoidGrad"), Infer: floatLike(0, 2), Kernel: binary(kernel.OpSigmoidGrad), InPlace: self},
	}
}

func unary(op kernel.UnaryOp) func(*graph.Call) (func() error, error) {
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

func gradExp(g *graph.Gradient) error {
	g.Set(0, g.Op("Mul", nil, g.Out(0), g.Node.Outputs[0]))
	return nil
}
