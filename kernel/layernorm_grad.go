package kernel

import (
	"math"

	"tandem/kernel/ref"
)

// LayerNormGrad computes the gradients of LayerNorm, without a Skip: DX from X, DY
// and Scale, and the column sums DScale = Σ DY·x̂ and DBias = Σ DY, x̂ being the
// normalised rows. The statistics of each row are computed again. With RMS, rows
// were divided by the root of their mean square, without taking a mean off.
type LayerNormGrad struct {
	DX, X, DY     []float32
	Scale         []float32 // len Cols
	DScale, DBias []float32 // len Cols
	Stats         []float32 // scratch, 4·Rows
	Rows, Cols    int
	Epsilon       float32
	RMS           bool

	isa     ISA
	columns bool
}

// Run computes the three. DX may be DY only if DScale and DBias are nil.
func (v *LayerNormGrad) Run(p *Pool) {
	if v.Cols == 0 {
		return
	}
	const op = "LayerNormGrad"
	for _, x := range [][]float32{v.DX, v.X, v.DY} {
		checkLen(op, "DX, X or DY", len(x), v.Rows*v.Cols)
	}
	checkLen(op, "Scale", len(v.Scale), v.Cols)
	checkLen(op, "Stats", len(v.Stats), 4*v.Rows)
	v.isa, v.columns = p.isa, false
	p.run(v.Rows, ceilDiv(1<<12, v.Cols), v)
	if v.DScale == nil {
		return
	}
	checkLen(op, "DScale", len(v.DScale), v.Cols)
	checkLen(op, "DBias", len(v.DBias), v.Cols)
	v.columns = true
	p.run(v.Cols, max(64, ceilDiv(1<<14, max(v.Rows, 1))/64*64), v)
}

func (v *LayerNormGrad) chunk(lo, hi, _ int) {
	if v.columns {
		v.sums(lo, hi)
		return
	}
	for i := lo; i < hi; i++ {
		x, dy, dx := v.X[i*v.Cols:][:v.Cols], v.DY[i*v.Cols:][:v.Cols], v.DX[i*v.Cols:][:v.Cols]
		s := v.statistics(x)
		g, gx := normGradSums(v.isa, &s, x, dy, v.Scale)
		s.MeanG, s.MeanGX = g/float32(v.Cols), gx/float32(v.Cols)
		if v.RMS {
			s.MeanG = 0
		}
		normGrad(v.isa, &s, dx, x, dy, v.Scale)
		v.Stats[4*i], v.Stats[4*i+1] = s.Mean, s.Inverse
	}
}

func (v *LayerNormGrad) statistics(x []float32) (s ref.NormStats) {
	if !v.RMS {
		s.Mean = sum(v.isa, x) / float32(v.Cols)
	}
	s.Inverse = float32(1 / math.Sqrt(float64(deviations(v.isa, x, s.Mean))/float64(v.Cols)+float64(v.Epsilon)))
	return s
}

// sums adds up columns [lo,hi) of all rows, from the first to the last.
func (v *LayerNormGrad) sums(lo, hi int) {
	clear(v.DScale[lo:hi])
	clear(v.DBias[lo:hi])
	n := vectors(v.isa, hi-lo)
	for i := range v.Rows {
		s := ref.NormStats{Mean: v.Stats[4*i], Inverse: v.Stats[4*i+1]}
		x, dy := v.X[i*v.Cols:][lo:hi], v.DY[i*v.Cols:][lo:hi]
		if n > 0 {
			normGradAddAsm(v.isa, &v.DScale[lo], &v.DBias[lo], &x[0], &dy[0], n, &s)
		}
		s.Add(v.DScale[lo+n:hi], v.DBias[lo+n:hi], x[n:], dy[n:])
	}
}

// SoftmaxGrad computes DX = Y·(DY - Σ DY·Y) for each row of a Rows×Cols matrix. DX
// may be DY.
type SoftmaxGrad struct {
	DX, Y, DY  []float32
	Rows, Cols int

	isa ISA
}

// Run computes DX.
func (v *SoftmaxGrad) Run(p *Pool) {
	for _, x := range [][]float32{v.DX, v.Y, v.DY} {
		checkLen("SoftmaxGrad", "DX, Y or DY", len(x), v.Rows*v.Cols)
	}
	v.isa = p.isa
	p.run(v.Rows, ceilDiv(1<<13, max(v.Cols, 1)), v)
}

func (v *SoftmaxGrad) chunk(lo, hi, _ int) {
	for i := lo; i < hi; i++ {
		y, dy, dx := v.Y[i*v.Cols:][:v.Cols], v.DY[i*v.Cols:][:v.Cols], v.DX[i*v.Cols:][:v.Cols]
		softmaxGrad(v.isa, dx, y, dy, dot(v.isa, y, dy), 1)
	}
}

// dot is Σ a·b; the order depends on len(a) and the tier.
func dot(isa ISA, a, b []float32) float32 {
	total := float32(0)
	for n := vectors(isa, len(a)); n > 0; n = vectors(isa, len(a)) {
		total += dotAsm(isa, &a[0], &b[0], n)
		a, b = a[n:], b[n:]
	}
	return total + ref.Dot(a, b)
}

// softmaxGrad computes dx = y·(dy - dot)·scale.
func softmaxGrad(isa ISA, dx, y, dy []float32, dot, scale float32) {
	for n := vectors(isa, len(dx)); n > 0; n = vectors(isa, len(dx)) {
		softmaxGradAsm(isa, &dx[0], &y[0], &dy[0], n, dot, scale)
		dx, y, dy = dx[n:], y[n:], dy[n:]
	}
	ref.SoftmaxGrad(dx, y, dy, dot, scale)
}
