package kernel

import (
	"fmt"
	"sync/atomic"
	"testing"
	"unsafe"
)

// BenchmarkMachine measures what the machine allows, beside which other figures are read:
// the rate at which one thread and two read memory in huge pages, and the time of a cache
// line from one thread to another and back, which tells whether their cores share a cache.
func BenchmarkMachine(b *testing.B) {
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprintf("read/%d", threads), func(b *testing.B) {
			const bytes = 512 << 20
			memory := hugeBytes(b, bytes)
			floats := unsafe.Slice((*float32)(unsafe.Pointer(&memory[0])), bytes/4)
			for i := range floats {
				floats[i] = float32(i) // pages of their own, not that of zeros
			}
			p := NewPool(threads, Detect())
			defer p.Close()
			tops := make([]float32, 8*threads*16)
			for b.Loop() {
				p.For(8*threads, 1, func(lo, hi, _ int) {
					for i := lo; i < hi; i++ {
						n := len(floats) / (8 * threads)
						tops[16*i] = maximum(p.isa, floats[i*n:][:n])
					}
				})
			}
			b.SetBytes(bytes)
		})
	}
	b.Run("handover", func(b *testing.B) {
		const times = 100_000
		p := NewPool(2, Generic)
		defer p.Close()
		var line struct {
			_    [64]byte
			turn atomic.Int64
			_    [64]byte
		}
		for b.Loop() {
			line.turn.Store(0)
			p.For(2, 1, func(lo, hi, _ int) {
				for i := lo; i < hi; i++ {
					for n := int64(i); n < 2*times; n += 2 {
						for line.turn.Load() != n {
						}
						line.turn.Store(n + 1)
					}
				}
			})
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/times, "ns/there-and-back")
	})
}
