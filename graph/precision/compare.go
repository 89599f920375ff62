package precision

import (
	"math"

	"tandem/tensor"
)

// Difference tells how far the outputs of one network are from those of another.
type Difference struct {
	// Error is ‖a−b‖ over ‖a−mean(a)‖, of all results of one output together: the greatest
	// of the outputs. Of outputs that are whole numbers it is the share that differs.
	Error float64
	// Cosine is that of the angle between rows, the least one.
	Cosine float64
}

// Compare compares the outputs for each of several inputs.
func Compare(want, have [][]*tensor.Tensor) Difference {
	d := Difference{Cosine: 1}
	if len(want) == 0 {
		return d
	}
	for i := range want[0] {
		var a, b []*tensor.Tensor
		for j := range want {
			a, b = append(a, want[j][i]), append(b, have[j][i])
		}
		e, cosine := compareOutput(a, b)
		d.Error, d.Cosine = max(d.Error, e), min(d.Cosine, cosine)
	}
	return d
}

func compareOutput(want, have []*tensor.Tensor) (distance, cosine float64) {
	cosine = 1
	var n, sum, squares, apart, unequal float64
	for i, w := range want {
		if !w.DType().Numeric() || !w.Shape().Equal(have[i].Shape()) {
			return math.MaxFloat64, -1
		}
		a, b := values(w), values(have[i])
		for j, v := range a {
			x, y := float64(v), float64(b[j])
			n++
			sum += x
			squares += x * x
			apart += (x - y) * (x - y)
			if x != y {
				unequal++
			}
		}
		if w.DType().Float() {
			cosine = min(cosine, leastCosine(a, b, w.Shape()))
		}
	}
	if n == 0 {
		return 0, cosine
	}
	if !want[0].DType().Float() {
		return unequal / n, cosine
	}
	if apart == 0 {
		return 0, cosine
	}
	spread := squares - sum*sum/n
	if d := math.Sqrt(apart / max(spread, 0)); !math.IsNaN(d) {
		return d, cosine
	}
	return math.MaxFloat64, -1
}

func values(t *tensor.Tensor) []float32 {
	v := make([]float32, t.Len())
	tensor.Float32s(v, t)
	return v
}

// leastCosine is the least cosine of the angle between rows of a and b.
func leastCosine(a, b []float32, shape tensor.Shape) float64 {
	rows := 1
	if len(shape) > 1 {
		rows = shape[0]
	}
	least := 1.0
	for i := range rows {
		size := len(a) / rows
		var ab, aa, bb float64
		for j := i * size; j < (i+1)*size; j++ {
			x, y := float64(a[j]), float64(b[j])
			ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
		}
		switch c := ab / math.Sqrt(aa*bb); {
		case aa == 0 && bb == 0:
		case math.IsNaN(c):
			return -1
		default:
			least = min(least, c)
		}
	}
	return least
}
