package llm

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"tandem/fault"
	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/model"
	"tandem/model/gguf"
	"tandem/model/packed"
	"tandem/processor/tokenizer"
)

// Options are what Open may be told. Zero fields take the defaults.
type Options struct {
	Pool    *kernel.Pool // shared with others; nil: one of its own, with all processors
	Limits  Limits
	Context int // tokens of prompt and answer together; default: the model's own, at most MaxContext
	// MaxContext bounds the context where Context leaves it to the model; default 4096.
	MaxContext int
	// MemoryLimitBytes bounds what the model and its cache may take; 0: no limit.
	MemoryLimitBytes int64
	// PackedDir is a folder in which packed weights are kept from one start to the
	// next; "": nowhere.
	PackedDir string
	// Progress, if it is not nil, is told how many bytes of the weights are ready, of
	// how many; the last call need not have all.
	Progress func(done, all int64)
	// Profile, if it is not nil, measures every step; the program is slower with it.
	Profile *graph.Profile
}

const defaultContext = 4096

// Model is an open model. It is safe for concurrent use.
type Model struct {
	config    *Config
	sources   []string // paths of the files with the weights, and of what says how they are used
	context   int
	tokenizer *tokenizer.Tokenizer
	template  template
	ends      []int // tokens that end an answer
	sampling  recommended
	engine    *engine
	packed    *packed.Store
	memory    int64
	closers   []func() error // in the order of opening
	forgets   []func()       // give back memory that only opening needs
}

// Open opens a GGUF file, or a folder in Hugging Face's form: config.json,
// safetensors, tokenizer.json. Errors: Unsupported for another architecture, NoSpace
// for a model that is larger than the memory allowed, Invalid for damaged files.
func Open(path string, o Options) (*Model, error) {
	return open(func(m *Model) (*weights, error) { return m.read(path, o) }, o)
}

// read reads a GGUF file or a Hugging Face folder.
func (m *Model) read(path string, o Options) (*weights, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fault.From(err, "llm.open")
	}
	if info.IsDir() {
		return m.readFolder(folder(path), o)
	}
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	return m.readFile(f, o)
}

func open(read func(*Model) (*weights, error), o Options) (*Model, error) {
	m := &Model{}
	w, err := read(m)
	if err == nil {
		err = m.start(w, o)
	}
	if err != nil {
		if closing := m.Close(); closing != nil {
			return nil, errors.Join(err, closing)
		}
		return nil, err // alone it can be told without the names of operations
	}
	for _, forget := range m.forgets {
		forget()
	}
	m.forgets = nil
	debug.FreeOSMemory()
	return m, nil
}

// readFile reads an open GGUF file, which it takes over.
func (m *Model) readFile(f *gguf.File, o Options) (_ *weights, err error) {
	m.sources, m.closers, m.forgets = f.Paths, append(m.closers, f.Close), append(m.forgets, f.Forget)
	if m.config, err = parseGGUF(f, cmp.Or(o.Context, o.MaxContext)); err != nil {
		return nil, err
	}
	need := int64(0)
	for _, t := range f.Tensors {
		need += int64(len(t.Data))
	}
	if err := m.fits(need, o); err != nil {
		return nil, err
	}
	if err := m.ggufText(f); err != nil {
		return nil, err
	}
	w := newWeights()
	return w, w.addGGUF(f)
}

// readFolder reads a Hugging Face folder.
func (m *Model) readFolder(find finder, o Options) (*weights, error) {
	text, err := read(find, configFile)
	if err != nil {
		return nil, err
	}
	if m.config, err = parseHF(text, cmp.Or(o.Context, o.MaxContext)); err != nil {
		return nil, err
	}
	if err := m.folderText(find); err != nil {
		return nil, err
	}
	shards, err := shardsOf(find)
	if err != nil {
		return nil, err
	}
	config, err := find(configFile)
	if err != nil {
		return nil, err
	}
	need := int64(0)
	m.sources = []string{config}
	for _, name := range shards {
		path, err := find(name)
		if err != nil {
			return nil, err
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, missing(err, path, name)
		}
		need += info.Size()
		m.sources = append(m.sources, path)
	}
	if err := m.fits(need, o); err != nil {
		return nil, err
	}
	w := newWeights()
	for _, path := range m.sources[1:] {
		s, err := model.ReadSafetensors(path)
		if err != nil {
			return nil, err
		}
		m.closers, m.forgets = append(m.closers, s.Close), append(m.forgets, s.Forget)
		for _, t := range s.Tensors {
			if err := w.addHF(m.config.arch, t.Name, t.Tensor); err != nil {
				return nil, err
			}
		}
	}
	return w, nil
}

// shardIndex lists the files of weights where there are several.
const shardIndex = "model.safetensors.index.json"

// shardsOf lists the files of weights, sorted.
func shardsOf(find finder) ([]string, error) {
	text, err := read(find, shardIndex)
	if fault.KindOf(err) == fault.NotFound {
		return []string{"model.safetensors"}, nil
	}
	if err != nil {
		return nil, err
	}
	const op = "llm.open"
	var list struct {
		Files map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fault.Wrap(fault.JSON("", text, err), op, fault.Invalid, "%s cannot be read", shardIndex)
	}
	names := slices.Sorted(maps.Values(list.Files))
	for _, n := range names {
		if !filepath.IsLocal(n) || filepath.Base(n) != n {
			return nil, fault.New(op, fault.Invalid, "%s names the file %.200q, which is not a plain name", shardIndex, n)
		}
	}
	return slices.Compact(names), nil
}

// start compiles the graph and begins to take requests.
func (m *Model) start(w *weights, o Options) error {
	if err := m.fits(w.bytes(), o); err != nil {
		return err
	}
	limits := o.Limits.withDefaults(m.context)
	pages := limits.CacheTokens / kernel.PageTokens
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
	region, err := w.packingRegion()
	if err != nil {
		return err
	}
	m.packed = packed.Open(o.PackedDir, strings.Join(m.sources, "\n"), packed.OfFiles(m.sources...), pool.Tier())
	m.closers = append(m.closers, region.Close, m.packed.Close)
	p, err := graph.Compile(g, graph.Options{Ops: ops, Pool: pool, Profile: o.Profile, Passes: pass.Decoder(pool, pages, reported(m.packed.Packing(region), w.bytes(), o.Progress))})
	if err != nil {
		return err
	}
	m.packed.Keep()
	r, err := newPagedRunner(p, m.config.Vocab)
	if err != nil {
		return err
	}
	m.memory = int64(p.ConstantBytes()) + int64(limits.CacheTokens)*m.config.CacheBytes()
	m.engine = newEngine(r, newScheduler(limits, kernel.PageTokens, pages), pool)
	return nil
}

// reported tells progress of what packing has done.
func reported(packing pass.Packing, all int64, progress func(done, all int64)) pass.Packing {
	if progress == nil {
		return packing
	}
	done := int64(0)
	return func(name string, size int, fill func([]byte)) ([]byte, error) {
		data, err := packing(name, size, fill)
		done = min(done+int64(size), all)
		progress(done, all)
		return data, err
	}
}

// fits sets the context, and refuses a model whose weights take more than the memory
// allowed, before any of them is read.
func (m *Model) fits(weightBytes int64, o Options) error {
	const op = "llm.open"
	if m.context = o.Context; m.context == 0 {
		m.context = min(m.config.Context, cmp.Or(o.MaxContext, defaultContext))
	}
	if m.context < 2 {
		return fault.New(op, fault.Invalid, "a context of %d tokens has no room for a prompt and an answer: expected 2 to %d", m.context, m.config.Context)
	}
	if m.context > m.config.Context {
		return fault.New(op, fault.Invalid, "a context of %d tokens is asked for, the model was made for %d", m.context, m.config.Context).
			Try("ask for a smaller context")
	}
	tokens, limit := int64(o.Limits.withDefaults(m.context).CacheTokens), o.MemoryLimitBytes
	cache := tokens * m.config.CacheBytes()
	if limit <= 0 || weightBytes+cache <= limit {
		return nil
	}
	return fault.New(op, fault.NoSpace, "the model takes %d MiB of memory and its cache for %d tokens %d MiB: %d MiB are allowed",
		weightBytes>>20, tokens, cache>>20, limit>>20).Try("use a smaller or quantised model, a smaller context, or allow more memory")
}

func (l Limits) withDefaults(context int) Limits {
	l.MaxSequences = cmp.Or(l.MaxSequences, 16)
	l.MaxStepTokens = cmp.Or(l.MaxStepTokens, 512)
	l.MaxQueued = cmp.Or(l.MaxQueued, 1024)
	l.CacheTokens = cmp.Or(l.CacheTokens, min(4, l.MaxSequences)*context)
	// At least one sequence fits.
	pages := (max(l.CacheTokens, context) + kernel.PageTokens - 1) / kernel.PageTokens
	l.CacheTokens = pages * kernel.PageTokens
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

// Close ends the answers under way, waits until packed weights that are being kept have
// been written, half a minute at most, and frees the model.
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
