package serve

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"tandem/fault"
	"tandem/llm"
	"tandem/model"
	"tandem/tensor"
)

// deployment is a loaded model with its queue.
type deployment struct {
	target    Target
	signature model.Signature
	batch     bool // rows of separate requests may share a step
	runner    Runner
	language  *llm.Model // what runner wraps if it generates text, else nil
	loaded    time.Time
	bytes     int64 // reserved of the budget
	queue     *queue
	observe   func(Step)
}

func (d *deployment) status(s State) Status {
	requests, rows := d.queue.depth()
	return Status{Target: d.target, State: s, QueuedRequests: requests, QueuedRows: rows, MemoryBytes: d.bytes, Language: d.language != nil}
}

// Prepared is a version that is loaded and warm but does not serve yet, so that a
// caller can record the deployment before requests see it. Exactly one of Commit
// and Abort must be called.
type Prepared struct {
	engine     *Engine
	deployment *deployment // nil: the version serves already
	place      place
}

// maxWarmElements bounds the zeros of a warm-up input.
const maxWarmElements = 16 << 20

// Prepare loads and warms an artifact. What serves under its name goes on serving.
func (e *Engine) Prepare(ctx context.Context, a Artifact) (*Prepared, error) {
	p := &Prepared{engine: e, place: a.place()}
	serving, err := e.begin(a.Target)
	if err != nil || serving {
		return p, err
	}
	if p, err = e.load(ctx, a, p); err != nil {
		e.end(a.place(), nil, nil) // the caller is told; the name is as it was
		return nil, err
	}
	return p, nil
}

func (e *Engine) load(ctx context.Context, a Artifact, p *Prepared) (*Prepared, error) {
	d, err := e.open(ctx, a)
	p.deployment = d
	return p, err
}

// begin marks the target as loading; serving tells that nothing is to be done.
func (e *Engine) begin(t Target) (serving bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false, errClosed
	}
	s := e.slots[t.place()]
	if s == nil {
		s = &slot{}
		e.slots[t.place()] = s
	}
	if s.loading != 0 {
		return false, fault.New("serve.deploy", fault.Conflict, "version %d of model %q is being deployed", s.loading, t.Model).
			Try("wait until it is done, then try again")
	}
	if s.serving != nil && s.serving.target == t {
		return true, nil
	}
	s.loading, s.loaded = t.Version, make(chan struct{})
	return false, nil
}

// end closes the loading state. A nil d leaves what served before, with err as the
// reason; without one the deployment was given up, and the name is as it was.
func (e *Engine) end(p place, d *deployment, err error) {
	e.mu.Lock()
	s := e.slots[p]
	version, old := s.loading, s.serving
	close(s.loaded)
	s.loading = 0
	if d != nil || err != nil {
		s.failure, s.failed = err, version
	}
	switch {
	case d != nil && e.closed:
		e.retire(d)
	case d != nil:
		s.serving = d
		if old != nil {
			e.retire(old)
		}
	case s.serving == nil && s.failure == nil:
		delete(e.slots, p)
	}
	e.mu.Unlock()
}

// open loads a runner within the budget of memory and warms it.
func (e *Engine) open(ctx context.Context, a Artifact) (*deployment, error) {
	var (
		estimate int64
		err      error
	)
	for _, f := range a.Manifest.Files {
		estimate += f.Bytes
	}
	if err = e.memory.reserve(a.Target, estimate); err != nil {
		return nil, err
	}
	var text *llm.Model
	var runner Runner
	runner, err = contain(func() (Runner, error) {
		if len(a.Manifest.Stages) == 0 || a.Manifest.Stages[0].Kind != model.KindLanguage {
			return e.config.Load(ctx, a.Manifest, a.Path)
		}
		var err error
		text, err = e.config.LoadLanguage(ctx, a.Manifest, a.Path)
		return language{text}, err
	})
	if err != nil {
		e.memory.release(estimate)
		return nil, fault.Wrap(err, "serve.deploy", fault.KindOf(err), "%v could not be loaded", a.Target).Try(fault.RemedyOf(err))
	}
	d := e.newDeployment(a, runner)
	d.language = text
	if err = e.memory.adjust(a.Target, estimate, d.bytes); err != nil {
		e.memory.release(estimate)
	} else if err = d.warm(ctx); err != nil {
		e.memory.release(d.bytes)
	} else {
		return d, nil
	}
	return nil, errors.Join(err, runner.Close())
}

func (e *Engine) newDeployment(a Artifact, runner Runner) *deployment {
	d := &deployment{
		target: a.Target, signature: runner.Signature(), runner: runner,
		bytes: runner.MemoryBytes(), observe: e.config.Observe, loaded: time.Now(),
	}
	limits := e.config.Limits
	if d.batch = joinable(&d.signature); !d.batch {
		limits.MaxBatchRows = 1
	}
	d.queue = newQueue(limits, d.runStep, func(r *request) { e.record(d, r) })
	return d
}

// warm runs zeros through the model, so that a model that cannot run at all is
// refused while the old version still serves, and the first caller does not pay
// for planning. A model that finds the zeros themselves invalid is left alone.
func (d *deployment) warm(ctx context.Context) error {
	inputs := zeros(&d.signature, maxWarmElements)
	if inputs == nil {
		return nil
	}
	outputs, err := contain(func() ([]*tensor.Tensor, error) { return d.runner.Run(ctx, inputs) })
	if err == nil {
		err = d.checkOutputs(outputs, 1)
	}
	if err == nil || fault.KindOf(err) == fault.Invalid {
		return nil
	}
	return fault.Wrap(err, "serve.deploy", fault.KindOf(err), "%v failed on an input of zeros", d.target)
}

// Commit lets the prepared version serve, at once and for every request that comes
// after. The replaced version answers what it has admitted, then is closed.
func (p *Prepared) Commit() {
	if p.deployment != nil {
		p.engine.end(p.place, p.deployment, nil)
	}
}

// Abort unloads the prepared version; what served before goes on.
func (p *Prepared) Abort() {
	if p.deployment != nil {
		p.engine.end(p.place, nil, nil)
		p.engine.mu.Lock()
		p.engine.retire(p.deployment)
		p.engine.mu.Unlock()
	}
}

// Restore marks artifacts as loading, so that requests for them wait, and returns
// the function that loads them one after the other. That function returns every
// failure; a model that failed answers Unavailable with the reason.
func (e *Engine) Restore(artifacts []Artifact) (load func(context.Context) error) {
	var marked []Artifact
	var failures []error
	for _, a := range artifacts {
		if serving, err := e.begin(a.Target); err != nil {
			failures = append(failures, err)
		} else if !serving {
			marked = append(marked, a)
		}
	}
	return func(ctx context.Context) error {
		for _, a := range marked {
			p, err := e.load(ctx, a, &Prepared{engine: e, place: a.place()})
			if err != nil {
				e.end(a.place(), nil, err)
				failures = append(failures, err)
				continue
			}
			p.Commit()
		}
		return errors.Join(failures...)
	}
}

// refuse makes requests for a target that cannot even be tried answer with the reason.
func (e *Engine) refuse(t Target, err error) {
	if serving, busy := e.begin(t); !serving && busy == nil {
		e.end(t.place(), nil, err)
	}
}

// Undeploy stops serving a model; requests that were admitted are answered.
func (e *Engine) Undeploy(t Target) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.slots[t.place()]
	switch {
	case s == nil:
		return fault.New("serve.undeploy", fault.NotFound, "no model %q is deployed", t.Model)
	case s.loading != 0:
		return fault.New("serve.undeploy", fault.Conflict, "version %d of model %q is being deployed", s.loading, t.Model).
			Try("wait until it is done, then try again")
	}
	delete(e.slots, t.place())
	if s.serving != nil {
		e.retire(s.serving)
	}
	return nil
}

// retire drains a deployment in the background, then closes it. e.mu is held.
func (e *Engine) retire(d *deployment) {
	e.draining[d] = struct{}{}
	d.queue.retire()
	e.retiring.Go(func() {
		<-d.queue.idle
		// A failure to unmap or close has no one to be told to: the model is gone.
		_ = d.runner.Close()
		e.memory.release(d.bytes)
		e.mu.Lock()
		delete(e.draining, d)
		e.mu.Unlock()
	})
}

// Close stops admission, waits until every admitted request is answered or ctx is
// done, and closes the models.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	e.closed = true
	for p, s := range e.slots {
		if s.serving != nil {
			e.retire(s.serving)
			s.serving = nil
		}
		if s.loading == 0 {
			delete(e.slots, p)
		}
	}
	e.mu.Unlock()
	done := make(chan struct{})
	go func() {
		e.retiring.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fault.From(ctx.Err(), "serve.close")
	}
}

// budget is the memory that loaded models may take together.
type budget struct {
	limit int64 // bytes; 0: none

	mu   sync.Mutex
	used int64
}

func (b *budget) reserve(t Target, bytes int64) error { return b.adjust(t, 0, bytes) }

// adjust turns a reservation of old bytes into one of new bytes, or leaves it.
func (b *budget) adjust(t Target, old, new int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	free := b.limit - (b.used - old)
	if b.limit > 0 && new > free {
		return fault.New("serve.deploy", fault.NoSpace, "%v needs %s of memory: %s of the budget of %s are free",
			t, size(new), size(max(free, 0)), size(b.limit)).Try("undeploy another model, or start the server with a larger --memory-limit")
	}
	b.used += new - old
	return nil
}

func (b *budget) release(bytes int64) {
	b.mu.Lock()
	b.used -= bytes
	b.mu.Unlock()
}

// size prints bytes for people.
func size(bytes int64) string {
	switch {
	case bytes >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
	case bytes >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
	}
	return fmt.Sprintf("%d bytes", bytes)
}
