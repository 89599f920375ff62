package kernel

import "tandem/kernel/ref"

// Cells are one step of a recurrent layer for a number of sequences: matrices of
// Rows × Hidden, the gates Rows × (gates · Hidden) in ONNX's order. Rows whose
// Active is false are left alone; a nil Active means all.

// LSTMCell turns the sums in Gates into the gates i, o, f, c, and Prev into the
// states C and H; see ref.LSTMCell. C may be Prev.
type LSTMCell struct {
	Gates, Prev, C, H []float32
	Active            []bool
	Rows, Hidden      int

	isa ISA
}

// Run does the step.
func (l *LSTMCell) Run(p *Pool) {
	n := l.Rows * l.Hidden
	checkLen("LSTMCell", "Gates", len(l.Gates), 4*n)
	checkLen("LSTMCell", "Prev", len(l.Prev), n)
	checkLen("LSTMCell", "C", len(l.C), n)
	checkLen("LSTMCell", "H", len(l.H), n)
	l.isa = p.isa
	p.run(l.Rows, cellGrain(l.Hidden), l)
}

func (l *LSTMCell) chunk(lo, hi, _ int) {
	n, v := l.Hidden, vectors(l.isa, l.Hidden)
	for b := lo; b < hi; b++ {
		if l.Active != nil && !l.Active[b] {
			continue
		}
		g, at := l.Gates[4*n*b:][:4*n], n*b
		if v > 0 {
			lstmCellAsm(l.isa, &g[0], &l.Prev[at], &l.C[at], &l.H[at], v, n)
		}
		ref.LSTMCell(g[v:], l.Prev[at+v:at+n], l.C[at+v:at+n], l.H[at+v:at+n], n)
	}
}

// LSTMCellGrad replaces Gates, as LSTMCell left them, by the gradients of their
// sums, and DC by that of Prev; see ref.LSTMCellGrad.
type LSTMCellGrad struct {
	Gates, Prev, C, DH, DC []float32
	Active                 []bool
	Rows, Hidden           int

	isa ISA
}

// Run does the step.
func (l *LSTMCellGrad) Run(p *Pool) {
	n := l.Rows * l.Hidden
	checkLen("LSTMCellGrad", "Gates", len(l.Gates), 4*n)
	checkLen("LSTMCellGrad", "Prev", len(l.Prev), n)
	checkLen("LSTMCellGrad", "C", len(l.C), n)
	checkLen("LSTMCellGrad", "DH", len(l.DH), n)
	checkLen("LSTMCellGrad", "DC", len(l.DC), n)
	l.isa = p.isa
	p.run(l.Rows, cellGrain(l.Hidden), l)
}

func (l *LSTMCellGrad) chunk(lo, hi, _ int) {
	n, v := l.Hidden, vectors(l.isa, l.Hidden)
	for b := lo; b < hi; b++ {
		if l.Active != nil && !l.Active[b] {
			continue
		}
		g, at := l.Gates[4*n*b:][:4*n], n*b
		if v > 0 {
			lstmCellGradAsm(l.isa, &g[0], &l.Prev[at], &l.C[at], &l.DH[at], &l.DC[at], v, n)
		}
		ref.LSTMCellGrad(g[v:], l.Prev[at+v:at+n], l.C[at+v:at+n], l.DH[at+v:at+n], l.DC[at+v:at+n], n)
	}
}

// GRUCell turns Gates, what the input gives to the gates z, r and the candidate,
// and Rec, what the state gives, into the three, and Prev into H; Inner keeps the
// state's part of the candidate. See ref.GRUCell. H may be Prev.
type GRUCell struct {
	Gates, Rec, Prev, H, Inner []float32
	Active                     []bool
	Rows, Hidden               int

	isa ISA
}

// Run does the step.
func (l *GRUCell) Run(p *Pool) {
	n := l.Rows * l.Hidden
	checkLen("GRUCell", "Gates", len(l.Gates), 3*n)
	checkLen("GRUCell", "Rec", len(l.Rec), 3*n)
	checkLen("GRUCell", "Prev", len(l.Prev), n)
	checkLen("GRUCell", "H", len(l.H), n)
	checkLen("GRUCell", "Inner", len(l.Inner), n)
	l.isa = p.isa
	p.run(l.Rows, cellGrain(l.Hidden), l)
}

func (l *GRUCell) chunk(lo, hi, _ int) {
	n, v := l.Hidden, vectors(l.isa, l.Hidden)
	for b := lo; b < hi; b++ {
		if l.Active != nil && !l.Active[b] {
			continue
		}
		g, r, at := l.Gates[3*n*b:][:3*n], l.Rec[3*n*b:][:3*n], n*b
		if v > 0 {
			gruCellAsm(l.isa, &g[0], &r[0], &l.Prev[at], &l.H[at], &l.Inner[at], v, n)
		}
		ref.GRUCell(g[v:], r[v:], l.Prev[at+v:at+n], l.H[at+v:at+n], l.Inner[at+v:at+n], n)
	}
}

// GRUCellGrad replaces what GRUCell left in Gates and Inner by their gradients, and
// DH, the gradient of H, by what of it reaches Prev past the gates; see
// ref.GRUCellGrad.
type GRUCellGrad struct {
	Gates, Prev, Inner, DH []float32
	Active                 []bool
	Rows, Hidden           int

	isa ISA
}

// Run does the step.
func (l *GRUCellGrad) Run(p *Pool) {
	n := l.Rows * l.Hidden
	checkLen("GRUCellGrad", "Gates", len(l.Gates), 3*n)
	checkLen("GRUCellGrad", "Prev", len(l.Prev), n)
	checkLen("GRUCellGrad", "Inner", len(l.Inner), n)
	checkLen("GRUCellGrad", "DH", len(l.DH), n)
	l.isa = p.isa
	p.run(l.Rows, cellGrain(l.Hidden), l)
}

func (l *GRUCellGrad) chunk(lo, hi, _ int) {
	n, v := l.Hidden, vectors(l.isa, l.Hidden)
	for b := lo; b < hi; b++ {
		if l.Active != nil && !l.Active[b] {
			continue
		}
		g, at := l.Gates[3*n*b:][:3*n], n*b
		if v > 0 {
			gruCellGradAsm(l.isa, &g[0], &l.Prev[at], &l.Inner[at], &l.DH[at], v, n)
		}
		ref.GRUCellGrad(g[v:], l.Prev[at+v:at+n], l.Inner[at+v:at+n], l.DH[at+v:at+n], n)
	}
}

// vectors is how many of n units assembly takes: whole vectors, and no more than
// one call may take. The rest is computed in Go; which of the two a unit meets
// depends on n and its place alone.
func vectors(isa ISA, n int) int {
	if isa == Generic {
		return 0
	}
	return min(n, asmElements) &^ (isa.lanes() - 1)
}

// cellGrain is the number of rows in a chunk: some 10 µs of work.
func cellGrain(hidden int) int { return ceilDiv(1<<12, max(hidden, 1)) }
