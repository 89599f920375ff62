package op_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/op/optest"
	"tandem/kernel"
	"tandem/tensor"
)

// recorded is a node with PyTorch's result and gradients (testdata/gradients.py).
type recorded struct {
	Name, Domain, Op string
	Opset            int
	Attrs            map[string]any
	Inputs           []*recordedInput
	Outputs, Index   int
	R, Y             []float32
}

type recordedInput struct {
	Type       string
	Shape      []int
	Data, Grad []float64
}

func (x *recordedInput) tensor(t *testing.T) *tensor.Tensor {
	kind := map[string]tensor.DType{"float32": tensor.Float32, "int64": tensor.Int64, "int32": tensor.Int32, "uint8": tensor.Uint8, "bool": tensor.Bool}[x.Type]
	v := tensor.New(kind, x.Shape...)
	if err := tensor.Convert(v, tensor.Of(x.Data, x.Shape...), true); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestGradientsEqualPyTorch compares values and gradients with those that PyTorch
// gave: the same rule, not only a derivative of something.
func TestGradientsEqualPyTorch(t *testing.T) {
	text, err := os.ReadFile("testdata/gradients.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []recorded
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	p := pool(t, 2)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) { c.check(t, p) })
	}
}

func (c *recorded) check(t *testing.T, p *kernel.Pool) {
	b := graph.NewBuilder("case", op.Default())
	b.G.Opset[c.Domain] = c.Opset
	if c.Domain != "" {
		b.G.Opset[""] = 21
	}
	var in, wrt []*graph.Value
	var feed []*tensor.Tensor
	var want [][]float64
	for i, x := range c.Inputs {
		if x == nil {
			in = append(in, nil)
			continue
		}
		v := x.tensor(t)
		if x.Grad == nil {
			in = append(in, b.Const("given", v))
			continue
		}
		in = append(in, b.Input(fmt.Sprint("x", i), tensor.Float32, graph.Dims(x.Shape...)...))
		wrt, feed, want = append(wrt, in[i]), append(feed, v), append(want, x.Grad)
	}
	y := b.Node(graph.OpID{Domain: c.Domain, Name: c.Op}, c.Outputs, attrsOf(c.Attrs), in...)[c.Index]
	row := b.Op("Reshape", nil, y, b.Const("row", tensor.Of([]int64{1, -1}, 2)))
	loss := b.Op("Reshape", nil, b.Op("Gemm", nil, row, b.Const("r", tensor.Of(c.R, len(c.R), 1))), b.Const("scalar", tensor.New(tensor.Int64, 0)))
	grads, err := graph.Grad(b, loss, wrt)
	if err != nil || b.Err() != nil {
		t.Fatal(err, b.Err())
	}
	b.G.Outputs = append([]*graph.Value{y}, grads...)
	out := optest.Outputs(t, b.G, graph.Options{Pool: p}, feed...)
	y64 := make([]float64, len(c.Y))
	for i, v := range c.Y {
		y64[i] = float64(v)
	}
	compareNumbers(t, "result", out[0].F32(), y64)
	for i, g := range out[1:] {
		compareNumbers(t, "gradient of "+wrt[i].Name, g.F32(), want[i])
	}
}

// compareNumbers allows float32's rounding in sums of another order.
func compareNumbers(t *testing.T, what string, got []float32, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s has %d elements, PyTorch's %d", what, len(got), len(want))
	}
	for i, v := range got {
		if math.Abs(float64(v)-want[i]) > 3e-5*max(1, math.Abs(want[i])) {
			t.Errorf("%s, element %d: %v, PyTorch has %v", what, i, v, want[i])
			return
		}
	}
}

func attrsOf(m map[string]any) graph.Attrs {
	a := graph.Attrs{}
	for name, v := range m {
		switch v := v.(type) {
		case string:
			a[name] = v
		case map[string]any: // floats that may be whole
			if one, ok := v["float"].(float64); ok {
				a[name] = float32(one)
				continue
			}
			var list []float32
			for _, x := range v["floats"].([]any) {
				list = append(list, float32(x.(float64)))
			}
			a[name] = list
		case []any:
			list := make([]int64, len(v))
			for i, n := range v {
				list[i] = int64(n.(float64))
			}
			a[name] = list
		case float64:
			if a[name] = int64(v); v != math.Trunc(v) {
				a[name] = float32(v)
			}
		}
	}
	return a
}
