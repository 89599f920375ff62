package control

import (
	"fmt"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// scan describes a Scan node: state goes from one iteration to the next, inputs
// are cut into slices, and the slices that the body gives are put together.
type scan struct {
	c             *graph.Call
	states, ins   int // how many
	inAxes        []int
	inBackwards   []int
	outAxes       []int
	outBackwards  []int
	scanned       []*graph.Value // outputs of the body that are put together
	bytes         int
	state, slices []*tensor.Tensor // the node's inputs
}

func newScan(c *graph.Call, first int) (*scan, error) {
	body, err := bodyOf(c)
	if err != nil {
		return nil, err
	}
	if err := c.Require(0, -1); err != nil {
		return nil, err
	}
	s := &scan{c: c, ins: c.Node.Attrs.Int("num_scan_inputs", 0)}
	s.states = len(c.In) - first - s.ins
	if s.ins < 1 || s.states < 0 || len(body.Inputs) != s.states+s.ins || len(body.Outputs) < s.states || len(c.Out) > len(body.Outputs) {
		return nil, fmt.Errorf("its body has %d inputs and %d outputs; it scans %d of its %d inputs and has %d outputs",
			len(body.Inputs), len(body.Outputs), s.ins, len(c.In)-first, len(c.Out))
	}
	for i := range c.In[first:] {
		if !c.Has(first + i) {
			return nil, fmt.Errorf("input %d is missing", first+i)
		}
	}
	s.state, s.slices = c.In[first:first+s.states], c.In[first+s.states:]
	s.scanned = body.Outputs[s.states:]
	return s, nil
}

// read reads an attribute with one number for each of n inputs or outputs.
func (s *scan) read(name string, n int) ([]int, error) {
	list := s.c.Node.Attrs.Ints(name)
	if list == nil {
		return make([]int, n), nil
	}
	if len(list) != n {
		return nil, fmt.Errorf("attribute %s has %d numbers, expected %d", name, len(list), n)
	}
	return list, nil
}

func (s *scan) readAll(directions bool) (err error) {
	if s.inAxes, err = s.read("scan_input_axes", s.ins); err != nil {
		return err
	}
	if s.outAxes, err = s.read("scan_output_axes", len(s.scanned)); err != nil {
		return err
	}
	name := "directions" // of version 8
	if directions {
		name = "scan_input_directions"
	}
	if s.inBackwards, err = s.read(name, s.ins); err != nil {
		return err
	}
	s.outBackwards, err = s.read("scan_output_directions", len(s.scanned))
	return err
}

func kernelScan9(c *graph.Call) (func() error, error) {
	s, err := newScan(c, 0)
	if err != nil {
		return nil, err
	}
	if err := s.readAll(true); err != nil {
		return nil, err
	}
	return func() error {
		out, err := s.run(s.state, s.slices, -1)
		if err != nil {
			return err
		}
		return deliver(c, out)
	}, nil
}

// run is one scan. The first length slices are taken; all if it is negative.
func (s *scan) run(state, inputs []*tensor.Tensor, length int) ([]*tensor.Tensor, error) {
	cut := make([][]*tensor.Tensor, len(inputs))
	for i, x := range inputs {
		if isList(x) {
			return nil, fmt.Errorf("input %d is a %v, not a tensor", s.states+i, x.DType())
		}
		axis, err := graph.Axis(s.inAxes[i], x.Rank())
		if err != nil {
			return nil, err
		}
		if length < 0 {
			length = x.Dim(axis)
		}
		if n := x.Dim(axis); n != length {
			return nil, fmt.Errorf("scanned input %d (%v) has %d slices, expected %d", i, x, n, length)
		}
		if cut[i], err = parted(x, axis, slices.Repeat([]int{1}, length), false); err != nil {
			return nil, err
		}
	}
	gathered := make([]collector, len(s.scanned))
	for i, v := range s.scanned {
		gathered[i].like = v
	}
	for at := range length {
		if err := s.c.Context().Err(); err != nil {
			return nil, err
		}
		in := append([]*tensor.Tensor{}, state...)
		for i := range inputs {
			j := at
			if s.inBackwards[i] != 0 {
				j = length - 1 - at
			}
			in = append(in, cut[i][j])
		}
		out, err := s.c.RunBody("body", in)
		if err != nil {
			return nil, fmt.Errorf("slice %d: %w", at, err)
		}
		state = out[:s.states]
		more, err := collect(gathered, out[s.states:])
		if err != nil {
			return nil, err
		}
		s.bytes += more
		if err := checkLoop(s.c, s.bytes); err != nil {
			return nil, err
		}
	}
	out := append([]*tensor.Tensor{}, state...)
	for i, g := range gathered {
		x, err := g.stacked(s.outAxes[i], s.outBackwards[i] != 0)
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

// kernelScan8: each row of a batch is scanned by itself, over as many slices as
// sequence_lens says; what is put together is filled up with zeros.
func kernelScan8(c *graph.Call) (func() error, error) {
	s, err := newScan(c, 1)
	if err != nil {
		return nil, err
	}
	if err := s.readAll(false); err != nil {
		return nil, err
	}
	return func() error {
		rows, err := s.batch()
		if err != nil {
			return err
		}
		lengths, err := s.lengths(rows)
		if err != nil {
			return err
		}
		cut := make([][]*tensor.Tensor, s.states+s.ins)
		for i := range cut {
			if cut[i], err = parted(c.In[i+1], 0, slices.Repeat([]int{1}, rows), false); err != nil {
				return err
			}
		}
		all := make([][]*tensor.Tensor, s.states+len(s.scanned))
		for row := range rows {
			in := make([]*tensor.Tensor, len(cut))
			for i := range in {
				in[i] = cut[i][row]
			}
			out, err := s.row(in, lengths[row])
			if err != nil {
				return fmt.Errorf("row %d: %w", row, err)
			}
			for i, x := range out {
				all[i] = append(all[i], x)
			}
		}
		out := make([]*tensor.Tensor, len(all))
		for i, list := range all {
			if out[i], err = joined(list, 0, true); err != nil {
				return err
			}
		}
		return deliver(c, out)
	}, nil
}

// batch is the number of rows, which all inputs have.
func (s *scan) batch() (int, error) {
	rows := -1
	for i, x := range s.c.In[1:] {
		if isList(x) || x.Rank() == 0 {
			return 0, fmt.Errorf("input %d is %v, expected a batch", i+1, x)
		}
		if rows < 0 {
			rows = x.Dim(0)
		}
		if x.Dim(0) != rows {
			return 0, fmt.Errorf("input %d has %d rows, expected %d", i+1, x.Dim(0), rows)
		}
	}
	for i, x := range s.slices {
		if x.Rank() < 2 || x.Dim(1) != s.slices[0].Dim(1) {
			return 0, fmt.Errorf("scanned input %d is %v, which has not as many slices as the first", i, x)
		}
	}
	return rows, nil
}

// lengths are the numbers of slices of each row.
func (s *scan) lengths(rows int) ([]int, error) {
	longest := s.slices[0].Dim(1)
	list := make([]int, rows)
	for i := range list {
		list[i] = longest
	}
	if !s.c.Has(0) {
		return list, nil
	}
	x := s.c.In[0]
	if x.DType() != tensor.Int64 || x.Len() != rows {
		return nil, fmt.Errorf("the lengths are %v, expected %d int64", x, rows)
	}
	for i, n := range x.I64() {
		if n < 0 || n > int64(longest) {
			return nil, fmt.Errorf("length %d is %d, outside [0, %d]", i, n, longest)
		}
		list[i] = int(n)
	}
	return list, nil
}

// row scans one row and fills what it puts together up to the longest.
func (s *scan) row(in []*tensor.Tensor, length int) ([]*tensor.Tensor, error) {
	fill := s.slices[0].Dim(1) - length
	for i := s.states; i < len(in); i++ {
		ends, err := parted(in[i], 0, []int{length, fill}, true)
		if err != nil {
			return nil, err
		}
		in[i] = ends[0]
	}
	out, err := s.run(in[:s.states], in[s.states:], length)
	if err != nil || fill == 0 {
		return out, err
	}
	for i, x := range out[s.states:] {
		shape := append([]int{}, x.Shape()...)
		shape[0] = fill
		if out[s.states+i], err = joined([]*tensor.Tensor{x, tensor.New(x.DType(), shape...)}, 0, false); err != nil {
			return nil, err
		}
	}
	return out, nil
}
