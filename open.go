package tandem

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"tandem/fault"
	"tandem/graph"
	"tandem/graph/onnx"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/graph/precision"
	"tandem/kernel"
	"tandem/model"
	"tandem/model/packed"
	"tandem/tensor"
)

// Options are what Open may be told. The zero value will do.
type Options struct {
	// Threads compute; 0 is as many as there are processors.
	Threads int
	// Ops are the operators that a graph may have; nil is op.Default(). A program adds
	// its own by graph.NewTable(append(op.Lists(), own)...).
	Ops *graph.Table
	// MemoryLimitBytes bounds the working memory of one run; 0 is no limit.
	MemoryLimitBytes int
	// Precision rounds the model as it is opened; "": it stays as it is. Compare and Keep of
	// package precision say what that costs.
	Precision precision.Form
	// PackedDir is a folder in which weights are kept as the kernels read them, so that
	// the next start of the same model is short; "": nowhere.
	PackedDir string
	// Profile, if there is one, measures every run.
	Profile *graph.Profile
}

const maxThreads = 1 << 10

// Open opens an ONNX file, or the directory of an artifact or of a training run that
// has made one.
//
// Weights are mapped, not copied, but for those that a pass rewrites: the file must not
// change until the model is closed. An artifact is verified first.
func Open(path string, opt Options) (*Model, error) {
	if opt.Threads == 0 {
		opt.Threads = min(runtime.GOMAXPROCS(0), maxThreads)
	}
	if opt.Threads < 1 || opt.Threads > maxThreads {
		return nil, fault.New("tandem.open", fault.Invalid, "%d threads cannot be used", opt.Threads)
	}
	if opt.Ops == nil {
		opt.Ops = op.Default()
	}
	m := &Model{}
	pool := kernel.NewPool(opt.Threads, kernel.Detect())
	m.atClose(func() error { pool.Close(); return nil })
	open := m.openArtifact
	if strings.EqualFold(filepath.Ext(path), ".onnx") {
		open = m.openONNX
	}
	if err := open(path, pool, opt); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func (m *Model) openONNX(path string, pool *kernel.Pool, opt Options) error {
	g, mapping, err := onnx.Load(path, onnx.LoadOptions{})
	if err != nil {
		return err
	}
	m.atClose(mapping.Close)
	store := packed.Open(opt.PackedDir, path+"\n"+string(opt.Precision), packed.OfFiles(mapping.Paths()...), pool.Tier())
	m.atClose(store.Close)
	program, err := graph.Compile(g, graph.Options{
		Ops: opt.Ops, Pool: pool, Passes: passes(pool, forgetting(store.Packing(nil), mapping), opt.Precision), MemoryLimitBytes: opt.MemoryLimitBytes, Profile: opt.Profile,
	})
	if err != nil {
		return fault.Wrap(err, "tandem.open", fault.KindOf(err), "%s", path).Try(fault.RemedyOf(err))
	}
	mapping.Forget()
	store.Keep()
	session, err := program.NewSession()
	if err != nil {
		return err
	}
	m.atClose(func() error { session.Close(); return nil })
	m.inputs, m.outputs = portsOf(program.Graph().Inputs), portsOf(program.Graph().Outputs)
	m.metadata = maps.Clone(g.Meta)
	m.weightBytes = int64(program.ConstantBytes())
	m.run = func(ctx context.Context, in, out []*tensor.Tensor) error {
		_, err := session.Run(ctx, in, out)
		return err
	}
	return nil
}

// forgetBytes is how much is packed between two times that the files are forgotten.
const forgetBytes = 8 << 20

// forgetting packs, and keeps weights from lying in memory twice: as the files have them,
// and packed.
func forgetting(packing pass.Packing, files *onnx.Files) pass.Packing {
	packed := 0
	return func(name string, size int, fill func([]byte)) ([]byte, error) {
		data, err := packing(name, size, fill)
		if packed += size; packed >= forgetBytes {
			files.Forget()
			packed = 0
		}
		return data, err
	}
}

// passes are those for serving, after what rounds the graph.
func passes(pool *kernel.Pool, packing pass.Packing, form precision.Form) []graph.Pass {
	list := pass.Serving(pool, packing)
	if form != "" {
		list = append([]graph.Pass{pass.Fold(pool), pass.FoldBatchNorm(), precision.Pass(form, precision.Options{Pool: pool, Packing: packing})}, list...)
	}
	return list
}

func portsOf(values []*graph.Value) []Port {
	list := make([]Port, len(values))
	for i, v := range values {
		list[i] = Port{v.Name, v.Described().DType, slices.Clone(v.Described().Shape)}
	}
	return list
}

func (m *Model) openArtifact(dir string, pool *kernel.Pool, opt Options) error {
	if inner := filepath.Join(dir, "model"); exists(filepath.Join(inner, model.ManifestFile)) {
		dir = inner // of a run
	}
	manifest, src, err := model.ReadDir(dir)
	if err != nil {
		return fault.Wrap(err, "tandem.open", fault.KindOf(err), "").Try("give an .onnx file, or the directory of a model or of a run")
	}
	a, err := model.Open(context.Background(), manifest, src, model.Options{
		Ops: opt.Ops, Pool: pool, PackedDir: opt.PackedDir, MemoryLimitBytes: int64(opt.MemoryLimitBytes), Profile: opt.Profile,
		Passes: func(p pass.Packing) []graph.Pass { return passes(pool, p, opt.Precision) },
	})
	if err != nil {
		return err
	}
	m.atClose(a.Close)
	m.inputs, m.outputs = portsOfSpecs(manifest.Signature.Inputs), portsOfSpecs(manifest.Signature.Outputs)
	m.weightBytes = a.MemoryBytes()
	m.run = func(ctx context.Context, in, out []*tensor.Tensor) error {
		got, err := a.Run(ctx, in)
		if err != nil {
			return err
		}
		for i, t := range got {
			if out[i] == nil {
				out[i] = t
			} else if err := out[i].CopyFrom(t); err != nil {
				return fault.Wrap(err, "tandem.run", fault.Invalid, "output %q", manifest.Signature.Outputs[i].Name)
			}
		}
		return nil
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// portsOfSpecs writes a dimension of any size as "?", as nothing says which are equal.
func portsOfSpecs(specs []model.TensorSpec) []Port {
	list := make([]Port, len(specs))
	for i, s := range specs {
		shape := make(graph.Shape, len(s.Shape))
		for j, d := range s.Shape {
			if shape[j] = graph.Const(d); d < 0 {
				shape[j] = graph.Sym("?")
			}
		}
		list[i] = Port{s.Name, s.Type(), shape}
	}
	return list
}
