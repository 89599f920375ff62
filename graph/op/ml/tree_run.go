package ml

import (
	"cmp"

	"tandem/graph"
	"tandem/tensor"
)

// ballots are what a worker counts: the votes for some rows, of which packed trees take
// lanes at once.
type ballots struct {
	how     aggregate
	targets int
	scores  []float64 // of each target, row by row
	given   []bool    // which of them got anything
	x       []uint32  // what rows have to compare in packed trees
	row     []float64 // a row for other trees
	err     error     // that ended the count
}

func newBallots(c *graph.Call, f *forest, in *features, targets int, how aggregate) (b ballots, err error) {
	b = ballots{how: how, targets: targets}
	rows := min(in.rows, lanes)
	if b.scores, err = graph.Room[float64](c, rows*targets); err != nil {
		return b, err
	}
	if b.given, err = graph.Room[bool](c, rows*targets); err != nil {
		return b, err
	}
	if f.packed != nil && in.src.DType() == tensor.Float32 {
		if b.x, err = graph.Room[uint32](c, rows*len(f.packed.used)); err != nil {
			return b, err
		}
	}
	b.row, err = graph.Room[float64](c, in.width)
	return b, err
}

func (b *ballots) clear(rows int) {
	clear(b.scores[:rows*b.targets])
	clear(b.given[:rows*b.targets])
}

// of is what a row has.
func (b *ballots) of(row int) (scores []float64, given []bool) {
	at := row * b.targets
	return b.scores[at:][:b.targets], b.given[at:][:b.targets]
}

// add counts the votes of a leaf for a row.
func (b *ballots) add(row int, votes []vote) {
	scores, given := b.of(row)
	for i := range votes {
		v := &votes[i]
		switch s := &scores[v.target]; {
		case b.how == minimum && given[v.target]:
			*s = min(*s, v.weight)
		case b.how == maximum && given[v.target]:
			*s = max(*s, v.weight)
		default:
			*s += v.weight
		}
		given[v.target] = true
	}
}

// addLeaves counts what a leaf gives to each of some rows, or each of some leaves to the
// first row: apart is 1 or 0.
func (b *ballots) addLeaves(f *forest, leaves []uint32, apart int) {
	if !f.single || b.how == minimum || b.how == maximum {
		for i, leaf := range leaves {
			b.add(i*apart, f.given(int32(leaf)))
		}
		return
	}
	apart *= b.targets
	votes, scores := f.votes, b.scores
	given := b.given[:len(scores)]
	for i, leaf := range leaves {
		v := &votes[leaf]
		at := i*apart + v.target
		scores[at] += v.weight
		given[at] = true
	}
}

// close ends the count of so many trees for a row.
func (b *ballots) close(row, trees int) (scores []float64, given []bool) {
	scores, given = b.of(row)
	if b.how == average {
		for i := range scores {
			scores[i] /= float64(trees)
		}
	}
	return scores, given
}

// score counts what the trees give to a row, in their order.
func (f *forest) score(row []float64, b *ballots) error {
	b.clear(1)
	for _, root := range f.roots {
		leaf, err := f.leaf(root, row)
		if err != nil {
			return err
		}
		b.add(0, f.given(leaf))
	}
	return nil
}

// scorePacked does so for one row, or for as many as there are lanes; false if packed
// trees do not take them.
func (f *forest) scorePacked(rows []float32, n int, b *ballots) bool {
	p, width := f.packed, len(rows)/n
	for i := range n {
		if !p.read(b.x, i, n, rows[i*width:][:width]) {
			return false
		}
	}
	b.clear(n)
	var at [lanes]uint32
	if n == lanes {
		for _, t := range p.trees {
			for i := range at {
				at[i] = t.root
			}
			p.walk(b.x, true, &at, t.depth)
			b.addLeaves(f, at[:], 1)
		}
		return true
	}
	for i := 0; i < len(p.trees); i += lanes {
		some, depth := p.trees[i:min(i+lanes, len(p.trees))], int32(0)
		for j, t := range some {
			at[j], depth = t.root, max(depth, t.depth)
		}
		for j := len(some); j < lanes; j++ {
			at[j] = some[0].root
		}
		p.walk(b.x, false, &at, depth)
		b.addLeaves(f, at[:len(some)], 0)
	}
	return true
}

// treeRun computes the scores of each row and hands them on, by several threads.
func treeRun(c *graph.Call, f *forest, targets int, how aggregate, each func(row int, scores []float64, given []bool)) (func() error, error) {
	in := rowsIn(c.In[0])
	if err := f.fits(in.width, targets); err != nil {
		return nil, err
	}
	packed, grain := f.packed != nil && c.In[0].DType() == tensor.Float32, stepsForThread/(stepsOfTree*len(f.roots))+1
	if packed {
		grain = max(stepsForThread/(f.packed.steps*lanes), 1) * lanes
	}
	workers := make([]ballots, c.Pool.Threads())
	for i := range workers {
		var err error
		if workers[i], err = newBallots(c, f, in, targets, how); err != nil {
			return nil, err
		}
	}
	// take counts rows from i on, as many as it says.
	take := func(i, left int, b *ballots) int {
		for _, n := range [...]int{lanes, 1} {
			if packed && n <= left && f.scorePacked(c.In[0].F32()[i*in.width:][:n*in.width], n, b) {
				return n
			}
		}
		in.take(b.row, i*in.width)
		b.err = f.score(b.row, b)
		return 1
	}
	rows := func(lo, hi, worker int) {
		for b := &workers[worker]; lo < hi; {
			n := take(lo, hi-lo, b)
			if b.err != nil {
				return
			}
			for i := range n {
				scores, given := b.close(i, len(f.roots))
				each(lo+i, scores, given)
			}
			lo += n
		}
	}
	return func() error {
		c.Pool.For(in.rows, grain, rows)
		var err error
		for i := range workers {
			err = cmp.Or(err, workers[i].err)
			workers[i].err = nil
		}
		return err
	}, nil
}

// stepsForThread is the number of steps in packed trees that is worth another thread,
// about 10 µs. Node by node a tree takes about as long as stepsOfTree of them.
const (
	stepsForThread = 12 << 10
	stepsOfTree    = 32
)
