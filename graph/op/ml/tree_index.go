package ml

import (
	"cmp"
	"fmt"
	"slices"
)

// treeIndex finds the nodes of the older form by their names: the number of a tree, and
// the node's own in it. Both may be any, but most files count from 0 up, so that the
// first guess is right.
type treeIndex struct {
	ids   []int64
	order []int32 // nodes by tree, then by their own number
	trees []treeSpan
	last  int // the tree that was asked for last: names come tree by tree
}

// treeSpan is where the nodes of a tree lie in order.
type treeSpan struct {
	tree   int64
	lo, hi int32
}

// indexTrees refuses two nodes of one name.
func indexTrees(trees, ids []int64) (*treeIndex, error) {
	x := &treeIndex{ids: ids, order: make([]int32, len(ids))}
	for i := range x.order {
		x.order[i] = int32(i)
	}
	slices.SortFunc(x.order, func(a, b int32) int {
		if c := cmp.Compare(trees[a], trees[b]); c != 0 {
			return c
		}
		return cmp.Compare(ids[a], ids[b])
	})
	for i, node := range x.order {
		tree, at := trees[node], int32(i)
		if n := len(x.trees); n == 0 || x.trees[n-1].tree != tree {
			x.trees = append(x.trees, treeSpan{tree, at, at})
		} else if ids[x.order[i-1]] == ids[node] {
			return nil, fmt.Errorf("tree %d has two nodes %d", tree, ids[node])
		}
		x.trees[len(x.trees)-1].hi = at + 1
	}
	return x, nil
}

// nodes are those of a tree, by their own number.
func (x *treeIndex) nodes(tree int64) []int32 {
	if x.last >= len(x.trees) || x.trees[x.last].tree != tree {
		at, ok := slices.BinarySearchFunc(x.trees, tree, func(s treeSpan, tree int64) int { return cmp.Compare(s.tree, tree) })
		if !ok {
			return nil
		}
		x.last = at
	}
	return x.order[x.trees[x.last].lo:x.trees[x.last].hi]
}

// find is the place of a node in the lists, or -1.
func (x *treeIndex) find(tree, id int64) int32 {
	nodes := x.nodes(tree)
	if len(nodes) == 0 {
		return -1
	}
	if guess := id - x.ids[nodes[0]]; guess >= 0 && guess < int64(len(nodes)) && x.ids[nodes[guess]] == id {
		return nodes[guess]
	}
	at, ok := slices.BinarySearchFunc(nodes, id, func(node int32, id int64) int { return cmp.Compare(x.ids[node], id) })
	if !ok {
		return -1
	}
	return nodes[at]
}
