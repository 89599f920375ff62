package kernel

import (
	"math/rand/v2"
	"testing"
)

// TestCodesEqualFloats: a product with codes has the bits of one with the floats that they
// mean: any shape, four and eight bits, blocks, zeros, bias, activation, strides; every tier, one to three threads.
func TestCodesEqualFloats(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	pools := testPools(t)
	for range 150 {
		m, n, k := 1+r.IntN(20*(1+r.IntN(2))), 1+r.IntN(90)*(1+r.IntN(2)*4), 1+r.IntN(300)*(1+r.IntN(2)*3)
		if r.IntN(8) == 0 {
			m, k = 10+r.IntN(100), 1024 // A is copied
		}
		b := Codes{Bits: 4 + 4*r.IntN(2), Block: []int{16, 32, 64, 256, 512}[r.IntN(5)], Zeros: r.IntN(2) == 0}
		blocks := ceilDiv(k, b.Block)
		codes, scales, zeros := make([]byte, n*blocks*b.Block*b.Bits/8), random(r, n*blocks, 0), make([]float32, n*blocks)
		for i := range codes {
			codes[i] = byte(r.Uint32())
		}
		for i := range zeros {
			if zeros[i] = float32(int(1) << (b.Bits - 1)); b.Zeros {
				zeros[i] = float32(r.IntN(32)) / 2
			}
		}
		floats := make([]float32, n*k)
		for j := range n {
			for i := range k {
				at := j*blocks + i/b.Block
				bit := (j*blocks*b.Block + i) * b.Bits
				code := codes[bit/8] >> (bit % 8) & (1<<b.Bits - 1)
				floats[i*n+j] = (float32(code) - zeros[at]) * scales[at]
			}
		}
		g := randomGemm(r, m, n, k)
		g.TransA, g.TransB, g.B, g.LDB, g.Accumulate = false, false, floats, 0, false
		g.A, g.LDA = random(r, m*k, 1), 0
		start := append([]float32(nil), g.C...)
		for _, p := range pools {
			g.C, g.Codes = append([]float32(nil), start...), nil
			g.Run(p, dirty(g.ScratchLen(p)))
			want := append([]float32(nil), g.C...)
			b.Data = dirty(b.Len(k, n, p.ISA()))
			PackCodes(p, b.Data, b, codes, scales, zeros, k, n)
			copy(g.C, start)
			g.Codes = &b
			g.Run(p, dirty(g.ScratchLen(p)))
			same(t, g, g.C, want)
		}
	}
}
