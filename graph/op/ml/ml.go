package ml

import (
	"fmt"

	"tandem/graph"
	"tandem/graph/op/move"
	"tandem/graph/op/narrow"
	"tandem/tensor"
)

// Ops are the operators of ai.onnx.ml.
func Ops() []graph.Op {
	return []graph.Op{
		{ID: id("TreeEnsemble"), Since: 5, Infer: inferTreeEnsemble, Kernel: narrow.Widened(kernelTreeEnsemble)},
		{ID: id("TreeEnsembleRegressor"), Since: 1, Infer: inferTreeRegressor, Kernel: kernelTreeRegressor},
		{ID: id("TreeEnsembleClassifier"), Since: 1, Infer: inferTreeClassifier, Kernel: kernelTreeClassifier},
		{ID: id("LinearRegressor"), Since: 1, Infer: inferLinearRegressor, Kernel: kernelLinearRegressor, Expand: expandLinearRegressor},
		{ID: id("LinearClassifier"), Since: 1, Infer: inferLinearClassifier, Kernel: kernelLinearClassifier, Expand: expandLinearClassifier},
		{ID: id("SVMRegressor"), Since: 1, Infer: inferSVMRegressor, Kernel: kernelSVMRegressor, Expand: expandSVMRegressor},
		{ID: id("SVMClassifier"), Since: 1, Infer: inferSVMClassifier, Kernel: kernelSVMClassifier},
		{ID: id("ArrayFeatureExtractor"), Since: 1, Infer: inferArrayFeatures, Kernel: kernelArrayFeatures, Grad: move.Gradient(0)},
		{ID: id("FeatureVectorizer"), Since: 1, Infer: inferFeatureVectorizer, Kernel: kernelFeatureVectorizer, Expand: expandFeatureVectorizer},
		{ID: id("Binarizer"), Since: 1, Infer: inferLike, Kernel: kernelBinarizer},
		{ID: id("Imputer"), Since: 1, Infer: inferLike, Kernel: kernelImputer, Expand: expandImputer},
		{ID: id("Scaler"), Since: 1, Infer: inferFloat, Kernel: kernelScaler, Expand: expandScaler},
		{ID: id("Normalizer"), Since: 1, Infer: inferFloat, Kernel: kernelNormalizer, Expand: expandNormalizer},
		{ID: id("OneHotEncoder"), Since: 1, Infer: inferOneHotEncoder, Kernel: kernelOneHotEncoder},
		{ID: id("LabelEncoder"), Since: 1, Infer: inferLabelEncoder, Kernel: kernelLabelEncoder},
		{ID: id("CategoryMapper"), Since: 1, Infer: inferLabelEncoder, Kernel: kernelLabelEncoder},
		{ID: id("ZipMap"), Since: 1, Late: true, Kernel: kernelZipMap},
		{ID: id("DictVectorizer"), Since: 1, Late: true, Kernel: kernelDictVectorizer},
		{ID: id("CastMap"), Since: 1, Late: true, Kernel: kernelCastMap},
	}
}

func id(name string) graph.OpID { return graph.OpID{Domain: "ai.onnx.ml", Name: name} }

// wantNumbers checks that an input is of one of the types that these operators take.
func wantNumbers(c *graph.Infer, i int) error {
	switch d := c.In(i).DType; d {
	case tensor.Float32, tensor.Float64, tensor.Int32, tensor.Int64:
		return nil
	default:
		return fmt.Errorf("input %d (%s) is %v; expected float32, float64, int32 or int64", i, c.Node.Inputs[i].Name, d)
	}
}

// inferLike is the rule of operators whose output is like their input.
func inferLike(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	c.Out(0, c.In(0).DType, c.In(0).Shape)
	return wantNumbers(c, 0)
}

// inferFloat is the rule of operators that give a float32 for each number.
func inferFloat(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	c.Out(0, tensor.Float32, c.In(0).Shape)
	return wantNumbers(c, 0)
}

// matrixRows is how many rows of features the input has; a vector is one row.
func matrixRows(c *graph.Infer) (rows graph.Dim, err error) {
	if err := c.Require(1, 1); err != nil {
		return rows, err
	}
	if err := wantNumbers(c, 0); err != nil {
		return rows, err
	}
	switch s := c.In(0).Shape; len(s) {
	case 1:
		return graph.Const(1), nil
	case 2:
		return s[0], nil
	default:
		return rows, fmt.Errorf("input 0 (%s) has shape %v, expected rows of features", c.Node.Inputs[0].Name, s)
	}
}

// features are rows of numbers, read as float64: all of them at once, or one by one.
type features struct {
	src   *tensor.Tensor
	rows  int
	width int
	data  []float64 // all, once read
	one   []float64 // the row that was read last
	at    []int     // where it is not zero
}

// newFeatures prepares to read all rows at once.
func newFeatures(c *graph.Call, x *tensor.Tensor) (f *features, err error) {
	f = rowsIn(x)
	f.data, err = graph.Room[float64](c, x.Len())
	return f, err
}

// newRows prepares to read rows one by one.
func newRows(c *graph.Call, x *tensor.Tensor) (f *features, err error) {
	f = rowsIn(x)
	if f.one, err = graph.Room[float64](c, f.width); err != nil {
		return nil, err
	}
	f.at, err = graph.Room[int](c, f.width)
	return f, err
}

func rowsIn(x *tensor.Tensor) *features {
	f := &features{src: x, rows: 1}
	if x.Rank() > 0 {
		f.width = x.Dim(x.Rank() - 1)
	}
	if x.Rank() > 1 && f.width > 0 {
		f.rows = x.Len() / f.width
	} else if x.Rank() > 1 {
		f.rows = x.Dim(0)
	}
	return f
}

// read takes the tensor's elements of this run.
func (f *features) read() { f.take(f.data, 0) }

// take reads elements from an offset on.
func (f *features) take(dst []float64, at int) {
	switch f.src.DType() {
	case tensor.Float32:
		copyNumbers(dst, f.src.F32()[at:][:len(dst)])
	case tensor.Float64:
		copy(dst, tensor.Data[float64](f.src)[at:])
	case tensor.Int32:
		copyNumbers(dst, tensor.Data[int32](f.src)[at:][:len(dst)])
	case tensor.Int64:
		copyNumbers(dst, f.src.I64()[at:][:len(dst)])
	}
}

// row is a row of what read has taken.
func (f *features) row(i int) []float64 { return f.data[i*f.width:][:f.width] }

// next reads a row by itself; the next call overwrites it.
func (f *features) next(i int) []float64 {
	f.take(f.one, i*f.width)
	return f.one
}

// some are the places where the row that next has read is not zero, in order; counts of
// words have few.
func (f *features) some() []int {
	f.at = f.at[:0]
	for i, v := range f.one {
		if v != 0 {
			f.at = append(f.at, i)
		}
	}
	return f.at
}

func copyNumbers[D, S float32 | float64 | int32 | int64](dst []D, src []S) {
	for i, v := range src {
		dst[i] = D(v)
	}
}

// attrFloats is an attribute of floats, which may be given as a tensor under the
// name with _as_tensor; nil if it is absent.
func attrFloats(a graph.Attrs, name string) []float64 {
	var out []float64
	switch v := a[name].(type) {
	case []float32:
		out = make([]float64, len(v))
		copyNumbers(out, v)
		return out
	case *tensor.Tensor:
		return floatsIn(v)
	}
	if t, ok := a[name+"_as_tensor"].(*tensor.Tensor); ok {
		return floatsIn(t)
	}
	return nil
}

func floatsIn(t *tensor.Tensor) []float64 {
	out := make([]float64, t.Len())
	switch {
	case t.DType() == tensor.Float64:
		copy(out, tensor.Data[float64](t))
	case t.DType().Float():
		narrow := make([]float32, t.Len())
		tensor.Float32s(narrow, t)
		copyNumbers(out, narrow)
	}
	return out
}

// intsOf is an attribute of integers, or nil.
func intsOf(a graph.Attrs, name string) []int64 {
	v, _ := a[name].([]int64)
	return v
}

// stringsOf is an attribute of strings, or nil.
func stringsOf(a graph.Attrs, name string) []string {
	v, _ := a[name].([]string)
	return v
}

// putNumbers writes numbers into a float tensor.
func putNumbers(dst *tensor.Tensor, at int, src []float64) {
	if dst.DType() == tensor.Float64 {
		copy(tensor.Data[float64](dst)[at:], src)
		return
	}
	copyNumbers(dst.F32()[at:][:len(src)], src)
}
