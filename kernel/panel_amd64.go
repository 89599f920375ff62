//go:build amd64 && !purego

package kernel

import (
	"unsafe"

	"tandem/kernel/ref"
	"tandem/tensor/block"
)

// panelAsm multiplies with a panel, by VNNI or by AVX2.
func panelAsm(f block.Format, vnni bool, a *panelArgs) {
	args := (*byte)(unsafe.Pointer(a))
	if !vnni {
		panelAVX2(f, args)
		return
	}
	switch f {
	case block.Q8_0:
		panelQ80AVX512(args)
	case block.Q4_0:
		panelQ40AVX512(args)
	case block.Q4_K:
		panelQ4KAVX512(args)
	case block.Q5_K:
		panelQ5KAVX512(args)
	case block.Q6_K:
		panelQ6KAVX512(args)
	}
}

// slabAsm multiplies rows with two panels, by VNNI; four says whether vectors have four pipes.
func slabAsm(f block.Format, four bool, a *slabArgs) {
	args := (*byte)(unsafe.Pointer(a))
	if four && f != block.Q8_0 {
		slabFour(f, args)
		return
	}
	switch f {
	case block.Q8_0:
		slabQ80AVX512(args)
	case block.Q4_0:
		slabQ40AVX512(args)
	case block.Q4_K:
		slabQ4KAVX512(args)
	case block.Q5_K:
		slabQ5KAVX512(args)
	case block.Q6_K:
		slabQ6KAVX512(args)
	}
}

// slabFour is slabAsm where they have, for codes of less than a byte.
func slabFour(f block.Format, args *byte) {
	switch f {
	case block.Q4_0:
		slabQ40AVX512Four(args)
	case block.Q4_K:
		slabQ4KAVX512Four(args)
	case block.Q5_K:
		slabQ5KAVX512Four(args)
	case block.Q6_K:
		slabQ6KAVX512Four(args)
	}
}

func panelAVX2(f block.Format, args *byte) {
	switch f {
	case block.Q8_0:
		panelQ80AVX2(args)
	case block.Q4_0:
		panelQ40AVX2(args)
	case block.Q4_K:
		panelQ4KAVX2(args)
	case block.Q5_K:
		panelQ5KAVX2(args)
	case block.Q6_K:
		panelQ6KAVX2(args)
	}
}

func quantizeAsm(isa ISA, super bool, dst *byte, x *float32, n int) {
	switch {
	case isa == AVX512 && super:
		quantizeSuperAVX512(dst, x, n)
	case isa == AVX512:
		quantizeAVX512(dst, x, n)
	case super:
		quantizeSuperAVX2(dst, x, n)
	default:
		quantizeAVX2(dst, x, n)
	}
}

func mulScaledAsm(isa ISA, y, x, w *float32, n int, s float32) {
	if isa == AVX512 {
		mulScaledAVX512(y, x, w, n, s)
	} else {
		mulScaledAVX2(y, x, w, n, s)
	}
}

// sumSquaresAsm adds the squares of x, n a multiple of 64.
func sumSquaresAsm(isa ISA, x *float32, n int) float32 {
	var lanes [16]float32
	if isa == AVX512 {
		sumSquaresAVX512(&lanes[0], x, n)
	} else {
		sumSquaresAVX2(&lanes[0], x, n)
	}
	return ref.Sum(lanes[:isa.lanes()])
}

// narrowAsm rounds n float32 to float16, n a multiple of 16.
func narrowAsm(isa ISA, dst *uint16, x *float32, n int) {
	if isa == AVX512 {
		narrowAVX512(dst, x, n)
	} else {
		narrowAVX2(dst, x, n)
	}
}

func turnHalvesAsm(isa ISA, low, high, cos, sin *float32, n int) {
	if isa == AVX512 {
		turnHalvesAVX512(low, high, cos, sin, n)
	} else {
		turnHalvesAVX2(low, high, cos, sin, n)
	}
}

func turnPairsAsm(isa ISA, x, cos, sin *float32, n int) {
	if isa == AVX512 {
		turnPairsAVX512(x, cos, sin, n)
	} else {
		turnPairsAVX2(x, cos, sin, n)
	}
}
