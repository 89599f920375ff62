package npz

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"tandem/fault"
	"tandem/tensor"
)

// readArray reads a header and the elements. They may take limitBytes; a source that
// holds at most mostBytes is not believed to hold more.
func readArray(r io.Reader, limitBytes, mostBytes int64) (*tensor.Tensor, error) {
	h, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	size, err := h.size(limitBytes)
	if err != nil {
		return nil, err
	}
	if size > mostBytes {
		return nil, fmt.Errorf("shape %v takes %d bytes, the file is too short for them", h.shape, size)
	}
	data := tensor.AlignedBytes(int(size))
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, fmt.Errorf("it ends within its elements: %w", err)
	}
	// To the end: the archive's reader then compares the checksum.
	switch n, err := r.Read(make([]byte, 1)); {
	case n > 0:
		return nil, fmt.Errorf("there is more after the %d bytes of shape %v", size, h.shape)
	case err != nil && !errors.Is(err, io.EOF):
		return nil, err
	}
	if h.format.dtype == tensor.String {
		return h.strings(data)
	}
	if h.format.big {
		reverse(data, h.format.size)
	}
	if h.fortran {
		data = rowMajor(data, h.shape, h.format.size)
	}
	if h.format.dtype == tensor.Bool {
		for i, b := range data { // any other byte is no bool of Go
			data[i] = min(b, 1)
		}
	}
	return tensor.FromBytes(h.format.dtype, data, h.shape...)
}

// size is how many bytes the elements take in the file.
func (h header) size(limitBytes int64) (int64, error) {
	n, err := h.shape.CheckedLen(math.MaxInt32 * 64)
	if err != nil {
		return 0, err
	}
	each := int64(h.format.size)
	memory := each
	if h.format.dtype == tensor.String {
		memory += stringBytes
	}
	if memory > 0 && int64(n) > limitBytes/memory {
		return 0, fault.New(readOp, fault.TooLarge, "shape %v takes more than the limit of %d MiB", h.shape, limitBytes>>20)
	}
	return int64(n) * each, nil
}

// strings decodes elements of a fixed width: what is unused at their end is zero.
func (h header) strings(data []byte) (*tensor.Tensor, error) {
	if h.fortran && len(h.shape) > 1 {
		data = rowMajor(data, h.shape, h.format.size)
	}
	list := make([]string, h.shape.Len())
	for i := range list {
		b := data[i*h.format.size:][:h.format.size]
		if !h.format.wide {
			list[i] = strings.TrimRight(string(b), "\x00")
			continue
		}
		s, err := h.format.wideText(b)
		if err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
		list[i] = s
	}
	return tensor.OfStrings(list, h.shape...), nil
}

// wideText decodes characters of four bytes.
func (f format) wideText(b []byte) (string, error) {
	var order binary.ByteOrder = binary.LittleEndian
	if f.big {
		order = binary.BigEndian
	}
	var text strings.Builder
	for i := 0; i < len(b); i += 4 {
		c := order.Uint32(b[i:])
		if c > utf8.MaxRune || !utf8.ValidRune(rune(c)) {
			return "", fmt.Errorf("%#x is not a character", c)
		}
		text.WriteRune(rune(c))
	}
	return strings.TrimRight(text.String(), "\x00"), nil
}

func reverse(data []byte, size int) {
	for i := 0; i+size <= len(data); i += size {
		slices.Reverse(data[i : i+size])
	}
}

// rowMajor reorders elements whose first dimension is the fastest.
func rowMajor(data []byte, shape tensor.Shape, size int) []byte {
	out := tensor.AlignedBytes(len(data))
	strides := make([]int, len(shape))
	stride := size
	for i, d := range shape {
		strides[i] = stride
		stride *= d
	}
	at := make([]int, len(shape))
	from := 0
	for to := 0; to < len(out); to += size {
		copy(out[to:to+size], data[from:])
		for i := len(shape) - 1; i >= 0; i-- {
			at[i]++
			from += strides[i]
			if at[i] < shape[i] {
				break
			}
			from -= at[i] * strides[i]
			at[i] = 0
		}
	}
	return out
}

// writeArray writes a header and the elements.
func writeArray(w io.Writer, t *tensor.Tensor) error {
	if t.DType() == tensor.String {
		return writeStrings(w, t)
	}
	for name, d := range formats() {
		if d != t.DType() {
			continue
		}
		order := "<"
		if d.Bits() == 8 {
			order = "|"
		}
		if _, err := w.Write(appendHeader(nil, order+name, t.Shape())); err != nil {
			return fault.From(err, writeOp)
		}
		_, err := w.Write(t.Bytes())
		return fault.From(err, writeOp)
	}
	return fault.New(writeOp, fault.Unsupported, "NumPy has no elements of type %v", t.DType()).Try("cast it to float32 or to an integer first")
}

func writeStrings(w io.Writer, t *tensor.Tensor) error {
	width := 1
	for i, s := range t.Strings() {
		if !utf8.ValidString(s) || strings.HasSuffix(s, "\x00") {
			return fault.New(writeOp, fault.Unsupported, "string %d is not text that NumPy can hold: %.40q", i, s)
		}
		width = max(width, utf8.RuneCountInString(s))
	}
	if _, err := w.Write(appendHeader(nil, fmt.Sprintf("<U%d", width), t.Shape())); err != nil {
		return fault.From(err, writeOp)
	}
	buf := make([]byte, 0, 4*width)
	for _, s := range t.Strings() {
		buf = buf[:0]
		for _, c := range s {
			buf = binary.LittleEndian.AppendUint32(buf, uint32(c))
		}
		if _, err := w.Write(append(buf, make([]byte, 4*width-len(buf))...)); err != nil {
			return fault.From(err, writeOp)
		}
	}
	return nil
}
