package serve

import (
	"context"
	"errors"
	"sync"

	"tandem/fault"
	"tandem/internal/registry"
	"tandem/internal/tenant"
	"tandem/model"
)

// Rollout keeps the engine and the registry in step: what the registry says is
// deployed is what the engine serves, and what a restart brings back. A version is
// loaded first, then recorded, then serves: a version that cannot run never becomes
// the record, and a crash between leaves the old one.
type Rollout struct {
	engine   *Engine
	registry *registry.Registry

	// Changes of one place are one at a time; the registry's order is the engine's.
	mu   sync.Mutex
	busy map[place]struct{}
}

// NewRollout makes a rollout.
func NewRollout(e *Engine, r *registry.Registry) *Rollout {
	return &Rollout{engine: e, registry: r, busy: map[place]struct{}{}}
}

// claim takes the place for one change; release gives it back.
func (o *Rollout) claim(p place) (release func(), err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, taken := o.busy[p]; taken {
		return nil, fault.New("serve.rollout", fault.Conflict, "the deployment of model %q is being changed", p.model).
			Try("wait until it is done, then try again")
	}
	o.busy[p] = struct{}{}
	return func() {
		o.mu.Lock()
		delete(o.busy, p)
		o.mu.Unlock()
	}, nil
}

// Deploy loads a version, records it, and lets it serve; number 0 is the newest.
func (o *Rollout) Deploy(ctx context.Context, p tenant.Principal, name string, number int) (registry.Deployment, error) {
	const op = "serve.rollout"
	if err := p.Require(tenant.ActDeploy, op); err != nil {
		return registry.Deployment{}, err
	}
	release, err := o.claim(place{p.Tenant, name})
	if err != nil {
		return registry.Deployment{}, err
	}
	defer release()
	v, err := o.registry.Version(ctx, p.Tenant, name, number)
	if err != nil {
		return registry.Deployment{}, err
	}
	prepared, err := o.prepare(ctx, p.Tenant, v)
	if err != nil {
		return registry.Deployment{}, err
	}
	d, err := o.registry.Deploy(ctx, p, name, v.Number)
	if err != nil {
		prepared.Abort()
		return registry.Deployment{}, err
	}
	prepared.Commit()
	return d, nil
}

// Rollback loads the version that served before, records it and lets it serve. If it
// cannot be loaded, the present one stays.
func (o *Rollout) Rollback(ctx context.Context, p tenant.Principal, name string) (registry.Deployment, error) {
	release, err := o.claim(place{p.Tenant, name})
	if err != nil {
		return registry.Deployment{}, err
	}
	defer release()
	v, err := o.registry.Previous(ctx, p, name)
	if err != nil {
		return registry.Deployment{}, err
	}
	prepared, err := o.prepare(ctx, p.Tenant, v)
	if err != nil {
		return registry.Deployment{}, err
	}
	d, err := o.registry.Rollback(ctx, p, name, v.Number)
	if err != nil {
		prepared.Abort()
		return registry.Deployment{}, err
	}
	prepared.Commit()
	return d, nil
}

// Undeploy ends a deployment.
func (o *Rollout) Undeploy(ctx context.Context, p tenant.Principal, name string) error {
	release, err := o.claim(place{p.Tenant, name})
	if err != nil {
		return err
	}
	defer release()
	if err := o.registry.Undeploy(ctx, p, name); err != nil {
		return err
	}
	if err := o.engine.Undeploy(Target{Tenant: p.Tenant, Model: name}); fault.KindOf(err) != fault.NotFound {
		return err
	}
	return nil // recorded, but never loaded
}

// Restore marks everything that the registry says is deployed as loading, and returns
// the function that loads it: call it in the background, and serve meanwhile.
func (o *Rollout) Restore(ctx context.Context) (load func(context.Context) error, err error) {
	all, err := o.registry.AllDeployed(ctx)
	if err != nil {
		return nil, err
	}
	var artifacts []Artifact
	var failures []error
	for _, p := range all {
		a, err := o.artifact(ctx, p.Tenant, p.Version)
		if err != nil {
			o.engine.refuse(Target{p.Tenant, p.Version.Model, p.Version.Number}, err)
			failures = append(failures, err)
			continue
		}
		artifacts = append(artifacts, a)
	}
	restore := o.engine.Restore(artifacts)
	return func(ctx context.Context) error { return errors.Join(append(failures, restore(ctx))...) }, nil
}

func (o *Rollout) prepare(ctx context.Context, t tenant.ID, v registry.Version) (*Prepared, error) {
	a, err := o.artifact(ctx, t, v)
	if err != nil {
		return nil, err
	}
	return o.engine.Prepare(ctx, a)
}

func (o *Rollout) artifact(ctx context.Context, t tenant.ID, v registry.Version) (Artifact, error) {
	m, err := o.registry.Manifest(ctx, t, v)
	if err != nil {
		return Artifact{}, err
	}
	return Artifact{
		Target: Target{Tenant: t, Model: v.Model, Version: v.Number}, Manifest: m,
		Path: func(f model.File) (string, error) { return o.registry.BlobPath(f.Digest) },
	}, nil
}
