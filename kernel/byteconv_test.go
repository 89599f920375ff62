package kernel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"tandem/kernel/ref"
)

// TestByteConvIsExact compares with the sums by definition on every tier: windows,
// strides, dilations, groups, padding, both types of input; and an image alone with the
// same among others.
func TestByteConvIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(43, 1))
	pools := bytePools(t)
	for range 120 {
		d := randomConv(r)
		if r.IntN(3) == 0 {
			d.Groups, d.C, d.OC, d.KH, d.KW = 1, 4*(1+r.IntN(20)), 1+r.IntN(80), 1, 1
			d.StrideH, d.StrideW, d.PadTop, d.PadLeft, d.PadBottom, d.PadRight = 1, 1, 0, 0, 0, 0
		}
		checkByteConv(t, r, pools, d, randomBytes)
	}
}

// TestByteConvPairs: shapes whose sums become bytes half a tile at a time, with all numbers of
// rows, few words and many, several lines, and columns that are no whole tiles.
func TestByteConvPairs(t *testing.T) {
	r := rand.New(rand.NewPCG(43, 5))
	pools := bytePools(t)
	for i := range 60 {
		d := &Conv{N: 1, H: 1, W: 1 + r.IntN(60), C: 60 + r.IntN(75), OC: 30 + r.IntN(140), KH: 1, KW: 1}
		switch i % 3 {
		case 1:
			d.C = 4 * (44 + r.IntN(30))
		case 2:
			d.C, d.H, d.W, d.KH, d.KW, d.PadLeft, d.PadBottom = 20+r.IntN(20), 3+r.IntN(3), 3+r.IntN(34), 2+r.IntN(2), 3, 1, 1
		}
		checkByteConv(t, r, pools, d, randomBytes)
	}
}

// TestByteConvTaps: windows that are read in place, with all that they may lack of their taps,
// in strips along rows, down columns and through images, and few images with their padding;
// what was divided for one shape is not taken for another.
func TestByteConvTaps(t *testing.T) {
	r := rand.New(rand.NewPCG(43, 6))
	pools := bytePools(t)
	axes, padded, none := [3]int{}, 0, 0
	var before byteConvRun
	for range 120 {
		d := &Conv{
			N: 1 + r.IntN(13), H: 1 + r.IntN(9), W: 1 + r.IntN(9), C: 4 * (1 + r.IntN(5)), OC: 1 + r.IntN(80), KH: 1 + r.IntN(4), KW: 1 + r.IntN(4),
			StrideH: 1 + r.IntN(2), StrideW: 1 + r.IntN(2), DilationH: 1 + r.IntN(2), DilationW: 1,
			PadTop: r.IntN(4), PadLeft: r.IntN(4), PadBottom: r.IntN(4), PadRight: r.IntN(4),
		}
		switch r.IntN(4) {
		case 0:
			d.N, d.H, d.W = 1+r.IntN(2), 1+r.IntN(30), 1+r.IntN(30)
		case 1:
			d.PadTop, d.PadLeft, d.PadBottom, d.PadRight = 1, 1, 1, 1
		}
		if d.H+d.PadTop+d.PadBottom <= d.DilationH*(d.KH-1) || d.W+d.PadLeft+d.PadRight < d.KW {
			continue
		}
		c := checkByteConv(t, r, pools, d, randomBytes)
		for _, a := range c.list {
			if a.strips > 0 && a.rows > 1 {
				axes[a.along]++
			}
			if a.taps == 0 {
				none++
			}
		}
		if c.left+c.right > 0 {
			padded++
		}
		p := pools[len(pools)-1] // the last that weights were packed for
		sums := func() []int32 {
			oh, ow := d.OutSize()
			c.Sums = make([]int32, d.N*oh*ow*d.OC)
			c.Run(p, make([]byte, c.ScratchLen(p)))
			return c.Sums
		}
		want := sums()
		c.byteConvRun, before = before, c.byteConvRun
		if got := sums(); !slices.Equal(got, want) {
			t.Fatalf("%+v divided anew: %v, want %v", d, got, want)
		}
	}
	if pools[len(pools)-1].vnni && (slices.Contains(axes[:], 0) || padded == 0 || none == 0) {
		t.Errorf("areas by their axes %v, without taps %d, padded %d", axes, none, padded)
	}
}

// TestByteConvSlides: depthwise convolutions, those among them whose sums are as great as
// may be, whose windows have too many taps to slide, and whose images are cut into chunks.
func TestByteConvSlides(t *testing.T) {
	r := rand.New(rand.NewPCG(43, 3))
	pools := bytePools(t)
	depthwise := func(n, h, w, c, kh, kw, stride, pad, dilation int) *Conv {
		return &Conv{N: n, H: h, W: w, C: c, OC: c, Groups: c, KH: kh, KW: kw, StrideH: stride, StrideW: stride,
			PadTop: pad, PadLeft: pad, PadBottom: pad, PadRight: pad, DilationH: dilation, DilationW: dilation}
	}
	for range 60 {
		kh, kw := 1+r.IntN(5), 1+r.IntN(5)
		checkByteConv(t, r, pools, depthwise(1+r.IntN(3), kh+4+r.IntN(9), kw+4+r.IntN(9), 1+r.IntN(150), kh, kw, 1+r.IntN(3), r.IntN(6), 1+r.IntN(2)), randomBytes)
	}
	extremes := func(r *rand.Rand, n int) []byte {
		x := randomBytes(r, n)
		for i, v := range x {
			x[i] = []byte{0, 127, 128, 255, 128, 128}[v%6]
		}
		return x
	}
	for i := range 16 {
		kh, kw := []int{8, 10}[i/8], []int{16, 13}[i/8] // 128 taps and 130
		checkByteConv(t, r, pools, depthwise(1, 11, 17, 35, kh, kw, 1, 2, 1), extremes)
		all := []string{"\xff\x80\x00", "\x00\x80\xff", "\x7f\x80\x80", "\x80\x80\x7f"}[i%4] // x, weights, zero point
		checkByteConv(t, r, pools, depthwise(1, 11, 17, 19, kh, kw, 1, 2, 1), func(_ *rand.Rand, n int) []byte {
			x := make([]byte, n)
			fill(x, all[0])
			all = all[1:]
			return x
		})
	}
	for _, stride := range []int{1, 2} {
		checkByteConv(t, r, pools, depthwise(2, 13, 45, 512, 3, 3, stride, 1, 1), randomBytes)
		checkByteConv(t, r, pools, depthwise(2, 12, 130, 300, 2, 1, stride, 1, 2), randomBytes)
		checkByteConv(t, r, pools, depthwise(1, 5, 6, 700, 3, 3, stride, 1, 1), randomBytes)
	}
}

// checkByteConv compares a convolution of bytes that the given function makes with its
// sums by definition, and with what becomes of them.
func checkByteConv(t *testing.T, r *rand.Rand, pools []*Pool, d *Conv, made func(*rand.Rand, int) []byte) *ByteConv {
	t.Helper()
	s := d.shape()
	oh, ow := d.OutSize()
	ic, out := d.C/s.Groups, d.N*oh*ow*d.OC
	x, w := made(r, d.N*d.H*d.W*d.C), made(r, d.OC*ic*d.KH*d.KW)
	c := &ByteConv{
		N: d.N, H: d.H, W: d.W, C: d.C, OC: d.OC, KH: d.KH, KW: d.KW, StrideH: d.StrideH, StrideW: d.StrideW,
		PadTop: d.PadTop, PadLeft: d.PadLeft, PadBottom: d.PadBottom, PadRight: d.PadRight,
		DilationH: d.DilationH, DilationW: d.DilationW, Groups: d.Groups, X: x, SignedX: r.IntN(2) == 0,
	}
	c.ZeroX = byteValue(made(r, 1)[0], c.SignedX)
	c.Start, c.ScaleB, c.To, c.ToSigned = make([]int32, d.OC), smallOrLarge(r, d.OC), int32(r.IntN(9)), r.IntN(2) == 0
	for i := range c.Start {
		c.Start[i] = int32(r.Uint32()) >> r.IntN(30)
	}
	want := sumsByDefinition(c, w, oh, ow)
	bytes, floats := make([]byte, out), make([]float32, out)
	for i := 0; i < out; i += d.OC {
		ref.Requantize(bytes[i:][:d.OC], want[i:][:d.OC], c.ScaleB, c.To, c.ToSigned)
		ref.ScaleSums(floats[i:][:d.OC], want[i:][:d.OC], c.ScaleB, nil, 0.5)
	}
	for i := range floats {
		floats[i] = max(0, floats[i])
	}
	for _, p := range pools {
		c.Packed = make([]byte, PackedByteConvLen(d.OC, ic, d.KH, d.KW, s.Groups, p))
		PackByteConv(p, c.Packed, w, d.OC, ic, d.KH, d.KW, s.Groups)
		c.Sums = make([]int32, out)
		c.Run(p, slices.Repeat([]byte{0xa5}, c.ScratchLen(p)))
		if !slices.Equal(c.Sums, want) {
			t.Fatalf("%v %+v signed %v: %v, want %v", p.isa, s, c.SignedX, c.Sums, want)
		}
		c.Sums, c.Bytes = nil, make([]byte, out)
		c.Run(p, slices.Repeat([]byte{0xa5}, c.ScratchLen(p)))
		if !slices.Equal(c.Bytes, bytes) {
			t.Fatalf("%v %+v: bytes %v, want %v", p.isa, s, c.Bytes, bytes)
		}
		checkCombine(t, r, &c.Rescale, bytes, func() { c.Run(p, slices.Repeat([]byte{0xa5}, c.ScratchLen(p))) })
		c.Table = randomBytes(r, 256)
		c.Run(p, slices.Repeat([]byte{0xa5}, c.ScratchLen(p)))
		for i, b := range bytes {
			if c.Bytes[i] != c.Table[b] {
				t.Fatalf("%v %+v: element %d is %d, the table has %d for %d", p.isa, s, i, c.Bytes[i], c.Table[b], b)
			}
		}
		c.Table = nil
		c.Bytes, c.Y, c.ScaleA, c.Act = nil, make([]float32, out), []float32{0.5}, ActReLU
		c.Run(p, slices.Repeat([]byte{0xa5}, c.ScratchLen(p)))
		if !slices.Equal(c.Y, floats) {
			t.Fatalf("%v %+v: floats %v, want %v", p.isa, s, c.Y, floats)
		}
		c.Y = nil
	}
	return c
}

// sumsByDefinition are the sums of c with weights w.
func sumsByDefinition(c *ByteConv, w []byte, oh, ow int) []int32 {
	sums, groups := make([]int32, c.N*oh*ow*c.OC), or(c.Groups, 1)
	ic := c.C / groups
	for i := range sums {
		o, ox, oy, n := i%c.OC, i/c.OC%ow, i/c.OC/ow%oh, i/c.OC/ow/oh
		sums[i] = c.Start[o]
		for ky := range c.KH {
			for kx := range c.KW {
				y, x := oy*or(c.StrideH, 1)-c.PadTop+ky*or(c.DilationH, 1), ox*or(c.StrideW, 1)-c.PadLeft+kx*or(c.DilationW, 1)
				if y < 0 || y >= c.H || x < 0 || x >= c.W {
					continue
				}
				for ch := range ic {
					v := byteValue(c.X[((n*c.H+y)*c.W+x)*c.C+o/(c.OC/groups)*ic+ch], c.SignedX) - c.ZeroX
					sums[i] += v * int32(int8(w[((o*ic+ch)*c.KH+ky)*c.KW+kx]))
				}
			}
		}
	}
	return sums
}

// TestLookup: all bytes of any number, in place too.
func TestLookup(t *testing.T) {
	r := rand.New(rand.NewPCG(43, 4))
	for _, p := range bytePools(t) {
		for range 20 {
			n := 1 + r.IntN(700)
			if r.IntN(9) == 0 {
				n += 4 * asmElements
			}
			x, y, table := randomBytes(r, n), make([]byte, n), randomBytes(r, 256)
			for i := range min(n, 256) {
				x[i] = byte(i)
			}
			(&Lookup{Y: y, X: x, Table: table}).Run(p)
			for i, b := range x {
				if y[i] != table[b] {
					t.Fatalf("%v: element %d of %d is %d, the table has %d for %d", p.isa, i, n, y[i], table[b], b)
				}
			}
			(&Lookup{Y: x, X: x, Table: table}).Run(p)
			if !slices.Equal(x, y) {
				t.Fatalf("%v: in place %v, want %v", p.isa, x, y)
			}
		}
	}
}

// TestColours: planes become pixels, in vectors, in pieces and beside them.
func TestColours(t *testing.T) {
	r := rand.New(rand.NewPCG(43, 7))
	for _, p := range bytePools(t) {
		for i := range 30 {
			v := &Colours{N: 1 + r.IntN(4), Pixels: r.IntN(70)}
			if i%10 == 0 {
				v.Pixels += 2 * colourPixels
			}
			n := 3 * v.N * v.Pixels
			v.X, v.Y = randomBytes(r, n), make([]byte, n)
			v.Run(p)
			for j, got := range v.Y {
				if want := v.X[j/(3*max(1, v.Pixels))*3*v.Pixels+j%3*v.Pixels+j/3%v.Pixels]; got != want {
					t.Fatalf("%v: byte %d of %d images of %d pixels is %d, want %d", p.isa, j, v.N, v.Pixels, got, want)
				}
			}
		}
	}
}

// TestCombineAndMaxBytes: the same bytes on every tier.
func TestCombineAndMaxBytes(t *testing.T) {
	r := rand.New(rand.NewPCG(43, 2))
	for _, p := range bytePools(t) {
		for range 60 {
			n, signed := 1+r.IntN(3000), r.IntN(2) == 0
			steps := func() ref.Steps {
				return ref.Steps{Scale: 0.01 + r.Float32()/10, Zero: byteValue(byte(r.Uint32()), signed), Signed: signed}
			}
			v := &CombineBytes{Product: r.IntN(2) == 0, Y: make([]byte, n), A: randomBytes(r, n), B: randomBytes(r, n), OfA: steps(), OfB: steps(), OfY: steps()}
			a := v.A
			if r.IntN(2) == 0 {
				a = repeatRows(r, v)
			}
			v.Run(p)
			want := make([]byte, len(v.Y))
			ref.CombineBytes(want, a, v.B, v.OfA, v.OfB, v.OfY, v.Product)
			if !slices.Equal(v.Y, want) {
				t.Fatalf("%v: %v, want %v", p.isa, v.Y, want)
			}
		}
		for range 60 {
			h, w, c := 1+r.IntN(9), 1+r.IntN(19), 1+r.IntN(150)
			m := &MaxBytesLast{N: 1 + r.IntN(3), H: h, W: w, C: c, KH: 1 + r.IntN(3), KW: 1 + r.IntN(3), StrideH: 1 + r.IntN(2), StrideW: 1 + r.IntN(3),
				DilationH: 1 + r.IntN(2), DilationW: 1 + r.IntN(2), PadTop: r.IntN(3), PadLeft: r.IntN(3), Signed: r.IntN(2) == 0}
			m.OH, m.OW = (h-1)/m.StrideH+1, (w-1)/m.StrideW+1
			m.X, m.Y = randomBytes(r, m.N*h*w*c), randomBytes(r, m.N*m.OH*m.OW*c)
			m.Run(p)
			for i, got := range m.Y {
				ch, ox, oy, n := i%c, i/c%m.OW, i/c/m.OW%m.OH, i/c/m.OW/m.OH
				want := int32(-128)
				if !m.Signed {
					want = 0
				}
				for ky := range m.KH {
					for kx := range m.KW {
						y, x := oy*m.StrideH-m.PadTop+ky*m.DilationH, ox*m.StrideW-m.PadLeft+kx*m.DilationW
						if y >= 0 && y < h && x >= 0 && x < w {
							want = max(want, byteValue(m.X[((n*h+y)*w+x)*c+ch], m.Signed))
						}
					}
				}
				if byteValue(got, m.Signed) != want {
					t.Fatalf("%v: %s element %d is %d, want %d", p.isa, fmt.Sprint(h, w, c), i, got, want)
				}
			}
		}
	}
}

// repeatRows gives v a random number of rows of A that are repeated, and returns them
// written out.
func repeatRows(r *rand.Rand, v *CombineBytes) []byte {
	v.Columns, v.Repeat = 1+r.IntN(90), 1+r.IntN(40)
	rows := 1 + r.IntN(5)
	n := rows * v.Columns * v.Repeat
	v.A, v.B, v.Y = randomBytes(r, rows*v.Columns), randomBytes(r, n), make([]byte, n)
	var a []byte
	for row := range slices.Chunk(v.A, v.Columns) {
		a = append(a, slices.Repeat(row, v.Repeat)...)
	}
	return a
}

// BenchmarkByteConv: layers of ResNet-50 with eight pictures, those with sums of residuals
// among them. The time of a layer is that of 20 to 100 runs.
func BenchmarkByteConv(b *testing.B) {
	for _, d := range []struct {
		size, c, oc, k int
		combined       bool
	}{{56, 64, 64, 3, false}, {28, 128, 128, 3, false}, {14, 256, 256, 3, false}, {7, 512, 512, 3, false}, {56, 64, 256, 1, false},
		{56, 256, 64, 1, false}, {14, 1024, 256, 1, false}, {7, 2048, 512, 1, false},
		{56, 64, 256, 1, true}, {28, 128, 512, 1, true}, {14, 256, 1024, 1, true}, {7, 512, 2048, 1, true}} {
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("%dx%d-%dx%d-%dx%d-%v/%d", d.size, d.size, d.c, d.oc, d.k, d.k, d.combined, threads), func(b *testing.B) {
				p := NewPool(threads, Detect())
				defer p.Close()
				benchmarkByteConv(b, p, d.size, d.c, d.oc, d.k, d.combined)
			})
		}
	}
}

func benchmarkByteConv(b *testing.B, p *Pool, size, channels, oc, k int, combined bool) {
	r := rand.New(rand.NewPCG(1, 2))
	out := 8 * size * size * oc
	c := &ByteConv{N: 8, H: size, W: size, C: channels, OC: oc, KH: k, KW: k, PadTop: k / 2, PadLeft: k / 2, PadBottom: k / 2, PadRight: k / 2,
		X: randomBytes(r, 8*size*size*channels), Rescale: Rescale{ScaleB: make([]float32, oc), Bytes: make([]byte, out), To: 120}}
	for i := range c.ScaleB {
		c.ScaleB[i] = 0.001
	}
	if combined {
		c.Combine = &CombineBytes{B: c.Bytes, OfA: ref.Steps{Scale: 0.02, Zero: c.To}, OfB: ref.Steps{Scale: 0.03}, OfY: ref.Steps{Scale: 0.04}}
	}
	c.Packed = make([]byte, PackedByteConvLen(oc, channels, k, k, 1, p))
	PackByteConv(p, c.Packed, randomBytes(r, oc*channels*k*k), oc, channels, k, k, 1)
	scratch := make([]byte, c.ScratchLen(p))
	for b.Loop() {
		c.Run(p, scratch)
	}
	b.ReportMetric(2*float64(out)*float64(channels*k*k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GOP/s")
}
