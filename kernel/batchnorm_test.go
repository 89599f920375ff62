package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestBatchNorm compares the layer and its gradient with the formulas in float64.
func TestBatchNorm(t *testing.T) {
	r := rand.New(rand.NewPCG(51, 52))
	for _, p := range testPools(t) {
		for _, hw := range []int{1, 7, 16, 49, 1100} {
			n, c := 1+r.IntN(5), 1+r.IntN(4)
			all := n * c * hw
			f := &BatchNorm{X: random(r, all, 1), Scale: random(r, c, 0), Bias: random(r, c, 0), N: n, C: c, HW: hw, Epsilon: 1e-3, Momentum: 0.75}
			f.Y, f.Mean, f.Inverse, f.RunMean, f.RunVar = guarded(all), guarded(c), guarded(c), make([]float32, c), make([]float32, c)
			f.Run(p)
			g := &BatchNormGrad{DX: guarded(all), DY: random(r, all, 3), X: f.X, Scale: f.Scale, Mean: f.Mean, Inverse: f.Inverse, N: n, C: c, HW: hw}
			g.DScale, g.DBias = guarded(c), guarded(c)
			g.Run(p)
			at := func(i, ch, j int) int { return (i*c+ch)*hw + j }
			each := func(f func(i, j int)) {
				for i := range n {
					for j := range hw {
						f(i, j)
					}
				}
			}
			check := func(what string, got float32, want float64) {
				t.Helper()
				if math.Abs(float64(got)-want) > 2e-4*(1+math.Abs(want)) {
					t.Fatalf("%v n %d hw %d: %s is %v, want %v", p.ISA(), n, hw, what, got, want)
				}
			}
			count := float64(n * hw)
			for ch := range c {
				mean, variance, dy, dyx := 0.0, 0.0, 0.0, 0.0
				each(func(i, j int) { mean += float64(f.X[at(i, ch, j)]) / count })
				each(func(i, j int) { variance += math.Pow(float64(f.X[at(i, ch, j)])-mean, 2) / count })
				inverse := 1 / math.Sqrt(variance+1e-3)
				normal := func(i, j int) float64 { return (float64(f.X[at(i, ch, j)]) - mean) * inverse }
				each(func(i, j int) {
					check("y", f.Y[at(i, ch, j)], normal(i, j)*float64(f.Scale[ch])+float64(f.Bias[ch]))
					dy += float64(g.DY[at(i, ch, j)])
					dyx += float64(g.DY[at(i, ch, j)]) * normal(i, j)
				})
				check("running mean", f.RunMean[ch], mean/4)
				check("running variance", f.RunVar[ch], variance/4)
				check("dbias", g.DBias[ch], dy)
				check("dscale", g.DScale[ch], dyx)
				each(func(i, j int) {
					want := float64(f.Scale[ch]) * inverse * (float64(g.DY[at(i, ch, j)]) - dy/count - normal(i, j)*dyx/count)
					check("dx", g.DX[at(i, ch, j)], want)
				})
			}
			for _, x := range [][]float32{f.Y, f.Mean, f.Inverse, g.DX, g.DScale, g.DBias} {
				checkGuard(t, x)
			}
		}
	}
}
