package rows

import (
	"bytes"
	"io"
	"slices"
	"unicode/utf8"

	"tandem/fault"
)

// csvBufferBytes is how much of the text lies in memory; more while a row is longer.
const csvBufferBytes = 256 << 10

// csvScanner reads text with separators as RFC 4180 has it, and more that is found:
// rows end with LF or CRLF; empty lines count for nothing; spaces around a field
// that isn't quoted don't either, nor before a quote.
type csvScanner struct {
	in     io.Reader
	sep    byte
	quotes bool
	names  []string

	buf        []byte
	start, end int // of what was read and not given yet
	eof        bool
	line       int // lines before start
	err        error

	fields [][]byte // of the row
	lines  int      // that it takes
	plain  []byte   // fields whose quotes were taken out
	again  bool     // the row is to be given once more
}

func newCSV(in io.Reader, opt Options) (*csvScanner, error) {
	c := &csvScanner{in: in, quotes: opt.Quotes == nil || *opt.Quotes, buf: make([]byte, csvBufferBytes)}
	for c.end < len(c.buf) && !c.eof {
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
	if head := c.buf[:c.end]; bytes.Count(head, []byte{'\r'}) > 1 && !bytes.Contains(head, []byte{'\n'}) {
		return nil, fault.New("rows.open", fault.Invalid, "its lines end in a carriage return alone").Try("save it with line ends of Unix or Windows")
	}
	switch {
	case len(opt.Separator) == 1 && opt.Separator[0] < utf8.RuneSelf && opt.Separator != "\"" && opt.Separator != "\n" && opt.Separator != "\r":
		c.sep = opt.Separator[0]
	case opt.Separator == "":
		c.sep = guessSeparator(c.buf[:c.end], c.quotes)
	default:
		return nil, fault.New("rows.open", fault.Invalid, "%.20q cannot part fields", opt.Separator).Try("give one ASCII character, such as , or ; or a tab")
	}
	return c, c.head(opt)
}

// head reads the names of the columns, or makes some.
func (c *csvScanner) head(opt Options) error {
	if !c.row() {
		if c.err == io.EOF {
			return fault.New("rows.open", fault.Invalid, "it is empty").Try("give a file with rows")
		}
		return c.err
	}
	header := looksLikeHeader(c.fields)
	if opt.Header != nil {
		header = *opt.Header
	}
	c.names = numbered(len(c.fields))
	if header {
		for i, f := range c.fields {
			if c.names[i] = string(f); !utf8.Valid(f) || bytes.ContainsRune(f, utf8.RuneError) {
				return fault.New("rows.open", fault.Invalid, "the name of column %d holds bytes that are not of the text's encoding", i+1).
					Try("name the encoding, such as data.encoding: gb18030, save the file as UTF-8, or correct the first line")
			}
		}
	} else {
		c.again = true
	}
	if len(opt.Names) > 0 {
		if len(opt.Names) != len(c.fields) {
			return fault.New("rows.open", fault.Invalid, "%d names for %d columns", len(opt.Names), len(c.fields)).
				Try("give data.names one name for each column, or check data.separator")
		}
		c.names = slices.Clone(opt.Names)
	}
	return checkNames(c.names)
}

func (c *csvScanner) columns() []string { return c.names }

func (c *csvScanner) next(row *Row) error {
	if !c.row() {
		return c.err
	}
	line := c.line - c.lines + 1
	if len(c.fields) != len(c.names) {
		return atLine(line, "%d fields, not %d", len(c.fields), len(c.names)).
			Try("quote fields that hold the separator or a line's end, or correct the row")
	}
	row.Line, row.Values = line, row.Values[:0]
	for i, f := range c.fields {
		if !utf8.Valid(f) || bytes.ContainsRune(f, utf8.RuneError) {
			return atLine(line, "column %q holds bytes that are not of the text's encoding", c.names[i]).
				Try("name the encoding, such as data.encoding: gb18030, save the file as UTF-8, or correct the row")
		}
		row.Values = append(row.Values, Value{Is: Bare, Text: f})
	}
	return nil
}

// row reads a row into fields. At the end, or if something is wrong, it returns
// false and leaves why in err.
func (c *csvScanner) row() bool {
	if c.again {
		c.again = false
		return true
	}
	for c.err == nil {
		used, ok, err := c.parse(c.buf[c.start:c.end])
		switch {
		case err != nil:
			c.err = err
		case ok:
			if bytes.IndexByte(c.buf[c.start:c.start+used], 0) >= 0 {
				c.err = atLine(c.line+1, "a zero byte, which no text has").
					Try("name the encoding, such as data.encoding: utf-16le; save a workbook as CSV")
				continue
			}
			c.start += used
			c.line += c.lines
			if len(c.fields) == 1 && len(c.fields[0]) == 0 {
				continue // an empty line
			}
			return true
		case c.eof && c.start == c.end:
			c.err = io.EOF
		case c.eof:
			c.err = atLine(c.line+1, "a quote that is not closed").Try("close it, double quotes within a field, or set data.quotes: no")
		default:
			c.err = c.fill()
		}
	}
	return false
}

// fill reads more of the text behind what there is.
func (c *csvScanner) fill() error {
	if c.start > 0 {
		copy(c.buf, c.buf[c.start:c.end])
		c.start, c.end = 0, c.end-c.start
	}
	if c.end == len(c.buf) {
		if c.end >= maxRowBytes {
			return atLine(c.line+1, "the row is longer than %d bytes", maxRowBytes).Try("check its quotes, or set data.quotes: no")
		}
		c.buf = append(c.buf, make([]byte, len(c.buf))...)
	}
	n, err := io.ReadAtLeast(c.in, c.buf[c.end:], 1)
	c.end += n
	if err == io.EOF {
		c.eof, err = true, nil
	}
	return err
}

// parse parts one row. It's not ok if text ends within the row and more may come.
func (c *csvScanner) parse(text []byte) (used int, ok bool, err error) {
	c.fields, c.plain, c.lines = c.fields[:0], c.plain[:0], 1
	i := 0
	for {
		for i < len(text) && text[i] == ' ' && c.sep != ' ' {
			i++
		}
		var field []byte
		if c.quotes && i < len(text) && text[i] == '"' {
			field, i = c.quoted(text, i+1)
			if i < 0 {
				return 0, false, nil
			}
		} else {
			begin := i
			for i < len(text) && text[i] != c.sep && text[i] != '\n' {
				i++
			}
			field = trim(text[begin:i], c.sep)
		}
		if i < len(text) && text[i] != c.sep && text[i] != '\n' {
			return 0, false, atLine(c.line+1, "field %d goes on after its closing quote", len(c.fields)+1).
				Try("double quotes within a field, or set data.quotes: no")
		}
		if i == len(text) && (!c.eof || len(text) == 0) {
			return 0, false, nil
		}
		c.fields = append(c.fields, field)
		if len(c.fields) > maxColumns {
			return 0, false, atLine(c.line+1, "more than %d fields", maxColumns).Try("check the separator")
		}
		if i == len(text) {
			return i, true, nil
		}
		i++
		if text[i-1] == '\n' {
			return i, true, nil
		}
	}
}

// quoted reads a field after its opening quote, and gives where the separator or
// the row's end after it must be; -1 if the text ends first.
func (c *csvScanner) quoted(text []byte, i int) (field []byte, after int) {
	begin, from, doubled := i, len(c.plain), false
	for {
		k := bytes.IndexByte(text[i:], '"')
		if k < 0 || i+k+1 == len(text) && !c.eof {
			return nil, -1
		}
		if doubled {
			c.plain = append(c.plain, text[begin:i+k]...)
		}
		c.lines += bytes.Count(text[i:i+k], []byte{'\n'})
		i += k + 1
		if i < len(text) && text[i] == '"' {
			if !doubled {
				c.plain = append(c.plain, text[begin:i-1]...)
			}
			c.plain, doubled = append(c.plain, '"'), true
			i++
			begin = i
			continue
		}
		field = text[begin : i-1]
		if doubled {
			field = c.plain[from:]
		}
		for i < len(text) && (text[i] == ' ' || text[i] == '\r') && text[i] != c.sep {
			i++
		}
		return field, i
	}
}

// trim takes off what surrounds a field that isn't quoted.
func trim(f []byte, sep byte) []byte {
	for len(f) > 0 && (f[len(f)-1] == ' ' && sep != ' ' || f[len(f)-1] == '\r') {
		f = f[:len(f)-1]
	}
	return f
}
