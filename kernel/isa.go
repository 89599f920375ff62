package kernel

import "fmt"

// ISA is an instruction tier. Higher tiers include lower ones.
type ISA uint8

const (
	Generic ISA = iota // plain Go
	AVX2               // AVX2 with FMA, 8 lanes
	AVX512             // AVX-512 F, DQ, BW, VL, 16 lanes
)

// Detect returns the best tier of this processor.
func Detect() ISA { return detected }

var detected = detect()

// String is such as "avx2".
func (i ISA) String() string {
	switch i {
	case Generic:
		return "generic"
	case AVX2:
		return "avx2"
	case AVX512:
		return "avx512"
	}
	return fmt.Sprintf("ISA(%d)", uint8(i))
}
