// Package kernel is Tandem's CPU compute layer: matrix products, convolution,
// pooling, element-wise and row operations, attention, optimiser steps and
// counter-based random numbers, on slices of float32, and products of bfloat16, of
// bytes and of weights in few bits.
//
// Every operation has the same form: a struct whose exported fields name the
// operands and the dimensions, and a method (Run, or Forward and its gradients)
// that takes the Pool to run on. Make the struct once per call site, change
// its fields between runs as you like, and call Run again: the steady state
// allocates nothing. A struct serves one Run at a time; a Pool serves any
// number of goroutines (one of them gets the workers, the others run alone).
// Operations that need room to work in say how much (ScratchLen) and take it
// from the caller, who owns all memory. Wrong lengths panic: callers check
// shapes when they plan, not when they run.
//
// # Files
//
//	isa*.go permit_*.go pool.go room.go: what the processor has; the workers and their rooms
//	tile*.go pack.go gemm.go: products of float32, by tiles of C in registers
//	halftile.go bfloat16.go: … of operands in 16 bits
//	amx.go: … and on the tiles of AMX
//	byte*.go rowsteps.go: products, convolutions and pools of bytes
//	panel*.go linear*.go slab.go: rows by weights in the blocks of tensor/block
//	codes.go: … and in the codes of ONNX Runtime
//	conv.go convpass.go convweight.go patches.go: convolutions of [N,C,H,W] and their gradients
//	convlast.go convbfloat16.go winograd*.go slide.go: … of [N,H,W,C]
//	maxpool.go lastpool.go: pools of float32, in either order
//	attention*.go paged.go rotary.go: attention, with its cache in pages or without
//	cell*.go: a step of a recurrent layer
//	batchnorm.go groupnorm.go layernorm*.go rownorm.go: norms
//	reduce*.go distance.go: softmax, sums and distances
//	vector*.go lookup.go bytes*.go transpose.go colours.go: element by element
//	gradient*.go random.go optimize.go: training: gradients, dropout, updates of weights
//
// Assembly that is chosen by processor is named in X_amd64.go, and what stands for it
// elsewhere in X_other.go.
//
// # Order of sums
//
// A reduction's order depends on the reduced dimension alone, never on the
// number of rows, threads, chunks or on the alignment. Each element of a
// product is one chain of fused multiply-adds over k (of bfloat16 on tiles, of sums
// over 32 k): blocking over k stores the partial sum and goes on from it, which
// leaves the bits as they are. So a row computed alone equals the same row computed
// in a batch. Tiers (ISA) differ from each other in the last bits; one tier always
// repeats itself.
//
// # Tiers
//
// The assembly (AVX-512, and AVX2 with FMA) is written by the generator in
// kernel/asm. Package kernel/ref has a plain-Go counterpart of every kernel:
// it is the tests' oracle and the path on other processors and with the build
// tag purego. Dot products of bytes (VNNI) and of bfloat16 are used on AVX-512 where the
// processor has them, and products of tiles (AMX) of both where the system gives them.
package kernel

//go:generate go run tandem/kernel/asm -out .
