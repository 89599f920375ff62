package npz

import (
	"archive/zip"
	"io"
	"strings"

	"tandem/fault"
	"tandem/tensor"
)

// Array is a tensor and the name that the file has for it.
type Array struct {
	Name   string
	Tensor *tensor.Tensor
}

// Limits bound what a file may cost.
type Limits struct {
	Bytes  int64 // of all elements
	Arrays int
}

// DefaultLimits suit inputs of a model.
func DefaultLimits() Limits { return Limits{Bytes: 4 << 30, Arrays: 4096} }

const suffix = ".npy"

// Read reads every array of a file of size bytes, in the order of the archive. The name
// stands for the file in errors, which are of kind Invalid, TooLarge or Unsupported.
func Read(r io.ReaderAt, size int64, name string, limits Limits) ([]Array, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fault.Wrap(err, readOp, fault.Invalid, "%s is not an .npz file", name).Try("write it with numpy.savez")
	}
	if len(z.File) > limits.Arrays {
		return nil, fault.New(readOp, fault.TooLarge, "%s has %d arrays, at most %d are read", name, len(z.File), limits.Arrays)
	}
	seen := map[string]bool{}
	left := limits.Bytes
	var list []Array
	for _, f := range z.File {
		key, ok := strings.CutSuffix(f.Name, suffix)
		if !ok {
			return nil, fault.New(readOp, fault.Invalid, "%s has a member %.200q, which is not an array", name, f.Name)
		}
		if seen[key] {
			return nil, fault.New(readOp, fault.Invalid, "%s has two arrays %.200q", name, key)
		}
		seen[key] = true
		t, err := readMember(f, left)
		if err != nil {
			return nil, fault.Wrap(err, readOp, kindOf(err), "%s: array %.200q", name, key).Try(fault.RemedyOf(err))
		}
		left -= sizeOf(t)
		list = append(list, Array{key, t})
	}
	return list, nil
}

// kindOf is Invalid for what the archive's own reader says.
func kindOf(err error) fault.Kind {
	if k := fault.KindOf(err); k != fault.Internal {
		return k
	}
	return fault.Invalid
}

// sizeOf is the memory that a tensor's elements take, in bytes.
func sizeOf(t *tensor.Tensor) int64 {
	n := int64(len(t.Bytes()))
	for _, s := range t.Strings() {
		n += int64(stringBytes + len(s))
	}
	return n
}

// stringBytes is what a string takes besides its text.
const stringBytes = 16

// maxRatio is a little more than what deflate can compress: 1032 to 1.
const maxRatio = 1040

func readMember(f *zip.File, limitBytes int64) (*tensor.Tensor, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	// What the archive says of the size is not to be trusted; what it holds is.
	most := int64(f.CompressedSize64)
	if f.Method != zip.Store {
		most *= maxRatio
	}
	return readArray(r, limitBytes, most)
}

// Write writes arrays as numpy.savez does, without compression. The same arrays give
// the same bytes. Types that NumPy does not have are refused.
func Write(w io.Writer, arrays []Array) error {
	z := zip.NewWriter(w)
	for _, a := range arrays {
		out, err := z.CreateHeader(&zip.FileHeader{Name: a.Name + suffix, Method: zip.Store})
		if err != nil {
			return fault.From(err, writeOp)
		}
		if err := writeArray(out, a.Tensor); err != nil {
			return fault.Wrap(err, writeOp, fault.KindOf(err), "array %.200q", a.Name).Try(fault.RemedyOf(err))
		}
	}
	return fault.From(z.Close(), writeOp)
}

const (
	readOp  = "npz.read"
	writeOp = "npz.write"
)

// Holds reports whether NumPy has elements of type d.
func Holds(d tensor.DType) bool {
	if d == tensor.String {
		return true
	}
	for _, have := range formats() {
		if have == d {
			return true
		}
	}
	return false
}
