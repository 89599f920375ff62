package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/tensor"
)

// inferDet: [*, m, m] -> [*].
func inferDet(c *graph.Infer) error {
	if err := checkSquare(c); err != nil {
		return err
	}
	s := c.In(0).Shape
	c.Out(0, c.In(0).DType, s[:len(s)-2])
	return nil
}

// checkSquare: the one input is a square matrix of floats, or a stack of them.
func checkSquare(c *graph.Infer) error {
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
	return c.Same(s[len(s)-1], s[len(s)-2], "sides of the matrix")
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

// pivotOf is the row, from the diagonal on, with the greatest element of a column.
func pivotOf(m []float64, n, col int) int {
	pivot := col
	for r := col + 1; r < n; r++ {
		if math.Abs(m[r*n+col]) > math.Abs(m[pivot*n+col]) {
			pivot = r
		}
	}
	return pivot
}

// determinant eliminates with partial pivoting; m is overwritten.
func determinant(m []float64, n int) float64 {
	det := 1.0
	for col := range n {
		pivot := pivotOf(m, n, col)
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

func gradDet(g *graph.Gradient) error {
	g.Set(0, g.Private("DetGrad", nil, g.In(0), g.Out(0)))
	return nil
}

// kernelDetGrad: a determinant grows with an element by its cofactor.
func kernelDetGrad(c *graph.Call) (func() error, error) {
	n := c.In[0].Dim(c.In[0].Rank() - 1)
	m, cofactors := make([]float64, n*n), make([]float64, n*n)
	return func() error {
		x, d, dx := c.F32(0), c.F32(1), c.Out[0].F32()
		for i, v := range d {
			convert(m, x[i*n*n:][:n*n])
			cofactorsOf(cofactors, m, n)
			for k, f := range cofactors {
				dx[i*n*n+k] = float32(float64(v) * f)
			}
		}
		return nil
	}, nil
}

// cofactorsOf writes the determinants of what is left of m without a row and a column,
// with their signs. Of a matrix with an inverse they are its transpose times the
// determinant.
func cofactorsOf(to, m []float64, n int) {
	inverse := make([]float64, n*n)
	if det := invert(inverse, append([]float64(nil), m...), n); det != 0 {
		for i := range n {
			for j := range n {
				to[i*n+j] = det * inverse[j*n+i]
			}
		}
		return
	}
	minor := make([]float64, 0, n*n)
	for i := range n {
		for j := range n {
			minor = minor[:0]
			for r := range n {
				for c := range n {
					if r != i && c != j {
						minor = append(minor, m[r*n+c])
					}
				}
			}
			if to[i*n+j] = determinant(minor, n-1); (i+j)%2 == 1 {
				to[i*n+j] = -to[i*n+j]
			}
		}
	}
}

// invert writes m's inverse by elimination with partial pivoting, and returns the
// determinant; 0 where there is no inverse. m is overwritten.
func invert(to, m []float64, n int) float64 {
	for i := range n {
		to[i*n+i] = 1
	}
	det := 1.0
	for col := range n {
		pivot := pivotOf(m, n, col)
		if m[pivot*n+col] == 0 {
			return 0
		}
		if pivot != col {
			det = -det
			for k := range n {
				m[pivot*n+k], m[col*n+k] = m[col*n+k], m[pivot*n+k]
				to[pivot*n+k], to[col*n+k] = to[col*n+k], to[pivot*n+k]
			}
		}
		det *= m[col*n+col]
		f := 1 / m[col*n+col]
		for k := range n {
			m[col*n+k] *= f
			to[col*n+k] *= f
		}
		for r := range n {
			if f := m[r*n+col]; r != col && f != 0 {
				for k := range n {
					m[r*n+k] -= f * m[col*n+k]
					to[r*n+k] -= f * to[col*n+k]
				}
			}
		}
	}
	return det
}
