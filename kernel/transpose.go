package kernel

// Transpose turns each of Batch matrices X [Rows,Cols] into Y [Cols,Rows].
type Transpose struct {
	Batch, Rows, Cols int
	X, Y              []float32

	isa     ISA
	columns bool // chunks are columns of X, else rows
}

// transposeRows is the number of rows, or columns, of X in a unit.
const transposeRows = 32

// Run computes Y.
func (t *Transpose) Run(p *Pool) {
	n := t.Batch * t.Rows * t.Cols
	checkLen("Transpose", "X", len(t.X), n)
	checkLen("Transpose", "Y", len(t.Y), n)
	if n == 0 {
		return
	}
	t.isa, t.columns = p.isa, t.Cols > t.Rows
	long, short := max(t.Rows, t.Cols), min(t.Rows, t.Cols)
	p.run(t.Batch*ceilDiv(long, transposeRows), max(1, ceilDiv(vectorGrain, short*transposeRows)), t)
}

func (t *Transpose) chunk(lo, hi, _ int) {
	blocks := ceilDiv(max(t.Rows, t.Cols), transposeRows)
	for i := lo; i < hi; i++ {
		at := i / blocks * t.Rows * t.Cols
		x, y := t.X[at:], t.Y[at:]
		from := i % blocks * transposeRows
		if t.columns {
			transpose(y[from*t.Rows:], x[from:], t.Rows, t.Cols, t.Rows, min(transposeRows, t.Cols-from), t.isa)
		} else {
			transpose(y[from:], x[from*t.Cols:], t.Rows, t.Cols, min(transposeRows, t.Rows-from), t.Cols, t.isa)
		}
	}
}
