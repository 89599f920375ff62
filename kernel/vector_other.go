//go:build !amd64 || purego

package kernel

import "tandem/kernel/ref"

// Without assembly the tier is Generic, so none of these is reached.

func binaryAsm(ISA, BinaryOp, *float32, *float32, *float32, int, float32) { panic(noAssembly) }
func unaryAsm(ISA, UnaryOp, *float32, *float32, int, float32)             { panic(noAssembly) }
func sumAsm(ISA, *float32, int) float32                                   { panic(noAssembly) }
func maxAsm(ISA, *float32, int) float32                                   { panic(noAssembly) }
func sumRowsAsm(ISA, *float32, *float32, int, int, int)                   { panic(noAssembly) }
func adamAsm(ISA, *float32, *float32, *float32, *float32, int, *ref.AdamStep) {
	panic(noAssembly)
}
func dropoutAsm(ISA, *dropoutArgs) { panic(noAssembly) }

func maxPoolAsm(*float32, *float32, int, int, int)                         { panic(noAssembly) }
func maxPoolGradAsm(*float32, *float32, *float32, *float32, int, int, int) { panic(noAssembly) }

func slideAsm(ISA, ref.SlideOp, *slideArgs)             { panic(noAssembly) }
func deviationsAsm(ISA, *float32, int, float32) float32 { panic(noAssembly) }

func standardizeAsm(ISA, *float32, *float32, *float32, *float32, int, float32, float32) {
	panic(noAssembly)
}

func scoresAsm(ISA, *float32, *float32, int, float32) float32 { panic(noAssembly) }

func weightsAsm(ISA, *float32, int, float32) float32 { panic(noAssembly) }

func softmaxRowsAsm(ISA, *float32, *float32, *float32, int, int, int, int, float32) {
	panic(noAssembly)
}

func weighAsm(ISA, *float32, *float32, *float32, *float32, int, int, int, int) { panic(noAssembly) }
