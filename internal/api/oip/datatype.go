package oip

import (
	"strings"

	"tandem/tensor"
)

// datatypes are the protocol's names for element types.
var datatypes = [...]struct {
	name  string
	dtype tensor.DType
}{
	{"FP32", tensor.Float32}, {"INT64", tensor.Int64}, {"BYTES", tensor.String}, {"UINT8", tensor.Uint8},
	{"BOOL", tensor.Bool}, {"INT32", tensor.Int32}, {"FP64", tensor.Float64}, {"FP16", tensor.Float16},
	{"BF16", tensor.BFloat16}, {"INT8", tensor.Int8}, {"INT16", tensor.Int16}, {"UINT16", tensor.Uint16},
	{"UINT32", tensor.Uint32}, {"UINT64", tensor.Uint64},
}

// datatypeOf is the protocol's name of d. Types that the protocol has no name for are
// shown in capitals: their tensors cannot travel.
func datatypeOf(d tensor.DType) string {
	for _, t := range datatypes {
		if t.dtype == d {
			return t.name
		}
	}
	return strings.ToUpper(d.String())
}

func dtypeOf(name []byte) (tensor.DType, bool) {
	for _, t := range datatypes {
		if t.name == string(name) {
			return t.dtype, true
		}
	}
	return tensor.Undefined, false
}
