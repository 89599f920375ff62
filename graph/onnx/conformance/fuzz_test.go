package conformance

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"tandem/graph"
	"tandem/graph/onnx"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// FuzzRun goes on where onnx.FuzzRead stops: what can be read is compiled with the passes
// for serving, and run on made-up inputs within small limits of memory and time.
func FuzzRun(f *testing.F) {
	if dir := os.Getenv("ONNX_CASES"); dir != "" {
		cases, err := find(dir, nil)
		if err != nil {
			f.Fatal(err)
		}
		for _, c := range cases {
			data, err := os.ReadFile(filepath.Join(c.dir, "model.onnx"))
			if err == nil && len(data) < 4<<10 {
				f.Add(data)
			}
		}
	}
	files, err := filepath.Glob(filepath.Join("..", "testdata", "*.onnx"))
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	p := kernel.NewPool(1, kernel.Detect())
	f.Cleanup(p.Close)
	ops := op.Default()
	f.Fuzz(func(t *testing.T, data []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		tryToRun(data, ops, p)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 1<<30 {
			t.Fatalf("a file of %d bytes took %d MiB", len(data), used>>20)
		}
	})
}

// runLimitBytes bounds the working memory of fuzzed models.
const runLimitBytes = 1 << 20

func tryToRun(data []byte, ops *graph.Table, p *kernel.Pool) {
	g, err := onnx.Read(data, onnx.LoadOptions{})
	if err != nil {
		return
	}
	prog, err := graph.Compile(g, graph.Options{Ops: ops, Pool: p, Passes: pass.Inference(p), MemoryLimitBytes: runLimitBytes})
	if err != nil {
		return
	}
	s, err := prog.NewSession()
	if err != nil {
		return
	}
	defer s.Close()
	var in []*tensor.Tensor
	for _, v := range g.Inputs {
		x := made(v)
		if x == nil {
			return
		}
		in = append(in, x)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	for range 2 { // the second one in a frame that is there
		if _, err := s.Run(ctx, in, nil); err != nil {
			return
		}
	}
}

// made makes an input of the declared type, with open dimensions of 2; nil if it would
// be large.
func made(v *graph.Value) *tensor.Tensor {
	t := v.Type
	if !t.Known() {
		return tensor.New(tensor.Float32, 2, 2)
	}
	switch t.DType {
	case tensor.Sequence, tensor.Optional:
		return tensor.OfTensors(t.DType, nil)
	case tensor.Map:
		return tensor.OfTensors(tensor.Map, []*tensor.Tensor{tensor.New(tensor.Int64, 1), tensor.New(tensor.Float32, 1)})
	}
	shape := make(tensor.Shape, len(t.Shape))
	for i, d := range t.Shape {
		n, ok := d.Value()
		if !ok {
			n = 2
		}
		shape[i] = n
	}
	if n, err := shape.CheckedLen(1 << 16); err != nil || n > 1<<16 {
		return nil
	}
	x := tensor.New(t.DType, shape...)
	for i := range x.Bytes() {
		x.Bytes()[i] = byte(i % 2)
	}
	return x
}
