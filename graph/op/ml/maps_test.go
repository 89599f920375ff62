package ml_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/op/optest"
	"tandem/tensor"
)

func mlNode(t *testing.T, name string, a graph.Attrs, in ...*tensor.Tensor) (*tensor.Tensor, error) {
	t.Helper()
	out, err := optest.Apply(t, graph.OpID{Domain: "ai.onnx.ml", Name: name}, 1, a, in...)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// TestZipMap: a map for each row; a vector is one row.
func TestZipMap(t *testing.T) {
	for _, tc := range []struct {
		attrs graph.Attrs
		x     *tensor.Tensor
		want  []string
	}{
		{graph.Attrs{"classlabels_int64s": []int64{7, 9}}, tensor.Of([]float32{1, 2, 3, 4}, 2, 2), []string{"[7 9]:[1 2]", "[7 9]:[3 4]"}},
		{graph.Attrs{"classlabels_strings": []string{"a", "b"}}, tensor.Of([]float32{1, 2}, 2), []string{"[a b]:[1 2]"}},
		{graph.Attrs{"classlabels_strings": []string{"a", "b"}}, tensor.New(tensor.Float32, 0, 2), nil},
	} {
		y, err := mlNode(t, "ZipMap", tc.attrs, tc.x)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range y.Items() {
			k, v := m.Items()[0], m.Items()[1]
			keys := fmt.Sprint(k.Strings())
			if k.DType() == tensor.Int64 {
				keys = fmt.Sprint(k.I64())
			}
			got = append(got, fmt.Sprint(keys, ":", v.F32()))
		}
		if y.DType() != tensor.Sequence || !slices.Equal(got, tc.want) {
			t.Errorf("%v: %q, want %q", tc.x, got, tc.want)
		}
	}
	for want, x := range map[string]*tensor.Tensor{"rows of 2": tensor.New(tensor.Float32, 2, 3), "float32": tensor.New(tensor.Int64, 2, 2)} {
		if _, err := mlNode(t, "ZipMap", graph.Attrs{"classlabels_int64s": []int64{7, 9}}, x); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", x, err)
		}
	}
}

func mapOf(keys, values *tensor.Tensor) *tensor.Tensor {
	return tensor.OfTensors(tensor.Map, []*tensor.Tensor{keys, values})
}

// TestMapsToTensors: the specification's rules for keys that are missing, order and type.
func TestMapsToTensors(t *testing.T) {
	words := mapOf(tensor.OfStrings([]string{"c", "a"}, 2), tensor.Of([]float32{5, 6}, 2))
	y, err := mlNode(t, "DictVectorizer", graph.Attrs{"string_vocabulary": []string{"a", "b", "c"}}, words)
	if err != nil || !y.Shape().Equal(tensor.Shape{1, 3}) || !slices.Equal(y.F32(), []float32{6, 0, 5}) {
		t.Error(y, err)
	}
	if _, err := mlNode(t, "DictVectorizer", graph.Attrs{"int64_vocabulary": []int64{1}}, words); err == nil {
		t.Error("a vocabulary of other keys is taken")
	}
	if _, err := mlNode(t, "DictVectorizer", graph.Attrs{"int64_vocabulary": []int64{1}}, tensor.New(tensor.Int64, 2)); err == nil {
		t.Error("a tensor is taken for a map")
	}
	numbers := mapOf(tensor.Of([]int64{3, 0}, 2), tensor.OfStrings([]string{"1.5", "-2"}, 2))
	y, err = mlNode(t, "CastMap", graph.Attrs{}, numbers)
	if err != nil || !slices.Equal(y.F32(), []float32{-2, 1.5}) {
		t.Error(y, err)
	}
	y, err = mlNode(t, "CastMap", graph.Attrs{"map_form": "SPARSE", "max_map": int64(5), "cast_to": "TO_INT64"}, numbers)
	if err != nil || !slices.Equal(y.I64(), []int64{-2, 0, 0, 1, 0}) {
		t.Error(y, err)
	}
	if _, err = mlNode(t, "CastMap", graph.Attrs{"map_form": "SPARSE", "max_map": int64(3)}, numbers); err == nil {
		t.Error("a key beyond max_map is taken")
	}
}
