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
