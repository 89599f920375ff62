package ml

import (
	"fmt"

	"tandem/graph"
	"tandem/graph/op/move"
	"tandem/tensor"
)

// labels are the classes that a classifier names: numbers or strings.
type labels struct {
	ints  []int64
	names []string
}

// labelsOf reads the classes; the name of the attribute of numbers differs.
func labelsOf(a graph.Attrs, ints string) (labels, error) {
	var l labels
	l.ints, _ = a[ints].([]int64)
	l.names = stringsOf(a, "classlabels_strings")
	if len(l.ints) > 0 == (len(l.names) > 0) {
		return l, fmt.Errorf("it has %d classes that are numbers and %d that are strings: one of the two is expected", len(l.ints), len(l.names))
	}
	return l, nil
}

func (l labels) len() int { return max(len(l.ints), len(l.names)) }

func (l labels) dtype() tensor.DType {
	if len(l.names) > 0 {
		return tensor.String
	}
	return tensor.Int64
}

// put writes class into row i of the output, if the node has it.
func (l labels) put(dst *tensor.Tensor, i, class int) {
	switch {
	case dst == nil:
	case len(l.names) > 0:
		dst.Strings()[i] = l.names[class]
	default:
		dst.I64()[i] = l.ints[class]
	}
}

// putOther writes what stands for a class beside the only one: number or nothing.
func (l labels) putOther(dst *tensor.Tensor, i int, number int64) {
	switch {
	case dst == nil:
	case len(l.names) > 0:
		dst.Strings()[i] = ""
	default:
		dst.I64()[i] = number
	}
}

// setClasses sets the types of a classifier's two outputs.
func setClasses(c *graph.Infer, rows graph.Dim, l labels, scores graph.Dim) {
	c.Out(0, l.dtype(), graph.Shape{rows})
	c.Out(1, tensor.Float32, graph.Shape{rows, scores})
}

// keyed is a table from elements of one type to those of another, as the
// attributes of LabelEncoder and CategoryMapper give it.
type keyed struct {
	keys, values *tensor.Tensor
	missing      *tensor.Tensor // one element
}

// keyedOf reads the forms in order: lists of categories (CategoryMapper, version 1
// of LabelEncoder), which serve both directions, then keys and values.
func keyedOf(a graph.Attrs, in tensor.DType) (*keyed, error) {
	k := &keyed{}
	names, numbers := stringsOf(a, "cats_strings"), a["cats_int64s"]
	if list := stringsOf(a, "classes_strings"); list != nil {
		count := make([]int64, len(list))
		for i := range count {
			count[i] = int64(i)
		}
		names, numbers = list, count
	}
	if ints, ok := numbers.([]int64); ok && names != nil {
		if len(ints) != len(names) {
			return nil, fmt.Errorf("%d strings for %d numbers", len(names), len(ints))
		}
		k.keys, k.values = tensor.OfStrings(names, len(names)), tensor.Of(ints, len(ints))
		if in != tensor.String {
			k.keys, k.values = k.values, k.keys
		}
	} else {
		k.keys, k.values = listOf(a, "keys"), listOf(a, "values")
	}
	switch {
	case k.keys == nil || k.values == nil:
		return nil, fmt.Errorf("the attributes do not give both keys and values")
	case k.keys.Len() != k.values.Len():
		return nil, fmt.Errorf("%d keys for %d values", k.keys.Len(), k.values.Len())
	case k.keys.DType() != in:
		return nil, fmt.Errorf("the keys are %v, the input is %v", k.keys.DType(), in)
	}
	return k, k.setMissing(a)
}

// listOf is the attribute of keys or values that is there.
func listOf(a graph.Attrs, name string) *tensor.Tensor {
	if t, ok := a[name+"_tensor"].(*tensor.Tensor); ok {
		return t
	}
	if v, ok := a[name+"_int64s"].([]int64); ok {
		return tensor.Of(v, len(v))
	}
	if v, ok := a[name+"_floats"].([]float32); ok {
		return tensor.Of(v, len(v))
	}
	if v, ok := a[name+"_strings"].([]string); ok {
		return tensor.OfStrings(v, len(v))
	}
	return nil
}

func (k *keyed) setMissing(a graph.Attrs) error {
	if t, ok := a["default_tensor"].(*tensor.Tensor); ok {
		if t.DType() != k.values.DType() || t.Len() != 1 {
			return fmt.Errorf("default_tensor is %v, the values are %v", t, k.values)
		}
		k.missing = t
		return nil
	}
	switch d := k.values.DType(); d {
	case tensor.Int64:
		k.missing = tensor.Scalar(int64(a.Int("default_int64", -1)))
	case tensor.String:
		k.missing = tensor.OfStrings([]string{a.String("default_string", "_Unused")})
	case tensor.Float32:
		k.missing = tensor.Scalar(a.Float("default_float", 0))
	default:
		k.missing = tensor.New(d) // 0: -1 is the default of int64 alone
		switch d {
		case tensor.Int32:
			tensor.Data[int32](k.missing)[0] = -1
		case tensor.Int16:
			tensor.Data[int16](k.missing)[0] = -1
		}
	}
	return nil
}

func inferLabelEncoder(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	k, err := keyedOf(c.Node.Attrs, c.In(0).DType)
	if err != nil {
		return err
	}
	c.Out(0, k.values.DType(), c.In(0).Shape)
	return nil
}

func kernelLabelEncoder(c *graph.Call) (func() error, error) {
	k, err := keyedOf(c.Node.Attrs, c.In[0].DType())
	if err != nil {
		return nil, err
	}
	find, err := k.finder(c.In[0])
	if err != nil {
		return nil, err
	}
	m, err := move.Of(k.values.DType())
	if err != nil {
		return nil, err
	}
	return func() error {
		for i := range c.Out[0].Len() {
			if at, ok := find(i); ok {
				m.Fill(c.Out[0], i, 1, k.values, at)
			} else {
				m.Fill(c.Out[0], i, 1, k.missing, 0)
			}
		}
		return nil
	}, nil
}

// finder gives the position of the key that an element of x equals.
func (k *keyed) finder(x *tensor.Tensor) (func(i int) (int, bool), error) {
	switch x.DType() {
	case tensor.String:
		at := positionsOf(k.keys.Strings())
		return func(i int) (int, bool) { j, ok := at[x.Strings()[i]]; return j, ok }, nil
	case tensor.Float32:
		return numberFinder[float32](k.keys, x), nil
	case tensor.Float64:
		return numberFinder[float64](k.keys, x), nil
	case tensor.Int16:
		return numberFinder[int16](k.keys, x), nil
	case tensor.Int32:
		return numberFinder[int32](k.keys, x), nil
	case tensor.Int64:
		return numberFinder[int64](k.keys, x), nil
	}
	return nil, fmt.Errorf("keys of type %v are not supported", x.DType())
}

// positionsOf maps elements to their last position.
func positionsOf[T comparable](list []T) map[T]int {
	at := make(map[T]int, len(list))
	for i, v := range list {
		at[v] = i
	}
	return at
}

// numberFinder finds numbers. Every NaN equals every other.
func numberFinder[T int16 | int32 | int64 | float32 | float64](keys, x *tensor.Tensor) func(i int) (int, bool) {
	list := tensor.Data[T](keys)
	at, nan := positionsOf(list), -1
	for i, v := range list {
		if v != v {
			nan = i
		}
	}
	return func(i int) (int, bool) {
		v := tensor.Data[T](x)[i]
		if v != v {
			return nan, nan >= 0
		}
		j, ok := at[v]
		return j, ok
	}
}
