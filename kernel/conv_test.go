package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"tandem/kernel/ref"
)

func randomConv(r *rand.Rand) *Conv {
	for {
		c := &Conv{
			N: 1 + r.IntN(5), H: 1 + r.IntN(20), W: 1 + r.IntN(37), KH: 1 + r.IntN(4), KW: 1 + r.IntN(4),
			StrideH: 1 + r.IntN(3), StrideW: 1 + r.IntN(3), DilationH: 1 + r.IntN(3), DilationW: 1 + r.IntN(3),
			PadTop: r.IntN(3), PadLeft: r.IntN(3), PadBottom: r.IntN(3), PadRight: r.IntN(3), Groups: 1,
		}
		if r.IntN(2) == 0 {
			c.StrideH, c.StrideW = 1, 1
		}
		if r.IntN(2) == 0 {
			c.DilationH, c.DilationW = 0, 0
		}
		if r.IntN(3) == 0 {
			c.Groups = 1 + r.IntN(4)
		}
		c.C, c.OC = c.Groups*(1+r.IntN(7)), c.Groups*(1+r.IntN(40)/c.Groups)
		if r.IntN(10) == 0 {
			c.C, c.H, c.W = c.C*20, 1+c.H/4, 1+c.W/4
		}
		if (c.H+c.PadTop+c.PadBottom) <= or(c.DilationH, 1)*(c.KH-1) || (c.W+c.PadLeft+c.PadRight) <= or(c.DilationW, 1)*(c.KW-1) {
			continue
		}
		oh, ow := c.OutSize()
		c.X, c.Y = random(r, c.N*c.C*c.H*c.W, r.IntN(16)), random(r, c.N*c.OC*oh*ow, r.IntN(16))
		c.Weight = random(r, c.OC*c.C/c.Groups*c.KH*c.KW, r.IntN(16))
		if r.IntN(2) == 0 {
			c.Bias = random(r, c.OC, r.IntN(16))
		}
		c.Act = Activation(r.IntN(int(ActGELUErf) + 1))
		return c
	}
}

func (c *Conv) shape() ref.Conv {
	oh, ow := c.OutSize()
	return ref.Conv{
		N: c.N, C: c.C, H: c.H, W: c.W, OC: c.OC, KH: c.KH, KW: c.KW, OH: oh, OW: ow,
		StrideH: or(c.StrideH, 1), StrideW: or(c.StrideW, 1), PadTop: c.PadTop, PadLeft: c.PadLeft,
		DilationH: or(c.DilationH, 1), DilationW: or(c.DilationW, 1), Groups: or(c.Groups, 1),
	}
}

func (c *Conv) String() string {
	return fmt.Sprintf("%+v bias %v act %d", c.shape(), c.Bias != nil, c.Act)
}

func compare(t *testing.T, what any, got, want []float32, tolerance float32) {
	t.Helper()
	for i := range want {
		if !close32(got[i], want[i], tolerance) {
			t.Fatalf("%v: element %d of %d is %v, want %v", what, i, len(want), got[i], want[i])
		}
	}
}

// TestConvAgainstReference compares all three products with the direct sums,
// and the bits with those of one thread.
func TestConvAgainstReference(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	pools := testPools(t)
	rounds := 150
	if testing.Short() {
		rounds = 30
	}
	for range rounds {
		c := randomConv(r)
		s := c.shape()
		dy := append([]float32(nil), c.Y...)
		y, dx, dw := make([]float32, len(c.Y)), make([]float32, len(c.X)), make([]float32, len(c.Weight))
		s.Forward(c.X, c.Weight, c.Bias, y, c.Act == ActReLU)
		if c.Act > ActReLU {
			unaryGeneric(c.Act.unary(), y, y, 0)
		}
		s.GradInput(dy, c.Weight, dx)
		s.GradWeight(c.X, dy, dw)
		first := map[ISA][3][]float32{}
		for _, p := range pools {
			what := fmt.Sprintf("%v %d threads %v", p.ISA(), p.Threads(), c)
			got := [3][]float32{dirty(len(y)), dirty(len(dx)), dirty(len(dw))}
			c.Y = got[0]
			c.Forward(p, dirty(c.ForwardScratchLen(p)))
			c.Y = dy
			c.GradInput(p, got[1], dirty(c.GradInputScratchLen(p)))
			c.GradWeight(p, got[2], dirty(c.GradWeightScratchLen(p)))
			taps := float32(c.KH * c.KW)
			compare(t, "Forward "+what, got[0], y, 2e-6*(1+taps*float32(c.C)))
			compare(t, "GradInput "+what, got[1], dx, 2e-6*(1+taps*float32(c.OC)))
			compare(t, "GradWeight "+what, got[2], dw, 2e-6*float32(1+c.N*s.OH*s.OW))
			if first[p.ISA()][0] == nil {
				first[p.ISA()] = got
			}
			for i, name := range []string{"Forward", "GradInput", "GradWeight"} {
				same(t, name+what, got[i], first[p.ISA()][i])
			}
		}
	}
}

// TestConvImagesDoNotDependOnTheirBatch computes images alone and together.
func TestConvImagesDoNotDependOnTheirBatch(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	pools := testPools(t)
	for range 20 {
		c := randomConv(r)
		x, y, images := c.X, c.Y, c.N
		for _, p := range pools {
			c.N, c.X, c.Y = images, x, y
			c.Forward(p, dirty(c.ForwardScratchLen(p)))
			for i := range images {
				c.N, c.X, c.Y = 1, x[i*len(x)/images:], dirty(len(y)/images)
				c.Forward(p, dirty(c.ForwardScratchLen(p)))
				same(t, c, c.Y, y[i*len(y)/images:][:len(y)/images])
			}
		}
	}
}

var benchConvs = []struct {
	name string
	Conv
}{
	{"mnist1", Conv{N: 128, C: 1, H: 28, W: 28, OC: 32, KH: 3, KW: 3}},
	{"mnist2", Conv{N: 128, C: 32, H: 26, W: 26, OC: 64, KH: 3, KW: 3}},
	{"pad1", Conv{N: 64, C: 1, H: 28, W: 28, OC: 32, KH: 3, KW: 3, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1}},
	{"pad2", Conv{N: 64, C: 32, H: 28, W: 28, OC: 64, KH: 3, KW: 3, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1}},
	{"res64x32", Conv{N: 16, C: 64, H: 32, W: 32, OC: 64, KH: 3, KW: 3, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1}},
	{"res128s2", Conv{N: 16, C: 64, H: 32, W: 32, OC: 128, KH: 3, KW: 3, StrideH: 2, StrideW: 2, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1}},
	{"res128x16", Conv{N: 16, C: 128, H: 16, W: 16, OC: 128, KH: 3, KW: 3, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1}},
	{"res256x8", Conv{N: 16, C: 256, H: 8, W: 8, OC: 256, KH: 3, KW: 3, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1}},
	{"res512x4", Conv{N: 16, C: 512, H: 4, W: 4, OC: 512, KH: 3, KW: 3, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1}},
	{"res1x1s2", Conv{N: 16, C: 256, H: 8, W: 8, OC: 512, KH: 1, KW: 1, StrideH: 2, StrideW: 2}},
	{"depthwise", Conv{N: 16, C: 64, H: 32, W: 32, OC: 64, KH: 3, KW: 3, Groups: 64, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1}},
}

func BenchmarkConv(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	for i := range benchConvs {
		c := &benchConvs[i].Conv
		oh, ow := c.OutSize()
		c.X, c.Y = random(r, c.N*c.C*c.H*c.W, 0), random(r, c.N*c.OC*oh*ow, 0)
		c.Weight, c.Bias = random(r, c.OC*c.C/or(c.Groups, 1)*c.KH*c.KW, 0), random(r, c.OC, 0)
		dx, dw := make([]float32, len(c.X)), make([]float32, len(c.Weight))
		for _, isa := range tiers()[1:] {
			for threads := 1; threads <= 2; threads++ {
				p := NewPool(threads, isa)
				scratch := make([]float32, max(c.ForwardScratchLen(p), c.GradInputScratchLen(p), c.GradWeightScratchLen(p)))
				for name, f := range map[string]func(){
					"forward":    func() { c.Forward(p, scratch) },
					"gradinput":  func() { c.GradInput(p, dx, scratch) },
					"gradweight": func() { c.GradWeight(p, dw, scratch) },
				} {
					b.Run(fmt.Sprintf("%s/%s/%v/%d", benchConvs[i].name, name, isa, threads), func(b *testing.B) {
						benchFlops(b, 2*float64(len(c.Y))*float64(len(c.Weight)/c.OC), f)
					})
				}
				p.Close()
			}
		}
	}
}

// BenchmarkPackPatches is the packing of one panel of the second MNIST layer,
// some 15 to 30 % of a product with few rows.
func BenchmarkPackPatches(b *testing.B) {
	for _, isa := range tiers()[1:] {
		b.Run(isa.String(), func(b *testing.B) {
			c := &benchConvs[1].Conv
			w := c.window()
			pass := c.forwardPass(&w)
			cols := shapeOf(isa).cols
			list, dst := make([]piece, pass.listLen(cols/2)), make([]float32, c.C*9*cols)
			src := make([]float32, c.C*c.H*c.W)
			b.Run("pack", func(b *testing.B) {
				pass.describe(list, cols, cols, cols/2)
				for b.Loop() {
					packPatches(isa, dst, cols, src, c.C, c.H*c.W, list, 9, pass.pieces(cols/2))
				}
				b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(b.N*c.C*9), "ns/row")
			})
			b.Run("describe", func(b *testing.B) {
				for b.Loop() {
					pass.describe(list, cols, cols, cols/2)
				}
			})
		})
	}
}
