package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"tandem/kernel/ref"
)

// roundedConv is a random convolution of bfloat16: with even channels, in one group, and
// of so little work that the reference does it in no time.
func roundedConv(r *rand.Rand) *Conv {
	for {
		c := randomConv(r)
		c.Groups, c.C, c.OC = 1, 2*(1+r.IntN(12)), 1+r.IntN(70)
		switch r.IntN(4) {
		case 0: // several blocks of taps
			c.C, c.OC = 2*(100+r.IntN(150)), 1+r.IntN(40)
			c.N, c.H, c.W = 1+r.IntN(2), c.H/6+c.KH*or(c.DilationH, 1), c.W/6+c.KW*or(c.DilationW, 1)
		case 1:
			c.KH, c.KW, c.StrideH, c.StrideW, c.PadTop, c.PadLeft, c.PadBottom, c.PadRight = 1, 1, 1, 1, 0, 0, 0, 0
			c.C = []int{c.C, 1024, 800, 512}[r.IntN(4)] // whose rows lie on the same ways of the cache, and more than a block
		}
		oh, ow := c.OutSize()
		if work := c.N * c.OC * oh * ow * c.C * c.KH * c.KW; work > 1<<20 {
			continue
		}
		c.X, c.Y = random(r, c.N*c.C*c.H*c.W, r.IntN(16)), make([]float32, c.N*c.OC*oh*ow)
		c.Weight = random(r, c.OC*c.C*c.KH*c.KW, r.IntN(16))
		if c.Bias != nil {
			c.Bias = random(r, c.OC, r.IntN(16))
		}
		return c
	}
}

// roundedLast is c with its channels last, for p, and what its result is to be: that of the
// rounded operands.
func roundedLast(r *rand.Rand, c *Conv, p *Pool) (*ConvLast, []float32) {
	exact := *c
	exact.X, exact.Weight = roundedOf(c.X), roundedOf(c.Weight)
	l, want := lastOf(r, &exact, p.isa)
	l.X, l.BFloat16 = channelsLast(c.X, c.N, c.C, c.H*c.W), true
	l.Packed = dirty(BFloat16ConvLen(p, c.OC, c.C, c.KH, c.KW) / 4)
	PackBFloat16Conv(p, unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(l.Packed))), 4*len(l.Packed)), bfloat16Bytes(c.Weight), c.OC, c.C, c.KH, c.KW)
	return l, want
}

func roundedOf(x []float32) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = ref.RoundBFloat16(v)
	}
	return y
}

// TestBFloat16ConvAgainstReference compares with the direct sums of rounded numbers, the
// bits with those of one thread and of each image alone, and where words are rounded
// numbers with those of a convolution of float32.
func TestBFloat16ConvAgainstReference(t *testing.T) {
	r := rand.New(rand.NewPCG(51, 16))
	pools := bfloat16Pools(t)
	for range rounds(80) {
		c, first := roundedConv(r), map[string][]float32{}
		for _, p := range pools {
			l, want := roundedLast(rand.New(rand.NewPCG(1, uint64(c.N*c.W))), c, p)
			l.Y = dirty(len(want))
			if l.Add != nil && c.N == 1 { // in place
				l.Y = slices.Clone(l.Add)
				l.Add = l.Y
			}
			l.Run(p, dirty(l.ScratchLen(p)))
			compare(t, fmt.Sprint(p.isa, p.dots, l), l.Y, want, 1e-5*float32(l.k())*2)
			tier := fmt.Sprint(p.isa, convDots(p))
			if first[tier] == nil {
				first[tier] = l.Y
			}
			same(t, l, l.Y, first[tier])
			eachAlone(t, l, p)
			if convDots(p) || l.Add != nil && c.N == 1 {
				continue
			}
			f := *l
			f.BFloat16, f.X, f.Y = false, roundedOf(l.X), dirty(len(want))
			f.Packed = make([]float32, ConvLastLen(c.OC, c.C, c.KH, c.KW, 1, p.isa))
			PackConvLast(f.Packed, roundedOf(c.Weight), c.OC, c.C, c.KH, c.KW, 1, p.isa)
			f.Run(p, dirty(f.ScratchLen(p)))
			same(t, l, l.Y, f.Y)
		}
	}
}

// TestBFloat16ConvOfWholeNumbers is exact in any order of sums.
func TestBFloat16ConvOfWholeNumbers(t *testing.T) {
	r := rand.New(rand.NewPCG(51, 17))
	pools := bfloat16Pools(t)
	for range rounds(40) {
		c := roundedConv(r)
		for _, x := range [][]float32{c.X, c.Weight, c.Bias} {
			for i := range x {
				x[i] = float32(r.IntN(15) - 7)
			}
		}
		for _, p := range pools {
			l, want := roundedLast(r, c, p)
			if l.Act > ActReLU || l.Add != nil {
				continue
			}
			l.Y = dirty(len(want))
			l.Run(p, dirty(l.ScratchLen(p)))
			same(t, fmt.Sprint(p.Tier(), " ", l), l.Y, want)
		}
	}
}

// TestWordsOfBFloat16: as the reference makes them, and none behind the last.
func TestWordsOfBFloat16(t *testing.T) {
	if !detectBF16() {
		t.Skip("SKIPPED: this processor does not make words of bfloat16")
	}
	r := rand.New(rand.NewPCG(51, 18))
	x := make([]float32, 5000)
	for i := range x {
		x[i] = math.Float32frombits(r.Uint32())
		switch r.IntN(4) {
		case 0:
			x[i] = math.Float32frombits(r.Uint32()&0xffff0000 | 0x8000)
		case 1:
			x[i] = math.Float32frombits(r.Uint32() & 0x80ffffff) // below the normal numbers, and some of these
		}
	}
	for _, n := range []int{0, 2, 14, 16, 18, 30, 32, 34, 62, 64, 100, len(x) - 2, len(x)} {
		from := x[len(x)-n:]
		want, have := make([]float32, n/2+1), make([]float32, n/2+1)
		wordsBFloat16(Generic, want[:n/2], from)
		wordsBFloat16(AVX512, have[:n/2], from)
		if !slices.Equal(bitsAt(have), bitsAt(want)) {
			t.Fatalf("words of %d elements are not those of the reference", n)
		}
	}
}

// TestBFloat16ConvDoesNotAllocate, after the first run.
func TestBFloat16ConvDoesNotAllocate(t *testing.T) {
	for _, p := range bfloat16Pools(t) {
		for _, k := range []int{1, 3} {
			c := &Conv{N: 2, C: 40, H: 9, W: 9, OC: 48, KH: k, KW: k, Groups: 1}
			c.X, c.Weight, c.Y = make([]float32, 2*40*81), make([]float32, 48*40*k*k), make([]float32, 2*48*(10-k)*(10-k))
			l, want := roundedLast(rand.New(rand.NewPCG(1, 2)), c, p)
			l.Y = dirty(len(want))
			scratch := dirty(l.ScratchLen(p))
			if n := testing.AllocsPerRun(20, func() { l.Run(p, scratch) }); n > 0 {
				t.Errorf("%v: %v allocations", p.Tier(), n)
			}
		}
	}
}

func BenchmarkBFloat16Conv(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	for i := range benchLast {
		for _, batch := range []int{1, 8} {
			for threads := 1; threads <= 2; threads++ {
				for _, form := range []string{"float32", "rounded", "float32+", "rounded+"} {
					rounded := form[0] == 'r'
					c := benchLast[i].Conv
					if c.N = batch; !BFloat16Conv(c.C, or(c.Groups, 1)) {
						continue
					}
					oh, ow := c.OutSize()
					p := NewPool(threads, Detect())
					l := &ConvLast{
						N: c.N, H: c.H, W: c.W, C: c.C, OC: c.OC, KH: c.KH, KW: c.KW, StrideH: c.StrideH, StrideW: c.StrideW,
						PadTop: c.PadTop, PadLeft: c.PadLeft, PadBottom: c.PadBottom, PadRight: c.PadRight, BFloat16: rounded,
						X: random(r, c.N*c.C*c.H*c.W, 0), Y: make([]float32, c.N*c.OC*oh*ow), Bias: random(r, c.OC, 0), Act: ActReLU,
					}
					l.Packed = make([]float32, ConvLastLen(c.OC, c.C, c.KH, c.KW, 1, p.isa))
					if form[len(form)-1] == '+' { // the sum goes where the summand is
						l.Add = l.Y
					}
					scratch := make([]float32, l.ScratchLen(p))
					b.Run(fmt.Sprintf("%s/%d/%d/%s", benchLast[i].name, batch, threads, form), func(b *testing.B) {
						benchFlops(b, 2*float64(len(l.Y))*float64(l.k()), func() { l.Run(p, scratch) })
					})
					p.Close()
				}
			}
		}
	}
}
