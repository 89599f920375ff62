package tune_test

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/onnx"
	"tandem/graph/op"
	"tandem/graph/op/optest"
	"tandem/kernel"
	"tandem/nn"
	"tandem/tensor"
	"tandem/train"
	"tandem/train/tune"
)

// operators are networks of one operator with weights, in the forms that matter to what
// is put beside them.
type operatorCase struct {
	name     string
	input    []int
	weights  [][]int // w0, w1 …
	rank     int
	patterns []string
	pairs    int
	build    func(b *nn.Builder, x *graph.Value, w []*graph.Value) *graph.Value
}

func one(name string, attrs graph.Attrs) func(*nn.Builder, *graph.Value, []*graph.Value) *graph.Value {
	return func(b *nn.Builder, x *graph.Value, w []*graph.Value) *graph.Value {
		return b.Op(name, attrs, append([]*graph.Value{x}, w...)...)
	}
}

// cell is a recurrent operator of which only the states of the output at are read.
func cell(name string, at, outputs int, attrs graph.Attrs) func(*nn.Builder, *graph.Value, []*graph.Value) *graph.Value {
	return func(b *nn.Builder, x *graph.Value, w []*graph.Value) *graph.Value {
		steps := b.Op("Transpose", graph.Attrs{"perm": []int64{1, 0, 2}}, x)
		out := b.Node(graph.OpID{Name: name}, outputs, attrs, append([]*graph.Value{steps}, w...)...)
		for i, o := range out[0].Def.Outputs {
			if i != at {
				o.Def.Outputs[i] = nil
			}
		}
		perm := []int64{2, 0, 1, 3} // [steps, directions, batch, units]: the batch first
		if at > 0 {
			perm = []int64{1, 0, 2}
		}
		return b.Op("Transpose", graph.Attrs{"perm": perm}, out[at])
	}
}

func operators() []operatorCase {
	image, line := []int{2, 4, 7, 6}, []int{2, 6, 9}
	return []operatorCase{
		{"Gemm", []int{3, 5}, [][]int{{5, 4}, {4}}, 2, nil, 1, one("Gemm", graph.Attrs{"alpha": float32(0.5), "beta": float32(2)})},
		{"Gemm, transposed", []int{3, 5}, [][]int{{4, 5}, {4}}, 2, []string{"w0"}, 1, one("Gemm", graph.Attrs{"transB": int64(1), "alpha": float32(3)})},
		{"MatMul of steps", []int{2, 3, 5}, [][]int{{5, 4}}, 3, nil, 1, one("MatMul", nil)},
		{"Conv", image, [][]int{{5, 4, 3, 2}, {5}}, 3, nil, 1, one("Conv", graph.Attrs{"strides": []int64{2, 1}, "pads": []int64{1, 0, 1, 1}, "dilations": []int64{1, 2}})},
		{"Conv in groups", image, [][]int{{6, 2, 3, 3}}, 2, nil, 1, one("Conv", graph.Attrs{"group": int64(2), "auto_pad": "SAME_UPPER"})},
		{"Conv of lines", line, [][]int{{4, 3, 3}, {4}}, 1, []string{"*features*"}, 1, one("Conv", graph.Attrs{"group": int64(2), "auto_pad": "VALID"})},
		{"Conv of volumes", []int{2, 2, 3, 4, 3}, [][]int{{3, 2, 2, 2, 2}}, 2, nil, 1, one("Conv", nil)},
		{"ConvTranspose", image, [][]int{{4, 5, 3, 2}, {5}}, 3, nil, 1, one("ConvTranspose", graph.Attrs{"strides": []int64{2, 2}, "output_padding": []int64{1, 0}})},
		{"ConvTranspose in groups", line, [][]int{{6, 2, 3}, {4}}, 2, nil, 1, one("ConvTranspose", graph.Attrs{"group": int64(2), "pads": []int64{1, 0}})},
		{"LSTM", []int{2, 3, 5}, [][]int{{2, 16, 5}, {2, 16, 4}, {2, 32}}, 2, nil, 2, cell("LSTM", 1, 3, graph.Attrs{"hidden_size": int64(4), "direction": "bidirectional"})},
		{"GRU", []int{2, 3, 5}, [][]int{{1, 12, 5}, {1, 12, 4}, {1, 24}}, 3, []string{"w1"}, 1, cell("GRU", 0, 2, graph.Attrs{"hidden_size": int64(4), "linear_before_reset": int64(1)})},
		{"RNN", []int{2, 3, 5}, [][]int{{1, 4, 5}, {1, 4, 4}}, 2, []string{"*RNN*"}, 2, cell("RNN", 0, 2, graph.Attrs{"hidden_size": int64(4), "direction": "reverse"})},
		{"Gather", []int{2, 3}, [][]int{{9, 4}}, 2, []string{"w0"}, 1, func(b *nn.Builder, x *graph.Value, w []*graph.Value) *graph.Value {
			return b.Op("Gather", nil, w[0], b.Op("Cast", graph.Attrs{"to": int64(tensor.Int64)}, b.Op("Abs", nil, x)))
		}},
	}
}

// normal is a constant of numbers around 0.
func normal(b *nn.Builder, name string, stream uint64, shape ...int) *graph.Value {
	w := tensor.New(tensor.Float32, shape...)
	kernel.Normal(w.F32(), 11, stream)
	for i := range w.F32() {
		w.F32()[i] *= 0.5
	}
	return b.Const(name, w)
}

// save writes the network of a case to a file.
func (c operatorCase) save(t *testing.T) string {
	t.Helper()
	b := nn.NewBuilder("operator", op.Default(), 7)
	x := b.Input("x", tensor.Float32, append(graph.Shape{graph.Sym("batch")}, graph.Dims(c.input[1:]...)...)...)
	var weights []*graph.Value
	for i, shape := range c.weights {
		weights = append(weights, normal(b, "w"+string(rune('0'+i)), uint64(i), shape...))
	}
	y := c.build(b, x, weights)
	if len(c.patterns) == 1 && c.patterns[0] == "*features*" {
		y.Def.Name = "the features"
	}
	y = b.Op("Tanh", nil, y)
	y.Name = "features"
	b.Output(y)
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	path := filepath.Join(t.TempDir(), "operator.onnx")
	if err := onnx.Save(path, b.G, onnx.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	return path
}

// start opens the file and puts a head on it.
func (c operatorCase) start(t *testing.T, path string, lora tune.LoRA) *tune.Tuned {
	t.Helper()
	n, err := tune.Open(path, op.Default())
	if err != nil {
		t.Fatal(err)
	}
	tuned, err := tune.Begin(n, tune.Start{Model: path, After: "features", Pool: "none", LoRA: lora}, nil, 1, op.Default())
	if err != nil {
		t.Fatal(err)
	}
	head := nn.Sequential{nn.Flatten{}, nn.Dense{Units: 3, Init: nn.Normal(0.2)}, nn.Softmax}
	tuned.Output(head.Build(tuned.Builder, tuned.Features))
	if err := tuned.Check(); err != nil {
		t.Fatal(err)
	}
	return tuned
}

// x are small whole numbers.
func (c operatorCase) x() *tensor.Tensor {
	x := tensor.New(tensor.Float32, c.input...)
	for i := range x.F32() {
		x.F32()[i] = float32(i*i%7) - 3
	}
	return x
}

// TestPairsBesideOperators: in the beginning a pair changes nothing. Steps change both
// factors and the head, and no bit of anything else; the trained network merged has the
// form that it had and gives what it gives with pairs.
func TestPairsBesideOperators(t *testing.T) {
	for _, c := range operators() {
		t.Run(c.name, func(t *testing.T) {
			path := c.save(t)
			with, plain := c.start(t, path, tune.LoRA{Rank: c.rank, Alpha: 3, Patterns: c.patterns}), c.start(t, path, tune.LoRA{})
			if n := len(with.Params()) - 2; n != 2*c.pairs {
				t.Fatalf("parameters %v, want %d pairs", names(with.Params()), c.pairs)
			}
			for i, v := range with.Builder.Params()[2*c.pairs:] { // the same head
				copy(plain.Builder.Params()[i].Const.Data, v.Const.Data)
			}
			if a, b := outputs(t, with.G, c.x()), outputs(t, plain.G, c.x()); !near(a, b, 1e-6) {
				t.Errorf("at the start %v, without pairs %v", a, b)
			}
			trained, merged := c.train(t, with)
			if a, b := outputs(t, trained, c.x()), outputs(t, merged, c.x()); !near(a, b, 1e-5) || near(a, outputs(t, plain.G, c.x()), 1e-3) {
				t.Errorf("with pairs %v, merged %v", a, b)
			}
			c.compare(t, plain.G, merged)
		})
	}
}

// train does some steps. It returns the network with its pairs, and merged.
func (c operatorCase) train(t *testing.T, with *tune.Tuned) (trained, merged *graph.Graph) {
	t.Helper()
	pool := kernel.NewPool(1, kernel.Detect())
	t.Cleanup(pool.Close)
	p := &train.Problem{Graph: with.G, Params: with.Params(), Loss: nn.CrossEntropy,
		Target: graph.Type{DType: tensor.Int64, Shape: graph.Shape{graph.Sym("batch")}},
		Finish: func(g *graph.Graph) error { return with.Merge(g, op.Default()) }}
	spec := train.Spec{}
	spec.Train.Optimizer.Name = "sgd"
	spec.FillDefaults()
	s, err := train.NewStepper(p, spec.Train, op.Default(), pool)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	labels := tensor.Of([]int64{0, 2, 1}[:c.input[0]], c.input[0])
	for n := range 8 {
		if _, _, err := s.Step(t.Context(), n+1, 0.5, []*tensor.Tensor{c.x()}, labels); err != nil {
			t.Fatal(err)
		}
	}
	trained, _ = with.G.Clone()
	for _, v := range trained.Constants() {
		if now, ok := s.State(v.Name); ok {
			if bytes.Equal(now.Bytes(), v.Const.Data) {
				t.Errorf("%s has not changed", v.Name)
			}
			v.Const = graph.ConstantOf(now.Clone())
		}
	}
	if merged, err = s.Trained(); err != nil {
		t.Fatal(err)
	}
	return trained, merged
}

// compare holds a merged network against the one that it came from.
func (c operatorCase) compare(t *testing.T, plain, merged *graph.Graph) {
	t.Helper()
	if len(merged.Nodes) != len(plain.Nodes) {
		t.Errorf("%d nodes, without pairs %d", len(merged.Nodes), len(plain.Nodes))
	}
	was := map[string][]byte{}
	for _, v := range plain.Constants() {
		was[v.Name] = v.Const.Data
	}
	changed := 0
	for _, v := range merged.Constants() {
		switch {
		case was[v.Name] == nil || strings.Contains(v.Name, "lora"):
			t.Errorf("%s is left", v.Name)
		case !strings.HasPrefix(v.Name, "head.") && !bytes.Equal(was[v.Name], v.Const.Data):
			changed++
		}
	}
	if changed != c.pairs {
		t.Errorf("%d weights differ, there were %d pairs", changed, c.pairs)
	}
}

// outputs are those of g for x.
func outputs(t *testing.T, g *graph.Graph, x *tensor.Tensor) []float32 {
	t.Helper()
	clone, _ := g.Clone()
	return optest.Outputs(t, clone, graph.Options{}, x)[0].F32()
}

// TestUnseenRowsStay: rows of an embedding that training never looks up keep their bits,
// though a pair beside the table has been merged.
func TestUnseenRowsStay(t *testing.T) {
	c := operators()[len(operators())-1]
	path := c.save(t)
	with, plain := c.start(t, path, tune.LoRA{Rank: 2, Patterns: []string{"w0"}}), c.start(t, path, tune.LoRA{})
	_, merged := c.train(t, with)
	var before, after []byte
	for _, v := range plain.G.Constants() {
		if v.Name == "w0" {
			before = v.Const.Data
		}
	}
	for _, v := range merged.Constants() {
		if v.Name == "w0" {
			after = v.Const.Data
		}
	}
	const row = 4 * 4 // bytes; x looks up rows 0 to 3
	if bytes.Equal(before[:4*row], after[:4*row]) || !bytes.Equal(before[4*row:], after[4*row:]) {
		t.Errorf("rows that are looked up must change, others not: %v, %v", before, after)
	}
}

// TestPairRefused: what cannot have a pair is refused with the weight and the node.
func TestPairRefused(t *testing.T) {
	depthwise := operatorCase{"", []int{2, 4, 5, 5}, [][]int{{4, 1, 3, 3}}, 0, nil, 0, one("Conv", graph.Attrs{"group": int64(4)})}
	twice := operatorCase{"", []int{2, 3, 4}, [][]int{{4, 4}}, 0, nil, 0, func(b *nn.Builder, x *graph.Value, w []*graph.Value) *graph.Value {
		return b.Op("MatMul", nil, b.Op("MatMul", nil, x, w[0]), w[0])
	}}
	for _, tc := range []struct {
		c    operatorCase
		want string
	}{
		{depthwise, "rank 2 is more than the 1 that the weight of shape 4x1x3x3 has"},
		{depthwise, "weight w0 of Conv"},
		{twice, "weight w0 is used 2 times"},
	} {
		path := tc.c.save(t)
		n, err := tune.Open(path, op.Default())
		if err != nil {
			t.Fatal(err)
		}
		_, err = tune.Begin(n, tune.Start{Model: path, Pool: "none", LoRA: tune.LoRA{Rank: 2}}, nil, 1, op.Default())
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v, want %q", err, tc.want)
		}
	}
}

// TestAlso: a table that is added stays as it is, unless it is named; beside pairs, what
// is named is trained as a whole.
func TestAlso(t *testing.T) {
	c := operatorCase{input: []int{2, 3, 5}, weights: [][]int{{5, 4}, {1, 3, 4}, {4}}, build: func(b *nn.Builder, x *graph.Value, w []*graph.Value) *graph.Value {
		y := b.Op("Add", nil, b.Op("Add", nil, b.Op("MatMul", nil, x, w[0]), w[2]), w[1])
		return b.Op("Mul", nil, y, b.Const("unit", tensor.Scalar(float32(0.5))))
	}}
	path := c.save(t)
	for _, tc := range []struct {
		also []string
		rank int
		want []string
	}{
		{nil, 0, []string{"w0", "w2"}},
		{[]string{"w1"}, 0, []string{"w0", "w2", "w1"}},
		{[]string{"w*", "unit"}, 0, []string{"w0", "w2", "w1", "unit"}},
		{nil, 2, []string{"w0.lora_a", "w0.lora_b"}},
		{[]string{"w[12]"}, 2, []string{"w2", "w1", "w0.lora_a", "w0.lora_b"}},
	} {
		n, err := tune.Open(path, op.Default())
		if err != nil {
			t.Fatal(err)
		}
		tuned, err := tune.Begin(n, tune.Start{Model: path, Pool: "none", Also: tc.also, LoRA: tune.LoRA{Rank: tc.rank}}, nil, 1, op.Default())
		if err != nil {
			t.Fatal(err)
		}
		if got := names(tuned.Params()); !slices.Equal(got, tc.want) {
			t.Errorf("%v with rank %d: %v, want %v", tc.also, tc.rank, got, tc.want)
		}
		tuned.Output(nn.Sequential{nn.Flatten{}, nn.Dense{Units: 3}, nn.Softmax}.Build(tuned.Builder, tuned.Features))
		c.train(t, tuned) // fails if one has not changed
	}
}
