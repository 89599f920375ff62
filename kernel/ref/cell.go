package ref

import "math"

// Cells of recurrent layers: one step of one sequence. Gates lie one after the
// other, n apart, in ONNX's order.

// LSTMCell takes the sums of the gates i, o, f, c and replaces them by the gates:
// c = f·prev + i·g, h = o·tanh(c) (Hochreiter and Schmidhuber, "Long Short-Term
// Memory", 1997, with forget gates). c may be prev.
func LSTMCell(gates, prev, c, h []float32, n int) {
	for j := range h {
		i, o, f := Sigma(gates[j]), Sigma(gates[n+j]), Sigma(gates[2*n+j])
		g := Tanh1(gates[3*n+j])
		gates[j], gates[n+j], gates[2*n+j], gates[3*n+j] = i, o, f, g
		c[j] = float32(f*prev[j]) + float32(i*g)
		h[j] = o * Tanh1(c[j])
	}
}

// LSTMCellGrad takes the gates, the states before and after, and the gradients of
// h and c; it replaces the gates by the gradients of their sums and dc by that of prev.
func LSTMCellGrad(gates, prev, c, dh, dc []float32, n int) {
	for j, d := range dh {
		i, o, f, g := gates[j], gates[n+j], gates[2*n+j], gates[3*n+j]
		t := Tanh1(c[j])
		s := dc[j] + d*o*(1-t*t)
		gates[j] = s * g * i * (1 - i)
		gates[n+j] = d * t * o * (1 - o)
		gates[2*n+j] = s * prev[j] * f * (1 - f)
		gates[3*n+j] = s * i * (1 - g*g)
		dc[j] = s * f
	}
}

// GRUCell takes what the input (gates) and the state (rec) give to the gates z, r
// and the candidate, and replaces gates by the three: h = z·prev + (1-z)·g, g =
// tanh(x + r·inner) (Cho et al., 2014, in the form of ONNX's linear_before_reset).
// inner keeps the state's part of the candidate. h may be prev.
func GRUCell(gates, rec, prev, h, inner []float32, n int) {
	for j := range h {
		z, r := Sigma(gates[j]+rec[j]), Sigma(gates[n+j]+rec[n+j])
		inner[j] = rec[2*n+j]
		g := Tanh1(gates[2*n+j] + float32(r*inner[j]))
		gates[j], gates[n+j], gates[2*n+j] = z, r, g
		h[j] = g + float32(z*(prev[j]-g))
	}
}

// GRUCellGrad takes what GRUCell left and the gradient of h. It replaces gates by
// the gradients of their sums, inner by its gradient, and dh by the part of prev's
// gradient that does not pass through the gates.
func GRUCellGrad(gates, prev, inner, dh []float32, n int) {
	for j, d := range dh {
		z, r, g := gates[j], gates[n+j], gates[2*n+j]
		dg := d * (1 - z) * (1 - g*g)
		gates[j] = d * (prev[j] - g) * z * (1 - z)
		gates[n+j] = dg * inner[j] * r * (1 - r)
		gates[2*n+j] = dg
		inner[j] = dg * r
		dh[j] = d * z
	}
}

// Sigma is the logistic function.
func Sigma(x float32) float32 { return float32(1 / (1 + math.Exp(-float64(x)))) }

// Tanh1 is the hyperbolic tangent of one number.
func Tanh1(x float32) float32 { return float32(math.Tanh(float64(x))) }
