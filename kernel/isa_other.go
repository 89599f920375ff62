//go:build !amd64 || purego

package kernel

func detect() ISA { return Generic }

func detectVNNI() bool { return false }

func detectBF16() bool { return false }

const hasAMX = false

const hasFourPipes = false

// spinPause without a pause instruction: a few loads' worth of time.
func spinPause() {
	for i := 0; i < 64; i++ {
		spinStep(i)
	}
}

//go:noinline
func spinStep(int) {}
