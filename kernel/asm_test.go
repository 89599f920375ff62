//go:build linux && amd64 && !purego

package kernel

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestGeneratedFilesAreCurrent runs the generator and compares.
func TestGeneratedFilesAreCurrent(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("go", "run", "tandem/kernel/asm", "-out", dir).CombinedOutput(); err != nil {
		t.Fatalf("go run tandem/kernel/asm: %v\n%s", err, out)
	}
	made, _ := filepath.Glob(filepath.Join(dir, "zz_*"))
	committed, _ := filepath.Glob("zz_*")
	if len(made) != len(committed) || len(made) == 0 {
		t.Fatalf("the generator writes %d files, %d are here", len(made), len(committed))
	}
	for _, path := range made {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Base(path))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what the generator writes (%v): run go generate ./kernel", filepath.Base(path), err)
		}
	}
}

// TestArgumentLayouts ties the structs to the offsets in kernel/asm.
func TestArgumentLayouts(t *testing.T) {
	var tile tileArgs
	var pack packArgs
	var drop dropoutArgs
	var block blockArgs
	var slide slideArgs
	var panel panelArgs
	var slab slabArgs
	var wino winogradArgs
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"tileArgs.rs", unsafe.Offsetof(tile.rs), 32}, {"tileArgs.k", unsafe.Offsetof(tile.k), 64},
		{"tileArgs.from", unsafe.Offsetof(tile.from), 96}, {"tileArgs.bounded", unsafe.Offsetof(tile.bounded), 92}, {"tileArgs.lines", unsafe.Offsetof(tile.lines), 104}, {"tileArgs.ahead", unsafe.Offsetof(tile.ahead), 120}, {"tileArgs.far", unsafe.Offsetof(tile.far), 256},
		{"blockArgs.rs", unsafe.Offsetof(block.rs), 24}, {"blockArgs.lineStep", unsafe.Offsetof(block.lineStep), 48}, {"blockArgs.panel", unsafe.Offsetof(block.panel), 64},
		{"blockArgs.shape", unsafe.Offsetof(block.shape), 72}, {"blockArgs.low", unsafe.Offsetof(block.low), 80},
		{"slideArgs.pixel", unsafe.Offsetof(slide.pixel), 32}, {"slideArgs.weightX", unsafe.Offsetof(slide.weightX), 56},
		{"slideArgs.kx", unsafe.Offsetof(slide.kx), 72}, {"slideArgs.mask", unsafe.Offsetof(slide.mask), 96},
		{"slideArgs.outPixel", unsafe.Offsetof(slide.outPixel), 104},
		{"tileArgs.mask", unsafe.Offsetof(tile.mask), 80}, {"tileArgs.relu", unsafe.Offsetof(tile.relu), 88},
		{"tileArgs.result", unsafe.Offsetof(tile.result), 128}, {"tileArgs.flip", unsafe.Offsetof(tile.flip), 136}, {"tileArgs.rowStep", unsafe.Offsetof(tile.rowStep), 168},
		{"tileArgs.other", unsafe.Offsetof(tile.other), 176}, {"tileArgs.lo", unsafe.Offsetof(tile.lo), 184}, {"tileArgs.factor", unsafe.Offsetof(tile.factor), 192},
		{"tileArgs.otherBits", unsafe.Offsetof(tile.otherBits), 200}, {"tileArgs.otherZero", unsafe.Offsetof(tile.otherZero), 204}, {"tileArgs.otherStep", unsafe.Offsetof(tile.otherStep), 208}, {"tileArgs.rowStart", unsafe.Offsetof(tile.rowStart), 216},
		{"tileArgs.tiles", unsafe.Offsetof(tile.tiles), 224}, {"tileArgs.columnsC", unsafe.Offsetof(tile.columnsC), 240}, {"tileArgs.allLines", unsafe.Offsetof(tile.allLines), 248},
		{"tileArgs.paired", unsafe.Offsetof(tile.paired), 280}, {"tileArgs.halfC", unsafe.Offsetof(tile.halfC), 288}, {"tileArgs.halfOther", unsafe.Offsetof(tile.halfOther), 296}, {"tileArgs.skipB", unsafe.Offsetof(tile.skipB), 304},
		{"packArgs.ds", unsafe.Offsetof(pack.ds), 24}, {"packArgs.pieces", unsafe.Offsetof(pack.pieces), 56},
		{"panelArgs.groups", unsafe.Offsetof(panel.groups), 40}, {"panelArgs.ahead", unsafe.Offsetof(panel.ahead), 56},
		{"panelArgs.mask", unsafe.Offsetof(panel.mask), 88}, {"panelArgs.mul", unsafe.Offsetof(panel.mul), 96},
		{"panelArgs.panels", unsafe.Offsetof(panel.panels), 104}, {"panelArgs.mulstep", unsafe.Offsetof(panel.mulstep), 120},
		{"slabArgs.sums", unsafe.Offsetof(slab.sums), 48}, {"slabArgs.ahead", unsafe.Offsetof(slab.ahead), 72}, {"slabArgs.stage", unsafe.Offsetof(slab.stage), 84},
		{"slabArgs.ystep", unsafe.Offsetof(slab.ystep), 104}, {"slabArgs.mulstep", unsafe.Offsetof(slab.mulstep), 136}, {"slabArgs.count", unsafe.Offsetof(slab.count), 168},
		{"winogradArgs.temp", unsafe.Offsetof(wino.temp), 32}, {"winogradArgs.bias", unsafe.Offsetof(wino.bias), 56}, {"winogradArgs.cols", unsafe.Offsetof(wino.cols), 72},
		{"winogradArgs.addStep", unsafe.Offsetof(wino.addStep), 96}, {"winogradArgs.relu", unsafe.Offsetof(wino.relu), 108},
		{"packArgs.ahead", unsafe.Offsetof(pack.ahead), 64},
		{"piece", unsafe.Sizeof(piece{}), 16}, {"piece.mask", unsafe.Offsetof(piece{}.mask), 8},
		{"dropoutArgs.threshold", unsafe.Offsetof(drop.threshold), 40}, {"dropoutArgs.keys", unsafe.Offsetof(drop.keys), 48},
	} {
		if c.got != c.want {
			t.Errorf("%s is at %d, kernel/asm has %d", c.name, c.got, c.want)
		}
	}
}

// fenced is a slice that ends where a page begins that cannot be touched.
func fenced(t *testing.T, r *rand.Rand, n int) []float32 {
	t.Helper()
	const page = 4096
	size := (n*4+page-1)/page*page + page
	m, err := unix.Mmap(-1, 0, size+page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(m) })
	if err := unix.Mprotect(m[size:], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	x := unsafe.Slice((*float32)(unsafe.Pointer(&m[size-n*4])), n)
	for i := range x {
		x[i] = r.Float32()
	}
	return x
}

// TestKernelsStayInside runs every kernel on operands that end at a fence: a
// read or write behind the end is a fault.
func TestKernelsStayInside(t *testing.T) {
	r := rand.New(rand.NewPCG(27, 28))
	f := func(n int) []float32 { return fenced(t, r, n) }
	for _, isa := range tiers() {
		p := NewPool(1, isa)
		for range 12 {
			m, n, k := 1+r.IntN(40), 1+r.IntN(70), 1+r.IntN(70)
			for flags := range 8 {
				g := &Gemm{M: m, N: n, K: k, TransA: flags&1 != 0, TransB: flags&2 != 0, A: f(m * k), B: f(k * n), C: f(m * n), Bias: f(n), BiasAxis: BiasColumn}
				if flags&4 != 0 {
					g.Packed = f(PackedLen(k, n, isa))
					PackB(g.Packed, g.B, k, n, 0, g.TransB, isa)
				}
				g.Run(p, f(g.ScratchLen(p)))
				g.BiasAxis, g.Accumulate = BiasNone, true
				g.Run(p, f(g.ScratchLen(p)))
				g.BiasAxis, g.Accumulate, g.Bias = BiasRow, false, f(m)
				g.Run(p, f(g.ScratchLen(p)))
			}
			c := randomConv(r)
			c.X, c.Y, c.Weight = f(len(c.X)), f(len(c.Y)), f(len(c.Weight))
			c.Forward(p, f(c.ForwardScratchLen(p)))
			c.GradInput(p, f(len(c.X)), f(c.GradInputScratchLen(p)))
			c.GradWeight(p, f(len(c.Weight)), f(c.GradWeightScratchLen(p)))

			c = randomLast(r)
			l, want := lastOf(r, c, isa)
			l.X, l.Y, l.Packed = f(len(l.X)), f(len(want)), f(len(l.Packed))
			if l.Add != nil {
				l.Add = f(len(want))
			}
			l.Run(p, f(l.ScratchLen(p)))
			c = randomWinograd(r)
			l, want = lastOf(r, c, isa)
			byWinograd(l, c.Weight, 2+2*r.IntN(2), isa)
			l.X, l.Y = f(len(l.X)), f(len(want))
			if l.Add != nil {
				l.Add = f(len(want))
			}
			l.Run(p, f(l.ScratchLen(p)))
			win := &PoolLast{N: 1, H: m, W: n, C: k, KH: 1 + r.IntN(m), KW: 1 + r.IntN(n), Average: r.IntN(2) == 0, Lowest: f(k)}
			win.OH, win.OW = m-win.KH+1, n-win.KW+1
			win.X, win.Y = f(m*n*k), f(win.OH*win.OW*k)
			win.Run(p)
			(&MeanLast{N: m, Rows: n, C: k, X: f(m * n * k), Y: f(m * k)}).Run(p)
			(&Transpose{Batch: 2, Rows: m, Cols: n, X: f(2 * m * n), Y: f(2 * m * n)}).Run(p)

			e := 1 + r.IntN(300)
			for op := OpAdd; op <= OpSigmoidGrad; op++ {
				(&Binary{Op: op, Y: f(e), A: f(e), B: f(e)}).Run(p)
			}
			for op := OpReLU; op <= OpGELUErf; op++ {
				(&Unary{Op: op, Y: f(e), X: f(e)}).Run(p)
			}
			(&Softmax{Y: f(m * n), X: f(m * n), Rows: m, Cols: n}).Run(p)
			(&SumRows{Dst: f(n), X: f(m * n), Rows: m, Cols: n}).Run(p)
			(&SumChannels{Dst: f(m), Y: f(2 * m * n), N: 2, C: m, HW: n}).Run(p)
			(&Adam{W: f(e), G: f(e), M: f(e), V: f(e), AdamParams: AdamParams{Step: 1}}).Run(p)
			(&Dropout{Y: f(e), X: f(e), Ratio: 0.5}).Run(p)
			pool := &MaxPool{N: 1, C: 1, H: m + 1, W: n + 1, KH: 2, KW: 2, StrideH: 2, StrideW: 2}
			oh, ow := pool.OutSize()
			pool.X, pool.DX, pool.Y, pool.DY = f((m+1)*(n+1)), f((m+1)*(n+1)), f(oh*ow), f(oh*ow)
			pool.Forward(p)
			pool.Grad(p)
		}
	}
}

// fencedBytes is fenced for bytes.
func fencedBytes(t *testing.T, r *rand.Rand, n int) []byte {
	t.Helper()
	x := fenced(t, r, (n+3)/4)
	b := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
	return b[len(b)-n:]
}

// TestByteKernelsStayInside is TestKernelsStayInside for bytes.
func TestByteKernelsStayInside(t *testing.T) {
	r := rand.New(rand.NewPCG(27, 29))
	f := func(n int) []byte { return fencedBytes(t, r, n) }
	for _, isa := range tiers() {
		p := NewPool(1, isa)
		for range 60 {
			m, n, k := 1+r.IntN(40), 1+r.IntN(100), 1+r.IntN(150)
			g := &ByteGemm{M: m, N: n, K: k, A: f(m * k), ZeroA: 3, Packed: f(PackedByteLen(k, n, p))}
			g.ScaleB, g.Bytes, g.To = fenced(t, r, n), f(m*n), 5
			for i := range g.ScaleB {
				g.ScaleB[i] /= 4 // rescaled in registers
			}
			g.PackB(p, g.Packed, f(k*n), true)
			if r.IntN(2) == 0 {
				g.ZeroB = make([]int32, n)
				fill(g.ZeroB, 7)
			}
			for _, rows := range []int{0, 1, m} {
				if rows > 0 {
					g.Combine = &CombineBytes{B: f(rows * n), OfA: Steps{Scale: 1, Zero: 5}, OfB: Steps{Scale: 1}, OfY: Steps{Scale: 1}}
				}
				g.Run(p, f(g.ScratchLen(p)))
			}
			w := &MaxBytesLast{N: 1, H: m, W: n, C: k, KH: 1 + r.IntN(m), KW: 1 + r.IntN(n), StrideH: 1, StrideW: 1, DilationH: 1, DilationW: 1}
			w.OH, w.OW = m-w.KH+1, n-w.KW+1
			w.X, w.Y = f(m*n*k), f(w.OH*w.OW*k)
			w.Run(p)
			s := &SoftmaxBytes{Rows: m, Cols: n, X: f(m * n), Y: f(m * n), OfX: Steps{Scale: 1}, OfY: Steps{Scale: 1}}
			s.Run(p, f(s.ScratchLen(p)))
		}
		p.Close()
	}
}
