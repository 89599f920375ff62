package ml_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/op/optest"
	"tandem/tensor"
)

// stump is the attributes of one tree with one split, feature 1 at 0.5, in the
// older form; kind is target or class. Its leaves give w1 to id1 and w2 to id2.
func stump(kind string, id1, id2 int64, w1, w2 float32, more ...any) graph.Attrs {
	a := graph.Attrs{
		"nodes_treeids": []int64{0, 0, 0}, "nodes_nodeids": []int64{0, 1, 2}, "nodes_featureids": []int64{1, 0, 0},
		"nodes_modes": []string{"BRANCH_LEQ", "LEAF", "LEAF"}, "nodes_values": []float32{0.5, 0, 0},
		"nodes_truenodeids": []int64{1, 0, 0}, "nodes_falsenodeids": []int64{2, 0, 0}, "nodes_missing_value_tracks_true": []int64{1, 0, 0},
		kind + "_treeids": []int64{0, 0}, kind + "_nodeids": []int64{1, 2}, kind + "_ids": []int64{id1, id2}, kind + "_weights": []float32{w1, w2},
	}
	return with(a, more...)
}

// with is a copy of attributes with some replaced.
func with(a graph.Attrs, more ...any) graph.Attrs {
	out := graph.Attrs{}
	for k, v := range a {
		out[k] = v
	}
	for i := 0; i < len(more); i += 2 {
		out[more[i].(string)] = more[i+1]
	}
	return out
}

var nan32 = float32(math.NaN())

func TestTrees(t *testing.T) {
	x := tensor.Of([]float32{9, 0.5, 9, 0.75, 9, nan32}, 3, 2)
	in := []*tensor.Tensor{x}
	regressor := stump("target", 0, 1, 2, -3, "n_targets", int64(2))
	optest.Rows(t, "ai.onnx.ml", 1, []optest.Row{
		{"TreeEnsembleRegressor", regressor, in, "3x2 [2 0 0 -3 2 0]"},
		{"TreeEnsembleRegressor", with(regressor, "base_values", []float32{10, 20}), in, "3x2 [12 20 10 17 12 20]"},
		{"TreeEnsembleRegressor", with(regressor, "aggregate_function", "MIN"), in, "3x2 [2 0 0 -3 2 0]"},
		{"TreeEnsembleRegressor", with(regressor, "n_targets", int64(1)), in, "a leaf gives to target 1 of 1"},
		{"TreeEnsembleRegressor", with(regressor, "nodes_featureids", []int64{2, 0, 0}), in, "compares feature 2 of 2"},
		{"TreeEnsembleRegressor", with(regressor, "nodes_truenodeids", []int64{7, 0, 0}), in, "leads to 7 and 2"},
		{"TreeEnsembleRegressor", with(regressor, "nodes_truenodeids", []int64{0, 0, 0}), in, "it has no trees"},
		{"TreeEnsembleRegressor", with(regressor, "nodes_modes", []string{"LEAF"}), in, "nodes_modes has 1 elements for 3 nodes"},
		{"TreeEnsembleRegressor", with(regressor, "aggregate_function", "MEDIAN"), in, "not known"},
	})
	classifier := stump("class", 0, 1, 0.25, 0.75, "classlabels_strings", []string{"a", "b"})
	optest.Rows(t, "ai.onnx.ml", 2, []optest.Row{
		{"TreeEnsembleClassifier", classifier, in, `3["a" "b" "a"]; 3x2 [0.25 0 0 0.75 0.25 0]`},
		{"TreeEnsembleClassifier", with(classifier, "class_ids", []int64{0, 0}), in, `3["a" "b" "a"]; 3x2 [0.75 0.25 0.25 0.75 0.75 0.25]`},
		{"TreeEnsembleClassifier", with(classifier, "class_ids", []int64{0, 0}, "class_weights", []float32{-2, 1}), in, `3["a" "b" "a"]; 3x2 [2 -2 -1 1 2 -2]`},
		{"TreeEnsembleClassifier", with(classifier, "classlabels_int64s", []int64{1, 2}), in, "one of the two is expected"},
	})
}

// TestTreeCycleEnds: two nodes that lead to each other below a root.
func TestTreeCycleEnds(t *testing.T) {
	modes := tensor.Of([]uint8{0, 0}, 2)
	a := graph.Attrs{
		"tree_roots": []int64{0}, "nodes_modes": modes, "nodes_splits": tensor.Of([]float32{1, 1}, 2), "nodes_featureids": []int64{0, 0},
		"nodes_truenodeids": []int64{1, 0}, "nodes_falsenodeids": []int64{0, 0}, "nodes_trueleafs": []int64{0, 0}, "nodes_falseleafs": []int64{1, 1},
		"leaf_targetids": []int64{0}, "leaf_weights": tensor.Of([]float32{5}, 1), "n_targets": int64(1),
	}
	optest.Rows(t, "ai.onnx.ml", 1, []optest.Row{
		{"TreeEnsemble", a, []*tensor.Tensor{tensor.Of([]float32{2}, 1, 1)}, "1x1 [5]"},
		{"TreeEnsemble", a, []*tensor.Tensor{tensor.Of([]float32{0}, 1, 1)}, "has a cycle"},
		{"TreeEnsemble", with(a, "tree_roots", []int64{2}), []*tensor.Tensor{tensor.Of([]float32{0}, 1, 1)}, "the root 2 is no tree node"},
		{"TreeEnsemble", with(a, "nodes_modes", tensor.Of([]uint8{0, 6}, 2)), []*tensor.Tensor{tensor.Of([]float32{0}, 1, 1)}, "membership_values has no set for node 1"},
	})
}

// TestLinearAndSVM: small sums by hand.
func TestLinearAndSVM(t *testing.T) {
	in := []*tensor.Tensor{tensor.Of([]float32{1, 2, -3, 4}, 2, 2)}
	lin := graph.Attrs{"coefficients": []float32{1, 2, 3, 4}, "intercepts": []float32{0.5, -0.5}}
	optest.Rows(t, "ai.onnx.ml", 1, []optest.Row{
		{"LinearRegressor", with(lin, "targets", int64(2)), in, "2x2 [5.5 10.5 5.5 6.5]"},
		{"LinearRegressor", with(lin, "targets", int64(3)), in, "4 coefficients and 2 intercepts for 3 sums"},
		{"SVMRegressor", graph.Attrs{"coefficients": []float32{1, 2}, "rho": []float32{3}}, in, "2x1 [8 8]"},
		{"SVMRegressor", graph.Attrs{"coefficients": []float32{2, -1}, "rho": []float32{0}, "n_supports": int64(2), "support_vectors": []float32{1, 0, 0, 1},
			"kernel_type": "POLY", "kernel_params": []float32{1, 1, 2}}, in, "2x1 [-1 -17]"},
		{"SVMRegressor", graph.Attrs{"coefficients": []float32{2, -1}, "rho": []float32{0}, "n_supports": int64(2), "support_vectors": []float32{1, 0}}, in, "2 numbers for 2 support vectors"},
	})
	optest.Rows(t, "ai.onnx.ml", 2, []optest.Row{
		{"LinearClassifier", with(lin, "classlabels_ints", []int64{7, 8}), in, "2 [8 8]; 2x2 [5.5 10.5 5.5 6.5]"},
		{"LinearClassifier", graph.Attrs{"coefficients": []float32{1, 0}, "intercepts": []float32{0}, "classlabels_ints": []int64{7, 8}}, in, "2 [8 7]; 2x2 [0 1 4 -3]"},
		{"LinearClassifier", with(lin, "classlabels_ints", []int64{7, 8, 9}), in, "2 sums for 3 classes"},
		{"SVMClassifier", graph.Attrs{"coefficients": []float32{1, -1}, "rho": []float32{0.5}, "vectors_per_class": []int64{1, 1}, "support_vectors": []float32{1, 0, 0, 1},
			"classlabels_ints": []int64{3, 4}}, in, "2 [4 4]; 2x2 [0.5 -0.5 6.5 -6.5]"},
	})
}

func TestFeaturesAndLabels(t *testing.T) {
	in := func(x ...*tensor.Tensor) []*tensor.Tensor { return x }
	x := tensor.Of([]float32{3, -4, 0, 0}, 2, 2)
	words := tensor.OfStrings([]string{"b", "a", "z"}, 3)
	optest.Rows(t, "ai.onnx.ml", 1, []optest.Row{
		{"Binarizer", graph.Attrs{"threshold": float32(1)}, in(x), "2x2 [1 0 0 0]"},
		{"Scaler", graph.Attrs{"offset": []float32{1, 2}, "scale": []float32{2}}, in(x), "2x2 [4 -12 -2 -4]"},
		{"Scaler", graph.Attrs{"offset": []float32{1, 2, 3}, "scale": []float32{2}}, in(x), "attribute offset has 3 numbers for 2 features"},
		{"Normalizer", graph.Attrs{"norm": "L2"}, in(x), "2x2 [0.6 -0.8 0 0]"},
		{"Normalizer", graph.Attrs{"norm": "L1"}, in(optest.Ints(3, -1)), "2 [0.75 -0.25]"},
		{"Normalizer", graph.Attrs{"norm": "L3"}, in(x), "not MAX, L1 or L2"},
		{"Imputer", graph.Attrs{"imputed_value_floats": []float32{7, 8}, "replaced_value_float": float32(0)}, in(x), "2x2 [3 -4 7 8]"},
		{"Imputer", graph.Attrs{"imputed_value_int64s": []int64{1<<53 + 1}, "replaced_value_int64": int64(2)}, in(optest.Ints(2, 3)), "2 [9007199254740993 3]"},
		{"ArrayFeatureExtractor", nil, in(x, optest.Ints(1, 1, 0)), "2x3 [-4 -4 3 0 0 0]"},
		{"ArrayFeatureExtractor", nil, in(words, optest.Ints(2)), `1x1["z"]`},
		{"ArrayFeatureExtractor", nil, in(x, optest.Ints(2)), "index 0 is 2, outside [0, 2)"},
		{"FeatureVectorizer", graph.Attrs{"inputdimensions": []int64{1, 3}}, in(x, optest.Ints(5, 6)), "numbers of rows"},
		{"FeatureVectorizer", graph.Attrs{"inputdimensions": []int64{1, 3}}, in(optest.Ints(4, 9), optest.Ints(5, 6)), "1x4 [4 5 6 0]"},
		{"OneHotEncoder", graph.Attrs{"cats_strings": []string{"a", "b"}}, in(words), "3x2 [0 1 1 0 0 0]"},
		{"OneHotEncoder", graph.Attrs{"cats_strings": []string{"a", "b"}, "zeros": int64(0)}, in(words), "element 2 is of no known category"},
		{"CategoryMapper", graph.Attrs{"cats_strings": []string{"a", "b"}, "cats_int64s": []int64{5, 6}}, in(words), "3 [6 5 -1]"},
		{"CategoryMapper", graph.Attrs{"cats_strings": []string{"a", "b"}, "cats_int64s": []int64{5, 6}}, in(optest.Ints(6, 7)), `2["b" "_Unused"]`},
		{"LabelEncoder", graph.Attrs{"classes_strings": []string{"a", "b"}}, in(words), "3 [1 0 -1]"},
		{"LabelEncoder", graph.Attrs{"keys_floats": []float32{0, nan32}, "values_strings": []string{"zero", "none"}}, in(tensor.Of([]float32{0, nan32, 1}, 3)), `3["zero" "none" "_Unused"]`},
		{"LabelEncoder", graph.Attrs{"keys_strings": []string{"a", "a"}, "values_floats": []float32{1, 2}}, in(words), "3 [0 2 0]"},
		{"LabelEncoder", graph.Attrs{"keys_strings": []string{"a"}, "values_floats": []float32{1, 2}}, in(words), "1 keys for 2 values"},
		{"LabelEncoder", graph.Attrs{"keys_int64s": []int64{1}, "values_floats": []float32{1}}, in(words), "the keys are int64, the input is string"},
	})
}

// TestPairwiseCoupling: three classes whose pairs are decided clearly.
func TestPairwiseCoupling(t *testing.T) {
	a := graph.Attrs{
		"coefficients": []float32{1, -1, 0, 1, 0, -1}, "rho": []float32{0, 0, 0}, "vectors_per_class": []int64{1, 1, 1},
		"support_vectors": []float32{1, 0, 0}, "classlabels_ints": []int64{3, 4, 5},
		"prob_a": []float32{-2, -2, -2}, "prob_b": []float32{0, 0, 0},
	}
	out, err := optest.Apply(t, graph.OpID{Domain: "ai.onnx.ml", Name: "SVMClassifier"}, 2, a, tensor.Of([]float32{2}, 1, 1))
	if err != nil {
		t.Fatal(err)
	}
	p := out[1].F32()
	if sum := p[0] + p[1] + p[2]; sum < 0.999 || sum > 1.001 || slices.Index(p, slices.Max(p)) != 0 || !strings.HasPrefix(optest.Text(out[0]), "1 [3]") {
		t.Errorf("%v", optest.Text(out...))
	}
}
