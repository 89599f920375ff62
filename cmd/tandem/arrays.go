package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"tandem"
	"tandem/data/npz"
	"tandem/fault"
	"tandem/tensor"
)

const (
	npzSuffix  = ".npz"
	onnxSuffix = ".onnx"
)

func isNPZ(path string) bool  { return strings.HasSuffix(strings.ToLower(path), npzSuffix) }
func isONNX(path string) bool { return strings.HasSuffix(strings.ToLower(path), onnxSuffix) }

// readArrays reads a file of NumPy's.
func readArrays(path string) (_ []npz.Array, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.From(err, "tandem.read")
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, fault.From(err, "tandem.read")
	}
	return npz.Read(f, info.Size(), path, npz.DefaultLimits())
}

// bindArrays puts arrays in the order of the model's inputs. Types that NumPy does not
// have are converted to from those that it has.
func bindArrays(m *tandem.Model, path string, arrays []npz.Array) ([]*tensor.Tensor, error) {
	var ports []port
	for _, p := range m.Inputs() {
		ports = append(ports, port{name: p.Name, dtype: p.DType})
	}
	return bindPorts(ports, path, arrays)
}

func bindPorts(ports []port, path string, arrays []npz.Array) ([]*tensor.Tensor, error) {
	var list []*tensor.Tensor
	for _, p := range ports {
		i := slices.IndexFunc(arrays, func(a npz.Array) bool { return a.Name == p.name })
		if i < 0 {
			e := fault.New("tandem.read", fault.Invalid, "%s has no array %q, which the model takes", path, p.name)
			if names := namesOf(arrays); names != "" {
				return nil, e.Try("rename one of those that it has: " + names)
			}
			return nil, e.Try("write it with numpy.savez(path, NAME=array)")
		}
		t, err := foreign(arrays[i].Tensor, p.dtype)
		if err != nil {
			return nil, err
		}
		if t.DType() != p.dtype && p.dtype.Bits() > 0 {
			return nil, fault.New("tandem.read", fault.Invalid, "array %q of %s has elements of type %v, the model takes %v", p.name, path, t.DType(), p.dtype).
				Try(fmt.Sprintf("convert it before it is saved: x.astype(%q)", p.dtype.String()))
		}
		list = append(list, t)
	}
	for _, a := range arrays {
		if !slices.ContainsFunc(ports, func(p port) bool { return p.name == a.Name }) {
			return nil, fault.New("tandem.read", fault.Invalid, "%s has an array %q, which the model does not take", path, a.Name).Try("save it without that array")
		}
	}
	return list, nil
}

func namesOf(arrays []npz.Array) string {
	names := make([]string, len(arrays))
	for i, a := range arrays {
		names[i] = a.Name
	}
	return strings.Join(names, ", ")
}

// foreign converts to a type that NumPy does not have: a file can hold such elements
// only as another type.
func foreign(t *tensor.Tensor, want tensor.DType) (*tensor.Tensor, error) {
	if npz.Holds(want) || !want.Numeric() || !t.DType().Numeric() {
		return t, nil
	}
	converted := tensor.New(want, t.Shape()...)
	return converted, tensor.Convert(converted, t, true)
}

// writeArrays writes a file of NumPy's. Lists and types that NumPy does not have are
// written in a form that it has: the elements of list y as y.0, y.1, …, maps as their
// values, with y.keys, and narrow floats and integers as float32 and int32, which hold them exactly.
func writeArrays(path string, arrays []npz.Array) (err error) {
	var flat []npz.Array
	for _, x := range arrays {
		if flat, err = flatten(flat, x); err != nil {
			return err
		}
	}
	return writeFile(path, func(f io.Writer) error { return npz.Write(f, flat) })
}

func flatten(list []npz.Array, x npz.Array) ([]npz.Array, error) {
	d := x.Tensor.DType()
	switch {
	case d == tensor.Map:
		keys, values := x.Tensor.Items()[0], x.Tensor.Items()[1]
		return append(list, npz.Array{Name: x.Name, Tensor: values}, npz.Array{Name: x.Name + ".keys", Tensor: keys}), nil
	case d == tensor.Sequence || d == tensor.Optional:
		if rows, ok := rowsOfMaps(x); ok {
			return append(list, rows...), nil
		}
		var err error
		for i, item := range x.Tensor.Items() {
			if list, err = flatten(list, npz.Array{Name: fmt.Sprintf("%s.%d", x.Name, i), Tensor: item}); err != nil {
				return nil, err
			}
		}
		return list, nil
	case !npz.Holds(d) && d.Numeric():
		wide := tensor.Int32
		if d.Float() {
			wide = tensor.Float32
		}
		t := tensor.New(wide, x.Tensor.Shape()...)
		if err := tensor.Convert(t, x.Tensor, true); err != nil {
			return nil, fault.From(err, "tandem.predict")
		}
		x.Tensor = t
	}
	return append(list, x), nil
}

// rowsOfMaps is a list of maps with the same keys as one array of their values, a row for
// each, and one of the keys.
func rowsOfMaps(x npz.Array) ([]npz.Array, bool) {
	items := x.Tensor.Items()
	if len(items) == 0 || items[0].DType() != tensor.Map {
		return nil, false
	}
	keys := items[0].Items()[0]
	values := tensor.New(tensor.Float32, len(items), keys.Len())
	for i, m := range items {
		if m.DType() != tensor.Map || m.Items()[1].DType() != tensor.Float32 || !equal(m.Items()[0], keys) {
			return nil, false
		}
		copy(values.Rows(i, i+1).F32(), m.Items()[1].F32())
	}
	return []npz.Array{{Name: x.Name, Tensor: values}, {Name: x.Name + ".keys", Tensor: keys}}, true
}

func equal(a, b *tensor.Tensor) bool {
	return a.DType() == b.DType() && a.Shape().Equal(b.Shape()) && bytes.Equal(a.Bytes(), b.Bytes()) && slices.Equal(a.Strings(), b.Strings())
}

// printArrays shows the beginning of each output, or with --json all of it.
func printArrays(a *app, arrays []npz.Array) error {
	const shown = 6
	var rows [][]string
	for _, x := range arrays {
		var flat []npz.Array
		flat, err := flatten(flat, x)
		if err != nil {
			return err
		}
		for _, y := range flat {
			values := elementsOf(y.Tensor)
			if a.json {
				if err := a.emit(struct {
					Name  string `json:"name"`
					DType string `json:"dtype"`
					Shape []int  `json:"shape"`
					Data  []any  `json:"data"`
				}{y.Name, y.Tensor.DType().String(), append([]int{}, y.Tensor.Shape()...), values}); err != nil {
					return err
				}
				continue
			}
			text := strings.Trim(fmt.Sprintf("%v", values[:min(shown, len(values))]), "[]")
			if len(values) > shown {
				text += " …"
			}
			rows = append(rows, []string{y.Name, y.Tensor.DType().String(), y.Tensor.Shape().String(), text})
		}
	}
	if a.json {
		return nil
	}
	return a.table([]string{"OUTPUT", "TYPE", "SHAPE", "VALUES"}, rows)
}

// elementsOf are the elements in a form that JSON has; NaN and infinities are strings.
func elementsOf(t *tensor.Tensor) []any {
	values := make([]any, t.Len())
	switch d := t.DType(); {
	case d == tensor.String:
		for i, s := range t.Strings() {
			values[i] = s
		}
	case d == tensor.Bool:
		for i, b := range tensor.Data[bool](t) {
			values[i] = b
		}
	case d == tensor.Uint64:
		for i, n := range tensor.Data[uint64](t) {
			values[i] = n
		}
	case d == tensor.Float64:
		for i, f := range tensor.Data[float64](t) {
			values[i] = jsonFloat(f, 64)
		}
	case d.Float():
		floats := make([]float32, len(values))
		tensor.Float32s(floats, t)
		for i, f := range floats {
			values[i] = jsonFloat(float64(f), 32)
		}
	default:
		wide := tensor.New(tensor.Int64, t.Shape()...)
		if err := tensor.Convert(wide, t, true); err != nil {
			return nil
		}
		for i, n := range wide.I64() {
			values[i] = n
		}
	}
	return values
}

// jsonFloat writes as many digits as the type needs.
func jsonFloat(f float64, bits int) any {
	text := strconv.FormatFloat(f, 'g', -1, bits)
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return text
	}
	return json.Number(text)
}
