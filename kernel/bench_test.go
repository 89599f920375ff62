package kernel

import (
	"syscall"
	"testing"
)

// benchFlops runs f and reports GFLOP/s by the clock, and by the processor
// time of all threads, which other processes disturb less.
func benchFlops(b *testing.B, flops float64, f func()) {
	f()
	start := cpuSeconds()
	for b.Loop() {
		f()
	}
	used := cpuSeconds() - start
	b.ReportMetric(flops*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
	b.ReportMetric(flops*float64(b.N)/used/1e9, "GFLOP/cpu-s")
}

func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
