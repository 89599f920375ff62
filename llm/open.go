package llm

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"tandem/fault"
	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/model"
	"tandem/model/gguf"
)

// Options are what Open may be told. Zero fields take the defaults.
type Options struct {
	Pool    *kernel.Pool // shared with others; nil: one of its own, with all processors
	Limits  Limits
	Context int // tokens of prompt and answer together; default: the model's own, at most 4096
	// MemoryLimitBytes bounds what the model and its cache may take; 0: no limit.
	MemoryLimitBytes int64

	pageTokens int // positions in a page of the cache; for tests
}

const (
	defaultContext    = 4096
	defaultPageTokens = 128
)

// Model is an open model. It is safe for concurrent use.
type Model struct {
	config    *Config
	context   int
	tokenizer Tokenizer
	ends      []int // tokens that end an answer
	room      *samplerRoom
	engine    *engine
	memory    int64
	closers   []func() error // in the order of opening
}

// Open opens a GGUF file, or a folder in Hugging Face's form: config.json,
// safetensors, tokenizer.json. Errors: Unsupported for another architecture, NoSpace
// for a model that is larger than the memory allowed, Invalid for damaged files.
func Open(path string, o Options) (*Model, error) {
	m := &Model{}
	if err := m.open(path, o); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func (m *Model) open(path string, o Options) error {
	info, err := os.Stat(path)
	if err != nil {
		return fault.Wrap(err, "llm.open", fault.KindOf(err), "%s", path)
	}
	var w *weights
	if info.IsDir() {
		w, err = m.readFolder(path, o)
	} else {
		w, err = m.readFile(path, o)
	}
	if err != nil {
		return err
	}
	return m.start(w, o)
}

// readFile reads a GGUF file.
func (m *Model) readFile(path string, o Options) (*weights, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	m.closers = append(m.closers, f.Close)
	if m.config, err = parseGGUF(f, o.Context); err != nil {
		return nil, err
	}
	w := newWeights()
	return w, w.addGGUF(f)
}

// readFolder reads a Hugging Face folder.
func (m *Model) readFolder(dir string, o Options) (*weights, error) {
	text, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		return nil, fault.Wrap(err, "llm.open", fault.KindOf(err), "%s is not a model's folder", dir)
	}
	if m.config, err = parseHF(text, o.Context); err != nil {
		return nil, err
	}
	shards, err := shardsOf(dir)
	if err != nil {
		return nil, err
	}
	w := newWeights()
	for _, name := range shards {
		s, err := model.ReadSafetensors(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		m.closers = append(m.closers, s.Close)
		for _, t := range s.Tensors {
			if err := w.addHF(m.config.arch, t.Name, t.Tensor); err != nil {
				return nil, err
			}
		}
	}
	return w, nil
}

// shardsOf lists the folder's files of weights, sorted.
func shardsOf(dir string) ([]string, error) {
	const op, index = "llm.open", "model.safetensors.index.json"
	text, err := os.ReadFile(filepath.Join(dir, index))
	if errors.Is(err, os.ErrNotExist) {
		return []string{"model.safetensors"}, nil
	}
	if err != nil {
		return nil, fault.From(err, op)
	}
	var list struct {
		Files map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fault.Wrap(err, op, fault.Invalid, "%s cannot be read", index)
	}
	names := slices.Sorted(maps.Values(list.Files))
	for _, n := range names {
		if !filepath.IsLocal(n) || filepath.Base(n) != n {
			return nil, fault.New(op, fault.Invalid, "%s names the file %.200q, which is not a plain name", index, n)
		}
	}
	return slices.Compact(names), nil
}

// start compiles the graph and begins to take requests.
func (m *Model) start(w *weights, o Options) error {
	const opName = "llm.open"
	if m.context = o.Context; m.context == 0 {
		m.context = min(m.config.Context, defaultContext)
	}
	if m.context > m.config.Context {
		return fault.New(opName, fault.Invalid, "a context of %d tokens is asked for, the model was made for %d", m.context, m.config.Context).
			Try("ask for a smaller context")
	}
	o.pageTokens = cmp.Or(o.pageTokens, defaultPageTokens)
	o.Limits = o.Limits.withDefaults(m.context, o.pageTokens)
	pool := o.Pool
	if pool == nil {
		pool = kernel.NewPool(runtime.GOMAXPROCS(0), kernel.Detect())
		m.closers = append(m.closers, func() error { pool.Close(); return nil })
	}
	ops := op.Default()
	g, err := buildDecoder(m.config, w, ops, 1, m.context)
	if err != nil {
		return err
	}
	p, err := graph.Compile(g, graph.Options{Ops: ops, Pool: pool, Passes: pass.Inference(pool)})
	if err != nil {
		return err
	}
	m.memory = int64(p.ConstantBytes())
	m.room = &samplerRoom{pool: pool}
	runner := &standardRunner{program: p, sessions: map[int]*graph.Session{}}
	m.engine = newEngine(runner, newScheduler(o.Limits, o.pageTokens, o.Limits.CacheTokens/o.pageTokens))
	return nil
}

func (l Limits) withDefaults(context, pageTokens int) Limits {
	for _, f := range []struct {
		v     *int
		value int
	}{{&l.MaxSequences, 16}, {&l.MaxStepTokens, 512}, {&l.MaxQueued, 1024}, {&l.CacheTokens, max(context, 4096)}} {
		if *f.v == 0 {
			*f.v = f.value
		}
	}
	// At least one sequence fits.
	pages := (max(l.CacheTokens, context) + pageTokens - 1) / pageTokens
	l.CacheTokens = pages * pageTokens
	return l
}

// Stats are the engine's counts so far.
func (m *Model) Stats() Stats { return m.engine.counts() }

// Config describes the model: not to be changed.
func (m *Model) Config() *Config { return m.config }

// Context is how many tokens prompt and answer may have together.
func (m *Model) Context() int { return m.context }

// MemoryBytes is what the model holds between requests.
func (m *Model) MemoryBytes() int64 { return m.memory }

// Close ends the answers under way and frees the model.
func (m *Model) Close() error {
	if m.engine != nil {
		m.engine.close()
	}
	var errs []error
	for _, c := range slices.Backward(m.closers) {
		errs = append(errs, c())
	}
	m.closers = nil
	return errors.Join(errs...)
}
