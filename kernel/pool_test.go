package kernel

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestForCoversTheRangeOnce(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 8} {
		p := NewPool(threads, Generic)
		for _, n := range []int{0, 1, 2, 63, 64, 65, 1000, 10007} {
			for _, grain := range []int{0, 1, 7, 64, 5000} {
				seen := make([]atomic.Int32, n)
				p.For(n, grain, func(lo, hi, worker int) {
					if lo%max(grain, 1) != 0 || worker < 0 || worker >= threads || lo >= hi {
						t.Errorf("chunk [%d,%d) of worker %d", lo, hi, worker)
					}
					for i := lo; i < hi; i++ {
						seen[i].Add(1)
					}
				})
				for i := range seen {
					if seen[i].Load() != 1 {
						t.Fatalf("%d threads, n %d, grain %d: %d was visited %d times", threads, n, grain, i, seen[i].Load())
					}
				}
			}
		}
		p.Close()
		p.Close()
		ran := 0
		p.For(10, 1, func(lo, hi, _ int) { ran += hi - lo })
		if ran != 10 {
			t.Errorf("For after Close did %d of 10", ran)
		}
	}
}

// TestForConcurrentAndNested shares one pool between goroutines that also
// start For inside For, with pauses that let the workers park.
func TestForConcurrentAndNested(t *testing.T) {
	p := NewPool(3, Generic)
	defer p.Close()
	var total atomic.Int64
	var group sync.WaitGroup
	for range 4 {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := range 200 {
				p.For(100, 1, func(lo, hi, _ int) {
					p.For(hi-lo, 1, func(lo, hi, _ int) { total.Add(int64(hi - lo)) })
				})
				if i%50 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
		}()
	}
	group.Wait()
	if total.Load() != 4*200*100 {
		t.Errorf("did %d, want %d", total.Load(), 4*200*100)
	}
}

func TestForUsesAllWorkers(t *testing.T) {
	p := NewPool(3, Generic)
	defer p.Close()
	var inside sync.WaitGroup
	inside.Add(3)
	p.For(3, 1, func(int, int, int) {
		inside.Done()
		inside.Wait() // hangs unless three run at once
	})
}

// TestForGivesRuns: every worker begins with a run of chunks of its own and goes along it.
func TestForGivesRuns(t *testing.T) {
	p := NewPool(3, Generic)
	defer p.Close()
	var inside sync.WaitGroup
	inside.Add(3)
	var last [3]int
	p.For(30, 1, func(lo, hi, worker int) {
		if lo%10 == 0 {
			if lo != 10*worker {
				t.Errorf("worker %d begins with %d", worker, lo)
			}
			inside.Done()
			inside.Wait() // until all have begun
		} else if lo/10 == worker && lo != last[worker]+1 {
			t.Errorf("worker %d goes from %d to %d", worker, last[worker], lo)
		}
		if lo/10 == worker {
			last[worker] = lo
		}
	})
}

func TestForRaisesPanics(t *testing.T) {
	p := NewPool(3, Generic)
	defer p.Close()
	for bad := range 30 {
		func() {
			defer func() {
				if v := recover(); v != "bad" {
					t.Errorf("recovered %v", v)
				}
			}()
			p.For(30, 1, func(lo, hi, _ int) {
				if lo <= bad && bad < hi {
					panic("bad")
				}
			})
		}()
		done := 0
		p.For(1, 1, func(int, int, int) { done++ })
		if done != 1 {
			t.Fatal("the pool does not work after a panic")
		}
	}
}

func BenchmarkForEmpty(b *testing.B) {
	p := NewPool(2, Generic)
	defer p.Close()
	body := func(lo, hi, worker int) {}
	for b.Loop() {
		p.For(2, 1, body)
	}
}
