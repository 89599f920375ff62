//go:build !amd64 || purego

package kernel

func winogradInputAsm(ISA, int, *winogradArgs) { panic(noAssembly) }

func winogradOutputAsm(ISA, int, *winogradArgs) { panic(noAssembly) }
