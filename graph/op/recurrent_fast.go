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
func plainRecurrent(n *graph.Node, kind recurrentKind) string {
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
	c           *graph.Call
	states      int
	input       kernel.Gemm
	gateBuffers []float32   // where they are no output: [directions][seq·batch][width]
	bias, rbias [][]float32 // of each direction: of the sums; of GRU's products with the state
	recurrence  [][]float32 // packed
	inputRoom   int         // floats of scratch of the input's product
	lanes       []*recurrentLane
	each        func(lo, hi, worker int)
}

// floatsOf cuts a piece of n floats off the front of memory.
func floatsOf(memory *[]float32, n int) []float32 {
	piece := (*memory)[:n:n]
	*memory = (*memory)[n:]
	return piece
}

// isPanels reports whether an input of a node is packed.
func isPanels(n *graph.Node, i int) bool {
	v := n.Input(i)
	return v != nil && v.Const != nil && v.Const.Encoding == graph.PanelB
}

func prepareFastRecurrent(c *graph.Call, kind recurrentKind) (func() error, error) {
	sizes, err := sizesOf(c, kind, c.In[inX], c.In[inRecurrence], c.Has(inLengths))
	if err != nil {
		return nil, err
	}
	r := &fastRecurrent{recurrentSizes: sizes, c: c, states: kind.states}
	r.input = kernel.Gemm{M: r.seq * r.batch, N: r.width(), K: r.in, TransB: true, BiasAxis: kernel.BiasColumn}
	if isPanels(c.Node, inWeight) {
		r.input.Packed = make([]float32, 0) // planned as packed
	}
	r.inputRoom = r.input.ScratchLen(c.Pool)
	dirs := len(r.dirs)
	rows := r.laneRows(c.Pool)
	for d := range dirs {
		for from := 0; from < r.batch; from += rows {
			r.lanes = append(r.lanes, newRecurrentLane(r, d, from, min(rows, r.batch-from)))
		}
	}
	r.bias, r.rbias, r.recurrence = make([][]float32, dirs), make([][]float32, dirs), make([][]float32, dirs)
	r.each = func(lo, hi, _ int) {
		for _, l := range r.lanes[lo:hi] {
			l.run()
		}
	}
	c.Reserve(4 * r.room())
	return r.run, nil
}

// laneRows is how many sequences a lane takes. Where there are fewer directions than
// threads, the sequences are divided too, as long as a thread's cache holds what all
// of them read in each step, the recurrence.
func (r *fastRecurrent) laneRows(p *kernel.Pool) int {
	const fewest, cacheFloats = 4, 192 << 10
	if r.width()*r.hidden > cacheFloats {
		return max(r.batch, 1)
	}
	parts := (p.Threads() + len(r.dirs) - 1) / len(r.dirs)
	return max(fewest, (r.batch+parts-1)/parts)
}

func (r *fastRecurrent) packedLen() int {
	if isPanels(r.c.Node, inRecurrence) {
		return 0
	}
	return kernel.PackedLen(r.hidden, r.width(), r.c.Pool.ISA())
}

// room is the number of floats of scratch.
func (r *fastRecurrent) room() int {
	n := r.inputRoom
	for _, l := range r.lanes {
		n += l.room()
	}
	each := 2*r.width() + r.packedLen()
	if r.output(1+r.states) == nil {
		each += r.steps(r.width())
	}
	return n + len(r.dirs)*each
}

func (r *fastRecurrent) run() error {
	if r.lengths != nil {
		if err := r.readLengths(r.c.In[inLengths]); err != nil {
			return err
		}
	}
	memory := r.c.ScratchF32()
	if r.output(1+r.states) == nil {
		r.gateBuffers = floatsOf(&memory, len(r.dirs)*r.steps(r.width()))
	}
	scratch := floatsOf(&memory, r.inputRoom)
	for d := range r.dirs {
		r.biases(d, &memory)
		r.pack(d, &memory)
		r.weigh(d, scratch)
	}
	for _, l := range r.lanes {
		l.begin(&memory)
	}
	if 2*len(r.lanes) > r.c.Pool.Threads() {
		r.c.Pool.For(len(r.lanes), 1, r.each)
	} else { // there is more to gain from dividing the products
		r.each(0, len(r.lanes), 0)
	}
	return nil
}

// gatesOf are the sums, then the gates, of direction d: [seq][batch][width].
func (r *fastRecurrent) gatesOf(d int) []float32 {
	if out := r.output(1 + r.states); out != nil {
		return ofDirection(out, d, len(r.dirs))
	}
	n := r.steps(r.width())
	return r.gateBuffers[d*n:][:n]
}

// weigh computes what the input gives to all gates of direction d.
func (r *fastRecurrent) weigh(d int, scratch []float32) {
	g := &r.input
	if isPanels(r.c.Node, inWeight) {
		size := kernel.PackedLen(r.in, r.width(), r.c.Pool.ISA())
		g.Packed = r.c.F32(inWeight)[d*size:][:size]
	} else {
		g.B = ofDirection(r.c.In[inWeight], d, len(r.dirs))
	}
	g.A, g.C, g.Bias = r.c.F32(inX), r.gatesOf(d), r.bias[d]
	g.Run(r.c.Pool, scratch)
}

// pack finds the packed recurrence of direction d, or packs it.
func (r *fastRecurrent) pack(d int, memory *[]float32) {
	isa := r.c.Pool.ISA()
	if isPanels(r.c.Node, inRecurrence) {
		size := kernel.PackedLen(r.hidden, r.width(), isa)
		r.recurrence[d] = r.c.F32(inRecurrence)[d*size:][:size]
		return
	}
	r.recurrence[d] = floatsOf(memory, r.packedLen())
	kernel.PackB(r.recurrence[d], ofDirection(r.c.In[inRecurrence], d, len(r.dirs)), r.hidden, r.width(), 0, true, isa)
}

// biases adds the two biases up; GRU's products with the state keep their own.
func (r *fastRecurrent) biases(d int, memory *[]float32) {
	gh := r.width()
	bias, rbias := floatsOf(memory, gh), floatsOf(memory, gh)
	r.bias[d], r.rbias[d] = bias, rbias
	clear(bias)
	clear(rbias)
	if !r.c.Has(inBias) {
		return
	}
	b := ofDirection(r.c.In[inBias], d, len(r.dirs))
	copy(bias, b[:gh])
	if r.gates == 3 {
		copy(rbias, b[gh:])
		return
	}
	for i, v := range b[gh:] {
		bias[i] += v
	}
}

func (r *fastRecurrent) output(i int) *tensor.Tensor {
	if i < len(r.c.Out) {
		return r.c.Out[i]
	}
	return nil
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
		if why := plainRecurrent(g.Node, kind); why != "" {
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
