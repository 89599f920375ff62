package onnx

import (
	"slices"
	"strings"
	"testing"

	"tandem/fault"
	"tandem/tensor"

	"google.golang.org/protobuf/encoding/protowire"
)

// sparse is a sparse initializer "w" with values 1, 2, … at flat indices.
func sparse(dims []int64, values int, indices ...int64) func(*message) {
	list := []func(*message){str(tensorName, "w"), num(tensorDims, int64(values)), num(tensorType, 6)}
	for i := range values {
		list = append(list, num(tensorInt32s, int64(i+1)))
	}
	at := []func(*message){num(tensorDims, int64(len(indices))), num(tensorType, 7)}
	for _, i := range indices {
		at = append(at, num(tensorInt64s, i))
	}
	all := []func(*message){sub(sparseValues, list...), sub(sparseIndices, at...)}
	for _, d := range dims {
		all = append(all, num(sparseDims, d))
	}
	return sub(graphSparseInitializer, all...)
}

func TestSparseWeightsAreMadeDense(t *testing.T) {
	g, err := Read(model(sparse([]int64{2, 3}, 2, 1, 5), node("Neg", "y", "w"), sub(graphOutput, str(infoName, "y"))), LoadOptions{})
	must(t, err)
	x, err := g.Nodes[0].Inputs[0].Const.Tensor()
	must(t, err)
	if got := tensor.Data[int32](x); x.Shape().String() != "2x3" || !slices.Equal(got, []int32{0, 1, 0, 0, 0, 2}) {
		t.Errorf("%v %v", x, got)
	}
	coordinates := tensor.Of([]int64{0, 1, 1, 2}, 2, 2)
	if at, err := positions(coordinates, 2, tensor.Shape{2, 3}); err != nil || !slices.Equal(at, []int{1, 5}) {
		t.Errorf("coordinates: %v %v", at, err)
	}
}

// TestInputsOfOtherKinds: lists, and a tensor of any rank.
func TestInputsOfOtherKinds(t *testing.T) {
	in := func(name string, kind protowire.Number, fields ...func(*message)) func(*message) {
		return sub(graphInput, str(infoName, name), sub(infoType, sub(int32(kind), fields...)))
	}
	g, err := Read(model(in("s", typeSequence, sub(1)), in("o", typeOptional, sub(1)), in("x", typeTensor, num(typeTensorElem, 1))), LoadOptions{})
	must(t, err)
	if s, o, x := g.Inputs[0].Type, g.Inputs[1].Type, g.Inputs[2].Type; s.DType != tensor.Sequence || o.DType != tensor.Optional || x.Known() {
		t.Errorf("%v %v %v", s, o, x)
	}
}

func TestReadValue(t *testing.T) {
	encode := func(fields ...func(*message)) []byte {
		var m message
		for _, f := range fields {
			f(&m)
		}
		var b strings.Builder
		must(t, m.writeTo(&b))
		return []byte(b.String())
	}
	one := []func(*message){num(tensorDims, 2), num(tensorType, 6), num(tensorInt32s, 7), num(tensorInt32s, 8)}
	list := encode(sub(listTensor, one...), sub(listSequence, sub(listTensor, one...)))
	s, err := ReadValue(list, tensor.Sequence)
	must(t, err)
	if s.DType() != tensor.Sequence || len(s.Items()) != 2 || s.Items()[1].DType() != tensor.Sequence ||
		!slices.Equal(tensor.Data[int32](s.Items()[1].Items()[0]), []int32{7, 8}) {
		t.Errorf("%v %v", s, s.Items())
	}
	if o, err := ReadValue(nil, tensor.Optional); err != nil || o.Len() != 0 {
		t.Errorf("an empty optional: %v %v", o, err)
	}
	if _, err := ReadValue(list, tensor.Optional); fault.KindOf(err) != fault.Invalid {
		t.Errorf("an optional of two: %v", err)
	}
	deep := []byte{}
	for range 100 {
		deep = protowire.AppendBytes(protowire.AppendTag(nil, listSequence, protowire.BytesType), deep)
	}
	if _, err := ReadValue(deep, tensor.Sequence); fault.KindOf(err) != fault.Unsupported {
		t.Errorf("100 deep: %v", err)
	}
}
