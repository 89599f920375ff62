package op

import (
	"fmt"
	"strings"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// The layers as exporters write them run on fused kernels: one product of all
// steps' inputs with the weight, then step by step a product with the packed
// recurrence and a cell. When a layer is trained, the gates of every step are kept
// for the gradient.

// plainRecurrent says why a node does not have that form, or nothing.
func plainRecurrent(n *graph.Node, kind recurrentKind, dirs int) string {
	names, _ := n.Attrs["activations"].([]string)
	for i, name := range names {
		want := kind.defaults[i%len(kind.defaults)]
		if !strings.EqualFold(name, want) && (kind.gates != 1 || !strings.EqualFold(name, "Relu") || name != names[0]) {
			return fmt.Sprintf("activation %s (expected %s)", name, want)
		}
	}
	switch {
	case n.Attrs.Float("clip", 0) > 0:
		return "clip"
	case n.Attrs.Int("input_forget", 0) != 0:
		return "input_forget"
	case n.Attrs.Int("layout", 0) != 0:
		return "layout 1"
	case kind.gates == 3 && n.Attrs.Int("linear_before_reset", 0) == 0:
		return "linear_before_reset 0"
	case n.Input(inPeephole) != nil:
		return "peepholes"
	}
	return ""
}

// recurrentSizes are the dimensions of a layer.
type recurrentSizes struct {
	seq, batch, in, hidden, gates int
	dirs                          []bool // which run from the end
	relu                          bool   // RNN's activation
	lengths                       []int  // of the sequences; nil: all are seq long
}

func sizesOf(c *graph.Call, kind recurrentKind, x, r *tensor.Tensor, lengths bool) (recurrentSizes, error) {
	dirs, err := directions(c.Node)
	s := recurrentSizes{seq: x.Dim(0), batch: x.Dim(1), in: x.Dim(2), hidden: r.Dim(2), gates: kind.gates, dirs: dirs}
	names, _ := c.Node.Attrs["activations"].([]string)
	s.relu = len(names) > 0 && strings.EqualFold(names[0], "Relu")
	if lengths {
		s.lengths = make([]int, s.batch)
	}
	return s, err
}

func (s *recurrentSizes) width() int { return s.gates * s.hidden }

// steps is how many elements of n a step a direction has in all.
func (s *recurrentSizes) steps(n int) int { return s.seq * s.batch * n }

// time is when a direction takes its i-th step.
func (s *recurrentSizes) time(i int, reverse bool) int {
	if reverse {
		return s.seq - 1 - i
	}
	return i
}

// readLengths checks sequence_lens.
func (s *recurrentSizes) readLengths(t *tensor.Tensor) error {
	if s.lengths == nil {
		return nil
	}
	for b, n := range tensor.Data[int32](t) {
		if n < 0 || int(n) > s.seq {
			return fmt.Errorf("sequence_lens[%d] is %d, the longest sequence has %d steps", b, n, s.seq)
		}
		s.lengths[b] = int(n)
	}
	return nil
}

// activeAt tells for each sequence whether it has time t; nil: all do.
func (s *recurrentSizes) activeAt(t int, active []bool) []bool {
	if s.lengths == nil {
		return nil
	}
	for b, n := range s.lengths {
		active[b] = t < n
	}
	return active
}

// steps of one direction in a tensor [directions,seq,batch,n] or [directions,batch,n].
func ofDirection(t *tensor.Tensor, d, dirs int) []float32 {
	n := t.Len() / dirs
	return t.F32()[d*n:][:n]
}

// fastRecurrent is the forward pass. With the private operators, the gates (and
// LSTM's cell states, GRU's inner products) of every step are outputs.
type fastRecurrent struct {
	recurrentSizes
	c                      *graph.Call
	states                 int
	input, rec             kernel.Gemm
	lstm                   kernel.LSTMCell
	gru                    kernel.GRUCell
	curve                  kernel.Unary
	gateBuffer, h, cell    []float32
	hr, inner, bias, rbias []float32
	packed, scratch        []float32
	active                 []bool
}

// floatsOf cuts a piece of n floats off the front of memory.
func floatsOf(memory *[]float32, n int) []float32 {
	piece := (*memory)[:n:n]
	*memory = (*memory)[n:]
	return piece
}

func packedInput(n *graph.Node, i int) bool {
	v := n.Input(i)
	return v != nil && v.Const != nil && v.Const.Encoding == graph.PanelB
}

func prepareFastRecurrent(c *graph.Call, kind recurrentKind) (func() error, error) {
	sizes, err := sizesOf(c, kind, c.In[inX], c.In[inRecurrence], c.Has(inLengths))
	if err != nil {
		return nil, err
	}
	r := &fastRecurrent{recurrentSizes: sizes, c: c, states: kind.states, active: make([]bool, sizes.batch)}
	n, gh := r.batch*r.hidden, r.width()
	r.input = kernel.Gemm{M: r.seq * r.batch, N: gh, K: r.in, TransB: true, BiasAxis: kernel.BiasColumn}
	r.rec = kernel.Gemm{M: r.batch, N: gh, K: r.hidden, Accumulate: r.gates != 3}
	if r.gates == 3 {
		r.rec.BiasAxis = kernel.BiasColumn
	}
	r.rec.Packed = make([]float32, 0) // planned as packed
	gemm := max(r.input.ScratchLen(c.Pool), r.rec.ScratchLen(c.Pool))
	packed := kernel.PackedLen(r.hidden, gh, c.Pool.ISA())
	c.Reserve(4 * (r.steps(gh) + 3*n + r.batch*gh + 2*gh + packed + gemm))
	return r.run, nil
}

func (r *fastRecurrent) run() error {
	if r.lengths != nil {
		if err := r.readLengths(r.c.In[inLengths]); err != nil {
			return err
		}
	}
	memory, n, gh := r.c.ScratchF32(), r.batch*r.hidden, r.width()
	r.gateBuffer = floatsOf(&memory, r.steps(gh))
	r.h, r.cell, r.inner = floatsOf(&memory, n), floatsOf(&memory, n), floatsOf(&memory, n)
	r.hr, r.bias, r.rbias = floatsOf(&memory, r.batch*gh), floatsOf(&memory, gh), floatsOf(&memory, gh)
	r.packed = floatsOf(&memory, kernel.PackedLen(r.hidden, gh, r.c.Pool.ISA()))
	r.scratch = memory
	for d, reverse := range r.dirs {
		r.begin(d)
		for i := range r.seq {
			r.step(i, d, reverse)
		}
		r.finish(d)
	}
	return nil
}

// weight points a product at a direction's weight, packed before or now.
func (r *fastRecurrent) weight(g *kernel.Gemm, input, d, cols int) {
	w := ofDirection(r.c.In[input], d, len(r.dirs))
	if packedInput(r.c.Node, input) {
		size := kernel.PackedLen(cols, r.width(), r.c.Pool.ISA())
		g.Packed = r.c.In[input].F32()[d*size:][:size]
		return
	}
	if g == &r.rec {
		kernel.PackB(r.packed, w, cols, r.width(), 0, true, r.c.Pool.ISA())
		g.Packed = r.packed
		return
	}
	g.B = w
}

// begin computes what the input gives to all gates of direction d, and its states.
func (r *fastRecurrent) begin(d int) {
	r.weight(&r.input, inWeight, d, r.in)
	r.weight(&r.rec, inRecurrence, d, r.hidden)
	r.biases(d)
	if out := r.output(1 + r.states); out != nil {
		r.gateBuffer = ofDirection(out, d, len(r.dirs))
	}
	r.input.A, r.input.C, r.input.Bias = r.c.F32(inX), r.gateBuffer, r.bias
	r.input.Run(r.c.Pool, r.scratch)
	r.initial(r.h, inH, d)
	if r.gates == 4 {
		r.initial(r.cell, inC, d)
	}
}

// biases adds the two biases up; GRU's candidate keeps its own apart.
func (r *fastRecurrent) biases(d int) {
	clear(r.bias)
	clear(r.rbias)
	if !r.c.Has(inBias) {
		return
	}
	gh := r.width()
	b := ofDirection(r.c.In[inBias], d, len(r.dirs))
	copy(r.bias, b[:gh])
	if r.gates == 3 {
		copy(r.rbias, b[gh:])
		return
	}
	for i, v := range b[gh:] {
		r.bias[i] += v
	}
}

func (r *fastRecurrent) initial(state []float32, input, d int) {
	if r.c.Has(input) {
		copy(state, ofDirection(r.c.In[input], d, len(r.dirs)))
	} else {
		clear(state)
	}
}

func (r *fastRecurrent) output(i int) *tensor.Tensor {
	if i < len(r.c.Out) {
		return r.c.Out[i]
	}
	return nil
}

func (r *fastRecurrent) step(i, d int, reverse bool) {
	t, n, pool := r.time(i, reverse), r.batch*r.hidden, r.c.Pool
	active := r.activeAt(t, r.active)
	gates := r.gateBuffer[t*r.batch*r.width():][:r.batch*r.width()]
	r.rec.A, r.rec.C, r.rec.Bias = r.h, gates, nil
	if r.gates == 3 {
		r.rec.C, r.rec.Bias = r.hr, r.rbias
	}
	if i > 0 || r.c.Has(inH) || r.gates == 3 {
		r.rec.Run(pool, r.scratch)
	}
	saved := r.output(2 + r.states)
	switch r.gates {
	case 1:
		r.stepRNN(gates, active)
	case 3:
		inner := r.inner
		if saved != nil {
			inner = ofDirection(saved, d, len(r.dirs))[t*n:][:n]
		}
		r.gru = kernel.GRUCell{Gates: gates, Rec: r.hr, Prev: r.h, H: r.h, Inner: inner, Active: active, Rows: r.batch, Hidden: r.hidden}
		r.gru.Run(pool)
	default:
		r.lstm = kernel.LSTMCell{Gates: gates, Prev: r.cell, C: r.cell, H: r.h, Active: active, Rows: r.batch, Hidden: r.hidden}
		r.lstm.Run(pool)
		if saved != nil {
			copy(ofDirection(saved, d, len(r.dirs))[t*n:], r.cell)
		}
	}
	if r.output(0) != nil {
		r.record(t, d, active)
	}
}

func (r *fastRecurrent) stepRNN(gates []float32, active []bool) {
	r.curve.Op, r.curve.X, r.curve.Y = kernel.OpTanh, gates, gates
	if r.relu {
		r.curve.Op = kernel.OpReLU
	}
	r.curve.Run(r.c.Pool)
	if active == nil {
		copy(r.h, gates)
		return
	}
	for b, on := range active {
		if on {
			copy(r.h[b*r.hidden:][:r.hidden], gates[b*r.hidden:])
		}
	}
}

// record copies the states to their time in the output, and 0 where a sequence is over.
func (r *fastRecurrent) record(t, d int, active []bool) {
	n := r.batch * r.hidden
	y := r.c.Out[0].F32()[(t*len(r.dirs)+d)*n:][:n]
	copy(y, r.h)
	for b, on := range active {
		if !on {
			clear(y[b*r.hidden:][:r.hidden])
		}
	}
}

func (r *fastRecurrent) finish(d int) {
	for i, state := range [][]float32{r.h, r.cell}[:r.states] {
		if out := r.output(1 + i); out != nil {
			copy(ofDirection(out, d, len(r.dirs)), state)
		}
	}
}

// inferRecurrentSaved is the shape rule of the private operators: after the
// results, the gates [directions,seq,batch,gates·hidden] and, of LSTM and GRU,
// cell states or inner products [directions,seq,batch,hidden].
func inferRecurrentSaved(kind recurrentKind) func(*graph.Infer) error {
	return func(c *graph.Infer) error {
		if err := inferRecurrent(kind)(c); err != nil {
			return err
		}
		x, hidden := c.In(inX).Shape, c.In(inRecurrence).Shape[2]
		dirs := c.In(inRecurrence).Shape[0]
		c.Out(1+kind.states, tensor.Float32, graph.Shape{dirs, x[0], x[1], hidden.Mul(graph.Const(kind.gates))})
		if kind.gates > 1 {
			c.Out(2+kind.states, tensor.Float32, graph.Shape{dirs, x[0], x[1], hidden})
		}
		return nil
	}
}

// gradRecurrent has the node keep its gates and adds the gradient of all inputs.
func gradRecurrent(name string, kind recurrentKind) func(*graph.Gradient) error {
	return func(g *graph.Gradient) error {
		dirs, err := directions(g.Node)
		if err != nil {
			return err
		}
		if why := plainRecurrent(g.Node, kind, len(dirs)); why != "" {
			return fmt.Errorf("%s has no gradient: %s", name, why)
		}
		keep := []int{0, 1 + kind.states}
		if kind.gates > 1 {
			keep = append(keep, 2+kind.states)
		}
		if err := g.Keep(graph.OpID{Domain: graph.Private, Name: name}, keep...); err != nil {
			return err
		}
		n := g.Node
		inputs := []*graph.Value{n.Input(inX), n.Input(inWeight), n.Input(inRecurrence), n.Input(inLengths), n.Input(inH), n.Input(inC),
			n.Outputs[0], n.Outputs[1+kind.states], n.Output(2 + kind.states), g.Out(0), g.Out(1), nil}
		if kind.states > 1 {
			inputs[11] = g.Out(2)
		}
		attrs := graph.Attrs{"kind": name}
		for _, a := range []string{"direction", "activations"} {
			if v, ok := n.Attrs[a]; ok {
				attrs[a] = v
			}
		}
		d := g.Builder.Node(graph.OpID{Domain: graph.Private, Name: "RecurrentGrad"}, 8, attrs, inputs...)
		for i, out := range map[int]int{inX: 2, inWeight: 3, inRecurrence: 4, inBias: 5, inH: 6, inC: 7} {
			if g.Needs(i) {
				g.Set(i, d[out])
			}
		}
		return nil
	}
}
