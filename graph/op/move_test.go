package op_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/tensor"
)

// runNode runs one operator of ai.onnx in a version of its own. Nothing is known
// of the inputs when the graph is compiled; a nil input is absent.
func runNode(t testing.TB, name string, version, outputs int, a graph.Attrs, in ...*tensor.Tensor) ([]*tensor.Tensor, error) {
	t.Helper()
	g := &graph.Graph{Opset: map[string]int{"": version}}
	n := &graph.Node{Op: graph.OpID{Name: name}, Attrs: a}
	var given []*tensor.Tensor
	for i, x := range in {
		var v *graph.Value
		if x != nil {
			v = &graph.Value{Name: fmt.Sprint("in", i)}
			g.Inputs, given = append(g.Inputs, v), append(given, x)
		}
		n.Inputs = append(n.Inputs, v)
	}
	for i := range outputs {
		n.Outputs = append(n.Outputs, &graph.Value{Name: fmt.Sprint("out", i), Def: n})
	}
	g.Nodes, g.Outputs = []*graph.Node{n}, n.Outputs
	prog, err := graph.Compile(g, graph.Options{Ops: op.Default(), Pool: pool(t, 1)})
	if err != nil {
		return nil, err
	}
	s, err := prog.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return s.Run(context.Background(), given, nil)
}

func floatsIn(shape []int, v ...float32) *tensor.Tensor { return tensor.Of(v, shape...) }
func intsFrom(shape []int, v ...int64) *tensor.Tensor   { return tensor.Of(v, shape...) }
func vector(v ...int64) *tensor.Tensor                  { return tensor.Of(v, len(v)) }
func words(v ...string) *tensor.Tensor                  { return tensor.OfStrings(v, len(v)) }

// ramp is 0, 1, 2, … as int32.
func ramp(shape ...int) *tensor.Tensor {
	x := tensor.New(tensor.Int32, shape...)
	for i := range x.Len() {
		tensor.Data[int32](x)[i] = int32(i)
	}
	return x
}

// elementsOf writes type, shape and elements.
func elementsOf(x *tensor.Tensor) string {
	switch {
	case x.DType() == tensor.String:
		return fmt.Sprintf("%v %q", x, x.Strings())
	case x.DType().Float():
		v := tensor.New(tensor.Float64, x.Shape()...)
		if err := tensor.Convert(v, x, false); err != nil {
			return err.Error()
		}
		return fmt.Sprintf("%v %.5g", x, tensor.Data[float64](v))
	}
	v := tensor.New(tensor.Int64, x.Shape()...)
	if err := tensor.Convert(v, x, false); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%v %v", x, v.I64())
}

// nodeCase is one operator with its inputs and what it must give: outputs, as
// elementsOf writes them, or part of an error.
type nodeCase struct {
	name    string
	op      string
	version int
	attrs   graph.Attrs
	in      []*tensor.Tensor
	want    []string
	err     string
}

func (tc nodeCase) run(t *testing.T) {
	t.Helper()
	out, err := runNode(t, tc.op, tc.version, max(len(tc.want), 1), tc.attrs, tc.in...)
	if tc.err != "" {
		if err == nil || !strings.Contains(err.Error(), tc.err) {
			t.Errorf("error %v, want one with %q", err, tc.err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range tc.want {
		if got := elementsOf(out[i]); got != want {
			t.Errorf("output %d: %s, want %s", i, got, want)
		}
	}
}

func runCases(t *testing.T, cases []nodeCase) {
	for _, tc := range cases {
		t.Run(strings.TrimSpace(tc.op+" "+tc.name), tc.run)
	}
}

func TestMovers(t *testing.T) {
	in := func(x ...*tensor.Tensor) []*tensor.Tensor { return x }
	runCases(t, []nodeCase{
		{name: "old", op: "Squeeze", version: 6, attrs: attrs("axes", []int64{-1}), in: in(ramp(2, 1)), want: []string{"int32[2] [0 1]"}},
		{name: "all", op: "Squeeze", version: 13, in: in(ramp(1, 2, 1)), want: []string{"int32[2] [0 1]"}},
		{name: "not 1", op: "Squeeze", version: 13, in: in(ramp(2, 1), vector(0)), err: "cannot be squeezed"},
		{name: "old", op: "Unsqueeze", version: 6, attrs: attrs("axes", []int64{0, 2}), in: in(ramp(2)), want: []string{"int32[1x2x1] [0 1]"}},
		{name: "twice", op: "Unsqueeze", version: 13, in: in(ramp(2), vector(0, -3)), err: "twice"},
		{name: "negative", op: "Reshape", version: 14, in: in(ramp(4), vector(-2, -2)), err: "dimension -2"},
		{name: "old", op: "Split", version: 6, attrs: attrs("split", []int64{1, 2}), in: in(ramp(3)), want: []string{"int32[1] [0]", "int32[2] [1 2]"}},
		{name: "unequal", op: "Split", version: 13, in: in(ramp(3)), want: []string{"", ""}, err: "no multiple of 2"},
		{name: "short last", op: "Split", version: 18, attrs: attrs("num_outputs", int64(2)), in: in(ramp(3)), want: []string{"int32[2] [0 1]", "int32[1] [2]"}},
		{name: "wrong sum", op: "Split", version: 13, in: in(ramp(3), vector(1, 1)), want: []string{"", ""}, err: "differ"},
		{name: "old", op: "Slice", version: 6, attrs: attrs("starts", []int64{1, -9}, "ends", []int64{100, -1}, "axes", []int64{1, 0}), in: in(ramp(2, 3)), want: []string{"int32[1x2] [1 2]"}},
		{name: "backwards", op: "Slice", version: 13, in: in(ramp(5), vector(-1), vector(-1<<63), vector(0), vector(-2)), want: []string{"int32[3] [4 2 0]"}},
		{name: "nothing", op: "Slice", version: 13, in: in(ramp(5), vector(4), vector(2)), want: []string{"int32[0] []"}},
		{name: "no step", op: "Slice", version: 13, in: in(ramp(5), vector(4), vector(2), vector(0), vector(0)), err: "is 0"},
		{name: "strings", op: "Concat", version: 13, attrs: attrs("axis", int64(0)), in: in(words("a"), words("b", "c")), want: []string{`string[3] ["a" "b" "c"]`}},
		{name: "types", op: "Concat", version: 13, attrs: attrs("axis", int64(0)), in: in(ramp(1), vector(2)), err: "the first is"},
		{name: "", op: "Expand", version: 8, in: in(ramp(2, 1), vector(3, 1, 2)), want: []string{"int32[3x2x2] [0 0 1 1 0 0 1 1 0 0 1 1]"}},
		{name: "impossible", op: "Expand", version: 8, in: in(ramp(2), vector(3)), err: "broadcast"},
		{name: "", op: "Tile", version: 6, in: in(ramp(1, 2), vector(2, 2)), want: []string{"int32[2x4] [0 1 0 1 0 1 0 1]"}},
		{name: "none", op: "Tile", version: 13, in: in(ramp(1, 2), vector(2, 0)), want: []string{"int32[2x0] []"}},
		{name: "scalar index", op: "Gather", version: 13, attrs: attrs("axis", int64(1)), in: in(ramp(2, 3), tensor.Scalar(int32(-1))), want: []string{"int32[2] [2 5]"}},
		{name: "outside", op: "Gather", version: 13, in: in(ramp(2, 3), vector(2)), err: "index 2 is outside a dimension of 2"},
		{name: "outside", op: "GatherElements", version: 13, in: in(ramp(2), vector(-3)), err: "index -3 is outside"},
		{name: "batches", op: "GatherND", version: 12, attrs: attrs("batch_dims", int64(1)), in: in(ramp(2, 3), intsFrom([]int{2, 1}, 2, -1)), want: []string{"int32[2] [2 5]"}},
		{name: "", op: "Compress", version: 11, attrs: attrs("axis", int64(-1)), in: in(ramp(2, 3), tensor.Of([]bool{false, true}, 2)), want: []string{"int32[2x1] [1 4]"}},
		{name: "too long", op: "Compress", version: 11, in: in(ramp(1), tensor.Of([]bool{false, true}, 2)), err: "keeps element 1 of 1"},
		{name: "too long", op: "ReverseSequence", version: 10, in: in(ramp(2, 1), vector(3)), err: "length 3"},
		{name: "sum of doubles", op: "ScatterElements", version: 18, attrs: attrs("reduction", "add"), in: in(tensor.Of([]uint8{1, 2}, 2), vector(1, 1), tensor.Of([]uint8{3, 4}, 2)), want: []string{"uint8[2] [1 9]"}},
		{name: "strings", op: "ScatterElements", version: 11, in: in(words("a", "b"), vector(-1), words("c")), want: []string{`string[2] ["a" "c"]`}},
		{name: "no sum of strings", op: "ScatterND", version: 16, attrs: attrs("reduction", "add"), in: in(words("a"), intsFrom([]int{1, 1}, 0), words("c")), err: `reduction "add" of string`},
		{name: "blocks", op: "ScatterND", version: 18, attrs: attrs("reduction", "max"), in: in(ramp(2, 2), intsFrom([]int{1, 1}, -1), tensor.Of([]int32{9, 0}, 1, 2)), want: []string{"int32[2x2] [0 1 9 3]"}},
		{name: "full", op: "TensorScatter", version: 24, in: in(floatsIn([]int{1, 2, 1}, 1, 2), floatsIn([]int{1, 1, 1}, 3), vector(2)), err: "do not fit"},
		{name: "old", op: "Pad", version: 6, attrs: attrs("pads", []int64{1, -1}, "value", float32(7)), in: in(floatsIn([]int{3}, 1, 2, 3)), want: []string{"float32[3] [7 1 2]"}},
		{name: "string", op: "Pad", version: 13, in: in(ramp(2), vector(-3, 0)), err: "leave -1"},
		{name: "far reflection", op: "Pad", version: 18, attrs: attrs("mode", "reflect"), in: in(ramp(2), vector(3, 2)), want: []string{"int32[7] [1 0 1 0 1 0 1]"}},
		{name: "far wrap", op: "Pad", version: 19, attrs: attrs("mode", "wrap"), in: in(ramp(2), vector(3, 2)), want: []string{"int32[7] [1 0 1 0 1 0 1]"}},
		{name: "odd", op: "CenterCropPad", version: 18, in: in(ramp(4, 1), vector(1, 4)), want: []string{"int32[1x4] [0 1 0 0]"}},
		{name: "", op: "SpaceToDepth", version: 13, attrs: attrs("blocksize", int64(2)), in: in(ramp(1, 1, 2, 4)), want: []string{"int32[1x4x1x2] [0 2 1 3 4 6 5 7]"}},
		{name: "depth last", op: "SpaceToDepth", version: 28, attrs: attrs("blocksize", int64(2), "mode", "CRD"), in: in(ramp(1, 2, 2, 2)), want: []string{"int32[1x8x1x1] [0 1 2 3 4 5 6 7]"}},
	})
}

// TestMoversRefuseNonsense: whatever a model gives an operator, it answers with an
// error or a result.
func TestMoversRefuseNonsense(t *testing.T) {
	names := strings.Fields(`Shape Size Reshape Flatten Squeeze Unsqueeze Transpose Concat Split Slice Gather GatherElements
		GatherND Scatter ScatterElements ScatterND TensorScatter Expand Tile Pad DepthToSpace SpaceToDepth OneHot Range Unique
		NonZero Compress ReverseSequence Trilu EyeLike ConstantOfShape CenterCropPad Identity NonMaxSuppression Upsample Resize
		GridSample AffineGrid RoiAlign MaxRoiPool Col2Im ImageDecoder StringConcat StringSplit StringNormalizer RegexFullMatch TfIdfVectorizer`)
	things := []*tensor.Tensor{
		nil, tensor.Scalar(int64(1)), tensor.Scalar(int64(-3)), vector(), vector(0), vector(1, 1), vector(2, -1), vector(1, 2, 3, 4), vector(-1, 0, 0, 0), ramp(0), ramp(2, 0, 1), ramp(2, 3),
		tensor.Scalar(float32(2)), floatsIn([]int{4}, 1, 1, 2, 0.5), floatsIn([]int{1, 1, 2, 2}, 1, 2, 3, 4), floatsIn([]int{1, 4}, 0, 0, 1, 1), floatsIn([]int{1, 1, 0, 2}),
		tensor.New(tensor.Float32, 1, 2, 3), tensor.New(tensor.Float32, 1, 2, 2, 2), tensor.New(tensor.Bool, 3), words("a", "b"), tensor.New(tensor.Complex64, 2), tensor.New(tensor.Int4, 3),
		intsFrom([]int{1, 2}, 0, 5), intsFrom([]int{2, 1}, 1, 0), tensor.New(tensor.Float16, 2, 2),
	}
	choices := graph.Attrs{"axis": int64(-7), "axes": []int64{1}, "perm": []int64{0, 0}, "blocksize": int64(2), "mode": "linear", "batch_dims": int64(1),
		"pads": []int64{1, 2}, "start": int64(-9), "scales": []float32{2}, "pooled_shape": []int64{1, 1}, "reduction": "add", "split": []int64{-1, 3},
		"ngram_counts": []int64{0}, "ngram_indexes": []int64{3}, "pool_strings": []string{"a"}, "num_outputs": int64(1), "starts": []int64{-1}, "ends": []int64{-1}}
	rng := rand.New(rand.NewPCG(5, 6))
	const repeats = 60
	for _, name := range names {
		for range repeats {
			a := graph.Attrs{}
			for k, v := range choices {
				if rng.IntN(4) == 0 {
					a[k] = v
				}
			}
			if rng.IntN(2) == 0 {
				a["axis"] = int64(rng.IntN(3))
			}
			in := make([]*tensor.Tensor, rng.IntN(5))
			for i := range in {
				in[i] = things[rng.IntN(len(things))]
			}
			version := []int{9, 13, 24}[rng.IntN(3)]
			func() {
				defer func() {
					if r := recover(); r != nil {
						t.Errorf("%s-%d of %v with %v: panic: %v", name, version, in, a, r)
					}
				}()
				_, _ = runNode(t, name, version, 1, a, in...)
			}()
		}
	}
}

// TestTransposeMovesEveryType compares with moving the elements one by one.
func TestTransposeMovesEveryType(t *testing.T) {
	values := ramp(2, 3)
	want := []int64{0, 3, 1, 4, 2, 5}
	for d := tensor.Float32; d.Valid(); d++ {
		if !d.Numeric() {
			continue
		}
		x, wanted := tensor.New(d, 2, 3), tensor.New(d, 3, 2)
		if err := tensor.Convert(x, values, true); err != nil {
			t.Fatal(err)
		}
		if err := tensor.Convert(wanted, tensor.Of(want, 3, 2), true); err != nil {
			t.Fatal(err)
		}
		out, err := runNode(t, "Transpose", 24, 1, nil, x)
		if err != nil {
			t.Fatal(d, err)
		}
		if !slices.Equal(out[0].Bytes(), wanted.Bytes()) {
			t.Errorf("%v: %v, want %v", d, out[0].Bytes(), wanted.Bytes())
		}
	}
}

// TestPackedElementsArePadded: elements of under a byte move across bytes.
func TestPackedElementsArePadded(t *testing.T) {
	x := tensor.New(tensor.Int4, 3)
	if err := tensor.Convert(x, tensor.Of([]int32{1, -2, 3}, 3), false); err != nil {
		t.Fatal(err)
	}
	out, err := runNode(t, "Pad", 21, 1, attrs("mode", "edge"), x, vector(1, 1))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := elementsOf(out[0]), "int4[5] [1 1 -2 3 3]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestSliceAndTransposeEqualTheirDefinition compares random cases with indexing
// one element at a time.
func TestSliceAndTransposeEqualTheirDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 60 {
		shape := []int{1 + rng.IntN(4), 1 + rng.IntN(4), 1 + rng.IntN(4)}
		x := ramp(shape...)
		perm := rng.Perm(3)
		at := func(i, j, k int) int32 { return tensor.Data[int32](x)[(i*shape[1]+j)*shape[2]+k] }
		out, err := runNode(t, "Transpose", 13, 1, attrs("perm", []int64{int64(perm[0]), int64(perm[1]), int64(perm[2])}), x)
		if err != nil {
			t.Fatal(err)
		}
		var want []int32
		var index [3]int
		for index[perm[0]] = range shape[perm[0]] {
			for index[perm[1]] = range shape[perm[1]] {
				for index[perm[2]] = range shape[perm[2]] {
					want = append(want, at(index[0], index[1], index[2]))
				}
			}
		}
		if got := tensor.Data[int32](out[0]); !slices.Equal(got, want) {
			t.Fatalf("perm %v of %v: %v, want %v", perm, shape, got, want)
		}
		checkSlice(t, rng, x)
	}
}

func checkSlice(t *testing.T, rng *rand.Rand, x *tensor.Tensor) {
	t.Helper()
	n, inner := x.Dim(0), x.Dim(1)*x.Dim(2)
	start, end, step := rng.IntN(13)-6, rng.IntN(13)-6, rng.IntN(3)+1
	if rng.IntN(2) == 0 {
		step = -step
	}
	out, err := runNode(t, "Slice", 13, 1, nil, x, vector(int64(start)), vector(int64(end)), vector(0), vector(int64(step)))
	if err != nil {
		t.Fatal(err)
	}
	lo, hi := start, end
	if lo < 0 {
		lo += n
	}
	if hi < 0 {
		hi += n
	}
	want := []int32{}
	for i := min(max(lo, 0), n); step > 0 && i < min(hi, n); i += step {
		want = append(want, tensor.Data[int32](x)[i*inner:][:inner]...)
	}
	for i := min(max(lo, 0), n-1); step < 0 && i > max(hi, -1); i += step {
		want = append(want, tensor.Data[int32](x)[i*inner:][:inner]...)
	}
	if got := tensor.Data[int32](out[0]); !slices.Equal(got, want) {
		t.Fatalf("[%d:%d:%d] of %v: %v, want %v", start, end, step, x.Shape(), got, want)
	}
}

// TestShapesThatExportersComputeStaySymbolic: x.view(batch, -1, 3)[:, 1:] as
// exporters write it.
func TestShapesThatExportersComputeStaySymbolic(t *testing.T) {
	b := graph.NewBuilder("exported", op.Default())
	x := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Sym("n"), graph.Const(6))
	c := func(v ...int64) *graph.Value { return b.Const("c", vector(v...)) }
	shape := b.Op("Shape", nil, x)
	batch := b.Op("Gather", nil, shape, b.Const("zero", tensor.Scalar(int64(0))))
	n := b.Op("Squeeze", nil, b.Op("Slice", nil, shape, c(1), c(2)), c(0))
	target := b.Op("Concat", attrs("axis", int64(0)), b.Op("Unsqueeze", nil, batch, c(0)), c(-1), c(3))
	y := b.Op("Slice", nil, b.Op("Reshape", nil, x, target), c(1), c(1<<62), c(1))
	ones := b.Op("ConstantOfShape", nil, b.Op("Concat", attrs("axis", int64(0)), b.Op("Unsqueeze", nil, n, c(0)), c(2)))
	count := b.Op("Range", nil, b.Const("start", tensor.Scalar(int64(0))), n, b.Const("step", tensor.Scalar(int64(1))))
	wide := b.Op("Expand", nil, count, b.Op("Concat", attrs("axis", int64(0)), b.Op("Unsqueeze", nil, batch, c(0)), b.Op("Unsqueeze", nil, n, c(0))))
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	for _, tc := range []struct {
		v    *graph.Value
		want string
	}{{y, "float32[batch, -1+2*n, 3]"}, {ones, "float32[n, 2]"}, {count, "int64[n]"}, {wide, "int64[batch, n]"}} {
		if got := tc.v.Type.String(); got != tc.want {
			t.Errorf("%s is %s, want %s", tc.v.Name, got, tc.want)
		}
	}
}
