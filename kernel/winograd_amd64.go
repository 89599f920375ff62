//go:build amd64 && !purego

package kernel

import "unsafe"

func winogradInputAsm(isa ISA, side int, args *winogradArgs) {
	a := (*byte)(unsafe.Pointer(args))
	switch {
	case side == 2 && isa == AVX512:
		winogradInput2AVX512(a)
	case side == 2:
		winogradInput2AVX2(a)
	case isa == AVX512:
		winogradInput4AVX512(a)
	default:
		winogradInput4AVX2(a)
	}
}

func winogradOutputAsm(isa ISA, side int, args *winogradArgs) {
	a := (*byte)(unsafe.Pointer(args))
	switch {
	case side == 2 && isa == AVX512:
		winogradOutput2AVX512(a)
	case side == 2:
		winogradOutput2AVX2(a)
	case isa == AVX512:
		winogradOutput4AVX512(a)
	default:
		winogradOutput4AVX2(a)
	}
}
