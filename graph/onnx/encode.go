package onnx

import (
	"io"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// shareBytes is the size from which a message refers to bytes instead of copying them.
const shareBytes = 4 << 10

// message is a protobuf message under construction: pieces in a row. Weights are
// pieces of their own, so that writing a model takes little memory.
type message struct {
	done [][]byte
	last []byte
	size int64 // of done
}

func (m *message) len() int64 { return m.size + int64(len(m.last)) }

func (m *message) int(num protowire.Number, v int64) {
	m.last = protowire.AppendTag(m.last, num, protowire.VarintType)
	m.last = protowire.AppendVarint(m.last, uint64(v))
}

func (m *message) float(num protowire.Number, v float32) {
	m.last = protowire.AppendTag(m.last, num, protowire.Fixed32Type)
	m.last = protowire.AppendFixed32(m.last, math.Float32bits(v))
}

func (m *message) text(num protowire.Number, s string) {
	m.last = protowire.AppendTag(m.last, num, protowire.BytesType)
	m.last = protowire.AppendString(m.last, s)
}

// optional writes s unless it is empty.
func (m *message) optional(num protowire.Number, s string) {
	if s != "" {
		m.text(num, s)
	}
}

// data refers to b if it is long: it must not change until the message is written.
func (m *message) data(num protowire.Number, b []byte) {
	m.head(num, int64(len(b)))
	if len(b) < shareBytes {
		m.last = append(m.last, b...)
		return
	}
	m.flush()
	m.done = append(m.done, b)
	m.size += int64(len(b))
}

// sub writes a message as a field.
func (m *message) sub(num protowire.Number, inner *message) {
	m.head(num, inner.len())
	m.append(inner)
}

// append writes the fields of another message as m's own.
func (m *message) append(inner *message) {
	if len(inner.done) > 0 {
		m.flush()
		m.done = append(m.done, inner.done...)
		m.size += inner.size
	}
	m.last = append(m.last, inner.last...)
}

func (m *message) head(num protowire.Number, n int64) {
	m.last = protowire.AppendTag(m.last, num, protowire.BytesType)
	m.last = protowire.AppendVarint(m.last, uint64(n))
}

func (m *message) flush() {
	m.done = append(m.done, m.last)
	m.size += int64(len(m.last))
	m.last = nil
}

func (m *message) writeTo(w io.Writer) error {
	for _, b := range m.done {
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	_, err := w.Write(m.last)
	return err
}

func (m *message) entry(num protowire.Number, key, value string) {
	var e message
	e.text(entryKey, key)
	e.text(entryValue, value)
	m.sub(num, &e)
}
