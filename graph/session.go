package graph

import (
	"context"
	"math"
	"slices"
	"sync"

	"tandem/fault"
	"tandem/kernel"
	"tandem/tensor"
)

// How many sets of input shapes a session keeps prepared: some in any case, and more while
// they are small, as those of texts of many lengths are.
const (
	someBindings  = 16
	maxBindings   = 256
	bindingsBytes = 64 << 20
	nodeBytes     = 1 << 10 // about what a prepared node takes besides its tensors
)

// keptShare is the part of the memory that one run may take which is kept, at most, for
// later runs of other shapes, and again as spare arenas: else a caller who sends one shape
// after another would have a session take many times its limit.
const keptShare = 8

// keptBytes is that part.
func (o *Options) keptBytes() int {
	if o.MemoryLimitBytes <= 0 {
		return math.MaxInt
	}
	return o.MemoryLimitBytes / keptShare
}

// Session runs a program. Without state any number of runs may go on at once,
// each in memory of its own; with state they take turns.
type Session struct {
	p      *Program
	state  []memory
	bodies map[*Node]map[string]*Session
	turn   sync.Mutex // held for the whole of a run that has state

	spares spares // memory of segments that were built for other shapes

	mu       sync.Mutex
	bindings []*binding // the most recently used first
	closed   bool
}

// binding holds the idle frames for one set of input types and shapes.
type binding struct {
	dtypes []tensor.DType
	shapes []tensor.Shape
	idle   []*frame
}

func (b *binding) fits(in []*tensor.Tensor) bool {
	if len(b.shapes) != len(in) {
		return false
	}
	for i, x := range in {
		if x == nil || x.DType() != b.dtypes[i] || !x.Shape().Equal(b.shapes[i]) {
			return false
		}
	}
	return true
}

// NewSession allocates the program's state and sets it to its initial values.
func (p *Program) NewSession() (*Session, error) {
	s := &Session{p: p, bodies: map[*Node]map[string]*Session{}, spares: spares{mostBytes: p.opt.keptBytes()}}
	for _, st := range p.g.State {
		m, err := allocate(max(st.Init.byteLen(), 1))
		if err != nil {
			s.Close()
			return nil, err
		}
		copy(m, st.Init.Data)
		s.state = append(s.state, m)
	}
	for n, bodies := range p.bodies {
		s.bodies[n] = map[string]*Session{}
		for attr, b := range bodies {
			inner, err := b.NewSession()
			if err != nil {
				s.Close()
				return nil, err
			}
			s.bodies[n][attr] = inner
		}
	}
	return s, nil
}

// Program is what the session runs.
func (s *Session) Program() *Program { return s.p }

// State is the current value of the i-th state of the graph. It shares the
// session's memory: it changes with every run, and may be written between runs.
func (s *Session) State(i int) *tensor.Tensor {
	init := s.p.g.State[i].Init
	t := new(tensor.Tensor)
	t.Set(init.DType, init.Shape, s.state[i][:init.byteLen()])
	return t
}

// Run computes the outputs for inputs given in the order of Graph.Inputs. Inputs
// are read only and belong to the caller. Outputs are copied into out where it
// has tensors (their type and shape must fit) and into new tensors otherwise; the
// session keeps none of them. When ctx ends, Run returns soon: between two
// nodes, and within long ones where the program has no state.
func (s *Session) Run(ctx context.Context, in, out []*tensor.Tensor) ([]*tensor.Tensor, error) {
	if len(s.state) > 0 {
		s.turn.Lock()
		defer s.turn.Unlock()
	}
	if p := s.p.opt.Profile; p != nil && !s.p.inner {
		defer p.begin()()
	}
	f, err := s.acquire(in)
	if err != nil {
		return nil, err
	}
	if err = s.runHeld(ctx, f, in); err != nil {
		f.free()
		return nil, err
	}
	out, err = s.copyOutputs(f, out)
	s.release(in, f)
	return out, err
}

// runHeld keeps workers awake between steps, and lets them rest even after a panic.
func (s *Session) runHeld(ctx context.Context, f *frame, in []*tensor.Tensor) error {
	s.p.opt.Pool.Hold()
	defer s.p.opt.Pool.Release()
	return f.run(ctx, in)
}

func (s *Session) copyOutputs(f *frame, out []*tensor.Tensor) ([]*tensor.Tensor, error) {
	if out == nil {
		out = make([]*tensor.Tensor, len(f.outputs))
	}
	for i, t := range f.outputs {
		if out[i] == nil {
			out[i] = t.Clone()
			continue
		}
		if err := s.copyOutput(f, out[i], t); err != nil {
			return nil, fault.Wrap(err, "graph.run", fault.Invalid, "the buffer for output %q", s.p.g.Outputs[i].Name)
		}
	}
	return out, nil
}

// bigOutput is the number of bytes from which a result is copied by all threads: the
// logits of a step of a language model are ten times that.
const bigOutput = 1 << 20

func (s *Session) copyOutput(f *frame, to, from *tensor.Tensor) error {
	x, y := from.Bytes(), to.Bytes()
	if len(x) < bigOutput || len(x) != len(y) || to.DType() != from.DType() || !to.Shape().Equal(from.Shape()) {
		return to.CopyFrom(from)
	}
	f.copying.run(s.p.opt.Pool, y, x)
	return nil
}

// copying is a copy by all threads. It is part of a frame, so that it need not be
// allocated again for every run.
type copying struct {
	to, from []byte
	each     func(lo, hi, worker int)
}

func (c *copying) run(p *kernel.Pool, to, from []byte) {
	if c.each == nil {
		c.each = func(lo, hi, _ int) { copy(c.to[lo:hi], c.from[lo:hi]) }
	}
	c.to, c.from = to, from
	p.For(len(from), bigOutput/4, c.each)
	c.to, c.from = nil, nil
}

// acquire finds an idle frame for the shapes of the inputs, or makes one.
func (s *Session) acquire(in []*tensor.Tensor) (*frame, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, fault.New("graph.run", fault.Unavailable, "the session is closed")
	}
	if b := s.find(in); b != nil && len(b.idle) > 0 {
		f := b.idle[len(b.idle)-1]
		b.idle = b.idle[:len(b.idle)-1]
		s.mu.Unlock()
		return f, nil
	}
	s.mu.Unlock()
	if err := s.p.check(in); err != nil {
		return nil, err
	}
	return s.newFrame(in), nil
}

// find looks the shapes up and moves what it finds to the front.
func (s *Session) find(in []*tensor.Tensor) *binding {
	for i, b := range s.bindings {
		if b.fits(in) {
			copy(s.bindings[1:i+1], s.bindings[:i])
			s.bindings[0] = b
			return b
		}
	}
	return nil
}

// release keeps a frame for the next run of the same shapes. The least recently
// used bindings give way when there are too many.
func (s *Session) release(in []*tensor.Tensor, f *frame) {
	f.rest()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		f.free()
		return
	}
	if b := s.find(in); b != nil {
		b.idle = append(b.idle, f)
		return
	}
	b := &binding{idle: []*frame{f}}
	for _, x := range in {
		b.dtypes, b.shapes = append(b.dtypes, x.DType()), append(b.shapes, slices.Clone(x.Shape()))
	}
	s.bindings = slices.Insert(s.bindings, 0, b)
	most := s.p.opt.keptBytes()
	for len(s.bindings) > someBindings && (len(s.bindings) > maxBindings || s.keptBytes() > bindingsBytes) ||
		len(s.bindings) > 1 && s.keptBytes() > most {
		last := len(s.bindings) - 1
		for _, old := range s.bindings[last].idle {
			old.leave()
		}
		s.bindings = s.bindings[:last]
	}
}

// keptBytes is the memory of idle frames.
func (s *Session) keptBytes() (n int) {
	for _, b := range s.bindings {
		for _, f := range b.idle {
			n += f.bytes + len(f.steps)*nodeBytes
		}
	}
	return n
}

// Close frees the session's memory once the runs under way have ended.
func (s *Session) Close() {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	for _, b := range s.bindings {
		for _, f := range b.idle {
			f.free()
		}
	}
	s.spares.close()
	for _, m := range s.state {
		m.free()
	}
	for _, bodies := range s.bodies {
		for _, b := range bodies {
			b.Close()
		}
	}
	s.bindings = nil
}
