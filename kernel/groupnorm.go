package kernel

import "math"

// GroupNorm computes Y = (X - mean)/√(variance + Epsilon)·Scale + Bias for each of
// Groups rows of Parts·Part elements, with the mean and variance of the row. Part p of
// row g has element (g·Parts + p)/Share mod len(Scale) of Scale and Bias; with Last, each
// element of a part has its own, and there are Part of them. Y may be X.
//
// Rows are cut into pieces of one length, whose sums are added in their order: threads
// divide pieces, so that one long row keeps all of them busy, and the bits of a row
// depend on the row only.
type GroupNorm struct {
	Groups, Parts, Part, Share int
	Last                       bool
	Epsilon                    float32
	Y, X, Scale, Bias          []float32

	isa           ISA
	phase         normPhase
	pieces        int       // in a row
	sums          []float32 // of each piece
	mean, inverse []float32 // of each row
}

// normPhase is one of three goings over X, between which the workers meet.
type normPhase uint8

const (
	normSum normPhase = iota
	normDeviation
	normWrite
)

// normPiece is the length of a piece: it stays in L2.
const normPiece = 1 << 13

// Run computes Y.
func (v *GroupNorm) Run(p *Pool) {
	row := v.Parts * v.Part
	if v.Groups == 0 || row == 0 {
		return
	}
	checkLen("GroupNorm", "X", len(v.X), v.Groups*row)
	checkLen("GroupNorm", "Y", len(v.Y), v.Groups*row)
	checkLen("GroupNorm", "Bias", len(v.Bias), len(v.Scale))
	if v.Last {
		checkLen("GroupNorm", "Scale", len(v.Scale), v.Part)
	}
	if pieces := ceilDiv(row, normPiece); len(v.mean) != v.Groups || v.pieces != pieces {
		v.pieces = pieces
		v.sums = make([]float32, v.Groups*pieces)
		v.mean, v.inverse = make([]float32, v.Groups), make([]float32, v.Groups)
	}
	v.isa = p.isa
	grain := max(1, normPiece/row)
	for v.phase = normSum; v.phase <= normDeviation; v.phase++ {
		p.run(len(v.sums), grain, v)
		v.combine(float64(row))
	}
	p.run(v.Groups*v.Parts, max(1, normPiece/v.Part), v)
}

// combine makes means, or factors, of the sums of pieces.
func (v *GroupNorm) combine(n float64) {
	for g := range v.Groups {
		total := 0.0
		for _, s := range v.sums[g*v.pieces:][:v.pieces] {
			total += float64(s)
		}
		if v.phase == normSum {
			v.mean[g] = float32(total / n)
		} else {
			v.inverse[g] = float32(1 / math.Sqrt(total/n+float64(v.Epsilon)))
		}
	}
}

func (v *GroupNorm) chunk(lo, hi, _ int) {
	row := v.Parts * v.Part
	for i := lo; i < hi; i++ {
		if v.phase == normWrite {
			v.write(i)
			continue
		}
		g, at := i/v.pieces, i%v.pieces*normPiece
		x := v.X[g*row+at:][:min(normPiece, row-at)]
		if v.phase == normSum {
			v.sums[i] = sum(v.isa, x)
		} else {
			v.sums[i] = deviations(v.isa, x, v.mean[g])
		}
	}
}

// write computes part i of Y, counted over all rows.
func (v *GroupNorm) write(i int) {
	y, x := v.Y[i*v.Part:][:v.Part], v.X[i*v.Part:][:v.Part]
	mean, inverse := v.mean[i/v.Parts], v.inverse[i/v.Parts]
	if v.Last {
		standardize(v.isa, y, x, v.Scale, v.Bias, mean, inverse)
		return
	}
	const piece = 256
	var scale, bias [piece]float32
	at := i / v.Share % len(v.Scale)
	for j := range min(piece, v.Part) {
		scale[j], bias[j] = v.Scale[at], v.Bias[at]
	}
	for len(y) > 0 {
		n := min(piece, len(y))
		standardize(v.isa, y[:n], x[:n], scale[:n], bias[:n], mean, inverse)
		y, x = y[n:], x[n:]
	}
}
