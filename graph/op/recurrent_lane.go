package op

import "tandem/kernel"

// recurrentLane takes some sequences of a batch through all steps of one direction.
// Lanes share nothing that they write, so that they run on threads of their own
// without waiting for each other; what a sequence's states are does not depend on
// who shares its lane.
type recurrentLane struct {
	r              *fastRecurrent
	d, from, rows  int
	rec            kernel.Gemm
	lstm           kernel.LSTMCell
	gru            kernel.GRUCell
	curve          kernel.Unary
	h, cell, inner []float32 // [rows][hidden]
	hr             []float32 // GRU: [rows][width]
	scratch        []float32
	active         []bool
}

func newRecurrentLane(r *fastRecurrent, d, from, rows int) *recurrentLane {
	l := &recurrentLane{r: r, d: d, from: from, rows: rows, active: make([]bool, r.batch)}
	l.rec = kernel.Gemm{M: rows, N: r.width(), K: r.hidden, Accumulate: r.gates != 3}
	if r.gates == 3 {
		l.rec.BiasAxis = kernel.BiasColumn
	}
	l.rec.Packed = make([]float32, 0) // planned as packed
	return l
}

// room is the number of floats of scratch.
func (l *recurrentLane) room() int {
	n := 3*l.rows*l.r.hidden + l.rec.ScratchLen(l.r.c.Pool)
	if l.r.gates == 3 {
		n += l.rows * l.r.width()
	}
	return n
}

// begin takes memory and the first states.
func (l *recurrentLane) begin(memory *[]float32) {
	n := l.rows * l.r.hidden
	l.h, l.cell, l.inner = floatsOf(memory, n), floatsOf(memory, n), floatsOf(memory, n)
	if l.r.gates == 3 {
		l.hr = floatsOf(memory, l.rows*l.r.width())
	}
	l.scratch = floatsOf(memory, l.rec.ScratchLen(l.r.c.Pool))
	l.initial(l.h, inH)
	if l.r.gates == 4 {
		l.initial(l.cell, inC)
	}
}

func (l *recurrentLane) initial(state []float32, input int) {
	if l.r.c.Has(input) {
		copy(state, ofDirection(l.r.c.In[input], l.d, len(l.r.dirs))[l.from*l.r.hidden:])
	} else {
		clear(state)
	}
}

func (l *recurrentLane) run() {
	l.rec.Packed = l.r.recurrence[l.d]
	for i := range l.r.seq {
		l.step(i)
	}
	for i, state := range [2][]float32{l.h, l.cell} {
		if out := l.r.output(1 + i); i < l.r.states && out != nil {
			copy(ofDirection(out, l.d, len(l.r.dirs))[l.from*l.r.hidden:], state)
		}
	}
}

func (l *recurrentLane) step(i int) {
	r, pool := l.r, l.r.c.Pool
	t := r.time(i, r.dirs[l.d])
	active := r.activeAt(t, l.active)
	if active != nil {
		active = active[l.from:][:l.rows]
	}
	gates := r.gatesOf(l.d)[(t*r.batch+l.from)*r.width():][:l.rows*r.width()]
	l.rec.A, l.rec.C, l.rec.Bias = l.h, gates, nil
	if r.gates == 3 {
		l.rec.C, l.rec.Bias = l.hr, r.rbias[l.d]
	}
	if i > 0 || r.c.Has(inH) || r.gates == 3 {
		l.rec.Run(pool, l.scratch)
	}
	at, n := (t*r.batch+l.from)*r.hidden, l.rows*r.hidden
	saved := r.output(2 + r.states)
	switch r.gates {
	case 1:
		l.stepRNN(gates, active)
	case 3:
		inner := l.inner
		if saved != nil {
			inner = ofDirection(saved, l.d, len(r.dirs))[at:][:n]
		}
		l.gru = kernel.GRUCell{Gates: gates, Rec: l.hr, Prev: l.h, H: l.h, Inner: inner, Active: active, Rows: l.rows, Hidden: r.hidden}
		l.gru.Run(pool)
	default:
		l.lstm = kernel.LSTMCell{Gates: gates, Prev: l.cell, C: l.cell, H: l.h, Active: active, Rows: l.rows, Hidden: r.hidden}
		l.lstm.Run(pool)
		if saved != nil {
			copy(ofDirection(saved, l.d, len(r.dirs))[at:], l.cell)
		}
	}
	if r.output(0) != nil {
		l.record(t, active)
	}
}

func (l *recurrentLane) stepRNN(gates []float32, active []bool) {
	l.curve.Op, l.curve.X, l.curve.Y = kernel.OpTanh, gates, gates
	if l.r.relu {
		l.curve.Op = kernel.OpReLU
	}
	l.curve.Run(l.r.c.Pool)
	if active == nil {
		copy(l.h, gates)
		return
	}
	for b, on := range active {
		if on {
			copy(l.h[b*l.r.hidden:][:l.r.hidden], gates[b*l.r.hidden:])
		}
	}
}

// record copies the states to their time in the output, and 0 where a sequence is over.
func (l *recurrentLane) record(t int, active []bool) {
	r := l.r
	y := r.c.Out[0].F32()[((t*len(r.dirs)+l.d)*r.batch+l.from)*r.hidden:][:l.rows*r.hidden]
	copy(y, l.h)
	for b, on := range active {
		if !on {
			clear(y[b*r.hidden:][:r.hidden])
		}
	}
}
