package tandem_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tandem"
	"tandem/fault"
	"tandem/graph"
	"tandem/graph/onnx"
	"tandem/graph/op"
	"tandem/model"
	"tandem/tensor"
)

func xor(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "xor.onnx")
	if err := writeXOR(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, path string, opt tandem.Options) *tandem.Model {
	t.Helper()
	m, err := tandem.Open(path, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// TestWhoOwnsWhat: outputs do not change with later runs, nor with the inputs, and
// outlive the model.
func TestWhoOwnsWhat(t *testing.T) {
	m, err := tandem.Open(xor(t), tandem.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	x := tensor.Of([]float32{1, 0}, 1, 2)
	first, err := m.Run(context.Background(), map[string]*tensor.Tensor{"x": x})
	if err != nil {
		t.Fatal(err)
	}
	x.F32()[1] = 1
	second, err := m.Run(context.Background(), map[string]*tensor.Tensor{"x": x})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(x.F32(), []float32{1, 1}) {
		t.Errorf("the input is %v now", x.F32())
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if a, b := first["y"].F32()[0], second["y"].F32()[0]; a != 1 || b != 0 {
		t.Errorf("outputs are %v and %v, want 1 and 0", a, b)
	}
	if _, err := m.Run(context.Background(), map[string]*tensor.Tensor{"x": x}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a run after Close: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}

// TestRunIntoDoesNotAllocate, but for the first run of some shapes.
func TestRunIntoDoesNotAllocate(t *testing.T) {
	m := open(t, xor(t), tandem.Options{Threads: 1})
	in := []*tensor.Tensor{tensor.New(tensor.Float32, 3, 2)}
	out := []*tensor.Tensor{tensor.New(tensor.Float32, 3, 1)}
	y := out[0]
	if n := testing.AllocsPerRun(100, func() {
		if err := m.RunInto(context.Background(), in, out); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a run", n)
	}
	if out[0] != y {
		t.Error("the output went to another tensor")
	}
}

// TestManyAtOnce: runs of different sizes at once give what they give alone.
func TestManyAtOnce(t *testing.T) {
	m := open(t, xor(t), tandem.Options{Threads: 2})
	var all sync.WaitGroup
	for size := 1; size <= 8; size++ {
		all.Go(func() {
			x := tensor.New(tensor.Float32, size, 2)
			want := make([]float32, size)
			for i := range want {
				x.F32()[2*i], x.F32()[2*i+1] = float32(i&1), float32(i>>1&1)
				want[i] = float32((i & 1) ^ (i >> 1 & 1))
			}
			for range 200 {
				out, err := m.Run(context.Background(), map[string]*tensor.Tensor{"x": x})
				if err != nil {
					t.Error(err)
					return
				}
				if !slices.Equal(out["y"].F32(), want) {
					t.Errorf("batch %d: %v, want %v", size, out["y"].F32(), want)
					return
				}
			}
		})
	}
	all.Wait()
}

// TestOpenAnArtifact: a directory is opened like a file, and gives the same.
func TestOpenAnArtifact(t *testing.T) {
	path := xor(t)
	g, file, err := onnx.Load(path, onnx.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := graph.InferTypes(g, op.Default()); err != nil {
		t.Fatal(err)
	}
	run := t.TempDir()
	if _, err := model.Write(filepath.Join(run, "model"), model.Artifact{Graph: g, Batch: true}); err != nil {
		t.Fatal(err)
	}
	x := tensor.Of([]float32{1, 0, 1, 1}, 2, 2)
	for _, dir := range []string{run, filepath.Join(run, "model")} {
		m := open(t, dir, tandem.Options{})
		out, err := m.Run(context.Background(), map[string]*tensor.Tensor{"x": x})
		if err != nil || !slices.Equal(out["y"].F32(), []float32{1, 0}) {
			t.Errorf("%v (%v)", out, err)
		}
		given := []*tensor.Tensor{tensor.New(tensor.Float32, 2, 1)}
		if err := m.RunInto(context.Background(), []*tensor.Tensor{x}, given); err != nil || given[0].F32()[0] != 1 {
			t.Errorf("%v (%v)", given, err)
		}
	}
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	for path, want := range map[string]string{
		"none.onnx":                        "none.onnx",
		t.TempDir():                        "not an artifact",
		filepath.Join(t.TempDir(), "none"): "not an artifact",
	} {
		if _, err := tandem.Open(path, tandem.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := tandem.Open(xor(t), tandem.Options{Threads: -1}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("-1 threads: %v", err)
	}
	m := open(t, xor(t), tandem.Options{Threads: 1, MemoryLimitBytes: 1 << 20})
	x := tensor.New(tensor.Float32, 1, 2)
	for want, in := range map[string]map[string]*tensor.Tensor{
		`input "x" is missing`:      {},
		`no input "z"`:              {"x": x, "z": x},
		`input "x" has shape 1x3`:   {"x": tensor.New(tensor.Float32, 1, 3)},
		`input "x" is int64`:        {"x": tensor.New(tensor.Int64, 1, 2)},
		"the limit is 1 MiB":        {"x": tensor.New(tensor.Float32, 1<<20, 2)},
		`input "x" is float32[2]`:   {"x": tensor.New(tensor.Float32, 2)},
		`input "x" is float32[sca`:  {"x": tensor.New(tensor.Float32)},
		`input "x" is float32[1x1x`: {"x": tensor.New(tensor.Float32, 1, 1, 2)},
	} {
		if _, err := m.Run(context.Background(), in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := m.RunInto(context.Background(), []*tensor.Tensor{x}, []*tensor.Tensor{tensor.New(tensor.Float32, 2, 1)}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a buffer of another shape: %v", err)
	}
	if err := m.RunInto(context.Background(), nil, nil); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no inputs: %v", err)
	}
}

// TestCancel: a loop that would go on for hours ends soon after its context.
func TestCancel(t *testing.T) {
	b := graph.NewBuilder("loop", op.Default())
	x := b.Input("x", tensor.Float32, graph.Const(8))
	body := graph.NewBuilder("body", op.Default())
	body.Input("i", tensor.Int64)
	on := body.Input("on", tensor.Bool)
	v := body.Input("v", tensor.Float32, graph.Const(8))
	body.Output(body.Op("Identity", nil, on))
	body.Output(body.Op("Neg", nil, v))
	y := b.Op("Loop", graph.Attrs{"body": body.G}, b.Const("n", tensor.Scalar(int64(1)<<50)), nil, x)
	y.Declared = x.Type
	b.Output(y)
	if b.Err() != nil || body.Err() != nil {
		t.Fatal(b.Err(), body.Err())
	}
	path := filepath.Join(t.TempDir(), "loop.onnx")
	if err := onnx.Save(path, b.G, onnx.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	m := open(t, path, tandem.Options{Threads: 1})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := m.Run(ctx, map[string]*tensor.Tensor{"x": tensor.New(tensor.Float32, 8)})
	if fault.KindOf(err) != fault.Deadline {
		t.Errorf("%v, want kind deadline", err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestCancelWithinANode: one product that would go on for half a minute ends soon.
func TestCancelWithinANode(t *testing.T) {
	const n = 3000
	b := graph.NewBuilder("product", op.Default())
	x := b.Input("x", tensor.Float64, graph.Const(n), graph.Const(n))
	b.Output(b.Op("MatMul", nil, x, x))
	path := filepath.Join(t.TempDir(), "product.onnx")
	if err := onnx.Save(path, b.G, onnx.SaveOptions{}); err != nil || b.Err() != nil {
		t.Fatal(err, b.Err())
	}
	for _, threads := range []int{1, 2} {
		m := open(t, path, tandem.Options{Threads: threads})
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		begin := time.Now()
		_, err := m.Run(ctx, map[string]*tensor.Tensor{"x": tensor.New(tensor.Float64, n, n)})
		if fault.KindOf(err) != fault.Deadline {
			t.Errorf("%v, want kind deadline", err)
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("%d threads: it took %v", threads, took)
		}
	}
}
