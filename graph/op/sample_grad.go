package op

import (
	"math"

	"tandem/graph"
	"tandem/graph/op/move"
	"tandem/tensor"
)

// sampleGradOps serve the gradients of sampling.
func sampleGradOps() []graph.Op {
	return []graph.Op{
		// (dy, x, grid) -> dx, dgrid
		{ID: private("GridSampleGrad"), Infer: inferGridSampleGrad, Kernel: kernelGridSampleGrad},
		// (dgrid, theta) -> dtheta
		{ID: private("AffineGridGrad"), Infer: sameAs(1, 2, 2), Kernel: kernelAffineGridGrad},
		// (dy, block, patches) -> dpatches; patches give the shape alone
		{ID: private("Col2ImGrad"), Infer: sameAs(2, 3, 3), Kernel: kernelCol2ImGrad},
	}
}

func gradGridSample(g *graph.Gradient) error {
	g.SetNeeded(g.Builder.Node(private("GridSampleGrad"), 2, g.Node.Attrs, g.Out(0), g.In(0), g.In(1))...)
	return nil
}

func inferGridSampleGrad(c *graph.Infer) error {
	c.Out(0, tensor.Float32, c.In(1).Shape)
	c.Out(1, tensor.Float32, c.In(2).Shape)
	return c.Floats(0, 1, 2)
}

// kernelGridSampleGrad: an element of the result moves those that it is made of by
// their weights, and its coordinates by the weights' slopes.
func kernelGridSampleGrad(c *graph.Call) (func() error, error) {
	m, err := gridModeOf(c.Node.Attrs)
	if err != nil {
		return nil, err
	}
	x, grid := c.In[1].Shape(), c.In[2].Shape()
	rank := len(x) - 2
	s := &samples[float32]{m: m, dims: x[2:], stride: move.Dense(x[2:])}
	points, image, channels := grid[1:len(grid)-1].Len(), x[2:].Len(), x[1]
	return func() error {
		dy, in, at := c.F32(0), c.F32(1), c.F32(2)
		dx, dgrid := c.Out[0].F32(), c.Out[1].F32()
		clear(dx)
		clear(dgrid)
		for n := range x[0] {
			for p := range points {
				point := at[(n*points+p)*rank:][:rank]
				s.find(point)
				for ch := range channels {
					d, to := dy[(n*channels+ch)*points+p], dx[(n*channels+ch)*image:][:image]
					for i, k := range s.at {
						to[k] += s.of[i] * d
					}
				}
				for d := range rank {
					s.findSlope(point, d)
					sum := float32(0)
					for ch := range channels {
						from, v := in[(n*channels+ch)*image:][:image], float32(0)
						for i, k := range s.at {
							v += s.of[i] * from[k]
						}
						sum += v * dy[(n*channels+ch)*points+p]
					}
					dgrid[(n*points+p)*rank+rank-1-d] = sum
				}
			}
		}
		return nil
	}, nil
}

// findSlope is find with the derivatives of the weights by the coordinate of
// dimension slope.
func (s *samples[T]) findSlope(point []T, slope int) {
	s.at, s.of = append(s.at[:0], 0), append(s.of[:0], 1)
	for d, dim := range s.dims {
		v := point[len(point)-1-d]
		n := s.along(v, dim)
		if d == slope {
			s.slopes(v, dim, n)
		}
		s.multiply(d, n)
	}
}

// slopes replaces the weights along a dimension by their derivatives.
func (s *samples[T]) slopes(v T, dim, n int) {
	x, factor := s.position(v, dim)
	floor := T(math.Floor(float64(x)))
	ratio := float64(x - floor)
	k := 0
	set := func(i int, w float64) {
		if i, ok := s.inside(i, dim); ok && k < n {
			s.index[k], s.weight[k] = i, T(w)*factor
			k++
		}
	}
	first := int(floor)
	switch s.m.mode {
	case "nearest":
		set(int(x), 0)
	case "linear":
		set(first, -1)
		set(first+1, 1)
	default:
		for i := -1; i <= 2; i++ {
			set(first+i, -cubicSlope(-0.75, float64(i)-ratio))
		}
	}
}

// cubicSlope is the derivative of cubicKernel.
func cubicSlope(a, x float64) float64 {
	sign := 1.0
	if x < 0 {
		sign = -1
	}
	x = math.Abs(x)
	switch {
	case x <= 1:
		return sign * (3*(a+2)*x - 2*(a+3)) * x
	case x < 2:
		return sign * ((3*a*x-10*a)*x + 8*a)
	}
	return 0
}

func gradAffineGrid(g *graph.Gradient) error {
	g.Set(0, g.Private("AffineGridGrad", g.Node.Attrs, g.Out(0), g.In(0)))
	return nil
}

func kernelAffineGridGrad(c *graph.Call) (func() error, error) {
	align := c.Node.Attrs.Int("align_corners", 0) != 0
	shape := c.In[0].Shape()
	dims := shape[1 : len(shape)-1]
	rank := len(dims)
	point, index, sums := make([]float64, rank+1), make([]int, rank), make([]float64, rank*(rank+1))
	point[rank] = 1
	return func() error {
		dy, to := c.F32(0), c.Out[0].F32()
		for n := range shape[0] {
			clear(index)
			clear(sums)
			for range dims.Len() {
				for d, i := range index {
					point[rank-1-d] = gridCoordinate(i, dims[d], align)
				}
				for r := range rank {
					for k, v := range point {
						sums[r*(rank+1)+k] += float64(dy[r]) * v
					}
				}
				dy = dy[rank:]
				next(index, dims)
			}
			for i, v := range sums {
				to[n*len(sums)+i] = float32(v)
			}
		}
		return nil
	}, nil
}

func gradCol2Im(g *graph.Gradient) error {
	g.Set(0, g.Private("Col2ImGrad", g.Node.Attrs, g.Out(0), g.In(2), g.In(0)))
	return nil
}

// kernelCol2ImGrad reads every element of the patches where it was added.
func kernelCol2ImGrad(c *graph.Call) (func() error, error) {
	image := c.In[0].Shape()[2:]
	p, err := patchesOf(c.Node.Attrs, len(image))
	if err != nil {
		return nil, err
	}
	return func() error {
		dy, to := c.F32(0), c.Out[0].F32()
		clear(to)
		return p.each(c.In[0].Shape(), c.In[1], len(to), func(at, from int) { to[at] = dy[from] })
	}, nil
}
