//go:build !amd64 || purego

package kernel

import "tandem/kernel/ref"

func extremesAsm(ISA, *float32, *float32, int)                                     { panic(noAssembly) }
func quantizeBytesAsm(ISA, *byte, *float32, int, float32, float32, float32, int32) { panic(noAssembly) }
func magnitudeAsm(ISA, *uint32, *float32, int)                                     { panic(noAssembly) }
func stepsAsm(ISA, *byte, *float32, int, float32)                                  { panic(noAssembly) }
func dequantizeBytesAsm(ISA, bool, *float32, *byte, int, float32, float32)         { panic(noAssembly) }
func scaleSumsAsm(ISA, *float32, *int32, *float32, *float32, int, float32)         { panic(noAssembly) }
func requantizeAsm(ISA, *byte, *int32, *float32, int, float32, float32, int32)     { panic(noAssembly) }
func addMultipleAsm(ISA, *int32, *int32, int, int32)                               { panic(noAssembly) }
func widenBytesAsm(ISA, *int16, *byte, int, uint32)                                { panic(noAssembly) }
func roundBFloat16Asm(ISA, *float32, *float32, int)                                { panic(noAssembly) }
func narrowBFloat16Asm(*uint16, *float32, int)                                     { panic(noAssembly) }
func wordsBFloat16Asm(*uint32, *float32, int)                                      { panic(noAssembly) }
func pairBFloat16Asm(*uint32, *float32, *float32, int)                             { panic(noAssembly) }
func tileBytesAsm(*tileArgs)                                                       { panic(noAssembly) }
func byteBlockAsm(*blockArgs)                                                      { panic(noAssembly) }
func packWordsAsm(*byte, *byte, *int32, int, int, uint32)                          { panic(noAssembly) }
func coloursAVX2(*byte, *byte, int, int)                                           { panic(noAssembly) }
func lookupAsm(ISA, *byte, *byte, *byte, int)                                      { panic(noAssembly) }
func combineBytesAsm(ISA, *CombineBytes, *byte, *byte, *byte, int)                 { panic(noAssembly) }
func maxWindowsAsm(ISA, *ref.ByteWindows, *byte, *byte)                            { panic(noAssembly) }
