package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"tandem/fault"
	"tandem/internal/api/oip"
	"tandem/internal/client"
	"tandem/internal/serve"
	"tandem/internal/tenant"
	"tandem/kernel"
	"tandem/model"
)

// local runs an artifact in this process as a server would: the same protocol, checks
// and engine, without a network between. It is an http.RoundTripper for a client.
type local struct {
	pool    *kernel.Pool
	engine  *serve.Engine
	service *oip.Service
}

const (
	localName    = "model"
	localTenant  = tenant.ID("local")
	localTimeout = 24 * time.Hour
	localMaxRows = 1 << 20
)

// openLocal loads an artifact, and makes a client that runs it.
func openLocal(ctx context.Context, m *model.Manifest, src model.Source, threads int) (_ *local, _ *client.Client, err error) {
	l := &local{pool: kernel.NewPool(threads, kernel.Detect())}
	defer func() {
		if err != nil {
			l.close(ctx)
		}
	}()
	limits := serve.DefaultLimits()
	limits.MaxQueuedRows = localMaxRows
	l.engine, err = serve.New(serve.Config{Load: loader(l.pool, 0, ""), Limits: limits, RequestTimeout: localTimeout})
	if err != nil {
		return nil, nil, err
	}
	prepared, err := l.engine.Prepare(ctx, serve.Artifact{
		Target: serve.Target{Tenant: localTenant, Model: localName, Version: 1}, Manifest: m, Path: src,
	})
	if err != nil {
		return nil, nil, err
	}
	prepared.Commit()
	l.service = oip.New(l.engine, l.engine.Ready, programVersion(), maxInputBytes)
	c, err := client.New(client.Config{URL: "http://local", Transport: l})
	return l, c, err
}

// RoundTrip answers a request for inference.
func (l *local) RoundTrip(q *http.Request) (*http.Response, error) {
	w := &recorded{status: http.StatusOK, header: http.Header{}}
	q.SetPathValue("model", localName)
	if err := l.service.Infer(w, q, tenant.Principal{Tenant: localTenant, Role: tenant.RoleUser}); err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: w.status, Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: q,
	}, nil
}

// close lets go of the model. Nothing runs by then.
func (l *local) close(ctx context.Context) error {
	var err error
	if l.engine != nil {
		err = l.engine.Close(ctx)
	}
	l.pool.Close()
	return err
}

// recorded keeps an answer in memory.
type recorded struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func (r *recorded) Header() http.Header         { return r.header }
func (r *recorded) WriteHeader(status int)      { r.status = status }
func (r *recorded) Write(b []byte) (int, error) { return r.body.Write(b) }

// ownFault is the fault that a local model has failed with: nothing was sent anywhere,
// and the client's words about connections would mislead.
func ownFault(err error) error {
	for e := err; e != nil; e = errors.Unwrap(e) {
		if f, ok := e.(*fault.Error); ok && f.Op != "client.infer" && f.Op != "client.inferJSON" {
			return f
		}
	}
	return err
}
