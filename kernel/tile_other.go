//go:build !amd64 || purego

package kernel

const noAssembly = "kernel: no assembly on this processor"

func runTile(ISA, storage, *tileArgs) { panic(noAssembly) }

func amxAsm(*amxArgs) { panic(noAssembly) }

func packAsm(ISA, *packArgs) { panic(noAssembly) }

func codesAsm(ISA, int, *float32, *float32, *float32, int, int, int) { panic(noAssembly) }

func codeRowsAsm(int, *float32, *float32, *float32, *float32, int, int, int, int, int) {
	panic(noAssembly)
}

func transposeAsm(ISA, *float32, *float32, int, int, int) { panic(noAssembly) }
