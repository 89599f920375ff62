package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestGroupNorm(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 42))
	for _, s := range []struct {
		groups, parts, part, share, scales int
		last                               bool
	}{
		{1, 1, 1, 1, 1, false}, {2, 3, 5, 1, 3, false}, {4, 2, 100, 2, 2, false}, {1, 1, 3*normPiece + 77, 1, 1, false}, {6, 4, 300, 1, 12, false}, {3, 2, normPiece, 2, 3, false},
		{1, 1, 1, 1, 1, true}, {3, 7, 5, 1, 5, true}, {2, 300, 33, 1, 33, true}, {1, 99, 256, 1, 256, true},
	} {
		row := s.parts * s.part
		x, scale, bias := random(r, s.groups*row, 0), random(r, s.scales, 0), random(r, s.scales, 0)
		for i := range x {
			x[i] = x[i]*3 + 5
		}
		want := make([]float32, len(x))
		for g := range s.groups {
			mean, variance := 0.0, 0.0
			for _, v := range x[g*row:][:row] {
				mean += float64(v) / float64(row)
			}
			for _, v := range x[g*row:][:row] {
				variance += (float64(v) - mean) * (float64(v) - mean) / float64(row)
			}
			for i := range row {
				at := (g*s.parts + i/s.part) / s.share % s.scales
				if s.last {
					at = i % s.part
				}
				want[g*row+i] = float32((float64(x[g*row+i])-mean)/math.Sqrt(variance+1e-5)*float64(scale[at]) + float64(bias[at]))
			}
		}
		for _, p := range testPools(t) {
			y := guarded(len(x))
			k := &GroupNorm{Groups: s.groups, Parts: s.parts, Part: s.part, Share: s.share, Last: s.last, Epsilon: 1e-5, X: x, Y: y, Scale: scale, Bias: bias}
			k.Run(p)
			for i, v := range y {
				if !close32(v, want[i], 2e-5) {
					t.Fatalf("%v %+v: element %d is %v, want %v", p.ISA(), s, i, v, want[i])
				}
			}
			checkGuard(t, y)
			one := make([]float32, row) // the last row alone
			at := (s.groups - 1) * row
			turned := func(w []float32) []float32 {
				if s.last {
					return w
				}
				var list []float32
				for i := range s.parts {
					list = append(list, w[((s.groups-1)*s.parts+i)/s.share%s.scales])
				}
				return list
			}
			(&GroupNorm{Groups: 1, Parts: s.parts, Part: s.part, Share: 1, Last: s.last, Epsilon: 1e-5, X: x[at:], Y: one, Scale: turned(scale), Bias: turned(bias)}).Run(p)
			if !slices.Equal(one, y[at:]) {
				t.Fatalf("%v %+v: a row alone has other bits", p.ISA(), s)
			}
		}
	}
}

func TestClip(t *testing.T) {
	r := rand.New(rand.NewPCG(43, 44))
	nan := float32(math.NaN())
	for _, limits := range [][2]float32{{-1, 1}, {0, 6}, {nan, 2}, {-2, nan}, {nan, nan}, {3, -3}} {
		for _, n := range []int{0, 1, 15, 16, 17, 100, 5000, 40000} {
			x := mixed(r, n)
			for _, p := range testPools(t) {
				y := guarded(n)
				(&Clip{X: x, Y: y, Low: limits[0], High: limits[1]}).Run(p)
				for i, v := range x {
					if v < limits[0] {
						v = limits[0]
					}
					if v > limits[1] {
						v = limits[1]
					}
					if math.Float32bits(y[i]) != math.Float32bits(v) {
						t.Fatalf("%v: %v within %v is %v, want %v", p.ISA(), x[i], limits, y[i], v)
					}
				}
				checkGuard(t, y)
			}
		}
	}
}
