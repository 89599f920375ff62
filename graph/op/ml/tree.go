package ml

import (
	"fmt"
	"math"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// treeNode compares a feature and says where to go on. Places from 0 up are nodes;
// others are leaves, ^place.
type treeNode struct {
	split       float64
	feature     int32
	yes, no     int32
	mode        treeMode
	missingTrue bool // a feature that is NaN goes the way of yes
}

type treeMode uint8

const (
	branchLE treeMode = iota // numbered as in TreeEnsemble
	branchLT
	branchGE
	branchGT
	branchEQ
	branchNE
	branchMember
)

// holds compares a feature; whether it is a member is for the forest to say.
func (n *treeNode) holds(v float64) bool {
	switch n.mode {
	case branchLE:
		return v <= n.split
	case branchLT:
		return v < n.split
	case branchGE:
		return v >= n.split
	case branchGT:
		return v > n.split
	case branchEQ:
		return v == n.split
	default:
		return v != n.split
	}
}

// vote is what a leaf gives to a target.
type vote struct {
	weight float64
	target int
}

// forest is a set of trees over the same features.
type forest struct {
	nodes   []treeNode
	members map[int][]float64 // of nodes that ask whether a feature is among them
	votes   []vote            // leaf by leaf
	first   []int32           // where a leaf's votes begin; one more than there are leaves
	roots   []int32

	features, targets int  // one more than the greatest that it names
	single            bool // each leaf gives one vote: a leaf's place is that of its vote
	packed            *packedForest
}

// leaf walks a tree down, and gives the place of the leaf. The number of steps is
// bounded: a damaged tree may have a cycle.
func (f *forest) leaf(root int32, row []float64) (int32, error) {
	at := root
	for range len(f.nodes) + 1 {
		if at < 0 {
			return ^at, nil
		}
		at = f.next(at, row)
	}
	return 0, fmt.Errorf("the tree at node %d has a cycle", root)
}

func (f *forest) next(at int32, row []float64) int32 {
	n := &f.nodes[at]
	v := row[n.feature]
	var yes bool
	if n.mode == branchMember {
		yes = slices.Contains(f.members[int(at)], v)
	} else {
		yes = n.holds(v)
	}
	if yes || n.missingTrue && math.IsNaN(v) {
		return n.yes
	}
	return n.no
}

// given are the votes of a leaf.
func (f *forest) given(leaf int32) []vote { return f.votes[f.first[leaf]:f.first[leaf+1]] }

// add appends a node that compares a feature.
func (f *forest) add(feature int64, n treeNode) error {
	if feature < 0 || feature >= math.MaxInt32 {
		return fmt.Errorf("tree node %d compares feature %d", len(f.nodes), feature)
	}
	n.feature = int32(feature)
	f.nodes = append(f.nodes, n)
	f.features = max(f.features, int(feature)+1)
	return nil
}

// finish makes sure that a walk stays inside, finds what the forest asks of its
// targets, and packs it where that can be.
func (f *forest) finish() error {
	nodes, leaves := int32(len(f.nodes)), int32(len(f.first)-1)
	inside := func(at int32) bool { return at < nodes && ^at < leaves }
	if len(f.roots) == 0 {
		return fmt.Errorf("it has no trees")
	}
	for i := range f.nodes {
		if n := &f.nodes[i]; !inside(n.yes) || !inside(n.no) {
			return fmt.Errorf("tree node %d leads nowhere", i)
		}
	}
	for _, r := range f.roots {
		if !inside(r) {
			return fmt.Errorf("the root %d is no tree node", r)
		}
	}
	for i := range f.votes {
		t := f.votes[i].target
		if t < 0 {
			return fmt.Errorf("a leaf gives to target %d", t)
		}
		f.targets = max(f.targets, t+1)
	}
	f.single = true
	for i, at := range f.first {
		f.single = f.single && int(at) == i
	}
	f.packed = packForest(f)
	return nil
}

// fits makes sure that rows have the features, and results the targets.
func (f *forest) fits(width, targets int) error {
	if f.features > width {
		return fmt.Errorf("a tree compares feature %d of %d", f.features-1, width)
	}
	if f.targets > targets {
		return fmt.Errorf("a leaf gives to target %d of %d", f.targets-1, targets)
	}
	return nil
}

// aggregate joins what the trees give to a target.
type aggregate uint8

const (
	average aggregate = iota // numbered as in TreeEnsemble
	sumUp
	minimum
	maximum
)

func aggregateOf(a graph.Attrs) (aggregate, error) {
	name := a.String("aggregate_function", "")
	if name == "" {
		n := a.Int("aggregate_function", int(sumUp))
		if n < 0 || n > int(maximum) {
			return 0, fmt.Errorf("aggregate_function is %d, outside [0, 3]", n)
		}
		return aggregate(n), nil
	}
	if i := slices.Index([]string{"AVERAGE", "SUM", "MIN", "MAX"}, name); i >= 0 {
		return aggregate(i), nil
	}
	return 0, fmt.Errorf("aggregate_function %q is not known", name)
}

func inferTreeEnsemble(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	x := c.In(0)
	if len(x.Shape) != 2 || !slices.Contains([]tensor.DType{tensor.Float16, tensor.Float32, tensor.Float64}, x.DType) {
		return fmt.Errorf("input 0 (%s) is %v, expected rows of float16, float32 or float64", c.Node.Inputs[0].Name, x)
	}
	n := c.Node.Attrs.Int("n_targets", 0)
	if n < 1 || n > maxTargets {
		return fmt.Errorf("n_targets is %d, outside [1, %d]", n, maxTargets)
	}
	c.Out(0, x.DType, graph.Shape{x.Shape[0], graph.Const(n)})
	return nil
}

// maxTargets bounds the columns of an output that one attribute gives.
const maxTargets = 1 << 24

func kernelTreeEnsemble(c *graph.Call) (func() error, error) {
	f, err := graph.Derive(c, treesOf5)
	if err != nil {
		return nil, err
	}
	return regress(c, f, c.Out[0].Dim(1), nil)
}

// regress is the kernel of forests that predict numbers.
func regress(c *graph.Call, f *forest, targets int, base []float64) (func() error, error) {
	how, err := aggregateOf(c.Node.Attrs)
	if err != nil {
		return nil, err
	}
	post, err := transformOf(c.Node.Attrs)
	if err != nil {
		return nil, err
	}
	if len(base) != 0 && len(base) != targets {
		return nil, fmt.Errorf("%d base values for %d targets", len(base), targets)
	}
	return treeRun(c, f, targets, how, func(row int, scores []float64, _ []bool) {
		for i, b := range base {
			scores[i] += b
		}
		post.apply(scores)
		putNumbers(c.Out[0], row*targets, scores)
	})
}

func inferTreeRegressor(c *graph.Infer) error {
	rows, err := matrixRows(c)
	if err != nil {
		return err
	}
	n := c.Node.Attrs.Int("n_targets", 1)
	if n < 1 || n > maxTargets {
		return fmt.Errorf("n_targets is %d, outside [1, %d]", n, maxTargets)
	}
	c.Out(0, tensor.Float32, graph.Shape{rows, graph.Const(n)})
	return nil
}

func kernelTreeRegressor(c *graph.Call) (func() error, error) {
	t, err := graph.Derive(c, treesOf1("target"))
	if err != nil {
		return nil, err
	}
	return regress(c, &t.forest, c.Node.Attrs.Int("n_targets", 1), attrFloats(c.Node.Attrs, "base_values"))
}
