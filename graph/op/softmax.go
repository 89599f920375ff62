package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// softmaxOps normalise lines along an axis. Before opset 13 the input was seen as a
// matrix whose columns are all dimensions from the axis on.
func softmaxOps() []graph.Op {
	self := []graph.Alias{{In: 0, Out: 0}}
	define := func(name string, since, axis int, kernel graph.Kernel, grad func(*graph.Gradient) error) graph.Op {
		return graph.Op{ID: onnx(name), Since: since, Infer: inferSoftmax(axis), Kernel: kernel, Grad: grad, InPlace: self}
	}
	rows, flat := softmaxView{axis: -1}, softmaxView{axis: 1, flat: true}
	return []graph.Op{
		define("Softmax", 1, flat.axis, kernelSoftmax(flat, false), flat.grad("SoftmaxGrad")),
		define("Softmax", 13, rows.axis, kernelSoftmax(rows, false), rows.grad("SoftmaxGrad")),
		define("LogSoftmax", 1, flat.axis, kernelSoftmax(flat, true), flat.grad("LogSoftmaxGrad")),
		define("LogSoftmax", 13, rows.axis, kernelSoftmax(rows, true), rows.grad("LogSoftmaxGrad")),
		define("Hardmax", 1, flat.axis, floating(kernelHardmax[float32](flat), kernelHardmax[float64](flat)), nil),
		define("Hardmax", 13, rows.axis, floating(kernelHardmax[float32](rows), kernelHardmax[float64](rows)), nil),
		// (dy, y) -> dx; attributes axis, flat
		{ID: private("SoftmaxGrad"), Infer: floatPair, Kernel: kernelSoftmaxGrad, InPlace: self},
		{ID: private("LogSoftmaxGrad"), Infer: floatPair, Kernel: kernelLogSoftmaxGrad, InPlace: self},
		// (x, its scale and zero point, the scale and zero point of the result): bytes to
		// bytes along the last axis
		{ID: private("SoftmaxBytes"), Infer: inferSoftmaxBytes, Kernel: kernelSoftmaxBytes, InPlace: self},
	}
}

func inferSoftmaxBytes(c *graph.Infer) error {
	if err := c.Require(5, 5); err != nil {
		return err
	}
	if err := typed(c, isByte, 0, 2); err != nil {
		return err
	}
	if err := typed(c, isByte, 4); err != nil {
		return err
	}
	if err := c.Floats(1, 3); err != nil {
		return err
	}
	for i := 1; i <= 4; i++ {
		if err := c.Same(c.In(i).Shape.Len(), graph.Const(1), "numbers of a scale or a zero point"); err != nil {
			return err
		}
	}
	if len(c.In(0).Shape) == 0 {
		return fmt.Errorf("input 0 (%s) is a scalar", c.Node.Inputs[0].Name)
	}
	c.Out(0, c.In(4).DType, c.In(0).Shape)
	return nil
}

func kernelSoftmaxBytes(c *graph.Call) (func() error, error) {
	x, y := c.In[0], c.Out[0]
	cols := x.Dim(x.Rank() - 1)
	k := &kernel.SoftmaxBytes{Rows: x.Len() / max(1, cols), Cols: cols}
	c.Reserve(k.ScratchLen(c.Pool))
	return func() error {
		k.X, k.Y = x.Bytes(), y.Bytes()
		k.OfX, k.OfY = stepsAt(c, 1, x.DType() == tensor.Int8), stepsAt(c, 3, y.DType() == tensor.Int8)
		k.Run(c.Pool, c.Scratch())
		return nil
	}, nil
}

// softmaxView is how a version of the operator sees its input.
type softmaxView struct {
	axis int // where the attribute is absent
	flat bool
}

func (v softmaxView) lines(c *graph.Call) (lines, error) {
	s := c.In[0].Shape()
	axis := c.Node.Attrs.Int("axis", v.axis)
	if v.flat || c.Node.Attrs.Int("flat", 0) != 0 {
		// The axis may be the rank: then each row has one element.
		if axis < 0 {
			axis += len(s)
		}
		if axis < 0 || axis > len(s) {
			return lines{}, fmt.Errorf("axis %d of shape %v", c.Node.Attrs.Int("axis", v.axis), s)
		}
		return lines{s[:axis].Len(), s[axis:].Len(), 1}, nil
	}
	axis, err := graph.Axis(axis, len(s))
	if err != nil {
		return lines{}, err
	}
	return linesAlong(s, axis), nil
}

func (v softmaxView) grad(name string) func(*graph.Gradient) error {
	return func(g *graph.Gradient) error {
		a := graph.Attrs{"axis": int64(g.Node.Attrs.Int("axis", v.axis))}
		if v.flat {
			a["flat"] = int64(1)
		}
		g.Set(0, g.Private(name, a, g.Out(0), g.Node.Outputs[0]))
		return nil
	}
}

func inferSoftmax(axis int) func(*graph.Infer) error {
	return func(c *graph.Infer) error {
		if err := c.Require(1, 1); err != nil {
			return err
		}
		if err := floats(c, 0); err != nil {
			return err
		}
		rank, axis := len(c.In(0).Shape), c.Node.Attrs.Int("axis", axis)
		if axis < -rank || axis > rank || axis == rank && c.Version >= 13 {
			return fmt.Errorf("axis %d of shape %v", axis, c.In(0).Shape)
		}
		c.Out(0, c.In(0).DType, c.In(0).Shape)
		return nil
	}
}

// matrix is the input's shape as rows of its last dimension.
func matrix(c *graph.Call) (rows, cols int) {
	s := c.In[0].Shape()
	return s[:len(s)-1].Len(), s[len(s)-1]
}

func kernelSoftmax(v softmaxView, log bool) graph.Kernel {
	return floating(kernelSoftmaxRows(v, log), kernelSoftmaxLines[float64](v, log))
}

// kernelSoftmaxRows takes lines whose elements are neighbours.
func kernelSoftmaxRows(v softmaxView, log bool) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		l, err := v.lines(c)
		if err != nil {
			return nil, err
		}
		if l.inner != 1 {
			return kernelSoftmaxLines[float32](v, log)(c)
		}
		k := &kernel.Softmax{Rows: l.outer, Cols: l.n, Log: log}
		return func() error {
			k.X, k.Y = c.F32(0), c.Out[0].F32()
			k.Run(c.Pool)
			return nil
		}, nil
	}
}

func kernelSoftmaxLines[T wide](v softmaxView, log bool) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		l, err := v.lines(c)
		if err != nil {
			return nil, err
		}
		return func() error {
			x, y := tensor.Data[T](c.In[0]), tensor.Data[T](c.Out[0])
			l.each(func(first int) { softmaxLine(y, x, first, l, log) })
			return nil
		}, nil
	}
}

// softmaxLine computes one line. y may be x.
func softmaxLine[T wide](y, x []T, first int, l lines, log bool) {
	top := math.Inf(-1)
	for i := range l.n {
		top = max(top, float64(x[first+i*l.inner]))
	}
	total := 0.0
	for i := range l.n {
		total += math.Exp(float64(x[first+i*l.inner]) - top)
	}
	shift := math.Log(total)
	for i := range l.n {
		at := first + i*l.inner
		if d := float64(x[at]) - top; log {
			y[at] = T(d - shift)
		} else {
			y[at] = T(math.Exp(d) / total)
		}
	}
}

// kernelHardmax puts 1 at the first greatest element of each line, 0 elsewhere.
func kernelHardmax[T wide](v softmaxView) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		l, err := v.lines(c)
		if err != nil {
			return nil, err
		}
		return func() error {
			x, y := tensor.Data[T](c.In[0]), tensor.Data[T](c.Out[0])
			l.each(func(first int) {
				best := 0
				for i := 1; i < l.n; i++ {
					if x[first+i*l.inner] > x[first+best*l.inner] {
						best = i
					}
				}
				for i := range l.n {
					y[first+i*l.inner] = 0
				}
				if l.n > 0 {
					y[first+best*l.inner] = 1
				}
			})
			return nil
		}, nil
	}
}

// kernelSoftmaxGrad: dx = y·(dy - Σ dy·y) along each line.
func kernelSoftmaxGrad(c *graph.Call) (func() error, error) {
	l, err := softmaxView{axis: -1}.lines(c)
	if err != nil {
		return nil, err
	}
	if l.inner == 1 {
		k := &kernel.SoftmaxGrad{Rows: l.outer, Cols: l.n}
		return func() error {
			k.DY, k.Y, k.DX = c.F32(0), c.F32(1), c.Out[0].F32()
			k.Run(c.Pool)
			return nil
		}, nil
	}
	return func() error {
		dy, y, dx := c.F32(0), c.F32(1), c.Out[0].F32()
		l.each(func(first int) {
			dot := float32(0)
			for i := range l.n {
				dot += dy[first+i*l.inner] * y[first+i*l.inner]
			}
			for i := range l.n {
				at := first + i*l.inner
				dx[at] = y[at] * (dy[at] - dot)
			}
		})
		return nil
	}, nil
}

// kernelLogSoftmaxGrad: dx = dy - exp(y)·Σ dy along each line.
func kernelLogSoftmaxGrad(c *graph.Call) (func() error, error) {
	l, err := softmaxView{axis: -1}.lines(c)
	if err != nil {
		return nil, err
	}
	c.Reserve(4 * c.In[0].Len())
	k := &kernel.Unary{Op: kernel.OpExp}
	return func() error {
		dy, dx := c.F32(0), c.Out[0].F32()
		k.X, k.Y = c.F32(1), c.ScratchF32()
		k.Run(c.Pool)
		l.each(func(first int) {
			sum := float32(0)
			for i := range l.n {
				sum += dy[first+i*l.inner]
			}
			for i := range l.n {
				at := first + i*l.inner
				dx[at] = dy[at] - k.Y[at]*sum
			}
		})
		return nil
	}, nil
}
