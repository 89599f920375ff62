package ml

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"tandem/graph"
	"tandem/graph/op/move"
	"tandem/tensor"
)

// kernelZipMap makes of each row of scores a map from the classes to them. The maps
// share the tensor of classes.
func kernelZipMap(c *graph.Call) (func() error, error) {
	if err := c.Require(1, 1); err != nil {
		return nil, err
	}
	l, err := labelsOf(c.Node.Attrs, "classlabels_int64s")
	if err != nil {
		return nil, err
	}
	keys := tensor.OfStrings(l.names, len(l.names))
	if l.dtype() == tensor.Int64 {
		keys = tensor.Of(l.ints, len(l.ints))
	}
	return func() error {
		x := c.In[0]
		if x.DType() != tensor.Float32 || x.Rank() < 1 || x.Rank() > 2 || x.Dim(x.Rank()-1) != l.len() {
			return fmt.Errorf("input 0 is %v, expected rows of %d float32", x, l.len())
		}
		rows := x.Len() / l.len()
		if err := c.Allocates(rows*mapBytes + 4*x.Len()); err != nil {
			return err
		}
		values := tensor.New(tensor.Float32, rows, l.len())
		copy(values.F32(), x.F32())
		list := make([]*tensor.Tensor, rows)
		for i := range list {
			list[i] = tensor.OfTensors(tensor.Map, []*tensor.Tensor{keys, values.Rows(i, i+1).Reshaped(l.len())})
		}
		c.Out[0].Become(tensor.OfTensors(tensor.Sequence, list))
		return nil
	}, nil
}

// mapBytes is about what a map takes besides its elements.
const mapBytes = 512

// mapOf are the keys and values of input 0, which must be a map.
func mapOf(c *graph.Call) (keys, values *tensor.Tensor, err error) {
	if x := c.In[0]; x.DType() != tensor.Map {
		return nil, nil, fmt.Errorf("input 0 is %v, expected a map", x)
	}
	keys, values = c.In[0].Items()[0], c.In[0].Items()[1]
	return keys, values, nil
}

// kernelDictVectorizer gives a row that has the value of each key of the vocabulary in
// its place, and zeros for those that the map does not have.
func kernelDictVectorizer(c *graph.Call) (func() error, error) {
	if err := c.Require(1, 1); err != nil {
		return nil, err
	}
	names := stringsOf(c.Node.Attrs, "string_vocabulary")
	ints, _ := c.Node.Attrs["int64_vocabulary"].([]int64)
	if len(names) > 0 == (len(ints) > 0) {
		return nil, fmt.Errorf("a vocabulary of %d strings and one of %d integers: one of the two is expected", len(names), len(ints))
	}
	return func() error {
		keys, values, err := mapOf(c)
		if err != nil {
			return err
		}
		n := max(len(names), len(ints))
		from := make([]int, n)
		for i := range from {
			switch {
			case len(names) > 0 && keys.DType() == tensor.String:
				from[i] = slices.Index(keys.Strings(), names[i])
			case len(ints) > 0 && keys.DType() == tensor.Int64:
				from[i] = slices.Index(keys.I64(), ints[i])
			default:
				return fmt.Errorf("the keys of the map are %v, those of the vocabulary are not", keys.DType())
			}
		}
		m, err := move.Of(values.DType())
		if err != nil {
			return err
		}
		y, err := c.Make(0, values.DType(), 1, n)
		if err != nil {
			return err
		}
		for i, at := range from {
			if at >= 0 {
				m.Pick(y, i, values, 0, []int{at}, 1)
			}
		}
		return nil
	}, nil
}

// kernelCastMap gives the values of a map from integers as a row: in the order of the
// keys, or with map_form SPARSE each in the place that its key names.
func kernelCastMap(c *graph.Call) (func() error, error) {
	if err := c.Require(1, 1); err != nil {
		return nil, err
	}
	a := c.Node.Attrs
	to, ok := map[string]tensor.DType{"TO_FLOAT": tensor.Float32, "TO_INT64": tensor.Int64, "TO_STRING": tensor.String}[a.String("cast_to", "TO_FLOAT")]
	if !ok {
		return nil, fmt.Errorf("cast_to is %q", a.String("cast_to", ""))
	}
	sparse, width := a.String("map_form", "DENSE") == "SPARSE", a.Int("max_map", 1)
	return func() error {
		keys, values, err := mapOf(c)
		if err != nil {
			return err
		}
		if keys.DType() != tensor.Int64 {
			return fmt.Errorf("the keys of the map are %v, expected int64", keys.DType())
		}
		order := make([]int, keys.Len())
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(i, j int) int { return int(min(max(keys.I64()[i]-keys.I64()[j], -1), 1)) })
		n := keys.Len()
		if sparse {
			n = width
		}
		if n < 0 {
			return fmt.Errorf("max_map is %d", width)
		}
		y, err := c.Make(0, to, 1, n)
		if err != nil {
			return err
		}
		for place, i := range order {
			if sparse {
				if k := keys.I64()[i]; k < 0 || k >= int64(n) {
					return fmt.Errorf("key %d lies outside [0, %d)", k, n)
				}
				place = int(keys.I64()[i])
			}
			if err := castElement(y, place, values, i); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// castElement writes element i of x, a float32, int64 or string, as element at of y.
func castElement(y *tensor.Tensor, at int, x *tensor.Tensor, i int) error {
	var number float64
	text := ""
	switch x.DType() {
	case tensor.Float32:
		number = float64(x.F32()[i])
		text = strconv.FormatFloat(number, 'g', -1, 32)
	case tensor.Int64:
		number = float64(x.I64()[i])
		text = strconv.FormatInt(x.I64()[i], 10)
	case tensor.String:
		text = x.Strings()[i]
		parsed, err := strconv.ParseFloat(text, 64)
		if err != nil && y.DType() != tensor.String {
			return fmt.Errorf("%.40q is no number", text)
		}
		number = parsed
	default:
		return fmt.Errorf("the values of the map are %v", x.DType())
	}
	switch y.DType() {
	case tensor.Float32:
		y.F32()[at] = float32(number)
	case tensor.Int64:
		if x.DType() == tensor.Int64 {
			y.I64()[at] = x.I64()[i]
		} else {
			y.I64()[at] = int64(math.Trunc(number))
		}
	default:
		y.Strings()[at] = text
	}
	return nil
}
