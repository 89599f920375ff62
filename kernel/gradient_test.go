package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"tandem/kernel/ref"
)

// TestLayerNormGrad compares with the formulas in float64.
func TestLayerNormGrad(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 42))
	for _, p := range testPools(t) {
		for _, cols := range []int{1, 5, 16, 33, 100, 257} {
			for _, rms := range []bool{false, true} {
				rows := 1 + r.IntN(40)
				g := &LayerNormGrad{X: random(r, rows*cols, 1), DY: random(r, rows*cols, 2), Scale: random(r, cols, 3), Rows: rows, Cols: cols, Epsilon: 1e-3, RMS: rms}
				g.DX, g.DScale, g.DBias, g.Stats = guarded(rows*cols), guarded(cols), guarded(cols), make([]float32, 4*rows)
				g.Run(p)
				dscale, dbias := make([]float64, cols), make([]float64, cols)
				for i := range rows {
					x, dy := g.X[i*cols:][:cols], g.DY[i*cols:][:cols]
					mean, square := 0.0, 0.0
					for _, v := range x {
						mean += float64(v) / float64(cols)
					}
					if rms {
						mean = 0
					}
					for _, v := range x {
						square += (float64(v) - mean) * (float64(v) - mean) / float64(cols)
					}
					inverse := 1 / math.Sqrt(square+1e-3)
					mg, mgx := 0.0, 0.0
					for j, v := range x {
						h, d := (float64(v)-mean)*inverse, float64(dy[j])*float64(g.Scale[j])
						mg += d / float64(cols)
						mgx += d * h / float64(cols)
						dscale[j] += float64(dy[j]) * h
						dbias[j] += float64(dy[j])
					}
					if rms {
						mg = 0
					}
					for j, v := range x {
						h := (float64(v) - mean) * inverse
						want := (float64(dy[j])*float64(g.Scale[j]) - mg - h*mgx) * inverse
						if got := g.DX[i*cols+j]; math.Abs(float64(got)-want) > 1e-4*(1+math.Abs(want)) {
							t.Fatalf("%v cols %d rms %v: dx[%d,%d] is %v, want %v", p.ISA(), cols, rms, i, j, got, want)
						}
					}
				}
				for j := range cols {
					if math.Abs(float64(g.DScale[j])-dscale[j]) > 1e-4 || math.Abs(float64(g.DBias[j])-dbias[j]) > 1e-4 {
						t.Fatalf("%v cols %d: column %d is %v, %v, want %v, %v", p.ISA(), cols, j, g.DScale[j], g.DBias[j], dscale[j], dbias[j])
					}
				}
				for _, y := range [][]float32{g.DX, g.DScale, g.DBias} {
					checkGuard(t, y)
				}
			}
		}
	}
}

// TestAttentionGrad compares with a plain computation in float64, on packed heads,
// with fewer heads of keys, masks, and rows of which every key is hidden.
func TestAttentionGrad(t *testing.T) {
	r := rand.New(rand.NewPCG(43, 44))
	for _, p := range testPools(t) {
		for range 12 {
			kv := 1 + r.IntN(3)
			a := &AttentionGrad{
				Batch: 1 + r.IntN(3), KVHeads: kv, Heads: kv * (1 + r.IntN(2)), Rows: 1 + r.IntN(110), Keys: 1 + r.IntN(110),
				Size: 1 + r.IntN(40), ValueSize: 1 + r.IntN(40), Scale: 0.7, Causal: r.IntN(2) == 0,
			}
			packed := func(rows, heads, size int) Strides { return Strides{rows * heads * size, size, heads * size} }
			a.QS, a.KS = packed(a.Rows, a.Heads, a.Size), packed(a.Keys, kv, a.Size)
			a.VS, a.YS = packed(a.Keys, kv, a.ValueSize), packed(a.Rows, a.Heads, a.ValueSize)
			a.Q, a.K, a.V = random(r, a.Batch*a.QS.Batch, 1), random(r, a.Batch*a.KS.Batch, 2), random(r, a.Batch*a.VS.Batch, 3)
			a.DY = random(r, a.Batch*a.YS.Batch, 0)
			a.DQ, a.DK, a.DV = guarded(len(a.Q)), guarded(len(a.K)), guarded(len(a.V))
			a.Bias = func(b, head, row int, bias []float32) {
				for j := range bias {
					bias[j] = float32(b+head) * 0.1
					if a.Causal && j > row || !a.Causal && row == 3 {
						bias[j] = float32(math.Inf(-1))
					}
				}
			}
			scratch := make([]float32, a.ScratchLen(p))
			a.Run(p, scratch)
			want := plainAttentionGrad(a)
			for i, got := range [][]float32{a.DQ, a.DK, a.DV} {
				checkGuard(t, got)
				for j, v := range got {
					if math.Abs(float64(v)-want[i][j]) > 2e-5*(1+math.Abs(want[i][j])) {
						t.Fatalf("%v %+v: gradient %d element %d is %v, want %v", p.ISA(), a.QS, i, j, v, want[i][j])
					}
				}
			}
			again := slices.Clone(a.DK)
			a.Run(p, scratch)
			if !slices.Equal(again, a.DK) {
				t.Fatal("a second run gives other bits")
			}
			a.Causal, a.Bias = true, causalBias
			a.Run(p, scratch)
			again = slices.Concat(a.DQ, a.DK, a.DV)
			a.Bias = nil
			if a.Run(p, scratch); !slices.Equal(again, slices.Concat(a.DQ, a.DK, a.DV)) {
				t.Fatal("a causal mask without Bias gives other bits")
			}
		}
	}
}

func plainAttentionGrad(a *AttentionGrad) [3][]float64 {
	dq, dk, dv := make([]float64, len(a.Q)), make([]float64, len(a.K)), make([]float64, len(a.V))
	for b := range a.Batch {
		for h := range a.Heads {
			kv := h / (a.Heads / a.KVHeads)
			for r := range a.Rows {
				bias, p, dp := make([]float32, a.Keys), make([]float64, a.Keys), make([]float64, a.Keys)
				a.Bias(b, h, r, bias)
				total, sum := 0.0, 0.0
				q, dy := a.Q[a.QS.at(b, h, r):], a.DY[a.YS.at(b, h, r):]
				for j := range p {
					p[j] = math.Exp(float64(ref.Dot(q[:a.Size], a.K[a.KS.at(b, kv, j):][:a.Size]))*float64(a.Scale) + float64(bias[j]))
					total += p[j]
				}
				if total == 0 {
					continue
				}
				for j := range p {
					p[j] /= total
					for i := range a.ValueSize {
						dp[j] += float64(dy[i]) * float64(a.V[a.VS.at(b, kv, j)+i])
						dv[a.VS.at(b, kv, j)+i] += p[j] * float64(dy[i])
					}
					sum += p[j] * dp[j]
				}
				for j := range p {
					d := p[j] * (dp[j] - sum) * float64(a.Scale)
					for i := range a.Size {
						dq[a.QS.at(b, h, r)+i] += d * float64(a.K[a.KS.at(b, kv, j)+i])
						dk[a.KS.at(b, kv, j)+i] += d * float64(q[i])
					}
				}
			}
		}
	}
	return [3][]float64{dq, dk, dv}
}

// TestSoftmaxGradRows compares with the formula, in place too.
func TestSoftmaxGradRows(t *testing.T) {
	r := rand.New(rand.NewPCG(45, 46))
	for _, p := range testPools(t) {
		for _, cols := range []int{1, 15, 16, 130} {
			rows := 1 + r.IntN(50)
			y, dy := random(r, rows*cols, 1), random(r, rows*cols, 2)
			dx := slices.Clone(dy)
			(&SoftmaxGrad{DX: dx, Y: y, DY: dx, Rows: rows, Cols: cols}).Run(p)
			for i := range rows {
				sum := 0.0
				for j := range cols {
					sum += float64(y[i*cols+j]) * float64(dy[i*cols+j])
				}
				for j := range cols {
					at := i*cols + j
					if want := float64(y[at]) * (float64(dy[at]) - sum); math.Abs(float64(dx[at])-want) > 1e-5 {
						t.Fatalf("%v cols %d: %v, want %v", p.ISA(), cols, dx[at], want)
					}
				}
			}
		}
	}
}

func causalBias(_, _, row int, bias []float32) {
	clear(bias)
	for j := row + 1; j < len(bias); j++ {
		bias[j] = float32(math.Inf(-1))
	}
}

// TestCausalAttentionBits: leaving out what a causal mask hides changes no bits.
func TestCausalAttentionBits(t *testing.T) {
	r := rand.New(rand.NewPCG(47, 48))
	for _, p := range testPools(t) {
		for _, n := range []int{1, 12, 49, 130} {
			a := &Attention{Batch: 2, Heads: 3, KVHeads: 3, Rows: n, Keys: n, Size: 20, ValueSize: 24, Scale: 0.4, ZeroHidden: true}
			a.QS, a.VS = Strides{n * 60, 20, 60}, Strides{n * 72, 24, 72}
			a.KS, a.YS = a.QS, a.VS
			a.Q, a.K, a.V = random(r, 2*n*60, 1), random(r, 2*n*60, 2), random(r, 2*n*72, 3)
			a.Bias = causalBias
			var got [3][]float32
			for i := range got {
				if a.Causal, a.Y = i > 0, guarded(2*n*72); i == 2 {
					a.Bias = nil
				}
				a.Run(p, make([]float32, a.ScratchLen(p)))
				checkGuard(t, a.Y)
				got[i] = a.Y
			}
			if !slices.Equal(got[0], got[1]) || !slices.Equal(got[0], got[2]) {
				t.Fatalf("%v: %d rows give other bits", p.ISA(), n)
			}
		}
	}
}

// TestWeights: exponentials of every size; what lies under the normal range is zero.
func TestWeights(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, p := range testPools(t) {
		s := []float32{3, 2.5, 0, -20, -83.9, -84.1, -90, -100, -107, -200, -inf, -1e30, 3, 3, 3, 3}
		want := slices.Clone(s)
		for len(s)%(2*max(1, p.isa.lanes())) > 0 {
			s, want = append(s, -inf), append(want, -inf)
		}
		total, sum := weighRow(p.isa, s, 3), ref.Weights(want, 3)
		for i, v := range s {
			if d := math.Abs(float64(v) - float64(want[i])); d > 2e-7*float64(want[i]) || (v == 0) != (want[i] == 0) {
				t.Errorf("%v: weight %d is %v, want %v", p.ISA(), i, v, want[i])
			}
		}
		if want[4] == 0 || want[5] != 0 || math.Abs(float64(total-sum)) > 1e-6*float64(sum) {
			t.Errorf("%v: sum %v, want %v of %v", p.ISA(), total, sum, want)
		}
		s[1] = nan
		if weighRow(p.isa, s, 3); !math.IsNaN(float64(s[1])) {
			t.Errorf("%v: a score that is no number became %v", p.ISA(), s[1])
		}
	}
}
