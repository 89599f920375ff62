package main

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"tandem/fault"
	"tandem/internal/serve"
	"tandem/internal/tenant"
)

// serveCmd is `tandem serve`.
type serveCmd struct {
	Data     string `help:"Directory for models, keys and records. Without it: $TANDEM_HOME, else tandem in the user's data folder." placeholder:"DIR"`
	HTTP     string `name:"http" help:"Address to listen on." placeholder:"HOST:PORT" default:"127.0.0.1:8080"`
	Insecure bool   `help:"Ask for no keys. Only for addresses that no other machine can reach."`

	Threads     int      `help:"Threads that compute. Without it: all processors." placeholder:"N"`
	MemoryLimit byteSize `help:"Memory that loaded models may take together, such as 4GiB. Without it: four fifths of the machine's." placeholder:"SIZE"`

	MaxBodyBytes      byteSize      `help:"Largest request for inference, such as 64MiB." placeholder:"SIZE" default:"64MiB"`
	MaxBatchRows      int           `help:"Rows that one run of a model computes." placeholder:"N" default:"64"`
	MaxDelay          time.Duration `help:"How long a request may wait for company while the model is idle, such as 2ms." placeholder:"TIME" default:"0s"`
	MaxQueuedRequests int           `help:"Requests that wait for a model; one more is refused." placeholder:"N" default:"1024"`
	MaxQueuedRows     int           `help:"Rows that wait for a model, and the most rows of one request." placeholder:"N" default:"65536"`
	MaxRequestsPerKey int           `help:"Requests of one key that are answered at a time." placeholder:"N" default:"1024"`
	ParallelRuns      int           `help:"Runs of a model at the same time. Each of them uses all threads." placeholder:"N" default:"1"`
	Context           int           `help:"Most tokens of prompt and answer together, of models that generate text; a model made for fewer has its own. Without it: 4096." placeholder:"N"`
	MaxSequences      int           `help:"Answers that such a model computes together; more wait." placeholder:"N" default:"16"`
	LogLevel          string        `help:"What to log to standard error: debug, info (every request), warn or error." placeholder:"LEVEL" enum:"debug,info,warn,error" default:"warn"`
}

// memoryShare is the part of the machine's memory that models may take by default.
const memoryShare = 0.8

// bodiesShare is the part that bodies of requests in flight may take together; what is
// read from them takes about twice as much again.
const bodiesShare = 0.05

// config checks the flags.
func (c *serveCmd) config(a *app) (serverConfig, error) {
	for name, n := range map[string]int{
		"--max-batch-rows": c.MaxBatchRows, "--max-queued-requests": c.MaxQueuedRequests, "--max-queued-rows": c.MaxQueuedRows,
		"--max-requests-per-key": c.MaxRequestsPerKey, "--parallel-runs": c.ParallelRuns, "--max-body-bytes": int(c.MaxBodyBytes),
		"--max-sequences": c.MaxSequences,
	} {
		if n < 1 {
			return serverConfig{}, usage("%s is %d, it must be at least 1", name, n)
		}
	}
	if c.MaxDelay < 0 {
		return serverConfig{}, usage("%s is %v, it must not be negative", "--max-delay", c.MaxDelay)
	}
	threads, err := threadsOr(c.Threads)
	if err != nil {
		return serverConfig{}, err
	}
	data, err := dataDir(c.Data, a.getenv)
	if err != nil {
		return serverConfig{}, err
	}
	memory := int64(c.MemoryLimit)
	if memory == 0 {
		memory = int64(memoryShare * float64(machineMemoryBytes()))
	}
	held := int64(bodiesShare * float64(machineMemoryBytes()))
	if held > 0 { // what one request may send, packed and unpacked
		held = max(held, 2*int64(c.MaxBodyBytes))
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return serverConfig{}, usage("%q is not a level of logging", c.LogLevel)
	}
	return serverConfig{
		data: data, addr: c.HTTP, insecure: c.Insecure, threads: threads, memoryLimitBytes: memory, bodyBytes: int64(c.MaxBodyBytes), heldBytes: held,
		limits: serve.Limits{
			MaxBatchRows: c.MaxBatchRows, MaxQueuedRequests: c.MaxQueuedRequests, MaxQueuedRows: c.MaxQueuedRows,
			MaxDelay: c.MaxDelay, Instances: c.ParallelRuns,
		},
		maxConcurrentKeys: c.MaxRequestsPerKey, context: c.Context, maxSequences: c.MaxSequences,
		log: slog.New(slog.NewJSONHandler(a.err, &slog.HandlerOptions{Level: level})),
	}, nil
}

// dataDir is where the server keeps everything.
func dataDir(flag string, getenv func(string) string) (string, error) {
	dir := flag
	if dir == "" {
		dir = getenv("TANDEM_HOME")
	}
	if dir == "" {
		if base := getenv("XDG_DATA_HOME"); filepath.IsAbs(base) {
			dir = filepath.Join(base, "tandem")
		}
	}
	if dir == "" {
		home := getenv("HOME")
		if home == "" {
			return "", usage("there is no folder for the server's data").with("give --data DIR, or set TANDEM_HOME")
		}
		dir = filepath.Join(home, ".local", "share", "tandem")
	}
	abs, err := filepath.Abs(dir)
	return abs, fault.From(err, "tandem.serve")
}

// Run serves until a signal comes.
func (c *serveCmd) Run(ctx context.Context, a *app) (err error) {
	config, err := c.config(a)
	if err != nil {
		return err
	}
	leaveProcessorForNetwork(config.threads)
	s, err := openServer(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	if err := a.announce(ctx, s); err != nil {
		return err
	}
	if err := s.run(ctx); err != nil {
		return err
	}
	a.say("Stopped.")
	return nil
}

// announce says where the server is. The key of a first start is shown here and kept
// for this user's command line.
func (a *app) announce(ctx context.Context, s *server) error {
	kept, problem := a.keepKey(ctx, s)
	if problem != nil {
		s.config.log.Warn("the key could not be kept for the command line", "error", problem)
	}
	if a.json {
		return a.emit(struct {
			Event string `json:"event"`
			URL   string `json:"url"`
			Data  string `json:"data"`
			Key   string `json:"key,omitempty"`
		}{"listening", s.url(), s.config.data, s.secret})
	}
	a.say("Tandem serves on %s", s.url())
	a.say("Data: %s", s.config.data)
	if s.config.insecure {
		a.say("No keys are asked for (--insecure).")
	}
	if s.secret == "" {
		if kept == "" && problem == nil && !s.config.insecure {
			a.say("The command line of this user has no key for it. While it does not run, this makes one: %s", "tandem keys create --name NAME --role owner --data "+s.config.data)
		}
		return nil
	}
	a.say("Key of the first owner, shown this once:\n\n    %s\n", s.secret)
	if kept != "" {
		a.say("The command line of this user has it in %s", kept)
	}
	a.say("Next: tandem import RUN --name NAME --deploy")
	return nil
}

// keepKey enters this server into the user's credentials: with the key of its first
// start, or with one from an earlier start, which may have been at another address.
func (a *app) keepKey(ctx context.Context, s *server) (path string, err error) {
	saved, err := openCredentials(a.getenv)
	if err != nil {
		return "", err
	}
	entry := credential{URL: s.url(), Data: s.config.data, Key: s.secret}
	for _, old := range saved.Servers {
		if _, err := s.tenants.Authenticate(ctx, old.Key); err == nil && entry.Key == "" {
			entry.Key = old.Key
		}
	}
	if entry.Key == "" {
		return "", nil // another user's server, whose key is not ours to know
	}
	saved.put(entry, true)
	return saved.path, saved.save()
}

// ownerOf opens the books of a data directory whose server does not run.
func ownerOf(ctx context.Context, tenants *tenant.Service) (tenant.Principal, error) {
	t, err := tenants.Default(ctx)
	return tenant.Principal{Tenant: t, Role: tenant.RoleOwner}, err
}

// byteSize is a number of bytes that people write with a unit.
type byteSize int64

// UnmarshalText reads 512, 64KiB, 4GiB.
func (b *byteSize) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	unit := int64(1)
	for _, u := range []struct {
		name string
		n    int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}} {
		if rest, ok := strings.CutSuffix(s, u.name); ok {
			s, unit = strings.TrimSpace(rest), u.n
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return usage("%q is not a size", string(text)).with("write a whole number of bytes, or one with KiB, MiB or GiB, such as 4GiB")
	}
	*b = byteSize(n * unit)
	return nil
}
