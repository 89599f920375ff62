package rows

import (
	"fmt"
	"io"
	"math"
	"math/big"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"tandem/fault"
)

const microsPerDay = 86_400_000_000

// Limits of decimals: those of the widest that Arrow has.
const (
	maxScale        = 76
	maxDecimalBytes = 32
)

// parquetRows is how many rows are read at a time.
const parquetRows = 256

// parquetScanner reads flat Parquet files: columns of single values.
type parquetScanner struct {
	groups []parquet.RowGroup
	rows   parquet.Rows
	names  []string
	turn   []func(parquet.Value) Value // by column
	buf    []parquet.Row
	have   int // rows in buf
	used   int // of them
	line   int
}

func newParquet(f io.ReaderAt, size int64) (p *parquetScanner, err error) {
	defer catch(&err)
	if err := checkFooter(f, size); err != nil {
		return nil, err
	}
	file, err := parquet.OpenFile(f, size, parquet.SkipBloomFilters(true), parquet.SkipPageIndex(true))
	if err != nil {
		return nil, fault.Wrap(err, "rows.open", fault.Invalid, "it is not a whole Parquet file").Try("write the file anew")
	}
	for i := range file.Metadata().RowGroups {
		for j := range file.Metadata().RowGroups[i].Columns {
			if err := checkPages(f, size, &file.Metadata().RowGroups[i].Columns[j].MetaData); err != nil {
				return nil, err
			}
		}
	}
	p = &parquetScanner{buf: make([]parquet.Row, parquetRows)}
	for _, g := range file.RowGroups() {
		if g.NumRows() > 0 { // pages that are not there cannot be read
			p.groups = append(p.groups, g)
		}
	}
	for _, path := range file.Schema().Columns() {
		leaf, ok := file.Schema().Lookup(path...)
		if !ok || len(path) != 1 || leaf.MaxRepetitionLevel > 0 {
			return nil, fault.New("rows.open", fault.Unsupported, "column %q holds a list or an object", strings.Join(path, ".")).
				Try("write its parts as columns of their own")
		}
		turn, err := turnOf(path[0], leaf.Node.Type())
		if err != nil {
			return nil, err
		}
		p.names, p.turn = append(p.names, path[0]), append(p.turn, turn)
	}
	if len(p.names) == 0 {
		return nil, fault.New("rows.open", fault.Invalid, "it has no columns").Try("give a file with columns")
	}
	return p, checkNames(p.names)
}

// catch turns a panic of the library, which a damaged file can cause, into an error.
func catch(err *error) {
	if r := recover(); r != nil {
		*err = fault.New("rows.parquet", fault.Invalid, "the Parquet file is damaged: %s", fmt.Sprint(r)).Try("write the file anew")
	}
}

// turnOf tells how the values of a column are read.
func turnOf(name string, typ parquet.Type) (func(parquet.Value) Value, error) {
	var meaning format.LogicalTypeValue
	if l := typ.LogicalType(); l != nil {
		meaning = l.Value
	}
	if _, ok := meaning.(*format.NullType); ok {
		return func(parquet.Value) Value { return Value{} }, nil // of any kind: there are no values
	}
	switch typ.Kind() {
	case parquet.Boolean:
		return func(v parquet.Value) Value {
			if v.Boolean() {
				return Value{Is: Bool, Int: 1}
			}
			return Value{Is: Bool}
		}, nil
	case parquet.Int32:
		if m, ok := meaning.(*format.IntType); ok && !m.IsSigned {
			return func(v parquet.Value) Value { return Value{Is: Int, Int: int64(v.Uint32())} }, nil
		}
		return whole(meaning, func(v parquet.Value) int64 { return int64(v.Int32()) }), nil
	case parquet.Int64:
		if m, ok := meaning.(*format.IntType); ok && !m.IsSigned {
			return func(v parquet.Value) Value {
				if n := v.Uint64(); n > math.MaxInt64 {
					return Value{Is: Float, Float: float64(n)}
				}
				return Value{Is: Int, Int: v.Int64()}
			}, nil
		}
		return whole(meaning, parquet.Value.Int64), nil
	case parquet.Float:
		return func(v parquet.Value) Value { return Value{Is: Float, Float: float64(v.Float())} }, nil
	case parquet.Double:
		return func(v parquet.Value) Value { return Value{Is: Float, Float: v.Double()} }, nil
	case parquet.ByteArray, parquet.FixedLenByteArray:
		if m, ok := meaning.(*format.DecimalType); ok && m.Scale >= 0 && m.Scale <= maxScale {
			return func(v parquet.Value) Value { return Value{Is: Float, Float: decimal(v.ByteArray(), m.Scale)} }, nil
		}
		if _, ok := meaning.(*format.DecimalType); !ok && typ.Kind() == parquet.ByteArray {
			return func(v parquet.Value) Value { return Value{Is: Text, Text: v.ByteArray()} }, nil
		}
	}
	return nil, fault.New("rows.open", fault.Unsupported, "column %q is of the type %s", name, typ.String()).
		Try("write it as a number, a text, a boolean, a date or a timestamp in 64 bits")
}

// decimal is a number of two's complement, highest byte first, of so many decimal places.
func decimal(b []byte, scale int32) float64 {
	if len(b) > maxDecimalBytes {
		return math.Inf(1) // which is refused where it stands
	}
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	v, _ := new(big.Rat).SetFrac(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)).Float64()
	return v
}

// whole tells what whole numbers mean.
func whole(meaning format.LogicalTypeValue, number func(parquet.Value) int64) func(parquet.Value) Value {
	switch m := meaning.(type) {
	case *format.DateType:
		return func(v parquet.Value) Value { return Value{Is: Date, Int: number(v) * microsPerDay} }
	case *format.DecimalType:
		unit := math.Pow10(int(m.Scale))
		return func(v parquet.Value) Value { return Value{Is: Float, Float: float64(number(v)) / unit} }
	case *format.TimestampType:
		if unit := m.Unit.Value.Duration(); unit >= time.Microsecond {
			return func(v parquet.Value) Value { return Value{Is: Date, Int: number(v) * int64(unit/time.Microsecond)} }
		}
		return func(v parquet.Value) Value { // nanoseconds: of microseconds those that are whole
			n := number(v)
			return Value{Is: Date, Int: (n - (n%1000+1000)%1000) / 1000}
		}
	}
	return func(v parquet.Value) Value { return Value{Is: Int, Int: number(v)} }
}

func (p *parquetScanner) columns() []string { return p.names }

func (p *parquetScanner) next(row *Row) (err error) {
	defer catch(&err)
	for p.used == p.have {
		if err := p.read(); err != nil {
			return err
		}
	}
	values := p.buf[p.used]
	p.used++
	p.line++
	row.Line, row.Values = p.line, row.Values[:0]
	for range p.names {
		row.Values = append(row.Values, Value{})
	}
	for _, v := range values {
		k := v.Column()
		if k < 0 || k >= len(p.names) || v.IsNull() {
			continue
		}
		if row.Values[k] = p.turn[k](v); row.Values[k].Is == Text && !utf8.Valid(row.Values[k].Text) {
			return atLine(p.line, "column %q holds bytes that are no text", p.names[k]).Try("write it as text in UTF-8, or leave the column out")
		}
	}
	return nil
}

// read fills buf with some rows of the next row group that has any.
func (p *parquetScanner) read() error {
	if p.rows == nil {
		if len(p.groups) == 0 {
			return io.EOF
		}
		p.rows, p.groups = p.groups[0].Rows(), p.groups[1:]
	}
	n, err := p.rows.ReadRows(p.buf)
	p.have, p.used = n, 0
	if err == nil && n > 0 {
		return nil
	}
	closed := p.rows.Close()
	p.rows = nil
	if err == nil || err == io.EOF {
		err = closed
	}
	if err != nil {
		return atLine(p.line+1, "the Parquet file is damaged: %v", err).Try("write the file anew")
	}
	return nil
}

// Close frees the pages that are held.
func (p *parquetScanner) Close() (err error) {
	defer catch(&err)
	if p.rows == nil {
		return nil
	}
	return p.rows.Close()
}
