package npz

import (
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"

	"tandem/fault"
	"tandem/tensor"
)

const magic = "\x93NUMPY"

// maxHeaderBytes and maxRank bound a header; NumPy writes 64 dimensions at most.
const (
	maxHeaderBytes = 64 << 10
	maxRank        = 64
)

// header is what precedes the elements of an array.
type header struct {
	format  format
	fortran bool // the first dimension is the fastest
	shape   tensor.Shape
}

// format is how an element is stored.
type format struct {
	dtype tensor.DType
	big   bool // the high byte first
	size  int  // bytes of an element; of strings those reserved for each
	wide  bool // a string of 4-byte characters, not of bytes
}

// formats are the types by NumPy's letter and size.
func formats() map[string]tensor.DType {
	return map[string]tensor.DType{
		"b1": tensor.Bool, "i1": tensor.Int8, "i2": tensor.Int16, "i4": tensor.Int32, "i8": tensor.Int64,
		"u1": tensor.Uint8, "u2": tensor.Uint16, "u4": tensor.Uint32, "u8": tensor.Uint64,
		"f2": tensor.Float16, "f4": tensor.Float32, "f8": tensor.Float64,
	}
}

// readHeader reads magic, version, length and the dictionary.
func readHeader(r io.Reader) (header, error) {
	var start [8]byte
	if _, err := io.ReadFull(r, start[:]); err != nil {
		return header{}, fmt.Errorf("it ends before its header: %w", err)
	}
	if string(start[:6]) != magic {
		return header{}, fmt.Errorf("it does not begin as an array does")
	}
	var n int
	switch major := start[6]; major {
	case 1:
		var b [2]byte
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return header{}, err
		}
		n = int(binary.LittleEndian.Uint16(b[:]))
	case 2, 3:
		var b [4]byte
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return header{}, err
		}
		n = int(binary.LittleEndian.Uint32(b[:]))
	default:
		return header{}, fault.New(readOp, fault.Unsupported, "version %d of the format is not known", major)
	}
	if n > maxHeaderBytes {
		return header{}, fault.New(readOp, fault.TooLarge, "a header of %d bytes, at most %d are read", n, maxHeaderBytes)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return header{}, fmt.Errorf("it ends within its header: %w", err)
	}
	return parseHeader(string(text))
}

// parseHeader reads the dictionary, which is a Python literal:
// {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }.
func parseHeader(text string) (header, error) {
	s := &scanner{text: text}
	var h header
	seen := map[string]bool{}
	s.expect("{")
	for s.err == nil && !s.accept("}") {
		key := s.quoted()
		if seen[key] {
			s.fail()
		}
		seen[key] = true
		s.expect(":")
		switch key {
		case "descr":
			f, err := parseFormat(s)
			if err != nil {
				return header{}, err
			}
			h.format = f
		case "fortran_order":
			h.fortran = s.accept("True")
			if !h.fortran {
				s.expect("False")
			}
		case "shape":
			h.shape = s.tuple()
		default:
			s.fail()
		}
		if !s.accept(",") {
			s.expect("}")
			break
		}
	}
	if s.err == nil && (strings.TrimSpace(s.text) != "" || len(seen) != 3) {
		s.fail()
	}
	return h, s.err
}

// parseFormat reads a description such as <f4, |b1 or >U7.
func parseFormat(s *scanner) (format, error) {
	if strings.HasPrefix(strings.TrimLeft(s.text, " "), "[") {
		return format{}, fault.New(readOp, fault.Unsupported, "records with fields are not read").Try("store each field as an array of its own")
	}
	d := s.quoted()
	if s.err != nil {
		return format{}, s.err
	}
	unknown := fault.New(readOp, fault.Unsupported, "elements of NumPy's type %.40q are not read", d).
		Try("convert the array to a boolean, integer, float16, float32, float64 or string type first")
	if len(d) < 2 || !strings.Contains("<>|=", d[:1]) {
		return format{}, unknown
	}
	f := format{big: d[0] == '>'}
	if t, ok := formats()[d[1:]]; ok {
		f.dtype, f.size = t, t.Bits()/8
		return f, nil
	}
	n, err := strconv.Atoi(d[2:])
	if err != nil || n < 0 || n > 1<<28 || d[1] != 'U' && d[1] != 'S' {
		return format{}, unknown
	}
	f.dtype, f.wide, f.size = tensor.String, d[1] == 'U', n
	if f.wide {
		f.size = 4 * n
	}
	return f, nil
}

// scanner reads the few forms of Python literals that headers have. The first error
// sticks.
type scanner struct {
	text string
	err  error
}

func (s *scanner) fail() {
	if s.err == nil {
		s.err = fmt.Errorf("its header is not understood at %.40q", s.text)
	}
}

func (s *scanner) accept(token string) bool {
	s.text = strings.TrimLeft(s.text, " \n")
	rest, ok := strings.CutPrefix(s.text, token)
	if ok {
		s.text = rest
	}
	return ok
}

func (s *scanner) expect(token string) {
	if !s.accept(token) {
		s.fail()
	}
}

func (s *scanner) quoted() string {
	quote := "'"
	if s.accept(`"`) {
		quote = `"`
	} else {
		s.expect(quote)
	}
	body, rest, ok := strings.Cut(s.text, quote)
	if !ok || strings.ContainsRune(body, '\\') {
		s.fail()
		return ""
	}
	s.text = rest
	return body
}

// tuple reads (), (2,) or (2, 3); old versions of Python wrote 2L.
func (s *scanner) tuple() tensor.Shape {
	shape := tensor.Shape{}
	s.expect("(")
	for s.err == nil && !s.accept(")") {
		s.accept("") // the spaces
		end := strings.IndexFunc(s.text, func(r rune) bool { return r < '0' || r > '9' })
		if end < 1 {
			s.fail()
			break
		}
		n, err := strconv.Atoi(s.text[:end])
		if err != nil || len(shape) == maxRank {
			s.fail()
			break
		}
		s.text = s.text[end:]
		s.accept("L")
		shape = append(shape, n)
		if !s.accept(",") {
			s.expect(")")
			break
		}
	}
	return shape
}

// appendHeader writes the header that numpy.save would: its length is a multiple of 64.
func appendHeader(b []byte, descr string, shape tensor.Shape) []byte {
	dims := make([]string, len(shape))
	for i, d := range shape {
		dims[i] = strconv.Itoa(d)
	}
	tuple := strings.Join(dims, ", ")
	if len(shape) == 1 {
		tuple += ","
	}
	text := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, tuple)
	const before = len(magic) + 4
	pad := 63 - (before+len(text))%64
	text += strings.Repeat(" ", pad) + "\n"
	b = append(b, magic...)
	b = append(b, 1, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(text)))
	return append(b, text...)
}
