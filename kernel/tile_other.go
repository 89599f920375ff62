//go:build !amd64 || purego

package kernel

const noAssembly = "kernel: no assembly on this processor"

func runTile(ISA, *tileArgs) { panic(noAssembly) }
