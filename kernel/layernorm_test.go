package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestLayerNorm(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	for range 40 {
		rows, cols := 1+r.IntN(20), 1+r.IntN(200)
		if r.IntN(4) == 0 {
			cols = 700 + r.IntN(400)
		}
		x, skip := random(r, rows*cols, r.IntN(16)), random(r, rows*cols, r.IntN(16))
		for i := range x {
			x[i] = 3*x[i] + 5
		}
		v := LayerNorm{X: x, Rows: rows, Cols: cols, Epsilon: 1e-5}
		if r.IntN(2) == 0 {
			v.Skip = skip
		}
		if r.IntN(4) > 0 {
			v.Scale = random(r, cols, r.IntN(16))
		}
		if v.RMS = r.IntN(2) == 0; !v.RMS && r.IntN(4) > 0 {
			v.Bias = random(r, cols, r.IntN(16))
		}
		want := layerNormOracle(&v)
		for _, p := range testPools(t) {
			v.Y, v.Sum, v.Mean, v.Inverse = guarded(rows*cols), make([]float32, rows*cols), make([]float32, rows), make([]float32, rows)
			v.Run(p)
			for i, w := range want {
				if math.Abs(float64(v.Y[i])-w) > 3e-5 {
					t.Fatalf("%v: %d×%d: element %d is %v, want %v", p.ISA(), rows, cols, i, v.Y[i], w)
				}
			}
			checkGuard(t, v.Y)
			one := v
			one.X, one.Y, one.Sum, one.Rows = append([]float32(nil), x[(rows-1)*cols:]...), nil, nil, 1
			one.Y = one.X // in place
			if v.Skip != nil {
				one.Skip = skip[(rows-1)*cols:]
			}
			one.Mean, one.Inverse = nil, nil
			one.Run(p)
			same(t, "a row alone", one.Y, v.Y[(rows-1)*cols:])
			if m := mean64(v.X[:cols], v.Skip); v.RMS && v.Mean[0] != 0 || !v.RMS && math.Abs(float64(v.Mean[0])-m) > 1e-4 {
				t.Fatalf("%v: mean %v, want %v", p.ISA(), v.Mean[0], m)
			}
		}
	}
}

func mean64(x, skip []float32) float64 {
	m := 0.0
	for i, v := range x {
		m += float64(v)
		if skip != nil {
			m += float64(skip[i])
		}
	}
	return m / float64(len(x))
}

func layerNormOracle(v *LayerNorm) []float64 {
	want := make([]float64, v.Rows*v.Cols)
	for i := range v.Rows {
		row := want[i*v.Cols:][:v.Cols]
		mean, variance := 0.0, 0.0
		for j := range row {
			row[j] = float64(v.X[i*v.Cols+j])
			if v.Skip != nil {
				row[j] += float64(v.Skip[i*v.Cols+j])
			}
			if !v.RMS {
				mean += row[j] / float64(v.Cols)
			}
		}
		for _, e := range row {
			variance += (e - mean) * (e - mean) / float64(v.Cols)
		}
		for j, e := range row {
			row[j] = (e - mean) / math.Sqrt(variance+float64(v.Epsilon))
			if v.Scale != nil {
				row[j] *= float64(v.Scale[j])
			}
			if v.Bias != nil {
				row[j] += float64(v.Bias[j])
			}
		}
	}
	return want
}
