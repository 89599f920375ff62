package op

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// integerConvOps are convolutions of bytes.
func integerConvOps() []graph.Op {
	return []graph.Op{
		{ID: onnx("ConvInteger"), Since: 10, Infer: inferConvInteger, Kernel: kernelConvInteger, Work: workConv(1)},
		{ID: onnx("QLinearConv"), Since: 10, Infer: inferQLinearConv, Kernel: kernelQLinearConv, Work: workConv(3)},
	}
}

// inferConvInteger: (x, weight, xZero, weightZero) -> int32.
func inferConvInteger(c *graph.Infer) error {
	if err := c.Require(2, 4); err != nil {
		return err
	}
	if err := operandsQuantized(c, isByte, [2]int{0, 2}, [2]int{1, 3}); err != nil {
		return err
	}
	out, err := convShape(c, 0, 1, -1)
	if err != nil {
		return err
	}
	c.Out(0, tensor.Int32, out)
	return nil
}

// inferQLinearConv: (x, xScale, xZero, weight, weightScale, weightZero, yScale,
// yZero, bias) -> y of yZero's type.
func inferQLinearConv(c *graph.Infer) error {
	if err := c.Require(8, 9); err != nil {
		return err
	}
	if err := operandsQuantized(c, isByte, [2]int{0, 2}, [2]int{3, 5}); err != nil {
		return err
	}
	if err := floats(c, 1, 4, 6); err != nil {
		return err
	}
	if err := typed(c, isByte, 7); err != nil {
		return err
	}
	if c.Has(8) && c.In(8).DType != tensor.Int32 {
		return fmt.Errorf("the bias is %v, expected int32", c.In(8).DType)
	}
	out, err := convShape(c, 0, 3, 8)
	if err != nil {
		return err
	}
	c.Out(0, c.In(7).DType, out)
	return nil
}

// quantizedConv is a convolution less the zero points: so what pads is the zero
// point.
type quantizedConv struct {
	x, weight centred[int32]
	conv      *convND[int32]
}

func newQuantizedConv(c *graph.Call, x, weight, xZero, weightZero int) (*quantizedConv, error) {
	xt, wt := c.In[x], c.In[weight]
	xParam, err := newChannelParam(optional(c, xZero), xt.Shape(), 1)
	if err != nil {
		return nil, err
	}
	wParam, err := newChannelParam(optional(c, weightZero), wt.Shape(), 0)
	if err != nil {
		return nil, err
	}
	q := &quantizedConv{}
	if q.x, err = newCentred[int32](c, xt, xParam); err != nil {
		return nil, err
	}
	if q.weight, err = newCentred[int32](c, wt, wParam); err != nil {
		return nil, err
	}
	q.conv, err = newConvND[int32](c, xt, wt, c.Out[0])
	return q, err
}

func (q *quantizedConv) run(y []int32) { q.conv.run(q.x.load(), q.weight.load(), y) }

func kernelConvInteger(c *graph.Call) (func() error, error) {
	q, err := newQuantizedConv(c, 0, 1, 2, 3)
	if err != nil {
		return nil, err
	}
	return func() error {
		q.run(tensor.Data[int32](c.Out[0]))
		return nil
	}, nil
}

func kernelQLinearConv(c *graph.Call) (func() error, error) {
	q, err := newQuantizedConv(c, 0, 3, 2, 5)
	if err != nil {
		return nil, err
	}
	scale, err := newChannelParam(c.In[4], c.Out[0].Shape(), 1)
	if err != nil {
		return nil, err
	}
	if c.In[1].Len() != 1 {
		return nil, fmt.Errorf("the scale of the input has shape %v, expected one number", c.In[1].Shape())
	}
	s, err := newSums[int32](c)
	if err != nil {
		return nil, err
	}
	return func() error {
		q.run(s.exact)
		if c.Has(8) {
			addChannels(s.exact, tensor.Data[int32](c.In[8]), q.conv.positions)
		}
		of := float64(numberOf(c.In[1]))
		for i, v := range s.exact {
			s.real[i] = float64(v) * of
		}
		scale.multiply(s.real)
		return s.requantize(c.Out[0], c.In[6], c.In[7])
	}, nil
}
