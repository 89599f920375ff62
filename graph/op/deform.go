package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/tensor"
)

// deformOps: a convolution whose window reads at positions that are computed.
func deformOps() []graph.Op {
	return []graph.Op{
		{ID: onnx("DeformConv"), Since: 19, Infer: inferDeformConv, Kernel: floating(kernelDeformConv[float32], kernelDeformConv[float64]), Expand: expandDeformConv},
	}
}

// inferDeformConv: (x [n,c,h,w], weight [oc,c/group,kh,kw], offset
// [n,2·groups·kh·kw,oh,ow], bias, mask [n,groups·kh·kw,oh,ow]).
func inferDeformConv(c *graph.Infer) error {
	if err := c.Require(3, 5); err != nil {
		return err
	}
	if err := floats(c, 0, 1, 2, 3, 4); err != nil {
		return err
	}
	if err := c.Rank(0, 4); err != nil {
		return err
	}
	out, err := convShape(c, 0, 1, 3)
	if err != nil {
		return err
	}
	groups := c.Node.Attrs.Int("offset_group", 1)
	if n, ok := c.In(0).Shape[1].Value(); groups < 1 || ok && n%groups != 0 {
		return fmt.Errorf("offset_group %d does not divide %v channels", groups, c.In(0).Shape[1])
	}
	taps := c.In(1).Shape[2:].Len().Mul(graph.Const(groups))
	check := func(i int, channels graph.Dim) error {
		if err := c.Rank(i, 4); err != nil {
			return err
		}
		want := graph.Shape{out[0], channels, out[2], out[3]}
		for axis, want := range want {
			if err := c.Same(c.In(i).Shape[axis], want, fmt.Sprintf("dimension %d of input %d", axis, i)); err != nil {
				return err
			}
		}
		return nil
	}
	if err := check(2, taps.Mul(graph.Const(2))); err != nil {
		return err
	}
	if c.Has(4) {
		if err := check(4, taps); err != nil {
			return err
		}
	}
	c.Out(0, c.In(0).DType, out)
	return nil
}

// deform gathers the unfolded image of one image from between its elements.
type deform[T float32 | float64] struct {
	window
	c, h, w, oh, ow       int
	groups                int // of offsets
	x, offset, mask, cols []T
}

func kernelDeformConv[T float32 | float64](c *graph.Call) (func() error, error) {
	x, weight, y := c.In[0], c.In[1], c.Out[0]
	w, err := readWindow(c.Node.Attrs, weight.Shape()[2:])
	if err != nil {
		return nil, err
	}
	d := &deform[T]{
		window: w, c: x.Dim(1), h: x.Dim(2), w: x.Dim(3), oh: y.Dim(2), ow: y.Dim(3),
		groups: c.Node.Attrs.Int("offset_group", 1),
	}
	groups, taps, positions := c.Node.Attrs.Int("group", 1), w.kernel[0]*w.kernel[1], d.oh*d.ow
	oc, depth := weight.Dim(0)/groups, weight.Dim(1)*taps
	p := (&product[T]{m: oc, n: positions, k: depth}).prepared(c.Pool)
	if d.cols, err = graph.Room[T](c, d.c*taps*positions); err != nil {
		return nil, err
	}
	c.Reserve(4 * p.scratchLen())
	return func() error {
		xs, ws, ys, offset := tensor.Data[T](x), tensor.Data[T](weight), tensor.Data[T](y), tensor.Data[T](c.In[2])
		for n := range x.Dim(0) {
			d.x = xs[n*d.c*d.h*d.w:][:d.c*d.h*d.w]
			d.offset = offset[n*2*d.groups*taps*positions:]
			if c.Has(4) {
				d.mask = tensor.Data[T](c.In[4])[n*d.groups*taps*positions:]
			}
			c.Pool.Look()
			d.gather()
			for g := range groups {
				to := ys[(n*groups+g)*oc*positions:][:oc*positions]
				p.run(ws[g*oc*depth:][:oc*depth], d.cols[g*depth*positions:][:depth*positions], to, c.ScratchF32())
			}
		}
		if c.Has(3) {
			addChannels(ys, tensor.Data[T](c.In[3]), positions)
		}
		return nil
	}, nil
}

func (d *deform[T]) gather() {
	taps, positions := d.kernel[0]*d.kernel[1], d.oh*d.ow
	top, _ := d.pads(0, d.h, d.oh)
	left, _ := d.pads(1, d.w, d.ow)
	for ch := range d.c {
		plane, group := d.x[ch*d.h*d.w:][:d.h*d.w], ch/(d.c/d.groups)
		for tap := range taps {
			at := (group*taps + tap) * positions
			to := d.cols[(ch*taps+tap)*positions:][:positions]
			dy, dx := d.offset[2*at:][:positions], d.offset[2*at+positions:][:positions]
			for o := range to {
				row := float64(o/d.ow*d.stride[0]-top+tap/d.kernel[1]*d.dilation[0]) + float64(dy[o])
				col := float64(o%d.ow*d.stride[1]-left+tap%d.kernel[1]*d.dilation[1]) + float64(dx[o])
				v := between(plane, d.h, d.w, row, col)
				if d.mask != nil {
					v *= float64(d.mask[at+o])
				}
				to[o] = T(v)
			}
		}
	}
}

// between interpolates linearly; outside of the plane everything is 0.
func between[T float32 | float64](plane []T, h, w int, row, col float64) float64 {
	if !(row > -1 && row < float64(h) && col > -1 && col < float64(w)) {
		return 0
	}
	r, c := int(math.Floor(row)), int(math.Floor(col))
	fr, fc := row-float64(r), col-float64(c)
	at := func(i, j int) float64 {
		if i < 0 || i >= h || j < 0 || j >= w {
			return 0
		}
		return float64(plane[i*w+j])
	}
	return (1-fr)*((1-fc)*at(r, c)+fc*at(r, c+1)) + fr*((1-fc)*at(r+1, c)+fc*at(r+1, c+1))
}

// expandDeformConv reads at the offsets by GridSample, all taps of a group of channels in
// one image of their own, and multiplies what was read with the weights.
func expandDeformConv(e *graph.Expansion) ([]*graph.Value, error) {
	x, ok1 := e.In(0).Type.Shape[1:].Static()
	weight, ok2 := e.In(1).Type.Shape.Static()
	out, ok3 := e.Node.Outputs[0].Type.Shape[1:].Static()
	if !ok1 || !ok2 || !ok3 {
		return nil, fmt.Errorf("sizes that are not known before it runs")
	}
	w, err := readWindow(e.Node.Attrs, weight[2:])
	if err != nil {
		return nil, err
	}
	a := e.Node.Attrs
	d := deformGrid{e, w, tensor.Shape{x[1], x[2]}, tensor.Shape{out[1], out[2]}}
	groups, sets := int64(a.Int("group", 1)), int64(a.Int("offset_group", 1))
	taps, positions := int64(weight[2]*weight[3]), int64(out[1]*out[2])
	reshape := func(v *graph.Value, shape ...int64) *graph.Value {
		return e.Op("Reshape", nil, v, e.Ints("shape", shape...))
	}
	offsets := reshape(e.In(2), -1, taps, 2, int64(out[1]), int64(out[2]))
	rows, columns := d.coordinate(offsets, 0), d.coordinate(offsets, 1)
	column := e.Ints("points", -1, taps*int64(out[1]), int64(out[2]), 1)
	grid := e.Op("Concat", graph.Attrs{"axis": int64(3)}, e.Op("Reshape", nil, columns, column), e.Op("Reshape", nil, rows, column))
	images := reshape(e.In(0), -1, int64(x[0])/sets, int64(x[1]), int64(x[2]))
	read := e.Op("GridSample", graph.Attrs{"mode": "linear"}, images, grid)
	if m := e.In(4); m != nil {
		read = e.Op("Mul", nil, read, reshape(m, -1, 1, taps*int64(out[1]), int64(out[2])))
	}
	depth := int64(weight[1]) * taps
	read = reshape(read, -1, groups, depth, positions)
	y := e.Op("MatMul", nil, reshape(e.In(1), groups, int64(weight[0])/groups, depth), read)
	y = reshape(y, -1, int64(out[0]), int64(out[1]), int64(out[2]))
	if b := e.In(3); b != nil {
		y = e.Op("Add", nil, y, reshape(b, -1, 1, 1))
	}
	return []*graph.Value{y}, nil
}

// deformGrid is where DeformConv reads, as GridSample counts.
type deformGrid struct {
	*graph.Expansion
	window
	in, out tensor.Shape // height and width
}

// coordinate is (2·(base + offset) + 1)/size - 1 along an axis, [n, taps, height, width].
func (d deformGrid) coordinate(offsets *graph.Value, axis int) *graph.Value {
	taps := d.kernel[0] * d.kernel[1]
	base, size := tensor.New(tensor.Float32, taps, d.out[0], d.out[1]), d.in[axis]
	before, _ := d.pads(axis, size, d.out[axis])
	for i := range base.F32() {
		tap, at := i/d.out.Len(), i%d.out.Len()
		k, o := tap/d.kernel[1], at/d.out[1]
		if axis == 1 {
			k, o = tap%d.kernel[1], at%d.out[1]
		}
		base.F32()[i] = float32(2*(o*d.stride[axis]-before+k*d.dilation[axis])+1)/float32(size) - 1
	}
	offset := d.Op("Gather", graph.Attrs{"axis": int64(2)}, offsets, d.Const("axis", tensor.Scalar(int64(axis))))
	return d.Op("Add", nil, d.Op("Mul", nil, offset, d.Scalar("scale", 2/float32(size))), d.Const("base", base))
}
