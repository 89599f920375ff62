package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/tensor"
)

// divisor is by how much an average over a window is divided: the elements that it
// covers, or with count_include_pad those of the padding too, but never what lies
// behind the padding (ceil_mode).
type divisor struct {
	window
	in, out []int
	padded  bool
}

func newDivisor(c *graph.Call, in, out tensor.Shape) (divisor, error) {
	w, err := readWindow(c.Node.Attrs, c.Node.Attrs.Ints("kernel_shape"))
	return divisor{w, in, out, c.Node.Attrs.Int("count_include_pad", 0) != 0}, err
}

func (d divisor) of(o int, window []int) int {
	if !d.padded {
		return max(len(window), 1) // a dilated window may cover padding alone
	}
	n := 1
	for axis := len(d.out) - 1; axis >= 0; axis-- {
		end := d.in[axis] + d.after[axis]
		before := d.before[axis]
		if d.autoPad != "NOTSET" {
			var after int
			before, after = d.pads(axis, d.in[axis], d.out[axis])
			end = d.in[axis] + after
		}
		start := o%d.out[axis]*d.stride[axis] - before
		o /= d.out[axis]
		n *= min(d.kernel[axis], (end-start+d.dilation[axis]-1)/d.dilation[axis])
	}
	return n
}

func kernelAveragePool[T float32 | float64](c *graph.Call) (func() error, error) {
	x, y := c.In[0], c.Out[0]
	in, out := x.Shape()[2:].Len(), y.Shape()[2:].Len()
	d, err := newDivisor(c, x.Shape()[2:], y.Shape()[2:])
	if err != nil {
		return nil, err
	}
	run, err := eachWindow(c, func(plane, o int, window []int) {
		from, sum := tensor.Data[T](x)[plane*in:][:in], 0.0
		for _, at := range window {
			sum += float64(from[at])
		}
		tensor.Data[T](y)[plane*out+o] = T(sum / float64(d.of(o, window)))
	})
	return func() error { run(); return nil }, err
}

func gradAveragePool(g *graph.Gradient) error {
	if g.In(0).Type.DType != tensor.Float32 {
		return fmt.Errorf("only float32 has a gradient, not %v", g.In(0).Type.DType)
	}
	g.Set(0, g.Private("AveragePoolGrad", g.Node.Attrs, g.Out(0), g.In(0)))
	return nil
}

func kernelAveragePoolGrad(c *graph.Call) (func() error, error) {
	dy, x := c.In[0], c.In[1]
	in, out := x.Shape()[2:].Len(), dy.Shape()[2:].Len()
	d, err := newDivisor(c, x.Shape()[2:], dy.Shape()[2:])
	if err != nil {
		return nil, err
	}
	t := d.taps(x.Shape()[2:], dy.Shape()[2:])
	planes := x.Shape()[:2].Len()
	own := t.clones(c.Pool.Threads())
	body := func(lo, hi, worker int) {
		from, to := c.F32(0), c.Out[0].F32()
		for o := range out {
			window := own[worker].at(o)
			share := 1 / float32(d.of(o, window))
			for p := lo; p < hi; p++ {
				for _, at := range window {
					to[p*in+at] += from[p*out+o] * share
				}
			}
		}
	}
	return func() error {
		clear(c.Out[0].F32())
		c.Pool.For(planes, max(1, (1<<14)/max(1, in)), body)
		return nil
	}, nil
}

// kernelLpPool: (Σ |x|^p)^(1/p) over each window.
func kernelLpPool[T float32 | float64](c *graph.Call) (func() error, error) {
	p, err := lpOf(c.Node.Attrs)
	if err != nil {
		return nil, err
	}
	x, y := c.In[0], c.Out[0]
	in, out := x.Shape()[2:].Len(), y.Shape()[2:].Len()
	run, err := eachWindow(c, func(plane, o int, window []int) {
		from, sum := tensor.Data[T](x)[plane*in:][:in], 0.0
		for _, at := range window {
			sum += math.Pow(math.Abs(float64(from[at])), p)
		}
		tensor.Data[T](y)[plane*out+o] = T(math.Pow(sum, 1/p))
	})
	return func() error { run(); return nil }, err
}

// lpOf is the exponent, an integer since opset 2.
func lpOf(a graph.Attrs) (float64, error) {
	p := float64(a.Int("p", 2))
	if f, ok := a["p"].(float32); ok {
		p = float64(f)
	}
	if !(p > 0) {
		return 0, fmt.Errorf("the exponent p is %v, expected a positive number", p)
	}
	return p, nil
}
