package ml

import (
	"fmt"
	"math"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// Expansions of classical models that are smooth, so that what comes before them can be
// trained. Their coefficients are attributes, which stay as they are.

// numbersAttr is an attribute of floats as a constant of the given shape; nil if it is absent.
func numbersAttr(e *graph.Expansion, name string, shape ...int) (*graph.Value, error) {
	list := attrFloats(e.Node.Attrs, name)
	if list == nil {
		return nil, nil
	}
	if len(shape) == 0 {
		shape = []int{len(list)}
	}
	if n := tensor.Shape(shape).Len(); n != len(list) {
		return nil, fmt.Errorf("attribute %s has %d numbers, expected %d", name, len(list), n)
	}
	t := tensor.New(tensor.Float32, shape...)
	copyNumbers(t.F32(), list)
	return e.Const(name, t), nil
}

// perFeature is an attribute of one number, or of one for each feature.
func perFeature(e *graph.Expansion, name string) (*graph.Value, error) {
	x, n := e.In(0).Type.Shape, len(attrFloats(e.Node.Attrs, name))
	width := graph.Const(1)
	if len(x) > 0 {
		width = x[len(x)-1]
	}
	if v, ok := width.Value(); n == 0 || n != 1 && ok && n != v {
		return nil, fmt.Errorf("attribute %s has %d numbers for %v features", name, n, width)
	}
	return numbersAttr(e, name)
}

func expandScaler(e *graph.Expansion) ([]*graph.Value, error) {
	offset, err := perFeature(e, "offset")
	if err != nil {
		return nil, err
	}
	scale, err := perFeature(e, "scale")
	if err != nil {
		return nil, err
	}
	return []*graph.Value{e.Op("Mul", nil, e.Op("Sub", nil, e.In(0), offset), scale)}, nil
}

// expandNormalizer: the largest element, not the largest magnitude, is the norm MAX.
func expandNormalizer(e *graph.Expansion) ([]*graph.Value, error) {
	name := e.Node.Attrs.String("norm", "MAX")
	reduce, ok := map[string]string{"MAX": "ReduceMax", "L1": "ReduceL1", "L2": "ReduceL2"}[name]
	if !ok {
		return nil, fmt.Errorf("norm %q is not MAX, L1 or L2", name)
	}
	norms := e.Op(reduce, nil, e.In(0), e.Ints("axis", -1))
	return []*graph.Value{e.Op("Div", nil, e.In(0), e.Op("Add", nil, norms, whereZero(e, norms)))}, nil
}

// expandImputer: what is put in has no gradient, and what it replaces neither.
func expandImputer(e *graph.Expansion) ([]*graph.Value, error) {
	values, err := perFeature(e, "imputed_value_floats")
	if err != nil {
		return nil, err
	}
	x, replaced := e.In(0), e.Node.Attrs.Float("replaced_value_float", 0)
	missing := e.Op("Equal", nil, x, e.Scalar("replaced", replaced))
	if replaced != replaced {
		missing = e.Op("IsNaN", nil, x)
	}
	return []*graph.Value{e.Op("Where", nil, missing, values, x)}, nil
}

// expandFeatureVectorizer: the columns of each input, cut off or filled with zeros.
func expandFeatureVectorizer(e *graph.Expansion) ([]*graph.Value, error) {
	widths := e.Node.Attrs.Ints("inputdimensions")
	var columns []*graph.Value
	for i, x := range e.Node.Inputs {
		if len(x.Type.Shape) == 1 {
			x = e.Op("Unsqueeze", nil, x, e.Ints("axis", 0))
		}
		if widths != nil {
			width, ok := x.Type.Shape[1].Value()
			if !ok {
				return nil, fmt.Errorf("the width of input %d is not known", i)
			}
			x = e.Op("Pad", nil, x, e.Ints("pads", 0, 0, 0, int64(widths[i]-width)))
		}
		columns = append(columns, e.Op("Cast", graph.Attrs{"to": int64(tensor.Float32)}, x))
	}
	return []*graph.Value{e.Op("Concat", graph.Attrs{"axis": int64(1)}, columns...)}, nil
}

// rowsOfFeatures is the input as a matrix, a vector being one row, and its width.
func rowsOfFeatures(e *graph.Expansion) (x *graph.Value, width int, err error) {
	x = e.In(0)
	if len(x.Type.Shape) == 1 {
		x = e.Op("Unsqueeze", nil, x, e.Ints("axis", 0))
	}
	width, ok := x.Type.Shape[1].Value()
	if !ok {
		return nil, 0, fmt.Errorf("the number of features is not known")
	}
	return x, width, nil
}

// linearScores are n weighted sums of the features.
func linearScores(e *graph.Expansion, n int) (*graph.Value, error) {
	x, width, err := rowsOfFeatures(e)
	if err != nil {
		return nil, err
	}
	weights, err := numbersAttr(e, "coefficients", n, width)
	if err != nil {
		return nil, err
	}
	intercepts, err := numbersAttr(e, "intercepts", n)
	if err != nil {
		return nil, err
	}
	return e.Op("Gemm", graph.Attrs{"transB": int64(1)}, x, weights, intercepts), nil
}

func expandLinearRegressor(e *graph.Expansion) ([]*graph.Value, error) {
	scores, err := linearScores(e, e.Node.Attrs.Int("targets", 1))
	if err != nil {
		return nil, err
	}
	y, err := transformed(e, scores)
	return []*graph.Value{y}, err
}

// expandLinearClassifier: labels stay with the operator, and have no gradient.
func expandLinearClassifier(e *graph.Expansion) ([]*graph.Value, error) {
	if e.Node.Output(1) == nil {
		return nil, nil
	}
	l, err := labelsOf(e.Node.Attrs, "classlabels_ints")
	if err != nil {
		return nil, err
	}
	n := linearSums(e.Node.Attrs, l)
	scores, err := linearScores(e, n)
	if err != nil {
		return nil, err
	}
	if n == 1 && l.len() == 2 {
		scores = pairOfScores(e, scores)
	} else {
		scores, err = transformed(e, scores)
	}
	label := e.Builder.Node(e.Node.Op, 1, e.Node.Attrs, e.In(0))[0]
	return []*graph.Value{label, scores}, err
}

// pairOfScores is classifier.two.
func pairOfScores(e *graph.Expansion, score *graph.Value) *graph.Value {
	first := e.Op("Sub", nil, e.Scalar("one", 1), score)
	switch e.Node.Attrs.String("post_transform", "NONE") {
	case "PROBIT":
		score = probits(e, score)
		first = score
	case "LOGISTIC":
		first, score = e.Op("Sigmoid", nil, e.Op("Neg", nil, score)), e.Op("Sigmoid", nil, score)
	}
	return e.Op("Concat", graph.Attrs{"axis": int64(1)}, first, score)
}

// transformed applies what transformOf gives.
func transformed(e *graph.Expansion, scores *graph.Value) (*graph.Value, error) {
	switch name := e.Node.Attrs.String("post_transform", "NONE"); name {
	case "NONE", "":
		return scores, nil
	case "LOGISTIC":
		return e.Op("Sigmoid", nil, scores), nil
	case "PROBIT":
		return probits(e, scores), nil
	case "SOFTMAX":
		return e.Op("Softmax", graph.Attrs{"axis": int64(-1)}, scores), nil
	case "SOFTMAX_ZERO":
		return softmaxZeros(e, scores), nil
	default:
		return nil, fmt.Errorf("post_transform %q is not known", name)
	}
}

// probits is probit.
func probits(e *graph.Expansion, v *graph.Value) *graph.Value {
	number := func(x float64) *graph.Value { return e.Scalar("number", float32(x)) }
	x := e.Op("Sub", nil, e.Op("Mul", nil, v, number(2)), number(1))
	log := e.Op("Log", nil, e.Op("Sub", nil, number(1), e.Op("Mul", nil, x, x)))
	a := e.Op("Add", nil, e.Op("Mul", nil, log, number(0.5)), number(2/(math.Pi*0.147)))
	root := e.Op("Sqrt", nil, e.Op("Sub", nil, e.Op("Mul", nil, a, a), e.Op("Div", nil, log, number(0.147))))
	r := e.Op("Sqrt", nil, e.Op("Sub", nil, root, a))
	return e.Op("Mul", nil, e.Op("Mul", nil, r, e.Op("Sign", nil, x)), number(math.Sqrt2))
}

// softmaxZeros is softmaxZeroScores, in which what is as good as 0 has no share.
func softmaxZeros(e *graph.Expansion, v *graph.Value) *graph.Value {
	axis := e.Ints("axis", -1)
	some := e.Op("Greater", nil, e.Op("Abs", nil, v), e.Scalar("least", 1e-7))
	parts := e.Op("Exp", nil, e.Op("Sub", nil, v, e.Op("ReduceMax", nil, v, axis)))
	parts = e.Op("Where", nil, some, parts, e.Scalar("zero", 0))
	sum := e.Op("ReduceSum", nil, parts, axis)
	none := whereZero(e, sum)
	shares := e.Op("Div", nil, parts, e.Op("Add", nil, sum, none))
	return e.Op("Add", nil, shares, e.Op("Mul", nil, none, e.Scalar("half", 0.5)))
}

// whereZero is 1 where x is 0, and 0 elsewhere.
func whereZero(e *graph.Expansion, x *graph.Value) *graph.Value {
	return e.Op("Cast", graph.Attrs{"to": int64(tensor.Float32)}, e.Op("Equal", nil, x, e.Scalar("zero", 0)))
}

// expandSVMRegressor: Σ coefficient·kernel(x, vector) + rho.
func expandSVMRegressor(e *graph.Expansion) ([]*graph.Value, error) {
	a := e.Node.Attrs
	if a.Int("one_class", 0) != 0 {
		return nil, fmt.Errorf("the side on which a row lies, 1 or -1, has no gradient")
	}
	x, width, err := rowsOfFeatures(e)
	if err != nil {
		return nil, err
	}
	count, vectors := a.Int("n_supports", 0), "support_vectors"
	weights := e.Scalar("weight", 1)
	if count == 0 { // a weighted sum is a comparison with the weights
		count, vectors, weights = 1, "coefficients", e.Op("Reshape", nil, weights, e.Ints("matrix", 1, 1))
	} else if weights, err = numbersAttr(e, "coefficients", count, 1); err != nil {
		return nil, err
	}
	with, err := numbersAttr(e, vectors, count, width)
	if err != nil {
		return nil, err
	}
	rho := attrFloats(a, "rho")
	if with == nil || weights == nil || len(rho) == 0 {
		return nil, fmt.Errorf("coefficients, support vectors or rho are missing")
	}
	near, err := comparedWith(e, x, with)
	if err != nil {
		return nil, err
	}
	sum := e.Op("MatMul", nil, near, weights)
	y, err := transformed(e, e.Op("Add", nil, sum, e.Scalar("rho", float32(rho[0]))))
	return []*graph.Value{y}, err
}

// comparedWith is svmKernelOf, for each row and each vector.
func comparedWith(e *graph.Expansion, x, vectors *graph.Value) (*graph.Value, error) {
	p := slices.Concat(attrFloats(e.Node.Attrs, "kernel_params"), make([]float64, 3))
	number := func(i int) *graph.Value { return e.Scalar("parameter", float32(p[i])) }
	if e.Node.Attrs.String("kernel_type", "LINEAR") == "RBF" {
		squares := e.Builder.Node(graph.OpID{Domain: "com.microsoft", Name: "CDist"}, 1, graph.Attrs{"metric": "sqeuclidean"}, x, vectors)[0]
		return e.Op("Exp", nil, e.Op("Neg", nil, e.Op("Mul", nil, squares, number(0)))), nil
	}
	products := e.Op("Gemm", graph.Attrs{"transB": int64(1)}, x, vectors)
	bent := func() *graph.Value { return e.Op("Add", nil, e.Op("Mul", nil, products, number(0)), number(1)) }
	switch name := e.Node.Attrs.String("kernel_type", "LINEAR"); name {
	case "LINEAR":
		return products, nil
	case "POLY":
		return e.Op("Pow", nil, bent(), number(2)), nil
	case "SIGMOID":
		return e.Op("Tanh", nil, bent()), nil
	default:
		return nil, fmt.Errorf("kernel_type %q is not known", name)
	}
}
