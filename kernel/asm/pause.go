package main

import "github.com/mmcloughlin/avo/x86"

// pauses is how many PAUSEs one call spins: some 64 cycles each on Zen 4.
const pauses = 16

func writePause(w *writer) {
	w.function("spinPause", "func()", "spinPause tells the processor that this thread waits for memory to change.")
	for range pauses {
		w.do(x86.PAUSE())
	}
	w.do(x86.RET())
}
