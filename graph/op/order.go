package op

import (
	"cmp"
	"fmt"
	"slices"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// orderOps find the greatest or least elements along an axis. NaN counts as
// greater than every number; of equal elements the one with the lower index is
// first.
func orderOps() []graph.Op {
	argMax := numeric{
		f32: kernelArg[float32](true), f64: kernelArg[float64](true),
		i8: kernelArg[int8](true), i16: kernelArg[int16](true), i32: kernelArg[int32](true), i64: kernelArg[int64](true),
		u8: kernelArg[uint8](true), u16: kernelArg[uint16](true), u32: kernelArg[uint32](true), u64: kernelArg[uint64](true),
	}
	argMin := numeric{
		f32: kernelArg[float32](false), f64: kernelArg[float64](false),
		i8: kernelArg[int8](false), i16: kernelArg[int16](false), i32: kernelArg[int32](false), i64: kernelArg[int64](false),
		u8: kernelArg[uint8](false), u16: kernelArg[uint16](false), u32: kernelArg[uint32](false), u64: kernelArg[uint64](false),
	}
	topK := numeric{
		f32: kernelTopK[float32], f64: kernelTopK[float64],
		i8: kernelTopK[int8], i16: kernelTopK[int16], i32: kernelTopK[int32], i64: kernelTopK[int64],
		u8: kernelTopK[uint8], u16: kernelTopK[uint16], u32: kernelTopK[uint32], u64: kernelTopK[uint64],
	}
	return []graph.Op{
		{ID: onnx("ArgMax"), Since: 1, Infer: inferArg, Kernel: argMax.prepare, Flat: true},
		{ID: onnx("ArgMin"), Since: 1, Infer: inferArg, Kernel: argMin.prepare, Flat: true},
		{ID: onnx("TopK"), Since: 1, Infer: inferTopK(false), Kernel: topK.prepare, Grad: gradTopK},
		{ID: onnx("TopK"), Since: 10, Infer: inferTopK(true), Kernel: topK.prepare, Grad: gradTopK},
	}
}

func inferArg(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	x := c.In(0)
	if err := reducible(c.Node.Op.Name, x.DType); err != nil {
		return err
	}
	axis, err := graph.Axis(c.Node.Attrs.Int("axis", 0), len(x.Shape))
	if err != nil {
		return err
	}
	if x.Shape[axis].Is(0) {
		return fmt.Errorf("axis %d of shape %v has no elements to choose from", axis, x.Shape)
	}
	shape := slices.Clone(x.Shape)
	if c.Node.Attrs.Int("keepdims", 1) != 0 {
		shape[axis] = graph.Const(1)
	} else {
		shape = slices.Delete(shape, axis, axis+1)
	}
	c.Out(0, tensor.Int64, shape)
	return nil
}

// kernelArg finds where the greatest (or least) element of each line is: the first
// such, or the last with select_last_index.
func kernelArg[T number](greatest bool) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		x := c.In[0]
		axis, err := graph.Axis(c.Node.Attrs.Int("axis", 0), x.Rank())
		if err != nil {
			return nil, err
		}
		l, last := linesAlong(x.Shape(), axis), c.Node.Attrs.Int("select_last_index", 0) != 0
		return func() error {
			from, to := tensor.Data[T](x), c.Out[0].I64()
			at := 0
			look := lookout{pool: c.Pool}
			l.each(func(first int) {
				look.step(l.n)
				best, where := from[first], 0
				for i := 1; i < l.n; i++ {
					v := from[first+i*l.inner]
					better := v > best
					if !greatest {
						better = v < best
					}
					if better || v != v && best == best || last && (v == best || v != v && best != best) {
						best, where = v, i
					}
				}
				to[at] = int64(where)
				at++
			})
			return nil
		}, nil
	}
}

// inferTopK: k is an attribute before opset 10, then an input.
func inferTopK(byInput bool) func(*graph.Infer) error {
	return func(c *graph.Infer) error {
		inputs := 1
		if byInput {
			inputs = 2
		}
		if err := c.Require(inputs, inputs); err != nil {
			return err
		}
		x := c.In(0)
		if err := reducible("TopK", x.DType); err != nil {
			return err
		}
		axis, err := graph.Axis(c.Node.Attrs.Int("axis", -1), len(x.Shape))
		if err != nil {
			return err
		}
		k := graph.Const(c.Node.Attrs.Int("k", -1))
		if byInput {
			if k, err = contentScalar(c, 1); err != nil {
				return err
			}
		}
		n, known := x.Shape[axis].Value()
		if v, ok := k.Value(); ok && (v < 0 || known && v > n) {
			return fmt.Errorf("k is %d, the axis has %v elements", v, x.Shape[axis])
		}
		shape := slices.Clone(x.Shape)
		shape[axis] = k
		c.Out(0, x.DType, shape)
		c.Out(1, tensor.Int64, shape)
		return nil
	}
}

// contentScalar is the one element of an integer input as a dimension.
func contentScalar(c *graph.Infer, i int) (graph.Dim, error) {
	if content, ok := c.Content(i); ok && len(content) == 1 {
		return content[0], nil
	}
	v, err := c.Ints(i)
	if err != nil {
		return graph.Dim{}, err
	}
	if len(v) != 1 {
		return graph.Dim{}, fmt.Errorf("input %d (%s) has %d elements, expected 1", i, c.Node.Inputs[i].Name, len(v))
	}
	return graph.Const(v[0]), nil
}

// lookout looks now and then whether the run is to stop, in kernels that do not divide
// their work over the pool.
type lookout struct {
	pool *kernel.Pool
	left int
}

// lookEvery is how many cheap steps come between two looks: about a tenth of a
// millisecond.
const lookEvery = 1 << 14

func (l *lookout) step(n int) {
	if l.left -= n; l.left < 0 {
		l.left = lookEvery
		l.pool.Look()
	}
}

// kernelTopK sorts each line. What is asked for unsorted comes sorted too.
func kernelTopK[T number](c *graph.Call) (func() error, error) {
	x := c.In[0]
	axis, err := graph.Axis(c.Node.Attrs.Int("axis", -1), x.Rank())
	if err != nil {
		return nil, err
	}
	l, k := linesAlong(x.Shape(), axis), 0
	for _, out := range c.Out {
		if out != nil {
			k = out.Dim(axis)
		}
	}
	type element struct {
		v  T
		at int
	}
	sign := -1
	if c.Node.Attrs.Int("largest", 1) == 0 {
		sign = 1
	}
	// cmp.Compare puts NaN below all numbers; here it is above them.
	look := lookout{pool: c.Pool}
	order := func(a, b element) int {
		look.step(1)
		byValue := cmp.Compare(a.v, b.v)
		if a.v != a.v || b.v != b.v {
			byValue = -byValue
		}
		return cmp.Or(sign*byValue, a.at-b.at)
	}
	line, err := graph.Room[element](c, l.n)
	if err != nil {
		return nil, err
	}
	return func() error {
		from := tensor.Data[T](x)
		at := 0
		l.each(func(first int) {
			for i := range line {
				line[i] = element{from[first+i*l.inner], i}
			}
			slices.SortFunc(line, order)
			start := at/l.inner*k*l.inner + at%l.inner
			at++
			for i, e := range line[:k] {
				if len(c.Out) > 0 && c.Out[0] != nil {
					tensor.Data[T](c.Out[0])[start+i*l.inner] = e.v
				}
				if len(c.Out) > 1 && c.Out[1] != nil {
					c.Out[1].I64()[start+i*l.inner] = int64(e.at)
				}
			}
		})
		return nil
	}, nil
}
