package oip

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"tandem/fault"
)

// maxDepth bounds the nesting of JSON: a tensor's rank, and the objects around it.
const maxDepth = 64

// scanner reads JSON tokens. It never recurses, so that nesting costs no stack.
type scanner struct {
	b []byte
	i int
}

func (s *scanner) fail(format string, args ...any) error {
	return invalid(format+" at byte %d", append(args, s.i)...)
}

func invalid(format string, args ...any) error {
	return fault.New("oip.request", fault.Invalid, format, args...)
}

// peek skips white space and returns the next byte; 0 at the end.
func (s *scanner) peek() byte {
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case ' ', '\n', '\t', '\r':
			s.i++
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) expect(c byte) error {
	if got := s.peek(); got != c {
		return s.unexpected(string(rune(c)))
	}
	s.i++
	return nil
}

func (s *scanner) unexpected(want string) error {
	if s.peek() == 0 && s.i >= len(s.b) {
		return s.fail("the JSON ends where %s is expected", want)
	}
	return s.fail("%q where %s is expected", s.b[s.i], want)
}

// fields calls f for each member of an object, with the scanner at its value.
func (s *scanner) fields(f func(name []byte) error) error {
	if err := s.expect('{'); err != nil {
		return err
	}
	if s.peek() == '}' {
		s.i++
		return nil
	}
	for {
		name, err := s.text()
		if err != nil {
			return err
		}
		if err := s.expect(':'); err != nil {
			return err
		}
		if err := f(name); err != nil {
			return err
		}
		if s.peek() == ',' {
			s.i++
			continue
		}
		return s.expect('}')
	}
}

// items calls f for each element of an array, with the scanner at it.
func (s *scanner) items(f func() error) error {
	if err := s.expect('['); err != nil {
		return err
	}
	if s.peek() == ']' {
		s.i++
		return nil
	}
	for {
		if err := f(); err != nil {
			return err
		}
		if s.peek() == ',' {
			s.i++
			continue
		}
		return s.expect(']')
	}
}

// text reads a string. The result may share the scanner's bytes.
func (s *scanner) text() ([]byte, error) {
	if s.peek() != '"' {
		return nil, s.unexpected("a string")
	}
	start, end := s.i+1, s.i+1
	escaped := false
	for {
		n := bytes.IndexByte(s.b[end:], '"')
		if n < 0 {
			return nil, s.fail("a string is not closed")
		}
		slashes := 0
		for i := end + n - 1; i >= start && s.b[i] == '\\'; i-- {
			slashes++
		}
		escaped = escaped || bytes.IndexByte(s.b[end:end+n], '\\') >= 0
		end += n
		if slashes%2 == 0 {
			break
		}
		end++
	}
	raw := s.b[start:end]
	if !utf8.Valid(raw) {
		return nil, s.fail("a string is not UTF-8")
	}
	for _, c := range raw {
		if c < ' ' {
			return nil, s.fail("a string has a control character")
		}
	}
	if escaped {
		var plain string
		if err := json.Unmarshal(s.b[start-1:end+1], &plain); err != nil {
			return nil, s.fail("a string has an escape that JSON does not know")
		}
		raw = []byte(plain)
	}
	s.i = end + 1
	return raw, nil
}

// literal reads one of the words true, false and null.
func (s *scanner) literal(word string) bool {
	s.peek()
	if !bytes.HasPrefix(s.b[s.i:], []byte(word)) {
		return false
	}
	s.i += len(word)
	return true
}

// boolean reads true or false.
func (s *scanner) boolean() (value, ok bool) {
	if s.literal("true") {
		return true, true
	}
	return false, s.literal("false")
}

// integer reads a number without fraction or exponent.
func (s *scanner) integer() (int64, bool) {
	s.peek()
	n, next := scanNumber(s.b, s.i)
	if next < 0 {
		return 0, false
	}
	v, ok := n.int64()
	if ok {
		s.i = next
	}
	return v, ok
}

// skip passes over an array that is read later. It finds its end only: what is in it is
// checked when it is read.
func (s *scanner) skip() error {
	depth := 0
	for {
		switch c := s.peek(); {
		case c == '[' || c == '{':
			if depth++; depth > maxDepth {
				return s.fail("the JSON is nested more than %d deep", maxDepth)
			}
			s.i++
		case c == ']' || c == '}':
			depth--
			s.i++
		case c == '"':
			if _, err := s.text(); err != nil {
				return err
			}
		case c == 0:
			return s.unexpected("a value")
		default:
			s.i++
			if depth == 0 {
				return s.fail("data is not an array")
			}
		}
		if depth <= 0 {
			return nil
		}
	}
}

// scalar reads the value of a parameter: string, bool, int64 or float64.
func (s *scanner) scalar() (any, error) {
	switch c := s.peek(); {
	case c == '"':
		text, err := s.text()
		return string(text), err
	case c == 't' || c == 'f':
		if v, ok := s.boolean(); ok {
			return v, nil
		}
	case c == '-' || c >= '0' && c <= '9':
		if v, ok := s.integer(); ok {
			return v, nil
		}
		n, next := scanNumber(s.b, s.i)
		if next < 0 {
			break
		}
		v, ok := n.float64(s.b[s.i:next])
		s.i = next
		if !ok {
			return nil, s.fail("a number is out of range")
		}
		return v, nil
	}
	return nil, s.unexpected("a string, number or boolean")
}
