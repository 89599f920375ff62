package op

import (
	"fmt"
	"unsafe"

	"tandem/graph"
	"tandem/tensor"
)

// floats checks that the given inputs, where present, are of one floating-point
// type: float64, float32, float16 or bfloat16. The kernel behind it is widened.
func floats(c *graph.Infer, inputs ...int) error {
	if err := alike(c, inputs...); err != nil {
		return err
	}
	for _, i := range inputs {
		if c.Has(i) && (!c.In(i).DType.Float() || c.In(i).DType.Bits() < 16) {
			return fmt.Errorf("input %d (%s) is %v, expected a floating-point type", i, c.Node.Inputs[i].Name, c.In(i).DType)
		}
	}
	return nil
}

// alike checks that the given inputs, where present, are of one type.
func alike(c *graph.Infer, inputs ...int) error {
	first := -1
	for _, i := range inputs {
		switch {
		case !c.Has(i):
		case first < 0:
			first = i
		case c.In(i).DType != c.In(first).DType:
			return fmt.Errorf("input %d (%s) is %v, input %d (%s) is %v: one type is expected",
				first, c.Node.Inputs[first].Name, c.In(first).DType, i, c.Node.Inputs[i].Name, c.In(i).DType)
		}
	}
	return nil
}

// asElements is scratch memory as elements of type T.
func asElements[T tensor.Element](b []byte) []T {
	var zero T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(zero)))
}
