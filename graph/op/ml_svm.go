package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/tensor"
)

// svmKernel compares two vectors.
type svmKernel func(a, b []float64) float64

func svmKernelOf(a graph.Attrs) (svmKernel, error) {
	p := [3]float64{}
	list := attrFloats(a, "kernel_params")
	if len(list) != 0 && len(list) != 3 {
		return nil, fmt.Errorf("kernel_params has %d numbers, expected gamma, coef0 and degree", len(list))
	}
	copy(p[:], list)
	gamma, coef0, degree := p[0], p[1], p[2]
	switch name := a.String("kernel_type", "LINEAR"); name {
	case "LINEAR":
		return dot64, nil
	case "POLY":
		return func(a, b []float64) float64 { return math.Pow(gamma*dot64(a, b)+coef0, degree) }, nil
	case "RBF":
		return func(a, b []float64) float64 {
			return math.Exp(-gamma * distance64(a, b))
		}, nil
	case "SIGMOID":
		return func(a, b []float64) float64 { return math.Tanh(gamma*dot64(a, b) + coef0) }, nil
	default:
		return nil, fmt.Errorf("kernel_type %q is not known", name)
	}
}

// distance64 is the square of the distance of two points, added like dot64.
func distance64(a, b []float64) float64 {
	var s0, s1, s2, s3 float64
	b = b[:len(a)]
	for len(a) >= 4 {
		d0, d1, d2, d3 := a[0]-b[0], a[1]-b[1], a[2]-b[2], a[3]-b[3]
		s0 += d0 * d0
		s1 += d1 * d1
		s2 += d2 * d2
		s3 += d3 * d3
		a, b = a[4:], b[4:]
	}
	for i, v := range a {
		s0 += (v - b[i]) * (v - b[i])
	}
	return (s0 + s1) + (s2 + s3)
}

// svm is a machine: support vectors with coefficients, or, without support
// vectors, weighted sums.
type svm struct {
	in      *features
	kernel  svmKernel
	vectors [][]float64
	coef    []float64
	rho     []float64
}

func svmOf(c *graph.Call, count int) (*svm, error) {
	a := c.Node.Attrs
	kernel, err := svmKernelOf(a)
	if err != nil {
		return nil, err
	}
	in, err := newFeatures(c, c.In[0])
	if err != nil {
		return nil, err
	}
	s := &svm{in: in, kernel: kernel, coef: attrFloats(a, "coefficients"), rho: attrFloats(a, "rho")}
	all := attrFloats(a, "support_vectors")
	if count < 0 || count > len(all) || count*s.in.width != len(all) && count > 0 {
		return nil, fmt.Errorf("%d numbers for %d support vectors of %d features", len(all), count, s.in.width)
	}
	for i := range count {
		s.vectors = append(s.vectors, all[i*s.in.width:][:s.in.width])
	}
	if len(s.rho) == 0 {
		return nil, fmt.Errorf("attribute rho is missing")
	}
	return s, nil
}

func inferSVMRegressor(c *graph.Infer) error {
	rows, _, err := mlRows(c, 0)
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
	want := len(s.vectors)
	if want == 0 {
		want = s.in.width
	}
	if len(s.coef) != want {
		return nil, fmt.Errorf("%d coefficients, expected %d", len(s.coef), want)
	}
	oneClass := a.Int("one_class", 0) != 0
	return func() error {
		s.in.read()
		out := [1]float64{}
		for i := range s.in.rows {
			c.Pool.Look()
			out[0] = s.rho[0]
			for j, v := range s.vectors {
				out[0] += s.coef[j] * s.kernel(s.in.row(i), v)
			}
			if len(s.vectors) == 0 {
				out[0] += s.kernel(s.in.row(i), s.coef)
			}
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
