package kernel

import (
	"testing"

	"golang.org/x/sys/unix"
)

// hugeBytes is memory in huge pages, as a session has its weights and caches.
func hugeBytes(b *testing.B, n int) []byte {
	x, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = unix.Munmap(x) })
	_ = unix.Madvise(x, unix.MADV_HUGEPAGE) // a hint
	return x
}
