package kernel

import (
	"math"

	"tandem/kernel/ref"
)

// LayerNorm computes Y = (X - mean)/√(variance + Epsilon)·Scale + Bias for each row
// of a Rows×Cols matrix, of X + Skip where there is a Skip. Y may be X or Skip. A
// row's bits depend on the row only.
type LayerNorm struct {
	Y, X        []float32
	Skip        []float32 // [Rows,Cols] or nil: added to X first
	Sum         []float32 // [Rows,Cols] or nil: receives X + Skip; may be X or Skip
	Scale, Bias []float32 // len Cols; nil: 1 and 0
	Rows, Cols  int
	Epsilon     float32
	// RMS: X + Skip is divided by the root of its mean square; there is no Bias, and the
	// mean counts as 0.
	RMS bool
	// Mean and Inverse receive a row's mean and 1/√(variance + Epsilon), unless nil.
	Mean, Inverse []float32

	isa         ISA
	scale, bias []float32
}

// Run computes Y.
func (v *LayerNorm) Run(p *Pool) {
	if v.Cols == 0 {
		return
	}
	const op = "LayerNorm"
	n := v.Rows * v.Cols
	checkLen(op, "X", len(v.X), n)
	checkLen(op, "Y", len(v.Y), n)
	if v.Skip != nil {
		checkLen(op, "Skip", len(v.Skip), n)
	}
	if v.Sum != nil {
		checkLen(op, "Sum", len(v.Sum), n)
	}
	v.isa = p.isa
	if v.RMS {
		if v.Scale != nil {
			checkLen(op, "Scale", len(v.Scale), v.Cols)
		}
	} else {
		v.scale, v.bias = v.operand("Scale", v.scale, v.Scale, 1), v.operand("Bias", v.bias, v.Bias, 0)
	}
	p.run(v.Rows, ceilDiv(1<<12, v.Cols), v)
}

// operand is x, or where it is nil a row of value, kept from run to run in room.
func (v *LayerNorm) operand(name string, room, x []float32, value float32) []float32 {
	if x != nil {
		checkLen("LayerNorm", name, len(x), v.Cols)
		return x
	}
	if len(room) == v.Cols && room[0] == value {
		return room
	}
	room = make([]float32, v.Cols)
	for i := range room {
		room[i] = value
	}
	return room
}

func (v *LayerNorm) chunk(lo, hi, _ int) {
	for i := lo; i < hi; i++ {
		at := i * v.Cols
		y, x := v.Y[at:][:v.Cols], v.X[at:][:v.Cols]
		if v.Skip != nil {
			sums := y
			if v.Sum != nil {
				sums = v.Sum[at:][:v.Cols]
			}
			binary(v.isa, OpAdd, sums, x, v.Skip[at:][:v.Cols], 0)
			x = sums
		}
		var mean, inverse float32
		if v.RMS {
			inverse = rmsNorm(v.isa, y, x, v.Scale, v.Epsilon)
		} else {
			mean = sum(v.isa, x) / float32(v.Cols)
			variance := float64(deviations(v.isa, x, mean)) / float64(v.Cols)
			inverse = float32(1 / math.Sqrt(variance+float64(v.Epsilon)))
			standardize(v.isa, y, x, v.scale, v.bias, mean, inverse)
		}
		if v.Mean != nil {
			v.Mean[i] = mean
		}
		if v.Inverse != nil {
			v.Inverse[i] = inverse
		}
	}
}

// deviations is Σ(x-mean)²; the order depends on len(x) and the tier.
func deviations(isa ISA, x []float32, mean float32) float32 {
	total := float32(0)
	if isa != Generic {
		for len(x) >= 64 {
			n := min(asmElements, len(x)&^63)
			total += deviationsAsm(isa, &x[0], n, mean)
			x = x[n:]
		}
	}
	return total + ref.Deviations(x, mean)
}

// standardize computes y = (x-mean)·inverse·scale + bias; the rest of the last
// vector goes through the assembly in buffers.
func standardize(isa ISA, y, x, scale, bias []float32, mean, inverse float32) {
	if isa == Generic {
		ref.Standardize(y, x, scale, bias, mean, inverse)
		return
	}
	n := len(y) &^ (isa.lanes() - 1)
	for i := 0; i < n; i += asmElements {
		standardizeAsm(isa, &y[i], &x[i], &scale[i], &bias[i], min(asmElements, n-i), mean, inverse)
	}
	if n < len(y) {
		var t [3][16]float32
		copy(t[0][:], x[n:len(y)])
		copy(t[1][:], scale[n:len(y)])
		copy(t[2][:], bias[n:len(y)])
		standardizeAsm(isa, &t[0][0], &t[0][0], &t[1][0], &t[2][0], isa.lanes(), mean, inverse)
		copy(y[n:], t[0][:])
	}
}
