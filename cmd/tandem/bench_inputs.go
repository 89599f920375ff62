package main

import (
	"strconv"
	"strings"

	"tandem"
	"tandem/fault"
	"tandem/graph"
	"tandem/tensor"
)

// inputs are those of the file, or made for the shapes.
func (c *benchCmd) inputs(m *tandem.Model) ([]*tensor.Tensor, error) {
	if c.Input != "" {
		if len(c.Shape) > 0 {
			return nil, usage("%s and %s exclude each other", "--input", "--shape")
		}
		arrays, err := readArrays(c.Input)
		if err != nil {
			return nil, err
		}
		return bindArrays(m, c.Input, arrays)
	}
	given, err := parseShapes(c.Shape)
	if err != nil {
		return nil, err
	}
	sizes := openSizes{given: given, used: map[string]bool{}, batch: c.Batch}
	var list []*tensor.Tensor
	for i, p := range m.Inputs() {
		shape, err := sizes.shapeOf(p.Name, p.Shape)
		if err != nil {
			return nil, err
		}
		t, err := example(p, shape, uint64(i))
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, sizes.checkUsed()
}

// parseShapes reads NAME=2x3 and NAME=128.
func parseShapes(args []string) (map[string][]int, error) {
	given := map[string][]int{}
	for _, arg := range args {
		at := strings.LastIndex(arg, "=")
		if at < 1 {
			return nil, usage("%q is no shape", arg).with("tandem bench MODEL.onnx --shape NAME=1x3x224x224")
		}
		var dims []int
		for _, text := range strings.Split(arg[at+1:], "x") {
			n, err := strconv.Atoi(text)
			if err != nil || n < 0 {
				return nil, usage("%q is no shape", arg).with("tandem bench MODEL.onnx --shape NAME=1x3x224x224")
			}
			dims = append(dims, n)
		}
		given[arg[:at]] = dims
	}
	return given, nil
}

// openSizes are the numbers for dimensions that a model leaves open.
type openSizes struct {
	given map[string][]int // by the name of an input or of a dimension
	used  map[string]bool
	batch int // where the first dimension is open
	rest  int // for what nothing is said of; 0 is an error
}

// shapeOf gives every dimension of an input a number.
func (o openSizes) shapeOf(name string, declared graph.Shape) (tensor.Shape, error) {
	if dims, ok := o.given[name]; ok {
		o.used[name] = true
		return dims, nil
	}
	shape := make(tensor.Shape, len(declared))
	for j, d := range declared {
		if n, ok := d.Value(); ok {
			shape[j] = n
			continue
		}
		symbol := d.String()
		dims, ok := o.given[symbol]
		switch {
		case ok && len(dims) == 1:
			o.used[symbol] = true
			shape[j] = dims[0]
		case j == 0:
			shape[j] = o.batch
		case o.rest > 0:
			shape[j] = o.rest
		default:
			return nil, usage("input %q has shape %s, whose dimension %q is open", name, declared, symbol).
				with("tandem bench MODEL.onnx --shape " + symbol + "=N")
		}
	}
	return shape, nil
}

// checkUsed refuses what is said of something that is not there.
func (o openSizes) checkUsed() error {
	for name := range o.given {
		if !o.used[name] {
			return usage("%s: the model has neither an input nor an open dimension %q", "--shape", name)
		}
	}
	return nil
}

// example makes an input: floats between -1 and 1, the same in every run; ones, which
// are an index of most tables and a valid mask, for integers.
func example(p tandem.Port, shape tensor.Shape, seed uint64) (*tensor.Tensor, error) {
	n, err := shape.CheckedLen(1 << 34)
	if err != nil {
		return nil, usage("input %q: %v", p.Name, err)
	}
	switch {
	case p.DType == tensor.String:
		return tensor.New(tensor.String, shape...), nil
	case !p.DType.Numeric():
		return nil, fault.New("tandem.bench", fault.Unsupported, "nothing can be made up for input %q, which is of type %v", p.Name, p.DType).
			Try("give inputs by --input FILE.npz")
	}
	t := tensor.New(p.DType, shape...)
	values := make([]float32, n)
	for i := range values {
		values[i] = 1
		if p.DType.Float() {
			values[i] = noise(seed, uint64(i))
		}
	}
	tensor.SetFloat32s(t, values)
	return t, nil
}

// noise is a hash of its arguments between -1 and 1 (the finalizer of SplitMix64).
func noise(seed, i uint64) float32 {
	z := (seed<<40 + i + 1) * 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return float32(int32(z>>32)) / (1 << 31)
}
