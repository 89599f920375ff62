package kernel

import (
	"math"

	"tandem/kernel/ref"
)

// AdamParams are the settings of Adam as in PyTorch. Decoupled makes it AdamW.
type AdamParams struct {
	LR, Beta1, Beta2, Eps, WeightDecay float32
	Step                               int // 1 for the first step
	Decoupled                          bool
}

// Adam does one optimiser step on the weights W with the gradients G and the
// moments M and V, all of len(W); W, M and V are updated in place. Bias
// corrections are computed in float64.
type Adam struct {
	W, G, M, V []float32
	AdamParams

	step ref.AdamStep
	isa  ISA
}

// Run does the step.
func (o *Adam) Run(p *Pool) {
	checkLen("Adam", "G", len(o.G), len(o.W))
	checkLen("Adam", "M", len(o.M), len(o.W))
	checkLen("Adam", "V", len(o.V), len(o.W))
	if o.Step < 1 {
		panic("kernel: Adam.Step counts from 1")
	}
	b1, b2, lr := float64(o.Beta1), float64(o.Beta2), float64(o.LR)
	o.step = ref.AdamStep{
		Beta1: o.Beta1, OneMinusBeta1: float32(1 - b1),
		Beta2: o.Beta2, OneMinusBeta2: float32(1 - b2),
		Eps:                o.Eps,
		StepSize:           float32(lr / (1 - math.Pow(b1, float64(o.Step)))),
		InvSqrtCorrection2: float32(1 / math.Sqrt(1-math.Pow(b2, float64(o.Step)))),
		Keep:               1, Decay: o.WeightDecay,
	}
	if o.Decoupled {
		o.step.Keep, o.step.Decay = float32(1-lr*float64(o.WeightDecay)), 0
	}
	o.isa = p.isa
	p.run(len(o.W), vectorGrain, o)
}

func (o *Adam) chunk(lo, hi, _ int) {
	adam(o.isa, &o.step, o.W[lo:hi], o.G[lo:hi], o.M[lo:hi], o.V[lo:hi])
}

// adam steps w, m and v; like binary, the rest of a vector goes through buffers.
func adam(isa ISA, s *ref.AdamStep, w, g, m, v []float32) {
	if isa == Generic {
		s.Adam(w, g, m, v)
		return
	}
	n := len(w) &^ (isa.lanes() - 1)
	for i := 0; i < n; i += asmElements {
		adamAsm(isa, &w[i], &g[i], &m[i], &v[i], min(asmElements, n-i), s)
	}
	if n < len(w) {
		var t [4][16]float32
		for i, x := range [4][]float32{w, g, m, v} {
			copy(t[i][:], x[n:])
		}
		adamAsm(isa, &t[0][0], &t[1][0], &t[2][0], &t[3][0], isa.lanes(), s)
		copy(w[n:], t[0][:])
		copy(m[n:], t[2][:])
		copy(v[n:], t[3][:])
	}
}

// SGDParams are the settings of SGD as in PyTorch.
type SGDParams struct {
	LR, Momentum, Dampening, WeightDecay float32
	Nesterov                             bool
	First                                bool // the first step: M starts as the gradient, whatever it holds
}

// SGD does one step of gradient descent on W with the gradients G; M, the
// momentum buffer, may be nil when Momentum is 0. W and M are updated in place.
type SGD struct {
	W, G, M []float32
	SGDParams

	step ref.SGDStep
	isa  ISA
}

// Run does the step.
func (o *SGD) Run(p *Pool) {
	checkLen("SGD", "G", len(o.G), len(o.W))
	if o.Momentum != 0 {
		checkLen("SGD", "M", len(o.M), len(o.W))
	}
	o.step = ref.SGDStep{
		LR: o.LR, Momentum: o.Momentum, GradScale: 1 - o.Dampening, Decay: o.WeightDecay, Nesterov: o.Nesterov,
	}
	if o.First {
		o.step.GradScale = 1
	}
	o.isa = p.isa
	p.run(len(o.W), vectorGrain, o)
}

func (o *SGD) chunk(lo, hi, _ int) {
	var m []float32
	if o.Momentum != 0 {
		m = o.M[lo:hi]
		if o.First {
			clear(m)
		}
	}
	o.step.SGD(o.W[lo:hi], o.G[lo:hi], m)
}
