package graph

import (
	"fmt"
	"slices"
	"sort"
)

// place says where a value's elements lie.
type place uint8

const (
	inArena place = iota
	outside       // given: a constant, the caller's input, or made by an earlier segment; read only
	inState       // in the session
	onHeap        // strings and lists
)

// storage is memory that one or more values share: a value, its views, and what
// is computed in place of it.
type storage struct {
	place       place
	base        *Value // the value that it began with
	first, last int    // steps between which it is in use, counted over the whole graph
	lastRead    int    // the last step that reads any value of it so far
	state       int    // index into Graph.State for inState
}

// layout is how the values of a segment share memory.
type layout struct {
	p      *Program
	typeOf func(*Value) Type
	of     map[*Value]int // storage by value
	order  []*Value       // the values, in the order in which they got storage
	stores []storage
}

// layOut assigns storage to what the nodes from step lo to hi read and define.
// Sizes are compared as expressions, so that a layout of symbolic types shows what
// holds for every size.
func (p *Program) layOut(lo, hi int, typeOf func(*Value) Type) (*layout, error) {
	l := &layout{p: p, typeOf: typeOf, of: map[*Value]int{}}
	for i, s := range p.g.State {
		l.define(s.Current, storage{place: inState, state: i})
	}
	for step := lo; step < hi; step++ {
		n := p.g.Nodes[step]
		for _, v := range p.reads[step] {
			if _, ok := l.of[v]; !ok {
				l.define(v, storage{place: outside, last: step})
			}
		}
		for j, o := range n.Outputs {
			if o == nil {
				continue
			}
			if s, ok := l.shared(n, p.ops[step], j, step); ok {
				l.join(o, s)
			} else {
				l.define(o, storage{place: l.placeOf(o), first: step, last: step})
			}
		}
		for _, v := range p.reads[step] {
			s := &l.stores[l.of[v]]
			s.last = max(s.last, step)
		}
	}
	for v, s := range l.of {
		l.stores[s].last = max(l.stores[s].last, min(p.lastRead[v], len(p.g.Nodes)))
	}
	return l, l.checkState()
}

func (l *layout) placeOf(v *Value) place {
	if t := l.typeOf(v); t.Known() && t.DType.Bits() == 0 {
		return onHeap
	}
	return inArena
}

// checkState refuses state whose next value is computed elsewhere.
func (l *layout) checkState() error {
	for i, s := range l.p.g.State {
		j, ok := l.of[s.Next]
		if !ok {
			continue // another segment defines it
		}
		if st := l.stores[j]; st.place != inState || st.state != i {
			return fmt.Errorf("state %s cannot be updated in place: %v does not compute into its memory, or it is read afterwards", s.Current.Name, s.Next.Def)
		}
	}
	return nil
}

func (l *layout) define(v *Value, s storage) {
	s.base = v
	l.stores = append(l.stores, s)
	l.join(v, len(l.stores)-1)
}

func (l *layout) join(v *Value, store int) {
	l.of[v] = store
	l.order = append(l.order, v)
	l.stores[store].lastRead = max(l.stores[store].lastRead, l.p.lastRead[v])
}

// lastReads is the last step that reads each value itself, its views aside.
// Outputs are read after the last step.
func lastReads(g *Graph) map[*Value]int {
	last := map[*Value]int{}
	for step, n := range g.Nodes {
		for _, v := range n.Reads() {
			last[v] = step
		}
	}
	for _, v := range g.Outputs {
		last[v] = len(g.Nodes)
	}
	return last
}

// shared finds the storage that output j of a step takes over, if any.
func (l *layout) shared(n *Node, op *Op, j, step int) (int, bool) {
	if op.View && j == 0 {
		return l.of[n.Inputs[0]], true
	}
	for _, a := range op.InPlace {
		if a.Out == j && n.Input(a.In) != nil && l.mayTake(n, n.Inputs[a.In], n.Outputs[j], step) {
			return l.of[n.Inputs[a.In]], true
		}
	}
	return 0, false
}

// mayTake reports whether out may be computed in the memory of in: the types
// agree, nothing reads any value of that memory later, nor twice in this step.
func (l *layout) mayTake(n *Node, in, out *Value, step int) bool {
	a, b := l.typeOf(in), l.typeOf(out)
	if !a.Known() || a.DType != b.DType || a.DType.Bits() == 0 || !a.Shape.Len().Equal(b.Shape.Len()) {
		return false
	}
	store := l.of[in]
	s := l.stores[store]
	switch s.place {
	case outside, onHeap:
		return false
	case inState:
		if l.p.g.State[s.state].Next != out {
			return false
		}
	}
	if s.lastRead > step {
		return false
	}
	reads := 0
	for _, v := range l.p.reads[step] {
		if l.of[v] == store {
			reads++
		}
	}
	taken := slices.ContainsFunc(n.Outputs, func(o *Value) bool {
		i, ok := l.of[o]
		return ok && o != nil && i == store
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
