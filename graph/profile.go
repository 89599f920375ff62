package graph

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"tandem/tensor"
)

// Profile adds up where the time of runs goes, by operator and shapes. It is given to
// Compile. One run at a time is measured: others that go on at once wait.
type Profile struct {
	run  sync.Mutex // held during a run of the outermost graph
	rows map[profileKey]*ProfileRow
	// inner is the time of nodes that ended within the node under way: of its bodies.
	inner time.Duration
}

// NewProfile is an empty one.
func NewProfile() *Profile { return &Profile{rows: map[profileKey]*ProfileRow{}} }

// ProfileRow is what one operator took on one set of shapes.
type ProfileRow struct {
	Op     OpID
	Shapes string // of the inputs, and of the first output
	Calls  int
	Time   time.Duration // without the nodes of its bodies
	Work   float64       // operations, as Op.Work counts them
}

type profileKey struct {
	op     OpID
	shapes string
}

// Rows are sorted by time, the longest first.
func (p *Profile) Rows() []ProfileRow {
	p.run.Lock()
	defer p.run.Unlock()
	var rows []ProfileRow
	for _, r := range p.rows {
		rows = append(rows, *r)
	}
	slices.SortFunc(rows, func(a, b ProfileRow) int {
		return cmp.Or(cmp.Compare(b.Time, a.Time), cmp.Compare(a.Op.String(), b.Op.String()), cmp.Compare(a.Shapes, b.Shapes))
	})
	return rows
}

// Reset forgets what was measured.
func (p *Profile) Reset() {
	p.run.Lock()
	defer p.run.Unlock()
	clear(p.rows)
}

// time runs a step and adds what it took.
func (p *Profile) time(s step, tensors map[*Value]*tensor.Tensor) error {
	outer := p.inner
	p.inner = 0
	start := time.Now()
	err := s.run()
	took := time.Since(start)
	self := took - p.inner
	p.inner = outer + took
	if err != nil {
		return err
	}
	shapes := func(values []*Value) []tensor.Shape {
		list := make([]tensor.Shape, len(values))
		for i, v := range values {
			if v != nil {
				list[i] = tensors[v].Shape()
			}
		}
		return list
	}
	in, out := shapes(s.node.Inputs), shapes(s.node.Outputs)
	key := profileKey{s.node.Op, describeShapes(s.node, in, out)}
	row := p.rows[key]
	if row == nil {
		row = &ProfileRow{Op: key.op, Shapes: key.shapes}
		p.rows[key] = row
	}
	row.Calls++
	row.Time += self
	row.Work += s.op.WorkOf(s.node, in, out)
	return nil
}

// begin holds the profile for a run of the outermost graph, until what it returns is
// called.
func (p *Profile) begin() func() {
	p.run.Lock()
	p.inner = 0
	return p.run.Unlock
}

// describeShapes is such as "1x3x224x224, 64x3x7x7 → 1x64x112x112".
func describeShapes(n *Node, in, out []tensor.Shape) string {
	var list []string
	for i, v := range n.Inputs {
		if v == nil {
			list = append(list, "–")
			continue
		}
		list = append(list, in[i].String())
	}
	text := strings.Join(list, ", ") + " →"
	if len(out) > 0 && n.Outputs[0] != nil {
		text += " " + out[0].String()
	}
	return text
}

// WorkOf is how many operations a node takes on the given shapes: as Op.Work says, or
// one for each element of its outputs.
func (op *Op) WorkOf(n *Node, in, out []tensor.Shape) float64 {
	switch {
	case op.View:
		return 0
	case op.Work != nil:
		return op.Work(n, in, out)
	}
	var elements float64
	for i, s := range out {
		if n.Outputs[i] != nil {
			elements += float64(s.Len())
		}
	}
	return elements
}
