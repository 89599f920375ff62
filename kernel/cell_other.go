//go:build !amd64 || purego

package kernel

// Without assembly the tier is Generic, so none of these is reached.

func lstmCellAsm(ISA, *float32, *float32, *float32, *float32, int, int) { panic(noAssembly) }
func lstmCellGradAsm(ISA, *float32, *float32, *float32, *float32, *float32, int, int) {
	panic(noAssembly)
}
func gruCellAsm(ISA, *float32, *float32, *float32, *float32, *float32, int, int) { panic(noAssembly) }
func gruCellGradAsm(ISA, *float32, *float32, *float32, *float32, int, int)       { panic(noAssembly) }
