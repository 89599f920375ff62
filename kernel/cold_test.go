package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkGemmCold multiplies few rows by packed weights that no cache holds any more:
// what a network does at batch 1.
func BenchmarkGemmCold(b *testing.B) {
	for _, s := range [][2]int{{384, 1536}, {1536, 384}, {384, 384}} {
		k, n := s[0], s[1]
		for _, m := range []int{1, 8, 12, 16, 22, 36, 64, 128, 250} {
			b.Run(fmt.Sprintf("%dx%dx%d", m, k, n), func(b *testing.B) {
				p := NewPool(1, Detect())
				defer p.Close()
				count := 64 << 20 / 4 / (k * n)
				packed := make([][]float32, count)
				for i := range packed {
					packed[i] = random(rand.New(rand.NewPCG(1, 1)), PackedLen(k, n, p.ISA()), 0)
				}
				g := Gemm{M: m, N: n, K: k, A: make([]float32, m*k), C: make([]float32, m*n), Packed: packed[0]}
				scratch := make([]float32, g.ScratchLen(p))
				i := 0
				benchFlops(b, 2*float64(m*n*k), func() {
					g.Packed = packed[i%count]
					g.Run(p, scratch)
					i++
				})
				b.ReportMetric(float64(4*k*n*b.N)/b.Elapsed().Seconds()/1e9, "GB/s")
			})
		}
	}
}
