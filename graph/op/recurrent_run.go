package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/tensor"
)

// recurrent runs a layer: for each direction one product of the whole input with
// the weight, then step by step a product of the states with the recurrence.
type recurrent[T float32 | float64] struct {
	c                                  *graph.Call
	seq, batch, in, hidden, gates      int
	first                              bool // layout: batch is the first dimension
	dirs                               []bool
	clip                               float64
	activations                        [][]func(float64) float64
	cell                               func(*recurrent[T], int) // one step of all sequences
	forget, late                       bool                     // input_forget, linear_before_reset
	input, recurrence, gated, proposed *product[T]
	scratch                            []float32
	fromInput                          func(d int)    // writes xw of direction d
	fromStates                         func(step int) // writes hr

	// during a run: of one direction
	xw, hr         []T // x·weightᵀ [seq·batch][gates·hidden], h·recurrenceᵀ [batch][gates·hidden]
	h, state       []T // [batch][hidden]
	bias, rbias    []T // [gates·hidden]: of the gates; of GRU's candidate, inside the reset
	peephole       []T // [3·hidden], or nil
	weight         []T // recurrence of the direction
	reset, propose []T // GRU: r·h, and its product
	active         []int
	lengths        []int
	f              []func(float64) float64
}

func prepareRecurrent[T float32 | float64](c *graph.Call, kind recurrentKind) (func() error, error) {
	r, err := newRecurrent[T](c, kind, c.In[inRecurrence].Dim(2))
	if err != nil {
		return nil, err
	}
	return r.run, nil
}

func newRecurrent[T float32 | float64](c *graph.Call, kind recurrentKind, hidden int) (*recurrent[T], error) {
	dirs, err := directions(c.Node)
	if err != nil {
		return nil, err
	}
	x := c.In[inX]
	r := &recurrent[T]{
		c: c, seq: x.Dim(0), batch: x.Dim(1), in: x.Dim(2), hidden: hidden, gates: kind.gates, dirs: dirs,
		first: c.Node.Attrs.Int("layout", 0) != 0, clip: float64(c.Node.Attrs.Float("clip", 0)),
		forget: c.Node.Attrs.Int("input_forget", 0) != 0, late: c.Node.Attrs.Int("linear_before_reset", 0) != 0,
	}
	if r.clip <= 0 {
		r.clip = math.Inf(1)
	}
	if r.first {
		r.seq, r.batch = r.batch, r.seq
	}
	if r.activations, err = readActivations(c.Node, kind, len(dirs)); err != nil {
		return nil, err
	}
	switch kind.gates {
	case 1:
		r.cell = (*recurrent[T]).stepRNN
	case 3:
		r.cell = (*recurrent[T]).stepGRU
	default:
		r.cell = (*recurrent[T]).stepLSTM
	}
	if err := r.allocate(); err != nil {
		return nil, err
	}
	r.fromInput = func(d int) {
		r.weight = r.ofDirection(inRecurrence, d, r.gates*r.hidden*r.hidden)
		r.input.run(tensor.Data[T](c.In[inX]), r.ofDirection(inWeight, d, r.gates*r.hidden*r.in), r.xw, r.scratch)
	}
	r.fromStates = func(int) { r.recurrence.run(r.h, r.weight, r.hr, r.scratch) }
	return r, nil
}

// ofDirection are the elements of an optional input that belong to direction d, size
// of them.
func (r *recurrent[T]) ofDirection(input, d, size int) []T {
	if !r.c.Has(input) {
		return nil
	}
	return tensor.Data[T](r.c.In[input])[d*size:][:size]
}

func (r *recurrent[T]) allocate() (err error) {
	gh, pool := r.gates*r.hidden, r.c.Pool
	r.input = (&product[T]{m: r.seq * r.batch, n: gh, k: r.in, transB: true}).prepared(pool)
	r.recurrence = (&product[T]{m: r.batch, n: gh, k: r.hidden, transB: true}).prepared(pool)
	// GRU: the first two gates, and the candidate.
	r.gated = (&product[T]{m: r.batch, n: 2 * r.hidden, k: r.hidden, ldc: gh, transB: true}).prepared(pool)
	r.proposed = (&product[T]{m: r.batch, n: r.hidden, k: r.hidden, transB: true}).prepared(pool)
	r.active, r.lengths = make([]int, r.batch), make([]int, r.batch)
	r.scratch, err = graph.Room[float32](r.c, max(r.input.scratchLen(), r.recurrence.scratchLen(), r.gated.scratchLen(), r.proposed.scratchLen()))
	states := r.batch * r.hidden
	for _, part := range []struct {
		to *[]T
		n  int
	}{
		{&r.xw, r.seq * r.batch * gh}, {&r.hr, r.batch * max(gh, 2*r.hidden)}, {&r.h, states}, {&r.state, states},
		{&r.reset, states}, {&r.propose, states}, {&r.bias, gh}, {&r.rbias, r.hidden},
	} {
		if err == nil {
			*part.to, err = graph.Room[T](r.c, part.n)
		}
	}
	return err
}

func (r *recurrent[T]) run() error {
	if err := r.readLengths(); err != nil {
		return err
	}
	r.clearOutputs()
	for d := range r.dirs {
		r.begin(d)
		r.steps(d)
	}
	return nil
}

func (r *recurrent[T]) clearOutputs() {
	for i := range r.c.Out {
		if r.c.Out[i] != nil {
			clear(tensor.Data[T](r.c.Out[i]))
		}
	}
}

// steps goes through all steps of direction d, which has begun.
func (r *recurrent[T]) steps(d int) {
	for s := range r.seq {
		r.choose(s, r.dirs[d])
		r.cell(r, s)
		r.record(d)
	}
	r.finish(d)
}

func (r *recurrent[T]) readLengths() error {
	for b := range r.lengths {
		r.lengths[b] = r.seq
	}
	if !r.c.Has(inLengths) {
		return nil
	}
	for b, n := range tensor.Data[int32](r.c.In[inLengths]) {
		if n < 0 || int(n) > r.seq {
			return fmt.Errorf("sequence_lens[%d] is %d, the longest sequence has %d steps", b, n, r.seq)
		}
		r.lengths[b] = int(n)
	}
	return nil
}

// begin sets up direction d.
func (r *recurrent[T]) begin(d int) {
	gh := r.gates * r.hidden
	r.f = r.activations[d]
	clear(r.bias)
	clear(r.rbias)
	if b := r.ofDirection(inBias, d, 2*gh); b != nil {
		copy(r.bias, b[:gh])
		for i, v := range b[gh:] {
			if r.late && r.gates == 3 && i >= 2*r.hidden {
				r.rbias[i-2*r.hidden] = v
			} else {
				r.bias[i] += v
			}
		}
	}
	if r.gates == 4 {
		r.peephole = r.ofDirection(inPeephole, d, 3*r.hidden)
	}
	r.initial(r.h, inH, d)
	if r.gates == 4 {
		r.initial(r.state, inC, d)
	}
	r.fromInput(d)
}

func (r *recurrent[T]) initial(state []T, input, d int) {
	clear(state)
	if !r.c.Has(input) {
		return
	}
	from := tensor.Data[T](r.c.In[input])
	for b := range r.batch {
		copy(state[b*r.hidden:][:r.hidden], from[r.stateAt(d, b):])
	}
}

// stateAt is where the state of sequence b lies in a tensor of states.
func (r *recurrent[T]) stateAt(d, b int) int {
	if r.first {
		return (b*len(r.dirs) + d) * r.hidden
	}
	return (d*r.batch + b) * r.hidden
}

// choose finds the time of each sequence at step s; -1 when it is over.
func (r *recurrent[T]) choose(s int, reverse bool) {
	for b, n := range r.lengths {
		switch {
		case s >= n:
			r.active[b] = -1
		case reverse:
			r.active[b] = n - 1 - s
		default:
			r.active[b] = s
		}
	}
}

// gatesOf is what x contributes to the gates of sequence b.
func (r *recurrent[T]) gatesOf(b int) []T {
	row := r.active[b]*r.batch + b
	if r.first {
		row = b*r.seq + r.active[b]
	}
	return r.xw[row*r.gates*r.hidden:][:r.gates*r.hidden]
}

// record copies the states to the output at their times.
func (r *recurrent[T]) record(d int) {
	if r.c.Out[0] == nil {
		return
	}
	y := tensor.Data[T](r.c.Out[0])
	for b, t := range r.active {
		if t < 0 {
			continue
		}
		row := (t*len(r.dirs)+d)*r.batch + b
		if r.first {
			row = (b*r.seq+t)*len(r.dirs) + d
		}
		copy(y[row*r.hidden:][:r.hidden], r.h[b*r.hidden:])
	}
}

func (r *recurrent[T]) finish(d int) {
	for i, state := range [][]T{r.h, r.state} {
		if i+1 >= len(r.c.Out) || r.c.Out[i+1] == nil {
			continue
		}
		to := tensor.Data[T](r.c.Out[i+1])
		for b := range r.batch {
			copy(to[r.stateAt(d, b):][:r.hidden], state[b*r.hidden:])
		}
	}
}
