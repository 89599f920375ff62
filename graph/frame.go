package graph

import (
	"context"
	"errors"
	"slices"

	"tandem/fault"
	"tandem/kernel"
	"tandem/tensor"
)

// frame is what one run at a time uses: tensors with memory of their own, and the
// steps prepared for their shapes.
//
// A frame is built in segments. Shape rules are run node by node, in numbers; as
// far as they know every type, the nodes form a segment, whose memory is laid out
// and whose kernels are prepared. A rule that needs elements ends the segment: it
// is asked again when the segment has run. Most graphs are one segment. A frame is
// kept and run again for the same input shapes, as far as elements still decide
// the same.
type frame struct {
	p       *Program
	pool    *kernel.Pool // of this frame's kernels, which stop when ctx ends
	ctx     context.Context
	types   map[*Value]Type
	content map[*Value][]Dim
	tensors map[*Value]*tensor.Tensor
	spares  *spares // where arenas come from
	bytes   int     // of arenas, and of what kernels keep
	running int     // bytes that kernels have allocated in this run
	// building: what is allocated now stays for as long as the frame.
	building bool
	state    []memory
	bodies   map[*Node]map[string]*Session
	segments []segment
	steps    []step
	next     int // the first node that is not prepared
	inputs   []*tensor.Tensor
	outputs  []*tensor.Tensor
	copying  copying // of outputs
	// Of the shape rule that is running: elements that it has looked at, and, where a
	// segment is looked at again, those that it may look at.
	asking, answered []*Value
}

type step struct {
	node *Node
	op   *Op
	run  func() error
	rows *rowwise // instead of run: node is the first of it
}

func (s *Session) newFrame(in []*tensor.Tensor) *frame {
	p := s.p
	f := &frame{
		p: p, pool: p.opt.Pool.Branch(), state: s.state, bodies: s.bodies, spares: &s.spares,
		types: map[*Value]Type{}, content: map[*Value][]Dim{}, tensors: map[*Value]*tensor.Tensor{},
	}
	for i, v := range p.g.Inputs {
		x := new(tensor.Tensor)
		*x = *in[i]
		f.give(v, x)
		f.inputs = append(f.inputs, x)
	}
	for i, st := range p.g.State {
		x := new(tensor.Tensor)
		x.Set(st.Init.DType, st.Init.Shape, s.state[i][:st.Init.byteLen()])
		f.give(st.Current, x)
	}
	f.giveConstants()
	return f
}

func (f *frame) giveConstants() {
	for _, v := range f.p.g.Constants() {
		x := new(tensor.Tensor)
		if c := v.Const; c.DType == tensor.String {
			x = tensor.OfStrings(c.Strings, c.Shape...)
		} else {
			x.Set(c.DType, c.Shape, c.Data)
		}
		f.give(v, x)
	}
}

// give makes a value known with its tensor.
func (f *frame) give(v *Value, x *tensor.Tensor) {
	f.tensors[v] = x
	f.types[v] = Type{x.DType(), Dims(x.Shape()...)}
}

// facts of a run.

func (f *frame) typeOf(v *Value) Type         { return f.types[v] }
func (f *frame) contentOf(v *Value) []Dim     { return f.content[v] }
func (f *frame) set(v *Value, t Type)         { f.types[v] = t }
func (f *frame) setContent(v *Value, c []Dim) { f.content[v] = c }

func (f *frame) elements(v *Value) *tensor.Tensor {
	if v.Const != nil {
		return static{}.elements(v)
	}
	x := f.tensors[v]
	if x == nil || f.answered != nil && !slices.Contains(f.answered, v) {
		return nil
	}
	f.ask(v)
	return x
}

// run executes the frame, building what is not built yet.
func (f *frame) run(ctx context.Context, in []*tensor.Tensor) error {
	f.ctx, f.running = ctx, 0
	if len(f.state) == 0 { // an operator that updates state in place runs to its end
		f.pool.Until(ctx.Done())
	}
	for i, x := range in {
		f.inputs[i].Alias(x)
	}
	for i := 0; ; i++ {
		if i < len(f.segments) && !f.holds(&f.segments[i]) {
			f.truncate(i)
		}
		if i == len(f.segments) {
			if f.next == len(f.p.g.Nodes) {
				break
			}
			if err := f.extend(); err != nil {
				return err
			}
		}
		if err := f.runSegment(i); err != nil {
			return err
		}
	}
	if f.outputs == nil {
		f.outputs = make([]*tensor.Tensor, len(f.p.g.Outputs))
		for i, v := range f.p.g.Outputs {
			f.outputs[i] = f.tensors[v]
		}
	}
	return nil
}

// runSegment runs the steps of a segment.
func (f *frame) runSegment(i int) error {
	f.segments[i].begin()
	end := len(f.steps)
	if i+1 < len(f.segments) {
		end = f.segments[i+1].step
	}
	for _, s := range f.steps[f.segments[i].step:end] {
		if err := f.step(s); err != nil {
			return err
		}
		if s.op.Late && !f.made(s.node) {
			f.truncate(i + 1)
		}
	}
	return nil
}

// step runs a step, unless the context has ended.
func (f *frame) step(s step) error {
	if err := f.ctx.Err(); err != nil {
		return fault.From(err, "graph.run")
	}
	if s.rows != nil {
		return s.rows.run(f)
	}
	if err := f.do(s); err != nil {
		if f.ctx.Err() != nil {
			return fault.From(f.ctx.Err(), "graph.run")
		}
		return fault.Wrap(err, "graph.run", kindOf(err), "node %v", s.node)
	}
	return nil
}

// do runs a step. One that leaves off because the context has ended gives its error.
func (f *frame) do(s step) (err error) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case kernel.Stopped:
			err = f.ctx.Err()
		default:
			panic(v)
		}
	}()
	if p := f.p.opt.Profile; p != nil {
		return p.time(s, f.tensors)
	}
	err = s.run()
	if check := f.p.opt.Check; check != nil && err == nil {
		for i, v := range s.node.Outputs {
			if v != nil && err == nil {
				err = check(s.node, i, f.tensors[v])
			}
		}
	}
	return err
}

// kindOf is that of a kernel's error: its input was wrong unless it says otherwise.
func kindOf(err error) fault.Kind {
	if kind := fault.KindOf(err); kind != fault.Internal {
		return kind
	}
	return fault.Invalid
}

// rest drops what belongs to the caller when a run is over, and what Late nodes made.
func (f *frame) rest() {
	f.ctx = nil
	f.pool.Until(nil)
	for _, t := range f.inputs {
		drop(t)
	}
	for i := range f.segments {
		s := &f.segments[i]
		for _, v := range s.views {
			drop(v.is)
		}
		for _, r := range s.rows {
			r.rest()
		}
		if f.p.ops[s.node].Late {
			for _, o := range f.p.g.Nodes[s.node].Outputs {
				if o != nil {
					drop(f.tensors[o])
				}
			}
		}
	}
}

// drop leaves a tensor its type and shape.
func drop(t *tensor.Tensor) { t.Set(t.DType(), t.Shape(), nil) }

func (f *frame) free() {
	for _, s := range f.segments {
		s.leave(memory.free)
	}
	f.segments = nil
}

// leave is free for a frame whose memory another will want.
func (f *frame) leave() {
	for _, s := range f.segments {
		s.leave(f.spares.give)
	}
	f.segments = nil
}

// extend prepares the next segment.
func (f *frame) extend() error {
	f.building = true
	defer func() { f.building = false }()
	nodes, lo, hi := f.p.g.Nodes, f.next, f.next
	seg := segment{node: lo, step: len(f.steps), bytes: f.bytes}
	for ; hi < len(nodes); hi++ {
		n := nodes[hi]
		f.asking = nil
		err := infer(n, f.p.ops[hi], f.p.g.OpVersion(n), f)
		if errors.Is(err, ErrNeedsData) {
			break
		}
		if err != nil {
			return fault.Wrap(err, "graph.run", fault.Invalid, "node %v", n)
		}
		if len(f.asking) > 0 {
			seg.asked = append(seg.asked, question{hi, f.asking})
		}
	}
	late := hi == lo
	if late && !f.p.ops[lo].Late {
		return fault.New("graph.run", fault.Unsupported, "node %v: its shape cannot be found from its inputs", nodes[lo])
	}
	f.segments = append(f.segments, seg)
	if late {
		f.next = lo + 1
		f.prepareLate(lo)
		return nil
	}
	f.next = hi
	return f.prepare(lo, hi, true)
}

// prepareLate adds a step whose kernel allocates its outputs. The kernel is asked
// for when the step runs, as its inputs may decide what it does.
func (f *frame) prepareLate(at int) {
	n := f.p.g.Nodes[at]
	c := f.call(n)
	for j, o := range n.Outputs {
		if o != nil {
			c.Out[j] = new(tensor.Tensor)
			f.tensors[o] = c.Out[j]
		}
	}
	f.steps = append(f.steps, step{node: n, op: f.p.ops[at], run: func() error {
		run, err := f.p.ops[at].Kernel(c)
		if err == nil {
			err = run()
		}
		return err
	}})
}

func (f *frame) call(n *Node) *Call {
	c := &Call{Node: n, Pool: f.pool, In: make([]*tensor.Tensor, len(n.Inputs)), Out: make([]*tensor.Tensor, len(n.Outputs)), frame: f, bodies: f.bodies[n]}
	for i, v := range n.Inputs {
		if v != nil {
			c.In[i] = f.tensors[v]
		}
	}
	return c
}

// prepare lays out the memory of the nodes from lo to hi and asks for their kernels. byRow
// lets some compute a few rows at a time.
func (f *frame) prepare(lo, hi int, byRow bool) error {
	l, err := f.p.layOut(lo, hi, f.typeOf)
	if err != nil {
		return fault.Wrap(err, "graph.run", fault.Invalid, "")
	}
	sizes, err := f.describe(l)
	if err != nil {
		return err
	}
	calls := make([]*Call, hi-lo)
	var rows []*rowwise
	if byRow {
		seg := &f.segments[len(f.segments)-1]
		seg.rows = f.rowwise(lo, hi, seg.asked)
		rows = seg.rows
	}
	for _, r := range rows {
		r.hold(l, sizes)
	}
	// Before kernels are prepared: those of rare types allocate by shape themselves.
	if limit, most := f.p.opt.MemoryLimitBytes, slices.Max(append(sizes, 0)); limit > 0 && most > limit {
		return f.overLimit(most)
	}
	for i := range calls {
		if len(rows) > 0 && lo+i >= rows[0].lo {
			r := rows[0]
			if lo+i == r.lo {
				if err := f.prepareRows(r); err != nil {
					return err
				}
				f.steps = append(f.steps, step{node: f.p.g.Nodes[r.lo], op: f.p.ops[r.lo], rows: r})
			}
			if lo+i == r.hi-1 {
				rows = rows[1:]
			}
			continue
		}
		n, op := f.p.g.Nodes[lo+i], f.p.ops[lo+i]
		c := f.call(n)
		for j, o := range n.Outputs {
			if o != nil {
				c.Out[j] = f.tensors[o]
			}
		}
		if op.View {
			if l.stores[l.of[n.Outputs[0]]].place == onHeap {
				f.steps = append(f.steps, step{node: n, op: op, run: func() error { c.Out[0].Alias(c.In[0]); return nil }})
			}
			continue
		}
		run, err := op.Kernel(c)
		if err != nil {
			return fault.Wrap(err, "graph.run", kindOf(err), "node %v", n)
		}
		calls[i] = c
		f.steps = append(f.steps, step{node: n, op: op, run: run})
	}
	return f.place(l, calls, lo, sizes)
}

// describe makes the tensors of the values that the segment defines, without
// memory yet, and finds the size of each storage in bytes.
func (f *frame) describe(l *layout) ([]int, error) {
	sizes := make([]int, len(l.stores))
	for _, v := range l.order {
		if f.tensors[v] != nil {
			continue
		}
		t := f.types[v]
		shape, ok := t.Shape.Static()
		if !ok {
			return nil, fault.New("graph.run", fault.Internal, "shape %v of %s has symbols at run time", t.Shape, v.Name)
		}
		size, err := sizeOf(t.DType, shape)
		if err != nil {
			return nil, fault.Wrap(err, "graph.run", fault.Invalid, "shape of %s", v.Name)
		}
		x := new(tensor.Tensor)
		x.Set(t.DType, shape, nil)
		f.tensors[v] = x
		if t.DType == tensor.String {
			if err := f.count(size); err != nil {
				return nil, err
			}
			x.Become(tensor.New(tensor.String, shape...))
			continue
		}
		s := l.of[v]
		sizes[s] = max(sizes[s], size)
	}
	return sizes, nil
}

// sizeOf is the memory of a tensor in bytes; an error for shapes that cannot be.
func sizeOf(d tensor.DType, shape tensor.Shape) (int, error) {
	n, err := shape.CheckedLen(1 << 46)
	if d == tensor.String {
		return n * stringBytes, err
	}
	return d.ByteLen(n), err
}

// count adds memory to what the run takes, before it is allocated.
func (f *frame) count(bytes int) error {
	if f.building {
		f.bytes += bytes
	} else {
		f.running += bytes
	}
	return f.checkLimit()
}

func (f *frame) checkLimit() error {
	if limit := f.p.opt.MemoryLimitBytes; limit > 0 && f.bytes+f.running > limit {
		return f.overLimit(f.bytes + f.running)
	}
	return nil
}

// stringBytes is what a string takes besides its text.
const stringBytes = 16

func (f *frame) overLimit(bytes int) error {
	return fault.New("graph.run", fault.TooLarge, "this input needs %d MiB of working memory, the limit is %d MiB", bytes>>20, f.p.opt.MemoryLimitBytes>>20).
		Try("use a smaller batch or a higher memory limit")
}

// place gives every value its memory, and scratch to the calls.
func (f *frame) place(l *layout, calls []*Call, lo int, sizes []int) error {
	var blocks []*block
	byStore := make([]*block, len(l.stores))
	for s, st := range l.stores {
		if st.place == inArena && sizes[s] > 0 {
			byStore[s] = &block{first: st.first, last: st.last, size: sizes[s]}
			blocks = append(blocks, byStore[s])
		}
	}
	byCall := make([]*block, len(calls))
	for i, c := range calls {
		if c != nil && c.scratchLen > 0 {
			byCall[i] = &block{first: lo + i, last: lo + i, size: c.scratchLen}
			blocks = append(blocks, byCall[i])
		}
	}
	total := pack(blocks)
	f.bytes += total
	if err := f.checkLimit(); err != nil {
		return err
	}
	arena, err := f.spares.take(total)
	if err != nil {
		return err
	}
	seg := &f.segments[len(f.segments)-1]
	seg.arena = arena
	for _, v := range l.order {
		f.placeValue(l, v, byStore[l.of[v]], seg)
	}
	for i, b := range byCall {
		if b != nil {
			calls[i].scratch = arena[b.offset : b.offset+b.size : b.offset+b.size]
		}
	}
	return nil
}

func (f *frame) placeValue(l *layout, v *Value, b *block, seg *segment) {
	t, st := f.tensors[v], l.stores[l.of[v]]
	n := t.DType().ByteLen(t.Len())
	switch {
	case st.base == v && st.place != inArena:
	case st.place == inState:
		t.Set(t.DType(), t.Shape(), f.state[st.state][:n:n])
	case st.place == outside:
		t.Alias(f.tensors[st.base])
		if st.base.Const == nil {
			seg.views = append(seg.views, view{of: f.tensors[st.base], is: t})
		}
	case b != nil:
		t.Set(t.DType(), t.Shape(), seg.arena[b.offset:b.offset+n:b.offset+n])
	}
}
