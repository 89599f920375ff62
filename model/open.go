package model

import (
	"context"
	"math"
	"slices"
	"sync"

	"tandem/fault"
	"tandem/graph"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// Options are what Open needs besides the artifact.
type Options struct {
	Ops  *graph.Table
	Pool *kernel.Pool
	// Passes rewrite the graphs, with packed weights from where Open keeps them; nil: none.
	Passes func(pass.Packing) []graph.Pass
	// PackedDir is a folder in which packed weights are kept from one start to the
	// next; "": nowhere.
	PackedDir string
	// MemoryLimitBytes bounds the working memory of each graph; 0 is no limit.
	MemoryLimitBytes int64
	// Profile, if there is one, measures every run of a graph.
	Profile *graph.Profile
	// Stages are the kinds of stages that may occur; nil means Stages().
	Stages []StageKind
}

// Model is an open artifact. It is safe for concurrent use.
type Model struct {
	manifest *Manifest
	stages   []*Stage
	files    files

	mu     sync.RWMutex // read-locked during a run
	closed bool
}

// Open verifies every file of the artifact and makes its stages. No byte is used
// before its digest has been compared: an error of kind Corrupt names the file.
// Weights are mapped, not copied. The model keeps m, which must not change.
func Open(ctx context.Context, m *Manifest, src Source, opt Options) (*Model, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	if opt.Stages == nil {
		opt.Stages = Stages()
	}
	opt.MemoryLimitBytes = min(opt.MemoryLimitBytes, math.MaxInt)
	all, err := openFiles(ctx, m, src)
	if err != nil {
		return nil, err
	}
	model := &Model{manifest: m, files: all}
	if err := model.open(ctx, opt); err != nil {
		_ = model.Close() // the error that matters is the first
		return nil, err
	}
	return model, nil
}

func (m *Model) open(ctx context.Context, opt Options) error {
	const op = "model.open"
	digest := m.manifest.Digest()
	for i, spec := range m.manifest.Stages {
		if err := ctx.Err(); err != nil {
			return fault.From(err, op)
		}
		k := slices.IndexFunc(opt.Stages, func(k StageKind) bool { return k.Kind == spec.Kind })
		if k < 0 {
			return fault.New(op, fault.Unsupported, "stage %d has the kind %q, which this version of Tandem does not know", i, spec.Kind).
				Try("use a newer version of Tandem")
		}
		data, err := m.files.get(spec.File)
		if err != nil {
			return err
		}
		s, err := opt.Stages[k].Open(StageFiles{Spec: spec, Data: data, Other: m.files.get, Artifact: digest, Options: opt})
		if err != nil {
			return fault.Wrap(err, op, fault.KindOf(err), "stage %d (%s)", i, spec.Kind).Try(fault.RemedyOf(err))
		}
		m.stages = append(m.stages, s)
	}
	return checkStages(m.stages, m.manifest.Stages, m.manifest.Signature)
}

// Manifest describes the model: not to be changed.
func (m *Model) Manifest() *Manifest { return m.manifest }

// Signature is what Run takes and gives.
func (m *Model) Signature() Signature { return m.manifest.Signature }

// MemoryBytes is what the model holds between runs: constants, mapped or packed,
// without the working memory of runs.
func (m *Model) MemoryBytes() int64 {
	var n int64
	for _, s := range m.stages {
		n += s.MemoryBytes
	}
	return n
}

// Run computes the outputs, in the order of the signature, for inputs in its order.
// Inputs are read only; the outputs belong to the caller. After Close it fails with
// kind Unavailable.
func (m *Model) Run(ctx context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, fault.New("model.run", fault.Unavailable, "the model is closed").Try("open or deploy it again")
	}
	if err := m.manifest.Signature.check(in); err != nil {
		return nil, err
	}
	for i, s := range m.stages {
		if err := ctx.Err(); err != nil {
			return nil, fault.From(err, "model.run")
		}
		out, err := s.Run(ctx, in)
		if err != nil {
			return nil, fault.Wrap(err, "model.run", fault.KindOf(err), "stage %s", m.manifest.Stages[i].Kind).Try(fault.RemedyOf(err))
		}
		in = out
	}
	return in, nil
}

// check compares inputs with the signature.
func (s Signature) check(in []*tensor.Tensor) error {
	const op = "model.run"
	if len(in) != len(s.Inputs) {
		return fault.New(op, fault.Invalid, "%d inputs given, the model takes %d", len(in), len(s.Inputs))
	}
	for i, spec := range s.Inputs {
		t := in[i]
		if t == nil {
			return fault.New(op, fault.Invalid, "input %q is missing", spec.Name)
		}
		fits := slices.EqualFunc(spec.Shape, []int(t.Shape()), func(want, n int) bool { return want == n || want == -1 })
		if t.DType() != spec.Type() || !fits {
			return fault.New(op, fault.Invalid, "input %q is %v, the model takes %s%v", spec.Name, t, spec.DType, spec.Shape).
				Try("send that type and shape; -1 stands for any number")
		}
	}
	return nil
}

// Close waits for the runs under way, then frees the stages and unmaps the files.
// Only the first call does something.
func (m *Model) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	for _, s := range m.stages {
		if s.Close != nil {
			s.Close()
		}
	}
	return m.files.close()
}
