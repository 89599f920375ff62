//go:build amd64 && !purego

package kernel

import "tandem/kernel/ref"

// Assembly of gradients, on n elements: whole vectors.

func dotAsm(isa ISA, a, b *float32, n int) float32 {
	var lanes [16]float32
	if isa == AVX512 {
		dotAVX512(&lanes[0], a, b, n)
	} else {
		dotAVX2(&lanes[0], a, b, n)
	}
	return ref.Sum(lanes[:isa.lanes()])
}

func softmaxGradAsm(isa ISA, dx, y, dy *float32, n int, dot, scale float32) {
	if isa == AVX512 {
		softmaxGradAVX512(dx, y, dy, n, dot, scale)
	} else {
		softmaxGradAVX2(dx, y, dy, n, dot, scale)
	}
}

func normGradSumsAsm(isa ISA, x, dy, scale *float32, n int, s *ref.NormStats) (g, gx float32) {
	var lanes [32]float32
	k := isa.lanes()
	if isa == AVX512 {
		normGradSumsAVX512(&lanes[0], x, dy, scale, n, &s.Mean)
	} else {
		normGradSumsAVX2(&lanes[0], x, dy, scale, n, &s.Mean)
	}
	return ref.Sum(lanes[:k]), ref.Sum(lanes[k : 2*k])
}

func normGradAsm(isa ISA, dx, x, dy, scale *float32, n int, s *ref.NormStats) {
	if isa == AVX512 {
		normGradAVX512(dx, x, dy, scale, n, &s.Mean)
	} else {
		normGradAVX2(dx, x, dy, scale, n, &s.Mean)
	}
}

func normGradAddAsm(isa ISA, dscale, dbias, x, dy *float32, n int, s *ref.NormStats) {
	if isa == AVX512 {
		normGradAddAVX512(dscale, dbias, x, dy, n, &s.Mean)
	} else {
		normGradAddAVX2(dscale, dbias, x, dy, n, &s.Mean)
	}
}
