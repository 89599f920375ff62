//go:build !amd64 || purego

package kernel

import "tandem/kernel/ref"

// Without assembly the tier is Generic, so none of these is reached.

func dotAsm(ISA, *float32, *float32, int) float32                                  { panic(noAssembly) }
func softmaxGradAsm(ISA, *float32, *float32, *float32, int, float32, float32)      { panic(noAssembly) }
func normGradAsm(ISA, *float32, *float32, *float32, *float32, int, *ref.NormStats) { panic(noAssembly) }
func normGradSumsAsm(ISA, *float32, *float32, *float32, int, *ref.NormStats) (g, gx float32) {
	panic(noAssembly)
}
func normGradAddAsm(ISA, *float32, *float32, *float32, *float32, int, *ref.NormStats) {
	panic(noAssembly)
}
