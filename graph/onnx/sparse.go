package onnx

import (
	"math"

	"tandem/tensor"
)

// sparse reads a SparseTensorProto as a dense tensor. What a few bytes of the file
// stand for counts as copied, so that they cannot claim memory without bound.
func (r *reader) sparse(msg []byte) (name string, t *tensor.Tensor, err error) {
	var values, indices *tensor.Tensor
	var dims []int64
	for f, err := range fields(msg) {
		if err != nil {
			return name, nil, err
		}
		var inner []byte
		switch f.num {
		case sparseValues:
			if inner, err = f.message(); err == nil {
				name, values, err = r.tensor(inner)
			}
		case sparseIndices:
			if inner, err = f.message(); err == nil {
				_, indices, err = r.tensor(inner)
			}
		case sparseDims:
			if dims, err = f.ints(dims); len(dims) > maxRank {
				err = unsupported("it has more than %d dimensions", maxRank)
			}
		}
		if err != nil {
			return name, nil, within(err, "sparse tensor %.200q", name)
		}
	}
	t, err = r.dense(values, indices, dims)
	if err != nil {
		return name, nil, within(err, "sparse tensor %.200q", name)
	}
	return name, t, nil
}

// dense puts values at their indices among zeros. Indices are positions in
// row-major order, or rows of coordinates.
func (r *reader) dense(values, indices *tensor.Tensor, dims []int64) (*tensor.Tensor, error) {
	if values == nil || values.Rank() != 1 || values.DType() == tensor.String || values.DType().Bits() < 8 {
		return nil, unsupported("it has no vector of values of at least a byte each").Try(remedyExport)
	}
	shape, n, err := (&rawTensor{dims: dims, dtype: values.DType()}).shape()
	if err != nil {
		return nil, err
	}
	if n > math.MaxInt32 {
		return nil, unsupported("it stands for %d elements", n).Try("export the model with dense weights")
	}
	size := values.DType().Bits() / 8
	if err := r.spend(n * size); err != nil {
		return nil, err
	}
	at, err := positions(indices, values.Len(), shape)
	if err != nil {
		return nil, err
	}
	t := tensor.New(values.DType(), shape...)
	for i, p := range at {
		copy(t.Bytes()[p*size:(p+1)*size], values.Bytes()[i*size:])
	}
	return t, nil
}

func positions(indices *tensor.Tensor, count int, shape tensor.Shape) ([]int, error) {
	if count == 0 {
		return nil, nil
	}
	if indices == nil || indices.DType() != tensor.Int64 {
		return nil, invalid("it has no int64 indices").Try(remedyExport)
	}
	rows := tensor.Shape{shape.Len()} // of coordinates: in the flat tensor, or in its dimensions
	if indices.Rank() == 2 {
		rows = shape
	}
	if indices.Rank() < 1 || indices.Dim(0) != count || indices.Len() != count*len(rows) {
		return nil, invalid("its indices have shape %v for %d values of shape %v", indices.Shape(), count, shape).Try(remedyExport)
	}
	at := make([]int, count)
	for i, v := range indices.I64() {
		d := rows[i%len(rows)]
		if v < 0 || v >= int64(d) {
			return nil, invalid("index %d is outside a dimension of %d", v, d).Try(remedyExport)
		}
		at[i/len(rows)] = at[i/len(rows)]*d + int(v)
	}
	return at, nil
}
