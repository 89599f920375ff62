package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"tandem/fault"
	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/internal/api"
	"tandem/internal/blob"
	"tandem/internal/gateway"
	"tandem/internal/registry"
	"tandem/internal/serve"
	"tandem/internal/store"
	"tandem/internal/tenant"
	"tandem/kernel"
	"tandem/llm"
	"tandem/model"
)

// serverConfig is everything that a server is told.
type serverConfig struct {
	data              string // directory
	addr              string // host:port
	insecure          bool
	threads           int
	memoryLimitBytes  int64 // of loaded models; 0: none
	bodyBytes         int64 // of one request for inference
	heldBytes         int64 // of all requests together; 0: the gateway's own bound
	limits            serve.Limits
	maxConcurrentKeys int
	context           int // tokens of prompt and answer, of models that generate text; 0: their own
	maxSequences      int // that such a model computes together
	log               *slog.Logger
}

const (
	drainTimeout = 30 * time.Second // for requests in flight, when the server is asked to stop
	gcInterval   = time.Hour        // between looks for bytes that nobody needs
	blobFolder   = "blobs"          // in the data directory
	packedFolder = "packed"         // likewise: weights as kernels read them, which may be removed
)

// server is everything that runs, from the disk up to the listener.
type server struct {
	config   serverConfig
	db       *store.DB
	tenants  *tenant.Service
	registry *registry.Registry
	pool     *kernel.Pool
	engine   *serve.Engine
	front    *gateway.Server
	restore  func(context.Context) error

	secret string // of the owner key, if this start has made the first one
}

// openServer opens the data directory and takes the address. Requests are answered from
// run on. After an error nothing is left open.
func openServer(ctx context.Context, c serverConfig) (_ *server, err error) {
	s := &server{config: c}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close(ctx))
		}
	}()
	if s.db, err = store.Open(ctx, c.data); err != nil {
		return nil, err
	}
	blobs, err := blob.OpenDir(filepath.Join(c.data, blobFolder))
	if err != nil {
		return nil, err
	}
	s.tenants = tenant.New(s.db, time.Now)
	s.registry = registry.New(s.db, blobs, time.Now)
	s.pool = kernel.NewPool(c.threads, kernel.Detect())
	metrics := api.NewMetrics()
	s.engine, err = serve.New(serve.Config{
		Load: loader(s.pool, c.memoryLimitBytes, filepath.Join(c.data, packedFolder)), LoadLanguage: languageLoader(s.pool, c), Limits: c.limits, MemoryBudgetBytes: c.memoryLimitBytes,
		Record: s.tenants.Record, Observe: metrics.Step,
	})
	if err != nil {
		return nil, err
	}
	metrics.Watch(s.engine)
	rollout := serve.NewRollout(s.engine, s.registry)
	if err := s.open(ctx, rollout, metrics); err != nil {
		return nil, err
	}
	s.restore, err = rollout.Restore(ctx)
	return s, err
}

// open makes the door. The first key is made when the address is taken: a start that
// fails on its port should not spend the one moment at which the key is shown.
func (s *server) open(ctx context.Context, rollout *serve.Rollout, metrics *api.Metrics) error {
	door := gateway.Config{Authenticate: s.tenants.Authenticate, MaxConcurrentPerKey: s.config.maxConcurrentKeys, MaxHeldBytes: s.config.heldBytes, Log: s.config.log}
	if s.config.insecure {
		t, err := s.tenants.Default(ctx)
		if err != nil {
			return err
		}
		if door.Insecure, err = gateway.OpenAs(t, s.config.addr); err != nil {
			return err
		}
	}
	g, err := gateway.New(door, api.Deps{
		Tenants: s.tenants, Registry: s.registry, Engine: s.engine, Rollout: rollout, Metrics: metrics,
		Version: programVersion(), Bodies: api.BodyLimits{InferBytes: s.config.bodyBytes}, Ready: s.engine.Ready, Now: time.Now,
	})
	if err != nil {
		return err
	}
	if s.front, err = gateway.Listen(ctx, s.config.addr, g); err != nil {
		return err
	}
	return s.bootstrap(ctx)
}

func (s *server) bootstrap(ctx context.Context) error {
	secret, created, err := s.tenants.Bootstrap(ctx)
	if created {
		s.secret = secret
	}
	return err
}

// loader makes runners of artifacts.
func loader(pool *kernel.Pool, memoryLimitBytes int64, packedDir string) serve.Loader {
	return func(ctx context.Context, m *model.Manifest, path func(model.File) (string, error)) (serve.Runner, error) {
		opened, err := model.Open(ctx, m, path, model.Options{
			Ops: op.Default(), Pool: pool, PackedDir: packedDir, MemoryLimitBytes: memoryLimitBytes,
			Passes: func(p pass.Packing) []graph.Pass { return pass.Serving(pool, p) },
		})
		if err != nil {
			return nil, err // not a nil *Model, which as a Runner would not be nil
		}
		return opened, nil
	}
}

// languageLoader opens models that generate text.
func languageLoader(pool *kernel.Pool, c serverConfig) serve.LanguageLoader {
	return func(ctx context.Context, m *model.Manifest, path func(model.File) (string, error)) (*llm.Model, error) {
		return llm.OpenArtifact(ctx, m, path, llm.Options{
			Pool: pool, MaxContext: c.context, MemoryLimitBytes: c.memoryLimitBytes, PackedDir: filepath.Join(c.data, packedFolder),
			Limits: llm.Limits{MaxQueued: c.limits.MaxQueuedRequests, MaxSequences: c.maxSequences},
		})
	}
}

// url is where programs on this machine reach the server.
func (s *server) url() string {
	host, port, err := net.SplitHostPort(s.front.Addr())
	if err != nil {
		return "http://" + s.front.Addr()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// run answers requests until ctx ends, then lets those in flight finish. It does not
// close the server.
func (s *server) run(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	var background sync.WaitGroup
	background.Go(func() { s.keepRestoring(work) })
	background.Go(func() { s.keepCollecting(work) })
	var usage error
	background.Go(func() {
		usage = s.tenants.Run(work, func(err error) { s.config.log.Error("usage could not be written yet", "error", err) })
	})
	served := make(chan error, 1)
	go func() { served <- s.front.Serve() }()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		err = s.drain(ctx)
		err = errors.Join(err, <-served)
	}
	stop()
	background.Wait()
	return errors.Join(err, usage)
}

// drain bounds the wait for requests in flight.
func (s *server) drain(ctx context.Context) error {
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	return s.front.Drain(limit)
}

// keepRestoring loads what was deployed. What cannot be loaded answers with the reason,
// and the others serve: so the error goes to the log.
func (s *server) keepRestoring(ctx context.Context) {
	if err := s.restore(ctx); err != nil && ctx.Err() == nil {
		s.config.log.Error("a deployment could not be loaded", "error", err)
	}
}

// keepCollecting removes bytes that no version names, now and each hour.
func (s *server) keepCollecting(ctx context.Context) {
	tick := time.NewTicker(gcInterval)
	defer tick.Stop()
	for {
		if _, err := s.registry.GC(ctx); err != nil && ctx.Err() == nil {
			s.config.log.Error("old files could not be removed", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// close ends what openServer has opened, the newest first.
func (s *server) close(ctx context.Context) error {
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	var errs []error
	if s.front != nil {
		errs = append(errs, s.front.Close())
	}
	if s.engine != nil {
		errs = append(errs, s.engine.Close(limit))
	}
	if s.tenants != nil { // what the last requests did
		errs = append(errs, s.tenants.Flush(limit))
	}
	if s.pool != nil {
		s.pool.Close()
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	return errors.Join(errs...)
}

// leaveProcessorForNetwork lets kernels have all threads and the network poller one
// more: with none left, a request waits until a kernel gives way, 10 to 30 ms.
func leaveProcessorForNetwork(threads int) {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(threads + 1)
	}
}

// threadsOr is n, or if that is 0 the processors that this process may use.
func threadsOr(n int) (int, error) {
	if n < 0 || n > maxThreads {
		return 0, fault.New("tandem.threads", fault.Invalid, "%d threads cannot be used", n).Try("give --threads from 1 to 1024, or leave it out")
	}
	if n == 0 {
		n = min(runtime.GOMAXPROCS(0), maxThreads)
	}
	return n, nil
}

const maxThreads = 1024
