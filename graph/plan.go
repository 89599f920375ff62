package graph

import (
	"fmt"
	"slices"
	"sort"
)

// place says where a value's elements lie.
type place uint8

const (
	inArena    place = iota
	inConstant       // in the program, read only
	inInput          // in the caller's tensor, read only
	inState          // in the session
)

// storage is memory that one or more values share: a value, its views, and what
// is computed in place of it.
type storage struct {
	place       place
	value       int // the value that it began with
	first, last int // steps between which it is in use
	state       int // index into Graph.State for inState
}

// layout is how values share memory: everything of a plan that does not depend
// on the numbers of a binding.
type layout struct {
	index   map[*Value]int
	values  []*Value
	storage []int // by value
	stores  []storage
}

// layOut assigns storage. Sizes are compared as expressions, so that the result
// holds for every binding.
func layOut(g *Graph, ops []*Op) (*layout, error) {
	l := &layout{index: map[*Value]int{}}
	readers := lastReads(g)
	for i, s := range g.State {
		l.define(s.Current, storage{place: inState, state: i})
	}
	for _, v := range g.Inputs {
		l.define(v, storage{place: inInput})
	}
	for _, v := range g.Constants() {
		l.define(v, storage{place: inConstant})
	}
	for step, n := range g.Nodes {
		for j, o := range n.Outputs {
			if o == nil {
				continue
			}
			if s, ok := l.shared(g, ops[step], n, j, step, readers); ok {
				l.join(o, s)
			} else {
				l.define(o, storage{place: inArena, first: step, last: step})
			}
		}
		for _, v := range n.Inputs {
			if v == nil {
				continue
			}
			i, ok := l.index[v]
			if !ok {
				return nil, fmt.Errorf("node %v reads %s, which nothing before it defines", n, v.Name)
			}
			l.stores[l.storage[i]].last = step
		}
	}
	return l, l.finish(g)
}

// finish keeps outputs to the end and checks that state is updated in place.
func (l *layout) finish(g *Graph) error {
	for _, v := range g.Outputs {
		i, ok := l.index[v]
		if !ok {
			return fmt.Errorf("output %s is not computed by any node", v.Name)
		}
		l.stores[l.storage[i]].last = len(g.Nodes)
	}
	for i, s := range g.State {
		j, ok := l.index[s.Next]
		if !ok {
			return fmt.Errorf("the next value of state %s is not computed by any node", s.Current.Name)
		}
		if st := l.stores[l.storage[j]]; st.place != inState || st.state != i {
			return fmt.Errorf("state %s cannot be updated in place: %v does not compute into its memory, or it is read afterwards", s.Current.Name, s.Next.Def)
		}
	}
	return nil
}

func (l *layout) define(v *Value, s storage) {
	if _, ok := l.index[v]; ok {
		return
	}
	s.value = len(l.values)
	l.join(v, len(l.stores))
	l.stores = append(l.stores, s)
}

func (l *layout) join(v *Value, store int) {
	l.index[v] = len(l.values)
	l.values = append(l.values, v)
	l.storage = append(l.storage, store)
}

// lastReads is the last step that reads each value itself, its views aside.
// Outputs are read after the last step.
func lastReads(g *Graph) map[*Value]int {
	last := map[*Value]int{}
	for step, n := range g.Nodes {
		for _, v := range n.Inputs {
			if v != nil {
				last[v] = step
			}
		}
	}
	for _, v := range g.Outputs {
		last[v] = len(g.Nodes)
	}
	return last
}

// shared finds the storage that output j of a step takes over, if any.
func (l *layout) shared(g *Graph, op *Op, n *Node, j, step int, last map[*Value]int) (int, bool) {
	if op.View && j == 0 {
		if i, ok := l.index[n.Inputs[0]]; ok {
			return l.storage[i], true
		}
	}
	for _, a := range op.InPlace {
		if a.Out != j || n.Input(a.In) == nil {
			continue
		}
		i, ok := l.index[n.Inputs[a.In]]
		if ok && l.mayTake(g, n, n.Inputs[a.In], n.Outputs[j], l.storage[i], step, last) {
			return l.storage[i], true
		}
	}
	return 0, false
}

// mayTake reports whether out may be computed in the memory of in: the sizes
// agree, nothing reads any value of that memory later, nor twice in this step.
func (l *layout) mayTake(g *Graph, n *Node, in, out *Value, store, step int, last map[*Value]int) bool {
	if in.Type.DType != out.Type.DType || !in.Type.Shape.Len().Equal(out.Type.Shape.Len()) {
		return false
	}
	switch s := l.stores[store]; s.place {
	case inConstant, inInput:
		return false
	case inState:
		if g.State[s.state].Next != out {
			return false
		}
	}
	for i, s := range l.storage {
		if s == store && last[l.values[i]] > step {
			return false
		}
	}
	reads := 0
	for _, v := range n.Inputs {
		if v == nil {
			continue
		}
		if i, ok := l.index[v]; ok && l.storage[i] == store {
			reads++
		}
	}
	taken := slices.ContainsFunc(n.Outputs, func(o *Value) bool {
		i, ok := l.index[o]
		return ok && o != nil && l.storage[i] == store
	})
	return reads == 1 && !taken
}

// block is a piece of the arena in use from step first to step last.
type block struct {
	first, last int
	size        int // bytes
	offset      int
}

// arenaAlign keeps every tensor on its own cache lines.
const arenaAlign = 64

// pack gives each block an offset such that no two blocks in use at the same step
// overlap, and returns the size of the arena. The larger are placed first, each
// in the smallest gap that fits between those placed (greedy by size: Pisarchyk
// and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020).
func pack(blocks []*block) int {
	order := slices.Clone(blocks)
	sort.SliceStable(order, func(i, j int) bool { return order[i].size > order[j].size })
	var placed []*block // by offset
	total := 0
	for _, b := range order {
		size := (b.size + arenaAlign - 1) &^ (arenaAlign - 1)
		best, bestGap, end := -1, int(^uint(0)>>1), 0
		for _, p := range placed {
			if p.last < b.first || p.first > b.last {
				continue
			}
			if gap := p.offset - end; gap >= size && gap < bestGap {
				best, bestGap = end, gap
			}
			end = max(end, p.offset+(p.size+arenaAlign-1)&^(arenaAlign-1))
		}
		if best < 0 {
			best = end
		}
		b.offset = best
		total = max(total, best+size)
		at, _ := slices.BinarySearchFunc(placed, b.offset, func(p *block, off int) int { return p.offset - off })
		placed = slices.Insert(placed, at, b)
	}
	return total
}
