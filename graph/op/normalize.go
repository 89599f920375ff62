package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// normalizeOps bring groups of elements to mean 0 and variance 1, or to length 1.
func normalizeOps() []graph.Op {
	return []graph.Op{
		{ID: onnx("InstanceNormalization"), Since: 1, Infer: inferChannelNorm, Kernel: floating(kernelGroupNorm, plainGroupNorm), Grad: gradGroupNorm},
		{ID: onnx("GroupNormalization"), Since: 18, Infer: inferChannelNorm, Kernel: floating(kernelGroupNorm, plainGroupNorm), Grad: gradGroupNorm},
		{ID: onnx("LpNormalization"), Since: 1, Infer: inferFloatLike, Kernel: floating(kernelLpNorm[float32], kernelLpNorm[float64]), Expand: expandLpNorm},
		{ID: onnx("LRN"), Since: 1, Infer: inferLRN, Kernel: floating(kernelLRN[float32], kernelLRN[float64]), Expand: expandLRN},
		{ID: onnx("MeanVarianceNormalization"), Since: 9, Infer: inferFloatLike, Kernel: floating(kernelMVN[float32], kernelMVN[float64]), Expand: expandMVN},
	}
}

// inferFloatLike is the rule of one floating-point operand and a result like it.
func inferFloatLike(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	if err := floats(c, 0); err != nil {
		return err
	}
	c.Out(0, c.In(0).DType, c.In(0).Shape)
	return nil
}

// inferChannelNorm: (x [n, channels, ...], scale, bias). Scale and bias are per
// channel, except that GroupNormalization of opset 18 had them per group.
func inferChannelNorm(c *graph.Infer) error {
	if err := c.Require(3, 3); err != nil {
		return err
	}
	if err := floats(c, 0, 1, 2); err != nil {
		return err
	}
	x := c.In(0)
	if len(x.Shape) < 2 {
		return fmt.Errorf("the input has shape %v, expected batch and channels", x.Shape)
	}
	n, what := x.Shape[1], "channels"
	if c.Node.Op.Name == "GroupNormalization" {
		groups := c.Node.Attrs.Int("num_groups", 0)
		if v, ok := n.Value(); groups < 1 || ok && v%groups != 0 {
			return fmt.Errorf("num_groups is %d, the input has %v channels", groups, n)
		}
		if c.Version < 21 {
			n, what = graph.Const(groups), "groups"
		}
	}
	for i := 1; i < 3; i++ {
		if err := c.Rank(i, 1); err != nil {
			return err
		}
		if err := c.Same(c.In(i).Shape[0], n, "elements of scale or bias and "+what); err != nil {
			return err
		}
	}
	c.Out(0, x.DType, x.Shape)
	return nil
}

// channelGroups are the groups of channels that are normalised together.
type channelGroups struct {
	lines
	groups, width int // for each example; channels in one
	per           int // channels that share a scale
}

func channelGroupsOf(c *graph.Call) (*channelGroups, error) {
	l := linesAlong(c.In[0].Shape(), 1)
	groups := c.Node.Attrs.Int("num_groups", l.n)
	if groups == 0 || l.n%groups != 0 {
		return nil, fmt.Errorf("%d channels cannot be put into %d groups", l.n, groups)
	}
	if c.In[1].Len() != l.n && c.In[1].Len() != groups {
		return nil, fmt.Errorf("scale has %d elements for %d channels", c.In[1].Len(), l.n)
	}
	return &channelGroups{l, groups, l.n / groups, l.n / max(c.In[1].Len(), 1)}, nil
}

// kernelGroupNorm normalises each group of channels of each example; an instance
// norm has as many groups as channels.
func kernelGroupNorm(c *graph.Call) (func() error, error) {
	g, err := channelGroupsOf(c)
	if err != nil {
		return nil, err
	}
	k := &kernel.GroupNorm{
		Groups: g.outer * g.groups, Parts: g.width, Part: g.inner, Share: g.per, Epsilon: c.Node.Attrs.Float("epsilon", 1e-5),
	}
	return func() error {
		k.X, k.Scale, k.Bias, k.Y = c.F32(0), c.F32(1), c.F32(2), c.Out[0].F32()
		k.Run(c.Pool)
		return nil
	}, nil
}

// plainGroupNorm is kernelGroupNorm in float64.
func plainGroupNorm(c *graph.Call) (func() error, error) {
	g, err := channelGroupsOf(c)
	if err != nil {
		return nil, err
	}
	epsilon := float64(c.Node.Attrs.Float("epsilon", 1e-5))
	return func() error {
		x, y := tensor.Data[float64](c.In[0]), tensor.Data[float64](c.Out[0])
		scale, bias := tensor.Data[float64](c.In[1]), tensor.Data[float64](c.In[2])
		for group := range g.outer * g.groups {
			at := group * g.width * g.inner
			mean, variance := moments(x[at:][:g.width*g.inner])
			for ch := range g.width {
				i := (group%g.groups*g.width + ch) / g.per
				factor := scale[i] / math.Sqrt(variance+epsilon)
				from, to := x[at+ch*g.inner:][:g.inner], y[at+ch*g.inner:][:g.inner]
				for j, v := range from {
					to[j] = (v-mean)*factor + bias[i]
				}
			}
		}
		return nil
	}, nil
}

// moments are mean and variance, in float64 and in the order of x.
func moments[T wide](x []T) (mean, variance float64) {
	for _, v := range x {
		mean += float64(v)
	}
	mean /= float64(len(x))
	for _, v := range x {
		variance += (float64(v) - mean) * (float64(v) - mean)
	}
	return mean, variance / float64(len(x))
}

// kernelLpNorm divides each line along the axis by its norm; a line of zeros stays.
func kernelLpNorm[T wide](c *graph.Call) (func() error, error) {
	axis, err := graph.Axis(c.Node.Attrs.Int("axis", -1), c.In[0].Rank())
	if err != nil {
		return nil, err
	}
	p := c.Node.Attrs.Int("p", 2)
	if p != 1 && p != 2 {
		return nil, fmt.Errorf("p is %d, expected 1 or 2", p)
	}
	l := linesAlong(c.In[0].Shape(), axis)
	return func() error {
		x, y := tensor.Data[T](c.In[0]), tensor.Data[T](c.Out[0])
		l.each(func(first int) {
			norm := 0.0
			for i := range l.n {
				if v := float64(x[first+i*l.inner]); p == 1 {
					norm += math.Abs(v)
				} else {
					norm += v * v
				}
			}
			if p == 2 {
				norm = math.Sqrt(norm)
			}
			for i := range l.n {
				at := first + i*l.inner
				if y[at] = 0; norm != 0 {
					y[at] = T(float64(x[at]) / norm)
				}
			}
		})
		return nil
	}, nil
}

func inferLRN(c *graph.Infer) error {
	if err := inferFloatLike(c); err != nil {
		return err
	}
	if len(c.In(0).Shape) < 2 {
		return fmt.Errorf("the input has shape %v, expected batch and channels", c.In(0).Shape)
	}
	if size := c.Node.Attrs.Int("size", 0); size < 1 {
		return fmt.Errorf("size is %d, expected at least 1", size)
	}
	return nil
}

// kernelLRN divides by a power of the squares of the neighbouring channels.
func kernelLRN[T wide](c *graph.Call) (func() error, error) {
	a, l := c.Node.Attrs, linesAlong(c.In[0].Shape(), 1)
	size := a.Int("size", 0)
	alpha, beta, bias := float64(a.Float("alpha", 1e-4)), float64(a.Float("beta", 0.75)), float64(a.Float("bias", 1))
	return func() error {
		x, y := tensor.Data[T](c.In[0]), tensor.Data[T](c.Out[0])
		l.each(func(first int) {
			for ch := range l.n {
				squares := 0.0
				for k := max(0, ch-(size-1)/2); k <= min(l.n-1, ch+size/2); k++ {
					v := float64(x[first+k*l.inner])
					squares += v * v
				}
				at := first + ch*l.inner
				y[at] = T(float64(x[at]) / math.Pow(bias+alpha/float64(size)*squares, beta))
			}
		})
		return nil
	}, nil
}

// kernelMVN normalises over a set of axes: (x-mean)/(deviation+1e-9).
func kernelMVN[T wide](c *graph.Call) (func() error, error) {
	axes := c.Node.Attrs.Ints("axes")
	if axes == nil {
		axes = []int{0, 2, 3}
	}
	reduced, err := reducedAxes(axes, c.In[0].Rank(), nil)
	if err != nil {
		return nil, err
	}
	r := newReduction(c.In[0].Shape(), reduced)
	return func() error {
		x, y := tensor.Data[T](c.In[0]), tensor.Data[T](c.Out[0])
		if len(x) == 0 {
			return nil
		}
		for _, base := range r.kept {
			mean := sumFloat64(x[base:], r) / float64(r.count())
			variance := overAll(x[base:], r, func(v float64) float64 { return (v - mean) * (v - mean) }) / float64(r.count())
			deviation := math.Sqrt(variance) + 1e-9
			for _, o := range r.runs {
				to := y[base+o:][:r.run]
				for i, v := range x[base+o:][:r.run] {
					to[i] = T((float64(v) - mean) / deviation)
				}
			}
		}
		return nil
	}, nil
}
