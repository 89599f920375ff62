package gguf

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"tandem/fault"
)

// Writer writes a file: header first, then the tensors one by one, so that not all
// of them need be in memory at once.
type Writer struct {
	w       io.Writer
	tensors []Tensor
	next    int
	align   int
}

// NewWriter writes the header. Data of the tensors is not looked at; WriteTensor
// must follow for each, in order, then Close.
func NewWriter(w io.Writer, m *Metadata, tensors []Tensor) (*Writer, error) {
	const op = "gguf.write"
	align, err := m.IntOr(alignmentKey, defaultAlignment)
	if err != nil {
		return nil, err
	}
	h := append([]byte(magic), 0, 0, 0, 0)
	binary.LittleEndian.PutUint32(h[4:], newest)
	h = binary.LittleEndian.AppendUint64(h, uint64(len(tensors)))
	h = binary.LittleEndian.AppendUint64(h, uint64(m.Len()))
	for key, value := range m.All() {
		h = appendText(h, key)
		if h, err = appendValue(h, value); err != nil {
			return nil, fault.Wrap(err, op, fault.Invalid, "metadata %.200q", key)
		}
	}
	at := 0
	for _, t := range tensors {
		h = appendText(h, t.Name)
		h = binary.LittleEndian.AppendUint32(h, uint32(len(t.Shape)))
		for i := range t.Shape {
			h = binary.LittleEndian.AppendUint64(h, uint64(t.Shape[len(t.Shape)-1-i]))
		}
		h = binary.LittleEndian.AppendUint32(h, uint32(t.Format))
		h = binary.LittleEndian.AppendUint64(h, uint64(at))
		at += roundUp(t.Format.Size(t.Len()), align)
	}
	h = append(h, make([]byte, roundUp(len(h), align)-len(h))...)
	if _, err := w.Write(h); err != nil {
		return nil, fault.From(err, op)
	}
	return &Writer{w: w, tensors: tensors, align: align}, nil
}

func roundUp(n, align int) int { return (n + align - 1) / align * align }

// WriteTensor writes the bytes of the next tensor.
func (w *Writer) WriteTensor(data []byte) error {
	const op = "gguf.write"
	if w.next == len(w.tensors) {
		return fault.New(op, fault.Internal, "a tensor more than the %d of the header", w.next)
	}
	t := &w.tensors[w.next]
	want := t.Format.Size(t.Len())
	if len(data) != want {
		return fault.New(op, fault.Internal, "tensor %.200q has %d bytes, expected %d", t.Name, len(data), want)
	}
	if _, err := w.w.Write(data); err != nil {
		return fault.From(err, op)
	}
	if _, err := w.w.Write(make([]byte, roundUp(want, w.align)-want)); err != nil {
		return fault.From(err, op)
	}
	w.next++
	return nil
}

// Close checks that all tensors have been written.
func (w *Writer) Close() error {
	if w.next != len(w.tensors) {
		return fault.New("gguf.write", fault.Internal, "%d tensors of %d", w.next, len(w.tensors))
	}
	return nil
}

func appendText(h []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(h, uint64(len(s))), s...)
}

// kindOf is the type number of a value that is no array.
func kindOf(v any) (uint32, bool) {
	switch v.(type) {
	case uint8, []uint8:
		return typeUint8, true
	case int8, []int8:
		return typeInt8, true
	case uint16, []uint16:
		return typeUint16, true
	case int16, []int16:
		return typeInt16, true
	case uint32, []uint32:
		return typeUint32, true
	case int32, []int32:
		return typeInt32, true
	case uint64, []uint64:
		return typeUint64, true
	case int64, []int64:
		return typeInt64, true
	case float32, []float32:
		return typeFloat32, true
	case float64, []float64:
		return typeFloat64, true
	case bool, []bool:
		return typeBool, true
	case string, []string:
		return typeText, true
	}
	return 0, false
}

func appendValue(h []byte, v any) ([]byte, error) {
	kind, ok := kindOf(v)
	if !ok {
		return nil, fmt.Errorf("a value of type %T", v)
	}
	switch v := v.(type) {
	case string:
		return appendText(binary.LittleEndian.AppendUint32(h, kind), v), nil
	case []string:
		h = appendArray(h, kind, len(v))
		for _, s := range v {
			h = appendText(h, s)
		}
		return h, nil
	}
	if n := binary.Size(v); isArray(v) {
		h = appendArray(h, kind, n/binary.Size(element(kind)))
	} else {
		h = binary.LittleEndian.AppendUint32(h, kind)
	}
	return binary.Append(h, binary.LittleEndian, v)
}

func appendArray(h []byte, kind uint32, n int) []byte {
	h = binary.LittleEndian.AppendUint32(h, typeArray)
	h = binary.LittleEndian.AppendUint32(h, kind)
	return binary.LittleEndian.AppendUint64(h, uint64(n))
}

func isArray(v any) bool {
	switch v.(type) {
	case []uint8, []int8, []uint16, []int16, []uint32, []int32, []uint64, []int64, []float32, []float64, []bool:
		return true
	}
	return false
}

// element is a value of the type with that number, for its size.
func element(kind uint32) any {
	return [...]any{uint8(0), int8(0), uint16(0), int16(0), uint32(0), int32(0), float32(0), false, "", nil, uint64(0), int64(0), math.Pi}[kind]
}
