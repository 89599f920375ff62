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
		s := d.shape()
		oh, ow := d.OutSize()
		ic, out := d.C/s.Groups, d.N*oh*ow*d.OC
		x, w := randomBytes(r, d.N*d.H*d.W*d.C), randomBytes(r, d.OC*ic*d.KH*d.KW)
		c := &ByteConv{
			N: d.N, H: d.H, W: d.W, C: d.C, OC: d.OC, KH: d.KH, KW: d.KW, StrideH: d.StrideH, StrideW: d.StrideW,
			PadTop: d.PadTop, PadLeft: d.PadLeft, PadBottom: d.PadBottom, PadRight: d.PadRight,
			DilationH: d.DilationH, DilationW: d.DilationW, Groups: d.Groups, X: x, SignedX: r.IntN(2) == 0,
		}
		c.ZeroX = byteValue(byte(r.Uint32()), c.SignedX)
		c.Start, c.ScaleB, c.To, c.ToSigned = make([]int32, d.OC), random(r, d.OC, 0), int32(r.IntN(9)), r.IntN(2) == 0
		for i := range c.Start {
			c.Start[i] = int32(r.IntN(999))
		}
		want := make([]int32, out)
		for i := range want {
			o, ox, oy, n := i%d.OC, i/d.OC%ow, i/d.OC/ow%oh, i/d.OC/ow/oh
			want[i] = c.Start[o]
			for ky := range d.KH {
				for kx := range d.KW {
					y, x0 := oy*or(d.StrideH, 1)-d.PadTop+ky*or(d.DilationH, 1), ox*or(d.StrideW, 1)-d.PadLeft+kx*or(d.DilationW, 1)
					if y < 0 || y >= d.H || x0 < 0 || x0 >= d.W {
						continue
					}
					for ch := range ic {
						v := byteValue(x[((n*d.H+y)*d.W+x0)*d.C+o/(d.OC/s.Groups)*ic+ch], c.SignedX) - c.ZeroX
						want[i] += v * int32(int8(w[((o*ic+ch)*d.KH+ky)*d.KW+kx]))
					}
				}
			}
		}
		bytes := make([]byte, out)
		for i := 0; i < out; i += d.OC {
			ref.Requantize(bytes[i:][:d.OC], want[i:][:d.OC], c.ScaleB, c.To, c.ToSigned)
		}
		for _, p := range pools {
			c.Packed = make([]byte, PackedByteConvLen(d.OC, ic, d.KH, d.KW, s.Groups, p))
			PackByteConv(p, c.Packed, w, d.OC, ic, d.KH, d.KW, s.Groups)
			c.Sums, c.Bytes = make([]int32, out), nil
			c.Run(p, make([]byte, c.ScratchLen(p)))
			if !slices.Equal(c.Sums, want) {
				t.Fatalf("%v %+v signed %v: %v, want %v", p.isa, s, c.SignedX, c.Sums, want)
			}
			c.Sums, c.Bytes = nil, make([]byte, out)
			c.Run(p, make([]byte, c.ScratchLen(p)))
			if !slices.Equal(c.Bytes, bytes) {
				t.Fatalf("%v %+v: bytes %v, want %v", p.isa, s, c.Bytes, bytes)
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
			v.Run(p)
			want := make([]byte, n)
			ref.CombineBytes(want, v.A, v.B, v.OfA, v.OfB, v.OfY, v.Product)
			if !slices.Equal(v.Y, want) {
				t.Fatalf("%v: %v, want %v", p.isa, v.Y, want)
			}
		}
		for range 30 {
			h, w, c := 1+r.IntN(9), 1+r.IntN(9), 1+r.IntN(150)
			m := &MaxBytesLast{N: 1 + r.IntN(3), H: h, W: w, C: c, KH: 1 + r.IntN(3), KW: 1 + r.IntN(3), StrideH: 1 + r.IntN(2), StrideW: 1 + r.IntN(2),
				DilationH: 1, DilationW: 1, PadTop: r.IntN(2), PadLeft: r.IntN(2), Signed: r.IntN(2) == 0}
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
						y, x := oy*m.StrideH-m.PadTop+ky, ox*m.StrideW-m.PadLeft+kx
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
