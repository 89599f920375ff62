package op

import (
	"fmt"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// linearOps are products with one matrix of weights, joined with what follows them.
func linearOps() []graph.Op {
	return []graph.Op{
		// (x, w, bias, add) -> act(x·w + bias) + add, over the last dimension of x;
		// attributes activation, transB; of a w in codes: bits, block, zeros (see kernel.Codes)
		{ID: private("Linear"), Infer: inferLinear, Kernel: kernelLinear, Work: workProduct, Encoded: true, Panels: graph.PanelSecond, Rows: byRow(0, 3)},
		// Linear of x, each element rounded to the nearest bfloat16, and a matrix of
		// bfloat16, with products and sums of float32; attribute rounded: so is each element
		// of the result. An x of bfloat16 is what that gave
		{ID: private("BFloat16Linear"), Infer: inferBFloat16Linear, Kernel: kernelBFloat16Linear, Work: workProduct, Encoded: true, Panels: graph.PanelSecond},
	}
}

func inferLinear(c *graph.Infer) error {
	return inferLinearOf(c, tensor.Float32, tensor.Float32, tensor.Float32)
}

func inferBFloat16Linear(c *graph.Infer) error {
	x, y := tensor.Float32, tensor.Float32
	if c.Has(0) && c.In(0).DType == tensor.BFloat16 {
		x = tensor.BFloat16
	}
	if c.Node.Attrs.Int("rounded", 0) != 0 {
		y = tensor.BFloat16
	}
	return inferLinearOf(c, x, tensor.BFloat16, y)
}

// inferLinearOf: x [..., k], w [k,n] or transposed, bias [n] in any number of
// dimensions, add as the result, which is y.
func inferLinearOf(c *graph.Infer, xType, wType, yType tensor.DType) error {
	if err := c.Require(2, 4); err != nil {
		return err
	}
	if err := c.Floats(2, 3); err != nil {
		return err
	}
	for i, want := range []tensor.DType{xType, wType} {
		if d := c.In(i).DType; d != want {
			return fmt.Errorf("input %d (%s) is %v, expected %v", i, c.Node.Inputs[i].Name, d, want)
		}
	}
	if err := c.Rank(1, 2); err != nil {
		return err
	}
	if _, err := activation(c.Node); err != nil {
		return err
	}
	x, w := c.In(0).Shape, c.In(1).Shape
	if len(x) == 0 {
		return fmt.Errorf("input 0 (%s) is a scalar", c.Node.Inputs[0].Name)
	}
	k, n := w[0], w[1]
	if c.Node.Attrs.Int("transB", 0) != 0 {
		k, n = n, k
	}
	if err := c.Same(x[len(x)-1], k, fmt.Sprintf("inner dimensions of %v and %v", x, w)); err != nil {
		return err
	}
	if c.Has(2) {
		if err := c.Same(c.In(2).Shape.Len(), n, "elements of the bias and columns"); err != nil {
			return err
		}
	}
	c.Out(0, yType, append(append(graph.Shape{}, x[:len(x)-1]...), n))
	return nil
}

// linearForm is what both kernels of products with one matrix are told.
type linearForm struct {
	m, n, k int
	trans   bool
	act     kernel.Activation
}

func readLinear(c *graph.Call) (linearForm, error) {
	act, err := activation(c.Node)
	if err != nil {
		return linearForm{}, err
	}
	if !act.fused {
		return linearForm{}, fmt.Errorf("activation %q cannot be joined with a product", c.Node.Attrs.String("activation", ""))
	}
	x, w, y := c.In[0], c.In[1], c.Out[0]
	f := linearForm{m: y.Shape()[:y.Rank()-1].Len(), n: y.Dim(y.Rank() - 1), k: x.Dim(x.Rank() - 1), trans: c.Node.Attrs.Int("transB", 0) != 0, act: act.act}
	rows := w.Dim(0)
	if f.trans {
		rows = w.Dim(1)
	}
	if rows != f.k || c.Has(3) && !c.In[3].Shape().Equal(y.Shape()) {
		return f, fmt.Errorf("shapes %v, %v and %v do not fit", x.Shape(), w.Shape(), y.Shape())
	}
	return f, nil
}

func kernelBFloat16Linear(c *graph.Call) (func() error, error) {
	f, err := readLinear(c)
	if err != nil {
		return nil, err
	}
	w := c.Node.Inputs[1].Const
	if w == nil || w.Encoding != graph.PanelBFloat16 {
		return nil, fmt.Errorf("the weight %s is not packed", c.Node.Inputs[1].Name)
	}
	k := &kernel.Gemm{M: f.m, N: f.n, K: f.k, Act: f.act, BFloat16: true, Packed: asElements[float32](w.Data)}
	k.RoundedA, k.RoundedC = c.In[0].DType() == tensor.BFloat16, c.Out[0].DType() == tensor.BFloat16
	if c.Has(2) {
		k.BiasAxis = kernel.BiasColumn
	}
	c.Reserve(4 * k.ScratchLen(c.Pool))
	return func() error {
		k.A, k.C = asElements[float32](c.In[0].Bytes()), asElements[float32](c.Out[0].Bytes())
		k.Bias, k.Add = c.F32(2), c.F32(3)
		k.Run(c.Pool, c.ScratchF32())
		return nil
	}, nil
}

func kernelLinear(c *graph.Call) (func() error, error) {
	f, err := readLinear(c)
	if err != nil {
		return nil, err
	}
	x, w, y := c.In[0], c.In[1], c.Out[0]
	k := &kernel.Gemm{M: f.m, N: f.n, K: f.k, TransB: f.trans, Act: f.act}
	if c.Has(2) {
		k.BiasAxis = kernel.BiasColumn
	}
	encoding := graph.Dense
	if c.Node.Inputs[1].Const != nil {
		encoding = c.Node.Inputs[1].Const.Encoding
	}
	if encoding == graph.PanelCodes {
		k.Codes = &kernel.Codes{Bits: c.Node.Attrs.Int("bits", 0), Block: c.Node.Attrs.Int("block", 0), Zeros: c.Node.Attrs.Int("zeros", 0) != 0}
	}
	c.Reserve(4 * k.ScratchLen(c.Pool))
	return func() error {
		k.A, k.C, k.Bias, k.Add = x.F32(), y.F32(), c.F32(2), c.F32(3)
		switch encoding {
		case graph.PanelCodes:
			k.Codes.Data = asElements[float32](w.Bytes())
		case graph.PanelB:
			k.Packed = w.F32()
		default:
			k.B = w.F32()
		}
		k.Run(c.Pool, c.ScratchF32())
		return nil
	}, nil
}

// fusedActivation is the matrix kernels' own form of an operator of ai.onnx.
func fusedActivation(name string) (kernel.Activation, bool) {
	switch name {
	case "":
		return kernel.ActNone, true
	case "Relu":
		return kernel.ActReLU, true
	case "Tanh":
		return kernel.ActTanh, true
	case "Sigmoid":
		return kernel.ActSigmoid, true
	case "Gelu":
		return kernel.ActGELUErf, true
	case "FastGelu":
		return kernel.ActGELU, true
	case "HardSwish":
		return kernel.ActHardSwish, true
	case "Swish":
		return kernel.ActSiLU, true
	}
	return 0, false
}

// float32Values are the operands that only float32 has kernels for.
func float32Values(c *graph.Call) bool {
	for _, list := range [][]*tensor.Tensor{c.In, c.Out} {
		for _, x := range list {
			if x != nil && x.DType() != tensor.Float32 {
				return false
			}
		}
	}
	return true
}
