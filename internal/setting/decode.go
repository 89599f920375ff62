package setting

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Type decodes values of a type that does not follow from its fields, such as an
// interface.
type Type func(d Decoder, n *Node, path string) (any, error)

// Decoder fills Go values from nodes.
type Decoder struct {
	Types map[reflect.Type]Type
}

// Decodable is a type that reads its own node. Its method has a pointer receiver.
type Decodable interface {
	DecodeSetting(n *Node, path string) error
}

// Decode fills what into points to; fields without a key stay as they are. path names
// n in errors.
func (n *Node) Decode(path string, into any) error { return Decoder{}.Decode(n, path, into) }

// Decode fills what into points to; fields without a key stay as they are.
func (d Decoder) Decode(n *Node, path string, into any) error {
	return d.value(n, path, reflect.ValueOf(into).Elem())
}

func (d Decoder) value(n *Node, path string, v reflect.Value) error {
	if f := d.Types[v.Type()]; f != nil {
		got, err := f(d, n, path)
		if err == nil {
			v.Set(reflect.ValueOf(got))
		}
		return err
	}
	if own, ok := v.Addr().Interface().(Decodable); ok {
		return own.DecodeSetting(n, path)
	}
	switch v.Kind() {
	case reflect.Struct:
		return d.fields(n, path, v)
	case reflect.Slice:
		if n.shape != list {
			return n.fail(path, "it must be a list, such as [a, b]")
		}
		all := reflect.MakeSlice(v.Type(), len(n.kids), len(n.kids))
		for i, kid := range n.kids {
			if err := d.value(kid, fmt.Sprintf("%s[%d]", path, i+1), all.Index(i)); err != nil {
				return err
			}
		}
		v.Set(all)
		return nil
	case reflect.Map:
		return d.entries(n, path, v)
	case reflect.Pointer:
		at := reflect.New(v.Type().Elem())
		v.Set(at)
		return d.value(n, path, at.Elem())
	}
	if n.shape != scalar || n.text == "" && !n.quoted {
		return n.fail(path, "it must be %s", errors.New(kindName(v.Type())))
	}
	return n.scalar(path, v)
}

// scalar reads a text as what v is.
func (n *Node) scalar(path string, v reflect.Value) error {
	bad := func() error { return n.fail(path, "%.100q is not %s", n.text, errors.New(kindName(v.Type()))) }
	plain := strings.ReplaceAll(n.text, "_", "")
	switch v.Kind() {
	case reflect.String:
		v.SetString(n.text)
	case reflect.Bool:
		if n.quoted || n.text != "true" && n.text != "false" {
			return bad()
		}
		v.SetBool(n.text == "true")
	case reflect.Int, reflect.Int64, reflect.Int32:
		i, err := strconv.ParseInt(plain, 10, v.Type().Bits())
		if err != nil || n.quoted {
			return bad()
		}
		v.SetInt(i)
	case reflect.Uint64, reflect.Uint, reflect.Uint32:
		i, err := strconv.ParseUint(plain, 10, v.Type().Bits())
		if err != nil || n.quoted {
			return bad()
		}
		v.SetUint(i)
	case reflect.Float32, reflect.Float64:
		f, err := strconv.ParseFloat(plain, v.Type().Bits())
		if err != nil || n.quoted || math.IsNaN(f) || math.IsInf(f, 0) {
			return bad()
		}
		v.SetFloat(f)
	default:
		return n.fail(path, "a spec cannot say it")
	}
	return nil
}

// kindName says what a scalar is to be.
func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64, reflect.Int32:
		return "a whole number"
	case reflect.Uint64, reflect.Uint, reflect.Uint32:
		return "a whole number from 0 on"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "a list of keys with values"
	}
	return "a text"
}

func (d Decoder) fields(n *Node, path string, v reflect.Value) error {
	if n.shape != mapping {
		return n.fail(path, "it must be a list of keys with values")
	}
	fields := fieldsOf(v.Type())
	for i, key := range n.keys {
		at := slices.IndexFunc(fields, func(f field) bool { return f.name == key })
		if at < 0 {
			return n.unknown(path, i, fields)
		}
		if err := d.value(n.kids[i], join(path, key), v.FieldByIndex(fields[at].index)); err != nil {
			return err
		}
	}
	return nil
}

// unknown names the key and the one that was probably meant.
func (n *Node) unknown(path string, i int, fields []field) error {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	at := &Node{Source: n.from[i]}
	e := at.fail(join(path, n.keys[i]), "there is no such key")
	return e.Try(Suggest(n.keys[i], names))
}

// Suggest is the remedy for a name that is not one of those known.
func Suggest(name string, known []string) string {
	if best := Nearest(name, known); best != "" {
		return "did you mean " + best + "?"
	}
	return "use one of: " + strings.Join(known, ", ")
}

func (d Decoder) entries(n *Node, path string, v reflect.Value) error {
	if n.shape != mapping {
		return n.fail(path, "it must be a list of keys with values")
	}
	all := reflect.MakeMapWithSize(v.Type(), len(n.keys))
	for i, key := range n.keys {
		elem := reflect.New(v.Type().Elem()).Elem()
		if err := d.value(n.kids[i], join(path, key), elem); err != nil {
			return err
		}
		all.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), elem)
	}
	v.Set(all)
	return nil
}

// Choose decodes a mapping of one key, or a text alone, that names one of several
// things: it returns the name and what belongs to it, which is nil for a text alone.
func (n *Node) Choose(path string, names []string) (string, *Node, error) {
	name, value := n.text, (*Node)(nil)
	if n.shape == mapping && len(n.keys) == 1 {
		name, value = n.keys[0], n.kids[0]
		if value.shape == scalar && value.text == "" && !value.quoted {
			value = nil
		}
	} else if n.shape != scalar || n.text == "" {
		return "", nil, n.fail(path, "it must be one name with its settings, such as %s", names[0])
	}
	if !slices.Contains(names, name) {
		return "", nil, n.fail(path, "there is no %.100q", name).Try(Suggest(name, names))
	}
	return name, value, nil
}

// IsScalar tells whether a value is a scalar.
func (n *Node) IsScalar() bool { return n.shape == scalar }

// IsMapping tells whether a value is a mapping.
func (n *Node) IsMapping() bool { return n.shape == mapping }

// Text is a scalar's text.
func (n *Node) Text() string { return n.text }

// Fail is an error about a value that its reader found wrong.
func (n *Node) Fail(path, format string, args ...any) error { return n.fail(path, format, args...) }

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
