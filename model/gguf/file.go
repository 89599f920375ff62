package gguf

import (
	"errors"

	"tandem/fault"
	"tandem/tensor/block"
	"tandem/tensor/mapped"
)

// File is an open file. Its tensors share the mapped bytes: they are read only, and
// gone after Close.
type File struct {
	Paths    []string // one, or those of all parts
	Version  int
	Metadata *Metadata
	Tensors  []Tensor // in the order of the file
	byName   map[string]int
	files    []*mapped.File
}

// Tensor is a name for encoded numbers.
type Tensor struct {
	Name   string
	Format block.Format
	// Shape is row-major: [rows, columns] for a matrix, the reverse of the file's
	// order. A row is a whole number of blocks.
	Shape []int
	Data  []byte // Format.Size(Len()) bytes
}

// Len is the number of elements.
func (t *Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Float32s decodes all elements. A format without a codec is Unsupported.
func (t *Tensor) Float32s() ([]float32, error) {
	if !t.Format.Codec() {
		return nil, fault.New("gguf.decode", fault.Unsupported, "tensor %.200q is encoded as %v, which Tandem does not read", t.Name, t.Format).
			Try("use a file in F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K or Q6_K")
	}
	x := make([]float32, t.Len())
	block.Decode(t.Format, x, t.Data)
	return x, nil
}

// Open maps the file at path and checks all of it but the tensors' numbers: sizes
// as types and shapes say, aligned offsets inside the file without overlap, no name
// or key twice. Of a model in parts any may be given: the others are found beside it
// by their names. Errors are of kind Invalid or Unsupported, or that of the file
// system.
func Open(path string) (*File, error) {
	f, err := openPart(path)
	if err != nil {
		return nil, err
	}
	paths, err := f.parts()
	if err == nil && len(paths) == 1 {
		return f, nil
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return OpenParts(paths...)
}

// openPart opens a file by itself.
func openPart(path string) (*File, error) {
	const op = "gguf.open"
	m, err := mapped.Open(path)
	if err != nil {
		return nil, fault.From(err, op) // it names the path
	}
	f, err := parse(m.Bytes())
	if err != nil {
		_ = m.Close() // the error that matters is the first
		kind := fault.Invalid
		if fault.KindOf(err) != fault.Internal {
			kind = fault.KindOf(err)
		}
		return nil, fault.Wrap(err, op, kind, "%s", path).Try("the file is damaged, incomplete or not GGUF: fetch or convert it again")
	}
	f.Paths, f.files = []string{path}, []*mapped.File{m}
	return f, nil
}

// Close unmaps the file.
func (f *File) Close() error {
	var errs []error
	for _, m := range f.files {
		errs = append(errs, m.Close())
	}
	f.files = nil
	return errors.Join(errs...)
}

// Forget gives back the memory that holds what has been read of the file: f has no
// metadata and lists no tensors any more, and what is touched of their data is read again.
func (f *File) Forget() {
	f.Metadata, f.Tensors, f.byName = nil, nil, nil
	for _, m := range f.files {
		m.Forget(m.Bytes())
	}
}

// Tensor finds a tensor by name.
func (f *File) Tensor(name string) (*Tensor, bool) {
	i, ok := f.byName[name]
	if !ok {
		return nil, false
	}
	return &f.Tensors[i], true
}
