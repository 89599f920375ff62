package kernel

import "tandem/tensor"

// turnHalves turns the pairs (x[i], x[i+n]) of a head by angles, n = len(cos).
// Whether assembly does it depends on n alone.
func turnHalves(isa ISA, x, cos, sin []float32) {
	n := len(cos)
	low, high := x[:n], x[n:2*n]
	if isa != Generic && n > 0 && n%isa.lanes() == 0 {
		turnHalvesAsm(isa, &low[0], &high[0], &cos[0], &sin[0], n)
		return
	}
	for i, c := range cos {
		a, b := low[i], high[i]
		low[i], high[i] = float32(c*a)-float32(sin[i]*b), float32(sin[i]*a)+float32(c*b)
	}
}

// turnPairs turns the pairs (x[2i], x[2i+1]).
func turnPairs(isa ISA, x, cos, sin []float32) {
	n := len(cos)
	if isa != Generic && n > 0 && n%(isa.lanes()/2) == 0 {
		turnPairsAsm(isa, &x[0], &cos[0], &sin[0], n)
		return
	}
	for i, c := range cos {
		a, b := x[2*i], x[2*i+1]
		x[2*i], x[2*i+1] = float32(c*a)-float32(sin[i]*b), float32(sin[i]*a)+float32(c*b)
	}
}

// narrow rounds to float16.
func narrow(isa ISA, dst []uint16, x []float32) {
	n := 0
	if isa != Generic {
		n = len(x) &^ 15
		for i := 0; i < n; i += asmElements {
			narrowAsm(isa, &dst[i], &x[i], min(asmElements, n-i))
		}
	}
	for i, v := range x[n:] {
		dst[n+i] = tensor.Float16Bits(v)
	}
}
