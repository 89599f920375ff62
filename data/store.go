package data

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"tandem/fault"
	"tandem/tensor"
)

// blockBytes is the size at which a block of a table ends. It decides which
// examples are shuffled among each other, and so never changes.
const blockBytes = 256 << 10

// store keeps the blocks of tables: in memory while they fit, else all of them in
// a file that has no name and goes with the process.
type store struct {
	limit int64 // bytes of blocks in memory
	dir   string
	size  int64 // bytes of all blocks
	file  *os.File
	end   int64 // of the file
	table []*table
	room  sync.Pool // *[]byte, of the size of a block
}

// table is a dataset's blocks in a store.
type table struct {
	store  *store
	fields []Field
	blocks []tableBlock

	columns []columnBuffer // of the block that is being filled
	rows    int
	bytes   int
}

// tableBlock is where a block lies.
type tableBlock struct {
	memory []byte // nil if it's in the file
	offset int64
	bytes  int
	rows   int
}

// columnBuffer is a column of a block as it's kept: 8 bytes a value; or of texts
// their lengths, 4 bytes each, and behind these their bytes.
type columnBuffer struct{ fixed, text []byte }

func (s *store) newTable(fields []Field) *table {
	t := &table{store: s, fields: fields, columns: make([]columnBuffer, len(fields))}
	s.table = append(s.table, t)
	return t
}

// number adds a value to a column.
func (t *table) number(column int, bits uint64) {
	c := &t.columns[column]
	c.fixed = binary.NativeEndian.AppendUint64(c.fixed, bits)
	t.bytes += 8
}

// text adds a text to a column.
func (t *table) text(column int, text []byte) {
	c := &t.columns[column]
	c.fixed = binary.NativeEndian.AppendUint32(c.fixed, uint32(len(text)))
	c.text = append(c.text, text...)
	t.bytes += 4 + len(text)
}

// endRow counts a row to which every column was added.
func (t *table) endRow() error {
	if t.rows++; t.bytes < blockBytes {
		return nil
	}
	return t.endBlock()
}

// endBlock moves the rows since the last block into the store.
func (t *table) endBlock() error {
	if t.rows == 0 {
		return nil
	}
	block := make([]byte, 0, t.bytes+4*len(t.columns))
	for _, c := range t.columns {
		block = binary.NativeEndian.AppendUint32(block, uint32(len(c.text)))
	}
	for i := range t.columns {
		c := &t.columns[i]
		block = append(append(block, c.fixed...), c.text...)
		c.fixed, c.text = c.fixed[:0], c.text[:0]
	}
	b := tableBlock{memory: block, bytes: len(block), rows: t.rows}
	t.rows, t.bytes = 0, 0
	s := t.store
	s.size += int64(len(block))
	t.blocks = append(t.blocks, b)
	if s.file == nil && s.size <= s.limit {
		return nil
	}
	return s.spill()
}

// spill moves every block that is in memory into the file.
func (s *store) spill() error {
	const op = "data.store"
	if s.file == nil {
		f, err := os.CreateTemp(s.dir, "tandem-data-*")
		if err != nil {
			return fault.Wrap(err, op, fault.KindOf(err), "there is no room for data that does not fit in memory").
				Try("set TMPDIR to a folder that can be written, or allow more memory")
		}
		s.file = f
		_ = os.Remove(f.Name()) // not where open files keep their names: Close does it there
	}
	for _, t := range s.table {
		first := len(t.blocks)
		for first > 0 && t.blocks[first-1].memory != nil {
			first--
		}
		for i := range t.blocks[first:] {
			b := &t.blocks[first+i]
			if _, err := s.file.WriteAt(b.memory, s.end); err != nil {
				return fault.Wrap(err, op, fault.KindOf(err), "data that does not fit in memory cannot be written to %s", filepath.Dir(s.file.Name())).
					Try("make room there, set TMPDIR to another folder, or allow more memory")
			}
			b.offset, b.memory = s.end, nil
			s.end += int64(b.bytes)
		}
	}
	return nil
}

// Close frees the memory and the file.
func (s *store) Close() error {
	for _, t := range s.table {
		t.blocks = nil
	}
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	_ = os.Remove(s.file.Name()) // it's gone already, where that could be
	s.file = nil
	return fault.From(err, "data.close")
}

// dataset is what was added.
func (t *table) dataset() (*Dataset, error) {
	if err := t.endBlock(); err != nil {
		return nil, err
	}
	t.columns = nil
	rows := make([]int, len(t.blocks))
	for i, b := range t.blocks {
		rows[i] = b.rows
	}
	return newStream(t.fields, t, rows), nil
}

// windowBytes is the most memory that a window of the table takes.
func (t *table) windowBytes() int64 {
	sizes := make([]int, len(t.blocks))
	for i, b := range t.blocks {
		sizes[i] = b.bytes
	}
	slices.Sort(sizes)
	var sum int64
	for _, n := range sizes[max(0, len(sizes)-windowBlocks):] {
		sum += int64(n)
	}
	return sum
}

func (t *table) Close() error { return t.store.Close() }

func (t *table) load(block, lo, hi int, dst []*tensor.Tensor) error {
	b := t.blocks[block]
	if b.memory != nil {
		t.unpack(b.memory, b.rows, lo, hi, dst)
		return nil
	}
	room, _ := t.store.room.Get().(*[]byte)
	if room == nil || len(*room) < b.bytes {
		buf := make([]byte, max(b.bytes, blockBytes+4096))
		room = &buf
	}
	defer t.store.room.Put(room)
	if _, err := t.store.file.ReadAt((*room)[:b.bytes], b.offset); err != nil {
		return fault.Wrap(err, "data.read", fault.KindOf(err), "data that was moved out of memory cannot be read")
	}
	t.unpack((*room)[:b.bytes], b.rows, lo, hi, dst)
	return nil
}

// unpack copies the rows lo to hi of a block of so many.
func (t *table) unpack(block []byte, rows, lo, hi int, dst []*tensor.Tensor) {
	at := 4 * len(t.fields)
	for i, f := range t.fields {
		text := int(binary.NativeEndian.Uint32(block[4*i:]))
		if f.DType != tensor.String {
			copy(dst[i].Bytes(), block[at+8*lo:at+8*hi])
			at += 8 * rows
			continue
		}
		lengths := block[at : at+4*rows]
		at += 4 * rows
		unpackTexts(dst[i].Strings(), lengths, block[at:at+text], lo, hi)
		at += text
	}
}

// unpackTexts makes one allocation for all of them.
func unpackTexts(dst []string, lengths, text []byte, lo, hi int) {
	length := func(i int) int { return int(binary.NativeEndian.Uint32(lengths[4*i:])) }
	begin := 0
	for i := range lo {
		begin += length(i)
	}
	end := begin
	for i := lo; i < hi; i++ {
		end += length(i)
	}
	all, at := string(text[begin:end]), 0
	for i := lo; i < hi; i++ {
		dst[i-lo] = all[at : at+length(i)]
		at += length(i)
	}
}
