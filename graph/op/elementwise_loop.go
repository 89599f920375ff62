package op

import (
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// nest is the loop over a broadcast result: dimensions that every operand walks
// alike are merged and those of 1 left out, so that the last, the row, is as long
// as it can be. Along a row an operand's elements follow each other or one repeats.
type nest struct {
	outer   []int   // the dimensions around the row
	row     int     // the row's length
	strides [][]int // of each operand in elements, by outer dimension
	repeats []bool  // by operand: one element serves the whole row
}

func newNest(out tensor.Shape, in ...tensor.Shape) (*nest, error) {
	n := &nest{row: 1, strides: make([][]int, len(in)), repeats: make([]bool, len(in))}
	walks := make([]*walk, len(in))
	for i, s := range in {
		var err error
		if walks[i], err = newWalk(out, s); err != nil {
			return nil, err
		}
	}
	var dims []int
	for axis, d := range out {
		if d == 1 {
			continue
		}
		merge := len(dims) > 0
		for i, w := range walks {
			merge = merge && n.strides[i][len(dims)-1] == w.strides[axis]*d
		}
		if merge {
			dims[len(dims)-1] *= d
		} else {
			dims = append(dims, d)
		}
		for i, w := range walks {
			n.strides[i] = append(n.strides[i][:len(dims)-1], w.strides[axis])
		}
	}
	if len(dims) == 0 {
		return n, nil
	}
	last := len(dims) - 1
	n.outer, n.row = dims[:last], dims[last]
	for i := range n.strides {
		n.repeats[i] = n.strides[i][last] == 0
		n.strides[i] = n.strides[i][:last]
	}
	return n, nil
}

func (n *nest) rows() int {
	if n.row == 0 {
		return 0
	}
	return tensor.Shape(n.outer).Len()
}

// offset is where an operand's elements for a row begin.
func (n *nest) offset(operand, row int) int {
	off := 0
	for i, d := range slices.Backward(n.outer) {
		off += row % d * n.strides[operand][i]
		row /= d
	}
	return off
}

// elementGrain is how many elements one chunk of an element-wise operation has at
// least: it takes longer than handing it out.
const elementGrain = 1 << 13

// spreadLen is the length of the pieces in which rows are computed where an
// operand repeats: the repeated element is written out that often, in L1.
const spreadLen = 512

// mapRows computes Y = f(operands) with broadcasting; f sees slices of one length.
// Operands are the inputs from first on, each of type T.
func mapRows[T, U tensor.Element](c *graph.Call, first int, f func(y []U, x [][]T) error) (func() error, error) {
	in := c.In[first:]
	shapes := make([]tensor.Shape, len(in))
	for i, x := range in {
		shapes[i] = x.Shape()
	}
	n, err := newNest(c.Out[0].Shape(), shapes...)
	if err != nil {
		return nil, err
	}
	m := &rowMap[T, U]{c: c, in: in, nest: n, f: f, piece: max(n.row, 1)}
	if slices.Contains(n.repeats, true) {
		m.piece = min(m.piece, spreadLen)
	}
	m.workers = make([]rowWorker[T], c.Pool.Threads())
	for i := range m.workers {
		w := &m.workers[i]
		w.at, w.x = make([]int, len(in)), make([][]T, len(in))
		for k := range in {
			w.spread = append(w.spread, nil)
			if n.repeats[k] {
				w.spread[k] = make([]T, m.piece)
			}
		}
	}
	m.data = make([][]T, len(in))
	m.body = m.chunk
	return m.run, nil
}

// rowMap is the state of mapRows.
type rowMap[T, U tensor.Element] struct {
	c       *graph.Call
	in      []*tensor.Tensor
	nest    *nest
	f       func(y []U, x [][]T) error
	piece   int
	data    [][]T
	y       []U
	workers []rowWorker[T]
	body    func(lo, hi, worker int)
}

type rowWorker[T tensor.Element] struct {
	at     []int // where the operands' elements for the row begin
	x      [][]T // the operands of the piece
	spread [][]T
	err    error
}

func (m *rowMap[T, U]) run() error {
	for i, x := range m.in {
		m.data[i] = asElements[T](x.Bytes())
	}
	m.y = asElements[U](m.c.Out[0].Bytes())
	if len(m.nest.outer) == 0 { // cut the row itself
		m.c.Pool.For(m.nest.row, elementGrain, m.body)
	} else {
		m.c.Pool.For(m.nest.rows(), max(1, elementGrain/max(m.nest.row, 1)), m.body)
	}
	for i := range m.workers {
		if err := m.workers[i].err; err != nil {
			m.workers[i].err = nil
			return err
		}
	}
	return nil
}

// chunk computes the rows lo to hi, or that part of the only row.
func (m *rowMap[T, U]) chunk(lo, hi, worker int) {
	w, n := &m.workers[worker], m.nest
	if len(n.outer) == 0 {
		m.part(w, 0, lo, hi)
		return
	}
	for row := lo; row < hi; row++ {
		m.part(w, row, 0, n.row)
	}
}

// part computes the elements lo to hi of a row.
func (m *rowMap[T, U]) part(w *rowWorker[T], row, lo, hi int) {
	n := m.nest
	for k := range m.in {
		w.at[k] = n.offset(k, row)
		if n.repeats[k] {
			v := m.data[k][w.at[k]]
			s := w.spread[k][:min(m.piece, hi-lo)]
			for i := range s {
				s[i] = v
			}
		}
	}
	for ; lo < hi && w.err == nil; lo += m.piece {
		k := min(m.piece, hi-lo)
		for i := range m.in {
			if n.repeats[i] {
				w.x[i] = w.spread[i][:k]
			} else {
				w.x[i] = m.data[i][w.at[i]+lo:][:k]
			}
		}
		w.err = m.f(m.y[row*n.row+lo:][:k], w.x)
	}
}

// mapElements computes Y = f(X) element by element; Y may be in the memory of X.
func mapElements[T, U tensor.Element](c *graph.Call, f func(y []U, x []T)) (func() error, error) {
	var x []T
	var y []U
	body := func(lo, hi, _ int) { f(y[lo:hi], x[lo:hi]) }
	return func() error {
		x, y = asElements[T](c.In[0].Bytes()), asElements[U](c.Out[0].Bytes())
		c.Pool.For(len(y), elementGrain, body)
		return nil
	}, nil
}
