package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"tandem/kernel/ref"
)

// randomAttention has heads before rows or rows before heads, operand by operand.
func randomAttention(r *rand.Rand) *Attention {
	a := &Attention{Batch: 1 + r.IntN(3), KVHeads: 1 + r.IntN(3), Rows: 1 + r.IntN(70), Keys: 1 + r.IntN(90), Size: 1 + r.IntN(40), ValueSize: 1 + r.IntN(40)}
	switch r.IntN(8) {
	case 0:
		a.Rows = 1 + r.IntN(2)
	case 1:
		a.Keys = 250 + r.IntN(300)
	case 2:
		a.Size, a.ValueSize = 64, 64
	}
	a.Heads = a.KVHeads * (1 + r.IntN(2))
	a.Scale = float32(1 / math.Sqrt(float64(a.Size)))
	operand := func(heads, rows, size int) ([]float32, Strides) {
		pad := r.IntN(3)
		x := random(r, a.Batch*heads*rows*size+pad*a.Batch*rows*heads, r.IntN(16))
		if r.IntN(2) == 0 {
			return x, Strides{heads * rows * (size + pad), rows * (size + pad), size + pad}
		}
		return x, Strides{heads * rows * (size + pad), size + pad, heads * (size + pad)}
	}
	a.Q, a.QS = operand(a.Heads, a.Rows, a.Size)
	a.K, a.KS = operand(a.KVHeads, a.Keys, a.Size)
	a.V, a.VS = operand(a.KVHeads, a.Keys, a.ValueSize)
	a.Y, a.YS = operand(a.Heads, a.Rows, a.ValueSize)
	if r.IntN(2) == 0 {
		mask := random(r, a.Batch*a.Rows*a.Keys, 0)
		for i := range mask {
			if r.IntN(3) == 0 && i%a.Keys > 0 {
				mask[i] = float32(math.Inf(-1))
			}
		}
		a.Bias = func(b, head, row int, bias []float32) { copy(bias, mask[(b*a.Rows+row)*a.Keys:]) }
	}
	return a
}

func TestAttention(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 42))
	for range 60 {
		a := randomAttention(r)
		gaps := append([]float32(nil), a.Y...)
		want := append([]float32(nil), a.Y...)
		for b := range a.Batch {
			for h := range a.Heads {
				kv := h / (a.Heads / a.KVHeads)
				for i := range a.Rows {
					var bias []float32
					if a.Bias != nil {
						bias = make([]float32, a.Keys)
						a.Bias(b, h, i, bias)
					}
					ref.AttentionRow(want[a.YS.at(b, h, i):][:a.ValueSize], a.Q[a.QS.at(b, h, i):][:a.Size], a.K[a.KS.at(b, kv, 0):], a.V[a.VS.at(b, kv, 0):], bias, a.Keys, a.KS.Row, a.VS.Row, a.Scale)
				}
			}
		}
		var first []float32
		for _, p := range testPools(t) {
			copy(a.Y, gaps)
			a.Run(p, make([]float32, a.ScratchLen(p)))
			for i, w := range want {
				if !close32(a.Y[i], w, 2e-6) {
					t.Fatalf("%v: %+v: element %d is %v, want %v", p.ISA(), a.plan, i, a.Y[i], w)
				}
			}
			if p.ISA() == Detect() {
				if first == nil {
					first = append(first, a.Y...)
				}
				same(t, "threads", a.Y, first)
				checkRowsAlone(t, p, a)
			}
		}
	}
}

// checkRowsAlone: a row of queries alone, which goes another way, has the same bits.
func checkRowsAlone(t *testing.T, p *Pool, a *Attention) {
	t.Helper()
	all := append([]float32(nil), a.Y...)
	one := *a
	last := a.Rows - 1
	one.Rows, one.Q, one.Y = 1, a.Q[last*a.QS.Row:], make([]float32, len(a.Y))
	if a.Bias != nil {
		one.Bias = func(b, head, _ int, bias []float32) { a.Bias(b, head, last, bias) }
	}
	one.Run(p, make([]float32, one.ScratchLen(p)))
	for b := range a.Batch {
		for h := range a.Heads {
			same(t, "a row alone", one.Y[a.YS.at(b, h, 0):][:a.ValueSize], all[a.YS.at(b, h, last):][:a.ValueSize])
		}
	}
}

func TestAttentionHiddenRow(t *testing.T) {
	for _, p := range testPools(t) {
		for _, zero := range []bool{true, false} {
			a := &Attention{Batch: 1, Heads: 1, KVHeads: 1, Rows: 2, Keys: 3, Size: 2, ValueSize: 1, Scale: 1, ZeroHidden: zero,
				Q: []float32{1, 2, 3, 4}, K: []float32{1, 0, 0, 1, 1, 1}, V: []float32{5, 5, 5}, Y: []float32{7, 7}}
			a.QS, a.KS, a.VS, a.YS = Strides{4, 4, 2}, Strides{6, 6, 2}, Strides{3, 3, 1}, Strides{2, 2, 1}
			a.Bias = func(_, _, row int, bias []float32) {
				for i := range bias {
					if bias[i] = 0; row == 1 {
						bias[i] = float32(math.Inf(-1))
					}
				}
			}
			a.Run(p, make([]float32, a.ScratchLen(p)))
			if math.Abs(float64(a.Y[0])-5) > 1e-5 || zero && a.Y[1] != 0 || !zero && a.Y[1] == a.Y[1] {
				t.Errorf("%v: %v with ZeroHidden %v", p.ISA(), a.Y, zero)
			}
		}
	}
}

// BenchmarkAttention: short texts with heads of 32, as they lie in the results of products.
func BenchmarkAttention(b *testing.B) {
	for _, rows := range []int{22, 36, 128} {
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("%d/threads%d", rows, threads), func(b *testing.B) {
				p := NewPool(threads, Detect())
				defer p.Close()
				p.Hold()
				const heads, size = 12, 32
				lies := Strides{Batch: rows * heads * size, Head: size, Row: heads * size}
				a := Attention{Batch: 1, Heads: heads, KVHeads: heads, Rows: rows, Keys: rows, Size: size, ValueSize: size, Scale: 0.2, QS: lies, KS: lies, VS: lies, YS: lies}
				for _, x := range []*[]float32{&a.Q, &a.K, &a.V, &a.Y} {
					*x = make([]float32, rows*heads*size)
				}
				mask := make([]float32, rows)
				a.Bias = func(_, _, _ int, bias []float32) { copy(bias, mask) }
				scratch := make([]float32, a.ScratchLen(p))
				for b.Loop() {
					a.Run(p, scratch)
				}
			})
		}
	}
}
