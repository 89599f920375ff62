package graph

import "golang.org/x/sys/unix"

// hugePage is the size from which huge pages are asked for: they save the
// processor most of its address translation.
const hugePage = 2 << 20

func advise(m memory) {
	if len(m) >= hugePage {
		// Only a hint: kernels without transparent huge pages refuse it.
		_ = unix.Madvise(m, unix.MADV_HUGEPAGE)
	}
}
