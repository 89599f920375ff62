package kernel

// Transpose turns each of Batch matrices X [Rows,Cols] into Y [Cols,Rows].
type Transpose struct {
	Batch, Rows, Cols int
	X, Y              []float32

	isa     ISA
	columns bool // chunks are columns of X, else rows
}

// transposeRows is the number of rows, or columns, of X in a unit.
const transposeRows = 128

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
		switch {
		case t.columns && t.Rows < t.isa.lanes():
			interleave(y[from*t.Rows:], x[from:], t.Rows, t.Cols, min(transposeRows, t.Cols-from))
		case t.columns:
			transpose(y[from*t.Rows:], x[from:], t.Rows, t.Cols, t.Rows, min(transposeRows, t.Cols-from), t.isa)
		default:
			transpose(y[from:], x[from*t.Cols:], t.Rows, t.Cols, min(transposeRows, t.Rows-from), t.Cols, t.isa)
		}
	}
}

// interleave writes n columns of a few rows, such as the colours of pixels.
func interleave(dst, src []float32, rows, stride, n int) {
	if rows == 3 {
		r, g, b := src[:n], src[stride:][:n], src[2*stride:][:n]
		dst = dst[:3*n]
		for i, v := range r {
			dst[3*i], dst[3*i+1], dst[3*i+2] = v, g[i], b[i]
		}
		return
	}
	for r := range rows {
		for i, v := range src[r*stride:][:n] {
			dst[i*rows+r] = v
		}
	}
}
