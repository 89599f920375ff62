package serve

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"tandem/fault"
	"tandem/internal/tenant"
	"tandem/llm"
	"tandem/model"
	"tandem/tensor"
)

// Runner is a loaded model. Rows of the batch dimension are independent when
// Signature().Batch. Run does not keep its inputs, and returns memory of its own.
type Runner interface {
	Signature() model.Signature
	Run(ctx context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, error)
	MemoryBytes() int64
	Close() error
}

// Loader makes a Runner of an artifact; path tells where a file of it lies.
type Loader func(ctx context.Context, manifest *model.Manifest, path func(model.File) (string, error)) (Runner, error)

// LanguageLoader opens an artifact whose stage is of kind model.KindLanguage.
type LanguageLoader func(ctx context.Context, manifest *model.Manifest, path func(model.File) (string, error)) (*llm.Model, error)

// Config is everything that an Engine is told. Zero fields take the defaults.
type Config struct {
	Load              Loader
	LoadLanguage      LanguageLoader
	Limits            Limits
	MemoryBudgetBytes int64         // of all loaded models; 0: no budget
	LoadWait          time.Duration // how long a request waits for a model that is loading; default 10 s
	RequestTimeout    time.Duration // of a request that does not ask for less; default 60 s

	Record  func(tenant.Usage) // called once for each admitted request; nil: none
	Observe func(Step)         // called once for each step; nil: none
}

// Target names what a deployment serves.
type Target struct {
	Tenant  tenant.ID
	Model   string
	Version int
}

func (t Target) String() string { return fmt.Sprintf("model %s version %d", t.Model, t.Version) }

func (t Target) place() place { return place{t.Tenant, t.Model} }

// Artifact is a version and where its files lie.
type Artifact struct {
	Target
	Manifest *model.Manifest
	Path     func(model.File) (string, error)
}

// place is the name under which one version at a time serves.
type place struct {
	tenant tenant.ID
	model  string
}

// slot is what a place holds: the serving deployment, and the version that loads.
type slot struct {
	serving *deployment   // nil until the first load is done
	loading int           // version that loads; 0: none
	loaded  chan struct{} // closed when that load is over
	failure error         // why the last load failed; nil after one that worked
	failed  int           // its version
}

// Engine holds the deployments of every tenant.
type Engine struct {
	config Config
	memory budget

	mu       sync.RWMutex
	slots    map[place]*slot
	draining map[*deployment]struct{}
	closed   bool
	retiring sync.WaitGroup
}

// New makes an engine without deployments.
func New(c Config) (*Engine, error) {
	if c.LoadLanguage == nil {
		c.LoadLanguage = func(context.Context, *model.Manifest, func(model.File) (string, error)) (*llm.Model, error) {
			return nil, fault.New("serve.load", fault.Unsupported, "this server opens no models that generate text")
		}
	}
	if c.Load == nil {
		return nil, fault.New("serve.new", fault.Internal, "there is no loader")
	}
	c.Limits = c.Limits.withDefaults()
	if err := c.Limits.check(); err != nil {
		return nil, err
	}
	if c.LoadWait == 0 {
		c.LoadWait = 10 * time.Second
	}
	if c.RequestTimeout == 0 {
		c.RequestTimeout = 60 * time.Second
	}
	return &Engine{
		config: c, memory: budget{limit: c.MemoryBudgetBytes},
		slots: map[place]*slot{}, draining: map[*deployment]struct{}{},
	}, nil
}

// Call is a request for inference.
type Call struct {
	Tenant  tenant.ID
	Key     tenant.KeyID
	Model   string
	Version int // 0: the one that serves
	Inputs  []Input
	Timeout time.Duration // 0: Config.RequestTimeout; never more than that
}

// Answer is what a call gives: the outputs in the order of the signature.
type Answer struct {
	Version   int
	Signature *model.Signature
	Outputs   []*tensor.Tensor
}

// Description is what a caller may know of a deployed model before calling it.
type Description struct {
	Target
	Signature *model.Signature // not to be written to
	Loaded    time.Time
}

// Describe finds the deployment that would answer a call now. It waits a bounded
// time for a model that is loading.
func (e *Engine) Describe(ctx context.Context, t tenant.ID, name string, version int) (Description, error) {
	d, err := e.find(ctx, Target{t, name, version})
	if err != nil {
		return Description{}, err
	}
	return d.description(), nil
}

func (d *deployment) description() Description {
	return Description{Target: d.target, Signature: &d.signature, Loaded: d.loaded}
}

// Infer validates a call, queues it, and returns its answer. If ctx is canceled it
// returns at once; the tensors may then still be read by a step that runs.
func (e *Engine) Infer(ctx context.Context, c *Call) (Answer, error) {
	timeout := e.config.RequestTimeout
	if c.Timeout > 0 {
		timeout = min(timeout, c.Timeout)
	}
	for {
		d, err := e.find(ctx, Target{c.Tenant, c.Model, c.Version})
		if err != nil {
			return Answer{}, err
		}
		inputs, rows, err := arrange(&d.signature, d.batch, c.Inputs)
		if err != nil {
			return Answer{}, err
		}
		now := time.Now()
		r := &request{
			waiting: waiting{rows: rows, arrived: now, deadline: now.Add(timeout)},
			inputs:  inputs, total: rows, call: c, done: make(chan struct{}),
		}
		if d.batch {
			r.class = classOf(&d.signature, inputs)
		}
		if err := d.queue.admit(r); err == errRetired {
			continue // replaced since find: the slot already holds another, or none
		} else if err != nil {
			return Answer{}, err
		}
		if err := d.queue.await(ctx, r); err != nil {
			return Answer{}, err
		}
		return Answer{Version: d.target.Version, Signature: &d.signature, Outputs: r.outputs}, nil
	}
}

// find is the deployment that serves a target; version 0 is any.
func (e *Engine) find(ctx context.Context, t Target) (*deployment, error) {
	e.mu.RLock()
	s, closed := e.slots[t.place()], e.closed
	if s != nil && s.serving != nil && (t.Version == 0 || t.Version == s.serving.target.Version) {
		d := s.serving
		e.mu.RUnlock()
		return d, nil
	}
	var view slot
	if s != nil {
		view = *s
	}
	e.mu.RUnlock()
	switch {
	case closed:
		return nil, errClosed
	case view.loading != 0 && (t.Version == 0 || t.Version == view.loading):
		return e.awaitLoad(ctx, t, view)
	case view.serving != nil:
		return nil, fault.New("serve.find", fault.NotFound, "version %d of model %q is not deployed: version %d is",
			t.Version, t.Model, view.serving.target.Version).Try("ask for the deployed version, or for none in particular")
	case view.failure != nil && (t.Version == 0 || t.Version == view.failed):
		return nil, fault.Wrap(view.failure, "serve.find", fault.Unavailable, "")
	}
	return nil, fault.New("serve.find", fault.NotFound, "no model %q is deployed", t.Model).Try("deploy it first")
}

var errClosed = fault.New("serve.find", fault.Unavailable, "the server is shutting down")

func (e *Engine) awaitLoad(ctx context.Context, t Target, view slot) (*deployment, error) {
	timer := time.NewTimer(e.config.LoadWait)
	defer timer.Stop()
	select {
	case <-view.loaded:
		return e.find(ctx, t)
	case <-ctx.Done():
		return nil, fault.From(context.Cause(ctx), "serve.find")
	case <-timer.C:
		return nil, fault.New("serve.find", fault.Unavailable, "model %q version %d is still loading", t.Model, view.loading).Try("try again later")
	}
}

// Has reports whether a tenant's model serves, loads or has failed to.
func (e *Engine) Has(t tenant.ID, name string) bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.slots[place{t, name}] != nil
}

// Status describes a deployment for people and metrics.
type Status struct {
	Target
	State          State
	QueuedRequests int
	QueuedRows     int
	MemoryBytes    int64
	Language       bool  // it generates text
	Failure        error // of StateFailed
}

// State is where a deployment is in its life.
type State string

const (
	StateLoading  State = "loading"
	StateServing  State = "serving"
	StateDraining State = "draining"
	StateFailed   State = "failed"
)

// Statuses lists every deployment: by tenant, model and version.
func (e *Engine) Statuses() []Status {
	e.mu.RLock()
	defer e.mu.RUnlock()
	var all []Status
	for p, s := range e.slots {
		if s.serving != nil {
			all = append(all, s.serving.status(StateServing))
		}
		if s.loading != 0 {
			all = append(all, Status{Target: Target{p.tenant, p.model, s.loading}, State: StateLoading})
		} else if s.failure != nil {
			all = append(all, Status{Target: Target{p.tenant, p.model, s.failed}, State: StateFailed, Failure: s.failure})
		}
	}
	for d := range e.draining {
		all = append(all, d.status(StateDraining))
	}
	slices.SortFunc(all, func(a, b Status) int {
		if c := strings.Compare(string(a.Tenant), string(b.Tenant)); c != 0 {
			return c
		}
		if c := strings.Compare(a.Model, b.Model); c != 0 {
			return c
		}
		return a.Version - b.Version
	})
	return all
}

// Ready is nil when every deployment that was asked for serves or has failed.
func (e *Engine) Ready() error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.closed {
		return errClosed
	}
	for p, s := range e.slots {
		if s.serving == nil && s.loading != 0 {
			return fault.New("serve.ready", fault.Unavailable, "model %q version %d is still loading", p.model, s.loading)
		}
	}
	return nil
}
