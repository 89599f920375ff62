package op

import "tandem/kernel"

// products computes the gradients of direction d that are sums over all steps: of
// the input, the weights and the biases.
func (r *recurrentGrad) products(d int, reverse bool) {
	sums := ofDirection(r.c.Out[rgOutGates], d, len(r.dirs))
	if r.wanted[rgOutX] {
		g := &r.into
		g.A, g.B, g.C = sums, ofDirection(r.c.In[rgWeight], d, len(r.dirs)), r.c.Out[rgOutX].F32()
		g.Accumulate = d > 0
		g.Run(r.c.Pool, r.scratch)
	}
	if r.wanted[rgOutWeight] {
		to := ofDirection(r.c.Out[rgOutWeight], d, len(r.dirs))
		r.product(sums, r.width(), r.width(), r.c.F32(rgX), r.in, r.seq*r.batch, to, false)
	}
	if r.wanted[rgOutBias] {
		r.biases(d, sums)
	}
	if r.wanted[rgOutRecurrence] {
		r.recurrenceGrad(d, reverse, sums)
	}
}

// product is to = aᵀ·b over rows: a has width columns, of which the first m count.
func (r *recurrentGrad) product(a []float32, m, width int, b []float32, n, rows int, to []float32, add bool) {
	g := &r.weights
	g.M, g.N, g.K, g.LDA = m, n, rows, width
	g.A, g.B, g.C, g.Accumulate = a, b, to, add
	g.Run(r.c.Pool, r.scratch)
}

// biases: both biases of a gate have the gradient of its sum, but that of GRU's
// candidate within the reset, which has that of the inner product.
func (r *recurrentGrad) biases(d int, sums []float32) {
	gh, rows := r.width(), r.seq*r.batch
	to := ofDirection(r.c.Out[rgOutBias], d, len(r.dirs))
	r.sums = kernel.SumRows{Dst: to[:gh], X: sums, Rows: rows, Cols: gh}
	r.sums.Run(r.c.Pool)
	copy(to[gh:], to[:gh])
	if r.gates == 3 {
		inner := ofDirection(r.c.Out[rgOutSaved], d, len(r.dirs))
		r.sums = kernel.SumRows{Dst: to[2*gh-r.hidden:], X: inner, Rows: rows, Cols: r.hidden}
		r.sums.Run(r.c.Pool)
	}
}

// recurrenceGrad: every step's sums meet the states before it. Within the sequence
// these are the outputs, moved by one step; at its start the first states. (Outputs
// past the end of a sequence are 0, which is right for one that runs from the end.)
func (r *recurrentGrad) recurrenceGrad(d int, reverse bool, sums []float32) {
	to := ofDirection(r.c.Out[rgOutRecurrence], d, len(r.dirs))
	y := r.c.F32(rgY)
	if len(r.dirs) > 1 {
		y = r.outputs
		for t := range r.seq {
			copy(y[t*r.batch*r.hidden:], r.at(rgY, d, t))
		}
	}
	rows, gh := (r.seq-1)*r.batch, r.width()
	from, before := r.batch, 0 // rows of the sums and of the outputs
	if reverse {
		from, before = 0, r.batch
	}
	y = y[before*r.hidden:]
	gated := gh
	if r.gates == 3 {
		gated = 2 * r.hidden
		inner := ofDirection(r.c.Out[rgOutSaved], d, len(r.dirs))
		r.product(inner[from*r.hidden:], r.hidden, r.hidden, y, r.hidden, rows, to[gated*r.hidden:], false)
	}
	r.product(sums[from*gh:], gated, gh, y, r.hidden, rows, to, false)
	if h := r.given(rgH, d); h != nil {
		r.product(r.start, gated, gh, h, r.hidden, r.batch, to, true)
		if r.gates == 3 {
			r.product(r.startIn, r.hidden, r.hidden, h, r.hidden, r.batch, to[gated*r.hidden:], true)
		}
	}
}
