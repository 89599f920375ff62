package gguf

import (
	"iter"
	"math"
	"slices"

	"tandem/fault"
)

// Metadata maps keys to values, in the order of the file. A value is one of uint8,
// int8, uint16, int16, uint32, int32, uint64, int64, float32, float64, bool, string,
// or a slice of one of these.
//
// The typed getters come in two forms: Int and the like report an error of kind
// NotFound for a key that is not there, IntOr and the like give a value in its
// place. A value of another type is an error in both.
type Metadata struct {
	keys   []string
	values map[string]any
}

// Set adds a pair, or replaces the value of a key in its place.
func (m *Metadata) Set(key string, value any) {
	if m.values == nil {
		m.values = map[string]any{}
	}
	if _, ok := m.values[key]; !ok {
		m.keys = append(m.keys, key)
	}
	m.values[key] = value
}

// Delete removes a key.
func (m *Metadata) Delete(key string) {
	if m.Has(key) {
		delete(m.values, key)
		m.keys = slices.DeleteFunc(m.keys, func(k string) bool { return k == key })
	}
}

// Get is the value of key, or nil.
func (m *Metadata) Get(key string) any { return m.values[key] }

// Has reports whether key is there.
func (m *Metadata) Has(key string) bool { _, ok := m.values[key]; return ok }

// Len is the number of pairs.
func (m *Metadata) Len() int { return len(m.keys) }

// All gives the pairs in order.
func (m *Metadata) All() iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		for _, k := range m.keys {
			if !yield(k, m.values[k]) {
				return
			}
		}
	}
}

// Clone copies the map, not the slices in it.
func (m *Metadata) Clone() *Metadata {
	c := &Metadata{}
	for k, v := range m.All() {
		c.Set(k, v)
	}
	return c
}

// Int is an integer of any width.
func (m *Metadata) Int(key string) (int, error) { return required(m, key, "an integer", toInt) }

// IntOr is Int, or byDefault where the key is not there.
func (m *Metadata) IntOr(key string, byDefault int) (int, error) {
	return optional(m, key, byDefault, "an integer", toInt)
}

// Float is a number of any type.
func (m *Metadata) Float(key string) (float64, error) { return required(m, key, "a number", toFloat) }

// FloatOr is Float, or byDefault where the key is not there.
func (m *Metadata) FloatOr(key string, byDefault float64) (float64, error) {
	return optional(m, key, byDefault, "a number", toFloat)
}

// Bool is a truth value.
func (m *Metadata) Bool(key string) (bool, error) { return required(m, key, "a bool", as[bool]) }

// Text is a string.
func (m *Metadata) Text(key string) (string, error) { return required(m, key, "a string", as[string]) }

// TextOr is Text, or byDefault where the key is not there.
func (m *Metadata) TextOr(key, byDefault string) (string, error) {
	return optional(m, key, byDefault, "a string", as[string])
}

// Texts is an array of strings.
func (m *Metadata) Texts(key string) ([]string, error) {
	return required(m, key, "an array of strings", as[[]string])
}

// Ints is an array of integers of any width. An integer alone is an array of one.
func (m *Metadata) Ints(key string) ([]int, error) {
	return required(m, key, "an array of integers", toInts)
}

// Floats is an array of numbers of any type. A number alone is an array of one.
func (m *Metadata) Floats(key string) ([]float64, error) {
	return required(m, key, "an array of numbers", toFloats)
}

func required[T any](m *Metadata, key, what string, convert func(any) (T, bool)) (T, error) {
	if !m.Has(key) {
		var none T
		return none, fault.New("gguf.metadata", fault.NotFound, "the file has no %s", key).
			Try("the file lacks what its kind of model needs: convert the model again with a newer converter")
	}
	var none T
	return optional(m, key, none, what, convert)
}

func optional[T any](m *Metadata, key string, byDefault T, what string, convert func(any) (T, bool)) (T, error) {
	value, ok := m.values[key]
	if !ok {
		return byDefault, nil
	}
	v, ok := convert(value)
	if !ok {
		return v, fault.New("gguf.metadata", fault.Invalid, "%s is of type %T and not %s", key, value, what)
	}
	return v, nil
}

func as[T any](v any) (T, bool) { t, ok := v.(T); return t, ok }

func toInt(v any) (int, bool) {
	switch v := v.(type) {
	case uint8:
		return int(v), true
	case int8:
		return int(v), true
	case uint16:
		return int(v), true
	case int16:
		return int(v), true
	case uint32:
		return int(v), true
	case int32:
		return int(v), true
	case int64:
		return int(v), true
	case uint64:
		return int(v), v <= math.MaxInt
	}
	return 0, false
}

func toFloat(v any) (float64, bool) {
	switch v := v.(type) {
	case float32:
		return float64(v), true
	case float64:
		return v, true
	}
	i, ok := toInt(v)
	return float64(i), ok
}

func toInts(v any) ([]int, bool) {
	switch v := v.(type) {
	case []uint8:
		return widen[int](v), true
	case []int8:
		return widen[int](v), true
	case []uint16:
		return widen[int](v), true
	case []int16:
		return widen[int](v), true
	case []uint32:
		return widen[int](v), true
	case []int32:
		return widen[int](v), true
	case []int64:
		return widen[int](v), true
	case []uint64:
		if slices.ContainsFunc(v, func(u uint64) bool { return u > math.MaxInt }) {
			return nil, false
		}
		return widen[int](v), true
	}
	i, ok := toInt(v)
	return []int{i}, ok
}

func toFloats(v any) ([]float64, bool) {
	switch v := v.(type) {
	case []float32:
		return widen[float64](v), true
	case []float64:
		return widen[float64](v), true
	}
	if f, ok := toFloat(v); ok {
		return []float64{f}, true
	}
	ints, ok := toInts(v)
	return widen[float64](ints), ok
}

type number interface {
	~uint8 | ~int8 | ~uint16 | ~int16 | ~uint32 | ~int32 | ~uint64 | ~int64 | ~int | ~float32 | ~float64
}

func widen[To, From number](from []From) []To {
	to := make([]To, len(from))
	for i, v := range from {
		to[i] = To(v)
	}
	return to
}
