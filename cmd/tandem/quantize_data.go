package main

import (
	"context"
	"slices"

	"tandem/data/npz"
	"tandem/fault"
	"tandem/graph/precision"
	"tandem/model"
	"tandem/tensor"
)

const (
	labelsArray = "labels"
	// quantizeRows is the number of rows that are run at a time.
	quantizeRows = 16
)

// data reads the files of --data: inputs of the graph, and labels or nil.
func (c *quantizeCmd) data(ctx context.Context, s *precision.Search, before model.Process, ports []port) (labels []int, err error) {
	for i, path := range c.Data {
		arrays, err := readArrays(path)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(arrays, func(x npz.Array) bool { return x.Name == labelsArray })
		if at >= 0 && !slices.ContainsFunc(ports, func(p port) bool { return p.name == labelsArray }) {
			more, err := labelsOf(path, arrays[at].Tensor)
			if err != nil {
				return nil, err
			}
			labels = append(labels, more...)
			arrays = slices.Delete(arrays, at, at+1)
		} else if i > 0 && labels != nil {
			return nil, fault.New("tandem.quantize", fault.Invalid, "%s has no array %q, as the files before it have", path, labelsArray)
		}
		in, err := bindPorts(ports, path, arrays)
		if err != nil {
			return nil, err
		}
		batches := inRows(in, ports)
		if len(batches) == 0 {
			return nil, fault.New("tandem.quantize", fault.Invalid, "the arrays of %s have no rows", path)
		}
		for _, rows := range batches {
			if rows, err = before(ctx, rows); err != nil {
				return nil, err
			}
			s.Inputs = append(s.Inputs, rows)
		}
	}
	return labels, nil
}

// labelsOf reads the numbers of classes.
func labelsOf(path string, t *tensor.Tensor) ([]int, error) {
	if t.Rank() != 1 || !t.DType().Numeric() || t.DType().Float() {
		return nil, fault.New("tandem.quantize", fault.Invalid, "array %q of %s is %v, expected the number of a class for each row", labelsArray, path, t)
	}
	wide := tensor.New(tensor.Int64, t.Len())
	if err := tensor.Convert(wide, t, true); err != nil {
		return nil, err
	}
	list := make([]int, t.Len())
	for i, v := range tensor.Data[int64](wide) {
		list[i] = int(v)
	}
	return list, nil
}

// inRows cuts inputs into some rows at a time, if all are open there and of one length.
func inRows(in []*tensor.Tensor, ports []port) [][]*tensor.Tensor {
	if len(in) == 0 || slices.ContainsFunc(ports, func(p port) bool { return !p.open }) {
		return [][]*tensor.Tensor{in}
	}
	n := in[0].Dim(0)
	if slices.ContainsFunc(in, func(t *tensor.Tensor) bool { return t.Dim(0) != n || !t.DType().Numeric() }) {
		return [][]*tensor.Tensor{in}
	}
	var list [][]*tensor.Tensor
	for i := 0; i < n; i += quantizeRows {
		var part []*tensor.Tensor
		for _, t := range in {
			shape := slices.Clone(t.Shape())
			shape[0] = min(quantizeRows, n-i)
			size := t.DType().ByteLen(t.Len()) / n
			rows := tensor.New(t.DType(), shape...)
			copy(rows.Bytes(), t.Bytes()[i*size:])
			part = append(part, rows)
		}
		list = append(list, part)
	}
	return list
}

// accuracy is the share of rows whose greatest element of the first output is that of the
// label; 0 where outputs have no rows for labels.
func accuracy(outputs [][]*tensor.Tensor, labels []int) float64 {
	right, row := 0, 0
	for _, out := range outputs {
		t := out[0]
		if t.Rank() < 2 || t.Len() == 0 {
			return 0
		}
		scores := make([]float32, t.Len())
		tensor.Float32s(scores, t)
		classes := t.Len() / t.Dim(0)
		for i := range t.Dim(0) {
			best := scores[i*classes:][:classes]
			if row < len(labels) && slices.Index(best, slices.Max(best)) == labels[row] {
				right++
			}
			row++
		}
	}
	return float64(right) / float64(max(1, row))
}
