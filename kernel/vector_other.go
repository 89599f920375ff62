//go:build !amd64 || purego

package kernel

// Without assembly the tier is Generic, so none of these is reached.

func binaryAsm(ISA, BinaryOp, *float32, *float32, *float32, int, float32) { panic(noAssembly) }
func unaryAsm(ISA, UnaryOp, *float32, *float32, int, float32)             { panic(noAssembly) }
func sumAsm(ISA, *float32, int) float32                                   { panic(noAssembly) }
func maxAsm(ISA, *float32, int) float32                                   { panic(noAssembly) }
func sumRowsAsm(ISA, *float32, *float32, int, int, int)                   { panic(noAssembly) }
