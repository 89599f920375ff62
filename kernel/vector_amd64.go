//go:build amd64 && !purego

package kernel

import (
	"unsafe"

	"tandem/kernel/ref"
)

// The tables of assembly kernels. n counts whole vectors' elements.

func binaryAsm(isa ISA, op BinaryOp, y, a, b *float32, n int, s float32) {
	if isa == AVX512 {
		binaryAVX512(op, y, a, b, n, s)
		return
	}
	switch op {
	case OpAdd:
		addAVX2(y, a, b, n, s)
	case OpSub:
		subAVX2(y, a, b, n, s)
	case OpMul:
		mulAVX2(y, a, b, n, s)
	case OpDiv:
		divAVX2(y, a, b, n, s)
	case OpPReLU:
		preluAVX2(y, a, b, n, s)
	case OpReLUGrad:
		reluGradAVX2(y, a, b, n, s)
	case OpTanhGrad:
		tanhGradAVX2(y, a, b, n, s)
	case OpSigmoidGrad:
		sigmoidGradAVX2(y, a, b, n, s)
	case OpGELUGrad:
		geluGradAVX2(y, a, b, n, s)
	case opAddScaled:
		addScaledAVX2(y, a, b, n, s)
	case opAddSquare:
		addSquareAVX2(y, a, b, n, s)
	default:
		panic("kernel: unknown BinaryOp")
	}
}

func binaryAVX512(op BinaryOp, y, a, b *float32, n int, s float32) {
	switch op {
	case OpAdd:
		addAVX512(y, a, b, n, s)
	case OpSub:
		subAVX512(y, a, b, n, s)
	case OpMul:
		mulAVX512(y, a, b, n, s)
	case OpDiv:
		divAVX512(y, a, b, n, s)
	case OpPReLU:
		preluAVX512(y, a, b, n, s)
	case OpReLUGrad:
		reluGradAVX512(y, a, b, n, s)
	case OpTanhGrad:
		tanhGradAVX512(y, a, b, n, s)
	case OpSigmoidGrad:
		sigmoidGradAVX512(y, a, b, n, s)
	case OpGELUGrad:
		geluGradAVX512(y, a, b, n, s)
	case opAddScaled:
		addScaledAVX512(y, a, b, n, s)
	case opAddSquare:
		addSquareAVX512(y, a, b, n, s)
	default:
		panic("kernel: unknown BinaryOp")
	}
}

func unaryAsm(isa ISA, op UnaryOp, y, x *float32, n int, s float32) {
	if isa == AVX512 {
		unaryAVX512(op, y, x, n, s)
		return
	}
	switch op {
	case OpReLU:
		reluAVX2(y, x, n, s)
	case OpExp, opExpShift:
		expShiftAVX2(y, x, n, s)
	case OpTanh:
		tanhAVX2(y, x, n, s)
	case OpSigmoid:
		sigmoidAVX2(y, x, n, s)
	case OpReLU6:
		relu6AVX2(y, x, n, s)
	case OpHardSigmoid:
		hardSigmoidAVX2(y, x, n, s)
	case OpHardSwish:
		hardSwishAVX2(y, x, n, s)
	case OpSiLU:
		siluAVX2(y, x, n, s)
	case OpGELU:
		geluAVX2(y, x, n, s)
	case OpErf:
		erfAVX2(y, x, n, s)
	case OpGELUErf:
		geluErfAVX2(y, x, n, s)
	case opScale:
		scaleAVX2(y, x, n, s)
	case opAtLeast:
		atLeastAVX2(y, x, n, s)
	case opAtMost:
		atMostAVX2(y, x, n, s)
	default:
		panic("kernel: unknown UnaryOp")
	}
}

func unaryAVX512(op UnaryOp, y, x *float32, n int, s float32) {
	switch op {
	case OpReLU:
		reluAVX512(y, x, n, s)
	case OpExp, opExpShift:
		expShiftAVX512(y, x, n, s)
	case OpTanh:
		tanhAVX512(y, x, n, s)
	case OpSigmoid:
		sigmoidAVX512(y, x, n, s)
	case OpReLU6:
		relu6AVX512(y, x, n, s)
	case OpHardSigmoid:
		hardSigmoidAVX512(y, x, n, s)
	case OpHardSwish:
		hardSwishAVX512(y, x, n, s)
	case OpSiLU:
		siluAVX512(y, x, n, s)
	case OpGELU:
		geluAVX512(y, x, n, s)
	case OpErf:
		erfAVX512(y, x, n, s)
	case OpGELUErf:
		geluErfAVX512(y, x, n, s)
	case opScale:
		scaleAVX512(y, x, n, s)
	case opAtLeast:
		atLeastAVX512(y, x, n, s)
	case opAtMost:
		atMostAVX512(y, x, n, s)
	default:
		panic("kernel: unknown UnaryOp")
	}
}

// sumAsm adds x up, n a multiple of 64.
func sumAsm(isa ISA, x *float32, n int) float32 {
	var lanes [16]float32
	if isa == AVX512 {
		sumAVX512(&lanes[0], x, n)
	} else {
		sumAVX2(&lanes[0], x, n)
	}
	return ref.Sum(lanes[:isa.lanes()])
}

func maxAsm(isa ISA, x *float32, n int) float32 {
	var lanes [16]float32
	if isa == AVX512 {
		maxAVX512(&lanes[0], x, n)
	} else {
		maxAVX2(&lanes[0], x, n)
	}
	return ref.Max(lanes[:isa.lanes()])
}

// sumRowsAsm adds rows rows of n columns to dst; ld in elements.
func sumRowsAsm(isa ISA, dst, x *float32, n, rows, ld int) {
	if isa == AVX512 {
		sumRowsAVX512(dst, x, n, rows, ld*4)
	} else {
		sumRowsAVX2(dst, x, n, rows, ld*4)
	}
}

func adamAsm(isa ISA, w, g, m, v *float32, n int, s *ref.AdamStep) {
	if isa == AVX512 {
		adamAVX512(w, g, m, v, n, &s.Beta1)
	} else {
		adamAVX2(w, g, m, v, n, &s.Beta1)
	}
}

func dropoutAsm(isa ISA, args *dropoutArgs) {
	if isa == AVX512 {
		dropoutAVX512((*byte)(unsafe.Pointer(args)))
	} else {
		dropoutAVX2((*byte)(unsafe.Pointer(args)))
	}
}

func maxPoolAsm(y, x *float32, oh, ow, w int) { maxPool2AVX512(y, x, oh, ow, w) }

func maxPoolGradAsm(dx, x, y, dy *float32, oh, ow, w int) {
	maxPool2GradAVX512(dx, x, y, dy, oh, ow, w)
}

func slideAsm(isa ISA, op ref.SlideOp, args *slideArgs) {
	a := (*byte)(unsafe.Pointer(args))
	switch {
	case op == ref.SlideMultiply && isa == AVX512:
		depthwiseAVX512(a)
	case op == ref.SlideMultiply:
		depthwiseAVX2(a)
	case op == ref.SlideMaximum && isa == AVX512:
		windowMaxAVX512(a)
	case op == ref.SlideMaximum:
		windowMaxAVX2(a)
	case isa == AVX512:
		windowSumAVX512(a)
	default:
		windowSumAVX2(a)
	}
}

// deviationsAsm sums (x-mean)², n a multiple of 64.
func deviationsAsm(isa ISA, x *float32, n int, mean float32) float32 {
	var lanes [16]float32
	if isa == AVX512 {
		deviationsAVX512(&lanes[0], x, n, mean)
	} else {
		deviationsAVX2(&lanes[0], x, n, mean)
	}
	return ref.Sum(lanes[:isa.lanes()])
}

func standardizeAsm(isa ISA, y, x, scale, bias *float32, n int, mean, inverse float32) {
	if isa == AVX512 {
		standardizeAVX512(y, x, scale, bias, n, mean, inverse)
	} else {
		standardizeAVX2(y, x, scale, bias, n, mean, inverse)
	}
}

func scoresAsm(isa ISA, s, bias *float32, n int, scale float32) (top float32) {
	if isa == AVX512 {
		scoresAVX512(&top, s, bias, n, scale)
	} else {
		scoresAVX2(&top, s, bias, n, scale)
	}
	return top
}

func weightsAsm(isa ISA, s *float32, n int, top float32) (total float32) {
	if isa == AVX512 {
		weightsAVX512(&total, s, n, top)
	} else {
		weightsAVX2(&total, s, n, top)
	}
	return total
}

func softmaxRowsAsm(isa ISA, scores, bias, top *float32, rows, n, stride, biasStride int, scale float32) {
	if isa == AVX512 {
		softmaxRowsAVX512(scores, bias, top, rows, n, stride*4, biasStride*4, scale)
	} else {
		softmaxRowsAVX2(scores, bias, top, rows, n, stride*4, biasStride*4, scale)
	}
}

func weighAsm(isa ISA, scores, top, total, out *float32, rows, n, stride, width int) {
	if isa == AVX512 {
		weighAVX512(scores, top, total, out, rows, n, stride*4, width)
	} else {
		weighAVX2(scores, top, total, out, rows, n, stride*4, width)
	}
}
