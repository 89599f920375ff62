package tandem_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"tandem"
	"tandem/graph"
	"tandem/graph/onnx"
	"tandem/graph/op"
	"tandem/nn"
	"tandem/tensor"
)

// networks are small forms of those that people bring, with a batch of any size.
// bench/parity.py asks the same of the real ones.
func networks() map[string]func(b *nn.Builder) *graph.Value {
	batch := graph.Sym("batch")
	return map[string]func(b *nn.Builder) *graph.Value{
		"convolutions": func(b *nn.Builder) *graph.Value {
			x := b.Input("x", tensor.Float32, batch, graph.Const(3), graph.Const(13), graph.Const(11))
			return nn.Sequential{
				nn.Conv2D{Filters: 24, Kernel: 3, Same: true, Activation: nn.ReLU}, nn.BatchNorm{},
				nn.Residual{Layers: nn.Sequential{nn.Conv2D{Filters: 24, Kernel: 3, Same: true}, nn.GroupNorm{Groups: 4}}},
				nn.Conv2D{Filters: 40, Kernel: 1, Stride: 2, Activation: nn.SiLU}, nn.GlobalAveragePool{}, nn.Flatten{}, nn.Dense{Units: 10},
			}.Build(b, x)
		},
		"attention": func(b *nn.Builder) *graph.Value {
			x := b.Input("x", tensor.Float32, batch, graph.Const(19), graph.Const(48))
			return nn.Sequential{
				nn.Residual{Layers: nn.Sequential{nn.LayerNorm{}, nn.Attention{Heads: 4}}},
				nn.Residual{Layers: nn.Sequential{nn.LayerNorm{}, nn.Dense{Units: 100, Activation: nn.GELU}, nn.Dense{Units: 48}}},
			}.Build(b, x)
		},
		"recurrent": func(b *nn.Builder) *graph.Value {
			x := b.Input("x", tensor.Float32, batch, graph.Const(17), graph.Const(20))
			return nn.Sequential{nn.Recurrent{Cell: nn.LSTM, Units: 33, Bidirectional: true}, nn.Recurrent{Cell: nn.GRU, Units: 21}, nn.Dense{Units: 7}}.Build(b, x)
		},
	}
}

// TestSameBits: a row gives the same bits alone and in any batch, with one thread
// and with several.
func TestSameBits(t *testing.T) {
	for name, build := range networks() {
		t.Run(name, func(t *testing.T) {
			b := nn.NewBuilder(name, op.Default(), 1)
			b.Output(build(b))
			if err := b.Err(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "net.onnx")
			if err := onnx.Save(path, b.G, onnx.SaveOptions{}); err != nil {
				t.Fatal(err)
			}
			in, err := b.G.Inputs[0].Type.Shape.Eval(map[string]int{"batch": 8})
			if err != nil {
				t.Fatal(err)
			}
			x := tensor.New(tensor.Float32, in...)
			r := rand.New(rand.NewPCG(1, 2))
			for i := range x.F32() {
				x.F32()[i] = float32(r.NormFloat64())
			}
			alone := rowsOf(t, path, x, 1, 1)
			for _, threads := range []int{1, 2, 3} {
				for _, rows := range []int{1, 3, 8} {
					if got := rowsOf(t, path, x, rows, threads); !slices.Equal(got, alone) {
						t.Errorf("batches of %d with %d threads give other bits than rows alone with one", rows, threads)
					}
				}
			}
		})
	}
}

// TestPackedWeightsAreKept: a start that finds packed weights computes the same as the
// one that packed them; nothing is written when nothing is new.
func TestPackedWeightsAreKept(t *testing.T) {
	b := nn.NewBuilder("net", op.Default(), 1)
	x := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Const(3), graph.Const(24), graph.Const(24))
	b.Output(nn.Sequential{
		nn.Conv2D{Filters: 96, Kernel: 3, Activation: nn.ReLU}, nn.Conv2D{Filters: 192, Kernel: 3, Stride: 2, Activation: nn.ReLU},
		nn.GlobalAveragePool{}, nn.Flatten{}, nn.Dense{Units: 1000, Activation: nn.ReLU}, nn.Dense{Units: 10},
	}.Build(b, x))
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	path, dir := filepath.Join(t.TempDir(), "net.onnx"), t.TempDir()
	if err := onnx.Save(path, b.G, onnx.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	in := tensor.New(tensor.Float32, 1, 3, 24, 24)
	for i := range in.F32() {
		in.F32()[i] = float32(i%17) / 17
	}
	var first []byte
	var written os.FileInfo
	for start := range 3 {
		m, err := tandem.Open(path, tandem.Options{Threads: 2, PackedDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		out, err := m.Run(context.Background(), map[string]*tensor.Tensor{"x": in})
		if err != nil {
			t.Fatal(err)
		}
		files := packedIn(t, dir, start == 0)
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		for _, y := range out {
			if start == 0 {
				first, written = y.Bytes(), files
			} else if !slices.Equal(y.Bytes(), first) || !os.SameFile(files, written) {
				t.Errorf("start %d gives other bits, or has packed anew", start)
			}
		}
	}
}

// packedIn is the one file of a folder of packed weights, which may still be written.
func packedIn(t *testing.T, dir string, wait bool) os.FileInfo {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		files, err := os.ReadDir(dir)
		if err == nil && len(files) == 1 && len(files[0].Name()) == 32+len(".packed") {
			info, err := files[0].Info()
			if err == nil {
				return info
			}
		}
		if !wait || time.Now().After(end) {
			t.Fatalf("%v in the folder (%v)", files, err)
		}
	}
}

// rowsOf runs x in batches of that many rows and joins what comes out, as bytes.
func rowsOf(t *testing.T, path string, x *tensor.Tensor, rows, threads int) []byte {
	t.Helper()
	m := open(t, path, tandem.Options{Threads: threads})
	var all []byte
	for lo := 0; lo < x.Dim(0); lo += rows {
		out, err := m.Run(context.Background(), map[string]*tensor.Tensor{"x": x.Rows(lo, min(lo+rows, x.Dim(0)))})
		if err != nil {
			t.Fatal(err)
		}
		for _, y := range out {
			all = append(all, y.Bytes()...)
		}
	}
	if len(all) == 0 || slices.Equal(all, make([]byte, len(all))) {
		t.Fatal(fmt.Sprint("no outputs, or nothing but zeros: ", len(all), " bytes"))
	}
	return all
}
