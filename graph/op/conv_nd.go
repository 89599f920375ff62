package op

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// unfold says which element of a plane of any number of dimensions each tap of a
// window reads at each position: -1 in the padding. It turns a convolution into a
// product of matrices.
type unfold struct {
	plane, positions, taps int
	at                     []int32 // [taps][positions]
}

// unfold is for planes of size in, with a window at each position of out.
func (w window) unfold(c *graph.Call, in, out, before []int) (u *unfold, err error) {
	u = &unfold{plane: tensor.Shape(in).Len(), positions: tensor.Shape(out).Len(), taps: tensor.Shape(w.kernel).Len()}
	if u.at, err = graph.Room[int32](c, u.taps*u.positions); err != nil {
		return nil, err
	}
	for tap := range u.taps {
		row := u.at[tap*u.positions:][:u.positions]
		for o := range row {
			row[o] = int32(w.offset(tap, o, in, out, before))
		}
	}
	return u, nil
}

func (w window) offset(tap, o int, in, out, before []int) int {
	off, scale := 0, 1
	for axis := len(in) - 1; axis >= 0; axis-- {
		i := o%out[axis]*w.stride[axis] + tap%w.kernel[axis]*w.dilation[axis] - before[axis]
		if i < 0 || i >= in[axis] {
			return -1
		}
		off += i * scale
		scale *= in[axis]
		o /= out[axis]
		tap /= w.kernel[axis]
	}
	return off
}

// unfoldInto writes columns [lo,hi) of the matrix [channels·taps][positions] of x,
// channels planes.
func unfoldInto[T arith](u *unfold, cols, x []T, channels, lo, hi int) {
	n := hi - lo
	for ch := range channels {
		from := x[ch*u.plane:][:u.plane]
		for tap := range u.taps {
			to := cols[(ch*u.taps+tap)*n:][:n]
			for j, off := range u.at[tap*u.positions+lo:][:n] {
				if off < 0 {
					to[j] = 0
				} else {
					to[j] = from[off]
				}
			}
		}
	}
}

// foldFrom adds columns [lo,hi) to the planes that unfoldInto reads them from.
func foldFrom[T arith](u *unfold, x, cols []T, channels, lo, hi int) {
	n := hi - lo
	for ch := range channels {
		to := x[ch*u.plane:][:u.plane]
		for tap := range u.taps {
			from := cols[(ch*u.taps+tap)*n:][:n]
			for j, off := range u.at[tap*u.positions+lo:][:n] {
				if off >= 0 {
					to[off] += from[j]
				}
			}
		}
	}
}

// convND is a convolution in any number of dimensions, for any element type: a
// product of the weight with unfolded images, a block of positions at a time.
type convND[T arith] struct {
	*unfold
	n, groups, ic, oc int // channels of a group
	block             int // positions
	cols              []T
	whole, rest       *product[T] // of a block, and of the last one
	scratch           []float32
}

// unfoldedElements bounds the unfolded matrix.
const unfoldedElements = 1 << 20

func newConvND[T arith](c *graph.Call, x, weight, y *tensor.Tensor) (*convND[T], error) {
	w, err := readWindow(c.Node.Attrs, weight.Shape()[2:])
	if err != nil {
		return nil, err
	}
	in, out := x.Shape()[2:], y.Shape()[2:]
	before := make([]int, len(in))
	for axis := range in {
		before[axis], _ = w.pads(axis, in[axis], out[axis])
	}
	groups := c.Node.Attrs.Int("group", 1)
	k := &convND[T]{n: x.Dim(0), groups: groups, ic: weight.Dim(1), oc: weight.Dim(0) / groups}
	if x.Dim(1) != k.ic*groups || weight.Dim(0)%groups != 0 {
		return nil, fmt.Errorf("input %v does not fit weight %v", x.Shape(), weight.Shape())
	}
	if k.unfold, err = w.unfold(c, in, out, before); err != nil {
		return nil, err
	}
	depth := k.ic * k.taps
	k.block = min(k.positions, max(1, unfoldedElements/max(1, depth)))
	if k.cols, err = graph.Room[T](c, depth*k.block); err != nil {
		return nil, err
	}
	newProduct := func(n int) *product[T] {
		return (&product[T]{m: k.oc, n: n, k: depth, ldc: k.positions}).prepared(c.Pool)
	}
	k.whole, k.rest = newProduct(k.block), newProduct(k.positions%max(k.block, 1))
	k.scratch, err = graph.Room[float32](c, max(k.whole.scratchLen(), k.rest.scratchLen()))
	return k, err
}

func (k *convND[T]) run(x, weight, y []T) {
	for ng := range k.n * k.groups {
		w := weight[ng%k.groups*k.oc*k.ic*k.taps:][:k.oc*k.ic*k.taps]
		from, to := x[ng*k.ic*k.plane:][:k.ic*k.plane], y[ng*k.oc*k.positions:][:k.oc*k.positions]
		for lo := 0; lo < k.positions; lo += k.block {
			hi, p := lo+k.block, k.whole
			if hi > k.positions {
				hi, p = k.positions, k.rest
			}
			unfoldInto(k.unfold, k.cols, from, k.ic, lo, hi)
			p.run(w, k.cols, to[min(lo, len(to)):], k.scratch)
		}
	}
}

// addChannels adds bias [channels] to y [n][channels][plane].
func addChannels[T arith](y, bias []T, plane int) {
	for i := range y {
		y[i] += bias[i/plane%len(bias)]
	}
}

func kernelConvND[T float32 | float64](c *graph.Call) (func() error, error) {
	k, err := newConvND[T](c, c.In[0], c.In[1], c.Out[0])
	if err != nil {
		return nil, err
	}
	act, err := activation(c.Node)
	if err != nil {
		return nil, err
	}
	return func() error {
		y := tensor.Data[T](c.Out[0])
		k.run(tensor.Data[T](c.In[0]), tensor.Data[T](c.In[1]), y)
		if c.Has(2) {
			addChannels(y, tensor.Data[T](c.In[2]), k.positions)
		}
		var summand []T
		if c.Has(3) {
			summand = tensor.Data[T](c.In[3])
		}
		finishConv(y, summand, act)
		return nil
	}, nil
}

// kernelConvGradInputND: dx = fold(weightᵀ · dy).
func kernelConvGradInputND(c *graph.Call) (func() error, error) {
	k, err := newConvND[float32](c, c.In[2], c.In[1], c.In[0])
	if err != nil {
		return nil, err
	}
	depth := k.ic * k.taps
	back := (&product[float32]{m: depth, n: k.positions, k: k.oc, transA: true}).prepared(c.Pool)
	cols, err := graph.Room[float32](c, depth*k.positions)
	if err != nil {
		return nil, err
	}
	c.Reserve(4 * back.scratchLen())
	return func() error {
		dy, weight, dx := c.F32(0), c.F32(1), c.Out[0].F32()
		clear(dx)
		for ng := range k.n * k.groups {
			w := weight[ng%k.groups*k.oc*depth:][:k.oc*depth]
			back.run(w, dy[ng*k.oc*k.positions:][:k.oc*k.positions], cols, c.ScratchF32())
			foldFrom(k.unfold, dx[ng*k.ic*k.plane:][:k.ic*k.plane], cols, k.ic, 0, k.positions)
		}
		return nil
	}, nil
}

// kernelConvGradWeightND: dweight = Σ dy · unfold(x)ᵀ, over images in their order.
func kernelConvGradWeightND(c *graph.Call) (func() error, error) {
	k, err := newConvND[float32](c, c.In[0], c.In[2], c.In[1])
	if err != nil {
		return nil, err
	}
	depth := k.ic * k.taps
	grad := (&product[float32]{m: k.oc, n: depth, k: k.positions, transB: true}).prepared(c.Pool)
	cols, err := graph.Room[float32](c, depth*k.positions)
	if err != nil {
		return nil, err
	}
	one, err := graph.Room[float32](c, k.oc*depth)
	if err != nil {
		return nil, err
	}
	c.Reserve(4 * grad.scratchLen())
	return func() error {
		x, dy, dw := c.F32(0), c.F32(1), c.Out[0].F32()
		clear(dw)
		for ng := range k.n * k.groups {
			unfoldInto(k.unfold, cols, x[ng*k.ic*k.plane:][:k.ic*k.plane], k.ic, 0, k.positions)
			grad.run(dy[ng*k.oc*k.positions:][:k.oc*k.positions], cols, one, c.ScratchF32())
			sum := dw[ng%k.groups*k.oc*depth:][:k.oc*depth]
			for i, v := range one {
				sum[i] += v
			}
		}
		return nil
	}, nil
}
