//go:build unix

package graph

import (
	"fmt"

	"golang.org/x/sys/unix"

	"tandem/fault"
)

// memory is a block outside the Go heap, so that the collector neither scans nor
// counts it. It begins on a page boundary and is zero.
type memory []byte

func allocate(n int) (memory, error) {
	if n == 0 {
		return nil, nil
	}
	m, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fault.Wrap(err, "graph.allocate", fault.NoSpace, "%d bytes of memory cannot be had", n)
	}
	advise(m)
	return m, nil
}

func (m memory) free() {
	if len(m) == 0 {
		return
	}
	if err := unix.Munmap(m); err != nil {
		panic(fmt.Sprintf("graph: memory freed twice: %v", err))
	}
}
