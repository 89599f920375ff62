package kernel

import (
	endian "encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"tandem/kernel/ref"
	"tandem/tensor"
)

// bfloat16Pools are testPools, two of plain Go with words of pairs, one of which has
// products of tiles, and those of AVX-512 without what the processor has of both.
func bfloat16Pools(t testing.TB) []*Pool {
	pools := testPools(t)
	add := func(isa ISA, dots, amx bool) {
		p := NewPool(2, isa)
		p.dots, p.amx = dots, amx
		t.Cleanup(p.Close)
		pools = append(pools, p)
	}
	add(Generic, true, false)
	add(Generic, true, true)
	if detectBF16() {
		add(AVX512, false, false)
	}
	if hasAMX {
		add(AVX512, true, false)
	}
	return pools
}

// TestDotProductsOfBFloat16: a processor that has VDPBF16PS gives all bits of its reference;
// elsewhere this says that the tests of this file do not reach its kernel.
func TestDotProductsOfBFloat16(t *testing.T) {
	if !detectBF16() {
		t.Skip("SKIPPED: this processor has no VDPBF16PS; make test-bf16 runs its kernel on an emulated one")
	}
	r := rand.New(rand.NewPCG(16, 8))
	p, plain := NewPool(1, Detect()), NewPool(1, Generic)
	t.Cleanup(p.Close)
	t.Cleanup(plain.Close)
	if bfloat16FormOf(p).storage != asDots {
		t.Fatal("the pool does not use dot products")
	}
	p.amx, plain.dots = false, true
	for range rounds(300) {
		g := roundedCase(r, 1+r.IntN(14), 1+r.IntN(40), 1+r.IntN(90))
		g.Act, g.Add = Activation(r.IntN(2)), nil
		if r.IntN(3) == 0 { // products below the normal numbers
			for i := range g.A {
				g.A[i] *= float32(math.Exp2(float64(-r.IntN(140))))
			}
		}
		h := *g
		h.C = slices.Clone(g.C)
		g.Run(p, dirty(g.ScratchLen(p)))
		h.Run(plain, dirty(h.ScratchLen(plain)))
		for i, want := range h.C {
			if math.Float32bits(g.C[i]) != math.Float32bits(want) {
				t.Fatalf("%v: element %d is %v, want %v", g, i, g.C[i], want)
			}
		}
	}
}

func bfloat16Bytes(x []float32) []byte {
	b := make([]byte, 0, 2*len(x))
	for _, v := range x {
		b = endian.LittleEndian.AppendUint16(b, tensor.BFloat16Bits(v))
	}
	return b
}

// roundedCase is a random product of bfloat16.
func roundedCase(r *rand.Rand, m, n, k int) *Gemm {
	g := randomGemm(r, m, n, k)
	g.BFloat16 = true
	return g
}

// roundedOracle is the oracle of the rounded operands.
func roundedOracle(g *Gemm) []float32 {
	rounded := func(x []float32) []float32 {
		y := make([]float32, len(x))
		for i, v := range x {
			y[i] = ref.RoundBFloat16(v)
		}
		return y
	}
	exact := *g
	exact.A, exact.B = rounded(g.A), rounded(g.B)
	return exact.oracle()
}

// pack packs B for p.
func packBFloat16For(p *Pool, g *Gemm) {
	rows, columns := g.K, g.N
	if g.TransB {
		rows, columns = columns, rows
	}
	var dense []float32
	for i := range rows {
		dense = append(dense, g.B[i*g.LDB:][:columns]...)
	}
	g.Packed = dirty(PackedBFloat16Len(g.K, g.N, p) / 4)
	PackBFloat16(p, unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(g.Packed))), 4*len(g.Packed)), bfloat16Bytes(dense), g.K, g.N, g.TransB)
}

func TestBFloat16GemmAgainstReference(t *testing.T) {
	r := rand.New(rand.NewPCG(16, 1))
	dims := []int{0, 1, 2, 3, 5, 8, 11, 12, 13, 16, 17, 24, 31, 32, 33, 48, 67}
	pools := bfloat16Pools(t)
	for range rounds(250) {
		m, n, k := dims[r.IntN(len(dims))], dims[r.IntN(len(dims))], dims[r.IntN(len(dims))]
		switch r.IntN(8) {
		case 0:
			k = 380 + r.IntN(900)
		case 1:
			m = 90 + r.IntN(40)
		case 2:
			n = 250 + r.IntN(40)
		case 3:
			k, m = 2048, 7+r.IntN(5)
		}
		g := roundedCase(r, m, n, k)
		start, want := append([]float32(nil), g.C...), roundedOracle(g)
		for _, p := range pools {
			copy(g.C, start)
			if g.Packed = nil; r.IntN(2) == 0 && k > 0 && n > 0 {
				packBFloat16For(p, g)
			}
			g.Run(p, dirty(g.ScratchLen(p)))
			for i := range want {
				if !close32(g.C[i], want[i], float32(k+1)*1e-6) {
					t.Fatalf("%v: %v: element %d,%d is %v, want %v", p.Tier(), g, i/g.LDC, i%g.LDC, g.C[i], want[i])
				}
			}
		}
	}
}

// TestBFloat16GemmOfWholeNumbers is exact in any order of sums.
func TestBFloat16GemmOfWholeNumbers(t *testing.T) {
	r := rand.New(rand.NewPCG(16, 2))
	pools := bfloat16Pools(t)
	for range 60 {
		g := roundedCase(r, 1+r.IntN(30), 1+r.IntN(70), 1+r.IntN(900))
		g.Act, g.Add = Activation(r.IntN(2)), nil
		for _, x := range [][]float32{g.A, g.B, g.C, g.Bias} {
			for i := range x {
				x[i] = float32(r.IntN(15) - 7)
			}
		}
		start, want := append([]float32(nil), g.C...), roundedOracle(g)
		for _, p := range pools {
			copy(g.C, start)
			if g.Packed = nil; r.IntN(2) == 0 {
				packBFloat16For(p, g)
			}
			g.Run(p, dirty(g.ScratchLen(p)))
			same(t, fmt.Sprint(p.Tier(), " ", g), g.C, want)
		}
	}
}

// TestBFloat16RowsDoNotDependOnTheirBatch: alone, in a batch, with other threads, packed
// and not.
func TestBFloat16RowsDoNotDependOnTheirBatch(t *testing.T) {
	r := rand.New(rand.NewPCG(16, 3))
	pools := bfloat16Pools(t)
	for range rounds(20) {
		m, n, k := 2+r.IntN(60), 1+r.IntN(90), 1+r.IntN(1500)
		a, b, bias, trans := random(r, m*k, 3), random(r, n*k, 5), random(r, n, 1), r.IntN(2) == 0
		want := map[string][]float32{}
		for _, p := range pools {
			tier := fmt.Sprint(p.isa, p.dots, p.amx)
			run := func(first, rows int, packed bool) []float32 {
				g := &Gemm{M: rows, N: n, K: k, TransB: trans, LDB: n, A: a[first*k:], B: b, C: make([]float32, rows*n), Bias: bias, BiasAxis: BiasColumn, BFloat16: true}
				if trans {
					g.LDB = k
				}
				if packed {
					packBFloat16For(p, g)
				}
				g.Run(p, dirty(g.ScratchLen(p)))
				return g.C
			}
			if want[tier] == nil {
				want[tier] = run(0, m, false)
			}
			same(t, tier, run(0, m, true), want[tier])
			rows := 1 + r.IntN(m)
			first := r.IntN(m - rows + 1)
			same(t, tier, run(first, rows, r.IntN(2) == 0), want[tier][first*n:][:rows*n])
		}
	}
}

// TestBFloat16GemmOfRoundedRows: rounded before, or after, a product has the bits that it has
// if it rounds A itself, or if its result is rounded.
func TestBFloat16GemmOfRoundedRows(t *testing.T) {
	r := rand.New(rand.NewPCG(16, 7))
	pools := slices.DeleteFunc(bfloat16Pools(t), func(p *Pool) bool { return !KeepsBFloat16(p) })
	for i := range rounds(40) {
		g := roundedCase(r, r.IntN(60), 2*r.IntN(60), 2+2*r.IntN(60))
		switch i % 8 {
		case 0: // more rows than are rounded together, more words than are added together
			g = roundedCase(r, 2*mBlock-3+r.IntN(9), 2+2*r.IntN(30), 2*kBlock+2*r.IntN(100))
		case 1: // rows of A are copied, since they lie badly
			g = roundedCase(r, 1+r.IntN(20), nBlock+2*r.IntN(50), aliasBytes/2)
		}
		g.TransA, g.LDA, g.LDC, g.Add, g.Accumulate = false, g.K, g.N, nil, false
		g.A, g.C = random(r, g.M*g.K, 3), make([]float32, g.M*g.N)
		narrow := func(x []float32) []float32 {
			words := dirty(len(x) / 2)
			narrowBFloat16(Generic, words, x)
			return words
		}
		for _, p := range pools {
			if g.Packed = nil; r.IntN(2) == 0 && g.N > 0 {
				packBFloat16For(p, g)
			}
			g.Run(p, dirty(g.ScratchLen(p)))
			want, h := narrow(g.C), *g
			h.RoundedC, h.C = true, dirty(len(want))
			if h.RoundedA = r.IntN(2) == 0; h.RoundedA {
				h.A = narrow(g.A)
			}
			h.Run(p, dirty(h.ScratchLen(p)))
			for i, w := range bitsAt(want) {
				if got := bitsAt(h.C)[i]; got != w {
					t.Fatalf("%v: %v, A rounded %v: word %d is %x, want %x", p.Tier(), g, h.RoundedA, i, got, w)
				}
			}
		}
	}
}

// TestRunsOfBFloat16DoNotAllocate, after the first.
func TestRunsOfBFloat16DoNotAllocate(t *testing.T) {
	for _, p := range bfloat16Pools(t) {
		g := roundedCase(rand.New(rand.NewPCG(16, 6)), 70, 80, 90)
		scratch := dirty(g.ScratchLen(p))
		if n := testing.AllocsPerRun(20, func() { g.Run(p, scratch) }); n > 0 {
			t.Errorf("%v: %v allocations", p.Tier(), n)
		}
		if !KeepsBFloat16(p) {
			continue
		}
		g = &Gemm{M: 70, N: 80, K: 90, A: make([]float32, 70*45), B: g.B, C: make([]float32, 70*40), BFloat16: true, RoundedA: true, RoundedC: true}
		scratch = dirty(g.ScratchLen(p))
		if n := testing.AllocsPerRun(20, func() { g.Run(p, scratch) }); n > 0 {
			t.Errorf("%v: %v allocations with rounded rows", p.Tier(), n)
		}
	}
}

// TestRoundBFloat16: every tier rounds as tensors are converted.
func TestRoundBFloat16(t *testing.T) {
	r := rand.New(rand.NewPCG(16, 4))
	x := []float32{0, float32(math.Copysign(0, -1)), float32(math.NaN()), -float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)),
		math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32, 0x1.01p0, 0x1.03p0, 0x1.008p0, math.Float32frombits(0x7f800001), math.Float32frombits(0xffffffff)}
	for range 5000 {
		x = append(x, math.Float32frombits(r.Uint32()), math.Float32frombits(r.Uint32()&0xffff0000|0x8000))
	}
	for _, isa := range tiers() {
		for _, n := range []int{0, 1, 15, 16, 17, 100, len(x)} {
			y, words := make([]float32, n), dirty((n+3)/2)
			roundBFloat16(isa, y, x[len(x)-n:])
			narrowBFloat16(isa, words, x[len(x)-n:])
			for i, v := range x[len(x)-n:] {
				want := uint32(tensor.BFloat16Bits(v))
				if v != v {
					want = 0x7fc0
				}
				half := bitsAt(words)[i/2] >> (i % 2 * 16) & 0xffff
				if math.Float32bits(y[i]) != want<<16 || half != want {
					t.Fatalf("%v: %x becomes %x and %x, want %x", isa, math.Float32bits(v), math.Float32bits(y[i]), half, want)
				}
			}
			for i := n; i < 2*len(words); i++ {
				if bitsAt(words)[i/2]>>(i%2*16)&0xffff != 0 {
					t.Fatalf("%v: half %d behind %d numbers is not 0", isa, i, n)
				}
			}
		}
	}
}

// TestPackBFloat16 finds every element where the kernels read it, on tiers that this
// processor cannot run too.
func TestPackBFloat16(t *testing.T) {
	r := rand.New(rand.NewPCG(16, 5))
	for _, isa := range tiers() {
		for _, dots := range []bool{false, true} {
			p := NewPool(2, isa)
			t.Cleanup(p.Close)
			p.dots = dots
			k, n := 1+r.IntN(20), 1+r.IntN(80)
			b := make([]byte, 2*k*n)
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			dst := make([]byte, PackedBFloat16Len(k, n, p))
			for _, trans := range []bool{false, true} {
				PackBFloat16(p, dst, b, k, n, trans)
				cols, rows := shapeOf(isa).cols, k
				if dots {
					rows += k % 2
				}
				for i := range rows {
					for j := range ceilDiv(n, cols) * cols {
						at, from := j/cols*rows*cols+i*cols+j%cols, i*n+j
						if dots {
							at = j/cols*rows*cols + i/2*2*cols + 2*(j%cols) + i%2
						}
						if trans {
							from = j*k + i
						}
						want := uint16(0)
						if i < k && j < n {
							want = endian.LittleEndian.Uint16(b[2*from:])
						}
						if got := endian.LittleEndian.Uint16(dst[2*at:]); got != want {
							t.Fatalf("%v dots %v trans %v: element %d,%d of %d×%d is %x, want %x", isa, dots, trans, i, j, k, n, got, want)
						}
					}
				}
			}
		}
	}
}

func BenchmarkBFloat16Gemm(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, s := range [][3]int{{1024, 384, 384}, {1024, 1536, 384}, {1024, 384, 1536}, {1, 1536, 384}, {1, 50257, 768}} {
		b.Run(fmt.Sprintf("%dx%dx%d", s[0], s[1], s[2]), func(b *testing.B) {
			p := NewPool(1, Detect())
			defer p.Close()
			g := &Gemm{M: s[0], N: s[1], K: s[2], A: random(r, s[0]*s[2], 0), C: make([]float32, s[0]*s[1]), BFloat16: true}
			g.Packed = make([]float32, PackedBFloat16Len(g.K, g.N, p)/4)
			scratch := make([]float32, g.ScratchLen(p))
			benchFlops(b, 2*float64(g.M)*float64(g.N)*float64(g.K), func() { g.Run(p, scratch) })
		})
	}
}

// rounds is a quarter of n in a short run, which is that of the race detector.
func rounds(n int) int {
	if testing.Short() {
		return n / 4
	}
	return n
}
