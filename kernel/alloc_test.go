package kernel

import (
	"math/rand/v2"
	"testing"
)

// TestRunsDoNotAllocate holds for every operation in its steady state.
func TestRunsDoNotAllocate(t *testing.T) {
	r := rand.New(rand.NewPCG(25, 26))
	x, y, z, w := random(r, 1<<16, 0), random(r, 1<<16, 0), random(r, 1<<16, 0), random(r, 1<<16, 0)
	for _, p := range testPools(t) {
		gemm := &Gemm{M: 100, N: 90, K: 300, TransA: true, TransB: true, A: x, B: y, C: z}
		plain := &Gemm{M: 3, N: 33, K: 300, A: x, B: y, C: z, Bias: x, BiasAxis: BiasColumn}
		conv := &Conv{N: 2, C: 5, H: 20, W: 20, OC: 7, KH: 3, KW: 3, PadTop: 1, StrideW: 2, X: x, Weight: y, Y: z}
		winograd := &ConvLast{N: 1, C: 16, H: 20, W: 20, OC: 32, KH: 3, KW: 3, X: x, Packed: y, Y: z, Winograd: 4}
		winograd.Packed = make([]float32, WinogradLen(32, 16, 4, p.ISA()))
		pool := &MaxPool{N: 2, C: 3, H: 20, W: 21, KH: 2, KW: 2, StrideH: 2, StrideW: 2, X: x, Y: y, DY: z, DX: w}
		norm := &LayerNorm{Y: z, X: x, Skip: y, Rows: 100, Cols: 99}
		attention := &Attention{Batch: 2, Heads: 2, KVHeads: 2, Rows: 30, Keys: 40, Size: 8, ValueSize: 8, Scale: 1, Q: x, K: y, V: w, Y: z,
			QS: Strides{960, 8, 16}, KS: Strides{960, 8, 16}, VS: Strides{960, 8, 16}, YS: Strides{960, 8, 16},
			Bias: func(_, _, _ int, bias []float32) { clear(bias) }}
		scratch := make([]float32, max(winograd.ScratchLen(p), attention.ScratchLen(p), gemm.ScratchLen(p), plain.ScratchLen(p), conv.ForwardScratchLen(p),
			conv.GradInputScratchLen(p), conv.GradWeightScratchLen(p)))
		binary, unary := &Binary{Y: z, A: x, B: y}, &Unary{Op: OpTanh, Y: z[:999], X: x}
		softmax := &Softmax{Y: z, X: x, Rows: 300, Cols: 100, Log: true}
		rows, channels := &SumRows{Dst: z, X: x, Rows: 100, Cols: 99}, &SumChannels{Dst: z, Y: x, N: 4, C: 10, HW: 99}
		adam := &Adam{W: x[:9999], G: y, M: z, V: w, AdamParams: AdamParams{Step: 1}}
		sgd := &SGD{W: x, G: y, M: z, SGDParams: SGDParams{Momentum: 0.9}}
		drop := &Dropout{Y: z[:9999], X: x, Ratio: 0.5}
		body := func(int, int, int) {}
		for name, f := range map[string]func(){
			"For":  func() { p.For(100, 1, body) },
			"Gemm": func() { gemm.Run(p, scratch) }, "Gemm plain": func() { plain.Run(p, scratch) },
			"Conv.Forward":         func() { conv.Forward(p, scratch) },
			"Conv.GradInput":       func() { conv.GradInput(p, w, scratch) },
			"Conv.GradWeight":      func() { conv.GradWeight(p, w, scratch) },
			"ConvLast by Winograd": func() { winograd.Run(p, scratch) },
			"MaxPool":              func() { pool.Forward(p); pool.Grad(p) },
			"Binary":               func() { binary.Run(p) }, "Unary": func() { unary.Run(p) },
			"Softmax": func() { softmax.Run(p) }, "SumRows": func() { rows.Run(p) },
			"SumChannels": func() { channels.Run(p) }, "Adam": func() { adam.Run(p) },
			"LayerNorm": func() { norm.Run(p) }, "Attention": func() { attention.Run(p, scratch) },
			"SGD": func() { sgd.Run(p) }, "Dropout": func() { drop.Run(p) },
		} {
			n := 1.0
			for i := 0; n != 0 && i < 4; i++ { // the runtime may allocate meanwhile, but not every time
				n = testing.AllocsPerRun(5, f)
			}
			if n != 0 {
				t.Errorf("%v, %d threads: %s allocates %v times", p.ISA(), p.Threads(), name, n)
			}
		}
	}
}
