package op

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// mlOps are the operators of ai.onnx.ml: trees, linear models and support vector
// machines as other libraries have trained them, and what prepares their inputs.
// They compute in float64; where the specification leaves a case open they do as
// ONNX Runtime does.
func mlOps() []graph.Op {
	return []graph.Op{
		{ID: ml("TreeEnsemble"), Since: 5, Infer: inferTreeEnsemble, Kernel: widened(kernelTreeEnsemble)},
		{ID: ml("TreeEnsembleRegressor"), Since: 1, Infer: inferTreeRegressor, Kernel: kernelTreeRegressor},
		{ID: ml("TreeEnsembleClassifier"), Since: 1, Infer: inferTreeClassifier, Kernel: kernelTreeClassifier},
		{ID: ml("LinearRegressor"), Since: 1, Infer: inferLinearRegressor, Kernel: kernelLinearRegressor},
		{ID: ml("LinearClassifier"), Since: 1, Infer: inferLinearClassifier, Kernel: kernelLinearClassifier},
		{ID: ml("SVMRegressor"), Since: 1, Infer: inferSVMRegressor, Kernel: kernelSVMRegressor},
		{ID: ml("SVMClassifier"), Since: 1, Infer: inferSVMClassifier, Kernel: kernelSVMClassifier},
		{ID: ml("ArrayFeatureExtractor"), Since: 1, Infer: inferArrayFeatures, Kernel: kernelArrayFeatures},
		{ID: ml("FeatureVectorizer"), Since: 1, Infer: inferFeatureVectorizer, Kernel: kernelFeatureVectorizer},
		{ID: ml("Binarizer"), Since: 1, Infer: inferMLLike, Kernel: kernelBinarizer},
		{ID: ml("Imputer"), Since: 1, Infer: inferMLLike, Kernel: kernelImputer},
		{ID: ml("Scaler"), Since: 1, Infer: inferMLFloat, Kernel: kernelScaler},
		{ID: ml("Normalizer"), Since: 1, Infer: inferMLFloat, Kernel: kernelNormalizer},
		{ID: ml("OneHotEncoder"), Since: 1, Infer: inferOneHotEncoder, Kernel: kernelOneHotEncoder},
		{ID: ml("LabelEncoder"), Since: 1, Infer: inferLabelEncoder, Kernel: kernelLabelEncoder},
		{ID: ml("CategoryMapper"), Since: 1, Infer: inferLabelEncoder, Kernel: kernelLabelEncoder},
		{ID: ml("ZipMap"), Since: 1, Late: true, Kernel: kernelZipMap},
		{ID: ml("DictVectorizer"), Since: 1, Late: true, Kernel: kernelDictVectorizer},
		{ID: ml("CastMap"), Since: 1, Late: true, Kernel: kernelCastMap},
	}
}

func ml(name string) graph.OpID { return graph.OpID{Domain: "ai.onnx.ml", Name: name} }

// wantNumbers checks that an input is of one of the types that these operators take.
func wantNumbers(c *graph.Infer, i int) error {
	switch d := c.In(i).DType; d {
	case tensor.Float32, tensor.Float64, tensor.Int32, tensor.Int64:
		return nil
	default:
		return fmt.Errorf("input %d (%s) is %v; expected float32, float64, int32 or int64", i, c.Node.Inputs[i].Name, d)
	}
}

// inferMLLike is the rule of operators whose output is like their input.
func inferMLLike(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	c.Out(0, c.In(0).DType, c.In(0).Shape)
	return wantNumbers(c, 0)
}

// inferMLFloat is the rule of operators that give a float32 for each number.
func inferMLFloat(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	c.Out(0, tensor.Float32, c.In(0).Shape)
	return wantNumbers(c, 0)
}

// mlRows is the shape of input i as rows of features; a vector is one row.
func mlRows(c *graph.Infer, i int) (rows, features graph.Dim, err error) {
	if err := c.Require(1, 1); err != nil {
		return rows, features, err
	}
	if err := wantNumbers(c, i); err != nil {
		return rows, features, err
	}
	switch s := c.In(i).Shape; len(s) {
	case 1:
		return graph.Const(1), s[0], nil
	case 2:
		return s[0], s[1], nil
	default:
		return rows, features, fmt.Errorf("input %d (%s) has shape %v, expected rows of features", i, c.Node.Inputs[i].Name, s)
	}
}

// features is a float64 copy of a tensor, as rows.
type features struct {
	src   *tensor.Tensor
	rows  int
	width int
	data  []float64
}

func newFeatures(c *graph.Call, x *tensor.Tensor) (f *features, err error) {
	f = &features{src: x, rows: 1}
	if f.data, err = graph.Room[float64](c, x.Len()); err != nil {
		return nil, err
	}
	if x.Rank() > 0 {
		f.width = x.Dim(x.Rank() - 1)
	}
	if x.Rank() > 1 && f.width > 0 {
		f.rows = x.Len() / f.width
	} else if x.Rank() > 1 {
		f.rows = x.Dim(0)
	}
	return f, nil
}

// read takes the tensor's elements of this run.
func (f *features) read() {
	switch f.src.DType() {
	case tensor.Float32:
		copyNumbers(f.data, f.src.F32())
	case tensor.Float64:
		copy(f.data, tensor.Data[float64](f.src))
	case tensor.Int32:
		copyNumbers(f.data, tensor.Data[int32](f.src))
	case tensor.Int64:
		copyNumbers(f.data, f.src.I64())
	}
}

func (f *features) row(i int) []float64 { return f.data[i*f.width:][:f.width] }

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
