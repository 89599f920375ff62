package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tandem/fault"
	"tandem/internal/api"
	"tandem/internal/serve"
	"tandem/internal/tenant"
)

// Config is how the door is kept. Zero fields take the defaults.
type Config struct {
	// Authenticate finds the principal of a secret: tenant.Service's.
	Authenticate func(ctx context.Context, secret string) (tenant.Principal, error)
	// Insecure lets every request in as its principal, without a key. Only OpenAs makes one.
	Insecure *Insecure
	// MaxConcurrentPerKey bounds the requests of one key that are answered at a time.
	MaxConcurrentPerKey int // default 1024
	// MaxHeldBytes bounds the bodies of all requests that are in memory together.
	MaxHeldBytes int64 // default 1 GiB, or two of the largest for inference
	Log          *slog.Logger
}

// Gateway is the server's http.Handler.
type Gateway struct {
	config   Config
	metrics  *api.Metrics
	engine   *serve.Engine
	mux      *http.ServeMux
	draining atomic.Bool
	inFlight atomic.Int64 // requests on routes that are not public
	bodies   atomic.Int64 // bytes of their bodies in memory
	// refusedBody is how long the body of a request may take that is not let in; of the
	// others boundBody says.
	refusedBody time.Duration

	mu     sync.Mutex
	perKey map[tenant.KeyID]int // requests in flight
}

// New builds the handler of every route.
func New(c Config, d api.Deps) (*Gateway, error) {
	if c.Authenticate == nil && c.Insecure == nil {
		return nil, fault.New("gateway.new", fault.Internal, "nobody authenticates requests")
	}
	if c.MaxConcurrentPerKey == 0 {
		c.MaxConcurrentPerKey = 1024
	}
	if c.MaxHeldBytes == 0 {
		c.MaxHeldBytes = max(1<<30, 2*d.Bodies.InferBytes)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	g := &Gateway{config: c, metrics: d.Metrics, engine: d.Engine, mux: http.NewServeMux(), refusedBody: readHeaderTimeout, perKey: map[tenant.KeyID]int{}}
	ready := d.Ready
	d.Ready = func() error {
		if g.draining.Load() {
			return errDraining
		}
		if ready != nil {
			return ready()
		}
		return nil
	}
	for _, route := range api.Routes(d) {
		g.mux.HandleFunc(route.Method+" "+route.Pattern, func(w http.ResponseWriter, r *http.Request) {
			v := w.(*visit) // ServeHTTP is the mux's only caller
			v.route = &route
			if v.err = g.enter(v, r); v.err != nil {
				v.fail(route.Fail)
			}
		})
	}
	return g, nil
}

var errDraining = fault.New("gateway.enter", fault.Unavailable, "the server is shutting down").Try("send the request to another server")

// ServeHTTP answers a request, whatever happens.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := &visit{ResponseWriter: w, id: requestID(r), path: r.URL.Path, start: time.Now()}
	w.Header()["X-Request-Id"] = []string{v.id}
	defer g.leave(v, r)
	if r.ContentLength != 0 { // of one that is refused, net/http reads what is left before it answers
		_ = http.NewResponseController(w).SetReadDeadline(v.start.Add(g.refusedBody)) // a test's recorder has none
	}
	g.mux.ServeHTTP(v, r)
}

// enter lets a request in and runs its handler.
func (g *Gateway) enter(v *visit, r *http.Request) error {
	route := v.route
	if route.Public {
		return route.Handler(v, r, tenant.Principal{})
	}
	// Counted before draining is asked, so that Drain misses nobody.
	g.inFlight.Add(1)
	defer g.inFlight.Add(-1)
	if g.draining.Load() {
		v.Header().Set("Connection", "close")
		return errDraining
	}
	p, err := g.principal(r)
	if err != nil {
		return err
	}
	v.principal = p
	if err := p.Require(route.Action, "gateway.enter"); err != nil {
		return err
	}
	if err := g.take(p.Key); err != nil {
		return err
	}
	defer g.give(p.Key)
	body, err := g.boundBody(v, r)
	if err != nil {
		return err
	}
	defer body.leave()
	return route.Handler(v, r, p)
}

func (g *Gateway) principal(r *http.Request) (tenant.Principal, error) {
	if g.config.Insecure != nil {
		return g.config.Insecure.admit(r)
	}
	return g.config.Authenticate(r.Context(), secretOf(r))
}

// secretOf is the key that a request shows: Authorization: Bearer, else X-API-Key.
func secretOf(r *http.Request) string {
	const scheme = "bearer "
	if a := r.Header.Get("Authorization"); len(a) > len(scheme) && strings.EqualFold(a[:len(scheme)], scheme) {
		return strings.TrimSpace(a[len(scheme):])
	}
	return r.Header.Get("X-Api-Key")
}

// take counts a request against its key's limit.
func (g *Gateway) take(k tenant.KeyID) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.perKey[k]
	if n >= g.config.MaxConcurrentPerKey {
		return fault.New("gateway.enter", fault.Exhausted, "the key has %d requests in flight: the limit MaxConcurrentPerKey is %d", n, g.config.MaxConcurrentPerKey).
			Try("wait for answers before sending more")
	}
	g.perKey[k] = n + 1
	return nil
}

func (g *Gateway) give(k tenant.KeyID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.perKey[k]--; g.perKey[k] == 0 {
		delete(g.perKey, k)
	}
}

// leave contains a panic, then counts and logs the request.
func (g *Gateway) leave(v *visit, r *http.Request) {
	if p := recover(); p != nil {
		if p == http.ErrAbortHandler {
			panic(p) // net/http's own way to cut a connection
		}
		if v.status != 0 { // a half answer must not look whole
			defer panic(http.ErrAbortHandler)
		}
		v.stack = debug.Stack()
		v.err = fault.Wrap(fmt.Errorf("panic: %v", p), "gateway.leave", fault.Internal, "the request failed")
		fail := api.FailFor(v.path)
		if v.route != nil {
			fail = v.route.Fail
		}
		v.fail(fail)
	}
	took := time.Since(v.start)
	pattern, model := "", ""
	if v.route != nil {
		pattern = v.route.Pattern
		if name := r.PathValue("model"); v.principal.Tenant != "" && (v.status < http.StatusBadRequest || g.engine.Has(v.principal.Tenant, name)) {
			model = name
		}
	}
	if g.metrics != nil {
		g.metrics.Request(v.principal.Tenant, pattern, model, v.status, took)
	}
	g.log(v, r, took)
}

func (g *Gateway) log(v *visit, r *http.Request, took time.Duration) {
	level := slog.LevelInfo
	if v.status >= http.StatusInternalServerError && v.status != http.StatusServiceUnavailable {
		level = slog.LevelError
	}
	if !g.config.Log.Enabled(r.Context(), level) {
		return
	}
	attrs := append(make([]slog.Attr, 0, 12),
		slog.String("id", v.id), slog.String("method", r.Method), slog.String("path", v.path), slog.Int("status", v.status),
		slog.Int64("bytes", v.bytes), slog.Duration("took", took), slog.String("remote", r.RemoteAddr),
		slog.String("tenant", string(v.principal.Tenant)), slog.String("key", string(v.principal.Key)))
	if v.err != nil {
		attrs = append(attrs, slog.String("error", loggable(v.err, v.status)))
	}
	if stack := v.stackOf(); stack != nil {
		attrs = append(attrs, slog.String("stack", string(stack)))
	}
	g.config.Log.LogAttrs(r.Context(), level, "request", attrs...)
}

// loggable is the text of an error for the log. The caller's own mistakes are logged
// without their arguments, which quote what the caller sent.
func loggable(err error, status int) string {
	e, ok := errors.AsType[*fault.Error](err)
	switch {
	case status >= http.StatusInternalServerError:
		return err.Error()
	case ok && e.Format != "":
		return e.Op + ": " + e.Format
	case ok:
		return e.Op + ": " + e.Kind.String()
	}
	return http.StatusText(status)
}
