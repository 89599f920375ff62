package ml

import (
	"fmt"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// outputOf is output i, or nil.
func outputOf(c *graph.Call, i int) *tensor.Tensor {
	if i < len(c.Out) {
		return c.Out[i]
	}
	return nil
}

// linear is a set of weighted sums of the features.
type linear struct {
	in *features
	linearWeights
}

type linearWeights struct {
	weights   []float64 // [sums, features]
	intercept []float64 // of each sum
	finite    bool      // all weights are
}

// linearOf reads n sums; none of their intercepts may be left out alone.
func linearOf(c *graph.Call, n int) (*linear, error) {
	w, err := graph.Derive(c, func(a graph.Attrs) (linearWeights, error) {
		w := linearWeights{weights: attrFloats(a, "coefficients"), intercept: attrFloats(a, "intercepts")}
		w.finite = !slices.ContainsFunc(w.weights, func(v float64) bool { return v-v != 0 })
		return w, nil
	})
	if err != nil {
		return nil, err
	}
	in, err := newRows(c, c.In[0])
	if err != nil {
		return nil, err
	}
	m := &linear{in: in, linearWeights: w}
	if len(m.intercept) == 0 {
		m.intercept = make([]float64, n)
	}
	if len(m.intercept) != n || len(m.weights) != n*m.in.width {
		return nil, fmt.Errorf("%d coefficients and %d intercepts for %d sums of %d features", len(m.weights), len(m.intercept), n, m.in.width)
	}
	return m, nil
}

// row computes the sums of a row. One of counts, mostly zeros, is summed over the others
// alone: which way a row goes depends on the row.
func (m *linear) row(i int, sums []float64) {
	x := m.in.next(i)
	at := m.in.some()
	few := m.finite && len(at)*4 < len(x)
	for j := range sums {
		w := m.weights[j*m.in.width:][:m.in.width]
		if !few {
			sums[j] = dot64(x, w) + m.intercept[j]
			continue
		}
		total := 0.0
		for _, k := range at {
			total += x[k] * w[k]
		}
		sums[j] = total + m.intercept[j]
	}
}

// dot64 adds in four chains, whose additions the processor overlaps.
func dot64(a, b []float64) float64 {
	var s0, s1, s2, s3 float64
	b = b[:len(a)]
	for len(a) >= 4 {
		s0 += a[0] * b[0]
		s1 += a[1] * b[1]
		s2 += a[2] * b[2]
		s3 += a[3] * b[3]
		a, b = a[4:], b[4:]
	}
	for i, v := range a {
		s0 += v * b[i]
	}
	return (s0 + s1) + (s2 + s3)
}

func inferLinearRegressor(c *graph.Infer) error {
	rows, err := matrixRows(c)
	if err != nil {
		return err
	}
	n := c.Node.Attrs.Int("targets", 1)
	if n < 1 || n > maxTargets {
		return fmt.Errorf("targets is %d, outside [1, %d]", n, maxTargets)
	}
	c.Out(0, tensor.Float32, graph.Shape{rows, graph.Const(n)})
	return nil
}

func kernelLinearRegressor(c *graph.Call) (func() error, error) {
	n := c.Out[0].Dim(1)
	m, err := linearOf(c, n)
	if err != nil {
		return nil, err
	}
	post, err := transformOf(c.Node.Attrs)
	if err != nil {
		return nil, err
	}
	sums := make([]float64, n)
	return func() error {
		for i := range m.in.rows {
			m.row(i, sums)
			post.apply(sums)
			putNumbers(c.Out[0], i*n, sums)
		}
		return nil
	}, nil
}

// linearSums is how many sums a LinearClassifier has.
func linearSums(a graph.Attrs, l labels) int {
	if n := len(attrFloats(a, "intercepts")); n > 0 {
		return n
	}
	return l.len()
}

func inferLinearClassifier(c *graph.Infer) error {
	rows, err := matrixRows(c)
	if err != nil {
		return err
	}
	l, err := labelsOf(c.Node.Attrs, "classlabels_ints")
	if err != nil {
		return err
	}
	n := linearSums(c.Node.Attrs, l)
	if n > l.len() || n > 1 && n != l.len() {
		return fmt.Errorf("%d sums for %d classes", n, l.len())
	}
	if l.len() == 2 {
		n = 2
	}
	setClasses(c, rows, l, graph.Const(n))
	return nil
}

func kernelLinearClassifier(c *graph.Call) (func() error, error) {
	a := c.Node.Attrs
	k, err := classifierOf(a, "classlabels_ints")
	if err != nil {
		return nil, err
	}
	n, name := linearSums(a, k.labels), a.String("post_transform", "NONE")
	m, err := linearOf(c, n)
	if err != nil {
		return nil, err
	}
	k.positive = true
	sums := make([]float64, n)
	return func() error {
		for i := range m.in.rows {
			m.row(i, sums)
			label, scores := argmax(sums), sums
			switch {
			case n == 1 && k.labels.len() == 2:
				label = 0
				if sums[0] > 0 {
					label = 1
				}
				pair := k.two(name, sums[0])
				scores = pair[:]
			case n == 1:
				label = -1
				if sums[0] > 0 {
					label = 0
				}
				k.post.apply(scores)
			default:
				k.post.apply(scores)
			}
			if label >= 0 {
				k.labels.put(outputOf(c, 0), i, label)
			} else {
				k.labels.putOther(outputOf(c, 0), i, 0)
			}
			if z := outputOf(c, 1); z != nil {
				putNumbers(z, i*len(scores), scores)
			}
		}
		return nil
	}, nil
}
