package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"tandem/kernel/ref"
)

// channelsLast moves the channels of x [n,c,hw] behind the pixels.
func channelsLast(x []float32, n, c, hw int) []float32 {
	y := make([]float32, n*c*hw)
	for i := range n {
		for ch := range c {
			for p := range hw {
				y[(i*hw+p)*c+ch] = x[(i*c+ch)*hw+p]
			}
		}
	}
	return y
}

// lastOf is the same convolution as c, on channels that come last, and what its
// result is to be.
func lastOf(r *rand.Rand, c *Conv, isa ISA) (*ConvLast, []float32) {
	s := c.shape()
	l := &ConvLast{
		N: c.N, H: c.H, W: c.W, C: c.C, OC: c.OC, KH: c.KH, KW: c.KW, StrideH: c.StrideH, StrideW: c.StrideW,
		PadTop: c.PadTop, PadLeft: c.PadLeft, PadBottom: c.PadBottom, PadRight: c.PadRight,
		DilationH: c.DilationH, DilationW: c.DilationW, Groups: c.Groups, Bias: c.Bias,
		X: channelsLast(c.X, c.N, c.C, c.H*c.W), Act: Activation(r.IntN(int(ActSiLU) + 1)),
	}
	l.Packed = make([]float32, ConvLastLen(c.OC, c.C/s.Groups, c.KH, c.KW, s.Groups, isa))
	PackConvLast(l.Packed, c.Weight, c.OC, c.C/s.Groups, c.KH, c.KW, s.Groups, isa)
	y := make([]float32, len(c.Y))
	s.Forward(c.X, c.Weight, c.Bias, y, false)
	want := channelsLast(y, c.N, c.OC, s.OH*s.OW)
	if r.IntN(3) == 0 {
		l.Add = random(r, len(want), r.IntN(16))
		ref.Add(want, want, l.Add)
	}
	if l.Act != ActNone {
		unaryGeneric(l.Act.unary(), want, want, 0)
	}
	return l, want
}

func (c *ConvLast) String() string {
	return fmt.Sprintf("%+v bias %v add %v act %d", c.planar().shape(), c.Bias != nil, c.Add != nil, c.Act)
}

// randomLast is a random convolution, often with many channels or depthwise.
func randomLast(r *rand.Rand) *Conv {
	c := randomConv(r)
	switch r.IntN(3) {
	case 0: // depthwise
		c.C = 1 + r.IntN(70)
		c.Groups, c.OC = c.C, c.C
	case 1:
		c.Groups, c.C, c.OC = 1, 1+r.IntN(200), 1+r.IntN(300)
		c.N, c.H, c.W = 1+c.N/3, c.H/3+c.KH*or(c.DilationH, 1), c.W/3+c.KW*or(c.DilationW, 1)
	}
	if r.IntN(4) == 0 {
		c.KH, c.KW, c.StrideH, c.StrideW, c.PadTop, c.PadLeft, c.PadBottom, c.PadRight = 1, 1, 1, 1, 0, 0, 0, 0
	}
	oh, ow := c.OutSize()
	c.X, c.Y = random(r, c.N*c.C*c.H*c.W, r.IntN(16)), make([]float32, c.N*c.OC*oh*ow)
	c.Weight = random(r, c.OC*c.C/c.Groups*c.KH*c.KW, r.IntN(16))
	if c.Bias != nil {
		c.Bias = random(r, c.OC, r.IntN(16))
	}
	return c
}

// TestConvLastAgainstReference compares with the direct sums, the bits with those
// of one thread, and the bits of each image with the image alone.
func TestConvLastAgainstReference(t *testing.T) {
	r := rand.New(rand.NewPCG(51, 6))
	pools := testPools(t)
	rounds := 120
	if testing.Short() {
		rounds = 30
	}
	first := map[ISA][]float32{}
	for range rounds {
		c := randomLast(r)
		clear(first)
		for _, p := range pools {
			l, want := lastOf(rand.New(rand.NewPCG(1, uint64(c.N*c.W))), c, p.isa)
			l.Y = dirty(len(want))
			if l.Add != nil && c.N == 1 { // in place
				l.Y = slices.Clone(l.Add)
				l.Add = l.Y
			}
			l.Run(p, dirty(l.ScratchLen(p)))
			compare(t, fmt.Sprint(p.isa, l), l.Y, want, 1e-5*float32(l.k())*2)
			if first[p.isa] == nil {
				first[p.isa] = l.Y
			}
			same(t, l, l.Y, first[p.isa])
			eachAlone(t, l, p)
		}
	}
}

// eachAlone runs the images of a batch, which l has run, one by one: they must have the
// bits that they have together.
func eachAlone(t *testing.T, l *ConvLast, p *Pool) {
	t.Helper()
	if l.N == 1 {
		return
	}
	for i := range l.N {
		one, n := *l, len(l.Y)/l.N
		one.N, one.X, one.Y = 1, l.X[i*len(l.X)/l.N:], dirty(n)
		if l.Add != nil {
			one.Add = l.Add[i*n:]
		}
		one.Run(p, dirty(one.ScratchLen(p)))
		same(t, &one, one.Y, l.Y[i*n:][:n])
	}
}

func (c *ConvLast) k() int { return c.KH * c.KW * c.C / or(c.Groups, 1) }

var benchLast = []struct {
	name string
	Conv
}{
	{"stem7x7", Conv{C: 3, H: 224, W: 224, OC: 64, KH: 7, KW: 7, StrideH: 2, StrideW: 2, PadTop: 3, PadLeft: 3, PadBottom: 3, PadRight: 3}},
	{"1x1_56x64x64", Conv{C: 64, H: 56, W: 56, OC: 64, KH: 1, KW: 1}},
	{"1x1_56x64x256", Conv{C: 64, H: 56, W: 56, OC: 256, KH: 1, KW: 1}},
	{"1x1_56x256x64", Conv{C: 256, H: 56, W: 56, OC: 64, KH: 1, KW: 1}},
	{"3x3_56x64", Conv{C: 64, H: 56, W: 56, OC: 64, KH: 3, KW: 3, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1}},
	{"3x3_28x128", Conv{C: 128, H: 28, W: 28, OC: 128, KH: 3, KW: 3, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1}},
	{"3x3s2_56x128", Conv{C: 128, H: 56, W: 56, OC: 128, KH: 3, KW: 3, StrideH: 2, StrideW: 2, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1}},
	{"3x3_14x256", Conv{C: 256, H: 14, W: 14, OC: 256, KH: 3, KW: 3, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1}},
	{"1x1_14x1024x256", Conv{C: 1024, H: 14, W: 14, OC: 256, KH: 1, KW: 1}},
	{"1x1_14x256x1024", Conv{C: 256, H: 14, W: 14, OC: 1024, KH: 1, KW: 1}},
	{"3x3_7x512", Conv{C: 512, H: 7, W: 7, OC: 512, KH: 3, KW: 3, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1}},
	{"1x1_7x2048x512", Conv{C: 2048, H: 7, W: 7, OC: 512, KH: 1, KW: 1}},
	{"depthwise3_56x128", Conv{C: 128, H: 56, W: 56, OC: 128, KH: 3, KW: 3, Groups: 128, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1}},
	{"depthwise5_14x672", Conv{C: 672, H: 14, W: 14, OC: 672, KH: 5, KW: 5, Groups: 672, PadTop: 2, PadLeft: 2, PadBottom: 2, PadRight: 2}},
	{"depthwise7_14x384", Conv{C: 384, H: 14, W: 14, OC: 384, KH: 7, KW: 7, Groups: 384, PadTop: 3, PadLeft: 3, PadBottom: 3, PadRight: 3}},
}

func BenchmarkConvLast(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	for i := range benchLast {
		for _, batch := range []int{1, 8} {
			c := benchLast[i].Conv
			c.N, c.Groups = batch, or(c.Groups, 1)
			oh, ow := c.OutSize()
			for _, isa := range tiers()[1:] {
				for threads := 1; threads <= 2; threads++ {
					p := NewPool(threads, isa)
					l := &ConvLast{
						N: c.N, H: c.H, W: c.W, C: c.C, OC: c.OC, KH: c.KH, KW: c.KW, StrideH: c.StrideH, StrideW: c.StrideW,
						PadTop: c.PadTop, PadLeft: c.PadLeft, PadBottom: c.PadBottom, PadRight: c.PadRight, Groups: c.Groups,
						X: random(r, c.N*c.C*c.H*c.W, 0), Y: make([]float32, c.N*c.OC*oh*ow), Bias: random(r, c.OC, 0), Act: ActReLU,
					}
					l.Packed = random(r, ConvLastLen(c.OC, c.C/c.Groups, c.KH, c.KW, c.Groups, isa), 0)
					scratch := make([]float32, l.ScratchLen(p))
					b.Run(fmt.Sprintf("%s/%d/%v/%d", benchLast[i].name, batch, isa, threads), func(b *testing.B) {
						benchFlops(b, 2*float64(len(l.Y))*float64(l.k()), func() { l.Run(p, scratch) })
					})
					p.Close()
				}
			}
		}
	}
}

// TestBinaryRows compares with the same operation on operands spread out.
func TestBinaryRows(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	for range 60 {
		v := &BinaryRows{Op: OpSub, Outer: 1 + r.IntN(3), Inner: 1 + r.IntN(90), Row: 1 + r.IntN(300)}
		n := v.Outer * v.Inner * v.Row
		v.A, v.B = random(r, n, r.IntN(16)), random(r, v.Outer*v.Row, r.IntN(16))
		want := make([]float32, n)
		for i := range want {
			want[i] = v.A[i] - v.B[i/(v.Inner*v.Row)*v.Row+i%v.Row]
		}
		for _, p := range testPools(t) {
			v.Y = dirty(n)
			v.Run(p)
			same(t, p.isa, v.Y, want)
		}
	}
}

// TestMeanAndTranspose compares with plain loops.
func TestMeanAndTranspose(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 10))
	for range 40 {
		n, rows, cols := 1+r.IntN(3), 1+r.IntN(90), 1+r.IntN(200)
		x := random(r, n*rows*cols, r.IntN(16))
		mean, turned := make([]float32, n*cols), make([]float32, len(x))
		for i := range n {
			for c := range cols {
				sum := 0.0
				for row := range rows {
					sum += float64(x[(i*rows+row)*cols+c])
					turned[(i*cols+c)*rows+row] = x[(i*rows+row)*cols+c]
				}
				mean[i*cols+c] = float32(sum / float64(rows))
			}
		}
		for _, p := range testPools(t) {
			m := &MeanLast{N: n, Rows: rows, C: cols, X: x, Y: dirty(n * cols)}
			m.Run(p)
			compare(t, p.isa, m.Y, mean, 1e-6)
			tr := &Transpose{Batch: n, Rows: rows, Cols: cols, X: x, Y: dirty(len(x))}
			tr.Run(p)
			same(t, p.isa, tr.Y, turned)
		}
	}
}

// TestPoolLast compares with a loop over the windows.
func TestPoolLast(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 11))
	for range 80 {
		c := randomConv(r)
		c.C, c.OC, c.Groups = 1+r.IntN(80), 1, 1
		m := &PoolLast{
			N: c.N, H: c.H, W: c.W, C: c.C, KH: c.KH, KW: c.KW, StrideH: c.StrideH, StrideW: c.StrideW,
			PadTop: c.PadTop, PadLeft: c.PadLeft, PadBottom: c.PadBottom, PadRight: c.PadRight,
			DilationH: c.DilationH, DilationW: c.DilationW, Average: r.IntN(2) == 0, CountPad: r.IntN(2) == 0,
			X: random(r, c.N*c.H*c.W*c.C, r.IntN(16)), Lowest: dirty(c.C),
		}
		m.OH, m.OW = c.OutSize()
		if r.IntN(3) == 0 {
			m.X[r.IntN(len(m.X))] = float32(math.NaN())
		}
		want := poolOracle(m)
		for _, p := range testPools(t) {
			m.Y = dirty(len(want))
			m.Run(p)
			compare(t, fmt.Sprintf("%v average %v counting %v", p.isa, m.Average, m.CountPad), m.Y, want, 1e-6)
		}
	}
}

func poolOracle(m *PoolLast) []float32 {
	y := make([]float32, m.N*m.OH*m.OW*m.C)
	sh, sw, dh, dw := or(m.StrideH, 1), or(m.StrideW, 1), or(m.DilationH, 1), or(m.DilationW, 1)
	for i := range y {
		ch, ox, oy, n := i%m.C, i/m.C%m.OW, i/m.C/m.OW%m.OH, i/m.C/m.OW/m.OH
		top, sum, inside, padded := float32(math.Inf(-1)), 0.0, 0, 0
		for ky := range m.KH {
			for kx := range m.KW {
				iy, ix := oy*sh+ky*dh-m.PadTop, ox*sw+kx*dw-m.PadLeft
				if iy < m.H+m.PadBottom && ix < m.W+m.PadRight {
					padded++
				}
				if iy >= 0 && iy < m.H && ix >= 0 && ix < m.W {
					v := m.X[((n*m.H+iy)*m.W+ix)*m.C+ch]
					top, sum, inside = max(top, v), sum+float64(v), inside+1
				}
			}
		}
		if m.CountPad {
			inside = padded
		}
		if y[i] = top; m.Average {
			y[i] = float32(sum / float64(max(inside, 1)))
		}
	}
	return y
}
