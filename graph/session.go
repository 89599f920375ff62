package graph

import (
	"context"
	"slices"
	"sync"

	"tandem/fault"
	"tandem/tensor"
)

// maxBindings is how many sets of input shapes a session keeps prepared.
const maxBindings = 16

// Session runs a program. Without state any number of runs may go on at once,
// each in memory of its own; with state they take turns.
type Session struct {
	p     *Program
	state []memory
	turn  sync.Mutex // held for the whole of a run that has state

	mu       sync.Mutex
	bindings []*binding // the most recently used first
	closed   bool
}

// binding holds the idle frames for one set of input shapes.
type binding struct {
	shapes []tensor.Shape
	bind   map[string]int
	idle   []*frame
}

// NewSession allocates the program's state and sets it to its initial values.
func (p *Program) NewSession() (*Session, error) {
	s := &Session{p: p}
	for _, st := range p.g.State {
		m, err := allocate(max(len(st.Init.Data), 1))
		if err != nil {
			s.Close()
			return nil, err
		}
		copy(m, st.Init.Data)
		s.state = append(s.state, m)
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
	t.Set(init.DType, init.Shape, s.state[i][:len(init.Data)])
	return t
}

// Run computes the outputs for inputs given in the order of Graph.Inputs. Inputs
// are read only and belong to the caller. Outputs are copied into out where it
// has tensors (their type and shape must fit) and into new tensors otherwise; the
// session keeps none of them. When ctx ends, Run returns between two nodes.
func (s *Session) Run(ctx context.Context, in, out []*tensor.Tensor) ([]*tensor.Tensor, error) {
	if len(s.state) > 0 {
		s.turn.Lock()
		defer s.turn.Unlock()
	}
	b, f, err := s.acquire(in)
	if err != nil {
		return nil, err
	}
	defer s.release(b, f)
	for i, t := range in {
		s.p.setInput(f, i, t.Bytes())
	}
	for i := range f.steps {
		if err := ctx.Err(); err != nil {
			return nil, fault.From(err, "graph.run")
		}
		if err := f.steps[i].run(); err != nil {
			return nil, fault.Wrap(err, "graph.run", fault.Invalid, "node %v", f.steps[i].node)
		}
	}
	return s.copyOutputs(f, out)
}

func (s *Session) copyOutputs(f *frame, out []*tensor.Tensor) ([]*tensor.Tensor, error) {
	if out == nil {
		out = make([]*tensor.Tensor, len(f.outputs))
	}
	for i, t := range f.outputs {
		if out[i] == nil {
			out[i] = tensor.New(t.DType(), t.Shape()...)
		} else if out[i].DType() != t.DType() || !out[i].Shape().Equal(t.Shape()) {
			return nil, fault.New("graph.run", fault.Invalid, "output %q is %v, the buffer given for it is %v", s.p.g.Outputs[i].Name, t, out[i])
		}
		copy(out[i].Bytes(), t.Bytes())
		copy(out[i].Strings(), t.Strings())
	}
	return out, nil
}

// acquire finds or makes a frame for the shapes of the inputs.
func (s *Session) acquire(in []*tensor.Tensor) (*binding, *frame, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, nil, fault.New("graph.run", fault.Unavailable, "the session is closed")
	}
	b := s.find(in)
	if b != nil && len(b.idle) > 0 {
		f := b.idle[len(b.idle)-1]
		b.idle = b.idle[:len(b.idle)-1]
		s.mu.Unlock()
		return b, f, nil
	}
	s.mu.Unlock()
	if b == nil {
		bind, err := s.p.bind(in)
		if err != nil {
			return nil, nil, err
		}
		b = &binding{bind: bind}
		for _, t := range in {
			b.shapes = append(b.shapes, slices.Clone(t.Shape()))
		}
	}
	f, err := s.p.newFrame(b.bind, s.state)
	return b, f, err
}

// find looks the shapes up and moves what it finds to the front.
func (s *Session) find(in []*tensor.Tensor) *binding {
	for i, b := range s.bindings {
		same := len(b.shapes) == len(in)
		for j := 0; same && j < len(in); j++ {
			same = in[j] != nil && in[j].Shape().Equal(b.shapes[j]) && in[j].DType() == s.p.g.Inputs[j].Type.DType
		}
		if same {
			copy(s.bindings[1:i+1], s.bindings[:i])
			s.bindings[0] = b
			return b
		}
	}
	return nil
}

// release puts a frame back. The least recently used binding gives way when there
// are too many.
func (s *Session) release(b *binding, f *frame) {
	for i := range f.inputs {
		s.p.setInput(f, i, nil) // the caller's memory is not kept alive
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		f.arena.free()
		return
	}
	// Another run may have added the same shapes, or others have displaced them.
	same := func(o *binding) bool { return slices.EqualFunc(o.shapes, b.shapes, tensor.Shape.Equal) }
	if i := slices.IndexFunc(s.bindings, same); i >= 0 {
		s.bindings[i].idle = append(s.bindings[i].idle, f)
		return
	}
	b.idle = append(b.idle, f)
	s.bindings = slices.Insert(s.bindings, 0, b)
	if len(s.bindings) > maxBindings {
		for _, old := range s.bindings[maxBindings].idle {
			old.arena.free()
		}
		s.bindings = s.bindings[:maxBindings]
	}
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
			f.arena.free()
		}
	}
	for _, m := range s.state {
		m.free()
	}
	s.bindings = nil
}
