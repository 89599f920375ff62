package data

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"tandem/fault"
	"tandem/tensor"
)

const idxOp = "data.idx"

// firstReadBytes is what's allocated before any data has arrived. A header may
// claim as much as the limit in a file of a few bytes.
const firstReadBytes = 1 << 20

// ReadIDX reads a file in the IDX format of the MNIST set, plain or compressed by
// gzip: two zero bytes, a type, the number of dimensions, each dimension as a
// big-endian uint32, then the big-endian elements. The name is for errors. The
// elements may take limitBytes, and memory grows with what has arrived, not with
// what the header claims.
func ReadIDX(r io.Reader, name string, limitBytes int64) (*tensor.Tensor, error) {
	src := &idxReader{name: name}
	buffered := bufio.NewReaderSize(r, 64<<10)
	src.r = buffered
	if magic, _ := buffered.Peek(2); len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, src.failed(err, "its gzip header")
		}
		src.r = z
	}
	dtype, shape, err := src.header()
	if err != nil {
		return nil, err
	}
	size, err := src.size(dtype, shape, limitBytes)
	if err != nil {
		return nil, err
	}
	elements, err := src.elements(size)
	if err != nil {
		return nil, err
	}
	if err := src.end(size); err != nil {
		return nil, err
	}
	toLittleEndian(elements, dtype.Bits()/8)
	t, err := tensor.FromBytes(dtype, elements, shape...)
	if err != nil {
		return nil, fault.Wrap(err, idxOp, fault.Internal, "%s", name)
	}
	return t, nil
}

type idxReader struct {
	r    io.Reader // decompressed
	name string
}

func (s *idxReader) header() (tensor.DType, tensor.Shape, error) {
	var magic [4]byte
	if _, err := io.ReadFull(s.r, magic[:]); err != nil {
		return 0, nil, s.failed(err, "the 4 bytes of its magic number")
	}
	dtype := idxType(magic[2])
	if magic[0] != 0 || magic[1] != 0 || dtype == tensor.Undefined || magic[3] == 0 {
		return 0, nil, s.invalid("begins with % x; an IDX file begins with 00 00, a type (08, 09, 0b, 0c, 0d or 0e) and the number of dimensions", magic).
			Try("give the IDX file itself, plain or compressed by gzip")
	}
	raw := make([]byte, 4*int(magic[3]))
	if _, err := io.ReadFull(s.r, raw); err != nil {
		return 0, nil, s.failed(err, fmt.Sprintf("the sizes of its %d dimensions", magic[3]))
	}
	shape := make(tensor.Shape, magic[3])
	for i := range shape {
		shape[i] = int(binary.BigEndian.Uint32(raw[4*i:]))
	}
	return dtype, shape, nil
}

func idxType(code byte) tensor.DType {
	switch code {
	case 0x08:
		return tensor.Uint8
	case 0x09:
		return tensor.Int8
	case 0x0b:
		return tensor.Int16
	case 0x0c:
		return tensor.Int32
	case 0x0d:
		return tensor.Float32
	case 0x0e:
		return tensor.Float64
	}
	return tensor.Undefined
}

// size is the number of bytes that the elements take.
func (s *idxReader) size(dtype tensor.DType, shape tensor.Shape, limitBytes int64) (int, error) {
	limit := min(max(limitBytes, 0), math.MaxInt/16) / int64(dtype.Bits()/8)
	n, err := shape.CheckedLen(int(limit))
	if err != nil {
		return 0, s.invalid("claims %v elements of %v, more than the limit of %d bytes", shape, dtype, limitBytes).
			Try("check that the file is whole, or raise the limit")
	}
	return dtype.ByteLen(n), nil
}

// elements reads size bytes into memory that grows fourfold as they arrive.
func (s *idxReader) elements(size int) ([]byte, error) {
	b := tensor.AlignedBytes(min(size, firstReadBytes))
	for have := 0; ; {
		n, err := io.ReadFull(s.r, b[have:])
		have += n
		if err != nil {
			return nil, s.failed(err, fmt.Sprintf("its elements: %d of the %d bytes that its header claims are there", have, size))
		}
		if have == size {
			return b, nil
		}
		more := tensor.AlignedBytes(min(size, 4*len(b)))
		copy(more, b)
		b = more
	}
}

// end checks that nothing follows; for gzip it also brings the check of its sum.
func (s *idxReader) end(size int) error {
	var one [1]byte
	n, err := io.ReadFull(s.r, one[:])
	if n > 0 {
		return s.invalid("goes on after the %d bytes of elements that its header claims", size).
			Try("check that the file is of the set and was not appended to")
	}
	if err != io.EOF {
		return s.failed(err, "its end")
	}
	return nil
}

func (s *idxReader) invalid(format string, args ...any) *fault.Error {
	return fault.New(idxOp, fault.Invalid, "%s "+format, append([]any{s.name}, args...)...)
}

// failed tells a file that's wrong from one that could not be read.
func (s *idxReader) failed(err error, where string) error {
	_, corrupt := errors.AsType[flate.CorruptInputError](err)
	switch {
	case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF):
		return s.invalid("ends in %s", where).Try("the file is cut off: get it again")
	case corrupt, errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum):
		return fault.Wrap(err, idxOp, fault.Invalid, "%s is not sound gzip in %s", s.name, where).
			Try("the file is damaged: get it again")
	}
	return fault.Wrap(err, idxOp, fault.KindOf(err), "%s could not be read in %s", s.name, where)
}

func toLittleEndian(b []byte, size int) {
	if size < 2 {
		return
	}
	for i := 0; i < len(b); i += size {
		slices.Reverse(b[i : i+size])
	}
}
