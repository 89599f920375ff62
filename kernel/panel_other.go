//go:build !amd64 || purego

package kernel

import "tandem/tensor/block"

func panelAsm(block.Format, bool, *panelArgs)                        { panic(noAssembly) }
func slabAsm(block.Format, bool, *slabArgs)                          { panic(noAssembly) }
func quantizeAsm(ISA, bool, *byte, *float32, int)                    { panic(noAssembly) }
func mulScaledAsm(ISA, *float32, *float32, *float32, int, float32)   { panic(noAssembly) }
func sumSquaresAsm(ISA, *float32, int) float32                       { panic(noAssembly) }
func narrowAsm(ISA, *uint16, *float32, int)                          { panic(noAssembly) }
func turnHalvesAsm(ISA, *float32, *float32, *float32, *float32, int) { panic(noAssembly) }
func turnPairsAsm(ISA, *float32, *float32, *float32, int)            { panic(noAssembly) }
