package op_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/op/optest"
	"tandem/tensor"
)

func floatsIn(shape []int, v ...float32) *tensor.Tensor { return tensor.Of(v, shape...) }
func intsFrom(shape []int, v ...int64) *tensor.Tensor   { return tensor.Of(v, shape...) }

// ramp is 0, 1, 2, … as int32.
func ramp(shape ...int) *tensor.Tensor {
	x := tensor.New(tensor.Int32, shape...)
	for i := range x.Len() {
		tensor.Data[int32](x)[i] = int32(i)
	}
	return x
}

func TestMovers(t *testing.T) {
	in := func(x ...*tensor.Tensor) []*tensor.Tensor { return x }
	optest.Cases(t, []optest.Case{
		{Name: "old", Op: "Squeeze", Version: 6, Attrs: attrs("axes", []int64{-1}), In: in(ramp(2, 1)), Want: []string{"int32[2] [0 1]"}},
		{Name: "all", Op: "Squeeze", Version: 13, In: in(ramp(1, 2, 1)), Want: []string{"int32[2] [0 1]"}},
		{Name: "not 1", Op: "Squeeze", Version: 13, In: in(ramp(2, 1), optest.Ints(0)), Err: "cannot be squeezed"},
		{Name: "old", Op: "Unsqueeze", Version: 6, Attrs: attrs("axes", []int64{0, 2}), In: in(ramp(2)), Want: []string{"int32[1x2x1] [0 1]"}},
		{Name: "twice", Op: "Unsqueeze", Version: 13, In: in(ramp(2), optest.Ints(0, -3)), Err: "twice"},
		{Name: "negative", Op: "Reshape", Version: 14, In: in(ramp(4), optest.Ints(-2, -2)), Err: "dimension -2"},
		{Name: "old", Op: "Split", Version: 6, Attrs: attrs("split", []int64{1, 2}), In: in(ramp(3)), Want: []string{"int32[1] [0]", "int32[2] [1 2]"}},
		{Name: "unequal", Op: "Split", Version: 13, In: in(ramp(3)), Want: []string{"", ""}, Err: "no multiple of 2"},
		{Name: "short last", Op: "Split", Version: 18, Attrs: attrs("num_outputs", int64(2)), In: in(ramp(3)), Want: []string{"int32[2] [0 1]", "int32[1] [2]"}},
		{Name: "wrong sum", Op: "Split", Version: 13, In: in(ramp(3), optest.Ints(1, 1)), Want: []string{"", ""}, Err: "differ"},
		{Name: "old", Op: "Slice", Version: 6, Attrs: attrs("starts", []int64{1, -9}, "ends", []int64{100, -1}, "axes", []int64{1, 0}), In: in(ramp(2, 3)), Want: []string{"int32[1x2] [1 2]"}},
		{Name: "backwards", Op: "Slice", Version: 13, In: in(ramp(5), optest.Ints(-1), optest.Ints(-1<<63), optest.Ints(0), optest.Ints(-2)), Want: []string{"int32[3] [4 2 0]"}},
		{Name: "nothing", Op: "Slice", Version: 13, In: in(ramp(5), optest.Ints(4), optest.Ints(2)), Want: []string{"int32[0] []"}},
		{Name: "no step", Op: "Slice", Version: 13, In: in(ramp(5), optest.Ints(4), optest.Ints(2), optest.Ints(0), optest.Ints(0)), Err: "is 0"},
		{Name: "strings", Op: "Concat", Version: 13, Attrs: attrs("axis", int64(0)), In: in(optest.Words("a"), optest.Words("b", "c")), Want: []string{`string[3] ["a" "b" "c"]`}},
		{Name: "types", Op: "Concat", Version: 13, Attrs: attrs("axis", int64(0)), In: in(ramp(1), optest.Ints(2)), Err: "the first is"},
		{Name: "", Op: "Expand", Version: 8, In: in(ramp(2, 1), optest.Ints(3, 1, 2)), Want: []string{"int32[3x2x2] [0 0 1 1 0 0 1 1 0 0 1 1]"}},
		{Name: "impossible", Op: "Expand", Version: 8, In: in(ramp(2), optest.Ints(3)), Err: "broadcast"},
		{Name: "", Op: "Tile", Version: 6, In: in(ramp(1, 2), optest.Ints(2, 2)), Want: []string{"int32[2x4] [0 1 0 1 0 1 0 1]"}},
		{Name: "none", Op: "Tile", Version: 13, In: in(ramp(1, 2), optest.Ints(2, 0)), Want: []string{"int32[2x0] []"}},
		{Name: "scalar index", Op: "Gather", Version: 13, Attrs: attrs("axis", int64(1)), In: in(ramp(2, 3), tensor.Scalar(int32(-1))), Want: []string{"int32[2] [2 5]"}},
		{Name: "outside", Op: "Gather", Version: 13, In: in(ramp(2, 3), optest.Ints(2)), Err: "index 2 is outside a dimension of 2"},
		{Name: "outside", Op: "GatherElements", Version: 13, In: in(ramp(2), optest.Ints(-3)), Err: "index -3 is outside"},
		{Name: "batches", Op: "GatherND", Version: 12, Attrs: attrs("batch_dims", int64(1)), In: in(ramp(2, 3), intsFrom([]int{2, 1}, 2, -1)), Want: []string{"int32[2] [2 5]"}},
		{Name: "", Op: "Compress", Version: 11, Attrs: attrs("axis", int64(-1)), In: in(ramp(2, 3), tensor.Of([]bool{false, true}, 2)), Want: []string{"int32[2x1] [1 4]"}},
		{Name: "too long", Op: "Compress", Version: 11, In: in(ramp(1), tensor.Of([]bool{false, true}, 2)), Err: "keeps element 1 of 1"},
		{Name: "too long", Op: "ReverseSequence", Version: 10, In: in(ramp(2, 1), optest.Ints(3)), Err: "length 3"},
		{Name: "sum of doubles", Op: "ScatterElements", Version: 18, Attrs: attrs("reduction", "add"), In: in(tensor.Of([]uint8{1, 2}, 2), optest.Ints(1, 1), tensor.Of([]uint8{3, 4}, 2)), Want: []string{"uint8[2] [1 9]"}},
		{Name: "strings", Op: "ScatterElements", Version: 11, In: in(optest.Words("a", "b"), optest.Ints(-1), optest.Words("c")), Want: []string{`string[2] ["a" "c"]`}},
		{Name: "no sum of strings", Op: "ScatterND", Version: 16, Attrs: attrs("reduction", "add"), In: in(optest.Words("a"), intsFrom([]int{1, 1}, 0), optest.Words("c")), Err: `reduction "add" of string`},
		{Name: "blocks", Op: "ScatterND", Version: 18, Attrs: attrs("reduction", "max"), In: in(ramp(2, 2), intsFrom([]int{1, 1}, -1), tensor.Of([]int32{9, 0}, 1, 2)), Want: []string{"int32[2x2] [0 1 9 3]"}},
		{Name: "full", Op: "TensorScatter", Version: 24, In: in(floatsIn([]int{1, 2, 1}, 1, 2), floatsIn([]int{1, 1, 1}, 3), optest.Ints(2)), Err: "do not fit"},
		{Name: "old", Op: "Pad", Version: 6, Attrs: attrs("pads", []int64{1, -1}, "value", float32(7)), In: in(floatsIn([]int{3}, 1, 2, 3)), Want: []string{"float32[3] [7 1 2]"}},
		{Name: "string", Op: "Pad", Version: 13, In: in(ramp(2), optest.Ints(-3, 0)), Err: "leave -1"},
		{Name: "far reflection", Op: "Pad", Version: 18, Attrs: attrs("mode", "reflect"), In: in(ramp(2), optest.Ints(3, 2)), Want: []string{"int32[7] [1 0 1 0 1 0 1]"}},
		{Name: "far wrap", Op: "Pad", Version: 19, Attrs: attrs("mode", "wrap"), In: in(ramp(2), optest.Ints(3, 2)), Want: []string{"int32[7] [1 0 1 0 1 0 1]"}},
		{Name: "odd", Op: "CenterCropPad", Version: 18, In: in(ramp(4, 1), optest.Ints(1, 4)), Want: []string{"int32[1x4] [0 1 0 0]"}},
		{Name: "", Op: "SpaceToDepth", Version: 13, Attrs: attrs("blocksize", int64(2)), In: in(ramp(1, 1, 2, 4)), Want: []string{"int32[1x4x1x2] [0 2 1 3 4 6 5 7]"}},
		{Name: "depth last", Op: "SpaceToDepth", Version: 28, Attrs: attrs("blocksize", int64(2), "mode", "CRD"), In: in(ramp(1, 2, 2, 2)), Want: []string{"int32[1x8x1x1] [0 1 2 3 4 5 6 7]"}},
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
		nil, tensor.Scalar(int64(1)), tensor.Scalar(int64(-3)), optest.Ints(), optest.Ints(0), optest.Ints(1, 1), optest.Ints(2, -1), optest.Ints(1, 2, 3, 4), optest.Ints(-1, 0, 0, 0), ramp(0), ramp(2, 0, 1), ramp(2, 3),
		tensor.Scalar(float32(2)), floatsIn([]int{4}, 1, 1, 2, 0.5), floatsIn([]int{1, 1, 2, 2}, 1, 2, 3, 4), floatsIn([]int{1, 4}, 0, 0, 1, 1), floatsIn([]int{1, 1, 0, 2}),
		tensor.New(tensor.Float32, 1, 2, 3), tensor.New(tensor.Float32, 1, 2, 2, 2), tensor.New(tensor.Bool, 3), optest.Words("a", "b"), tensor.New(tensor.Complex64, 2), tensor.New(tensor.Int4, 3),
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
				_, _ = optest.Run(t, name, version, 1, a, in...)
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
		out, err := optest.Run(t, "Transpose", 24, 1, nil, x)
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
	out, err := optest.Run(t, "Pad", 21, 1, attrs("mode", "edge"), x, optest.Ints(1, 1))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := optest.Elements(out[0]), "int4[5] [1 1 -2 3 3]"; got != want {
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
		out, err := optest.Run(t, "Transpose", 13, 1, attrs("perm", []int64{int64(perm[0]), int64(perm[1]), int64(perm[2])}), x)
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
	out, err := optest.Run(t, "Slice", 13, 1, nil, x, optest.Ints(int64(start)), optest.Ints(int64(end)), optest.Ints(0), optest.Ints(int64(step)))
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
	c := func(v ...int64) *graph.Value { return b.Const("c", optest.Ints(v...)) }
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
