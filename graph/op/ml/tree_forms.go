package ml

import (
	"fmt"
	"math"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// treesOf5 reads the attributes of TreeEnsemble: nodes and leaves in lists of
// their own.
func treesOf5(a graph.Attrs) (*forest, error) {
	f := &forest{roots: a.Ints("tree_roots")}
	modes, _ := a["nodes_modes"].(*tensor.Tensor)
	if modes == nil || modes.DType() != tensor.Uint8 {
		return nil, fmt.Errorf("attribute nodes_modes is not a tensor of uint8")
	}
	n := modes.Len()
	feature, splits := a.Ints("nodes_featureids"), attrFloats(a, "nodes_splits")
	yes, no := a.Ints("nodes_truenodeids"), a.Ints("nodes_falsenodeids")
	yesLeaf, noLeaf, missing := a.Ints("nodes_trueleafs"), a.Ints("nodes_falseleafs"), a.Ints("nodes_missing_value_tracks_true")
	for name, got := range map[string]int{"nodes_featureids": len(feature), "nodes_splits": len(splits), "nodes_truenodeids": len(yes),
		"nodes_falsenodeids": len(no), "nodes_trueleafs": len(yesLeaf), "nodes_falseleafs": len(noLeaf)} {
		if got != n {
			return nil, fmt.Errorf("attribute %s has %d elements for %d nodes", name, got, n)
		}
	}
	if missing != nil && len(missing) != n {
		return nil, fmt.Errorf("attribute nodes_missing_value_tracks_true has %d elements for %d nodes", len(missing), n)
	}
	place := func(at, leaf int) int {
		if leaf != 0 {
			return ^at
		}
		return at
	}
	members := attrFloats(a, "membership_values")
	for i, mode := range tensor.Data[uint8](modes) {
		if yes[i] < 0 || no[i] < 0 || mode > uint8(branchMember) {
			return nil, fmt.Errorf("tree node %d has mode %d and leads to %d and %d", i, mode, yes[i], no[i])
		}
		node := treeNode{mode: treeMode(mode), feature: feature[i], split: splits[i], missingTrue: missing != nil && missing[i] != 0,
			yes: place(yes[i], yesLeaf[i]), no: place(no[i], noLeaf[i])}
		if node.mode == branchMember {
			end := slices.IndexFunc(members, math.IsNaN)
			if end < 0 {
				return nil, fmt.Errorf("membership_values has no set for node %d", i)
			}
			node.members, members = members[:end], members[end+1:]
		}
		f.nodes = append(f.nodes, node)
	}
	targets, weights := a.Ints("leaf_targetids"), attrFloats(a, "leaf_weights")
	if len(targets) != len(weights) {
		return nil, fmt.Errorf("%d targets of leaves for %d weights", len(targets), len(weights))
	}
	for i, t := range targets {
		f.leaves = append(f.leaves, []vote{{t, weights[i]}})
	}
	return f, f.finish()
}

// treeKey names a node in the older form.
type treeKey struct{ tree, node int }

// oldTrees are the lists of the older form: leaves are nodes too, and what they
// give is in lists whose names begin with kind (target or class).
type oldTrees struct {
	kind                   string
	trees, ids, feature    []int
	yes, no, missing       []int
	modes                  []string
	splits, weights        []float64
	toTree, toNode, target []int
}

func readOldTrees(a graph.Attrs, kind string) (*oldTrees, error) {
	t := &oldTrees{
		kind: kind, trees: a.Ints("nodes_treeids"), ids: a.Ints("nodes_nodeids"), feature: a.Ints("nodes_featureids"),
		yes: a.Ints("nodes_truenodeids"), no: a.Ints("nodes_falsenodeids"), missing: a.Ints("nodes_missing_value_tracks_true"),
		modes: stringsOf(a, "nodes_modes"), splits: attrFloats(a, "nodes_values"), weights: attrFloats(a, kind+"_weights"),
		toTree: a.Ints(kind + "_treeids"), toNode: a.Ints(kind + "_nodeids"), target: a.Ints(kind + "_ids"),
	}
	n := len(t.ids)
	if len(t.missing) == 0 {
		t.missing = make([]int, n)
	}
	for name, got := range map[string]int{"treeids": len(t.trees), "featureids": len(t.feature), "truenodeids": len(t.yes),
		"falsenodeids": len(t.no), "missing_value_tracks_true": len(t.missing), "modes": len(t.modes), "values": len(t.splits)} {
		if got != n {
			return nil, fmt.Errorf("attribute nodes_%s has %d elements for %d nodes", name, got, n)
		}
	}
	if m := len(t.weights); len(t.toTree) != m || len(t.toNode) != m || len(t.target) != m {
		return nil, fmt.Errorf("attributes %s_* have different lengths: %d, %d, %d and %d", kind, m, len(t.toTree), len(t.toNode), len(t.target))
	}
	return t, nil
}

// treesOf1 reads the attributes of TreeEnsembleRegressor (kind target) and
// TreeEnsembleClassifier (kind class).
func treesOf1(kind string) func(graph.Attrs) (*forest, error) {
	return func(a graph.Attrs) (*forest, error) {
		t, err := readOldTrees(a, kind)
		if err != nil {
			return nil, err
		}
		f, err := t.forest()
		if err != nil {
			return nil, err
		}
		return f, f.finish()
	}
}

func (t *oldTrees) forest() (*forest, error) {
	f, place := &forest{}, map[treeKey]int{}
	for i, id := range t.ids {
		key := treeKey{t.trees[i], id}
		if _, ok := place[key]; ok {
			return nil, fmt.Errorf("tree %d has two nodes %d", key.tree, key.node)
		}
		if t.modes[i] == "LEAF" {
			place[key] = ^len(f.leaves)
			f.leaves = append(f.leaves, nil)
			continue
		}
		place[key] = len(f.nodes)
		f.nodes = append(f.nodes, treeNode{feature: t.feature[i], split: t.splits[i], missingTrue: t.missing[i] != 0})
	}
	isChild := map[treeKey]bool{}
	names := []string{"BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"}
	for i, id := range t.ids {
		if t.modes[i] == "LEAF" {
			continue
		}
		mode := slices.Index(names, t.modes[i])
		yes, no := treeKey{t.trees[i], t.yes[i]}, treeKey{t.trees[i], t.no[i]}
		yesAt, ok1 := place[yes]
		noAt, ok2 := place[no]
		if mode < 0 || !ok1 || !ok2 {
			return nil, fmt.Errorf("node %d of tree %d has mode %q and leads to %d and %d", id, t.trees[i], t.modes[i], t.yes[i], t.no[i])
		}
		node := &f.nodes[place[treeKey{t.trees[i], id}]]
		node.mode, node.yes, node.no = treeMode(mode), yesAt, noAt
		isChild[yes], isChild[no] = true, true
	}
	size := map[int]int{}
	for _, tree := range t.trees {
		size[tree]++
	}
	for i, id := range t.ids {
		key := treeKey{t.trees[i], id}
		if alone := size[key.tree] == 1; !isChild[key] && (alone || t.modes[i] != "LEAF") {
			f.roots = append(f.roots, place[key])
		}
	}
	for i, w := range t.weights {
		at, ok := place[treeKey{t.toTree[i], t.toNode[i]}]
		if !ok {
			return nil, fmt.Errorf("%s_nodeids names node %d of tree %d, which is not there", t.kind, t.toNode[i], t.toTree[i])
		}
		if at < 0 { // ONNX Runtime passes over weights of inner nodes, too
			f.leaves[^at] = append(f.leaves[^at], vote{t.target[i], w})
		}
	}
	return f, nil
}
