//go:build amd64 && !purego

package kernel

import (
	"unsafe"

	"tandem/kernel/ref"
)

// The tables of the kernels on bytes. n counts whole vectors' elements.

func extremesAsm(isa ISA, lanes, x *float32, n int) {
	if isa == AVX512 {
		extremesAVX512(lanes, x, n)
	} else {
		extremesAVX2(lanes, x, n)
	}
}

func quantizeBytesAsm(isa ISA, dst *byte, x *float32, n int, scale, lo, hi float32, zero int32) {
	if isa == AVX512 {
		quantizeBytesAVX512(dst, x, n, scale, lo, hi, zero)
	} else {
		quantizeBytesAVX2(dst, x, n, scale, lo, hi, zero)
	}
}

func magnitudeAsm(isa ISA, lanes *uint32, x *float32, n int) {
	if isa == AVX512 {
		magnitudeAVX512(lanes, x, n)
	} else {
		magnitudeAVX2(lanes, x, n)
	}
}

func stepsAsm(isa ISA, dst *byte, x *float32, n int, factor float32) {
	if isa == AVX512 {
		stepsAVX512(dst, x, n, factor)
	} else {
		stepsAVX2(dst, x, n, factor)
	}
}

func dequantizeBytesAsm(isa ISA, signed bool, y *float32, x *byte, n int, scale, zero float32) {
	switch {
	case isa == AVX512 && signed:
		dequantizeInt8AVX512(y, x, n, scale, zero)
	case isa == AVX512:
		dequantizeUint8AVX512(y, x, n, scale, zero)
	case signed:
		dequantizeInt8AVX2(y, x, n, scale, zero)
	default:
		dequantizeUint8AVX2(y, x, n, scale, zero)
	}
}

func scaleSumsAsm(isa ISA, y *float32, c *int32, scale, bias *float32, n int, s float32) {
	switch {
	case isa == AVX512 && bias != nil:
		scaleSumsBiasAVX512(y, c, scale, bias, n, s)
	case isa == AVX512:
		scaleSumsAVX512(y, c, scale, n, s)
	case bias != nil:
		scaleSumsBiasAVX2(y, c, scale, bias, n, s)
	default:
		scaleSumsAVX2(y, c, scale, n, s)
	}
}

func requantizeAsm(isa ISA, dst *byte, c *int32, scale *float32, n int, lo, hi float32, zero int32) {
	if isa == AVX512 {
		requantizeAVX512(dst, c, scale, n, lo, hi, zero)
	} else {
		requantizeAVX2(dst, c, scale, n, lo, hi, zero)
	}
}

func addMultipleAsm(isa ISA, c, z *int32, n int, s int32) {
	if isa == AVX512 {
		addMultipleAVX512(c, z, n, s)
	} else {
		addMultipleAVX2(c, z, n, s)
	}
}

func widenBytesAsm(isa ISA, dst *int16, x *byte, n int, flip uint32) {
	if isa == AVX512 {
		widenBytesAVX512(dst, x, n, flip)
	} else {
		widenBytesAVX2(dst, x, n, flip)
	}
}

// tileBytesAsm is the tile kernel of words of four bytes, by VNNI.
func tileBytesAsm(t *tileArgs) { tileBytesAVX512((*byte)(unsafe.Pointer(t))) }

// packWordsAsm packs k rows, a multiple of four, of 32 bytes, xor flip, as words, and adds
// their columns to sums.
func packWordsAsm(dst, b *byte, sums *int32, k, stride int, flip uint32) {
	packWordsAVX2(dst, b, sums, k, stride, flip)
}

func combineBytesAsm(isa ISA, v *CombineBytes, dst, x, z *byte, n int) {
	y := v.OfY
	a, b := ref.Factors(v.OfA, v.OfB, y, v.Product)
	lo, hi := ref.Range(y.Zero, y.Signed)
	switch {
	case isa == AVX512 && v.Product && y.Signed:
		mulInt8AVX512(dst, x, z, n, a.Scale, float32(a.Zero), b.Scale, float32(b.Zero), lo, hi, y.Zero)
	case isa == AVX512 && v.Product:
		mulUint8AVX512(dst, x, z, n, a.Scale, float32(a.Zero), b.Scale, float32(b.Zero), lo, hi, y.Zero)
	case isa == AVX512 && y.Signed:
		addInt8AVX512(dst, x, z, n, a.Scale, float32(a.Zero), b.Scale, float32(b.Zero), lo, hi, y.Zero)
	case isa == AVX512:
		addUint8AVX512(dst, x, z, n, a.Scale, float32(a.Zero), b.Scale, float32(b.Zero), lo, hi, y.Zero)
	case v.Product && y.Signed:
		mulInt8AVX2(dst, x, z, n, a.Scale, float32(a.Zero), b.Scale, float32(b.Zero), lo, hi, y.Zero)
	case v.Product:
		mulUint8AVX2(dst, x, z, n, a.Scale, float32(a.Zero), b.Scale, float32(b.Zero), lo, hi, y.Zero)
	case y.Signed:
		addInt8AVX2(dst, x, z, n, a.Scale, float32(a.Zero), b.Scale, float32(b.Zero), lo, hi, y.Zero)
	default:
		addUint8AVX2(dst, x, z, n, a.Scale, float32(a.Zero), b.Scale, float32(b.Zero), lo, hi, y.Zero)
	}
}

func maxWindowsAsm(isa ISA, w *ref.ByteWindows, y, x *byte) {
	switch {
	case isa == AVX512 && w.Signed:
		maxWindowsInt8AVX512(y, x, w.Pixels, w.Channels, w.Step, w.Rows, w.Columns, w.Line, w.Tap)
	case isa == AVX512:
		maxWindowsUint8AVX512(y, x, w.Pixels, w.Channels, w.Step, w.Rows, w.Columns, w.Line, w.Tap)
	case w.Signed:
		maxWindowsInt8AVX2(y, x, w.Pixels, w.Channels, w.Step, w.Rows, w.Columns, w.Line, w.Tap)
	default:
		maxWindowsUint8AVX2(y, x, w.Pixels, w.Channels, w.Step, w.Rows, w.Columns, w.Line, w.Tap)
	}
}

func lookupAsm(isa ISA, y, x, table *byte, n int) {
	if isa == AVX512 {
		lookupAVX512(y, x, table, n)
	} else {
		lookupAVX2(y, x, table, n)
	}
}

func roundBFloat16Asm(isa ISA, y, x *float32, n int) {
	if isa == AVX512 {
		roundBFloat16AVX512(y, x, n)
	} else {
		roundBFloat16AVX2(y, x, n)
	}
}

func narrowBFloat16Asm(y *uint16, x *float32, n int) { narrowBFloat16AVX512(y, x, n) }

func pairBFloat16Asm(y *uint32, lower, upper *float32, n int) { pairBFloat16AVX512(y, lower, upper, n) }

func wordsBFloat16Asm(y *uint32, x *float32, n int) { wordsBFloat16AVX512(y, x, n) }

// byteBlockAsm is the kernel of blocks, by AMX.
func byteBlockAsm(args *blockArgs) { byteBlockAMX((*byte)(unsafe.Pointer(args))) }
