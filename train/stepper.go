package train

import (
	"context"
	"slices"

	"tandem/fault"
	"tandem/graph"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// Stepper trains a network one step at a time: the core of Run, and what a loop of
// one's own begins with. It is used by one goroutine.
type Stepper struct {
	problem    *Problem
	session    *graph.Session
	state      map[string]*tensor.Tensor // by name, in the session's memory
	names      []string                  // of state, in the graph's order
	step, rate *tensor.Tensor
	in, out    []*tensor.Tensor
}

// NewStepper prepares p for training. Only the seed, the optimizer, the precision and what
// is computed again count in spec.
func NewStepper(p *Problem, spec TrainSpec, ops *graph.Table, pool *kernel.Pool) (*Stepper, error) {
	return newStepper(p, spec, stepOptions(spec, ops, pool))
}

// stepOptions are those that a step is compiled with.
func stepOptions(spec TrainSpec, ops *graph.Table, pool *kernel.Pool) graph.Options {
	passes := pass.Training()
	if spec.Recompute {
		passes = slices.Insert(passes, 0, pass.Recompute())
	}
	if spec.Precision == "bf16" {
		passes = append(passes, pass.RoundProducts())
	}
	return graph.Options{Ops: ops, Pool: pool, Passes: passes}
}

func newStepper(p *Problem, spec TrainSpec, opt graph.Options) (*Stepper, error) {
	g, err := stepGraph(p, spec, opt.Ops)
	if err != nil {
		return nil, fault.Wrap(err, "train.compile", fault.Invalid, "the network cannot be trained")
	}
	prog, err := graph.Compile(g, opt)
	if err != nil {
		return nil, err
	}
	s := &Stepper{problem: p, state: map[string]*tensor.Tensor{}, step: tensor.New(tensor.Int64), rate: tensor.New(tensor.Float32)}
	s.out = []*tensor.Tensor{tensor.New(tensor.Float32), tensor.New(tensor.Int64)}
	if s.session, err = prog.NewSession(); err != nil {
		return nil, err
	}
	for i, v := range prog.Graph().State {
		s.names = append(s.names, v.Current.Name)
		s.state[v.Current.Name] = s.session.State(i)
	}
	return s, nil
}

// Step does step number n, from 1, with a learning rate on a batch. It returns the
// loss before the update and the count of correct rows.
func (s *Stepper) Step(ctx context.Context, n int, rate float32, inputs []*tensor.Tensor, target *tensor.Tensor) (loss float64, correct int, err error) {
	s.step.I64()[0], s.rate.F32()[0] = int64(n), rate
	s.in = append(append(s.in[:0], inputs...), target, s.step, s.rate)
	if _, err := s.session.Run(ctx, s.in, s.out); err != nil {
		return 0, 0, err
	}
	return float64(s.out[0].F32()[0]), int(s.out[1].I64()[0]), nil
}

// State is the current value of a parameter, or of what an optimizer keeps, by
// name: the memory that Step updates.
func (s *Stepper) State(name string) (*tensor.Tensor, bool) {
	t, ok := s.state[name]
	return t, ok
}

// Trained is the network with copies of the current weights, in the form in which it
// will be used.
func (s *Stepper) Trained() (*graph.Graph, error) { return s.problem.trained(s.state) }

// Close frees the memory.
func (s *Stepper) Close() { s.session.Close() }
