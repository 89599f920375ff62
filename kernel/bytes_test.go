package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"tandem/kernel/ref"
)

// bytePools are testPools, and those of AVX-512 without dot products of bytes, and with
// these alone.
func bytePools(t testing.TB) []*Pool {
	pools := testPools(t)
	if Detect() == AVX512 {
		p := NewPool(2, AVX512)
		t.Cleanup(p.Close)
		p.vnni, p.amx = false, false
		pools = append(pools, p)
	}
	if hasAMX {
		p := NewPool(2, AVX512)
		t.Cleanup(p.Close)
		p.amx = false
		pools = append(pools, p)
	}
	p := NewPool(2, Detect()) // tiles are paired where they are not otherwise
	t.Cleanup(p.Close)
	p.four, p.amx = !p.four, false
	return append(pools, p)
}

// randomBytes returns n bytes with many at the ends of their range, which saturate
// where products are added in 16 bits.
func randomBytes(r *rand.Rand, n int) []byte {
	x := make([]byte, n)
	extreme := r.IntN(2) == 0
	for i := range x {
		x[i] = byte(r.Uint32())
		if extreme && r.IntN(3) > 0 {
			x[i] = []byte{0, 127, 128, 255}[r.IntN(4)]
		}
	}
	return x
}

func byteValue(b byte, signed bool) int32 {
	if signed {
		return int32(int8(b))
	}
	return int32(b)
}

// byteCase is a random product with its exact sums.
type byteCase struct {
	ByteGemm
	b       []byte
	signedB bool
	trans   bool
	zeros   []int32 // as the caller thinks of them
	want    []int32
	scale   []float32
}

func randomByteCase(r *rand.Rand, m, n, k int) *byteCase {
	c := &byteCase{b: randomBytes(r, k*n), signedB: r.IntN(2) == 0, trans: r.IntN(2) == 0, zeros: make([]int32, n)}
	c.M, c.N, c.K, c.A, c.SignedA = m, n, k, randomBytes(r, m*k), r.IntN(2) == 0
	c.ZeroA = byteValue(byte(r.Uint32()), c.SignedA)
	if r.IntN(2) == 0 {
		c.Start = make([]int32, n)
		for j := range c.Start {
			c.Start[j] = int32(r.IntN(2000) - 1000)
		}
	}
	per := r.IntN(2) == 0
	for j := range c.zeros {
		if per || !c.signedB {
			c.zeros[j] = byteValue(byte(r.Uint32()), c.signedB)
		}
	}
	if r.IntN(2) == 0 { // one for all, as static quantisers write it
		fill(c.zeros, c.zeros[0])
	}
	if per || !c.signedB {
		c.ZeroB = slices.Clone(c.zeros)
		for j := range c.ZeroB {
			if !c.signedB {
				c.ZeroB[j] -= 128
			}
		}
	}
	c.want = make([]int32, m*n)
	for i := range m {
		for j := range n {
			var sum int32
			if c.Start != nil {
				sum = c.Start[j]
			}
			for q := range k {
				b := c.b[q*n+j : q*n+j+1]
				if c.trans {
					b = c.b[j*k+q:]
				}
				sum += (byteValue(c.A[i*k+q], c.SignedA) - c.ZeroA) * (byteValue(b[0], c.signedB) - c.zeros[j])
			}
			c.want[i*n+j] = sum
		}
	}
	c.scale = smallOrLarge(r, n)
	return c
}

// smallOrLarge are scales that are all so small that sums are rescaled in registers, or not.
func smallOrLarge(r *rand.Rand, n int) []float32 {
	s, most := random(r, n, 1), math.Exp2(-float64(1+r.IntN(12)))
	if r.IntN(4) == 0 {
		most = math.Exp2(float64(r.IntN(20)))
	}
	for i := range s {
		s[i] *= float32(most)
	}
	return s
}

// randomCombine is the sum or the product of n bytes in steps of to with others, most of
// whose steps are as large as those of the result, and n bytes by the reference: what y
// becomes.
func randomCombine(r *rand.Rand, y []byte, to int32, signed bool) (c *CombineBytes, want []byte) {
	of := signed != (r.IntN(8) == 0)
	steps := func() Steps {
		return Steps{Scale: 0.01 + r.Float32()/10, Zero: byteValue(byte(r.Uint32()), of), Signed: of}
	}
	c = &CombineBytes{Product: r.IntN(6) == 0, B: randomBytes(r, len(y)), OfA: steps(), OfB: steps(), OfY: steps()}
	if r.IntN(4) > 0 {
		c.OfA.Zero = to
	}
	if r.IntN(6) == 0 {
		c.OfY.Scale = 1e-9
	}
	want = make([]byte, len(y))
	ref.CombineBytes(want, y, c.B, c.OfA, c.OfB, c.OfY, c.Product)
	return c, want
}

// checkCombineRow is checkCombine with one row of n bytes for all.
func checkCombineRow(t *testing.T, r *rand.Rand, k *Rescale, y []byte, n int, run func()) {
	t.Helper()
	c, want := randomCombine(r, y, k.To, k.ToSigned)
	c.B = c.B[:n]
	ref.CombineBytes(want, y, slices.Repeat(c.B, len(y)/n), c.OfA, c.OfB, c.OfY, c.Product)
	k.Combine = c
	run()
	if !slices.Equal(k.Bytes, want) {
		t.Fatalf("rows of %d bytes combined with one: %+v\n%v, want\n%v", n, c, k.Bytes, want)
	}
	k.Combine = nil
}

// checkCombine runs a product whose bytes are y with what is made of them, where the
// others lie and elsewhere.
func checkCombine(t *testing.T, r *rand.Rand, k *Rescale, y []byte, run func()) {
	t.Helper()
	c, want := randomCombine(r, y, k.To, k.ToSigned)
	others := slices.Clone(c.B)
	for range 2 {
		k.Combine = c
		run()
		if !slices.Equal(k.Bytes, want) {
			t.Fatalf("%d bytes combined: %+v\n%v, want\n%v", len(y), c, k.Bytes, want)
		}
		c.B = k.Bytes
		copy(c.B, others)
	}
	k.Combine = nil
}

func (c *byteCase) pack(p *Pool) {
	c.Packed = make([]byte, PackedByteLen(c.K, c.N, p))
	PackBytes(p, c.Packed, c.b, c.signedB, c.K, c.N, c.trans)
}

// scratch is memory that holds rubbish.
func (c *byteCase) scratch(p *Pool) []byte {
	s := make([]byte, c.ScratchLen(p))
	for i := range s {
		s[i] = 0xa5
	}
	return s
}

// TestByteGemmIsExact: the sums are those of whole numbers on every tier, with zero
// points and without, of all four pairs of types.
func TestByteGemmIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 1))
	dims := []int{1, 2, 3, 4, 5, 11, 12, 13, 16, 17, 31, 32, 33, 48, 70}
	pools := bytePools(t)
	for range 150 {
		m, n, k := dims[r.IntN(len(dims))], dims[r.IntN(len(dims))], dims[r.IntN(len(dims))]
		switch r.IntN(8) {
		case 0:
			k = 300 + r.IntN(5000)
		case 1:
			n = 500 + r.IntN(600)
		case 2:
			m = 100 + r.IntN(100)
		case 3:
			k, m = 4096, 9+r.IntN(10)
		}
		c := randomByteCase(r, m, n, k)
		for _, p := range pools {
			c.pack(p)
			c.Sums = make([]int32, m*n)
			c.Run(p, c.scratch(p))
			if !slices.Equal(c.Sums, c.want) {
				t.Fatalf("%v vnni %v: %d×%d×%d signed %v %v trans %v zeros %v: %v\nwant %v", p.isa, p.vnni, m, n, k, c.SignedA, c.signedB, c.trans, c.ZeroB != nil, c.Sums, c.want)
			}
		}
	}
}

// TestByteGemmLong has sums that several calls of the tile kernel add to.
func TestByteGemmLong(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 2))
	c := randomByteCase(r, 3, 5, 70001)
	for _, p := range bytePools(t) {
		c.pack(p)
		c.Sums = make([]int32, len(c.want))
		c.Run(p, c.scratch(p))
		if !slices.Equal(c.Sums, c.want) {
			t.Fatalf("%v: %v, want %v", p.isa, c.Sums, c.want)
		}
	}
}

// TestRescale compares floats and bytes with the operators one by one.
func TestRescale(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 3))
	pools := bytePools(t)
	for range 120 {
		m, n, k := 1+r.IntN(40), 1+r.IntN(90), 1+r.IntN(200)
		c := randomByteCase(r, m, n, k)
		c.ScaleB = c.scale
		c.ScaleA = random(r, []int{1, m}[r.IntN(2)], 0)
		if r.IntN(2) == 0 {
			c.Bias = random(r, n, 2)
		}
		if r.IntN(2) == 0 {
			c.Add = random(r, m*n, 2)
		}
		c.Act = Activation(r.IntN(int(ActGELUErf) + 1))
		to, signed := int32(r.IntN(20)), r.IntN(2) == 0
		for _, p := range pools {
			want, bytes := make([]float32, m*n), make([]byte, m*n)
			for i := range m {
				a := c.ScaleA[min(i, len(c.ScaleA)-1)]
				ref.ScaleSums(want[i*n:][:n], c.want[i*n:][:n], c.ScaleB, c.Bias, a)
				ref.Requantize(bytes[i*n:][:n], c.want[i*n:][:n], c.ScaleB, to, signed)
			}
			if c.Act != ActNone {
				unary(p.isa, c.Act.unary(), want, want, 0)
			}
			if c.Add != nil {
				ref.Add(want, want, c.Add)
			}
			c.pack(p)
			c.Sums, c.Y, c.Bytes = nil, dirty(m*n), nil
			c.Run(p, c.scratch(p))
			same(t, fmt.Sprint(p.isa, m, n, k, c.Act), c.Y, want)
			c.Y, c.Bytes, c.To, c.ToSigned = nil, make([]byte, m*n), to, signed
			c.Run(p, c.scratch(p))
			if !slices.Equal(c.Bytes, bytes) {
				t.Fatalf("%v: bytes %v, want %v", p.isa, c.Bytes, bytes)
			}
			checkCombine(t, r, &c.Rescale, bytes, func() { c.Run(p, c.scratch(p)) })
			checkCombineRow(t, r, &c.Rescale, bytes, n, func() { c.Run(p, c.scratch(p)) })
		}
	}
}

// TestBytesAndFloats: the same bytes and numbers on every tier.
func TestBytesAndFloats(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 4))
	for _, p := range bytePools(t) {
		for range 40 {
			x := random(r, 1+r.IntN(3000), r.IntN(4))
			if r.IntN(3) == 0 {
				x[r.IntN(len(x))] = float32(math.NaN())
			}
			x[r.IntN(len(x))] = float32(math.Inf(1 - 2*r.IntN(2)))
			scale, signed := 0.001+r.Float32()/64, r.IntN(2) == 0
			zero := byteValue(byte(r.Uint32()), signed)
			for i := range 1 + r.IntN(9) { // halves
				x[i%len(x)] = (float32(i) + 0.5) * scale
			}
			lo, hi := float32(0), float32(0)
			for _, v := range x {
				if v == v {
					lo, hi = min(lo, v), max(hi, v)
				}
			}
			e := &ByteRange{X: x}
			e.Run(p)
			if e.Lo != lo || e.Hi != hi {
				t.Fatalf("%v: range %v to %v, want %v to %v", p.isa, e.Lo, e.Hi, lo, hi)
			}
			q, want := make([]byte, len(x)), make([]byte, len(x))
			(&QuantizeBytes{Y: q, X: x, Scale: scale, Zero: zero, Signed: signed}).Run(p)
			ref.QuantizeBytes(want, x, scale, zero, signed)
			if !slices.Equal(q, want) {
				t.Fatalf("%v: %v of %v, want %v", p.isa, q, x, want)
			}
			y, back := dirty(len(x)), make([]float32, len(x))
			(&DequantizeBytes{Y: y, X: q, Scale: scale, Zero: zero, Signed: signed}).Run(p)
			ref.DequantizeBytes(back, q, scale, zero, signed)
			same(t, p.isa, y, back)
		}
	}
}

// TestQuantizeRows: the same bytes and steps as the reference on every tier; a row alone
// and among others; rows of zeros and with NaN.
func TestQuantizeRows(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 6))
	for _, p := range bytePools(t) {
		for range 60 {
			m, k := 1+r.IntN(9), 1+r.IntN(300)
			if r.IntN(10) == 0 {
				k = asmElements + r.IntN(100)
			}
			x := random(r, m*k, r.IntN(4))
			if r.IntN(2) == 0 {
				clear(x[:k])
			}
			x[(m-1)*k] = 3 * x[(m-1)*k]
			x[(m-1)*k+k-1] *= -4
			bad := -1
			if r.IntN(3) == 0 {
				bad = r.IntN(m)
				x[bad*k+r.IntN(k)] = float32(math.NaN())
			}
			v := &QuantizeRows{M: m, K: k, X: x, Y: make([]byte, m*k), Step: make([]float32, m)}
			v.Run(p)
			for i := range m {
				want := make([]byte, k)
				step := ref.RowSteps(want, x[i*k:][:k])
				if i == bad {
					if v.Step[i] == v.Step[i] {
						t.Fatalf("%v: the step of a row with NaN is %v", p.isa, v.Step[i])
					}
					continue
				}
				if v.Step[i] != step || !slices.Equal(v.Y[i*k:][:k], want) {
					t.Fatalf("%v: row %d of %d: step %v, want %v; %v of %v, want %v", p.isa, i, k, v.Step[i], step, v.Y[i*k:][:k], x[i*k:][:k], want)
				}
			}
		}
	}
}

// BenchmarkByteGemm: where the processor has AMX, without it too.
func BenchmarkByteGemm(b *testing.B) {
	for _, d := range [][3]int{{1024, 384, 384}, {1024, 1536, 384}, {1024, 384, 1536}, {1024, 768, 3072}, {8, 384, 384}, {16, 384, 384}, {24, 1536, 384}} {
		for _, threads := range []int{1, 2} {
			p := NewPool(threads, Detect())
			b.Run(fmt.Sprintf("%dx%dx%d/%d", d[0], d[1], d[2], threads), func(b *testing.B) { benchmarkByteGemm(b, p, d[0], d[1], d[2]) })
			if p.amx {
				p.amx = false
				b.Run(fmt.Sprintf("%dx%dx%d/%d/VNNI", d[0], d[1], d[2], threads), func(b *testing.B) { benchmarkByteGemm(b, p, d[0], d[1], d[2]) })
			}
			p.Close()
		}
	}
}

func benchmarkByteGemm(b *testing.B, p *Pool, m, n, k int) {
	r := rand.New(rand.NewPCG(1, 2))
	g := &ByteGemm{M: m, N: n, K: k, A: randomBytes(r, m*k), Rescale: Rescale{ScaleA: []float32{1}, ScaleB: random(r, n, 0), Bias: random(r, n, 0), Y: random(r, m*n, 0)}}
	g.Packed = make([]byte, PackedByteLen(k, n, p))
	PackBytes(p, g.Packed, randomBytes(r, k*n), true, k, n, false)
	scratch := make([]byte, g.ScratchLen(p))
	for b.Loop() {
		g.Run(p, scratch)
	}
	b.ReportMetric(2*float64(m)*float64(n)*float64(k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GOP/s")
}
