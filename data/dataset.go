package data

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"tandem/fault"
	"tandem/tensor"
)

// Kind is what the values of a column mean. How they are kept follows from it.
type Kind string

const (
	Tensor   Kind = ""         // whatever its type and shape say: pixels, tokens, features
	Integer  Kind = "integer"  // int64
	Float    Kind = "float"    // float64
	Boolean  Kind = "boolean"  // int64: 0, 1
	Category Kind = "category" // int64: an index of Values
	Text     Kind = "text"     // strings
	Date     Kind = "date"     // int64: microseconds since 1970 in UTC
)

// Values that stand for one that is missing. Of texts it's the empty one.
const (
	MissingInteger = math.MinInt64 // of integers and dates
	MissingCode    = -1            // of booleans and categories
)

// MissingFloat stands for a floating-point number that is missing.
func MissingFloat() float64 { return math.NaN() }

// Field describes a column without its examples.
type Field struct {
	Name  string
	Kind  Kind
	DType tensor.DType
	Shape tensor.Shape // of one example; none for a single value

	// Classes is the number of classes of a column of labels 0 … Classes-1, or 0
	// for any other column. It belongs to the whole of which a dataset may be a
	// part, so it's kept by Slice and is no part of the digest.
	Classes int
	// Values are the names of a category's classes by their index; nil for others.
	Values []string
}

// Column is one named part of every example, in memory.
type Column struct {
	Name    string
	Tensor  *tensor.Tensor // the first dimension is the example
	Classes int            // as in Field
	Kind    Kind
	Values  []string
}

// Dataset is a finite set of examples: named columns of equal length. Some lie in
// memory (NewDataset), others are read where they are, a block at a time. Both
// are read in the same way: Read visits all examples in batches, Scan in their own
// order.
type Dataset struct {
	fields  []Field
	missing []string
	rowSize []int // bytes that one example of a field takes; of strings, their number

	memory []*tensor.Tensor // the columns, if they lie in memory
	source blocks           // where they are, if not
	runs   []run            // which of the source's examples, in their order
	starts []int            // the first example of each run, then the number of all
}

// run is the examples lo to hi, hi excluded, of a block.
type run struct{ block, lo, hi int }

// blocks is where the examples of a dataset that streams are: in runs that are
// read whole. Several goroutines may load at once.
type blocks interface {
	// load fills the first hi-lo rows of dst, one tensor for each field, with the
	// examples lo to hi of a block.
	load(block, lo, hi int, dst []*tensor.Tensor) error
	// Close frees what the blocks are read from.
	Close() error
}

// newStream makes a dataset of a source's blocks of so many examples each.
func newStream(fields []Field, source blocks, rows []int) *Dataset {
	d := &Dataset{fields: fields, source: source}
	for i, n := range rows {
		d.runs = append(d.runs, run{i, 0, n})
	}
	d.measure()
	return d
}

// measure derives what follows from fields and runs.
func (d *Dataset) measure() {
	d.rowSize = make([]int, len(d.fields))
	for i, f := range d.fields {
		d.rowSize[i] = f.Shape.Len()
		if f.DType != tensor.String {
			d.rowSize[i] = f.DType.ByteLen(f.Shape.Len())
		}
	}
	d.starts = append(d.starts[:0], 0)
	for _, r := range d.runs {
		d.starts = append(d.starts, d.starts[len(d.starts)-1]+r.hi-r.lo)
	}
}

// NewDataset makes a dataset of columns. It borrows their tensors.
func NewDataset(columns ...Column) (*Dataset, error) {
	const op = "data.new"
	if len(columns) == 0 {
		return nil, fault.New(op, fault.Invalid, "a dataset of no columns").Try("give at least one column")
	}
	d := &Dataset{}
	for i, c := range columns {
		if err := checkColumn(c); err != nil {
			return nil, err
		}
		if d.index(c.Name) >= 0 {
			return nil, fault.New(op, fault.Invalid, "two columns are called %q", c.Name).Try("rename one of them")
		}
		if n, m := columns[0].Tensor.Dim(0), c.Tensor.Dim(0); i > 0 && n != m {
			return nil, fault.New(op, fault.Invalid, "column %q has %d examples, and column %q has %d",
				columns[0].Name, n, c.Name, m).Try("give every column the same number of examples")
		}
		d.fields = append(d.fields, Field{c.Name, c.Kind, c.Tensor.DType(), c.Tensor.Shape()[1:], c.Classes, c.Values})
		d.memory = append(d.memory, c.Tensor)
	}
	d.runs = []run{{0, 0, columns[0].Tensor.Dim(0)}}
	d.measure()
	return d, nil
}

// checkColumn checks what a column is by itself.
func checkColumn(c Column) error {
	const op = "data.new"
	if c.Name == "" {
		return fault.New(op, fault.Invalid, "a column has no name").Try("name every column")
	}
	t := c.Tensor
	if t == nil || !t.DType().Valid() || t.Rank() == 0 {
		return fault.New(op, fault.Invalid, "column %q has no first dimension to count examples by", c.Name).
			Try("give it a shape of [examples, …]")
	}
	n, err := t.Shape()[1:].CheckedLen(math.MaxInt / 16)
	if err != nil {
		return fault.Wrap(err, op, fault.Invalid, "column %q", c.Name)
	}
	if t.DType() != tensor.String && n*t.DType().Bits()%8 != 0 {
		return fault.New(op, fault.Invalid, "an example of column %q, %v, does not take whole bytes", c.Name, t).
			Try("store it as uint8")
	}
	return nil
}

// index is the place of a column, or -1. Datasets have few columns: a scan beats
// a map, and keeps their order.
func (d *Dataset) index(name string) int {
	return slices.IndexFunc(d.fields, func(f Field) bool { return f.Name == name })
}

// Len is the number of examples.
func (d *Dataset) Len() int { return d.starts[len(d.starts)-1] }

// Fields describes the columns in their order.
func (d *Dataset) Fields() []Field { return slices.Clone(d.fields) }

// Field describes a column.
func (d *Dataset) Field(name string) (Field, bool) {
	if i := d.index(name); i >= 0 {
		return d.fields[i], true
	}
	return Field{}, false
}

// Column returns the tensor of a column, shared. A dataset that is not in memory
// has none: Read and Scan give parts of it that are.
func (d *Dataset) Column(name string) (*tensor.Tensor, bool) {
	if i := d.index(name); i >= 0 && d.memory != nil {
		return d.memory[i], true
	}
	return nil, false
}

// Missing are the texts that stood for a missing value where the examples were read, besides
// the empty one; nil if the values said so themselves.
func (d *Dataset) Missing() []string { return slices.Clone(d.missing) }

// Classes is the number of classes of a column of labels; 0 if the column isn't
// one, or isn't there.
func (d *Dataset) Classes(name string) int {
	f, _ := d.Field(name)
	return f.Classes
}

// Slice shares the examples lo to hi, hi excluded. Like the slice of a slice it
// panics if they're out of range.
func (d *Dataset) Slice(lo, hi int) *Dataset {
	if lo < 0 || hi < lo || hi > d.Len() {
		panic(fmt.Sprintf("data.Slice: examples %d to %d of %d", lo, hi, d.Len()))
	}
	s := &Dataset{fields: d.fields, missing: d.missing, source: d.source}
	if d.memory != nil {
		for _, t := range d.memory {
			s.memory = append(s.memory, t.Rows(lo, hi))
		}
		s.runs = []run{{0, 0, hi - lo}}
	} else {
		for i, r := range d.runs {
			from, to := max(lo-d.starts[i], 0), min(hi-d.starts[i], r.hi-r.lo)
			if from < to {
				s.runs = append(s.runs, run{r.block, r.lo + from, r.lo + to})
			}
		}
	}
	s.measure()
	return s
}

// Close frees the files that a dataset reads from. Slices of it, and the other part
// of a split, end with it.
func (d *Dataset) Close() error {
	if d.source == nil {
		return nil
	}
	return d.source.Close()
}

// own makes Close free another source too.
func (d *Dataset) own(other io.Closer) { d.source = joined{d.source, other} }

// joined is a source that owns another.
type joined struct {
	blocks
	other io.Closer
}

func (j joined) Close() error { return errors.Join(j.blocks.Close(), j.other.Close()) }
