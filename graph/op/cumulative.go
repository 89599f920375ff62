package op

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// cumulativeOps are running sums and products along an axis that is an input.
func cumulativeOps() []graph.Op {
	self := []graph.Alias{{In: 0, Out: 0}}
	sum := numeric{
		f32: kernelCumulative[float32](false), f64: kernelCumulative[float64](false),
		i8: kernelCumulative[int8](false), i16: kernelCumulative[int16](false), i32: kernelCumulative[int32](false), i64: kernelCumulative[int64](false),
		u8: kernelCumulative[uint8](false), u16: kernelCumulative[uint16](false), u32: kernelCumulative[uint32](false), u64: kernelCumulative[uint64](false),
	}
	product := numeric{
		f32: kernelCumulative[float32](true), f64: kernelCumulative[float64](true),
		i8: kernelCumulative[int8](true), i16: kernelCumulative[int16](true), i32: kernelCumulative[int32](true), i64: kernelCumulative[int64](true),
		u8: kernelCumulative[uint8](true), u16: kernelCumulative[uint16](true), u32: kernelCumulative[uint32](true), u64: kernelCumulative[uint64](true),
	}
	return []graph.Op{
		{ID: onnx("CumSum"), Since: 11, Infer: inferCumulative, Kernel: sum.prepare, Grad: gradCumSum, InPlace: self},
		{ID: onnx("CumProd"), Since: 26, Infer: inferCumulative, Kernel: product.prepare, Grad: gradCumProd, InPlace: self},
	}
}

func inferCumulative(c *graph.Infer) error {
	if err := c.Require(2, 2); err != nil {
		return err
	}
	x, axis := c.In(0), c.In(1)
	if err := reducible(c.Node.Op.Name, x.DType); err != nil {
		return err
	}
	if d := axis.DType; d != tensor.Int32 && d != tensor.Int64 {
		return fmt.Errorf("the axis is %v, expected int32 or int64", d)
	}
	if n, ok := axis.Shape.Len().Value(); ok && n != 1 {
		return fmt.Errorf("the axis has shape %v, expected a scalar", axis.Shape)
	}
	c.Out(0, x.DType, x.Shape)
	return nil
}

// kernelCumulative adds or multiplies along each line. It may work in place: an
// element is read before its place is written.
func kernelCumulative[T number](product bool) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		a := c.Node.Attrs
		exclusive, reverse := a.Int("exclusive", 0) != 0, a.Int("reverse", 0) != 0
		var given []int
		return func() error {
			x, y := tensor.Data[T](c.In[0]), tensor.Data[T](c.Out[0])
			given = c.In[1].AppendInts(given[:0])
			if len(given) != 1 {
				return fmt.Errorf("the axis has %d elements, expected 1", len(given))
			}
			axis, err := graph.Axis(given[0], c.In[0].Rank())
			if err != nil {
				return err
			}
			l := linesAlong(c.In[0].Shape(), axis)
			l.each(func(first int) {
				step := l.inner
				if reverse {
					first, step = first+(l.n-1)*step, -step
				}
				total := T(0)
				if product {
					total = 1
				}
				for i := range l.n {
					at := first + i*step
					v, before := x[at], total
					if product {
						total *= v
					} else {
						total += v
					}
					if y[at] = total; exclusive {
						y[at] = before
					}
				}
			})
			return nil
		}, nil
	}
}
