//go:build amd64 && !purego

package kernel

import "golang.org/x/sys/cpu"

func detect() ISA {
	c := &cpu.X86
	switch {
	case c.HasAVX512F && c.HasAVX512DQ && c.HasAVX512BW && c.HasAVX512VL && c.HasFMA:
		return AVX512
	case c.HasAVX2 && c.HasFMA:
		return AVX2
	}
	return Generic
}

// detectVNNI: the tier AVX512 does not include the dot products of bytes.
func detectVNNI() bool { return cpu.X86.HasAVX512VNNI }

// detectBF16: nor those of bfloat16.
func detectBF16() bool { return cpu.X86.HasAVX512BF16 }

// hasAMX: nor the products of tiles, which a process must ask the system for.
var hasAMX = detectBF16() && cpu.X86.HasAMXTile && cpu.X86.HasAMXBF16 && cpu.X86.HasAMXInt8 && permitAMX()

// hasFourPipes: vectors have four pipes of full width, of which two multiply and two shift
// and convert meanwhile, as on processors of AMD; on those of Intel two do everything.
var hasFourPipes = vendor() == 'A'|'u'<<8|'t'<<16|'h'<<24
