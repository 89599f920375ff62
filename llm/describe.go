package llm

import (
	"cmp"
	"errors"
	"maps"
	"slices"

	"tandem/graph"
)

// Description is what a model's files say of it.
type Description struct {
	Config      *Config
	Chats       bool // it has a template for conversations
	Parameters  int64
	WeightBytes int64
	Encodings   []Encoded // how weights are kept, the largest part first
}

// Encoded is the part of a model's weights that has one encoding.
type Encoded struct {
	Encoding string // f32, or as block.Format names it
	Tensors  int
	Bytes    int64
}

// Describe reads what Open would open, and makes nothing ready to run: that takes
// milliseconds. Errors are those of Open.
func Describe(path string) (_ Description, err error) {
	m := &Model{}
	defer func() { err = errors.Join(err, m.Close()) }()
	w, err := m.read(path, Options{})
	if err != nil {
		return Description{}, err
	}
	d := Description{Config: m.config, Chats: m.Chats(), WeightBytes: w.bytes()}
	parts := map[string]Encoded{}
	for _, c := range w.byName {
		name := string(c.Encoding)
		if c.Encoding == graph.Dense {
			name = "f32"
		}
		e := parts[name]
		parts[name] = Encoded{name, e.Tensors + 1, e.Bytes + int64(len(c.Data))}
		d.Parameters += int64(c.Shape.Len())
	}
	d.Encodings = slices.SortedFunc(maps.Values(parts), func(a, b Encoded) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Encoding, b.Encoding))
	})
	return d, nil
}
