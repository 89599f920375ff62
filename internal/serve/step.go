package serve

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"tandem/fault"
	"tandem/model"
	"tandem/tensor"
)

// step is one run of the model for one or more requests.
type step struct {
	members []member
	rows    int
	present int // members whose caller still waits; guarded by the queue's mutex
	ctx     context.Context
	cancel  context.CancelFunc
}

// member is the part of a request that takes part in a step: rows lo to hi of its
// inputs.
type member struct {
	request *request
	lo, hi  int
}

func newStep(size int) *step {
	s := &step{members: make([]member, 0, size)}
	// Not derived from any request's context: the step lives while one caller waits.
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

func (s *step) add(r *request, rows int) {
	lo := r.total - r.rows
	s.members = append(s.members, member{r, lo, lo + rows})
	s.rows += rows
	s.present++
}

// Step reports one run of a model, for metrics.
type Step struct {
	Target
	Requests, Rows int
	Compute        time.Duration
}

// runStep runs a step and gives each member its outputs or error. Answers do not
// depend on who else is in the step: rows are independent by the model's
// signature, and a step that fails is run again one request at a time, so that
// only the culprit is refused. A panic is not tried again.
func (d *deployment) runStep(s *step) {
	err := d.runMembers(s, s.members)
	if err == nil {
		return
	}
	_, panicked := err.(*PanicError)
	if len(s.members) == 1 || panicked || s.ctx.Err() != nil {
		for _, m := range s.members {
			m.request.err = d.failed(err)
		}
		return
	}
	for i := range s.members {
		if err := d.runMembers(s, s.members[i:i+1]); err != nil {
			s.members[i].request.err = d.failed(err)
		}
	}
}

func (d *deployment) failed(err error) error {
	if p, ok := err.(*PanicError); ok {
		return fault.Wrap(p, "serve.step", fault.Internal, "%v failed", d.target)
	}
	return fault.From(err, "serve.step")
}

func (d *deployment) runMembers(s *step, members []member) error {
	rows := 0
	for _, m := range members {
		rows += m.hi - m.lo
	}
	inputs := joinInputs(members, rows)
	start := time.Now()
	outputs, err := contain(func() ([]*tensor.Tensor, error) { return d.runner.Run(s.ctx, inputs) })
	elapsed := time.Since(start)
	if err == nil {
		err = d.checkOutputs(outputs, rows)
	}
	if d.observe != nil {
		d.observe(Step{Target: d.target, Requests: len(members), Rows: rows, Compute: elapsed})
	}
	at := 0
	for _, m := range members {
		r, n := m.request, m.hi-m.lo
		// The differences of a running share add up to elapsed exactly.
		r.compute += share(elapsed, at+n, rows) - share(elapsed, at, rows)
		if err == nil {
			r.parts = append(r.parts, rowsOf(outputs, at, at+n, rows))
		}
		at += n
	}
	return err
}

func share(elapsed time.Duration, part, whole int) time.Duration {
	return time.Duration(int64(elapsed) * int64(part) / int64(whole))
}

// checkOutputs holds a model to its signature: a wrong number of rows would give
// one caller the answer of another.
func (d *deployment) checkOutputs(outputs []*tensor.Tensor, rows int) error {
	specs := d.signature.Outputs
	if len(outputs) != len(specs) {
		return fault.New("serve.step", fault.Internal, "%v gave %d outputs: its signature has %d", d.target, len(outputs), len(specs))
	}
	for i, t := range outputs {
		switch {
		case t == nil || t.DType() != specs[i].Type():
			return fault.New("serve.step", fault.Internal, "%v gave output %q as %v: its signature says %s", d.target, specs[i].Name, t, specs[i].DType)
		case d.batch && (t.Rank() == 0 || t.Dim(0) != rows):
			return fault.New("serve.step", fault.Internal, "%v gave output %q with shape %s for %d rows", d.target, specs[i].Name, dims(t.Shape()), rows)
		}
	}
	return nil
}

// PanicError is a panic of a model's code, contained.
type PanicError struct {
	Value any
	Stack []byte
}

func (p *PanicError) Error() string { return fmt.Sprintf("panic: %v", p.Value) }

func contain[T any](f func() (T, error)) (result T, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return f()
}

// joinInputs concatenates the members' rows, input by input. A whole request
// alone is passed on as it is.
func joinInputs(members []member, rows int) []*tensor.Tensor {
	first := members[0]
	if len(members) == 1 {
		return rowsOf(first.request.inputs, first.lo, first.hi, first.request.total)
	}
	joined := make([]*tensor.Tensor, len(first.request.inputs))
	for i := range joined {
		parts := make([]*tensor.Tensor, len(members))
		for j, m := range members {
			parts[j] = m.request.inputs[i].Rows(m.lo, m.hi)
		}
		joined[i] = concat(parts, rows)
	}
	return joined
}

// joinParts concatenates the outputs of a request's slices.
func joinParts(parts [][]*tensor.Tensor) ([]*tensor.Tensor, error) {
	if len(parts) == 1 {
		return parts[0], nil
	}
	joined := make([]*tensor.Tensor, len(parts[0]))
	for i := range joined {
		column, rows := make([]*tensor.Tensor, len(parts)), 0
		for j, p := range parts {
			column[j] = p[i]
			rows += p[i].Dim(0)
			if a, b := p[i].Shape(), parts[0][i].Shape(); !a[1:].Equal(b[1:]) {
				return nil, fault.New("serve.step", fault.Unsupported, "slices of the request gave outputs of shapes %s and %s, which cannot be joined",
					dims(a), dims(b)).Try("send no more rows than MaxBatchRows in one request")
			}
		}
		joined[i] = concat(column, rows)
	}
	return joined, nil
}

// rowsOf shares rows lo to hi of tensors that have total rows.
func rowsOf(tensors []*tensor.Tensor, lo, hi, total int) []*tensor.Tensor {
	if lo == 0 && hi == total {
		return tensors
	}
	part := make([]*tensor.Tensor, len(tensors))
	for i, t := range tensors {
		part[i] = t.Rows(lo, hi)
	}
	return part
}

// concat joins tensors of one type, whose shapes differ in the first dimension
// only, into one of the given number of rows.
func concat(parts []*tensor.Tensor, rows int) *tensor.Tensor {
	shape := append(tensor.Shape{rows}, parts[0].Shape()[1:]...)
	whole := tensor.New(parts[0].DType(), shape...)
	at := 0
	for _, p := range parts {
		if p.DType() == tensor.String {
			at += copy(whole.Strings()[at:], p.Strings())
		} else {
			at += copy(whole.Bytes()[at:], p.Bytes())
		}
	}
	return whole
}

// zeros makes one row of zeros for a warm-up, or nil if the signature leaves open
// what a valid input is: strings, and dimensions other than the first.
func zeros(sig *model.Signature, maxElements int) []*tensor.Tensor {
	var inputs []*tensor.Tensor
	for _, spec := range sig.Inputs {
		shape := make(tensor.Shape, len(spec.Shape))
		for i, n := range spec.Shape {
			if n < 0 && i == 0 && sig.Batch {
				n = 1
			}
			shape[i] = n
		}
		d := spec.Type()
		if n, err := shape.CheckedLen(maxElements); err != nil || n == 0 || d.Bits() == 0 {
			return nil
		}
		inputs = append(inputs, tensor.New(d, shape...))
	}
	return inputs
}
