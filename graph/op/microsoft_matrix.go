package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/tensor"
)

// microsoftMatrixOps: the inverses of a stack of matrices, and the distances of every row
// of one matrix from every row of another.
func microsoftMatrixOps() []graph.Op {
	return []graph.Op{
		{ID: microsoft("Inverse"), Since: 1, Infer: inferInverse, Kernel: floating(kernelInverse[float32], kernelInverse[float64]), Grad: gradInverse, Work: workInverse},
		{ID: microsoft("CDist"), Since: 1, Infer: inferDistances, Kernel: floating(kernelDistances[float32], kernelDistances[float64]), Expand: expandDistances, Work: workDistances},
	}
}

func inferInverse(c *graph.Infer) error {
	if err := checkSquare(c); err != nil {
		return err
	}
	c.Out(0, c.In(0).DType, c.In(0).Shape)
	return nil
}

func kernelInverse[T wide](c *graph.Call) (func() error, error) {
	n := c.In[0].Dim(c.In[0].Rank() - 1)
	m, err := graph.Room[float64](c, 2*n*n)
	if err != nil {
		return nil, err
	}
	m, inverse := m[:n*n], m[n*n:]
	return func() error {
		x, y := tensor.Data[T](c.In[0]), tensor.Data[T](c.Out[0])
		for at := 0; at < len(x); at += n * n {
			c.Pool.Look()
			convert(m, x[at:][:n*n])
			clear(inverse)
			if invert(inverse, m, n) == 0 {
				return fmt.Errorf("matrix %d of %d has no inverse", at/(n*n), len(x)/(n*n))
			}
			for i, v := range inverse {
				y[at+i] = T(v)
			}
		}
		return nil
	}, nil
}

func workInverse(_ *graph.Node, in, _ []tensor.Shape) float64 {
	return 2 * float64(in[0].Len()) * float64(in[0][len(in[0])-1])
}

// gradInverse: with y the inverse, dx = -yᵀ·dy·yᵀ.
func gradInverse(g *graph.Gradient) error {
	y := g.Node.Outputs[0]
	times := func(a, b *graph.Value, alpha float32, ta, tb int64) *graph.Value {
		return g.Builder.Node(microsoft("FusedMatMul"), 1, graph.Attrs{"alpha": alpha, "transA": ta, "transB": tb}, a, b)[0]
	}
	g.Set(0, times(times(y, g.Out(0), -1, 1, 0), y, 1, 0, 1))
	return nil
}

// distanceRoot tells whether the metric takes the root of the sum of squares.
func distanceRoot(n *graph.Node) (bool, error) {
	switch metric := n.Attrs.String("metric", "sqeuclidean"); metric {
	case "sqeuclidean":
		return false, nil
	case "euclidean":
		return true, nil
	default:
		return false, fmt.Errorf("metric %q is not supported: sqeuclidean and euclidean are", metric)
	}
}

func inferDistances(c *graph.Infer) error {
	if err := c.Require(2, 2); err != nil {
		return err
	}
	if _, err := distanceRoot(c.Node); err != nil {
		return err
	}
	if err := floats(c, 0, 1); err != nil {
		return err
	}
	for i := range 2 {
		if err := c.Rank(i, 2); err != nil {
			return err
		}
	}
	a, b := c.In(0).Shape, c.In(1).Shape
	if err := c.Same(a[1], b[1], "columns of the two matrices"); err != nil {
		return err
	}
	c.Out(0, c.In(0).DType, graph.Shape{a[0], b[0]})
	return nil
}

func kernelDistances[T wide](c *graph.Call) (func() error, error) {
	root, err := distanceRoot(c.Node)
	if err != nil {
		return nil, err
	}
	rows, cols, width := c.In[0].Dim(0), c.In[1].Dim(0), c.In[0].Dim(1)
	some := func(lo, hi, _ int) {
		a, b, y := tensor.Data[T](c.In[0]), tensor.Data[T](c.In[1]), tensor.Data[T](c.Out[0])
		for i := lo; i < hi; i++ {
			from, to := a[i/cols*width:][:width], b[i%cols*width:][:width]
			sum := 0.0
			for k, v := range from {
				d := float64(v) - float64(to[k])
				sum += d * d
			}
			if root {
				sum = math.Sqrt(sum)
			}
			y[i] = T(sum)
		}
	}
	return func() error {
		c.Pool.For(rows*cols, 1+(1<<13)/max(1, width), some)
		return nil
	}, nil
}

func workDistances(_ *graph.Node, in, out []tensor.Shape) float64 {
	return 3 * float64(out[0].Len()) * float64(in[0][1])
}

// expandDistances writes out the difference of each pair of rows.
func expandDistances(e *graph.Expansion) ([]*graph.Value, error) {
	root, err := distanceRoot(e.Node)
	if err != nil {
		return nil, err
	}
	a := e.Op("Unsqueeze", nil, e.In(0), e.Ints("axes", 1))
	b := e.Op("Unsqueeze", nil, e.In(1), e.Ints("axes", 0))
	d := e.Op("Sub", nil, a, b)
	sum := e.Op("ReduceSum", graph.Attrs{"keepdims": int64(0)}, e.Op("Mul", nil, d, d), e.Ints("axes", 2))
	if root {
		sum = e.Op("Sqrt", nil, sum)
	}
	return []*graph.Value{sum}, nil
}
