package rows

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"tandem/fault"
)

// Format is how a file holds its rows.
type Format string

const (
	CSV     Format = "csv"
	JSONL   Format = "jsonl"
	Parquet Format = "parquet"
)

// Limits of what a row may be.
const (
	maxRowBytes = 16 << 20
	maxColumns  = 1 << 14
)

// Is says what a file tells of a value.
type Is uint8

const (
	Missing Is = iota
	Bare       // Text of which nothing more is known: a field of CSV
	Text       // Text
	Number     // Text, a number as JSON writes it
	Bool       // Int is 0 or 1
	Int        // Int
	Float      // Float
	Date       // Int is microseconds since 1970
)

// Value is one value of a row. Its text is valid until the next row is read.
type Value struct {
	Is    Is
	Text  []byte
	Int   int64
	Float float64
}

// Row is the values of one row by column. A row of JSONL may have fewer than the
// reader has columns: what it does not name is missing.
type Row struct {
	Values []Value
	Line   int // of the file where the row begins, or in Parquet the row; from 1
}

// Options say how a file is to be read. The zero value recognises all of it.
type Options struct {
	Format    Format
	Encoding  string   // of text, as the WHATWG names it: utf-8, gb18030, gbk, windows-1252 …
	Separator string   // of CSV: one ASCII character
	Header    *bool    // whether the first row of CSV holds the names of the columns
	Names     []string // of CSV's columns, instead of the header's
	Quotes    *bool    // whether " quotes fields of CSV; it does if nothing is said
}

// Reader gives the rows of a file from its beginning. It belongs to one goroutine.
type Reader struct {
	path   string
	format scanner
	file   *os.File  // nil if New made the reader
	unzip  io.Closer // nil if the file isn't compressed
}

// scanner is what differs between formats.
type scanner interface {
	// columns are those known so far: JSONL may name more in any row.
	columns() []string
	// next fills row, whose memory it may use, or returns io.EOF.
	next(row *Row) error
}

const unreadable = "give the path of a file that may be read"

// Open begins to read a file. A name that ends in .gz, .bz2 or .zst is of a
// compressed file.
func Open(path string, opt Options) (*Reader, error) {
	const op = "rows.open"
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(err, op, fault.KindOf(err), "the data cannot be read").Try(unreadable)
	}
	r := &Reader{path: path, file: f}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fault.New(op, fault.Invalid, "it is a folder").Try("name a file")
	}
	if err == nil {
		err = r.open(f, info.Size(), opt)
	}
	if err != nil {
		return nil, errors.Join(locate(path, err), r.Close())
	}
	return r, nil
}

// New begins to read what a file of that name holds. Errors call it so.
func New(name string, content []byte, opt Options) (*Reader, error) {
	r := &Reader{path: name}
	if err := r.open(bytes.NewReader(content), int64(len(content)), opt); err != nil {
		return nil, errors.Join(locate(name, err), r.Close())
	}
	return r, nil
}

// bytesOf is what formats read: text from the beginning, Parquet from anywhere.
type bytesOf interface {
	io.Reader
	io.ReaderAt
}

func (r *Reader) open(f bytesOf, size int64, opt Options) (err error) {
	in, closer, name, err := unpack(f, r.path)
	if err != nil {
		return err
	}
	r.unzip = closer
	text := bufio.NewReaderSize(in, sniffBytes)
	if opt.Format == "" {
		opt.Format = recognise(name, text)
	}
	if opt.Format != Parquet {
		r.format, err = newText(text, opt)
		return err
	}
	if in != io.Reader(f) {
		return fault.New("rows.open", fault.Unsupported, "it is a compressed Parquet file").Try("unpack it: Parquet compresses within")
	}
	r.format, err = newParquet(f, size)
	return err
}

// newText reads text in either format.
func newText(text *bufio.Reader, opt Options) (scanner, error) {
	if opt.Format != CSV && opt.Format != JSONL {
		return nil, fault.New("rows.open", fault.Invalid, "there is no format %.40q of rows of text", string(opt.Format)).Try("use csv or jsonl")
	}
	decoded, err := decode(text, opt.Encoding)
	if err != nil {
		return nil, err
	}
	if opt.Format == JSONL {
		return newJSON(decoded), nil
	}
	return newCSV(decoded, opt)
}

// unpack gives what a compressed file holds, and the name that it would have.
func unpack(f io.Reader, path string) (in io.Reader, c io.Closer, name string, err error) {
	name = strings.ToLower(filepath.Base(path))
	ext := filepath.Ext(name)
	inner := strings.TrimSuffix(name, ext)
	switch ext {
	case ".gz":
		z, err := gzip.NewReader(f)
		if err != nil {
			return nil, nil, "", fault.Wrap(err, "rows.open", fault.Invalid, "it is not compressed by gzip").Try("check that the file is whole")
		}
		return z, z, inner, nil
	case ".bz2":
		return bzip2.NewReader(f), nil, inner, nil
	case ".zst":
		z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
		if err != nil {
			return nil, nil, "", fault.Wrap(err, "rows.open", fault.Invalid, "it is not compressed by zstd").Try("check that the file is whole")
		}
		return z, z.IOReadCloser(), inner, nil
	}
	return f, nil, name, nil
}

// recognise tells the format by the name, or else by how the file begins.
func recognise(name string, text *bufio.Reader) Format {
	switch filepath.Ext(name) {
	case ".csv", ".tsv", ".tab":
		return CSV
	case ".jsonl", ".ndjson":
		return JSONL
	case ".parquet", ".pq":
		return Parquet
	}
	head, _ := text.Peek(512)
	switch begin := strings.TrimLeft(string(head), "\ufeff \t\r\n"); {
	case strings.HasPrefix(string(head), "PAR1"):
		return Parquet
	case strings.HasPrefix(begin, "{"), strings.HasPrefix(begin, "[") && strings.HasPrefix(strings.TrimLeft(begin[1:], " \t\r\n"), "{"):
		return JSONL // or a list of objects, which its reader refuses
	}
	return CSV
}

// Columns are the names of the columns known so far.
func (r *Reader) Columns() []string { return r.format.columns() }

// Next reads the next row into row, or returns io.EOF.
func (r *Reader) Next(row *Row) error {
	err := r.format.next(row)
	if err == nil || err == io.EOF {
		return err
	}
	return locate(r.path, err)
}

// Locate says of an error about a row which file it is in.
func (r *Reader) Locate(err error) error { return locate(r.path, err) }

// Close closes the file.
func (r *Reader) Close() error {
	if c, ok := r.format.(io.Closer); ok {
		_ = c.Close() // frees what reading took; nothing was written
	}
	if r.unzip != nil {
		_ = r.unzip.Close() // what it reports, reading has reported
	}
	if r.file == nil {
		return nil
	}
	return fault.From(r.file.Close(), "rows.close")
}

// locate names the file.
func locate(path string, err error) error {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		kind := fault.KindOf(err)
		if kind == fault.Internal || errors.Is(err, io.ErrUnexpectedEOF) {
			kind = fault.Invalid // what a decompressor found
		}
		return fault.Wrap(err, "rows.read", kind, "%s cannot be read", filepath.Base(path)).Try("check that the file is whole")
	}
	return fault.Wrap(err, "rows.read", e.Kind, "%s", filepath.Base(path)).Try(e.Remedy)
}

// AtLine names the line of what is wrong.
func atLine(line int, format string, args ...any) *fault.Error {
	cause := fault.New("", fault.Invalid, format, args...)
	return fault.Wrap(cause, "rows.read", fault.Invalid, "line %d", line)
}

// checkNames refuses names that can't tell columns apart.
func checkNames(names []string) error {
	if len(names) > maxColumns {
		return fault.New("rows.open", fault.TooLarge, "%d columns, at most %d are read", len(names), maxColumns).Try("check the separator, or keep fewer columns")
	}
	seen := map[string]int{}
	for i, name := range names {
		if name == "" {
			return fault.New("rows.open", fault.Invalid, "column %d has no name in the first line", i+1).Try("name every column in the first line, or give data.names; pandas leaves its index out by to_csv(…, index=False)")
		}
		if k, ok := seen[name]; ok {
			return fault.New("rows.open", fault.Invalid, "columns %d and %d are both called %q", k+1, i+1, name).Try("rename one of them, or give data.names")
		}
		seen[name] = i
	}
	return nil
}

// numbered names columns that have no names.
func numbered(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("column%d", i+1)
	}
	return names
}

// Recognise tells the format of a file by its name, or else by how it begins.
func Recognise(path string) (Format, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fault.Wrap(err, "rows.open", fault.KindOf(err), "the data cannot be read").Try(unreadable)
	}
	defer f.Close()
	in, closer, name, err := unpack(f, path)
	if err != nil {
		return "", locate(path, err)
	}
	if closer != nil {
		defer closer.Close()
	}
	return recognise(name, bufio.NewReader(in)), nil
}
