package kernel

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// stopped runs f and tells whether it left off.
func stopped(f func()) (left bool) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case Stopped:
			left = true
		default:
			panic(v)
		}
	}()
	f()
	return false
}

func TestLoopsStop(t *testing.T) {
	for _, threads := range []int{1, 2, 3} {
		p := NewPool(threads, Generic)
		stop := make(chan struct{})
		branch := p.Branch()
		branch.Until(stop)
		const n = 1 << 20
		var did atomic.Int64
		var once sync.Once // those who come second wait until it is closed
		body := func(lo, hi, _ int) {
			if did.Add(int64(hi-lo)) > n/8 {
				once.Do(func() { close(stop) })
			}
		}
		if !stopped(func() { branch.For(n, 1, body) }) {
			t.Errorf("%d threads: the loop does not say that it left off", threads)
		}
		if did.Load() == n {
			t.Errorf("%d threads: the loop went on to its end", threads)
		}
		if stopped(func() { p.For(n, 1, func(int, int, int) {}) }) {
			t.Errorf("%d threads: a loop of another branch stopped", threads)
		}
		nested := func(int, int, int) { branch.For(10, 1, func(int, int, int) {}) }
		if !stopped(func() { p.For(100, 1, nested) }) {
			t.Errorf("%d threads: a loop within a loop does not stop it", threads)
		}
		branch.Until(nil)
		did.Store(0)
		if stopped(func() { branch.For(n, 1, func(lo, hi, _ int) { did.Add(int64(hi - lo)) }) }) || did.Load() != n {
			t.Errorf("%d threads: after Until(nil) the loop did %d of %d", threads, did.Load(), n)
		}
		p.Close()
	}
}

// TestLongKernelsStop: products and convolutions of seconds are left in between, so that
// parts of the result stay as they were.
func TestLongKernelsStop(t *testing.T) {
	if testing.Short() {
		t.Skip("large products")
	}
	r := rand.New(rand.NewPCG(41, 42))
	const size, untouched = 2048, 12345
	x, w := random(r, size*size, 0), random(r, size*size, 0)
	y := make([]float32, size*size)
	for _, p := range testPools(t) {
		gemm := &Gemm{M: size, N: size, K: size, A: x, Packed: make([]float32, PackedLen(size, size, p.ISA())), C: y}
		PackB(gemm.Packed, w, size, size, 0, false, p.ISA())
		conv := &Conv{N: 1, C: 64, H: 256, W: 256, OC: 64, KH: 15, KW: 15, PadTop: 7, PadLeft: 7, PadBottom: 7, PadRight: 7, X: x, Weight: w, Y: y}
		last := &ConvLast{N: 1, C: 64, H: 256, W: 256, OC: 64, KH: 15, KW: 15, PadTop: 7, PadLeft: 7, PadBottom: 7, PadRight: 7, X: x, Y: y}
		last.Packed = w[:ConvLastLen(64, 64, 15, 15, 1, p.ISA())]
		winograd := &ConvLast{N: 1, C: 512, H: 64, W: 64, OC: 1024, KH: 3, KW: 3, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1, X: x[:64*64*512], Y: y, Winograd: 2}
		winograd.Packed = make([]float32, WinogradLen(1024, 512, 2, p.ISA()))
		scratch := make([]float32, max(winograd.ScratchLen(p), gemm.ScratchLen(p), conv.ForwardScratchLen(p), last.ScratchLen(p)))
		for name, f := range map[string]func(*Pool){
			"Gemm":     func(p *Pool) { gemm.Run(p, scratch) },
			"Conv":     func(p *Pool) { conv.Forward(p, scratch) },
			"ConvLast": func(p *Pool) { last.Run(p, scratch) },
			"Winograd": func(p *Pool) { winograd.Run(p, scratch) },
		} {
			leavesOff := func(delay time.Duration) bool {
				for i := range y {
					y[i] = untouched
				}
				stop := make(chan struct{})
				branch := p.Branch()
				branch.Until(stop)
				time.AfterFunc(delay, func() { close(stop) })
				return stopped(func() { f(branch) }) && slices.Contains(y[:256*256*64], untouched)
			}
			// The signal comes late where all cores are busy. After the kernel's end it
			// tells nothing, so another comes sooner.
			for delay := 20 * time.Millisecond; !leavesOff(delay); delay /= 2 {
				if delay < time.Millisecond {
					t.Fatalf("%v, %d threads: %s goes on to its end", p.ISA(), p.Threads(), name)
				}
			}
		}
	}
}
