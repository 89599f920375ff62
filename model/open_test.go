package model

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tandem/fault"
	"tandem/graph"
	"tandem/graph/onnx"
	"tandem/kernel"
	"tandem/processor"
	"tandem/tensor"
)

// testOps has one operator: Add of one row of the batch to every row.
func testOps() *graph.Table {
	return graph.NewTable([]graph.Op{{
		ID: graph.OpID{Name: "Add"}, Since: 7,
		Infer: func(c *graph.Infer) error {
			c.Out(0, c.In(0).DType, c.In(0).Shape)
			return nil
		},
		Kernel: func(c *graph.Call) (func() error, error) {
			return func() error {
				x, row, y := c.F32(0), c.F32(1), c.Out[0].F32()
				for i := range x {
					y[i] = x[i] + row[i%len(row)]
				}
				return nil
			}, nil
		},
	}})
}

func testOptions(t testing.TB) Options {
	pool := kernel.NewPool(1, kernel.Detect())
	t.Cleanup(pool.Close)
	return Options{Ops: testOps(), Pool: pool}
}

// testArtifact takes pictures of 20x20 pixels and adds 0, 1, 2 … to the values.
func testArtifact(t testing.TB) Artifact {
	b := graph.NewBuilder("test", testOps())
	x := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Const(1), graph.Const(20), graph.Const(20))
	row := tensor.New(tensor.Float32, 1, 1, 20, 20)
	for i := range row.F32() {
		row.F32()[i] = float32(i)
	}
	y := b.Op("Add", nil, x, b.Const("row", row))
	y.Name = "y"
	b.Output(y)
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	return Artifact{
		Family: "vision", Task: "classify", Labels: []string{"a", "b"}, Batch: true, Metrics: map[string]float64{"accuracy": 0.5},
		Image: &processor.Image{Height: 20, Width: 20, Channels: 1, Scale: 2}, Graph: b.G,
	}
}

func written(t testing.TB) (dir string, m *Manifest, src Source) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "artifact")
	digest, err := Write(dir, testArtifact(t))
	must(t, err)
	m, src, err = ReadDir(dir)
	must(t, err)
	if m.Digest() != digest {
		t.Errorf("written as %s, read as %s", digest, m.Digest())
	}
	return dir, m, src
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func pictures(n int) []*tensor.Tensor {
	p := tensor.New(tensor.Uint8, n, 20, 20, 1)
	for i := range p.Bytes() {
		p.Bytes()[i] = byte(i / 400)
	}
	return []*tensor.Tensor{p}
}

func TestWriteOpenRun(t *testing.T) {
	dir, m, src := written(t)
	var names []string
	for _, f := range m.Files {
		names = append(names, f.Name)
	}
	if !slices.Equal(names, []string{ImageFile, GraphFile, WeightsFile}) {
		t.Errorf("files %q", names)
	}
	want := Signature{[]TensorSpec{{"image", "uint8", []int{-1, 20, 20, 1}}}, []TensorSpec{{"y", "float32", []int{-1, 1, 20, 20}}}, true}
	if fmt.Sprint(m.Signature) != fmt.Sprint(want) {
		t.Errorf("signature %v, want %v", m.Signature, want)
	}
	model, err := Open(context.Background(), m, src, testOptions(t))
	must(t, err)
	defer model.Close()
	if model.MemoryBytes() != 1600 || model.Manifest() != m {
		t.Errorf("%d bytes", model.MemoryBytes())
	}
	out, err := model.Run(context.Background(), pictures(3))
	must(t, err)
	for i, v := range out[0].F32() {
		if want := float32(2*(i/400) + i%400); v != want {
			t.Fatalf("element %d is %v, want %v", i, v, want)
		}
	}
	again, err := Write(filepath.Join(t.TempDir(), "b"), testArtifact(t))
	if err != nil || again != m.Digest() {
		t.Errorf("the same artifact is %s the second time, %v", again, err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), ".*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestDamagedFilesAreNotUsed(t *testing.T) {
	for _, name := range []string{ImageFile, GraphFile, WeightsFile} {
		for what, damage := range map[string]func([]byte) []byte{
			"one bit":  func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
			"shorter":  func(b []byte) []byte { return b[:len(b)-1] },
			"longer":   func(b []byte) []byte { return append(b, 0) },
			"empty":    func(b []byte) []byte { return nil },
			"no bytes": nil,
		} {
			dir, m, src := written(t)
			path := filepath.Join(dir, name)
			data, err := os.ReadFile(path)
			must(t, err)
			must(t, os.Remove(path))
			kind := fault.NotFound
			if damage != nil {
				kind = fault.Corrupt
				must(t, os.WriteFile(path, damage(data), 0o600))
			}
			opt := testOptions(t)
			opt.Stages = []StageKind{} // nothing may get as far as a stage
			_, err = Open(context.Background(), m, src, opt)
			if fault.KindOf(err) != kind || !strings.Contains(err.Error(), name) || fault.RemedyOf(err) == "" {
				t.Errorf("%s with %s: %v", name, what, err)
			}
			if verr := Verify(context.Background(), m, src); fault.KindOf(verr) != kind {
				t.Errorf("Verify of %s with %s: %v", name, what, verr)
			}
		}
	}
}

func TestReplacedFileIsNotSeen(t *testing.T) {
	dir, m, src := written(t)
	model, err := Open(context.Background(), m, src, testOptions(t))
	must(t, err)
	defer model.Close()
	must(t, os.RemoveAll(dir))
	out, err := model.Run(context.Background(), pictures(1))
	if err != nil || out[0].F32()[399] != 399 {
		t.Errorf("after the files have gone: %v", err)
	}
}

func TestSignatureMustMatchStages(t *testing.T) {
	_, m, src := written(t)
	for _, tc := range []struct {
		name   string
		change func(*Manifest)
		want   string
	}{
		{"input type", func(m *Manifest) { m.Signature.Inputs[0].DType = "int8" }, "inputs of stage 0 (image)"},
		{"input shape", func(m *Manifest) { m.Signature.Inputs[0].Shape[1] = 21 }, "inputs of stage 0 (image)"},
		{"output name", func(m *Manifest) { m.Signature.Outputs[0].Name = "z" }, "outputs of stage 1 (graph)"},
		{"output rank", func(m *Manifest) { m.Signature.Outputs[0].Shape = []int{-1} }, "outputs of stage 1 (graph)"},
		{"order of stages", func(m *Manifest) { slices.Reverse(m.Stages) }, "stage 0 (graph) does not give what stage 1 (image) takes"},
		{"kind", func(m *Manifest) { m.Stages[0].Kind = "sound" }, `kind "sound"`},
		{"wrong file", func(m *Manifest) { m.Stages[0].File = GraphFile }, "stage 0 (image)"},
		{"unlisted weights", func(m *Manifest) { m.Files = m.Files[:2] }, `"weights.bin" is not listed`},
	} {
		c, err := ParseManifest(m.Encode())
		must(t, err)
		tc.change(c)
		if _, err := Open(context.Background(), c, src, testOptions(t)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

func TestRunChecksInputs(t *testing.T) {
	_, m, src := written(t)
	model, err := Open(context.Background(), m, src, testOptions(t))
	must(t, err)
	defer model.Close()
	for _, in := range [][]*tensor.Tensor{
		nil, {nil}, {tensor.New(tensor.Int8, 1, 20, 20, 1)}, {tensor.New(tensor.Uint8, 1, 20, 21, 1)}, {tensor.New(tensor.Uint8, 20, 20)},
	} {
		if _, err := model.Run(context.Background(), in); fault.KindOf(err) != fault.Invalid {
			t.Errorf("inputs %v: %v", in, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := model.Run(ctx, pictures(1)); fault.KindOf(err) != fault.Canceled {
		t.Errorf("canceled: %v", err)
	}
	if _, err := Open(ctx, m, src, testOptions(t)); fault.KindOf(err) != fault.Canceled {
		t.Errorf("Open canceled: %v", err)
	}
}

func TestCloseWaitsForRuns(t *testing.T) {
	_, m, src := written(t)
	model, err := Open(context.Background(), m, src, testOptions(t))
	must(t, err)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				out, err := model.Run(context.Background(), pictures(2))
				if fault.KindOf(err) == fault.Unavailable && err != nil {
					return
				}
				if err != nil || out[0].F32()[399] != 399 {
					t.Errorf("run: %v", err)
					return
				}
			}
		})
	}
	for range 3 {
		if _, err := model.Run(context.Background(), pictures(1)); err != nil {
			t.Error(err)
		}
	}
	must(t, model.Close())
	must(t, model.Close())
	wg.Wait()
}

// TestNoStageRunsDuringOrAfterClose wraps the stages in a kind of its own.
func TestNoStageRunsDuringOrAfterClose(t *testing.T) {
	_, m, src := written(t)
	opt := testOptions(t)
	started, release := make(chan bool), make(chan bool)
	var running, closed, runs atomic.Int32
	for _, k := range Stages() {
		opt.Stages = append(opt.Stages, StageKind{k.Kind, func(f StageFiles) (*Stage, error) {
			s, err := k.Open(f)
			if err != nil {
				return nil, err
			}
			run, free := s.Run, s.Close
			s.Run = func(ctx context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
				if runs.Add(1) == 1 {
					started <- true
					running.Store(1)
					<-release
					running.Store(0)
				}
				if closed.Load() != 0 {
					t.Error("a stage runs after Close")
				}
				return run(ctx, in)
			}
			s.Close = func() {
				closed.Store(1)
				if running.Load() != 0 {
					t.Error("a stage is closed while it runs")
				}
				if free != nil {
					free()
				}
			}
			return s, nil
		}})
	}
	model, err := Open(context.Background(), m, src, opt)
	must(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := model.Run(context.Background(), pictures(1)); err != nil {
			t.Error(err)
		}
	})
	<-started
	wg.Go(func() {
		if err := model.Close(); err != nil {
			t.Error(err)
		}
	})
	time.Sleep(20 * time.Millisecond) // lets a Close that does not wait go wrong
	release <- true
	wg.Wait()
	if _, err := model.Run(context.Background(), pictures(1)); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("after Close: %v", err)
	}
}

func TestWriteRefuses(t *testing.T) {
	dir, _, _ := written(t)
	if _, err := Write(dir, testArtifact(t)); fault.KindOf(err) != fault.Conflict || fault.RemedyOf(err) == "" {
		t.Errorf("over an artifact: %v", err)
	}
	for name, change := range map[string]func(*Artifact){
		"no graph":     func(a *Artifact) { a.Graph = nil },
		"other images": func(a *Artifact) { a.Image.Width = 21 },
		"bad image":    func(a *Artifact) { a.Image.Scale = 0 },
		"bad metric":   func(a *Artifact) { a.Metrics["x"] = 1 / func() float64 { return 0 }() },
		"no batch":     func(a *Artifact) { a.Graph.Outputs[0].Type.Shape = graph.Dims(1, 1, 20, 20) },
	} {
		a, parent := testArtifact(t), t.TempDir()
		change(&a)
		if _, err := Write(filepath.Join(parent, "a"), a); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
		if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
			t.Errorf("%s: left behind %v", name, left)
		}
	}
	if _, _, err := ReadDir(t.TempDir()); fault.KindOf(err) != fault.NotFound {
		t.Errorf("no manifest: %v", err)
	}
}

func TestExport(t *testing.T) {
	_, m, src := written(t)
	path := filepath.Join(t.TempDir(), "out.onnx")
	behind, err := Export(context.Background(), m, src, path)
	must(t, err)
	if !slices.Equal(behind, []StageSpec{{KindImage, ImageFile}}) {
		t.Errorf("behind: %v", behind)
	}
	data, err := os.ReadFile(path)
	must(t, err)
	g, err := onnx.Read(data, onnx.LoadOptions{}) // without any other file
	must(t, err)
	if c := g.Nodes[0].Inputs[1].Const; len(g.Nodes) != 1 || c == nil || len(c.Data) != 1600 || c.Data[6] != 0x80 {
		t.Errorf("exported %v", g.Nodes)
	}
}
