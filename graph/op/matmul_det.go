package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/tensor"
)

// inferDet: [*, m, m] -> [*].
func inferDet(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	if err := floats(c, 0); err != nil {
		return err
	}
	s := c.In(0).Shape
	if len(s) < 2 {
		return fmt.Errorf("shape %v: a square matrix or a stack of them expected", s)
	}
	if err := c.Same(s[len(s)-1], s[len(s)-2], "sides of the matrix"); err != nil {
		return err
	}
	c.Out(0, c.In(0).DType, s[:len(s)-2])
	return nil
}

func kernelDet[T float32 | float64](c *graph.Call) (func() error, error) {
	n := c.In[0].Dim(c.In[0].Rank() - 1)
	if n != c.In[0].Dim(c.In[0].Rank()-2) {
		return nil, fmt.Errorf("the matrices of %v are not square", c.In[0].Shape())
	}
	m, err := graph.Room[float64](c, n*n)
	if err != nil {
		return nil, err
	}
	return func() error {
		x, y := tensor.Data[T](c.In[0]), tensor.Data[T](c.Out[0])
		for i := range y {
			c.Pool.Look()
			convert(m, x[i*n*n:][:n*n])
			y[i] = T(determinant(m, n))
		}
		return nil
	}, nil
}

// determinant eliminates with partial pivoting; m is overwritten.
func determinant(m []float64, n int) float64 {
	det := 1.0
	for col := range n {
		pivot := col
		for r := col + 1; r < n; r++ {
			if math.Abs(m[r*n+col]) > math.Abs(m[pivot*n+col]) {
				pivot = r
			}
		}
		if m[pivot*n+col] == 0 {
			return 0
		}
		if pivot != col {
			det = -det
			for k := range n {
				m[pivot*n+k], m[col*n+k] = m[col*n+k], m[pivot*n+k]
			}
		}
		det *= m[col*n+col]
		for r := col + 1; r < n; r++ {
			f := m[r*n+col] / m[col*n+col]
			for k := col; k < n; k++ {
				m[r*n+k] -= f * m[col*n+k]
			}
		}
	}
	return det
}
