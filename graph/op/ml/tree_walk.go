package ml

import (
	"math"
	"unsafe"
)

// packedForest is a forest laid out for walking: nodes of twelve bytes, the two
// places that a node leads to side by side, each tree's nodes near each other. A leaf
// leads to itself, so that several trees are walked in step, without a branch, until
// none moves: the processor then waits for several loads at once.
//
// It holds trees whose nodes all compare a float32 with a float32 by order, for rows
// of float32 without NaN. Others are walked by forest.leaf.
type packedForest struct {
	nodes []packedNode
	roots []int32
	leaf  []int32 // of a node that is one: its place among the forest's leaves
}

// packedNode: a row with x[feature] ≤ split goes to next, others to next + 1.
type packedNode struct {
	split   float32
	feature uint32
	next    int32
}

// packForest returns nil where a forest is not of that kind.
func packForest(f *forest) *packedForest {
	size := len(f.roots) + 2*len(f.nodes) // at most: a root for each tree, and two below each node
	if size > math.MaxInt32 || len(f.roots) == 0 {
		return nil
	}
	p := &packedForest{nodes: make([]packedNode, 0, size), leaf: make([]int32, 0, size), roots: make([]int32, len(f.roots))}
	seen := make([]bool, len(f.nodes))
	var todo []placing
	for i, root := range f.roots {
		at := int32(len(p.nodes))
		p.roots[i], p.nodes, p.leaf = at, append(p.nodes, packedNode{}), append(p.leaf, 0)
		for todo = append(todo, placing{root, at}); len(todo) > 0; {
			n := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if n.from < 0 {
				p.nodes[n.to] = packedNode{split: float32(math.Inf(1)), next: n.to}
				p.leaf[n.to] = ^n.from
				continue
			}
			split, yes, no, ok := asAtMost(&f.nodes[n.from])
			if !ok || seen[n.from] { // a damaged tree may have a cycle
				return nil
			}
			seen[n.from] = true
			next := int32(len(p.nodes))
			p.nodes[n.to] = packedNode{split: split, feature: uint32(f.nodes[n.from].feature), next: next}
			p.nodes, p.leaf = append(p.nodes, packedNode{}, packedNode{}), append(p.leaf, 0, 0)
			todo = append(todo, placing{no, next + 1}, placing{yes, next})
		}
	}
	return p
}

// placing is a node of a forest on its way to a place among the packed ones.
type placing struct{ from, to int32 }

// asAtMost writes a comparison as x ≤ split, with where it leads if so and if not.
func asAtMost(n *treeNode) (split float32, yes, no int32, ok bool) {
	split, yes, no = float32(n.split), n.yes, n.no
	ok = float64(split) == n.split
	switch n.mode {
	case branchLE:
	case branchGT:
		yes, no = no, yes
	case branchLT, branchGE: // x < split is x ≤ the number before
		ok = ok && !math.IsInf(float64(split), -1)
		split = math.Nextafter32(split, float32(math.Inf(-1)))
		if n.mode == branchGE {
			yes, no = no, yes
		}
	default:
		ok = false
	}
	return split, yes, no, ok
}

// takes reports whether a row of features can be walked.
func (p *packedForest) takes(row []float32) bool {
	for _, v := range row {
		if v != v {
			return false
		}
	}
	return true
}

// treesAbreast is how many trees are walked in step.
const treesAbreast = 4

// walk finds the place of a row's leaf in each tree. The features are as forest.check
// has found them: inside the row.
func (p *packedForest) walk(row []float32, at []int32) {
	i := 0
	for ; i+treesAbreast <= len(p.roots); i += treesAbreast {
		a, b, c, d := p.roots[i], p.roots[i+1], p.roots[i+2], p.roots[i+3]
		for {
			a1, b1, c1, d1 := p.step(row, a), p.step(row, b), p.step(row, c), p.step(row, d)
			if (a^a1)|(b^b1)|(c^c1)|(d^d1) == 0 {
				break
			}
			a, b, c, d = a1, b1, c1, d1
		}
		at[i], at[i+1], at[i+2], at[i+3] = a, b, c, d
	}
	for ; i < len(p.roots); i++ {
		a := p.roots[i]
		for next := p.step(row, a); next != a; next = p.step(row, a) {
			a = next
		}
		at[i] = a
	}
}

// step is where a row goes from a place. Places and features were checked when the
// forest was packed: checking them again would take as long as the step.
func (p *packedForest) step(row []float32, at int32) int32 {
	n := (*packedNode)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(p.nodes)), uintptr(at)*unsafe.Sizeof(packedNode{})))
	x := *(*float32)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(row)), uintptr(n.feature)*4))
	var beyond int32
	if x > n.split {
		beyond = 1
	}
	return n.next + beyond
}
