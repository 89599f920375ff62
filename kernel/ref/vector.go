package ref

import "math"

// Element-wise kernels. y may be the same slice as an operand.

// Add computes y = a + b.
func Add(y, a, b []float32) {
	for i := range y {
		y[i] = a[i] + b[i]
	}
}

// Sub computes y = a - b.
func Sub(y, a, b []float32) {
	for i := range y {
		y[i] = a[i] - b[i]
	}
}

// Mul computes y = a · b.
func Mul(y, a, b []float32) {
	for i := range y {
		y[i] = a[i] * b[i]
	}
}

// Div computes y = a / b.
func Div(y, a, b []float32) {
	for i := range y {
		y[i] = a[i] / b[i]
	}
}

// PReLU computes y = a, or a·b where a < 0.
func PReLU(y, a, b []float32) {
	for i, v := range a[:len(y)] {
		if v < 0 {
			v *= b[i]
		}
		y[i] = v
	}
}

// AtLeast computes y = x, or s where x is less.
func AtLeast(y, x []float32, s float32) {
	for i, v := range x[:len(y)] {
		if v < s {
			v = s
		}
		y[i] = v
	}
}

// AtMost computes y = x, or s where x is greater.
func AtMost(y, x []float32, s float32) {
	for i, v := range x[:len(y)] {
		if v > s {
			v = s
		}
		y[i] = v
	}
}

// ReLUGrad computes y = a where b > 0, else 0.
func ReLUGrad(y, a, b []float32) {
	for i := range y {
		if b[i] > 0 {
			y[i] = a[i]
		} else {
			y[i] = 0
		}
	}
}

// TanhGrad computes y = a·(1 - b²), for b = tanh(x).
func TanhGrad(y, a, b []float32) {
	for i := range y {
		y[i] = a[i] * (1 - float32(b[i]*b[i]))
	}
}

// SigmoidGrad computes y = a·b·(1 - b), for b = sigmoid(x).
func SigmoidGrad(y, a, b []float32) {
	for i := range y {
		y[i] = float32(a[i]*b[i]) * (1 - b[i])
	}
}

// GELUGrad computes y = a·(Φ(b) + b·φ(b)), with the normal distribution Φ and its
// density φ.
func GELUGrad(y, a, b []float32) {
	for i := range y {
		x := float64(b[i])
		y[i] = a[i] * float32(0.5*math.Erfc(-x/math.Sqrt2)+x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi))
	}
}

// AddScaled computes y = a + s·b.
func AddScaled(y, a, b []float32, s float32) {
	for i := range y {
		y[i] = a[i] + float32(s*b[i])
	}
}

// AddSquare computes y = a + (b - s)², the square unrounded.
func AddSquare(y, a, b []float32, s float32) {
	for i := range y {
		d := float64(b[i] - s)
		y[i] = float32(float64(a[i]) + d*d)
	}
}

// Scale computes y = s·x.
func Scale(y, x []float32, s float32) {
	for i := range y {
		y[i] = s * x[i]
	}
}

// ReLU computes y = x where x is positive or NaN, else 0.
func ReLU(y, x []float32) {
	for i, v := range x[:len(y)] {
		if v < 0 {
			v = 0
		}
		y[i] = v
	}
}

// ExpShift computes y = exp(x - shift).
func ExpShift(y, x []float32, shift float32) {
	for i := range y {
		y[i] = float32(math.Exp(float64(x[i] - shift)))
	}
}

// Tanh computes y = tanh(x).
func Tanh(y, x []float32) {
	for i := range y {
		y[i] = float32(math.Tanh(float64(x[i])))
	}
}

// Sigmoid computes y = 1/(1 + exp(-x)).
func Sigmoid(y, x []float32) {
	for i := range y {
		y[i] = float32(1 / (1 + math.Exp(-float64(x[i]))))
	}
}

// SiLU computes y = x·sigmoid(x).
func SiLU(y, x []float32) {
	for i, v := range x {
		y[i] = float32(float64(v) / (1 + math.Exp(-float64(v))))
	}
}

// GELU computes y = x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2.
func GELU(y, x []float32) {
	for i, f := range x {
		v := float64(f)
		y[i] = float32(v * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*v*v*v))) / 2)
	}
}

// SumSquares returns the sum of the squares of x, in order.
func SumSquares(x []float32) float32 {
	s := float32(0)
	for _, v := range x {
		s += float32(v * v)
	}
	return s
}

// Erf computes y = erf(x).
func Erf(y, x []float32) {
	for i, v := range x[:len(y)] {
		y[i] = float32(math.Erf(float64(v)))
	}
}

// GELUErf computes y = x·(1 + erf(x/√2))/2.
func GELUErf(y, x []float32) {
	for i, v := range x[:len(y)] {
		y[i] = float32(float64(v) * math.Erfc(-float64(v)/math.Sqrt2) / 2)
	}
}

// Sum returns the sum of x, in order.
func Sum(x []float32) float32 {
	s := float32(0)
	for _, v := range x {
		s += v
	}
	return s
}

// Max returns the greatest element of x that is a number; -Inf when none is.
func Max(x []float32) float32 {
	m := float32(math.Inf(-1))
	for _, v := range x {
		if v > m {
			m = v
		}
	}
	return m
}

// SumRows computes dst[j] = Σ_i x[i·ld + j] over rows rows, in order.
func SumRows(dst, x []float32, rows, ld int) {
	clear(dst)
	for i := range rows {
		for j, v := range x[i*ld:][:len(dst)] {
			dst[j] += v
		}
	}
}

// ReLU6 computes y = min(max(x, 0), 6).
func ReLU6(y, x []float32) {
	for i, v := range x[:len(y)] {
		y[i] = min(max(v, 0), 6)
	}
}

// HardSigmoid computes y = min(max(x/6 + 1/2, 0), 1).
func HardSigmoid(y, x []float32) {
	for i, v := range x[:len(y)] {
		y[i] = min(max(v/6+0.5, 0), 1)
	}
}

// HardSwish computes y = x·min(max(x/6 + 1/2, 0), 1).
func HardSwish(y, x []float32) {
	for i, v := range x[:len(y)] {
		y[i] = v * min(max(v/6+0.5, 0), 1)
	}
}
