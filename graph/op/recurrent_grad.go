package op

import (
	"fmt"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// Inputs of RecurrentGrad: those of the layer that it needs, what the private
// layer kept, and the gradients of the layer's results. Absent ones are nil.
const (
	rgX = iota
	rgWeight
	rgRecurrence
	rgLengths
	rgH
	rgC
	rgY
	rgGates
	rgSaved
	rgDY
	rgDH
	rgDC
)

// Its outputs: the first two are the memory of gates and inner products, in which
// their gradients are computed.
const (
	rgOutGates = iota
	rgOutSaved
	rgOutX
	rgOutWeight
	rgOutRecurrence
	rgOutBias
	rgOutH
	rgOutC
	rgOutputs
)

func kindNamed(name string) (recurrentKind, error) {
	switch name {
	case "RNN":
		return kindRNN(), nil
	case "GRU":
		return kindGRU(), nil
	case "LSTM":
		return kindLSTM(), nil
	}
	return recurrentKind{}, fmt.Errorf("kind %q is unknown", name)
}

func inferRecurrentGrad(c *graph.Infer) error {
	kind, err := kindNamed(c.Node.Attrs.String("kind", ""))
	if err != nil {
		return err
	}
	c.Out(rgOutGates, tensor.Float32, c.In(rgGates).Shape)
	y := c.In(rgY).Shape
	state := graph.Shape{y[1], y[2], y[3]}
	if kind.gates == 3 {
		c.Out(rgOutSaved, tensor.Float32, c.In(rgSaved).Shape)
	} else {
		c.Out(rgOutSaved, tensor.Float32, graph.Dims(0))
	}
	c.Out(rgOutX, tensor.Float32, c.In(rgX).Shape)
	c.Out(rgOutWeight, tensor.Float32, c.In(rgWeight).Shape)
	c.Out(rgOutRecurrence, tensor.Float32, c.In(rgRecurrence).Shape)
	c.Out(rgOutBias, tensor.Float32, graph.Shape{y[1], y[3].Mul(graph.Const(2 * kind.gates))})
	c.Out(rgOutH, tensor.Float32, state)
	c.Out(rgOutC, tensor.Float32, state)
	return nil
}

// recurrentGrad goes back through time: at each step the cell turns the gates into
// the gradients of their sums, and a product with the recurrence carries them to
// the step before. The weights' gradients are then products over all steps at once.
type recurrentGrad struct {
	recurrentSizes
	c       *graph.Call
	wanted  [rgOutputs]bool
	carry   [2]kernel.Gemm // dsums·recurrence; GRU: of the gates, of the candidate
	into    kernel.Gemm    // dx
	weights kernel.Gemm    // products over all steps
	sums    kernel.SumRows
	add     kernel.Binary
	curve   kernel.Binary
	lstm    kernel.LSTMCellGrad
	gru     kernel.GRUCellGrad

	dh, dc, before []float32 // [batch][hidden]
	// Of each sequence's first step: dsums, and what GRU's cell leaves in dh.
	start, startIn, direct []float32
	outputs                []float32 // of one of two directions, [seq][batch][hidden]
	packed                 [2][]float32
	scratch                []float32
	active                 []bool
}

func kernelRecurrentGrad(c *graph.Call) (func() error, error) {
	kind, err := kindNamed(c.Node.Attrs.String("kind", ""))
	if err != nil {
		return nil, err
	}
	sizes, err := sizesOf(c, kind, c.In[rgX], c.In[rgRecurrence], c.Has(rgLengths))
	if err != nil {
		return nil, err
	}
	r := &recurrentGrad{recurrentSizes: sizes, c: c, active: make([]bool, sizes.batch)}
	for i, v := range c.Node.Outputs {
		r.wanted[i] = v != nil
	}
	gh, all := r.width(), r.seq*r.batch
	r.carry[0] = kernel.Gemm{M: r.batch, N: r.hidden, K: gh, Accumulate: true}
	if r.gates == 3 {
		r.carry[0].K, r.carry[0].LDA = 2*r.hidden, gh
		r.carry[1] = kernel.Gemm{M: r.batch, N: r.hidden, K: r.hidden, Accumulate: true}
	}
	r.into = kernel.Gemm{M: all, N: r.in, K: gh}
	r.weights = kernel.Gemm{M: gh, N: max(r.in, r.hidden), K: all, TransA: true}
	c.Reserve(4 * r.reserve(nil))
	return r.run, nil
}

// reserve divides memory, or says how much of it there must be.
func (r *recurrentGrad) reserve(memory []float32) int {
	n, gh, isa := r.batch*r.hidden, r.width(), r.c.Pool.ISA()
	total := 0
	take := func(to *[]float32, n int) {
		total += n
		if memory != nil {
			*to = floatsOf(&memory, n)
		}
	}
	take(&r.dh, n)
	take(&r.dc, n)
	take(&r.before, n)
	take(&r.start, r.batch*gh)
	take(&r.startIn, n)
	take(&r.direct, n)
	if len(r.dirs) > 1 {
		take(&r.outputs, r.steps(r.hidden))
	}
	scratch := max(r.into.ScratchLen(r.c.Pool), r.weightScratch())
	for i := range r.carry {
		g := &r.carry[i]
		take(&r.packed[i], kernel.PackedLen(g.K, g.N, isa))
		g.Packed = make([]float32, 0)
		scratch = max(scratch, g.ScratchLen(r.c.Pool))
	}
	take(&r.scratch, scratch)
	return total
}

// weightScratch covers every product that weights is used for.
func (r *recurrentGrad) weightScratch() int {
	most := 0
	for _, m := range []int{r.hidden, 2 * r.hidden, r.width()} {
		for _, n := range []int{r.in, r.hidden} {
			for _, k := range []int{r.batch, (r.seq - 1) * r.batch, r.seq * r.batch} {
				g := r.weights
				g.M, g.N, g.K, g.LDA = m, n, k, r.width()
				most = max(most, g.ScratchLen(r.c.Pool))
				g.LDA = max(m, r.hidden)
				most = max(most, g.ScratchLen(r.c.Pool))
			}
		}
	}
	return most
}

func (r *recurrentGrad) run() error {
	if r.lengths != nil {
		if err := r.readLengths(r.c.In[rgLengths]); err != nil {
			return err
		}
	}
	r.reserve(r.c.ScratchF32())
	for _, pair := range [][2]int{{rgGates, rgOutGates}, {rgSaved, rgOutSaved}} {
		if from, to := pair[0], r.c.Out[pair[1]]; to.Len() > 0 && &to.F32()[0] != &r.c.In[from].F32()[0] {
			copy(to.F32(), r.c.In[from].F32())
		}
	}
	for d, reverse := range r.dirs {
		r.backward(d, reverse)
		r.products(d, reverse)
	}
	return nil
}

// gatesAt and innerAt are the gates and inner products of direction d at time t, or
// their gradients.
func (r *recurrentGrad) gatesAt(d, t int) []float32 {
	n := r.batch * r.width()
	return ofDirection(r.c.Out[rgOutGates], d, len(r.dirs))[t*n:][:n]
}

func (r *recurrentGrad) innerAt(d, t int) []float32 {
	n := r.batch * r.hidden
	return ofDirection(r.c.Out[rgOutSaved], d, len(r.dirs))[t*n:][:n]
}

// given are the elements of an input of states for direction d, or nil.
func (r *recurrentGrad) given(input, d int) []float32 {
	if !r.c.Has(input) {
		return nil
	}
	return ofDirection(r.c.In[input], d, len(r.dirs))
}

// at is the block of time t and direction d in a tensor [seq,directions,batch,hidden].
func (r *recurrentGrad) at(input, d, t int) []float32 {
	n := r.batch * r.hidden
	return r.c.F32(input)[(t*len(r.dirs)+d)*n:][:n]
}

// backward leaves the gradients of all sums of direction d in gates and inner
// products, and those of the first states.
func (r *recurrentGrad) backward(d int, reverse bool) {
	w := r.recurrence(d)
	for i, k := 0, 0; i < len(r.carry) && r.carry[i].K > 0; i++ {
		g := &r.carry[i]
		kernel.PackB(r.packed[i], w[k*r.hidden:], g.K, g.N, 0, false, r.c.Pool.ISA())
		g.Packed, g.C = r.packed[i], r.dh
		k += g.K
	}
	clear(r.dh)
	clear(r.dc)
	if dc := r.given(rgDC, d); dc != nil {
		copy(r.dc, dc)
	}
	for i := r.seq - 1; i >= 0; i-- {
		t := r.time(i, reverse)
		active := r.activeAt(t, r.active)
		r.arrive(d, t, i == r.seq-1, reverse, active)
		if i < r.seq-1 {
			next := r.time(i+1, reverse)
			r.carryFrom(r.gatesAt(d, next), next, d)
		}
		r.cell(d, i, reverse, active)
	}
	r.firstStates(d, reverse)
}

func (r *recurrentGrad) recurrence(d int) []float32 {
	return ofDirection(r.c.In[rgRecurrence], d, len(r.dirs))
}

// carryFrom adds what the sums of a step, whose gradients are given, make of dh.
func (r *recurrentGrad) carryFrom(sums []float32, t, d int) {
	r.carry[0].A = sums
	r.carry[0].Run(r.c.Pool, r.scratch)
	if r.gates == 3 {
		r.carry[1].A = r.innerAt(d, t)
		r.carry[1].Run(r.c.Pool, r.scratch)
	}
}

// arrive starts dh at time t with the gradient of the output, and with that of the
// last state where a sequence ends. GRU's cell has left a part in it already.
func (r *recurrentGrad) arrive(d, t int, last, reverse bool, active []bool) {
	if r.gates != 3 || last {
		clear(r.dh)
	}
	if r.c.Has(rgDY) {
		r.add = kernel.Binary{Op: kernel.OpAdd, Y: r.dh, A: r.dh, B: r.at(rgDY, d, t)}
		r.add.Run(r.c.Pool)
	}
	dh := r.given(rgDH, d)
	for b := range r.batch {
		row := r.dh[b*r.hidden:][:r.hidden]
		if active != nil && !active[b] {
			clear(row)
		}
		if dh != nil && r.endsAt(b, t, reverse) {
			for j, v := range dh[b*r.hidden:][:r.hidden] {
				row[j] += v
			}
		}
	}
}

// startOf is when sequence b takes its first step.
func (r *recurrentGrad) startOf(b int, reverse bool) int {
	if reverse {
		return r.length(b) - 1
	}
	return 0
}

// endsAt tells whether sequence b takes its last step at time t.
func (r *recurrentGrad) endsAt(b, t int, reverse bool) bool {
	if reverse {
		return t == 0
	}
	return t == r.length(b)-1
}

func (r *recurrentGrad) length(b int) int {
	if r.lengths == nil {
		return r.seq
	}
	return r.lengths[b]
}

// cell goes back through step i. Gates of sequences that are over get 0.
func (r *recurrentGrad) cell(d, i int, reverse bool, active []bool) {
	t, n := r.time(i, reverse), r.batch*r.hidden
	gates := r.gatesAt(d, t)
	switch r.gates {
	case 1:
		r.curve = kernel.Binary{Op: kernel.OpTanhGrad, Y: gates, A: r.dh, B: gates}
		if r.relu {
			r.curve.Op = kernel.OpReLUGrad
		}
		r.curve.Run(r.c.Pool)
	case 3:
		r.gru = kernel.GRUCellGrad{Gates: gates, Prev: r.hiddenBefore(d, i, reverse), Inner: r.innerAt(d, t), DH: r.dh, Active: active, Rows: r.batch, Hidden: r.hidden}
		r.gru.Run(r.c.Pool)
		for b := range r.batch {
			if t == r.startOf(b, reverse) {
				copy(r.direct[b*r.hidden:][:r.hidden], r.dh[b*r.hidden:])
			}
		}
	default:
		cells := ofDirection(r.c.In[rgSaved], d, len(r.dirs))
		prev := r.before
		if i > 0 {
			prev = cells[r.time(i-1, reverse)*n:][:n]
		} else {
			r.first(prev, rgC, d)
		}
		r.lstm = kernel.LSTMCellGrad{Gates: gates, Prev: prev, C: cells[t*n:][:n], DH: r.dh, DC: r.dc, Active: active, Rows: r.batch, Hidden: r.hidden}
		r.lstm.Run(r.c.Pool)
	}
	for b, on := range active {
		if !on {
			clear(gates[b*r.width():][:r.width()])
			if r.gates == 3 {
				clear(r.innerAt(d, t)[b*r.hidden:][:r.hidden])
			}
		}
	}
}

func (r *recurrentGrad) first(state []float32, input, d int) {
	clear(state)
	copy(state, r.given(input, d))
}

// hiddenBefore are the hidden states before step i: the output of the step before,
// or, where a sequence starts, its first state.
func (r *recurrentGrad) hiddenBefore(d, i int, reverse bool) []float32 {
	if i == 0 {
		r.first(r.before, rgH, d)
		return r.before
	}
	y := r.at(rgY, d, r.time(i-1, reverse))
	h := r.given(rgH, d)
	if r.lengths == nil || !reverse || h == nil {
		return y
	}
	copy(r.before, y)
	for b, n := range r.lengths {
		if r.time(i, reverse) == n-1 {
			copy(r.before[b*r.hidden:][:r.hidden], h[b*r.hidden:])
		}
	}
	return r.before
}

// firstStates gathers the gradients of each sequence's first sums, which the
// gradients of the first states and of the recurrence need.
func (r *recurrentGrad) firstStates(d int, reverse bool) {
	if !r.c.Has(rgH) && !r.c.Has(rgC) {
		return
	}
	last := r.given(rgDH, d)
	clear(r.dh)
	clear(r.start)
	clear(r.startIn)
	for b := range r.batch {
		n := r.length(b)
		row := r.dh[b*r.hidden:][:r.hidden]
		if n == 0 {
			if last != nil {
				copy(row, last[b*r.hidden:])
			}
			continue
		}
		t := r.startOf(b, reverse)
		copy(r.start[b*r.width():][:r.width()], r.gatesAt(d, t)[b*r.width():])
		if r.gates == 3 {
			copy(row, r.direct[b*r.hidden:])
			copy(r.startIn[b*r.hidden:][:r.hidden], r.innerAt(d, t)[b*r.hidden:])
		}
	}
	if r.wanted[rgOutH] {
		r.carry[0].A = r.start
		r.carry[0].Run(r.c.Pool, r.scratch)
		if r.gates == 3 {
			r.carry[1].A = r.startIn
			r.carry[1].Run(r.c.Pool, r.scratch)
		}
		copy(ofDirection(r.c.Out[rgOutH], d, len(r.dirs)), r.dh)
	}
	if r.wanted[rgOutC] {
		copy(ofDirection(r.c.Out[rgOutC], d, len(r.dirs)), r.dc)
	}
}
