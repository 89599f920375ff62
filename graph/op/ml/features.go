package ml

import (
	"fmt"
	"math"
	"slices"

	"tandem/graph"
	"tandem/graph/op/move"
	"tandem/tensor"
)

// inferArrayFeatures: the named elements of the last dimension. What is picked
// from a vector is a matrix of one row.
func inferArrayFeatures(c *graph.Infer) error {
	if err := c.Require(2, 2); err != nil {
		return err
	}
	x, y := c.In(0), c.In(1)
	if len(x.Shape) == 0 || y.DType != tensor.Int64 {
		return fmt.Errorf("elements of %v cannot be picked by %v", x, y)
	}
	shape := graph.Shape{graph.Const(1)}
	if len(x.Shape) > 1 {
		shape = append(graph.Shape{}, x.Shape[:len(x.Shape)-1]...)
	}
	c.Out(0, x.DType, append(shape, y.Shape.Len()))
	return nil
}

func kernelArrayFeatures(c *graph.Call) (func() error, error) {
	m, err := move.Of(c.In[0].DType())
	if err != nil {
		return nil, err
	}
	width, from := c.In[0].Dim(c.In[0].Rank()-1), make([]int, c.In[1].Len())
	return func() error {
		for i, v := range c.In[1].I64() {
			if v < 0 || v >= int64(width) {
				return fmt.Errorf("index %d is %d, outside [0, %d)", i, v, width)
			}
			from[i] = int(v)
		}
		for row := range c.In[0].Len() / max(width, 1) {
			m.Pick(c.Out[0], row*len(from), c.In[0], row*width, from, 1)
		}
		return nil
	}, nil
}

// inferFeatureVectorizer: inputs side by side. inputdimensions says how many
// features each gives: the rest is cut off, or filled with zeros.
func inferFeatureVectorizer(c *graph.Infer) error {
	widths := c.Node.Attrs.Ints("inputdimensions")
	if widths != nil && len(widths) != len(c.Node.Inputs) || len(c.Node.Inputs) == 0 {
		return fmt.Errorf("inputdimensions has %d numbers for %d inputs", len(widths), len(c.Node.Inputs))
	}
	total, rows := graph.Const(0), graph.Const(1)
	for i := range c.Node.Inputs {
		if !c.Has(i) {
			return fmt.Errorf("input %d is missing", i)
		}
		if err := wantNumbers(c, i); err != nil {
			return err
		}
		s := c.In(i).Shape
		if len(s) != 1 && len(s) != 2 {
			return fmt.Errorf("input %d has shape %v, expected one or two dimensions", i, s)
		}
		n := graph.Const(1)
		if len(s) == 2 {
			n = s[0]
		}
		if i == 0 {
			rows = n
		}
		if err := c.Same(rows, n, "numbers of rows"); err != nil {
			return err
		}
		width := s[len(s)-1]
		if widths != nil {
			if widths[i] < 0 {
				return fmt.Errorf("inputdimensions has %d", widths[i])
			}
			width = graph.Const(widths[i])
		}
		total = total.Add(width)
	}
	c.Out(0, tensor.Float32, graph.Shape{rows, total})
	return nil
}

func kernelFeatureVectorizer(c *graph.Call) (func() error, error) {
	widths := c.Node.Attrs.Ints("inputdimensions")
	in := make([]*features, len(c.In))
	for i, x := range c.In {
		var err error
		if in[i], err = newFeatures(c, x); err != nil {
			return nil, err
		}
		if in[i].rows != c.Out[0].Dim(0) {
			return nil, fmt.Errorf("input %d is %v, input 0 is %v: they have not the same rows", i, x, c.In[0])
		}
	}
	total := c.Out[0].Dim(1)
	return func() error {
		out, at := c.Out[0].F32(), 0
		clear(out)
		for i, f := range in {
			f.read()
			width := f.width
			if widths != nil {
				width = widths[i]
			}
			for row := range f.rows {
				n := min(width, f.width)
				copyNumbers(out[row*total+at:][:n], f.row(row)[:n])
			}
			at += width
		}
		return nil
	}, nil
}

func kernelBinarizer(c *graph.Call) (func() error, error) {
	f, err := newFeatures(c, c.In[0])
	if err != nil {
		return nil, err
	}
	limit := float64(c.Node.Attrs.Float("threshold", 0))
	return func() error {
		f.read()
		for i, v := range f.data {
			f.data[i] = 0
			if v > limit {
				f.data[i] = 1
			}
		}
		return putLike(c.Out[0], f.data)
	}, nil
}

// putLike writes numbers in the type of dst.
func putLike(dst *tensor.Tensor, src []float64) error {
	switch dst.DType() {
	case tensor.Int32:
		copyNumbers(tensor.Data[int32](dst), src)
	case tensor.Int64:
		copyNumbers(dst.I64(), src)
	case tensor.Float32, tensor.Float64:
		putNumbers(dst, 0, src)
	default:
		return fmt.Errorf("results of type %v are not supported", dst.DType())
	}
	return nil
}

// kernelImputer works on the elements in their own type: an int64 may be larger
// than a float64 can tell apart.
func kernelImputer(c *graph.Call) (func() error, error) {
	switch c.In[0].DType() {
	case tensor.Float32:
		return imputer[float32](c)
	case tensor.Float64:
		return imputer[float64](c)
	case tensor.Int32:
		return imputer[int32](c)
	case tensor.Int64:
		return imputer[int64](c)
	}
	return nil, fmt.Errorf("elements of type %v are not supported", c.In[0].DType())
}

func imputer[T float32 | float64 | int32 | int64](c *graph.Call) (func() error, error) {
	a := c.Node.Attrs
	var values []T
	replaced := T(a.Int("replaced_value_int64", 0))
	if c.In[0].DType().Float() {
		list, _ := a["imputed_value_floats"].([]float32)
		values = make([]T, len(list))
		copyNumbers(values, list)
		replaced = T(a.Float("replaced_value_float", 0))
	} else {
		list, _ := a["imputed_value_int64s"].([]int64)
		values = make([]T, len(list))
		copyNumbers(values, list)
	}
	width := 1
	if r := c.In[0].Rank(); r > 0 {
		width = c.In[0].Dim(r - 1)
	}
	if len(values) != 1 && (len(values) != width || width == 0) {
		return nil, fmt.Errorf("%d values for %d features", len(values), width)
	}
	return func() error {
		src, dst := tensor.Data[T](c.In[0]), tensor.Data[T](c.Out[0])
		for i, v := range src {
			if v == replaced || v != v && replaced != replaced {
				v = values[i%len(values)]
			}
			dst[i] = v
		}
		return nil
	}, nil
}

func kernelScaler(c *graph.Call) (func() error, error) {
	f, err := newFeatures(c, c.In[0])
	if err != nil {
		return nil, err
	}
	scale, offset := attrFloats(c.Node.Attrs, "scale"), attrFloats(c.Node.Attrs, "offset")
	for name, list := range map[string][]float64{"scale": scale, "offset": offset} {
		if n := len(list); n == 0 || n != 1 && n != f.width {
			return nil, fmt.Errorf("attribute %s has %d numbers for %d features", name, n, f.width)
		}
	}
	return func() error {
		f.read()
		for i, v := range f.data {
			f.data[i] = (v - offset[i%len(offset)]) * scale[i%len(scale)]
		}
		putNumbers(c.Out[0], 0, f.data)
		return nil
	}, nil
}

func kernelNormalizer(c *graph.Call) (func() error, error) {
	norm, err := normOf(c.Node.Attrs.String("norm", "MAX"))
	if err != nil {
		return nil, err
	}
	f, err := newRows(c, c.In[0])
	if err != nil {
		return nil, err
	}
	return func() error {
		y := c.Out[0].F32()
		for i := range f.rows {
			row, to := f.next(i), y[i*f.width:][:f.width]
			n := norm(row)
			if n == 0 {
				n = 1
			}
			clear(to)
			for _, j := range f.some() {
				to[j] = float32(row[j] / n)
			}
			if n != n {
				putNumbers(c.Out[0], i*f.width, slices.Repeat([]float64{n}, f.width))
			}
		}
		return nil
	}, nil
}

func normOf(name string) (func(row []float64) float64, error) {
	switch name {
	case "MAX":
		return func(row []float64) float64 {
			m := math.Inf(-1)
			for _, v := range row {
				m = max(m, v)
			}
			return m
		}, nil
	case "L1":
		return func(row []float64) float64 {
			sum := 0.0
			for _, v := range row {
				sum += math.Abs(v)
			}
			return sum
		}, nil
	case "L2":
		return func(row []float64) float64 { return math.Sqrt(dot64(row, row)) }, nil
	}
	return nil, fmt.Errorf("norm %q is not MAX, L1 or L2", name)
}

func inferOneHotEncoder(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	n := len(c.Node.Attrs.Ints("cats_int64s"))
	if c.In(0).DType == tensor.String {
		n = len(stringsOf(c.Node.Attrs, "cats_strings"))
	} else if err := wantNumbers(c, 0); err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("it has no categories for elements of type %v", c.In(0).DType)
	}
	c.Out(0, tensor.Float32, append(append(graph.Shape{}, c.In(0).Shape...), graph.Const(n)))
	return nil
}

func kernelOneHotEncoder(c *graph.Call) (func() error, error) {
	x, f := c.In[0], (*features)(nil)
	names, numbers := positionsOf(stringsOf(c.Node.Attrs, "cats_strings")), positionsOf(c.Node.Attrs.Ints("cats_int64s"))
	if x.DType() != tensor.String {
		var err error
		if f, err = newFeatures(c, x); err != nil {
			return nil, err
		}
	}
	strict, width := c.Node.Attrs.Int("zeros", 1) == 0, c.Out[0].Dim(x.Rank())
	return func() error {
		out := c.Out[0].F32()
		clear(out)
		if f != nil {
			f.read()
		}
		for i := range x.Len() {
			var at int
			var ok bool
			if f != nil {
				at, ok = numbers[int(f.data[i])]
			} else {
				at, ok = names[x.Strings()[i]]
			}
			switch {
			case ok:
				out[i*width+at] = 1
			case strict:
				return fmt.Errorf("element %d is of no known category", i)
			}
		}
		return nil
	}, nil
}
