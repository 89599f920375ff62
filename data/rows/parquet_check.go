package rows

import (
	"encoding/binary"
	"io"

	"github.com/parquet-go/parquet-go/format"

	"tandem/fault"
)

// What is checked before the library reads: it allocates for a text what its length says,
// so that a damaged file of a few bytes could take gigabytes. What cannot be followed is
// left to the library.

const (
	headerBytes   = 64 << 10  // of a page's header that are looked at
	maxPageBytes  = 256 << 20 // of a page, unpacked
	maxStructures = 64        // within each other
)

// checkFooter looks at the description at the end of a file: [… | footer | length | "PAR1"].
func checkFooter(f io.ReaderAt, size int64) error {
	var end [8]byte
	if size < 12 {
		return nil
	}
	if _, err := f.ReadAt(end[:], size-8); err != nil {
		return err
	}
	if string(end[4:]) != "PAR1" {
		return nil // no Parquet file, or a cut one: its reader says so
	}
	length := int64(binary.LittleEndian.Uint32(end[:]))
	if length > size-12 {
		return tooLong("the description at the end of the file")
	}
	footer := make([]byte, length)
	if _, err := f.ReadAt(footer, size-8-length); err != nil {
		return err
	}
	w := thriftWalk{b: footer, left: length}
	if w.structure(0); w.beyond {
		return tooLong("the description at the end of the file")
	}
	return nil
}

// checkPages looks at the header of every page of a column.
func checkPages(f io.ReaderAt, size int64, column *format.ColumnMetaData) error {
	at := column.DataPageOffset
	if d := column.DictionaryPageOffset; d > 0 {
		at = min(at, d)
	}
	end := min(size, at+column.TotalCompressedSize)
	window := make([]byte, headerBytes)
	for at >= 0 && at < end {
		n, err := f.ReadAt(window[:min(headerBytes, size-at)], at)
		if err != nil && err != io.EOF {
			return err
		}
		w := thriftWalk{b: window[:n], left: size - at}
		w.structure(0)
		switch {
		case w.beyond || w.sizes[2] > maxPageBytes:
			return tooLong("a page")
		case w.lost || w.sizes[3] < 0:
			return nil
		}
		at += int64(w.at) + w.sizes[3]
	}
	return nil
}

func tooLong(what string) error {
	return fault.New("rows.open", fault.Invalid, "%s says to be longer than the file, or than %d MiB", what, maxPageBytes>>20).Try("write the file anew")
}

// thriftWalk passes over a structure of Thrift's compact protocol.
type thriftWalk struct {
	b      []byte
	at     int
	left   int64    // bytes that a text can have
	sizes  [4]int64 // the numbers 1 to 3 of the outermost structure
	beyond bool     // something says to be longer than what is left
	lost   bool     // b ends before, or is something else
}

func (w *thriftWalk) stop() bool { return w.beyond || w.lost }

func (w *thriftWalk) byte() byte {
	if w.at >= len(w.b) {
		w.lost = true
		return 0
	}
	w.at++
	return w.b[w.at-1]
}

func (w *thriftWalk) uvarint() uint64 {
	v, n := binary.Uvarint(w.b[min(w.at, len(w.b)):])
	if n <= 0 {
		w.lost = true
		return 0
	}
	w.at += n
	return v
}

func (w *thriftWalk) structure(depth int) {
	if depth > maxStructures {
		w.lost = true
	}
	for id := 0; !w.stop(); {
		head := w.byte()
		if head == 0 {
			return
		}
		if step := int(head >> 4); step > 0 {
			id += step
		} else {
			id = int(zigzag(w.uvarint()))
		}
		if kind := head & 15; depth == 0 && kind == 5 && id >= 0 && id < len(w.sizes) {
			w.sizes[id] = zigzag(w.uvarint())
		} else {
			w.value(kind, depth)
		}
	}
}

func zigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// value passes over a value of a kind that follows a field's head.
func (w *thriftWalk) value(kind byte, depth int) {
	switch kind {
	case 1, 2: // in the head
	case 3:
		w.byte()
	case 4, 5, 6:
		w.uvarint()
	case 7:
		w.skip(8)
	case 8:
		w.skip(w.uvarint())
	case 9, 10:
		w.list(depth)
	case 12:
		w.structure(depth + 1)
	default: // maps, which Parquet has none of
		w.lost = true
	}
}

func (w *thriftWalk) skip(n uint64) {
	switch {
	case w.stop():
	case n > uint64(max(0, w.left-int64(w.at))):
		w.beyond = true
	case n > uint64(len(w.b)-w.at):
		w.lost = true
	default:
		w.at += int(n)
	}
}

func (w *thriftWalk) list(depth int) {
	head := w.byte()
	n := uint64(head >> 4)
	if n == 15 {
		n = w.uvarint()
	}
	if n > uint64(max(0, w.left-int64(w.at))) { // an element has a byte at least
		w.beyond = true
	}
	kind := head & 15
	if kind == 1 || kind == 2 {
		kind = 3 // a truth value has a byte of its own in a list
	}
	for range n {
		if w.stop() {
			return
		}
		w.value(kind, depth)
	}
}
