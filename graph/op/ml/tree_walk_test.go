package ml_test

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
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
	single := rng.IntN(3) == 0 // each leaf has one weight
	for t := range trees {
		next := int64(1)
		for n := int64(0); n < next; n++ {
			leaf := n > 0 && (rng.IntN(3) == 0 || next > 60) || next == 1 && rng.IntN(8) == 0
			tree, id, feature = append(tree, int64(t)), append(id, n), append(feature, int64(rng.IntN(features)))
			missing = append(missing, int64(rng.IntN(2)))
			split = append(split, signed(rng, float32(rng.IntN(9)-4)/2))
			if leaf {
				mode, yes, no = append(mode, "LEAF"), append(yes, 0), append(no, 0)
				votes := rng.IntN(3)
				if single {
					votes = 1
				}
				for range votes {
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

// signed gives zeros either sign.
func signed(rng *rand.Rand, v float32) float32 {
	if v == 0 && rng.IntN(2) == 0 {
		return float32(math.Copysign(0, -1))
	}
	return v
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
			v := signed(rng, float32(rng.IntN(11)-5)/2) // often as large as a split
			switch rng.IntN(40) {
			case 0:
				v = float32(math.Inf(rng.IntN(2)*2 - 1))
			case 1:
				v = nan32
			case 2:
				v = math.Float32frombits(1 + rng.Uint32N(2)<<31) // next to 0
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

// TestTreesByAnyName: trees and nodes may have any numbers, in any order. The weights
// are such that sums are exact.
func TestTreesByAnyName(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 24))
	for i := range 40 {
		features, rows := 1+rng.IntN(6), 1+rng.IntN(30)
		a := randomTrees(rng, 1+rng.IntN(20), features, 2, []string{"BRANCH_LEQ", "BRANCH_GT"})
		weights := a["target_weights"].([]float32)
		for j := range weights {
			weights[j] = float32(rng.IntN(17) - 8)
		}
		b := renamed(rng, a)
		x := tensor.New(tensor.Float32, rows, features)
		for j := range x.F32() {
			x.F32()[j] = float32(rng.IntN(11)-5) / 2
		}
		regressor := graph.OpID{Domain: "ai.onnx.ml", Name: "TreeEnsembleRegressor"}
		want, err := optest.Apply(t, regressor, 1, a, x)
		if err != nil {
			t.Fatal(err)
		}
		got, err := optest.Apply(t, regressor, 1, b, x)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got[0].F32(), want[0].F32()) {
			t.Fatalf("case %d: %v, want %v", i, got[0].F32(), want[0].F32())
		}
		ids := b["nodes_nodeids"].([]int64)
		trees := b["nodes_treeids"].([]int64)
		last := len(ids) - 1
		same := with(b, "nodes_nodeids", append(ids[:last:last], ids[0]), "nodes_treeids", append(trees[:last:last], trees[0]))
		if _, err := optest.Apply(t, regressor, 1, same, x); last > 0 && (err == nil || !strings.Contains(err.Error(), "has two nodes")) {
			t.Fatalf("case %d: two nodes of one name: %v", i, err)
		}
	}
}

// renamed gives trees and nodes other numbers, and puts the lists in another order.
func renamed(rng *rand.Rand, a graph.Attrs) graph.Attrs {
	list := func(name string) []int64 { return a[name].([]int64) }
	type node struct{ tree, id int64 }
	tree, id, gap := map[int64]int64{}, map[node]int64{}, 1+rng.Int64N(3)
	for i, t := range list("nodes_treeids") {
		if _, ok := tree[t]; !ok {
			tree[t] = rng.Int64() - 1<<62
		}
		n := list("nodes_nodeids")[i]
		if id[node{t, n}] = gap*n - 5; gap == 3 {
			id[node{t, n}] = rng.Int64() - 1<<62
		}
	}
	out := maps.Clone(a)
	order, votes := rng.Perm(len(list("nodes_treeids"))), rng.Perm(len(list("target_treeids")))
	for name, v := range a {
		by := order
		if strings.HasPrefix(name, "target_") {
			by = votes
		}
		switch v := v.(type) {
		case []string:
			out[name] = permuted(v, by)
		case []float32:
			out[name] = permuted(v, by)
		case []int64:
			trees := list(strings.SplitAfter(name, "_")[0] + "treeids")
			v = slices.Clone(v)
			for i, t := range trees {
				switch name {
				case "nodes_treeids", "target_treeids":
					v[i] = tree[t]
				case "nodes_nodeids", "nodes_truenodeids", "nodes_falsenodeids", "target_nodeids":
					v[i] = id[node{t, v[i]}]
				}
			}
			out[name] = permuted(v, by)
		}
	}
	return out
}

func permuted[T any](v []T, order []int) []T {
	out := make([]T, len(v))
	for i, from := range order {
		out[i] = v[from]
	}
	return out
}
