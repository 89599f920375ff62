package ml

import (
	"fmt"
	"math"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// maxTreeNodes bounds the nodes of a forest, and what its leaves give: places are int32.
const maxTreeNodes = math.MaxInt32 / 2

// treesOf5 reads the attributes of TreeEnsemble: nodes and leaves in lists of
// their own.
func treesOf5(a graph.Attrs) (*forest, error) {
	modes, _ := a["nodes_modes"].(*tensor.Tensor)
	if modes == nil || modes.DType() != tensor.Uint8 {
		return nil, fmt.Errorf("attribute nodes_modes is not a tensor of uint8")
	}
	n := modes.Len()
	feature, splits := intsOf(a, "nodes_featureids"), attrFloats(a, "nodes_splits")
	yes, no := intsOf(a, "nodes_truenodeids"), intsOf(a, "nodes_falsenodeids")
	yesLeaf, noLeaf, missing := intsOf(a, "nodes_trueleafs"), intsOf(a, "nodes_falseleafs"), intsOf(a, "nodes_missing_value_tracks_true")
	for name, got := range map[string]int{"nodes_featureids": len(feature), "nodes_splits": len(splits), "nodes_truenodeids": len(yes),
		"nodes_falsenodeids": len(no), "nodes_trueleafs": len(yesLeaf), "nodes_falseleafs": len(noLeaf)} {
		if got != n {
			return nil, fmt.Errorf("attribute %s has %d elements for %d nodes", name, got, n)
		}
	}
	if missing != nil && len(missing) != n {
		return nil, fmt.Errorf("attribute nodes_missing_value_tracks_true has %d elements for %d nodes", len(missing), n)
	}
	place := func(at, leaf int64) int32 {
		if leaf != 0 {
			return ^int32(at)
		}
		return int32(at)
	}
	f := &forest{nodes: make([]treeNode, 0, n), members: map[int][]float64{}}
	members := attrFloats(a, "membership_values")
	for i, mode := range tensor.Data[uint8](modes) {
		if min(yes[i], no[i]) < 0 || max(yes[i], no[i]) > maxTreeNodes || mode > uint8(branchMember) {
			return nil, fmt.Errorf("tree node %d has mode %d and leads to %d and %d", i, mode, yes[i], no[i])
		}
		if treeMode(mode) == branchMember {
			end := slices.IndexFunc(members, math.IsNaN)
			if end < 0 {
				return nil, fmt.Errorf("membership_values has no set for node %d", i)
			}
			f.members[i], members = members[:end], members[end+1:]
		}
		node := treeNode{mode: treeMode(mode), split: splits[i], missingTrue: missing != nil && missing[i] != 0,
			yes: place(yes[i], yesLeaf[i]), no: place(no[i], noLeaf[i])}
		if err := f.add(feature[i], node); err != nil {
			return nil, err
		}
	}
	for _, r := range intsOf(a, "tree_roots") {
		if r < 0 || r >= int64(n) {
			return nil, fmt.Errorf("the root %d is no tree node", r)
		}
		f.roots = append(f.roots, int32(r))
	}
	targets, weights := intsOf(a, "leaf_targetids"), attrFloats(a, "leaf_weights")
	if m := len(targets); m != len(weights) || max(m, n) > maxTreeNodes {
		return nil, fmt.Errorf("%d targets of leaves for %d weights, %d nodes", m, len(weights), n)
	}
	f.votes, f.first = make([]vote, len(targets)), make([]int32, len(targets)+1)
	for i, t := range targets {
		f.votes[i], f.first[i+1] = vote{weights[i], int(t)}, int32(i+1)
	}
	return f, f.finish()
}

// oldForest is a forest in the older form.
type oldForest struct {
	forest
	only     int  // the target of all weights, or -1
	negative bool // some weight is
}

// oldTrees are the lists of the older form: leaves are nodes too, and what they
// give is in lists whose names begin with kind (target or class).
type oldTrees struct {
	kind                   string
	trees, ids, feature    []int64
	yes, no, missing       []int64
	modes                  []string
	splits, weights        []float64
	toTree, toNode, target []int64
}

func readOldTrees(a graph.Attrs, kind string) (*oldTrees, error) {
	t := &oldTrees{
		kind: kind, trees: intsOf(a, "nodes_treeids"), ids: intsOf(a, "nodes_nodeids"), feature: intsOf(a, "nodes_featureids"),
		yes: intsOf(a, "nodes_truenodeids"), no: intsOf(a, "nodes_falsenodeids"), missing: intsOf(a, "nodes_missing_value_tracks_true"),
		modes: stringsOf(a, "nodes_modes"), splits: attrFloats(a, "nodes_values"), weights: attrFloats(a, kind+"_weights"),
		toTree: intsOf(a, kind+"_treeids"), toNode: intsOf(a, kind+"_nodeids"), target: intsOf(a, kind+"_ids"),
	}
	n := len(t.ids)
	if len(t.missing) == 0 {
		t.missing = make([]int64, n)
	}
	for name, got := range map[string]int{"treeids": len(t.trees), "featureids": len(t.feature), "truenodeids": len(t.yes),
		"falsenodeids": len(t.no), "missing_value_tracks_true": len(t.missing), "modes": len(t.modes), "values": len(t.splits)} {
		if got != n {
			return nil, fmt.Errorf("attribute nodes_%s has %d elements for %d nodes", name, got, n)
		}
	}
	m := len(t.weights)
	if len(t.toTree) != m || len(t.toNode) != m || len(t.target) != m {
		return nil, fmt.Errorf("attributes %s_* have different lengths: %d, %d, %d and %d", kind, m, len(t.toTree), len(t.toNode), len(t.target))
	}
	if max(n, m) > maxTreeNodes {
		return nil, fmt.Errorf("%d nodes and %d weights are more than %d", n, m, maxTreeNodes)
	}
	return t, nil
}

// treesOf1 reads the attributes of TreeEnsembleRegressor (kind target) and
// TreeEnsembleClassifier (kind class).
func treesOf1(kind string) func(graph.Attrs) (*oldForest, error) {
	return func(a graph.Attrs) (*oldForest, error) {
		t, err := readOldTrees(a, kind)
		if err != nil {
			return nil, err
		}
		f := &oldForest{only: -1, negative: slices.ContainsFunc(t.weights, func(w float64) bool { return w < 0 })}
		if len(t.target) > 0 && slices.Min(t.target) == slices.Max(t.target) {
			f.only = int(t.target[0])
		}
		if err := t.fill(&f.forest); err != nil {
			return nil, err
		}
		return f, f.finish()
	}
}

func (t *oldTrees) fill(f *forest) error {
	names, err := indexTrees(t.trees, t.ids)
	if err != nil {
		return err
	}
	place := make([]int32, len(t.ids)) // of each node, or ^ that of a leaf
	inner, leaves := int32(0), int32(0)
	for i, mode := range t.modes {
		if mode == "LEAF" {
			place[i] = ^leaves
			leaves++
		} else {
			place[i] = inner
			inner++
		}
	}
	f.nodes = make([]treeNode, 0, inner)
	isChild := make([]bool, len(t.ids))
	modes := []string{"BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"}
	for i, id := range t.ids {
		if place[i] < 0 {
			continue
		}
		mode, yes, no := slices.Index(modes, t.modes[i]), names.find(t.trees[i], t.yes[i]), names.find(t.trees[i], t.no[i])
		if mode < 0 || yes < 0 || no < 0 {
			return fmt.Errorf("node %d of tree %d has mode %q and leads to %d and %d", id, t.trees[i], t.modes[i], t.yes[i], t.no[i])
		}
		isChild[yes], isChild[no] = true, true
		node := treeNode{mode: treeMode(mode), split: t.splits[i], missingTrue: t.missing[i] != 0, yes: place[yes], no: place[no]}
		if err := f.add(t.feature[i], node); err != nil {
			return err
		}
	}
	for i, tree := range t.trees {
		if !isChild[i] && (place[i] >= 0 || len(names.nodes(tree)) == 1) { // a leaf may be a tree, alone
			f.roots = append(f.roots, place[i])
		}
	}
	return t.vote(f, names, place, int(leaves))
}

// vote puts the weights in order of their leaves.
func (t *oldTrees) vote(f *forest, names *treeIndex, place []int32, leaves int) error {
	const inner = -1
	f.first = make([]int32, leaves+1)
	leaf := make([]int32, len(t.weights)) // that gives the weight
	for i := range leaf {
		at := names.find(t.toTree[i], t.toNode[i])
		if at < 0 {
			return fmt.Errorf("%s_nodeids names node %d of tree %d, which is not there", t.kind, t.toNode[i], t.toTree[i])
		}
		if leaf[i] = inner; place[at] < 0 { // ONNX Runtime passes over weights of inner nodes, too
			leaf[i] = ^place[at]
			f.first[leaf[i]+1]++
		}
	}
	for i := range leaves {
		f.first[i+1] += f.first[i]
	}
	next := slices.Clone(f.first)
	f.votes = make([]vote, f.first[leaves])
	for i, at := range leaf {
		if at != inner {
			f.votes[next[at]] = vote{t.weights[i], int(t.target[i])}
			next[at]++
		}
	}
	return nil
}
