package ml_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"tandem/graph"
	"tandem/graph/op/optest"
	"tandem/tensor"
)

// randomTrees are the attributes of a regressor whose trees are of unlike depth.
func randomTrees(rng *rand.Rand, trees, features, targets int, modes []string) graph.Attrs {
	var tree, id, feature, yes, no, missing, toTree, toNode, target []int64
	var mode []string
	var split, weight []float32
	for t := range trees {
		next := int64(1)
		for n := int64(0); n < next; n++ {
			leaf := n > 0 && (rng.IntN(3) == 0 || next > 60) || next == 1 && rng.IntN(8) == 0
			tree, id, feature = append(tree, int64(t)), append(id, n), append(feature, int64(rng.IntN(features)))
			missing = append(missing, int64(rng.IntN(2)))
			split = append(split, float32(rng.IntN(9)-4)/2)
			if leaf {
				mode, yes, no = append(mode, "LEAF"), append(yes, 0), append(no, 0)
				for range rng.IntN(3) {
					toTree, toNode = append(toTree, int64(t)), append(toNode, n)
					target, weight = append(target, int64(rng.IntN(targets))), append(weight, rng.Float32()-0.5)
				}
				continue
			}
			mode, yes, no = append(mode, modes[rng.IntN(len(modes))]), append(yes, next), append(no, next+1)
			next += 2
		}
	}
	return graph.Attrs{
		"nodes_treeids": tree, "nodes_nodeids": id, "nodes_featureids": feature, "nodes_modes": mode, "nodes_values": split,
		"nodes_truenodeids": yes, "nodes_falsenodeids": no, "nodes_missing_value_tracks_true": missing,
		"target_treeids": toTree, "target_nodeids": toNode, "target_ids": target, "target_weights": weight, "n_targets": int64(targets),
	}
}

// TestPackedTrees: rows of float32 are walked through packed trees, rows of float64
// node by node, which gives the same bits.
func TestPackedTrees(t *testing.T) {
	order := []string{"BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT"}
	rng := rand.New(rand.NewPCG(21, 22))
	for i := range 60 {
		trees, features, targets, rows := 1+rng.IntN(40), 1+rng.IntN(6), 1+rng.IntN(3), 1+rng.IntN(90)
		modes := order
		if i%5 == 4 {
			modes = append(order[:4:4], "BRANCH_EQ")
		}
		a := randomTrees(rng, trees, features, targets, modes)
		narrow, wide := tensor.New(tensor.Float32, rows, features), tensor.New(tensor.Float64, rows, features)
		for j := range narrow.F32() {
			v := float32(rng.IntN(11)-5) / 2 // often as large as a split
			switch rng.IntN(40) {
			case 0:
				v = float32(math.Inf(rng.IntN(2)*2 - 1))
			case 1:
				v = nan32
			}
			narrow.F32()[j], tensor.Data[float64](wide)[j] = v, float64(v)
		}
		how := []string{"SUM", "AVERAGE", "MIN", "MAX"}[rng.IntN(4)]
		a = with(a, "aggregate_function", how)
		name := fmt.Sprintf("case %d: %d trees, %s", i, trees, how)
		got, err1 := optest.Apply(t, graph.OpID{Domain: "ai.onnx.ml", Name: "TreeEnsembleRegressor"}, 1, a, narrow)
		want, err2 := optest.Apply(t, graph.OpID{Domain: "ai.onnx.ml", Name: "TreeEnsembleRegressor"}, 1, a, wide)
		if (err1 == nil) != (err2 == nil) {
			t.Fatalf("%s: %v, %v", name, err1, err2)
		}
		if err1 != nil {
			continue
		}
		for j, v := range got[0].F32() {
			if math.Float32bits(v) != math.Float32bits(want[0].F32()[j]) {
				t.Fatalf("%s: row %d is %v, node by node %v", name, j/targets, v, want[0].F32()[j])
			}
		}
	}
}
