package ref

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// TestMultiplyAdd compares with numbers of any precision, rounded once.
func TestMultiplyAdd(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 16))
	for i := range 200000 {
		exponent := func(spread int) uint32 { return uint32(127-spread/2+r.IntN(spread+1)) << 23 }
		a, b := r.Uint32()&0x807f0000|exponent(20), r.Uint32()&0x807f0000|exponent(20)
		c := math.Float32frombits(r.Uint32()&0x807fffff | exponent(60))
		if i%3 == 0 { // sums that are halfway between two numbers, or just beside it
			c = math.Float32frombits(math.Float32bits(c) &^ 0xff)
		}
		got := multiplyAdd(a, b, c)
		exact := new(big.Float).SetPrec(500)
		exact.Mul(exact.SetFloat64(float64(math.Float32frombits(a))), new(big.Float).SetPrec(500).SetFloat64(float64(math.Float32frombits(b))))
		exact.Add(exact, new(big.Float).SetPrec(500).SetFloat64(float64(c)))
		if want, _ := exact.Float32(); got != want {
			t.Fatalf("%x·%x + %x is %x, want %x", a, b, math.Float32bits(c), math.Float32bits(got), math.Float32bits(want))
		}
	}
	for _, x := range []struct{ a, b, c, want uint32 }{
		{0x3f800000, 0x00010000, 0, 0},                   // a number below the normal ones
		{0x80000000, 0x3f800000, 0x80000001, 0x80000000}, // as what is added to, too
		{0x1f800000, 0x1f000000, 0, 0},                   // a result below them
		{0x7f800000, 0x3f800000, 0x3f800000, 0x7f800000},
		{0x7f000000, 0x7f000000, 0, 0x7f800000},
	} {
		if got := math.Float32bits(multiplyAdd(x.a, x.b, math.Float32frombits(x.c))); got != x.want {
			t.Errorf("%x·%x + %x is %x, want %x", x.a, x.b, x.c, got, x.want)
		}
	}
}
