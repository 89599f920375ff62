package op_test

import (
	"fmt"
	"testing"

	"tandem/graph"
	"tandem/tensor"
)

func TestEinsum(t *testing.T) {
	a, b := []float64{1, 2, 3, 4, 5, 6}, []float64{1, 0, 2, 1, 1, 3}
	for _, tc := range []struct {
		equation string
		in       [][]float64
		shapes   [][]int
		want     []float64
		shape    string
	}{
		{"ij,jk->ik", [][]float64{a, b}, [][]int{{2, 3}, {3, 2}}, []float64{8, 11, 20, 23}, "2x2"},
		{"ij , jk", [][]float64{a, b}, [][]int{{2, 3}, {3, 2}}, []float64{8, 11, 20, 23}, "2x2"},
		{"ba", [][]float64{a}, [][]int{{2, 3}}, []float64{1, 4, 2, 5, 3, 6}, "3x2"},
		{"ij->", [][]float64{a}, [][]int{{2, 3}}, []float64{21}, "scalar"},
		{"ij->j", [][]float64{a}, [][]int{{2, 3}}, []float64{5, 7, 9}, "3"},
		{"ii", [][]float64{{1, 2, 3, 4}}, [][]int{{2, 2}}, []float64{5}, "scalar"},
		{"ii->i", [][]float64{{1, 2, 3, 4}}, [][]int{{2, 2}}, []float64{1, 4}, "2"},
		{"i,j->ij", [][]float64{{1, 2}, {3, 4, 5}}, [][]int{{2}, {3}}, []float64{3, 4, 5, 6, 8, 10}, "2x3"},
		{"...j,j->...", [][]float64{a, {1, 0, 2}}, [][]int{{2, 1, 3}, {3}}, []float64{7, 16}, "2x1"},
		{"...i,...i", [][]float64{a, {1, 0, 2}}, [][]int{{2, 3}, {1, 3}}, []float64{7, 16}, "2"},
		{"bij,bjk->bik", [][]float64{{1, 2, 3, 4}, {5, 6, 7, 8}}, [][]int{{2, 1, 2}, {2, 2, 1}}, []float64{17, 53}, "2x1x1"},
		{"ij,ij,ik->jk", [][]float64{{1, 2}, {3, 4}, {2, 1}}, [][]int{{1, 2}, {1, 2}, {1, 2}}, []float64{6, 3, 16, 8}, "2x2"},
		{",ij->ji", [][]float64{{2}, {1, 2}}, [][]int{{}, {1, 2}}, []float64{2, 4}, "2x1"},
		{"ij,jk->ik", [][]float64{nil, nil}, [][]int{{2, 0}, {0, 2}}, []float64{0, 0, 0, 0}, "2x2"},
	} {
		for _, d := range numericTypes {
			var in []*tensor.Tensor
			for i, v := range tc.in {
				in = append(in, of(t, d, v, tc.shapes[i]...))
			}
			got, err := apply(t, 12, graph.OpID{Name: "Einsum"}, attrs("equation", tc.equation), in...)
			if err != nil {
				t.Fatalf("%q: %v", tc.equation, err)
			}
			if got.DType() != d || got.Shape().String() != tc.shape || !sameNumbers(numbersOf(got), tc.want, tolerance(d)) {
				t.Errorf("%q of %v: %v %v, want %v %v", tc.equation, d, got, numbersOf(got), tc.shape, tc.want)
			}
		}
	}
}

func TestEinsumErrors(t *testing.T) {
	for _, tc := range []struct {
		equation string
		shapes   [][]int
	}{
		{"", [][]int{{2}}}, {"ij->ij", [][]int{{2}}}, {"i,j->ij", [][]int{{2}}}, {"i->k", [][]int{{2}}}, {"i->ii", [][]int{{2}}},
		{"i.->i", [][]int{{2, 3}}}, {"......->", [][]int{{2}}}, {"i1", [][]int{{2, 3}}}, {"ij,jk->ik", [][]int{{2, 3}, {4, 5}}}, {"ij...->i", [][]int{{2}}},
		{"ii", [][]int{{2, 3}}}, {"i->i->i", [][]int{{2}}},
		{"a,b,c,d,e->", nil},
	} {
		var in []*tensor.Tensor
		for _, s := range tc.shapes {
			in = append(in, tensor.New(tensor.Float32, s...))
		}
		if _, err := apply(t, 12, graph.OpID{Name: "Einsum"}, attrs("equation", tc.equation), in...); err == nil {
			t.Errorf("%q of %v: no error", tc.equation, tc.shapes)
		}
	}
}

// Attention's products keep the symbols of batch and sequence.
func TestEinsumShapesStaySymbolic(t *testing.T) {
	b := testBuilder()
	q := b.Input("q", tensor.Float32, graph.Sym("b"), graph.Const(8), graph.Sym("s"), graph.Const(64))
	k := b.Input("k", tensor.Float32, graph.Sym("b"), graph.Const(8), graph.Sym("t"), graph.Const(64))
	y := b.Op("Einsum", attrs("equation", "bhqd,bhkd->bhqk"), q, k)
	if b.Err() != nil || fmt.Sprint(y.Type.Shape) != "[b, 8, s, t]" {
		t.Errorf("%v, %v", y.Type, b.Err())
	}
}
