package conformance_test

import (
	"context"
	"fmt"
	"hash/crc64"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"tandem/graph"
	"tandem/graph/onnx"
	"tandem/graph/op"
	"tandem/kernel"
	"tandem/tensor"
)

// TestDamagedCases changes one thing at a time in each model of the suite, and
// asks for an error or a result, never a panic.
func TestDamagedCases(t *testing.T) {
	dir := os.Getenv("ONNX_CASES")
	if dir == "" {
		t.Skip("SKIPPED: ONNX_CASES does not name the folder onnx/backend/test/data of the onnx package")
	}
	models, err := filepath.Glob(filepath.Join(dir, "*", "*", "model.onnx"))
	if err != nil || len(models) == 0 {
		t.Fatal(models, err)
	}
	p := kernel.NewPool(1, kernel.Detect())
	t.Cleanup(p.Close)
	ops := op.Default()
	found := map[string]string{}
	for _, path := range models {
		// By name, so that the damage is the same wherever the folder lies.
		r := rand.New(rand.NewPCG(1, crc64.Checksum([]byte(filepath.Base(filepath.Dir(path))), crc64.MakeTable(crc64.ISO))))
		for n := range 12 {
			if place := damaged(path, ops, p, r); place != "" && found[place] == "" {
				found[place] = fmt.Sprintf("%s, damage %d", filepath.Base(filepath.Dir(path)), n)
			}
		}
	}
	for place, name := range found {
		t.Errorf("%s: %s", name, place)
	}
}

// damaged loads a model, damages it, and runs it on its inputs. The result is
// where it panicked, or nothing.
func damaged(path string, ops *graph.Table, p *kernel.Pool, r *rand.Rand) (place string) {
	g, file, err := onnx.Load(path, onnx.LoadOptions{})
	if err != nil {
		return ""
	}
	defer file.Close()
	what := "nothing"
	defer func() {
		if v := recover(); v != nil {
			place = fmt.Sprintf("%v (%s) at %s", v, what, firstLines(string(debug.Stack())))
		}
	}()
	if what = damage(g, r); what == "" {
		return ""
	}
	prog, err := graph.Compile(g, graph.Options{Ops: ops, Pool: p, MemoryLimitBytes: 1 << 28})
	if err != nil {
		return ""
	}
	s, err := prog.NewSession()
	if err != nil {
		return ""
	}
	defer s.Close()
	var in []*tensor.Tensor
	for i, v := range g.Inputs {
		data, err := os.ReadFile(filepath.Join(filepath.Dir(path), "test_data_set_0", fmt.Sprintf("input_%d.pb", i)))
		if err != nil {
			return ""
		}
		x, err := onnx.ReadValue(data, v.Type.DType)
		if err != nil {
			return ""
		}
		in = append(in, bend(x, v, r))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, _ = s.Run(ctx, in, nil)
	return ""
}

func firstLines(stack string) string {
	_, after, _ := strings.Cut(stack, "panic(")
	var list []string
	for line := range strings.Lines(after) {
		if file, rest, ok := strings.Cut(strings.TrimSpace(line), ".go:"); ok && !strings.Contains(file, "runtime/") {
			number, _, _ := strings.Cut(rest, " ")
			if list = append(list, filepath.Base(file)+".go:"+number); len(list) == 3 {
				break
			}
		}
	}
	return strings.Join(list, " < ")
}

// damage changes a node at random and tells how; nothing if there is no node.
func damage(g *graph.Graph, r *rand.Rand) string {
	if len(g.Nodes) == 0 {
		return ""
	}
	n := g.Nodes[r.IntN(len(g.Nodes))]
	names := []string{}
	for name := range n.Attrs {
		names = append(names, name)
	}
	slices.Sort(names)
	switch r.IntN(5) {
	case 0:
		if len(n.Inputs) > 0 {
			n.Inputs = n.Inputs[:r.IntN(len(n.Inputs))]
		}
		return fmt.Sprintf("%v has %d inputs", n, len(n.Inputs))
	case 1:
		if len(n.Inputs) > 0 {
			i := r.IntN(len(n.Inputs))
			n.Inputs[i] = nil
			return fmt.Sprintf("%v has no input %d", n, i)
		}
	case 2:
		if len(n.Inputs) > 0 && len(g.Inputs) > 0 {
			i := r.IntN(len(n.Inputs))
			n.Inputs[i] = g.Inputs[r.IntN(len(g.Inputs))]
			return fmt.Sprintf("%v reads %s as input %d", n, n.Inputs[i].Name, i)
		}
	case 3:
		if len(names) > 0 {
			name := names[r.IntN(len(names))]
			delete(n.Attrs, name)
			return fmt.Sprintf("%v has no attribute %s", n, name)
		}
	default:
		if len(names) > 0 {
			name := names[r.IntN(len(names))]
			n.Attrs[name] = strange(n.Attrs[name], r)
			return fmt.Sprintf("%v has %s %v", n, name, n.Attrs[name])
		}
	}
	i := r.IntN(len(g.Inputs) + 1)
	if i < len(g.Inputs) {
		g.Inputs[i].Type = graph.Type{}
	}
	return fmt.Sprintf("input %d has no type", i)
}

func strange(v any, r *rand.Rand) any {
	numbers := []int64{-1, 0, 1, 2, 3, 7, -3, 100, 1 << 40, -1 << 63, 1<<63 - 1}
	switch v := v.(type) {
	case int64:
		return numbers[r.IntN(len(numbers))]
	case string:
		return "strange"
	case []int64:
		out := slices.Clone(v)
		if r.IntN(2) == 0 || len(out) == 0 {
			return append(out, numbers[r.IntN(len(numbers))])
		}
		out[r.IntN(len(out))] = numbers[r.IntN(len(numbers))]
		return out
	case []float32:
		return v[:len(v)/2]
	case []string:
		return v[:len(v)/2]
	case *tensor.Tensor:
		return tensor.Of([]int32{-1, 5}, 2)
	}
	return int64(1)
}

// bend changes an integer input's elements, or gives an input without a type other
// elements and another shape.
func bend(x *tensor.Tensor, v *graph.Value, r *rand.Rand) *tensor.Tensor {
	x = x.Clone()
	if !v.Type.Known() {
		return []*tensor.Tensor{
			tensor.New(x.DType(), 0), tensor.New(tensor.Int64), tensor.New(tensor.Float32, 1, 1, 1, 1, 1, 1, 1),
			tensor.New(tensor.String, 2), tensor.OfTensors(tensor.Sequence, nil), tensor.New(tensor.Int4, 3), tensor.New(tensor.Complex64, 2, 2),
		}[r.IntN(7)]
	}
	numbers := []int64{-1, 0, 1, 2, 7, -3, 1 << 40, -1 << 63, 1<<63 - 1}
	if x.DType() == tensor.Int64 && x.Len() > 0 && r.IntN(2) == 0 {
		x.I64()[r.IntN(x.Len())] = numbers[r.IntN(len(numbers))]
	}
	return x
}
