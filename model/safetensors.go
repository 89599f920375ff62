package model

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"tandem/fault"
	"tandem/tensor"
	"tandem/tensor/mapped"
)

// NamedTensor is one tensor of a safetensors file.
type NamedTensor struct {
	Name   string
	Tensor *tensor.Tensor
}

// Safetensors is an open file. Its tensors share the mapped file: they are read
// only, and gone after Close.
type Safetensors struct {
	Tensors  []NamedTensor // in the order of the header
	Metadata map[string]string
	file     *mapped.File
}

// Close unmaps the file.
func (s *Safetensors) Close() error { return s.file.Close() }

// Forget gives back the memory that holds what has been read of the file: what is touched
// again is read again.
func (s *Safetensors) Forget() { s.file.Forget(s.file.Bytes()) }

const (
	maxHeaderBytes = 100_000_000 // as the format says
	headerAlign    = 64          // bytes: where the data begins
	metadataKey    = "__metadata__"
)

// safetensorsTypes are the format's names of element types.
func safetensorsTypes() map[string]tensor.DType {
	return map[string]tensor.DType{
		"BOOL": tensor.Bool, "U8": tensor.Uint8, "I8": tensor.Int8, "U16": tensor.Uint16, "I16": tensor.Int16,
		"U32": tensor.Uint32, "I32": tensor.Int32, "U64": tensor.Uint64, "I64": tensor.Int64,
		"F16": tensor.Float16, "BF16": tensor.BFloat16, "F32": tensor.Float32, "F64": tensor.Float64,
		"F8_E4M3": tensor.Float8E4M3FN, "F8_E5M2": tensor.Float8E5M2, "F8_E8M0": tensor.Float8E8M0,
		"F4": tensor.Float4E2M1, "C64": tensor.Complex64,
	}
}

// WriteSafetensors writes tensors and metadata in the safetensors format. The
// header lists them in the given order. The data begins on a 64-byte boundary;
// within it, larger elements come first, so that each tensor is aligned to its
// element although the format has no room for gaps. Equal arguments give equal
// bytes.
func WriteSafetensors(w io.Writer, tensors []NamedTensor, metadata map[string]string) error {
	const op = "model.writeSafetensors"
	header, order, err := safetensorsHeader(tensors, metadata)
	if err != nil {
		return fault.Wrap(err, op, fault.Invalid, "")
	}
	if len(header) > maxHeaderBytes {
		return fault.New(op, fault.TooLarge, "the header would have %d bytes, at most %d are allowed", len(header), maxHeaderBytes)
	}
	if _, err := w.Write(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...)); err != nil {
		return fault.From(err, op)
	}
	for _, i := range order {
		if _, err := w.Write(tensors[i].Tensor.Bytes()); err != nil {
			return fault.From(err, op)
		}
	}
	return nil
}

// safetensorsHeader makes the padded header, and the order in which the tensors'
// bytes follow it.
func safetensorsHeader(tensors []NamedTensor, metadata map[string]string) (header []byte, order []int, err error) {
	order = make([]int, len(tensors))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return tensors[b].Tensor.DType().Bits() - tensors[a].Tensor.DType().Bits()
	})
	begin := make([]int, len(tensors))
	at := 0
	for _, i := range order {
		begin[i] = at
		at += len(tensors[i].Tensor.Bytes())
	}
	names := map[tensor.DType]string{}
	for name, d := range safetensorsTypes() {
		names[d] = name
	}
	h := bytes.NewBufferString("{")
	if len(metadata) > 0 {
		fmt.Fprintf(h, "%s:{", quote(metadataKey))
		for i, key := range slices.Sorted(maps.Keys(metadata)) {
			if err := cmp.Or(checkText(key), checkUTF8(metadata[key])); err != nil {
				return nil, nil, fmt.Errorf("metadata: %w", err)
			}
			fmt.Fprintf(h, "%s%s:%s", comma(i), quote(key), quote(metadata[key]))
		}
		h.WriteString("}")
	}
	seen := map[string]bool{metadataKey: true}
	for i, t := range tensors {
		d := t.Tensor.DType()
		if err := checkText(t.Name); err != nil || seen[t.Name] {
			return nil, nil, fmt.Errorf("tensor name %.200q is taken or too long or not UTF-8", t.Name)
		}
		seen[t.Name] = true
		if names[d] == "" || d.Bits()*t.Tensor.Len()%8 != 0 {
			return nil, nil, fmt.Errorf("tensor %.200q: safetensors cannot hold %v", t.Name, t.Tensor)
		}
		shape, _ := json.Marshal(orEmpty([]int(t.Tensor.Shape()))) // integers cannot fail
		fmt.Fprintf(h, `%s%s:{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`,
			comma(h.Len()-1), quote(t.Name), names[d], shape, begin[i], begin[i]+len(t.Tensor.Bytes()))
	}
	h.WriteString("}")
	for (8+h.Len())%headerAlign != 0 {
		h.WriteByte(' ')
	}
	return h.Bytes(), order, nil
}

func comma(i int) string {
	if i == 0 {
		return ""
	}
	return ","
}

func quote(s string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic(err) // a string cannot fail
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// ReadSafetensors maps the file at path and checks all of its header: offsets
// inside the file, without overlap or gap, sizes as type and shape say, no name
// twice. Errors are of kind Invalid, or that of the file system.
func ReadSafetensors(path string) (*Safetensors, error) {
	const op = "model.readSafetensors"
	f, err := mapped.Open(path)
	if err != nil {
		return nil, fault.Wrap(err, op, fault.KindOf(err), "%s", path)
	}
	s, err := parseSafetensors(f.Bytes())
	if err != nil {
		_ = f.Close() // the error that matters is the first
		return nil, fault.Wrap(err, op, fault.Invalid, "%s", path).Try("the file is damaged or not safetensors: fetch or write it again")
	}
	s.file = f
	return s, nil
}

func parseSafetensors(data []byte) (*Safetensors, error) {
	if len(data) < 8 {
		return nil, fmt.Errorf("%d bytes are less than a header", len(data))
	}
	n := binary.LittleEndian.Uint64(data)
	if n > maxHeaderBytes || n > uint64(len(data)-8) {
		return nil, fmt.Errorf("a header of %d bytes in a file of %d bytes; at most %d are allowed", n, len(data), maxHeaderBytes)
	}
	header, body := data[8:8+n], data[8+n:]
	entries, metadata, err := parseHeader(header)
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if err := checkExtents(entries, len(body)); err != nil {
		return nil, err
	}
	s := &Safetensors{Metadata: metadata, Tensors: make([]NamedTensor, len(entries))}
	types := safetensorsTypes()
	for i, e := range entries {
		d, ok := types[e.DType]
		if !ok {
			return nil, fmt.Errorf("tensor %.200q has the element type %.40q, which is not known", e.name, e.DType)
		}
		t, err := tensor.FromBytes(d, body[e.Offsets[0]:e.Offsets[1]:e.Offsets[1]], e.Shape...)
		if err != nil {
			return nil, fmt.Errorf("tensor %.200q: %w", e.name, err)
		}
		if d == tensor.Bool && slices.ContainsFunc(t.Bytes(), func(b byte) bool { return b > 1 }) {
			return nil, fmt.Errorf("tensor %.200q has bytes that are neither false nor true", e.name)
		}
		s.Tensors[i] = NamedTensor{e.name, t}
	}
	return s, nil
}

// headerEntry is what the header tells of one tensor.
type headerEntry struct {
	name    string
	DType   string `json:"dtype"`
	Shape   []int  `json:"shape"`
	Offsets []int  `json:"data_offsets"` // begin and end, from the end of the header
}

// parseHeader reads the header's JSON object token by token: a map would lose the
// order of the names, and one that is there twice.
func parseHeader(header []byte) ([]headerEntry, map[string]string, error) {
	if len(header) == 0 || header[0] != '{' {
		return nil, nil, fmt.Errorf("it does not begin with '{'")
	}
	dec := json.NewDecoder(bytes.NewReader(header))
	dec.DisallowUnknownFields()
	if _, err := dec.Token(); err != nil {
		return nil, nil, err
	}
	var (
		entries  []headerEntry
		metadata map[string]string
		seen     = map[string]bool{}
	)
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, nil, err
		}
		name, _ := key.(string) // a key is nothing else
		if seen[name] {
			return nil, nil, fmt.Errorf("%.200q is there twice", name)
		}
		seen[name] = true
		if name == metadataKey {
			if err := dec.Decode(&metadata); err != nil {
				return nil, nil, fmt.Errorf("metadata: %w", err)
			}
			continue
		}
		e := headerEntry{name: name}
		if err := dec.Decode(&e); err != nil {
			return nil, nil, fmt.Errorf("tensor %.200q: %w", name, err)
		}
		if err := e.check(); err != nil {
			return nil, nil, fmt.Errorf("tensor %.200q: %w", name, err)
		}
		entries = append(entries, e)
	}
	if _, err := dec.Token(); err != nil {
		return nil, nil, err
	}
	if rest := header[dec.InputOffset():]; len(bytes.TrimRight(rest, " ")) > 0 {
		return nil, nil, fmt.Errorf("%d bytes follow its end", len(rest))
	}
	return entries, metadata, nil
}

func (e *headerEntry) check() error {
	if len(e.Offsets) != 2 || e.Offsets[0] < 0 || e.Offsets[0] > e.Offsets[1] {
		return fmt.Errorf("data_offsets are %v, expected begin and end", e.Offsets)
	}
	if e.Shape == nil || len(e.Shape) > maxRank {
		return fmt.Errorf("it has no shape, or one of more than %d dimensions", maxRank)
	}
	if n, err := tensor.Shape(e.Shape).CheckedLen(math.MaxInt / 256); err != nil || n < 0 {
		return err
	}
	return nil
}

// checkExtents checks that the tensors' bytes follow each other without overlap or
// gap, from the first byte of the body to its last.
func checkExtents(entries []headerEntry, size int) error {
	order := make([]*headerEntry, len(entries))
	for i := range entries {
		order[i] = &entries[i]
	}
	slices.SortFunc(order, func(a, b *headerEntry) int { return slices.Compare(a.Offsets, b.Offsets) })
	at := 0
	for _, e := range order {
		if e.Offsets[0] != at {
			return fmt.Errorf("tensor %.200q begins at byte %d, the one before it ends at %d", e.name, e.Offsets[0], at)
		}
		at = e.Offsets[1]
	}
	if at != size {
		return fmt.Errorf("the tensors end at byte %d, the data at %d", at, size)
	}
	return nil
}
