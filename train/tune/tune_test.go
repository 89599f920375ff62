package tune_test

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/fault"
	"tandem/graph"
	"tandem/graph/onnx"
	"tandem/graph/op"
	"tandem/graph/op/optest"
	"tandem/kernel"
	"tandem/nn"
	"tandem/tensor"
	"tandem/train/tune"
)

// encoder saves a small network of text as exporters write them: weights of products
// without names of their own, biases with; a mask; a scalar that is no parameter.
func encoder(t *testing.T) string {
	t.Helper()
	b := nn.NewBuilder("encoder", op.Default(), 7)
	batch, steps := graph.Sym("batch"), graph.Sym("steps")
	ids := b.Input("input_ids", tensor.Int64, batch, steps)
	mask := b.Input("attention_mask", tensor.Int64, batch, steps)
	x := nn.Embedding{Count: 20, Size: 6}.Build(b, ids)
	linear := func(name string, x *graph.Value, in, out int) *graph.Value {
		w := tensor.New(tensor.Float32, in, out)
		kernel.Normal(w.F32(), 3, uint64(in*out+len(name)))
		bias := tensor.New(tensor.Float32, out)
		kernel.Normal(bias.F32(), 4, uint64(out))
		return b.Op("Add", nil, b.Op("MatMul", nil, x, b.Const("val_7", w)), b.Const(name+".bias", bias))
	}
	x = b.Op("Mul", nil, x, b.Const("scale", tensor.Scalar(float32(0.5))))
	x = b.Op("Tanh", nil, linear("layer.0.query", x, 6, 8))
	x = nn.LayerNorm{}.Build(b, x)
	x = b.Op("Relu", nil, linear("layer.1.output", x, 8, 5))
	keep := b.Op("Unsqueeze", nil, b.Op("Cast", graph.Attrs{"to": int64(tensor.Float32)}, mask), b.Const("last", tensor.Of([]int64{2}, 1)))
	states := b.Op("Mul", nil, x, keep)
	states.Name = "states"
	pooled := b.Op("ReduceSum", graph.Attrs{"keepdims": int64(0)}, states, b.Const("one", tensor.Of([]int64{1}, 1)))
	scores := linear("classifier", pooled, 5, 3)
	b.Output(b.Op("Softmax", nil, scores))
	b.Output(states)
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	path := filepath.Join(t.TempDir(), "encoder.onnx")
	if err := onnx.Save(path, b.G, onnx.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	return path
}

func begin(t *testing.T, s tune.Start) (*tune.Tuned, error) {
	t.Helper()
	s.SetDefaults()
	n, err := tune.Open(s.Model, op.Default())
	if err != nil {
		return nil, err
	}
	shape := graph.Shape{graph.Sym("batch"), graph.Const(4)}
	return tune.Begin(n, s, map[string]graph.Shape{"input_ids": shape, "attention_mask": shape}, 1, op.Default())
}

func names(values []*graph.Value) (list []string) {
	for _, v := range values {
		list = append(list, v.Name)
	}
	return list
}

// TestHead: where a head goes by itself or by name, how steps are pooled, which
// constants are parameters and what they are called.
func TestHead(t *testing.T) {
	path := encoder(t)
	body := []string{"embedding1.weight", "layer.0.query.weight", "layer.0.query.bias", "layer_norm1.scale", "layer_norm1.bias", "layer.1.output.weight", "layer.1.output.bias"}
	for _, tc := range []struct {
		start tune.Start
		shape string
		kept  []string
		ins   int
	}{
		{tune.Start{}, "[batch, 5]", body, 2}, // before the classifier
		{tune.Start{After: "states", Pool: "mean"}, "[batch, 5]", body, 2},
		{tune.Start{After: "states", Pool: "first"}, "[batch, 5]", body, 2},
		{tune.Start{After: "LayerNormalization", Pool: "mean"}, "[batch, 8]", body[:5], 2},
		{tune.Start{After: "Tanh", Pool: "first"}, "[batch, 8]", body[:3], 1},
		{tune.Start{After: "states"}, "[batch, 4, 5]", body, 2},
	} {
		tc.start.Model = path
		n, err := begin(t, tc.start)
		if err != nil {
			t.Errorf("%+v: %v", tc.start, err)
			continue
		}
		y := nn.Dense{Units: 2}.Build(n.Builder, n.Features)
		n.Output(y)
		if err := n.Check(); err != nil {
			t.Error(err)
		}
		if got := n.Features.Type.Shape; got.String() != tc.shape {
			t.Errorf("%+v: features %v, want %s", tc.start, got, tc.shape)
		}
		want := append(slices.Clone(tc.kept), "head.dense1.weight", "head.dense1.bias")
		if got := names(n.Params()); !slices.Equal(got, want) {
			t.Errorf("%+v: parameters %v, want %v", tc.start, got, want)
		}
		if len(n.G.Inputs) != tc.ins {
			t.Errorf("%+v: %d inputs", tc.start, len(n.G.Inputs))
		}
	}
}

// TestWeights: what is listed has the names that patterns take, and says what becomes of
// each.
func TestWeights(t *testing.T) {
	n, err := tune.Open(encoder(t), op.Default())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range n.Weights() {
		got = append(got, fmt.Sprintf("%s%s%s %v %v", w.Name, w.Shape, w.Node, w.Trains, w.Pair))
	}
	for _, want := range []string{
		"embedding1.weight[20, 6]Gather true true", "layer.0.query.weight[6, 8]MatMul true true", "layer.0.query.bias[8]Add true false",
		"scale[]Mul false false", "layer_norm1.scale[8]LayerNormalization true false",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no %q among\n%s", want, strings.Join(got, "\n"))
		}
	}
	if len(got) != 10 {
		t.Errorf("%d weights:\n%s", len(got), strings.Join(got, "\n"))
	}
}

// run computes the first output of g.
func run(t *testing.T, g *graph.Graph) []float32 {
	t.Helper()
	in := []*tensor.Tensor{tensor.Of([]int64{1, 2, 3, 0, 4, 5, 6, 7}, 2, 4), tensor.Of([]int64{1, 1, 1, 0, 1, 1, 1, 1}, 2, 4)}
	return optest.Outputs(t, g, graph.Options{}, in[:len(g.Inputs)]...)[0].F32()
}

// TestMeanIsOverTheMask: steps that the mask leaves out do not count.
func TestMeanIsOverTheMask(t *testing.T) {
	path := encoder(t)
	whole, err := begin(t, tune.Start{Model: path, After: "states"})
	if err != nil {
		t.Fatal(err)
	}
	whole.Output(whole.Features)
	pooled, err := begin(t, tune.Start{Model: path, After: "states", Pool: "mean"})
	if err != nil {
		t.Fatal(err)
	}
	pooled.Output(pooled.Features)
	states, rows := run(t, whole.G), run(t, pooled.G)
	for r, steps := range []int{3, 4} {
		for j := range 5 {
			var sum float64
			for s := range steps {
				sum += float64(states[(r*4+s)*5+j])
			}
			if want := sum / float64(steps); math.Abs(want-float64(rows[r*5+j])) > 1e-6 {
				t.Errorf("row %d, %d: %v, want %v", r, j, rows[r*5+j], want)
			}
		}
	}
}

// TestMeanOfPadding: of a sequence that is all padding it is 0, not what 0/0 is.
func TestMeanOfPadding(t *testing.T) {
	pooled, err := begin(t, tune.Start{Model: encoder(t), After: "states", Pool: "mean"})
	if err != nil {
		t.Fatal(err)
	}
	pooled.Output(pooled.Features)
	in := []*tensor.Tensor{tensor.Of([]int64{1, 2, 3, 0}, 1, 4), tensor.New(tensor.Int64, 1, 4)}
	if got := optest.Outputs(t, pooled.G, graph.Options{}, in...)[0].F32(); !slices.Equal(got, make([]float32, 5)) {
		t.Errorf("%v", got)
	}
}

// TestPairs: in the beginning they change nothing; once they do, merging gives the same
// outputs without them, for MatMul and for both forms of Gemm.
func TestPairs(t *testing.T) {
	path := encoder(t)
	for _, patterns := range [][]string{nil, {"*query*"}, {"layer.1.*", "head.*"}} {
		s := tune.Start{Model: path, After: "states", Pool: "mean", LoRA: tune.LoRA{Rank: 2, Alpha: 3, Patterns: patterns}}
		with, err := begin(t, s)
		if err != nil {
			t.Fatal(err)
		}
		count := len(with.Params())
		if want := map[int]int{0: 4, 1: 2, 2: 2}[len(patterns)]; count != want {
			t.Errorf("%v: %v", patterns, names(with.Params()))
		}
		with.Output(nn.Dense{Units: 2}.Build(with.Builder, with.Features))
		s.LoRA.Rank = 0
		plain, err := begin(t, s)
		if err != nil {
			t.Fatal(err)
		}
		y := nn.Dense{Units: 2}.Build(plain.Builder, plain.Features)
		plain.Output(y)
		// Heads are drawn alike but for the streams that the pairs took.
		for i, v := range with.Params()[count:] {
			copy(plain.Builder.Params()[i].Const.Data, v.Const.Data)
		}
		if a, b := run(t, with.G), run(t, plain.G); !near(a, b, 1e-6) {
			t.Errorf("%v: at the start %v, without pairs %v", patterns, a, b)
		}
		for i, v := range with.Params()[:count] {
			f, err := v.Const.Tensor()
			if err != nil {
				t.Fatal(err)
			}
			kernel.Normal(f.F32(), 9, uint64(i))
		}
		before := run(t, with.G)
		merged, _ := with.G.Clone()
		if err := with.Merge(merged, op.Default()); err != nil {
			t.Fatal(err)
		}
		after := run(t, merged)
		if !near(before, after, 1e-5) || near(before, run(t, plain.G), 1e-3) {
			t.Errorf("%v: with pairs %v, merged %v", patterns, before, after)
		}
		for _, v := range merged.Constants() {
			if strings.Contains(v.Name, "lora") {
				t.Errorf("%s is left", v.Name)
			}
		}
		if len(merged.Nodes) != len(plain.G.Nodes) {
			t.Errorf("%d nodes, without pairs %d", len(merged.Nodes), len(plain.G.Nodes))
		}
	}
}

func near(a, b []float32, bound float64) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Abs(float64(x-y)) <= bound*max(1, math.Abs(float64(y))) })
}

func TestBeginRefuses(t *testing.T) {
	path := encoder(t)
	for _, tc := range []struct {
		start tune.Start
		want  string
	}{
		{tune.Start{Model: path + "x"}, "the model to start from cannot be read"},
		{tune.Start{Model: path, After: "nowhere"}, `no node or value "nowhere"`},
		{tune.Start{Model: path, Pool: "mean"}, "only [batch, steps, width] can be pooled"},
		{tune.Start{Model: path, LoRA: tune.LoRA{Rank: 2, Patterns: []string{"none"}}}, "name no weight that can have a pair"},
		{tune.Start{Model: path, LoRA: tune.LoRA{Rank: 2, Patterns: []string{"["}}}, `pattern "["`},
		{tune.Start{Model: path, LoRA: tune.LoRA{Rank: 99}}, "rank 99 is more than"},
		{tune.Start{Model: path, LoRA: tune.LoRA{Rank: 99}}, "weight layer.0.query.weight of MatMul"},
		{tune.Start{Model: path, Also: []string{"embedding*", "nothing*"}}, `pattern "nothing*" of from.also`},
		{tune.Start{Model: path, Also: []string{"["}}, `pattern "["`},
	} {
		_, err := begin(t, tc.start)
		if err == nil || !strings.Contains(err.Error(), tc.want) || fault.KindOf(err) == fault.Internal {
			t.Errorf("%+v: %v, want %q", tc.start, err, tc.want)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, tc := range []struct {
		pattern, name string
		want          bool
	}{
		{"*query*", "/net/layer.0/query/MatMul", true}, {"/net/*", "/net/a/b", true}, {"layer.[01].*", "layer.1.bias", true},
		{"layer.[01].*", "layer.2.bias", false}, {"head.*", "heads", false},
	} {
		if got, err := tune.Matches(tc.pattern, tc.name); got != tc.want || err != nil {
			t.Errorf("%q fits %q: %v, %v", tc.pattern, tc.name, got, err)
		}
	}
}
