package kernel

import "testing"
import "time"

func TestShare(t *testing.T) {
	p := NewPool(2, Generic)
	defer p.Close()
	for range 5 {
		var n [2]int
		var first [2]time.Duration
		c0 := cpuSeconds()
		s := time.Now()
		p.For(3000, 1, func(lo, hi, w int) {
			if n[w] == 0 { first[w] = time.Since(s) }
			n[w] += hi - lo
			x := 0.0
			for i := 0; i < 100000; i++ { x += float64(i) }
			if x < 0 { panic(1) }
		})
		d := time.Since(s)
		t.Log(n, first, d, (cpuSeconds()-c0)/d.Seconds())
		time.Sleep(3*time.Millisecond)
	}
}
