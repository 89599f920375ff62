package ml

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// svmKernel compares a vector with others, whose features of one kind lie together.
type svmKernel struct {
	distance bool                  // it takes the squares of distances, else products
	of       func(float64) float64 // what it makes of them; nil for exp
	factor   float32               // of the square, in exp
}

func svmKernelOf(a graph.Attrs) (*svmKernel, error) {
	p := [3]float64{}
	list := attrFloats(a, "kernel_params")
	if len(list) != 0 && len(list) != 3 {
		return nil, fmt.Errorf("kernel_params has %d numbers, expected gamma, coef0 and degree", len(list))
	}
	copy(p[:], list)
	gamma, coef0, degree := p[0], p[1], p[2]
	switch name := a.String("kernel_type", "LINEAR"); name {
	case "LINEAR":
		return &svmKernel{of: func(v float64) float64 { return v }}, nil
	case "POLY":
		return &svmKernel{of: func(v float64) float64 { return math.Pow(gamma*v+coef0, degree) }}, nil
	case "RBF":
		return &svmKernel{distance: true, factor: float32(-gamma)}, nil
	case "SIGMOID":
		return &svmKernel{of: func(v float64) float64 { return math.Tanh(gamma*v + coef0) }}, nil
	default:
		return nil, fmt.Errorf("kernel_type %q is not known", name)
	}
}

// compare computes out[j] for the vectors from lo to hi of columns [feature][vector], by
// way of sums.
func (k *svmKernel) compare(p *kernel.Pool, out []float64, sums, columns, x []float32, lo, hi int) {
	y, count := sums[lo:hi], len(sums)
	clear(y)
	for i, v := range x {
		if k.distance {
			kernel.AddSquares(p, y, columns[i*count+lo:][:len(y)], v)
		} else {
			kernel.AddProducts(p, y, columns[i*count+lo:][:len(y)], v)
		}
	}
	if k.distance {
		kernel.ExpScaled(p, y, k.factor)
		copyNumbers(out[lo:hi], y)
		return
	}
	for j, v := range y {
		out[lo+j] = k.of(float64(v))
	}
}

// svm is a machine: support vectors with coefficients, or, without support
// vectors, weighted sums. Vectors are compared in float32, and their results weighed in
// float64.
type svm struct {
	in      *features
	kernel  *svmKernel
	columns []float32 // support vectors: [feature][vector]
	coef    []float64
	rho     []float64

	pool    *kernel.Pool
	x, sums []float32 // the row under way; its sums over the features, for each vector
	kernels []float64 // of the row and each vector
	body    func(lo, hi, worker int)
}

// vectorGrain is the number of support vectors that are worth another thread.
const vectorGrain = 1 << 12

// compare fills kernels with those of a row.
func (s *svm) compare(row []float64) {
	copyNumbers(s.x, row)
	s.pool.For(len(s.kernels), vectorGrain, s.body)
}

// hold makes the machine compare rows with a number of vectors.
func (s *svm) hold(p *kernel.Pool, vectors []float64, count int) {
	s.pool, s.x, s.sums, s.kernels = p, make([]float32, s.in.width), make([]float32, count), make([]float64, count)
	s.columns = make([]float32, count*s.in.width)
	for i, v := range vectors[:count*s.in.width] {
		s.columns[i%s.in.width*count+i/s.in.width] = float32(v)
	}
	s.body = func(lo, hi, _ int) { s.kernel.compare(p, s.kernels, s.sums, s.columns, s.x, lo, hi) }
}

func svmOf(c *graph.Call, count int) (*svm, error) {
	a := c.Node.Attrs
	kernel, err := svmKernelOf(a)
	if err != nil {
		return nil, err
	}
	in, err := newRows(c, c.In[0])
	if err != nil {
		return nil, err
	}
	s := &svm{in: in, kernel: kernel, coef: attrFloats(a, "coefficients"), rho: attrFloats(a, "rho")}
	all := attrFloats(a, "support_vectors")
	if count < 0 || count > len(all) || count*s.in.width != len(all) && count > 0 {
		return nil, fmt.Errorf("%d numbers for %d support vectors of %d features", len(all), count, s.in.width)
	}
	s.hold(c.Pool, all, count)
	if len(s.rho) == 0 {
		return nil, fmt.Errorf("attribute rho is missing")
	}
	return s, nil
}

func inferSVMRegressor(c *graph.Infer) error {
	rows, err := matrixRows(c)
	if err != nil {
		return err
	}
	c.Out(0, tensor.Float32, graph.Shape{rows, graph.Const(1)})
	return nil
}

func kernelSVMRegressor(c *graph.Call) (func() error, error) {
	a := c.Node.Attrs
	s, err := svmOf(c, a.Int("n_supports", 0))
	if err != nil {
		return nil, err
	}
	post, err := transformOf(a)
	if err != nil {
		return nil, err
	}
	want := len(s.kernels)
	if want == 0 {
		want = s.in.width
	}
	if len(s.coef) != want {
		return nil, fmt.Errorf("%d coefficients, expected %d", len(s.coef), want)
	}
	if len(s.kernels) == 0 { // a weighted sum is a comparison with the weights
		s.hold(c.Pool, s.coef, 1)
		s.coef = []float64{1}
	}
	oneClass := a.Int("one_class", 0) != 0
	return func() error {
		out := [1]float64{}
		for i := range s.in.rows {
			c.Pool.Look()
			s.compare(s.in.next(i))
			out[0] = s.rho[0] + dot64(s.kernels, s.coef)
			switch {
			case oneClass && out[0] > 0:
				out[0] = 1
			case oneClass:
				out[0] = -1
			default:
				post.apply(out[:])
			}
			putNumbers(c.Out[0], i, out[:])
		}
		return nil
	}, nil
}
