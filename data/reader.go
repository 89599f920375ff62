package data

import (
	"io"
	"slices"
	"sync"

	"tandem/fault"
	"tandem/tensor"
)

// windowBlocks is how many blocks are shuffled among each other. It's part of the
// definition of the order, and so never changes.
const windowBlocks = 64

// Pass says how the examples of a dataset are visited once.
//
// Without Shuffle they come in their own order. With it the order is a function of
// the dataset's blocks, Seed and Epoch that will never change; threads, memory and
// Skip have no part in it:
//
//	blocks: of up to 64 all come in one window, in their order; of more they are
//	  permuted as Order does, with the stream "block" + epoch, and each 64 in turn
//	  make a window, in which they lie in their order again
//	examples: those of a window are permuted as Order does, with the stream
//	  "order" + epoch + 0x9e3779b97f4a7c15·(number of the window, from 0)
//
// So what is one window, such as everything that NewDataset makes, comes in the
// order of Order. What is more is read in blocks, and never more than two windows
// of it are in memory. Examples in blocks far apart meet in a window, because blocks
// are drawn from everywhere; this is what a shuffle on disk would cost a pass over
// the disk for.
type Pass struct {
	Rows    int // of a batch; the last may have fewer
	Shuffle bool
	Seed    uint64
	Epoch   int
	Skip    int // batches to leave out at the beginning, without reading them
}

// Batch is some examples, in memory that the next batch may reuse.
type Batch struct {
	*Dataset
	room []*tensor.Tensor // of as many rows as any batch has had
}

// Reader visits a dataset as a Pass says. It reads ahead on a goroutine of its own.
type Reader struct {
	d    *Dataset
	pass Pass
	plan plan

	now    window // that examples are taken from
	at     int    // the next of its examples
	left   int    // examples that were not given yet
	loaded chan window
	empty  chan []*tensor.Tensor // memory of windows that are done with
	done   chan struct{}
	wait   sync.WaitGroup
}

// window is examples in memory.
type window struct {
	columns []*tensor.Tensor
	order   []int // in which they come; nil is their own
	rows    int
	err     error
}

// Read begins a pass. The reader must be closed.
func (d *Dataset) Read(p Pass) *Reader {
	r := &Reader{d: d, pass: p, plan: d.plan(p), done: make(chan struct{})}
	skip := min(p.Skip*p.Rows, d.Len())
	r.left = d.Len() - skip
	first := 0
	for first < len(r.plan) && skip >= d.rows(r.plan[first]) && r.left > 0 {
		skip -= d.rows(r.plan[first])
		first++
	}
	if d.memory != nil {
		r.now, r.at = window{columns: d.memory, order: r.order(0, d.Len()), rows: d.Len()}, skip
		return r
	}
	r.at = skip
	r.loaded, r.empty = make(chan window), make(chan []*tensor.Tensor, 2)
	if r.left > 0 {
		r.wait.Go(func() { r.readAhead(first) })
	}
	return r
}

// Next fills b with the next batch, or returns io.EOF. What b held before is gone.
func (r *Reader) Next(b *Batch) error {
	n := min(r.pass.Rows, r.left)
	if n == 0 {
		return io.EOF
	}
	if b.room == nil || b.room[0].Dim(0) < n {
		b.room = r.d.newRoom(r.pass.Rows)
	}
	b.Dataset = r.d.part(b.room, n)
	for filled := 0; filled < n; {
		if (r.now.columns == nil || r.at == r.now.rows) && !r.turn() {
			return r.now.err
		}
		some := min(n-filled, r.now.rows-r.at)
		for i, dst := range b.memory {
			r.now.gather(dst, filled, i, r.at, some, r.d.rowSize[i])
		}
		filled, r.at = filled+some, r.at+some
	}
	r.left -= n
	return nil
}

// turn goes on to the next window, if it could be read.
func (r *Reader) turn() bool {
	if r.now.columns != nil { // before the first window, at is what was skipped of it
		r.empty <- r.now.columns
		r.at = 0
	}
	r.now = <-r.loaded
	return r.now.err == nil
}

// Close ends the pass.
func (r *Reader) Close() {
	close(r.done)
	r.wait.Wait()
}

// gather copies count examples of a column, from the one at, into rows of dst.
func (w window) gather(dst *tensor.Tensor, row, column, at, count, size int) {
	src := w.columns[column]
	if src.DType() == tensor.String {
		copyRows(dst.Strings()[row*size:], src.Strings(), w.order, at, count, size)
		return
	}
	copyRows(dst.Bytes()[row*size:], src.Bytes(), w.order, at, count, size)
}

func copyRows[E any](dst, src []E, order []int, at, count, size int) {
	if order == nil {
		copy(dst, src[at*size:(at+count)*size])
		return
	}
	for k, row := range order[at : at+count] {
		copy(dst[k*size:(k+1)*size], src[row*size:(row+1)*size])
	}
}

// readAhead loads windows, each while the one before is used.
func (r *Reader) readAhead(first int) {
	most := 0
	for _, runs := range r.plan {
		most = max(most, r.d.rows(runs))
	}
	for range 2 {
		r.empty <- nil
	}
	for i := first; i < len(r.plan); i++ {
		var columns []*tensor.Tensor
		select {
		case columns = <-r.empty:
		case <-r.done:
			return
		}
		if columns == nil {
			columns = r.d.newRoom(most)
		}
		w := r.load(i, columns)
		select {
		case r.loaded <- w:
		case <-r.done:
			return
		}
		if w.err != nil {
			return
		}
	}
}

// load reads a window into memory.
func (r *Reader) load(i int, columns []*tensor.Tensor) window {
	w := window{columns: columns}
	for _, k := range r.plan[i] {
		run := r.d.runs[k]
		n := run.hi - run.lo
		dst := make([]*tensor.Tensor, len(columns))
		for c, t := range columns {
			dst[c] = t.Rows(w.rows, w.rows+n)
		}
		if err := r.d.source.load(run.block, run.lo, run.hi, dst); err != nil {
			return window{err: fault.From(err, "data.read")}
		}
		w.rows += n
	}
	w.order = r.order(i, w.rows)
	return w
}

// order is that of the examples in a window.
func (r *Reader) order(window, n int) []int {
	if !r.pass.Shuffle {
		return nil
	}
	p := make([]int, n)
	shuffle(p, r.pass.Seed, orderStream+uint64(r.pass.Epoch)+0x9e3779b97f4a7c15*uint64(window))
	return p
}

// plan is the windows of a pass, each with the numbers of its runs.
type plan [][]int

func (d *Dataset) plan(p Pass) plan {
	order := make([]int, len(d.runs))
	for i := range order {
		order[i] = i
	}
	if p.Shuffle && len(order) > windowBlocks {
		shuffle(order, p.Seed, blockStream+uint64(p.Epoch))
	}
	windows := plan(slices.Collect(slices.Chunk(order, windowBlocks)))
	for _, w := range windows {
		slices.Sort(w)
	}
	return windows
}

// rows is the number of examples in some runs.
func (d *Dataset) rows(runs []int) int {
	n := 0
	for _, k := range runs {
		n += d.runs[k].hi - d.runs[k].lo
	}
	return n
}

// newRoom is memory for some examples.
func (d *Dataset) newRoom(rows int) []*tensor.Tensor {
	room := make([]*tensor.Tensor, len(d.fields))
	for i, f := range d.fields {
		room[i] = tensor.New(f.DType, append([]int{rows}, f.Shape...)...)
	}
	return room
}

// part is the dataset of the first n examples that are in memory.
func (d *Dataset) part(columns []*tensor.Tensor, n int) *Dataset {
	p := &Dataset{fields: d.fields, rowSize: d.rowSize, runs: []run{{0, 0, n}}, starts: []int{0, n}}
	for _, t := range columns {
		p.memory = append(p.memory, t.Rows(0, n))
	}
	return p
}

// Scan visits all examples in their own order, in parts that lie in memory and are
// only borrowed: what is in memory already comes as it is.
func (d *Dataset) Scan(visit func(part *Dataset) error) error {
	if d.memory != nil {
		return visit(d)
	}
	r := d.Read(Pass{Rows: 256})
	defer r.Close()
	var b Batch
	for {
		err := r.Next(&b)
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = visit(b.Dataset)
		}
		if err != nil {
			return err
		}
	}
}
