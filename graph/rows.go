package graph

import (
	"slices"

	"tandem/tensor"
)

// rowwise is a run of nodes of a segment that computes a few rows of its tensors at a
// time, from the first node to the last, before the next rows: a row is what has one index
// of dimension 0, mostly an image. What lies between the nodes then fits the cache, where
// a batch of large images does not, and takes the memory of a few rows. Kernels give a row
// the same bits among any others, so that this changes none.
type rowwise struct {
	lo, hi  int
	rows    int    // at a time
	times   int    // until all are computed
	inner   *frame // of tensors with that many rows
	in, out []part
}

// part is what the inner frame has of a tensor at a time.
type part struct{ some, all *tensor.Tensor }

func (p part) bytes(i int) []byte {
	size := p.some.DType().ByteLen(p.some.Len())
	return p.all.Bytes()[i*size : (i+1)*size : (i+1)*size]
}

// Bounds of a rowwise.
const (
	// rowsBytes are what a node reads and writes at a time, for each thread: what stays in
	// the last cache of a processor with as many cores, and is enough to share.
	rowsBytes = 6 << 20
	// rowsConstants are the constants that a rowwise reads again for the next rows, from
	// the last cache too.
	rowsConstants = 16 << 20
)

// rowwise finds the runs of the nodes from lo to hi for which rows are worth it.
func (f *frame) rowwise(lo, hi int, asked []question) []*rowwise {
	if len(f.state) > 0 || f.p.opt.Check != nil { // which wants to see whole tensors
		return nil
	}
	blocked := map[int]bool{}
	for _, q := range asked {
		blocked[q.node] = true
	}
	var list []*rowwise
	for lo < hi {
		r, next := f.scan(lo, hi, blocked)
		if r != nil && f.buildRows(r) {
			list = append(list, r)
		}
		lo = next
	}
	return list
}

// scan follows the nodes from lo on as long as they work by the same rows. It gives nil
// where their tensors fit the cache as they are, and the node at which to go on.
func (f *frame) scan(lo, hi int, blocked map[int]bool) (*rowwise, int) {
	budget := rowsBytes * f.pool.Threads()
	byRow := map[*Value]bool{} // or read whole
	n, constants, most, end, at := 0, 0, 0, lo, lo
	for ; at < hi && !blocked[at]; at++ {
		rows, moved, fixed, ok := f.nodeRows(at, byRow)
		if !ok || n > 0 && rows != n || constants+fixed > rowsConstants {
			break
		}
		n, constants = rows, constants+fixed
		if moved > budget {
			end, most = at+1, max(most, moved)
		}
	}
	if end == lo {
		return nil, max(at, lo+1)
	}
	per := n
	for per > 1 && (n%per != 0 || most/n*per > budget) {
		per--
	}
	if per == n {
		return nil, end
	}
	return &rowwise{lo: lo, hi: end, rows: per, times: n / per}, end
}

// nodeRows is how many rows the tensors of a node have, and the bytes of these and of what
// it reads beside them. byRow holds how the nodes before read a value.
func (f *frame) nodeRows(at int, byRow map[*Value]bool) (n, moved, fixed int, ok bool) {
	node, op := f.p.g.Nodes[at], f.p.ops[at]
	if op.Rows == nil {
		return 0, 0, 0, false
	}
	shapes := make([]tensor.Shape, len(node.Inputs))
	for i, v := range node.Inputs {
		if v != nil {
			shapes[i], _ = f.types[v].Shape.Static()
		}
	}
	mine := map[*Value]bool{}
	note := func(v *Value, row bool) bool {
		t := f.types[v]
		shape, known := t.Shape.Static()
		if before, seen := byRow[v]; !known || t.DType.Bits() < 8 || seen && before != row {
			return false
		}
		if before, seen := mine[v]; seen && before != row {
			return false
		}
		size, err := sizeOf(t.DType, shape)
		if err != nil {
			return false
		}
		mine[v] = row
		switch {
		case !row && v.Const == nil:
			return size < rowsConstants
		case !row:
			fixed += len(v.Const.Data)
			return true
		case v.Const != nil || len(shape) == 0 || n > 0 && shape[0] != n:
			return false
		}
		n, moved = shape[0], moved+size
		return true
	}
	by := op.Rows(node, shapes)
	for i, v := range node.Inputs {
		if v != nil && !note(v, slices.Contains(by, i)) {
			return 0, 0, 0, false
		}
	}
	for _, v := range node.Outputs {
		if v != nil && !note(v, true) {
			return 0, 0, 0, false
		}
	}
	for v, row := range mine {
		byRow[v] = row
	}
	return n, moved, fixed, n > 1
}

// buildRows makes the inner frame and its steps. It reports false where the shape rules do
// not say what is expected, or where what is copied in the end is most of what there is.
func (f *frame) buildRows(r *rowwise) bool {
	inner := &frame{
		p: f.p, pool: f.pool, bodies: f.bodies, spares: f.spares, building: true, next: r.hi,
		types: map[*Value]Type{}, content: map[*Value][]Dim{}, tensors: map[*Value]*tensor.Tensor{},
		segments: []segment{{node: r.lo}},
	}
	r.inner = inner
	within, left := 0, 0 // bytes
	for at := r.lo; at < r.hi; at++ {
		node, op := f.p.g.Nodes[at], f.p.ops[at]
		shapes := make([]tensor.Shape, len(node.Inputs))
		for i, v := range node.Inputs {
			if v != nil {
				shapes[i], _ = f.types[v].Shape.Static()
			}
		}
		by := op.Rows(node, shapes)
		for i, v := range node.Inputs {
			if v == nil || inner.types[v].Known() {
				continue
			}
			all := f.tensors[v]
			if !slices.Contains(by, i) {
				inner.give(v, all)
				continue
			}
			some := new(tensor.Tensor)
			some.Set(all.DType(), r.some(shapes[i]), nil)
			inner.give(v, some)
			r.in = append(r.in, part{some, all})
		}
		if infer(node, op, f.p.g.OpVersion(node), inner) != nil || len(inner.asking) > 0 {
			return false
		}
		for _, v := range node.Outputs {
			if v == nil {
				continue
			}
			whole, _ := f.types[v].Shape.Static()
			shape, ok := inner.types[v].Shape.Static()
			if !ok || inner.types[v].DType != f.types[v].DType || !shape.Equal(r.some(whole)) {
				return false
			}
			size := f.types[v].DType.ByteLen(whole.Len())
			if within += size; f.p.lastRead[v] >= r.hi {
				left += size
			}
		}
	}
	return left <= within/4
}

// some is a shape with the rows of a time.
func (r *rowwise) some(shape tensor.Shape) tensor.Shape {
	return append(tensor.Shape{r.rows}, shape[1:]...)
}

// prepareRows makes ready the kernels of r and the memory that they share, and takes
// their outputs to those of the frame.
func (f *frame) prepareRows(r *rowwise) error {
	if err := r.inner.prepare(r.lo, r.hi, false); err != nil {
		return err
	}
	r.inner.building = false
	for _, n := range f.p.g.Nodes[r.lo:r.hi] {
		for _, v := range n.Outputs {
			if v != nil && f.p.lastRead[v] >= r.hi {
				r.out = append(r.out, part{r.inner.tensors[v], f.tensors[v]})
			}
		}
	}
	return f.count(r.inner.bytes)
}

// run computes all rows.
func (r *rowwise) run(f *frame) error {
	r.inner.ctx, r.inner.running = f.ctx, 0
	for i := range r.times {
		for _, p := range r.in {
			p.some.Set(p.some.DType(), p.some.Shape(), p.bytes(i))
		}
		for _, s := range r.inner.steps {
			if err := r.inner.step(s); err != nil {
				return err
			}
		}
		for _, p := range r.out {
			copy(p.bytes(i), p.some.Bytes())
		}
	}
	return nil
}

// rest drops what belongs to the caller.
func (r *rowwise) rest() {
	r.inner.ctx = nil
	for _, p := range r.in {
		drop(p.some)
	}
}

// hold keeps what a rowwise reads and writes for all of its steps, and gives no memory to
// what stays within: the inner frame has it.
func (r *rowwise) hold(l *layout, sizes []int) {
	for i := range l.stores {
		s := &l.stores[i]
		begins, ends := s.first >= r.lo && s.first < r.hi, s.last >= r.lo && s.last < r.hi
		switch {
		case s.place != inArena:
		case begins && ends:
			sizes[i] = 0
		case begins:
			s.first = r.lo
		case ends:
			s.last = r.hi - 1
		}
	}
}
