package data

import (
	"fmt"
	"math"
	"slices"

	"tandem/fault"
	"tandem/tensor"
)

// Column is one named part of every example.
type Column struct {
	Name   string
	Tensor *tensor.Tensor // the first dimension is the example

	// Classes is the number of classes of a column of labels 0 … Classes-1, or 0
	// for any other column. It belongs to the whole of which a dataset may be a
	// part, so it's kept by Slice and is no part of the digest.
	Classes int
}

// Dataset is a finite set of examples: named columns of equal length. It lies in
// memory. Its readers go through Len and Gather, so that a dataset which streams
// can come without changing them.
type Dataset struct {
	columns []Column
	rowSize []int // bytes that one example of the column takes; of strings, their number
	length  int
}

// NewDataset makes a dataset of columns. It borrows their tensors.
func NewDataset(columns ...Column) (*Dataset, error) {
	const op = "data.new"
	if len(columns) == 0 {
		return nil, fault.New(op, fault.Invalid, "a dataset of no columns").Try("give at least one column")
	}
	d := &Dataset{columns: slices.Clone(columns), rowSize: make([]int, len(columns))}
	for i, c := range columns {
		size, err := rowSize(c)
		if err != nil {
			return nil, err
		}
		if d.index(c.Name) != i {
			return nil, fault.New(op, fault.Invalid, "two columns are called %q", c.Name).Try("rename one of them")
		}
		if i == 0 {
			d.length = c.Tensor.Dim(0)
		} else if n := c.Tensor.Dim(0); n != d.length {
			return nil, fault.New(op, fault.Invalid, "column %q has %d examples, and column %q has %d",
				columns[0].Name, d.length, c.Name, n).Try("give every column the same number of examples")
		}
		d.rowSize[i] = size
	}
	return d, nil
}

// rowSize checks a column and returns the size of its examples.
func rowSize(c Column) (int, error) {
	const op = "data.new"
	if c.Name == "" {
		return 0, fault.New(op, fault.Invalid, "a column has no name").Try("name every column")
	}
	t := c.Tensor
	if t == nil || !t.DType().Valid() || t.Rank() == 0 {
		return 0, fault.New(op, fault.Invalid, "column %q has no first dimension to count examples by", c.Name).
			Try("give it a shape of [examples, …]")
	}
	n, err := t.Shape()[1:].CheckedLen(math.MaxInt / 16)
	if err != nil {
		return 0, fault.Wrap(err, op, fault.Invalid, "column %q", c.Name)
	}
	if t.DType() == tensor.String {
		return n, nil
	}
	bits := n * t.DType().Bits()
	if bits%8 != 0 {
		return 0, fault.New(op, fault.Invalid, "an example of column %q, %v, does not take whole bytes", c.Name, t).
			Try("store it as uint8")
	}
	return bits / 8, nil
}

// index is the place of a column, or -1. Datasets have few columns: a scan beats
// a map, and keeps their order.
func (d *Dataset) index(name string) int {
	for i := range d.columns {
		if d.columns[i].Name == name {
			return i
		}
	}
	return -1
}

// Len is the number of examples.
func (d *Dataset) Len() int { return d.length }

// Columns returns the columns in their order. The tensors are shared.
func (d *Dataset) Columns() []Column { return slices.Clone(d.columns) }

// Column returns the tensor of a column, shared.
func (d *Dataset) Column(name string) (*tensor.Tensor, bool) {
	if i := d.index(name); i >= 0 {
		return d.columns[i].Tensor, true
	}
	return nil, false
}

// Classes is the number of classes of a column of labels; 0 if the column isn't
// one, or isn't there.
func (d *Dataset) Classes(name string) int {
	if i := d.index(name); i >= 0 {
		return d.columns[i].Classes
	}
	return 0
}

// Slice shares the examples lo to hi, hi excluded. Like the slice of a slice it
// panics if they're out of range.
func (d *Dataset) Slice(lo, hi int) *Dataset {
	if lo < 0 || hi < lo || hi > d.length {
		panic(fmt.Sprintf("data.Slice: examples %d to %d of %d", lo, hi, d.length))
	}
	s := &Dataset{columns: slices.Clone(d.columns), rowSize: d.rowSize, length: hi - lo}
	for i := range s.columns {
		s.columns[i].Tensor = s.columns[i].Tensor.Rows(lo, hi)
	}
	return s
}

// Gather copies examples of a column into dst, which has the column's type and
// the shape [len(rows), …]. It does not allocate unless it fails, and then dst
// holds some of the examples.
func (d *Dataset) Gather(column string, rows []int, dst *tensor.Tensor) error {
	i := d.index(column)
	if i < 0 {
		return d.noColumn(column)
	}
	src, size := d.columns[i].Tensor, d.rowSize[i]
	if !gathers(src, len(rows), dst) {
		return misfit(column, src, len(rows), dst)
	}
	if src.DType() == tensor.String {
		return gather(dst.Strings(), src.Strings(), rows, size, d.length)
	}
	return gather(dst.Bytes(), src.Bytes(), rows, size, d.length)
}

// gathers reports whether dst can hold n examples of src.
func gathers(src *tensor.Tensor, n int, dst *tensor.Tensor) bool {
	return dst != nil && dst.DType() == src.DType() && dst.Rank() == src.Rank() &&
		dst.Dim(0) == n && slices.Equal(dst.Shape()[1:], src.Shape()[1:])
}

func gather[E any](dst, src []E, rows []int, size, length int) error {
	for k, row := range rows {
		if uint(row) >= uint(length) {
			return fault.New("data.gather", fault.Invalid, "example %d of a dataset of %d", row, length).
				Try("ask for examples that are there")
		}
		copy(dst[k*size:(k+1)*size], src[row*size:(row+1)*size])
	}
	return nil
}

func (d *Dataset) noColumn(name string) error {
	names := make([]string, len(d.columns))
	for i, c := range d.columns {
		names[i] = c.Name
	}
	return fault.New("data.gather", fault.NotFound, "the dataset has no column %q", name).
		Try(fmt.Sprintf("it has %q", names))
}

func misfit(column string, src *tensor.Tensor, n int, dst *tensor.Tensor) error {
	want := slices.Clone(src.Shape())
	want[0] = n
	found := "none"
	if dst != nil {
		found = dst.String()
	}
	return fault.New("data.gather", fault.Invalid, "the destination for %d examples of column %q is %s, not %v[%v]",
		n, column, found, src.DType(), want).Try("make the destination of that type and shape")
}
