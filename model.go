package tandem

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"tandem/fault"
	"tandem/graph"
	"tandem/tensor"
)

// Model is an open model. Any number of goroutines may run it at once: they share its
// weights, and each run has working memory of its own.
type Model struct {
	inputs, outputs []Port
	metadata        map[string]string
	weightBytes     int64
	run             func(ctx context.Context, in, out []*tensor.Tensor) error
	closers         []func() error // called from the last to the first

	mu     sync.RWMutex // read-locked during a run
	closed bool
}

// Port is an input or an output of a model.
type Port struct {
	Name  string
	DType tensor.DType // Undefined if the file does not tell, as may be with outputs
	Shape graph.Shape  // numbers, and symbols for what may be of any size
}

// Inputs are what Run takes, in the order of the model.
func (m *Model) Inputs() []Port { return slices.Clone(m.inputs) }

// Outputs are what Run gives, in the order of the model.
func (m *Model) Outputs() []Port { return slices.Clone(m.outputs) }

// Metadata are the properties that an ONNX file carries.
func (m *Model) Metadata() map[string]string { return maps.Clone(m.metadata) }

// WeightBytes is the memory that weights take, mapped or packed.
func (m *Model) WeightBytes() int64 { return m.weightBytes }

// Run computes all outputs for tensors by the names of the inputs. Inputs are only read,
// and belong to the caller, who may change them once Run has returned. Outputs are new
// and belong to the caller: the model keeps none of them, and they outlive it.
//
// When ctx ends, Run fails with kind Canceled or Deadline, at the latest after the
// operator under way.
func (m *Model) Run(ctx context.Context, in map[string]*tensor.Tensor) (map[string]*tensor.Tensor, error) {
	list := make([]*tensor.Tensor, len(m.inputs))
	for i, p := range m.inputs {
		if list[i] = in[p.Name]; list[i] == nil {
			return nil, fault.New("tandem.run", fault.Invalid, "input %q is missing", p.Name)
		}
	}
	for name := range in {
		if !slices.ContainsFunc(m.inputs, func(p Port) bool { return p.Name == name }) {
			return nil, fault.New("tandem.run", fault.Invalid, "the model has no input %.200q", name)
		}
	}
	out := make([]*tensor.Tensor, len(m.outputs))
	if err := m.RunInto(ctx, list, out); err != nil {
		return nil, err
	}
	named := make(map[string]*tensor.Tensor, len(out))
	for i, p := range m.outputs {
		named[p.Name] = out[i]
	}
	return named, nil
}

// RunInto is Run with tensors in the order of Inputs and Outputs. Where out has a
// tensor, its elements are overwritten: its type and shape must be those of the result.
// Where it has nil, a new one is put. With an ONNX file, tensors for all outputs and
// shapes that came before, a run allocates nothing (docs/design/frames.md lists the
// operators for which this does not hold).
func (m *Model) RunInto(ctx context.Context, in, out []*tensor.Tensor) error {
	if len(in) != len(m.inputs) || len(out) != len(m.outputs) {
		return fault.New("tandem.run", fault.Invalid, "%d inputs and %d outputs given, the model has %d and %d", len(in), len(out), len(m.inputs), len(m.outputs))
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return fault.New("tandem.run", fault.Unavailable, "the model is closed")
	}
	return m.run(ctx, in, out)
}

// Close waits for the runs under way and frees what the model holds. Runs that begin
// later fail with kind Unavailable.
func (m *Model) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	var err error
	for _, f := range slices.Backward(m.closers) {
		err = errors.Join(err, f())
	}
	m.closers = nil
	return err
}

func (m *Model) atClose(f func() error) { m.closers = append(m.closers, f) }
