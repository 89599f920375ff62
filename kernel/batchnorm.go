package kernel

import (
	"math"

	"tandem/kernel/ref"
)

// BatchNorm normalises each channel of X [N,C,HW] over batch and positions while
// training: Y = (X - mean)/√(variance + Epsilon)·Scale + Bias. Mean and Inverse,
// 1/√(variance + Epsilon), are kept for the gradient. RunMean and RunVar become
// Momentum·old + (1-Momentum)·new, with the variance over all n elements, as ONNX
// has it. The order of each sum depends on N and HW only.
type BatchNorm struct {
	Y, X            []float32
	Scale, Bias     []float32 // len C, as are those below
	Mean, Inverse   []float32
	RunMean, RunVar []float32
	N, C, HW        int
	Epsilon         float32
	Momentum        float32

	isa ISA
}

// Run computes Y and the statistics. Y may be X.
func (v *BatchNorm) Run(p *Pool) {
	checkLen("BatchNorm", "X", len(v.X), v.N*v.C*v.HW)
	checkLen("BatchNorm", "Y", len(v.Y), v.N*v.C*v.HW)
	for _, x := range [][]float32{v.Scale, v.Bias, v.Mean, v.Inverse, v.RunMean, v.RunVar} {
		checkLen("BatchNorm", "vector", len(x), v.C)
	}
	v.isa = p.isa
	p.run(v.C, ceilDiv(1<<13, max(v.N*v.HW, 1)), v)
}

func (v *BatchNorm) chunk(lo, hi, _ int) {
	var scale, bias [channelSpan]float32
	for c := lo; c < hi; c++ {
		n, total, squares := float64(v.N*v.HW), 0.0, 0.0
		eachSpan(v.N, v.C, v.HW, c, func(at, n int) { total += float64(sum(v.isa, v.X[at:][:n])) })
		mean := float32(total / n)
		eachSpan(v.N, v.C, v.HW, c, func(at, n int) { squares += float64(deviations(v.isa, v.X[at:][:n], mean)) })
		inverse := float32(1 / math.Sqrt(squares/n+float64(v.Epsilon)))
		v.Mean[c], v.Inverse[c] = mean, inverse
		v.RunMean[c] = v.Momentum*v.RunMean[c] + (1-v.Momentum)*mean
		v.RunVar[c] = v.Momentum*v.RunVar[c] + (1-v.Momentum)*float32(squares/n)
		fill(scale[:min(v.HW, channelSpan)], v.Scale[c])
		fill(bias[:min(v.HW, channelSpan)], v.Bias[c])
		eachSpan(v.N, v.C, v.HW, c, func(at, n int) {
			standardize(v.isa, v.Y[at:][:n], v.X[at:][:n], scale[:n], bias[:n], mean, inverse)
		})
	}
}

// channelSpan is how many neighbours of a channel are handled at once.
const channelSpan = 1024

// eachSpan calls f for the parts of channel c of a tensor [n,channels,hw]: where
// each begins, and how long it is.
func eachSpan(n, channels, hw, c int, f func(at, n int)) {
	for i := range n {
		first := (i*channels + c) * hw
		for at := 0; at < hw; at += channelSpan {
			f(first+at, min(channelSpan, hw-at))
		}
	}
}

func fill[T any](x []T, v T) {
	n := min(len(x), 16)
	for i := range x[:n] {
		x[i] = v
	}
	for ; n < len(x); n *= 2 {
		copy(x[n:], x[:n])
	}
}

// BatchNormGrad computes the gradients of BatchNorm from DY and what it kept. DX
// may be DY.
type BatchNormGrad struct {
	DX, DY, X     []float32
	Scale         []float32 // len C, as are those below
	Mean, Inverse []float32
	DScale, DBias []float32
	N, C, HW      int

	isa ISA
}

// Run computes the three gradients.
func (v *BatchNormGrad) Run(p *Pool) {
	for _, x := range [][]float32{v.DX, v.DY, v.X} {
		checkLen("BatchNormGrad", "DX, DY or X", len(x), v.N*v.C*v.HW)
	}
	for _, x := range [][]float32{v.Scale, v.Mean, v.Inverse, v.DScale, v.DBias} {
		checkLen("BatchNormGrad", "vector", len(x), v.C)
	}
	v.isa = p.isa
	p.run(v.C, ceilDiv(1<<13, max(v.N*v.HW, 1)), v)
}

func (v *BatchNormGrad) chunk(lo, hi, _ int) {
	var ones, scale [channelSpan]float32
	fill(ones[:min(v.HW, channelSpan)], 1)
	for c := lo; c < hi; c++ {
		s := ref.NormStats{Mean: v.Mean[c], Inverse: v.Inverse[c]}
		dy, dyx := 0.0, 0.0
		eachSpan(v.N, v.C, v.HW, c, func(at, n int) {
			g, gx := normGradSums(v.isa, &s, v.X[at:][:n], v.DY[at:][:n], ones[:n])
			dy += float64(g)
			dyx += float64(gx)
		})
		v.DBias[c], v.DScale[c] = float32(dy), float32(dyx)
		n := float64(v.N * v.HW)
		s.MeanG, s.MeanGX = float32(dy*float64(v.Scale[c])/n), float32(dyx*float64(v.Scale[c])/n)
		fill(scale[:min(v.HW, channelSpan)], v.Scale[c])
		eachSpan(v.N, v.C, v.HW, c, func(at, n int) {
			normGrad(v.isa, &s, v.DX[at:][:n], v.X[at:][:n], v.DY[at:][:n], scale[:n])
		})
	}
}

// normGradSums and normGrad are the methods Sums and Grad of ref.NormStats, whole
// vectors in assembly.
func normGradSums(isa ISA, s *ref.NormStats, x, dy, scale []float32) (g, gx float32) {
	n := vectors(isa, len(x))
	if n > 0 {
		g, gx = normGradSumsAsm(isa, &x[0], &dy[0], &scale[0], n, s)
	}
	restG, restGX := s.Sums(x[n:], dy[n:], scale[n:])
	return g + restG, gx + restGX
}

func normGrad(isa ISA, s *ref.NormStats, dx, x, dy, scale []float32) {
	n := vectors(isa, len(x))
	if n > 0 {
		normGradAsm(isa, &dx[0], &x[0], &dy[0], &scale[0], n, s)
	}
	s.Grad(dx[n:], x[n:], dy[n:], scale[n:])
}
