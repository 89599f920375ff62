package ml

import (
	"math"
	"unsafe"
)

// packedForest is a forest laid out for walking: nodes of sixteen bytes, each tree's near
// each other. A leaf leads to itself, so that eight lanes are walked in step, without a
// branch: the processor has the loads of all of them under way at once. Lanes are rows in
// one tree, or trees of one row.
//
// It holds trees whose nodes all compare a float32 with a float32 by order, for rows of
// float32 without NaN. Both are compared as integers of the same order, which takes a
// fraction of the time that a comparison of floats takes from loads to the next node.
// Others are walked by forest.leaf.
type packedForest struct {
	nodes []packedNode
	trees []packedTree
	used  []int32 // the features that are compared; nodes name places among them
	steps int     // down all trees, each to its deepest leaf, and for what that gives
}

// packedNode: a row with x[feature] ≤ split goes to next, others to the node after it.
// Places of nodes and features are offsets in bytes.
type packedNode struct {
	split   uint32
	feature uint32
	next    uint32
	leaf    uint32 // of a node that is one: its place among the forest's leaves
}

const nodeBytes = uint32(unsafe.Sizeof(packedNode{}))

// packedTree is where a tree begins, and how many steps its deepest leaf is below.
type packedTree struct {
	root  uint32
	depth int32
}

// lanes is how many rows, or trees, are walked in step.
const lanes = 8

// maxPackedFeatures bounds a table by feature.
const maxPackedFeatures = 1 << 20

// packForest returns nil where a forest is not of that kind.
func packForest(f *forest) *packedForest {
	size := len(f.roots) + 2*len(f.nodes) // at most: a root for each tree, and two below each node
	if size > math.MaxUint32/int(nodeBytes) || f.features > maxPackedFeatures {
		return nil
	}
	p := &packedForest{nodes: make([]packedNode, 0, size), trees: make([]packedTree, len(f.roots))}
	seen, places := make([]bool, len(f.nodes)), make([]uint32, f.features) // one more than a feature's place among the used
	room := func(n int) uint32 {
		at := len(p.nodes)
		p.nodes = p.nodes[:at+n]
		return uint32(at) * nodeBytes
	}
	var todo []placing
	for i, root := range f.roots {
		t := &p.trees[i]
		t.root = room(1)
		for todo = append(todo, placing{root, t.root, 0}); len(todo) > 0; {
			n := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			to := &p.nodes[n.to/nodeBytes]
			if n.from < 0 {
				*to = packedNode{split: math.MaxUint32, next: n.to, leaf: uint32(^n.from)}
				t.depth = max(t.depth, n.depth)
				continue
			}
			node := &f.nodes[n.from]
			split, yes, no, ok := asAtMost(node)
			if !ok || seen[n.from] { // a damaged tree may have a cycle
				return nil
			}
			seen[n.from] = true
			place := &places[node.feature]
			if *place == 0 {
				p.used = append(p.used, node.feature)
				*place = uint32(len(p.used))
			}
			next := room(2)
			*to = packedNode{split: ordered(split), feature: (*place - 1) * 4, next: next}
			todo = append(todo, placing{no, next + nodeBytes, n.depth + 1}, placing{yes, next, n.depth + 1})
		}
		p.steps += int(t.depth) + 2
	}
	return p
}

// placing is a node of a forest on its way to a place among the packed ones.
type placing struct {
	from  int32
	to    uint32
	depth int32
}

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

// ordered is an integer that compares as a float32 does that is not NaN.
func ordered(v float32) uint32 {
	b := math.Float32bits(v)
	switch {
	case b == 1<<31: // -0 is 0
		return b
	case b < 1<<31:
		return b | 1<<31
	default:
		return ^b
	}
}

// read puts what a row has to compare in a column of x; false if something is NaN.
func (p *packedForest) read(x []uint32, column, columns int, row []float32) bool {
	for i, feature := range p.used {
		v := row[feature]
		if v != v {
			return false
		}
		x[i*columns+column] = ordered(v)
	}
	return true
}

// walk takes eight lanes from places at the tops of trees to those of leaves, no more than
// depth steps below, and puts what the leaves are called in at. Lanes are the columns of
// x (rows side by side in one tree), or trees of the one row in it. Places and features
// were checked when the forest was packed: checking them again would take as long as the
// steps.
func (p *packedForest) walk(x []uint32, side bool, at *[lanes]uint32, depth int32) {
	nodes, xs := unsafe.Pointer(unsafe.SliceData(p.nodes)), unsafe.Pointer(unsafe.SliceData(x))
	a0, a1, a2, a3 := uintptr(at[0]), uintptr(at[1]), uintptr(at[2]), uintptr(at[3])
	a4, a5, a6, a7 := uintptr(at[4]), uintptr(at[5]), uintptr(at[6]), uintptr(at[7])
	for depth > 0 {
		i := min(depth, stretch)
		depth -= i
		if side {
			for ; i > 0; i-- {
				a0, a1, a2, a3 = step(nodes, xs, a0, lanes, 0), step(nodes, xs, a1, lanes, 4), step(nodes, xs, a2, lanes, 8), step(nodes, xs, a3, lanes, 12)
				a4, a5, a6, a7 = step(nodes, xs, a4, lanes, 16), step(nodes, xs, a5, lanes, 20), step(nodes, xs, a6, lanes, 24), step(nodes, xs, a7, lanes, 28)
			}
		} else {
			for ; i > 0; i-- {
				a0, a1, a2, a3 = step(nodes, xs, a0, 1, 0), step(nodes, xs, a1, 1, 0), step(nodes, xs, a2, 1, 0), step(nodes, xs, a3, 1, 0)
				a4, a5, a6, a7 = step(nodes, xs, a4, 1, 0), step(nodes, xs, a5, 1, 0), step(nodes, xs, a6, 1, 0), step(nodes, xs, a7, 1, 0)
			}
		}
		if depth > 0 && still(nodes, a0) && still(nodes, a1) && still(nodes, a2) && still(nodes, a3) &&
			still(nodes, a4) && still(nodes, a5) && still(nodes, a6) && still(nodes, a7) {
			break
		}
	}
	for i, a := range [lanes]uintptr{a0, a1, a2, a3, a4, a5, a6, a7} {
		at[i] = nodeAt(nodes, a).leaf
	}
}

// stretch is how many steps come between two looks at whether all lanes are in leaves.
const stretch = 4

func nodeAt(nodes unsafe.Pointer, at uintptr) *packedNode {
	return (*packedNode)(unsafe.Add(nodes, at))
}

// step is where a lane goes from a node: past next by the size of a node where the
// difference is negative. Without a comparison the compiler has nothing to branch on.
func step(nodes, x unsafe.Pointer, at, columns, column uintptr) uintptr {
	n := nodeAt(nodes, at)
	v := *(*uint32)(unsafe.Add(x, uintptr(n.feature)*columns+column))
	return uintptr(n.next) + uintptr((uint64(n.split)-uint64(v))>>59&uint64(nodeBytes))
}

func still(nodes unsafe.Pointer, at uintptr) bool { return uintptr(nodeAt(nodes, at).next) == at }
