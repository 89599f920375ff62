package kernel

import "math"

// Softmax computes Y = softmax(X), or its logarithm, along each row of a
// Rows×Cols matrix. Y may be X. A row's bits depend on Cols and the row only.
type Softmax struct {
	Y, X       []float32
	Rows, Cols int
	Log        bool

	isa ISA
}

// Run computes Y.
func (v *Softmax) Run(p *Pool) {
	if v.Cols == 0 {
		return
	}
	checkLen("Softmax", "X", len(v.X), v.Rows*v.Cols)
	checkLen("Softmax", "Y", len(v.Y), v.Rows*v.Cols)
	v.isa = p.isa
	p.run(v.Rows, ceilDiv(1<<12, v.Cols), v)
}

func (v *Softmax) chunk(lo, hi, _ int) {
	for i := lo; i < hi; i++ {
		y, x := v.Y[i*v.Cols:][:v.Cols], v.X[i*v.Cols:][:v.Cols]
		if v.Log {
			logSoftmax(v.isa, y, x)
		} else {
			softmax(v.isa, y, x)
		}
	}
}

func softmax(isa ISA, y, x []float32) {
	top := maximum(isa, x)
	if isa == Generic {
		unary(isa, opExpShift, y, x, top)
		unary(isa, opScale, y, y, 1/sum(isa, y))
		return
	}
	copy(y, x)
	unary(isa, opScale, y, y, 1/weigh(isa, y, top))
}

// weigh computes s = exp(s - top) and returns the sum; the order depends on len(s) and
// the tier. The rest of the last vector goes through the assembly in a buffer.
func weigh(isa ISA, s []float32, top float32) float32 {
	n := len(s) &^ (isa.lanes() - 1)
	total := weighRow(isa, s[:n], top)
	if n < len(s) {
		var t [16]float32
		for i := copy(t[:], s[n:]); i < len(t); i++ {
			t[i] = float32(math.Inf(-1))
		}
		total += weighRow(isa, t[:isa.lanes()], top)
		copy(s[n:], t[:])
	}
	return total
}

func logSoftmax(isa ISA, y, x []float32) {
	top := maximum(isa, x)
	var buf [256]float32
	total := float32(0)
	for rest := x; len(rest) > 0; {
		e := buf[:min(len(buf), len(rest))]
		unary(isa, opExpShift, e, rest[:len(e)], top)
		total += sum(isa, e)
		rest = rest[len(e):]
	}
	shift := float32(math.Log(float64(total)))
	for i, v := range x {
		y[i] = v - top - shift
	}
}

// SumRows computes Dst[j] = Σ_i X[i,j], the column sums of a Rows×Cols matrix,
// each one chain over the rows: the gradient of a column bias.
type SumRows struct {
	Dst, X     []float32
	Rows, Cols int

	isa ISA
}

// sumColumns is the number of columns in a chunk of SumRows.
const sumColumns = 256

// Run computes Dst.
func (v *SumRows) Run(p *Pool) {
	checkLen("SumRows", "X", len(v.X), v.Rows*v.Cols)
	checkLen("SumRows", "Dst", len(v.Dst), v.Cols)
	v.isa = p.isa
	p.run(v.Cols, max(64, ceilDiv(1<<14, max(v.Rows, 1))/64*64), v)
}

func (v *SumRows) chunk(lo, hi, _ int) {
	for j := lo; j < hi; j += sumColumns {
		end := min(j+sumColumns, hi)
		sumRows(v.isa, v.Dst[j:end], v.X[min(j, len(v.X)):], v.Rows, v.Cols)
	}
}

// SumChannels computes Dst[c] = Σ over n and hw of Y[n,c,hw], the gradient of
// a convolution's bias. The order of each sum depends on N and HW only.
type SumChannels struct {
	Dst, Y   []float32
	N, C, HW int

	isa ISA
}

// Run computes Dst.
func (v *SumChannels) Run(p *Pool) {
	checkLen("SumChannels", "Y", len(v.Y), v.N*v.C*v.HW)
	checkLen("SumChannels", "Dst", len(v.Dst), v.C)
	v.isa = p.isa
	p.run(v.C, ceilDiv(1<<14, max(v.N*v.HW, 1)), v)
}

func (v *SumChannels) chunk(lo, hi, _ int) {
	for c := lo; c < hi; c++ {
		total := float32(0)
		for n := range v.N {
			total += sum(v.isa, v.Y[(n*v.C+c)*v.HW:][:v.HW])
		}
		v.Dst[c] = total
	}
}
