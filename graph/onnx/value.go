package onnx

import (
	"tandem/fault"
	"tandem/tensor"
)

// ReadValue reads what the ONNX test suite stores beside a model: a TensorProto, or
// a SequenceProto or OptionalProto where d is tensor.Sequence or tensor.Optional.
// Tensors borrow data.
func ReadValue(data []byte, d tensor.DType) (*tensor.Tensor, error) {
	r := &reader{copyLeft: copyFactor*int64(len(data)) + freeCopyBytes, sources: map[string]bool{}}
	t, err := r.value(data, d, 0)
	if err != nil {
		return nil, fault.Wrap(err, "onnx.value", fault.KindOf(err), "").Try(fault.RemedyOf(err))
	}
	return t, nil
}

func (r *reader) value(msg []byte, d tensor.DType, depth int) (*tensor.Tensor, error) {
	if d == tensor.Sequence || d == tensor.Optional {
		return r.list(msg, d, depth)
	}
	_, t, err := r.tensor(msg)
	return t, err
}

// list reads a SequenceProto or an OptionalProto: their fields have the same numbers.
func (r *reader) list(msg []byte, d tensor.DType, depth int) (*tensor.Tensor, error) {
	if depth >= maxDepth {
		return nil, unsupported("lists are nested more than %d deep", maxDepth)
	}
	var items []*tensor.Tensor
	for f, err := range fields(msg) {
		if err != nil {
			return nil, err
		}
		kind := tensor.Undefined
		switch f.num {
		case listTensor:
		case listSequence:
			kind = tensor.Sequence
		case listOptional:
			kind = tensor.Optional
		case listSparse, listMap:
			return nil, unsupported("sparse tensors and maps are not supported in a %v", d)
		default:
			continue
		}
		inner, err := f.message()
		if err != nil {
			return nil, err
		}
		x, err := r.value(inner, kind, depth+1)
		if err != nil {
			return nil, within(err, "element %d", len(items))
		}
		items = append(items, x)
	}
	if d == tensor.Optional && len(items) > 1 {
		return nil, invalid("an optional has %d elements", len(items)).Try(remedyExport)
	}
	return tensor.OfTensors(d, items), nil
}
