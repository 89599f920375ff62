package kernel

import "tandem/kernel/ref"

// QuantizeRows rounds each row of X [M, K] to steps of its own, of which its largest
// magnitude is 127, so that what a row becomes does not depend on other rows:
//
//	m = max(max_k |X[i,k]|, ref.LeastMagnitude)
//	Step[i] = m·(1/127)
//	Y[i,k] = round(X[i,k]·(127/m)) + 128
//
// The step of a row with NaN is NaN.
type QuantizeRows struct {
	M, K int
	X    []float32
	Y    []byte    // [M, K]
	Step []float32 // [M]

	isa ISA
}

// Run computes Y and Step.
func (v *QuantizeRows) Run(p *Pool) {
	checkLen("QuantizeRows", "X", len(v.X), v.M*v.K)
	checkLen("QuantizeRows", "Y", len(v.Y), v.M*v.K)
	checkLen("QuantizeRows", "Step", len(v.Step), v.M)
	v.isa = p.isa
	p.run(v.M, ceilDiv(vectorGrain, max(1, v.K)), v)
}

func (v *QuantizeRows) chunk(lo, hi, _ int) {
	for i := lo; i < hi; i++ {
		v.Step[i] = rowSteps(v.isa, v.Y[i*v.K:][:v.K], v.X[i*v.K:][:v.K])
	}
}

// rowSteps writes the bytes of a row and returns its step.
func rowSteps(isa ISA, y []byte, x []float32) (step float32) {
	if isa == Generic {
		return ref.RowSteps(y, x)
	}
	var lanes [16]uint32
	var rest [16]float32
	n := len(x) &^ (isa.lanes() - 1)
	for i := 0; i < n; i += asmElements {
		magnitudeAsm(isa, &lanes[0], &x[i], min(asmElements, n-i))
	}
	if n < len(x) {
		copy(rest[:], x[n:])
		magnitudeAsm(isa, &lanes[0], &rest[0], isa.lanes())
	}
	m := lanes[0]
	for _, l := range lanes[1:] {
		m = max(m, l)
	}
	factor, step := ref.StepsOf(m)
	for i := 0; i < n; i += asmElements {
		stepsAsm(isa, &y[i], &x[i], min(asmElements, n-i), factor)
	}
	if n < len(x) {
		var to [16]byte
		stepsAsm(isa, &to[0], &rest[0], isa.lanes(), factor)
		copy(y[n:], to[:])
	}
	return step
}
