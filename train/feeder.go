package train

import (
	"io"
	"runtime"
	"sync"

	"tandem/data"
	"tandem/fault"
	"tandem/graph"
	"tandem/tensor"
)

// feeder prepares batches ahead of the steps that take them, on goroutines of its
// own. The batches come in the order of the pass, whichever is ready first.
type feeder struct {
	p       *Problem
	rows    int
	workers int

	slots  []*fedBatch
	reader *data.Reader
	pass   data.Pass
	taken  int // by steps
	done   chan struct{}
	wait   sync.WaitGroup

	mu    sync.Mutex
	begun int  // by workers
	ended bool // the reader has nothing more
}

// fedBatch is a batch and what Feed makes of it.
type fedBatch struct {
	data.Batch
	first int              // number of its first example in the pass
	room  []*tensor.Tensor // the network's inputs, then the target, of as many rows as a batch has
	fed   []*tensor.Tensor // the rows of them that are filled
	ready chan error
	free  chan struct{}
}

func (b *fedBatch) inputs() []*tensor.Tensor { return b.fed[:len(b.fed)-1] }
func (b *fedBatch) target() *tensor.Tensor   { return b.fed[len(b.fed)-1] }

// newFeeder makes a feeder of batches of so many rows, which works on the
// processors that as many threads of training leave free, but on one at least.
func newFeeder(p *Problem, rows, threads int) *feeder {
	f := &feeder{p: p, rows: rows, workers: feedWorkers(threads)}
	for range f.workers + 1 {
		b := &fedBatch{}
		for _, v := range p.Graph.Inputs {
			b.room = append(b.room, newRows(v.Type, rows))
		}
		b.room = append(b.room, newRows(p.Target, rows))
		b.fed = make([]*tensor.Tensor, len(b.room))
		f.slots = append(f.slots, b)
	}
	return f
}

// feedWorkers is how many goroutines feed beside so many threads of training.
func feedWorkers(threads int) int { return max(1, runtime.GOMAXPROCS(0)-threads) }

// newRows allocates a tensor of a type whose dimension 0 is the batch.
func newRows(typ graph.Type, rows int) *tensor.Tensor {
	shape := []int{rows}
	for _, d := range typ.Shape[1:] {
		n, _ := d.Value()
		shape = append(shape, n)
	}
	return tensor.New(typ.DType, shape...)
}

// start begins a pass over d, whose Rows are the feeder's. One that is shuffled is to
// train on.
func (f *feeder) start(d *data.Dataset, pass data.Pass) {
	pass.Rows = f.rows
	f.reader, f.pass, f.done = d.Read(pass), pass, make(chan struct{})
	f.taken, f.begun, f.ended = 0, 0, false
	for _, b := range f.slots {
		b.ready, b.free = make(chan error, 1), make(chan struct{}, 1)
		b.free <- struct{}{}
	}
	for range f.workers {
		f.wait.Go(f.work)
	}
}

// next is the next batch. It belongs to the caller until release.
func (f *feeder) next() (*fedBatch, error) {
	b := f.slots[f.taken%len(f.slots)]
	f.taken++
	if err := <-b.ready; err != nil {
		return nil, fault.From(err, "train.feed")
	}
	return b, nil
}

func (f *feeder) release(b *fedBatch) { b.free <- struct{}{} }

// stop ends the pass, wherever it is.
func (f *feeder) stop() {
	close(f.done)
	f.wait.Wait()
	f.reader.Close()
}

// work prepares batches until the pass ends.
func (f *feeder) work() {
	for {
		b, err := f.begin()
		if b == nil {
			return
		}
		if err == nil {
			for i, x := range b.room {
				b.fed[i] = x.Rows(0, b.Len())
			}
			err = f.p.Feed(b.Dataset, b.inputs(), b.target())
			if err == nil && f.p.Vary != nil && f.pass.Shuffle {
				f.p.Vary(Visit{f.pass.Seed, f.pass.Epoch, b.first}, b.inputs())
			}
		}
		b.ready <- err
	}
}

// begin reads the next batch; there is none after the last, after an error, or when
// the feeder stops.
func (f *feeder) begin() (*fedBatch, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return nil, nil
	}
	b := f.slots[f.begun%len(f.slots)]
	select {
	case <-b.free:
	case <-f.done:
		return nil, nil
	}
	b.first = (f.pass.Skip + f.begun) * f.rows
	f.begun++
	err := f.reader.Next(&b.Batch)
	f.ended = err != nil
	if err == io.EOF {
		return nil, nil
	}
	return b, err
}
