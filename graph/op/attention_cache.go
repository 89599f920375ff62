package op

import (
	"tandem/graph"
	"tandem/tensor"
)

// cache joins past keys and values with fresh ones, in outputs 1 and 2 or, where
// the node does not have them, in memory of its own.
type cache[T wide] struct {
	c     *graph.Call
	a     *attention[T]
	fresh int
	past  int // index of the input of past keys; that of values follows
	own   [2][]T
}

func newCache[T wide](c *graph.Call, a *attention[T], fresh, past int) (m *cache[T], err error) {
	m = &cache[T]{c: c, a: a, fresh: fresh, past: past}
	for j, size := range []int{a.size, a.valueSize} {
		if c.Has(past) && !m.asked(j) && err == nil {
			m.own[j], err = graph.Room[T](c, a.batch*a.kvHeads*a.keys*size)
		}
	}
	return m, err
}

// asked reports whether the node has the j-th of the joined outputs.
func (m *cache[T]) asked(j int) bool { return 1+j < len(m.c.Out) && m.c.Out[1+j] != nil }

func (m *cache[T]) put(k, v heads[T]) (heads[T], heads[T]) {
	return m.joined(0, k, m.a.size), m.joined(1, v, m.a.valueSize)
}

func (m *cache[T]) joined(j int, from heads[T], size int) heads[T] {
	c, a := m.c, m.a
	if !m.asked(j) && !c.Has(m.past) {
		return from
	}
	if m.asked(j) {
		m.own[j] = tensor.Data[T](c.Out[1+j])
	}
	to := headsFirst(m.own[j], a.kvHeads, a.keys, size)
	var past []T
	if c.Has(m.past) {
		past = tensor.Data[T](c.In[m.past+j])
	}
	join(to, past, from, a.batch, a.kvHeads, a.keys, m.fresh, size)
	return to
}

// join puts the past [batch, heads, keys-fresh, size] and the fresh rows one after
// the other.
func join[T wide](to heads[T], past []T, from heads[T], batch, heads_, keys, fresh, size int) {
	before := keys - fresh
	for b := range batch {
		for h := range heads_ {
			rest := to.at(b, h, 0, keys*size)
			copy(rest, past[min(len(past), (b*heads_+h)*before*size):][:before*size])
			for r := range fresh {
				copy(rest[(before+r)*size:], from.at(b, h, r, size))
			}
		}
	}
}
