package serve

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tandem/fault"
	"tandem/internal/tenant"
	"tandem/model"
	"tandem/tensor"
)

// fake is a Runner whose behaviour a test sets.
type fake struct {
	signature model.Signature
	bytes     int64
	run       func(ctx context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, error)
	closed    atomic.Bool
}

func (f *fake) Signature() model.Signature { return f.signature }
func (f *fake) MemoryBytes() int64         { return f.bytes }
func (f *fake) Close() error               { f.closed.Store(true); return nil }
func (f *fake) Run(ctx context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
	if f.closed.Load() {
		return nil, errors.New("run after close")
	}
	return f.run(ctx, in)
}

func spec(name string, d tensor.DType, shape ...int) model.TensorSpec {
	return model.TensorSpec{Name: name, DType: d.String(), Shape: shape}
}

// doubler answers y = 2x for a batch of pairs.
func doubler() *fake {
	return &fake{
		signature: model.Signature{
			Inputs: []model.TensorSpec{spec("x", tensor.Float32, -1, 2)}, Outputs: []model.TensorSpec{spec("y", tensor.Float32, -1, 2)}, Batch: true,
		},
		bytes: 100,
		run: func(_ context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
			out := in[0].Clone()
			for i := range out.F32() {
				out.F32()[i] *= 2
			}
			return []*tensor.Tensor{out}, nil
		},
	}
}

type recorder struct {
	mu    sync.Mutex
	usage []tenant.Usage
	steps []Step
}

func (r *recorder) Record(u tenant.Usage) { r.mu.Lock(); r.usage = append(r.usage, u); r.mu.Unlock() }
func (r *recorder) Observe(s Step)        { r.mu.Lock(); r.steps = append(r.steps, s); r.mu.Unlock() }

func artifact(version int, fileBytes int64) Artifact {
	return Artifact{Target: Target{"acme", "m", version}, Manifest: &model.Manifest{Files: []model.File{{Name: "w", Bytes: fileBytes}}}}
}

// start deploys runners as versions 1, 2, … of model m, each replacing the one before.
func start(t *testing.T, c Config, runners ...*fake) (*Engine, *recorder) {
	t.Helper()
	rec := &recorder{}
	next := 0
	c.Load = func(context.Context, *model.Manifest, func(model.File) (string, error)) (Runner, error) {
		next++
		return runners[next-1], nil
	}
	c.Record, c.Observe = rec.Record, rec.Observe
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	for i := range runners {
		p, err := e.Prepare(t.Context(), artifact(i+1, 10))
		if err != nil {
			t.Fatal(err)
		}
		p.Commit()
	}
	rec.mu.Lock()
	rec.steps = nil
	rec.mu.Unlock()
	return e, rec
}

func pairs(values ...float32) []Input {
	return []Input{{"x", tensor.Of(values, len(values)/2, 2)}}
}

func infer(e *Engine, ctx context.Context, in []Input) (Answer, error) {
	return e.Infer(ctx, &Call{Tenant: "acme", Key: "k", Model: "m", Inputs: in})
}

func wantFault(t *testing.T, err error, kind fault.Kind, text string) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v (%v), want %v with %q", err, fault.KindOf(err), kind, text)
	}
}

func TestValidationNamesWhatIsWrong(t *testing.T) {
	f := doubler()
	f.signature.Inputs = append(f.signature.Inputs, spec("s", tensor.String, -1, -1))
	e, _ := start(t, Config{}, f)
	x, s := tensor.New(tensor.Float32, 2, 2), tensor.New(tensor.String, 2, 3)
	for _, tc := range []struct {
		in   []Input
		want string
	}{
		{[]Input{{"x", x}}, `input "s" is missing: the model's inputs are "x", "s"`},
		{[]Input{{"x", x}, {"s", s}, {"z", x}}, `no input "z": its inputs are "x", "s"`},
		{[]Input{{"x", x}, {"x", x}}, `input "x" is given twice`},
		{[]Input{{"x", tensor.New(tensor.Float64, 2, 2)}, {"s", s}}, `input "x" has elements of type float64: expected float32`},
		{[]Input{{"x", tensor.New(tensor.Float32, 2)}, {"s", s}}, `input "x" has shape [2] with 1 dimensions: expected 2, as in [-1,2]`},
		{[]Input{{"x", tensor.New(tensor.Float32, 2, 3)}, {"s", s}}, `input "x" has shape [2,3]: dimension 1 is 3, expected 2, as in [-1,2]`},
		{[]Input{{"x", tensor.New(tensor.Float32, 3, 2)}, {"s", s}}, `input "s" has 2 rows and input "x" has 3`},
		{[]Input{{"x", tensor.New(tensor.Float32, 0, 2)}, {"s", s}}, `input "x" has shape [0,2]: a batch needs at least one row`},
	} {
		_, err := infer(e, t.Context(), tc.in)
		wantFault(t, err, fault.Invalid, tc.want)
	}
}

// TestJoinedAnswersAreTheSame holds the first step until everyone waits, and checks
// that each gets his own rows back, for every kind of element.
func TestJoinedAnswersAreTheSame(t *testing.T) {
	types := []tensor.DType{tensor.String, tensor.Bool, tensor.Int64, tensor.Uint8, tensor.Float64}
	f := &fake{signature: model.Signature{Batch: true}}
	for i, d := range types {
		f.signature.Inputs = append(f.signature.Inputs, spec(fmt.Sprint("i", i), d, -1, 3))
		f.signature.Outputs = append(f.signature.Outputs, spec(fmt.Sprint("o", i), d, -1, 3))
	}
	gate := make(chan struct{})
	f.run = func(_ context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
		<-gate
		out := make([]*tensor.Tensor, len(in))
		for i := range in {
			out[i] = in[i].Clone()
		}
		return out, nil
	}
	synctest.Test(t, func(t *testing.T) {
		gate = make(chan struct{})
		e, rec := start(t, Config{Limits: Limits{MaxBatchRows: 8}}, f)
		var group sync.WaitGroup
		for n := range 6 {
			group.Go(func() {
				rows := 1 + n%3
				var in []Input
				for i, d := range types {
					x := tensor.New(d, rows, 3)
					for j := range x.Bytes() {
						x.Bytes()[j] = byte(n + j)
						if d == tensor.Bool {
							x.Bytes()[j] &= 1
						}
					}
					for j := range x.Strings() {
						x.Strings()[j] = fmt.Sprint(n, ".", j)
					}
					in = append(in, Input{fmt.Sprint("i", i), x})
				}
				a, err := infer(e, t.Context(), in)
				if err != nil {
					t.Error(err)
					return
				}
				for i, y := range a.Outputs {
					x := in[i].Tensor
					if !y.Shape().Equal(x.Shape()) || string(y.Bytes()) != string(x.Bytes()) || fmt.Sprint(y.Strings()) != fmt.Sprint(x.Strings()) {
						t.Errorf("request %d, %v: got %v %v, sent %v %v", n, types[i], y, y.Strings(), x, x.Strings())
					}
				}
			})
			synctest.Wait()
		}
		close(gate)
		group.Wait()
		rows, joined := 0, 0
		for _, s := range rec.steps {
			rows += s.Rows
			joined = max(joined, s.Requests)
		}
		if rows != 12 || joined < 3 {
			t.Errorf("steps %+v: %d rows, at most %d requests in one", rec.steps, rows, joined)
		}
	})
}

func TestLargeRequestsRunInSlices(t *testing.T) {
	e, rec := start(t, Config{Limits: Limits{MaxBatchRows: 4, MaxQueuedRows: 20}}, doubler())
	in := make([]float32, 2*11)
	for i := range in {
		in[i] = float32(i)
	}
	a, err := infer(e, t.Context(), pairs(in...))
	if err != nil {
		t.Fatal(err)
	}
	for i, y := range a.Outputs[0].F32() {
		if y != 2*in[i] {
			t.Fatalf("element %d is %v", i, y)
		}
	}
	if len(rec.steps) != 3 || rec.steps[2].Rows != 3 {
		t.Errorf("steps %+v", rec.steps)
	}
	if s := e.Statuses()[0]; s.QueuedRows != 0 || s.QueuedRequests != 0 {
		t.Errorf("the empty queue counts %+v", s)
	}
	if u := rec.usage[0]; u.Rows != 11 || u.Requests != 1 || u.Version != 1 || u.Compute != rec.steps[0].Compute+rec.steps[1].Compute+rec.steps[2].Compute {
		t.Errorf("usage %+v", u)
	}
	_, err = infer(e, t.Context(), pairs(make([]float32, 42)...))
	wantFault(t, err, fault.TooLarge, "21 rows: the limit MaxQueuedRows is 20")
}

// blocked is a doubler that holds every run until release is closed.
func blocked(release chan struct{}) *fake {
	f := doubler()
	double := f.run
	f.run = func(ctx context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
		if in[0].F32()[0] != 0 { // not the warm-up
			select {
			case <-release:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		return double(ctx, in)
	}
	return f
}

func TestAdmissionCancelAndDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		e, rec := start(t, Config{Limits: Limits{MaxBatchRows: 1, MaxQueuedRequests: 2, MaxQueuedRows: 3}}, blocked(release))
		results := make(chan error, 10)
		send := func(ctx context.Context, timeout time.Duration) {
			go func() {
				_, err := e.Infer(ctx, &Call{Tenant: "acme", Model: "m", Inputs: pairs(1, 2), Timeout: timeout})
				results <- err
			}()
			synctest.Wait()
		}
		send(t.Context(), 0) // runs
		gone, cancel := context.WithCancel(t.Context())
		send(gone, 0)                     // waits
		send(t.Context(), 50*time.Second) // waits
		send(t.Context(), 0)
		wantFault(t, <-results, fault.Exhausted, "2 requests wait: the limit MaxQueuedRequests is 2")
		cancel()
		wantFault(t, <-results, fault.Canceled, "")
		_, err := infer(e, t.Context(), pairs(1, 2, 3, 4, 5, 6))
		wantFault(t, err, fault.Exhausted, "1 rows wait and the request has 3: the limit MaxQueuedRows is 3")
		send(t.Context(), 0) // the place of the canceled one is free
		time.Sleep(50 * time.Second)
		wantFault(t, <-results, fault.Deadline, "limit of 50s")
		close(release)
		for range 2 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		if len(rec.usage) != 4 || len(rec.steps) != 2 {
			t.Errorf("usage %+v, steps %+v", rec.usage, rec.steps)
		}
	})
}

func TestStepIsCanceledWhenNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, rec := start(t, Config{}, blocked(nil))
		ctx, cancel := context.WithCancel(t.Context())
		go infer(e, ctx, pairs(1, 2))
		synctest.Wait()
		cancel()
		synctest.Wait()
		if len(rec.usage) != 1 || rec.usage[0].Errors != 1 {
			t.Errorf("the step goes on: %+v", rec.usage)
		}
	})
}

func TestPanicAndFailureAreContained(t *testing.T) {
	f := doubler()
	double := f.run
	gate := make(chan struct{}, 10)
	f.run = func(ctx context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
		for _, v := range in[0].F32() {
			switch v {
			case 13:
				panic("unlucky")
			case 14:
				return nil, fault.New("model.run", fault.Invalid, "14 is refused")
			case 15:
				<-gate
			}
		}
		return double(ctx, in)
	}
	synctest.Test(t, func(t *testing.T) {
		gate = make(chan struct{}, 10)
		e, _ := start(t, Config{}, f)
		_, err := infer(e, t.Context(), pairs(13, 1))
		wantFault(t, err, fault.Internal, "model m version 1 failed: panic: unlucky")
		if p, ok := errors.AsType[*PanicError](err); !ok || len(p.Stack) == 0 {
			t.Error("the stack is lost")
		}
		// A culprit in a joined step is refused alone.
		var group sync.WaitGroup
		group.Go(func() { _, _ = infer(e, t.Context(), pairs(15, 0)) })
		synctest.Wait()
		for i, v := range []float32{1, 14, 3} {
			group.Go(func() {
				a, err := infer(e, t.Context(), pairs(v, v))
				if v == 14 {
					wantFault(t, err, fault.Invalid, "14 is refused")
				} else if err != nil || a.Outputs[0].F32()[0] != 2*v {
					t.Errorf("request %d: %v, %v", i, a, err)
				}
			})
			synctest.Wait()
		}
		gate <- struct{}{}
		group.Wait()
	})
}

func TestWrongOutputsAreInternal(t *testing.T) {
	f := doubler()
	f.run = func(_ context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
		if in[0].F32()[0] == 0 {
			return in, nil
		}
		return []*tensor.Tensor{tensor.New(tensor.Float32, 7, 2)}, nil
	}
	e, _ := start(t, Config{}, f)
	_, err := infer(e, t.Context(), pairs(1, 1))
	wantFault(t, err, fault.Internal, `gave output "y" with shape [7,2] for 1 rows`)
}

func TestSwapDrainsTheOldVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		old, new := blocked(release), doubler()
		e, _ := start(t, Config{}, old, new)
		// Version 1 had no requests: it is closed already. Go back, with requests on the way.
		synctest.Wait()
		if !old.closed.Load() {
			t.Error("the idle old version is not closed")
		}
		second := blocked(release)
		e.config.Load = func(context.Context, *model.Manifest, func(model.File) (string, error)) (Runner, error) {
			return second, nil
		}
		p, err := e.Prepare(t.Context(), artifact(3, 10))
		if err != nil {
			t.Fatal(err)
		}
		_, err = e.Prepare(t.Context(), artifact(4, 10))
		wantFault(t, err, fault.Conflict, `version 3 of model "m" is being deployed`)
		p.Commit()
		var group sync.WaitGroup
		group.Go(func() {
			if a, err := infer(e, t.Context(), pairs(1, 2)); err != nil || a.Version != 3 {
				t.Errorf("in flight: %v, %v", a, err)
			}
		})
		synctest.Wait()
		third := doubler()
		e.config.Load = func(context.Context, *model.Manifest, func(model.File) (string, error)) (Runner, error) {
			return third, nil
		}
		if p, err = e.Prepare(t.Context(), artifact(4, 10)); err != nil {
			t.Fatal(err)
		}
		p.Commit()
		if a, err := infer(e, t.Context(), pairs(1, 2)); err != nil || a.Version != 4 {
			t.Errorf("after the swap: %v, %v", a, err)
		}
		synctest.Wait()
		if second.closed.Load() || len(e.Statuses()) != 2 || e.Statuses()[0].State != StateDraining {
			t.Errorf("the old version does not drain: %+v", e.Statuses())
		}
		close(release)
		group.Wait()
		synctest.Wait()
		if !second.closed.Load() || e.memory.used != 100 {
			t.Errorf("closed %v, %d bytes reserved", second.closed.Load(), e.memory.used)
		}
		if err := e.Close(t.Context()); err != nil || !third.closed.Load() {
			t.Errorf("close: %v", err)
		}
		_, err = infer(e, t.Context(), pairs(1, 2))
		wantFault(t, err, fault.Unavailable, "shutting down")
	})
}

func TestMemoryBudgetRefusesBeforeLoading(t *testing.T) {
	loads := 0
	e, err := New(Config{MemoryBudgetBytes: 250, Load: func(context.Context, *model.Manifest, func(model.File) (string, error)) (Runner, error) {
		loads++
		f := doubler()
		f.bytes = 200
		return f, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Prepare(t.Context(), artifact(1, 300))
	wantFault(t, err, fault.NoSpace, "model m version 1 needs 300 bytes of memory: 250 bytes of the budget of 250 bytes are free (undeploy another model")
	if loads != 0 {
		t.Error("loaded before it was refused")
	}
	p, err := e.Prepare(t.Context(), artifact(1, 240))
	if err != nil {
		t.Fatal(err)
	}
	p.Commit()
	_, err = e.Prepare(t.Context(), artifact(2, 20)) // the estimate fits, the model does not
	wantFault(t, err, fault.NoSpace, "needs 200 bytes")
	if e.memory.used != 200 {
		t.Errorf("%d bytes reserved", e.memory.used)
	}
	if _, err := infer(e, t.Context(), pairs(1, 1)); err != nil {
		t.Errorf("the old version: %v", err)
	}
}

func TestRequestsWaitForALoadingModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan error)
		e, err := New(Config{LoadWait: 5 * time.Second, Load: func(context.Context, *model.Manifest, func(model.File) (string, error)) (Runner, error) {
			return doubler(), <-release
		}})
		if err != nil {
			t.Fatal(err)
		}
		load := e.Restore([]Artifact{artifact(1, 1)})
		wantFault(t, e.Ready(), fault.Unavailable, "loading")
		done := make(chan error, 1)
		go func() { done <- load(t.Context()) }()
		_, err = infer(e, t.Context(), pairs(1, 1))
		wantFault(t, err, fault.Unavailable, `model "m" version 1 is still loading`)
		answered := make(chan error, 1)
		go func() { _, err := infer(e, t.Context(), pairs(1, 1)); answered <- err }()
		synctest.Wait()
		release <- nil
		if err := <-answered; err != nil {
			t.Error(err)
		}
		if err := errors.Join(<-done, e.Ready()); err != nil {
			t.Error(err)
		}
		_, err = e.Describe(t.Context(), "acme", "m", 2)
		wantFault(t, err, fault.NotFound, `version 2 of model "m" is not deployed: version 1 is`)
		_, err = e.Describe(t.Context(), "other", "m", 0)
		wantFault(t, err, fault.NotFound, `no model "m" is deployed`)

		load = e.Restore([]Artifact{{Target: Target{"acme", "n", 7}, Manifest: &model.Manifest{}}})
		go func() { release <- fault.New("model.load", fault.Corrupt, "bad weights") }()
		wantFault(t, load(t.Context()), fault.Corrupt, "bad weights")
		_, err = e.Describe(t.Context(), "acme", "n", 0)
		wantFault(t, err, fault.Unavailable, "model n version 7 could not be loaded: bad weights")
		if err := e.Undeploy(Target{Tenant: "acme", Model: "n"}); err != nil {
			t.Error(err)
		}
	})
}

func TestModelsWithoutBatchRunAlone(t *testing.T) {
	f := doubler()
	f.signature.Batch = false
	f.signature.Inputs[0].Shape = []int{-1, 2}
	e, rec := start(t, Config{}, f)
	if _, err := infer(e, t.Context(), pairs(make([]float32, 400)...)); err != nil {
		t.Error(err)
	}
	if len(rec.steps) != 1 || rec.steps[0].Rows != 1 {
		t.Errorf("steps %+v", rec.steps)
	}
}

// TestManyCallers runs under the race detector: callers that come, go and expire,
// while versions are swapped.
func TestManyCallers(t *testing.T) {
	e, _ := start(t, Config{Limits: Limits{MaxBatchRows: 8, Instances: 2, MaxQueuedRequests: 1000}}, doubler())
	e.config.Load = func(context.Context, *model.Manifest, func(model.File) (string, error)) (Runner, error) {
		return doubler(), nil
	}
	var group sync.WaitGroup
	for n := range 16 {
		group.Go(func() {
			for i := range 200 {
				v := float32(n*1000 + i)
				ctx, cancel := context.WithCancel(t.Context())
				if i%7 == 0 {
					go cancel()
				}
				in := make([]float32, 2*(1+i%11))
				in[0] = v
				a, err := infer(e, ctx, pairs(in...))
				if err == nil && a.Outputs[0].F32()[0] != 2*v {
					t.Errorf("got %v for %v", a.Outputs[0].F32()[0], v)
				} else if err != nil && fault.KindOf(err) != fault.Canceled {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	for v := 2; v < 12; v++ {
		p, err := e.Prepare(t.Context(), artifact(v, 1))
		if err != nil {
			t.Fatal(err)
		}
		p.Commit()
	}
	group.Wait()
	if err := e.Close(t.Context()); err != nil || e.memory.used != 0 {
		t.Errorf("close: %v, %d bytes left", err, e.memory.used)
	}
}

// TestRequestBetweenFindAndAdmit holds the moment in which a request has found a
// deployment that takes no more: it is answered by the one that comes.
func TestRequestBetweenFindAndAdmit(t *testing.T) {
	e, _ := start(t, Config{}, doubler())
	e.config.Load = func(context.Context, *model.Manifest, func(model.File) (string, error)) (Runner, error) {
		return doubler(), nil
	}
	p, err := e.Prepare(t.Context(), artifact(2, 1))
	if err != nil {
		t.Fatal(err)
	}
	e.slots[place{"acme", "m"}].serving.queue.retire()
	done := make(chan error, 1)
	go func() {
		a, err := infer(e, t.Context(), pairs(1, 2))
		if err == nil && a.Version != 2 {
			err = fmt.Errorf("version %d", a.Version)
		}
		done <- err
	}()
	time.Sleep(2 * time.Millisecond)
	p.Commit()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
