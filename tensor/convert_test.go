package tensor

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

var (
	nan = float32(math.NaN())
	inf = float32(math.Inf(1))
)

func sameFloats(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool {
		return math.Float32bits(x) == math.Float32bits(y) || x != x && y != y
	})
}

// Codes from the published tables of each format.
func TestNarrowFloatsHaveTheirPublishedValues(t *testing.T) {
	for _, tc := range []struct {
		d     DType
		codes []byte
		want  []float32
	}{
		{Float8E4M3FN, []byte{0x00, 0x80, 0x01, 0x08, 0x38, 0x7e, 0x7f, 0xfe, 0xff}, []float32{0, float32(math.Copysign(0, -1)), 1. / 512, 1. / 64, 1, 448, nan, -448, nan}},
		{Float8E4M3FNUZ, []byte{0x00, 0x80, 0x01, 0x40, 0x7f, 0xff}, []float32{0, nan, 1. / 1024, 1, 240, -240}},
		{Float8E5M2, []byte{0x01, 0x04, 0x3c, 0x7b, 0x7c, 0x7d, 0xfc}, []float32{1. / 65536, 1. / 16384, 1, 57344, inf, nan, -inf}},
		{Float8E5M2FNUZ, []byte{0x80, 0x01, 0x40, 0x7f}, []float32{nan, 1. / 131072, 1, 57344}},
		{Float8E8M0, []byte{0, 1, 127, 128, 254, 255}, []float32{0x1p-127, 0x1p-126, 1, 2, 0x1p127, nan}},
	} {
		x, err := FromBytes(tc.d, tc.codes, len(tc.codes))
		if err != nil {
			t.Fatal(err)
		}
		got := make([]float32, x.Len())
		Float32s(got, x)
		if !sameFloats(got, tc.want) {
			t.Errorf("%v: %v, want %v", tc.d, got, tc.want)
		}
	}
	half, _ := FromBytes(Float16, []byte{1, 0, 0, 4, 0, 0x3c, 0xff, 0x7b, 0, 0xfc, 1, 0x7c}, 6)
	got := make([]float32, 6)
	Float32s(got, half)
	if want := []float32{0x1p-24, 0x1p-14, 1, 65504, -inf, nan}; !sameFloats(got, want) {
		t.Errorf("float16: %v, want %v", got, want)
	}
	fp4, _ := FromBytes(Float4E2M1, []byte{0x10, 0x32, 0x54, 0x76, 0x98}, 9)
	got = make([]float32, 9)
	Float32s(got, fp4)
	if want := []float32{0, 0.5, 1, 1.5, 2, 3, 4, 6, float32(math.Copysign(0, -1))}; !sameFloats(got, want) {
		t.Errorf("float4e2m1: %v, want %v", got, want)
	}
}

// Every code of every narrow float comes back from float32 and from float64.
func TestNarrowFloatsRoundTrip(t *testing.T) {
	for _, d := range []DType{Float16, BFloat16, Float8E4M3FN, Float8E4M3FNUZ, Float8E5M2, Float8E5M2FNUZ, Float8E8M0, Float4E2M1} {
		n := 1 << min(d.Bits(), 16)
		x := New(d, n)
		for i := range n {
			switch d.Bits() {
			case 16:
				Data[uint16](x)[i] = uint16(i)
			case 8:
				x.data[i] = byte(i)
			case 4:
				setBits(x.data, i, 4, uint(i))
			}
		}
		want := make([]float32, n)
		Float32s(want, x)
		for _, via := range []DType{Float32, Float64} {
			wide, back, got := New(via, n), New(d, n), make([]float32, n)
			if err := Convert(wide, x, false); err != nil {
				t.Fatal(err)
			}
			if err := Convert(back, wide, false); err != nil {
				t.Fatal(err)
			}
			Float32s(got, back)
			if !sameFloats(got, want) {
				t.Errorf("%v does not come back from %v", d, via)
			}
		}
	}
}

// Rounding by bits equals rounding by definition: to the nearest code, ties to the even one.
func TestFastRoundingEqualsTheDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 300_000 {
		u := rng.Uint32()
		if i%3 == 0 { // ties and their neighbours
			u = u&^0xffff | []uint32{0x1000, 0x0fff, 0x1001, 0x3000, 0x8000, 0x7fff, 0x8001}[i%7]
		}
		f := math.Float32frombits(u)
		if f != f {
			continue
		}
		if got, want := toFloat16(f), uint16(binary16.encode(float64(f), false)); got != want {
			t.Fatalf("float16 of %v (%#x): %#x, want %#x", f, u, got, want)
		}
		if got, want := toBFloat16(f), uint16(bfloat16.encode(float64(f), false)); got != want {
			t.Fatalf("bfloat16 of %v (%#x): %#x, want %#x", f, u, got, want)
		}
	}
}

func TestEncodeIsNearestEven(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, d := range []DType{Float8E4M3FN, Float8E4M3FNUZ, Float8E5M2, Float8E5M2FNUZ, Float4E2M1} {
		m := miniFloats[d]
		for range 20_000 {
			v := math.Ldexp(1+float64(rng.IntN(64))/64, rng.IntN(40)-25)
			if v > m.decode(m.top) {
				continue
			}
			best := uint(0)
			for code := range m.top + 1 {
				a, b := math.Abs(m.decode(code)-v), math.Abs(m.decode(best)-v)
				if a < b || a == b && code%2 == 0 {
					best = code
				}
			}
			if got := m.encode(v, true); got != best {
				t.Fatalf("%v of %v: %#x, want %#x", d, v, got, best)
			}
		}
	}
}

// The tables of ONNX, Cast, version 28.
func TestCastTables(t *testing.T) {
	in := []float32{0, float32(math.Copysign(0, -1)), nan, inf, -inf, 1e6, -1e6, 0x1p-30}
	for _, tc := range []struct {
		d              DType
		saturate, free []byte
	}{
		{Float8E4M3FN, []byte{0, 0x80, 0x7f, 0x7e, 0xfe, 0x7e, 0xfe, 0}, []byte{0, 0x80, 0x7f, 0x7f, 0xff, 0x7f, 0xff, 0}},
		{Float8E4M3FNUZ, []byte{0, 0, 0x80, 0x7f, 0xff, 0x7f, 0xff, 0}, []byte{0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0}},
		{Float8E5M2, []byte{0, 0x80, 0x7e, 0x7b, 0xfb, 0x7b, 0xfb, 0}, []byte{0, 0x80, 0x7e, 0x7c, 0xfc, 0x7c, 0xfc, 0}},
		{Float8E5M2FNUZ, []byte{0, 0, 0x80, 0x7f, 0xff, 0x7f, 0xff, 0}, []byte{0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0}},
	} {
		for _, saturate := range []bool{true, false} {
			want := tc.free
			if saturate {
				want = tc.saturate
			}
			x := New(tc.d, len(in))
			if err := Convert(x, Of(in, len(in)), saturate); err != nil || !slices.Equal(x.Bytes(), want) {
				t.Errorf("%v saturate %v: % x, want % x (%v)", tc.d, saturate, x.Bytes(), want, err)
			}
		}
	}
}

func TestE8M0Rounding(t *testing.T) {
	in := Of([]float32{1, 1.25, 1.5, 1.75, 0, inf, nan, 3e38, 0x1p-140}, 9)
	for _, tc := range []struct {
		c    Conversion
		want []byte
	}{
		{Conversion{Saturate: true, Round: RoundUp}, []byte{127, 128, 128, 128, 0, 254, 255, 254, 0}},
		{Conversion{Saturate: true, Round: RoundDown}, []byte{127, 127, 127, 127, 0, 254, 255, 254, 0}},
		{Conversion{Saturate: false, Round: RoundNearest}, []byte{127, 127, 128, 128, 255, 255, 255, 255, 255}},
	} {
		x := New(Float8E8M0, 9)
		if err := tc.c.Run(x, in); err != nil || !slices.Equal(x.Bytes(), tc.want) {
			t.Errorf("%+v: %v, want %v (%v)", tc.c, x.Bytes(), tc.want, err)
		}
	}
}

func TestConvertBetweenTypes(t *testing.T) {
	bytes := func(d DType, n int, b ...byte) *Tensor {
		x, err := FromBytes(d, b, n)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	for _, tc := range []struct{ src, want *Tensor }{
		{Of([]float32{1.9, -1.9, 300, -1, nan}, 5), Of([]uint8{1, 255, 44, 255, 0}, 5)},
		{Of([]float64{1e30, -1e30, math.NaN()}, 3), Of([]int64{math.MaxInt64, math.MinInt64, 0}, 3)},
		{Of([]float64{0x1p63, -1, 1e30}, 3), Of([]uint64{1 << 63, math.MaxUint64, math.MaxUint64}, 3)},
		{Of([]int16{200, -129}, 2), Of([]int8{-56, 127}, 2)},
		{Of([]uint64{math.MaxUint64, 1 << 63}, 2), Of([]float32{0x1p64, 0x1p63}, 2)},
		{Of([]int64{-1, 5}, 2), Of([]uint64{math.MaxUint64, 5}, 2)},
		{Of([]float32{0, float32(math.Copysign(0, -1)), 0.25, nan}, 4), Of([]bool{false, false, true, true}, 4)},
		{Of([]bool{true, false}, 2), Of([]float64{1, 0}, 2)},
		{bytes(Bool, 2, 7, 0), Of([]int32{1, 0}, 2)},
		{Of([]int8{7, -8, 9}, 3), bytes(Int4, 3, 0x87, 0x09)},
		{bytes(Int4, 3, 0x87, 0x09), Of([]int32{7, -8, -7}, 3)},
		{bytes(Uint4, 3, 0x87, 0x0f), Of([]float32{7, 8, 15}, 3)},
		{bytes(Int2, 5, 0b11_10_01_00, 0b10), Of([]int8{0, 1, -2, -1, -2}, 5)},
		{Of([]float32{3, 2, 1, 0, 3}, 5), bytes(Uint2, 5, 0b00_01_10_11, 0b11)},
		{Of([]float32{nan, inf, -7, 2.5, 0.25}, 5), bytes(Float4E2M1, 5, 0x78, 0x4f, 0x00)},
		// 1 + 2^-11 + 2^-30 is above the tie, which float32 would lose.
		{Of([]float64{1 + 0x1p-11 + 0x1p-30, 1e6}, 2), bytes(Float16, 2, 0x01, 0x3c, 0, 0x7c)},
	} {
		got := New(tc.want.DType(), tc.want.Shape()...)
		for i := range got.data { // what was there must not show through
			got.data[i] = 0xff
		}
		err := Convert(got, tc.src, true)
		if last := len(got.data) - 1; got.Len()*got.dtype.Bits()%8 != 0 {
			got.data[last] &= 1<<(got.Len()*got.dtype.Bits()%8) - 1
		}
		if err != nil || !slices.Equal(got.Bytes(), tc.want.Bytes()) {
			t.Errorf("%v to %v: % x, want % x (%v)", tc.src, tc.want, got.Bytes(), tc.want.Bytes(), err)
		}
	}
}

// Chunks join without a seam.
func TestConvertLongTensors(t *testing.T) {
	n := 3*chunk + 5
	src := New(Int32, n)
	for i := range n {
		Data[int32](src)[i] = int32(i%16 - 8)
	}
	for _, via := range []DType{Int4, Int8, Float16, Float64, BFloat16} {
		x, back := New(via, n), New(Int32, n)
		if err := Convert(x, src, true); err != nil {
			t.Fatal(err)
		}
		if err := Convert(back, x, true); err != nil || !slices.Equal(back.Bytes(), src.Bytes()) {
			t.Errorf("through %v: %v", via, err)
		}
	}
}

func TestConvertRefuses(t *testing.T) {
	if err := Convert(New(Float32, 2), New(String, 2), true); err == nil {
		t.Error("strings converted")
	}
	if err := Convert(New(Float32, 2), New(Int8, 3), true); err == nil {
		t.Error("3 elements converted into 2")
	}
	if err := Convert(New(Float32, 2), New(Complex64, 2), true); err == nil {
		t.Error("complex numbers converted")
	}
}

func TestConvertAllocatesNothing(t *testing.T) {
	src, dst, f := New(Float32, 2000), New(Float16, 2000), make([]float32, 2000)
	if n := testing.AllocsPerRun(5, func() {
		if err := Convert(dst, src, true); err != nil {
			t.Error(err)
		}
		Float32s(f, dst)
		SetFloat32s(dst, f)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
