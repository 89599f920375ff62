package op

import (
	"fmt"
	"math"
	"slices"

	"tandem/graph"
	"tandem/graph/op/move"
	"tandem/graph/op/narrow"
	"tandem/tensor"
)

// sampleOps read images at coordinates, make such coordinates, and put patches
// together again.
func sampleOps() []graph.Op {
	return []graph.Op{
		{ID: onnx("GridSample"), Since: 16, Infer: inferGridSample, Kernel: narrow.Widened(kernelGridSample), Grad: gradGridSample},
		{ID: microsoft("GridSample"), Since: 1, Infer: inferGridSample, Kernel: narrow.Widened(kernelGridSample), Expand: expandAs("GridSample")},
		{ID: onnx("AffineGrid"), Since: 20, Infer: inferAffineGrid, Kernel: narrow.Widened(kernelAffineGrid), Grad: gradAffineGrid},
		{ID: onnx("Col2Im"), Since: 18, Infer: inferCol2Im, Kernel: narrow.Widened(kernelCol2Im), Grad: gradCol2Im},
	}
}

// gridMode is what GridSample's attributes say. Version 16 had other names.
type gridMode struct {
	mode, padding string
	align         bool
}

func gridModeOf(a graph.Attrs) (gridMode, error) {
	m := gridMode{a.String("mode", "linear"), a.String("padding_mode", "zeros"), a.Int("align_corners", 0) != 0}
	switch m.mode {
	case "bilinear":
		m.mode = "linear"
	case "bicubic":
		m.mode = "cubic"
	}
	if !slices.Contains([]string{"nearest", "linear", "cubic"}, m.mode) {
		return m, fmt.Errorf("mode %q is not known", m.mode)
	}
	if !slices.Contains([]string{"zeros", "border", "reflection"}, m.padding) {
		return m, fmt.Errorf("padding_mode %q is not known", m.padding)
	}
	return m, nil
}

func inferGridSample(c *graph.Infer) error {
	if err := c.Require(2, 2); err != nil {
		return err
	}
	if _, err := gridModeOf(c.Node.Attrs); err != nil {
		return err
	}
	x, grid := c.In(0), c.In(1)
	rank := len(x.Shape)
	if rank < 3 || rank > 6 || len(grid.Shape) != rank {
		return fmt.Errorf("a grid of shape %v does not fit data of shape %v", grid.Shape, x.Shape)
	}
	if !grid.DType.Float() || !x.DType.Numeric() {
		return fmt.Errorf("data of %v cannot be sampled at coordinates of %v", x.DType, grid.DType)
	}
	if n, ok := grid.Shape[rank-1].Value(); ok && n != rank-2 {
		return fmt.Errorf("the grid %v has coordinates of %d numbers, expected %d", grid.Shape, n, rank-2)
	}
	shape := append(graph.Shape{}, x.Shape[:2]...)
	c.Out(0, x.DType, append(shape, grid.Shape[1:rank-1]...))
	return c.Same(x.Shape[0], grid.Shape[0], "batches of data and grid")
}

func kernelGridSample(c *graph.Call) (func() error, error) {
	m, err := gridModeOf(c.Node.Attrs)
	if err != nil {
		return nil, err
	}
	x, grid, y, look := c.In[0], c.In[1], c.Out[0], lookout{pool: c.Pool}
	if d := x.DType(); d == tensor.Float32 && grid.DType() == d {
		run := sampler[float32](look, m, x.Shape(), grid.Shape())
		return func() error { run(y.F32(), x.F32(), grid.F32()); return nil }, nil
	}
	// All other types are sampled in float64; integers are truncated.
	run := sampler[float64](look, m, x.Shape(), grid.Shape())
	var wide [3]*tensor.Tensor
	for i, t := range []*tensor.Tensor{x, grid, y} {
		if wide[i], err = c.New(tensor.Float64, t.Shape()...); err != nil {
			return nil, err
		}
	}
	in, at, out := wide[0], wide[1], wide[2]
	return func() error {
		if err := tensor.Convert(in, x, false); err != nil {
			return err
		}
		if err := tensor.Convert(at, grid, false); err != nil {
			return err
		}
		run(tensor.Data[float64](out), tensor.Data[float64](in), tensor.Data[float64](at))
		return tensor.Convert(y, out, true)
	}, nil
}

// samples are the elements of an image that make one point, with their weights:
// along each dimension one, two or four, and the products over the dimensions.
type samples[T float32 | float64] struct {
	m      gridMode
	dims   []int
	stride []int
	index  [4]int
	weight [4]T
	at     []int
	of     []T
}

func sampler[T float32 | float64](look lookout, m gridMode, x, grid []int) func(y, x, grid []T) {
	rank := len(x) - 2
	s := &samples[T]{m: m, dims: x[2:], stride: move.Dense(x[2:])}
	points, image, channels := tensor.Shape(grid[1:len(grid)-1]).Len(), tensor.Shape(x[2:]).Len(), x[1]
	return func(out, in, at []T) {
		for n := range x[0] {
			for p := range points {
				look.step(channels)
				s.find(at[(n*points+p)*rank:][:rank])
				for ch := range channels {
					from, sum := in[(n*channels+ch)*image:][:image], T(0)
					for i, k := range s.at {
						sum += s.of[i] * from[k]
					}
					out[(n*channels+ch)*points+p] = sum
				}
			}
		}
	}
}

// find lists the elements for a point whose coordinates are given, the last
// dimension's first.
func (s *samples[T]) find(point []T) {
	s.at, s.of = append(s.at[:0], 0), append(s.of[:0], 1)
	for d, dim := range s.dims {
		s.multiply(d, s.along(point[len(point)-1-d], dim))
	}
}

// multiply joins what was found with the n indices and weights of dimension d.
func (s *samples[T]) multiply(d, n int) {
	have := len(s.at)
	for k := 1; k < n; k++ {
		s.at, s.of = append(s.at, s.at[:have]...), append(s.of, s.of[:have]...)
	}
	for k := range n {
		for i := k * have; i < (k+1)*have; i++ {
			s.at[i] += s.index[k] * s.stride[d]
			s.of[i] *= s.weight[k]
		}
	}
	if n == 0 {
		s.at, s.of = s.at[:0], s.of[:0]
	}
}

// along finds the indices and weights for a coordinate in [-1, 1] of a dimension.
func (s *samples[T]) along(v T, dim int) int {
	x, _ := s.position(v, dim)
	floor := T(math.Floor(float64(x)))
	first, n, ratio := int(floor), 0, float64(x-floor)
	add := func(i int, w float64) {
		if i, ok := s.inside(i, dim); ok {
			s.index[n], s.weight[n] = i, T(w)
			n++
		}
	}
	switch s.m.mode {
	case "nearest":
		add(int(x), 1)
	case "linear":
		add(first, 1-ratio)
		add(first+1, ratio)
	default:
		for i := -1; i <= 2; i++ {
			add(first+i, cubicKernel(-0.75, float64(i)-ratio))
		}
	}
	return n
}

// position is where a coordinate lies along a dimension of dim elements, and how
// much it moves there with the coordinate.
func (s *samples[T]) position(v T, dim int) (x, slope T) {
	x, slope = ((v+1)*T(dim)-1)/2, T(dim)/2
	lo, hi := T(-0.5), T(dim)-0.5
	if s.m.align {
		x, slope, lo, hi = (v+1)/2*T(dim-1), T(dim-1)/2, 0, T(dim-1)
	}
	if s.m.mode == "nearest" {
		x = T(math.RoundToEven(float64(x)))
	}
	const far = 1 << 30
	switch {
	case x != x:
		x = lo
	case x < lo || x > hi:
		x = min(max(x, -far), far)
		if s.m.padding == "border" {
			x, slope = min(max(x, 0), T(dim-1)), 0
		} else if s.m.padding == "reflection" {
			if length := float64(hi - lo); length > 0 && math.Mod(math.Abs(float64(x-lo)), 2*length) > length != (x < lo) {
				slope = -slope
			}
			x = reflect(x, lo, hi)
		}
	}
	return x, slope
}

// inside is the element that an index beside the image stands for; false if none.
func (s *samples[T]) inside(i, dim int) (int, bool) {
	switch s.m.padding {
	case "border":
		i = min(max(i, 0), dim-1)
	case "reflection":
		lo, hi := T(-0.5), T(dim)-0.5
		if s.m.align {
			lo, hi = 0, T(dim-1)
		}
		i = min(max(int(reflect(T(i), lo, hi)), 0), dim-1)
	}
	return i, i >= 0 && i < dim
}

// reflect mirrors x at the borders until it is between them.
func reflect[T float32 | float64](x, lo, hi T) T {
	length := float64(hi - lo)
	if length <= 0 {
		return lo
	}
	d := math.Mod(math.Abs(float64(x-lo)), 2*length)
	if d > length {
		d = 2*length - d
	}
	return lo + T(d)
}

func inferAffineGrid(c *graph.Infer) error {
	if err := c.Require(2, 2); err != nil {
		return err
	}
	theta := c.In(0)
	size, ok := c.Content(1)
	if !ok {
		return graph.ErrNeedsData
	}
	dims := len(size) - 2
	if dims != 2 && dims != 3 {
		return fmt.Errorf("the size %v is neither [N, C, H, W] nor [N, C, D, H, W]", graph.Shape(size))
	}
	if err := c.Rank(0, 3); err != nil {
		return err
	}
	if !theta.DType.Float() {
		return fmt.Errorf("theta is %v, expected a floating-point type", theta.DType)
	}
	for i, want := range []graph.Dim{size[0], graph.Const(dims), graph.Const(dims + 1)} {
		if err := c.Same(theta.Shape[i], want, fmt.Sprintf("dimension %d of theta", i)); err != nil {
			return err
		}
	}
	shape := append(graph.Shape{size[0]}, size[2:]...)
	c.Out(0, theta.DType, append(shape, graph.Const(dims)))
	return nil
}

func kernelAffineGrid(c *graph.Call) (func() error, error) {
	align := c.Node.Attrs.Int("align_corners", 0) != 0
	switch c.In[0].DType() {
	case tensor.Float32:
		return affineGrid[float32](c, align), nil
	case tensor.Float64:
		return affineGrid[float64](c, align), nil
	}
	return nil, fmt.Errorf("theta is %v, expected a floating-point type", c.In[0].DType())
}

// affineGrid: each point is theta·(x, y, 1) or theta·(x, y, z, 1), coordinates
// from -1 to 1 over the image.
func affineGrid[T float32 | float64](c *graph.Call, align bool) func() error {
	shape := c.Out[0].Shape()
	dims := shape[1 : len(shape)-1]
	rank := len(dims)
	point, index := make([]float64, rank+1), make([]int, rank)
	point[rank] = 1
	return func() error {
		theta, y := tensor.Data[T](c.In[0]), tensor.Data[T](c.Out[0])
		for n, at := 0, 0; at < len(y); n++ {
			clear(index)
			for range dims.Len() {
				for d, i := range index {
					point[rank-1-d] = gridCoordinate(i, dims[d], align)
				}
				for r := range rank {
					sum := 0.0
					for k, v := range point {
						sum += float64(theta[(n*rank+r)*(rank+1)+k]) * v
					}
					y[at] = T(sum)
					at++
				}
				next(index, dims)
			}
		}
		return nil
	}
}

func gridCoordinate(i, n int, align bool) float64 {
	switch {
	case !align:
		return (2*float64(i)+1)/float64(n) - 1
	case n == 1:
		return 0
	}
	return 2*float64(i)/float64(n-1) - 1
}

// next steps an index through a shape in row-major order.
func next(index, shape []int) {
	for d := len(index) - 1; d >= 0; d-- {
		if index[d]++; index[d] < shape[d] {
			return
		}
		index[d] = 0
	}
}
