package data

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"

	"tandem/data/rows"
	"tandem/fault"
)

// opening reads a table in two passes: one over all rows finds out what the
// columns are, the other keeps them.
type opening struct {
	ctx    context.Context
	opt    Options
	absent *Markers
	files  []string
	tests  int // of them, the last so many are to test with

	guesses []*columnGuess
	index   map[string]int
	place   []int    // of a file's columns among the guesses
	head    []string // the columns of the first file, not of JSONL
	rows    int      // of the files to train on, and to split

	fields []Field
	codes  []map[string]int64 // of categories, by column
	split  splitter
	label  int // the column of classes, or -1
	seen   heldClasses
	tables [2]*table // to train on, to test with
}

func openTable(ctx context.Context, path string, opt Options) (train, test *Dataset, err error) {
	o := &opening{ctx: ctx, opt: opt, absent: NewMarkers(opt.Missing), index: map[string]int{}, label: -1}
	if o.files, err = tableFiles(path); err != nil {
		return nil, nil, err
	}
	if opt.TestPath != "" {
		tests, err := tableFiles(opt.TestPath)
		if err != nil {
			return nil, nil, err
		}
		o.tests, o.files = len(tests), append(o.files, tests...)
	}
	if err := o.find(); err != nil {
		return nil, nil, err
	}
	return o.keep()
}

// missing is the list that has counted: nil where the values said what is missing.
func (opt Options) missing() []string {
	if opt.Missing == nil && opt.Format == FormatCSV {
		return DefaultMissing()
	}
	return opt.Missing
}

// each visits the rows of all files. tests tells whether a row is of those to test
// with.
func (o *opening) each(visit func(row *rows.Row, file string, test bool) error) error {
	var row rows.Row
	for i, path := range o.files {
		r, err := rows.Open(path, rows.Options{
			Format: rows.Format(o.opt.Format), Encoding: o.opt.Encoding, Separator: o.opt.Separator,
			Header: o.opt.Header, Names: o.opt.Names, Quotes: o.opt.Quotes,
		})
		if err != nil {
			return err
		}
		o.place = o.place[:0]
		err = o.sameColumns(path, r.Columns())
		if err != nil {
			return errors.Join(err, r.Close())
		}
		err = o.eachOf(r, &row, func() error { return visit(&row, path, i >= len(o.files)-o.tests) })
		if closed := r.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (o *opening) eachOf(r *rows.Reader, row *rows.Row, visit func() error) error {
	for n := 0; ; n++ {
		if n%4096 == 0 && o.ctx.Err() != nil {
			return fault.From(o.ctx.Err(), openOp)
		}
		err := r.Next(row)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		for names := r.Columns(); len(o.place) < len(names); {
			o.place = append(o.place, o.column(names[len(o.place)]))
		}
		if err := visit(); err != nil {
			return err
		}
	}
}

// sameColumns refuses a file whose columns are not those of the first, in whatever order:
// a misspelt header would become a column of missing values. Objects of JSONL leave out
// what is missing, so that their files may differ as their lines do.
func (o *opening) sameColumns(path string, columns []string) error {
	if rows.Format(o.opt.Format) == rows.JSONL {
		return nil
	}
	if o.head == nil {
		o.head = slices.Clone(columns)
	}
	lacks, more := without(o.head, columns), without(columns, o.head)
	if len(lacks)+len(more) == 0 {
		return nil
	}
	one, first := apart(path, o.files[0])
	var err *fault.Error
	switch {
	case len(more) == 0:
		err = fault.New(openOp, fault.Invalid, "%s lacks columns of %s: %s", one, first, listed(lacks))
	case len(lacks) == 0:
		err = fault.New(openOp, fault.Invalid, "%s has columns that %s lacks: %s", one, first, listed(more))
	default:
		err = fault.New(openOp, fault.Invalid, "%s and %s have different columns: %s against %s", one, first, listed(more), listed(lacks))
	}
	return err.Try("give all files of a set, and those to test with, the same columns in any order; check their first lines, data.header and data.separator")
}

// without are the names of a list that another lacks.
func without(list, other []string) []string {
	has := make(map[string]bool, len(other))
	for _, name := range other {
		has[name] = true
	}
	return slices.DeleteFunc(slices.Clone(list), func(name string) bool { return has[name] })
}

// listed writes some names.
func listed(names []string) string {
	const most = 8
	text := fmt.Sprintf("%q", names[:min(len(names), most)])
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" +%d", more)
	}
	return text
}

// apart names two files by as much of their paths as tells them apart.
func apart(a, b string) (string, string) {
	if filepath.Base(a) == filepath.Base(b) {
		return a, b
	}
	return filepath.Base(a), filepath.Base(b)
}

// column is the place of a column, which is new if no file had it before.
func (o *opening) column(name string) int {
	k, ok := o.index[name]
	if !ok {
		k = len(o.guesses)
		o.index[name] = k
		o.guesses = append(o.guesses, newGuess(name, o.opt.Columns[name]))
	}
	return k
}

// find is the first pass.
func (o *opening) find() error {
	times := newTimes(o.opt)
	err := o.each(func(row *rows.Row, file string, test bool) error {
		for i, v := range row.Values {
			if o.absent.missing(v) {
				continue
			}
			g := o.guesses[o.place[i]]
			if err := g.see(v, file, row.Line); err != nil {
				return err
			}
		}
		if test {
			return nil
		}
		o.rows++
		return times.see(o, row, file)
	})
	if err != nil {
		return err
	}
	if o.rows == 0 {
		return fault.New(openOp, fault.Invalid, "%s has no rows", filepath.Base(o.files[0])).Try("give data with rows")
	}
	for name := range o.opt.Columns {
		if _, ok := o.index[name]; !ok {
			return o.noColumn(name)
		}
	}
	for _, g := range o.guesses {
		f, err := g.field()
		if err != nil {
			return err
		}
		var codes map[string]int64
		if f.Kind == Category {
			codes = make(map[string]int64, len(f.Values))
			for i, v := range f.Values {
				codes[v] = int64(i)
			}
		}
		o.fields, o.codes = append(o.fields, f), append(o.codes, codes)
	}
	if o.opt.Labels != "" {
		if o.label, err = o.columnOf(o.opt.Labels); err != nil {
			return err
		}
	}
	o.split, err = o.newSplitter(times)
	return err
}

func (o *opening) noColumn(name string) error {
	const most = 20
	names := make([]string, min(len(o.guesses), most))
	for i := range names {
		names[i] = o.guesses[i].name
	}
	if more := len(o.guesses) - most; more > 0 {
		return fault.New(openOp, fault.NotFound, "the data has no column %q, it has %q and %d more", name, names, more).Try("use one of these, or check data.separator and data.header")
	}
	return fault.New(openOp, fault.NotFound, "the data has no column %q, it has %q", name, names).Try("use one of these, or check data.separator and data.header")
}

// keep is the second pass.
func (o *opening) keep() (train, test *Dataset, err error) {
	s := &store{limit: o.opt.MemoryBytes / 2}
	defer func() {
		if err != nil {
			_ = s.Close() // the error that stopped it counts
		}
	}()
	o.tables = [2]*table{s.newTable(o.fields), s.newTable(o.fields)}
	values := make([]rows.Value, len(o.fields))
	err = o.each(func(row *rows.Row, file string, test bool) error {
		clear(values)
		for i, v := range row.Values {
			values[o.place[i]] = v
		}
		to, class := o.tables[0], o.classOf(values)
		held := test || o.split.held(values, o.seen.unseen(class))
		if held {
			to = o.tables[1]
		}
		o.seen.add(class, held, place{file, row.Line})
		for i, v := range values {
			if err := o.add(to, i, v, file, row.Line); err != nil {
				return err
			}
		}
		return to.endRow()
	})
	if err != nil {
		return nil, nil, err
	}
	if train, err = o.tables[0].dataset(); err != nil {
		return nil, nil, err
	}
	if test, err = o.tables[1].dataset(); err != nil {
		return nil, nil, err
	}
	if train.Len() == 0 {
		return nil, nil, fault.New(openOp, fault.Invalid, "all %d rows of %s are to test with", o.rows, filepath.Base(o.files[0])).
			Try("set data.split.test smaller, or split by another column")
	}
	train.missing, test.missing = o.opt.missing(), o.opt.missing()
	if test.Len() == 0 {
		test = nil
	}
	if class, at, ok := o.seen.alone(); ok {
		return nil, nil, heldAlone(openOp, o.fields[o.label].Values[class], "%s, line %d, column %q", at.file, at.at, o.opt.Labels)
	}
	// Two windows of the one that is read, and texts made anew of them.
	if need := 3 * max(o.tables[0].windowBytes(), o.tables[1].windowBytes()); need > o.opt.MemoryBytes {
		return nil, nil, fault.New(openOp, fault.TooLarge, "the rows are so long that reading them takes %d MiB of memory, and %d MiB are allowed", need>>20+1, o.opt.MemoryBytes>>20).
			Try("allow more memory, or shorten the rows")
	}
	return train, test, nil
}

// classOf is the class of a row, or -1.
func (o *opening) classOf(values []rows.Value) int64 {
	if o.label < 0 || o.codes[o.label] == nil || o.absent.missing(values[o.label]) {
		return -1
	}
	code, ok := Category.bits(values[o.label], o.codes[o.label])
	if !ok {
		return -1
	}
	return int64(code)
}

// add keeps a value.
func (o *opening) add(to *table, column int, v rows.Value, file string, line int) error {
	f := &o.fields[column]
	if f.Kind == Text {
		if o.absent.missing(v) {
			to.text(column, nil)
			return nil
		}
		var room [32]byte
		to.text(column, textOf(v, room[:0]))
		return nil
	}
	if o.absent.missing(v) {
		to.number(column, f.Kind.missingBits())
		return nil
	}
	bits, ok := f.Kind.bits(v, o.codes[column])
	if !ok {
		var room [32]byte
		return fault.New(openOp, fault.Invalid, "%s, line %d, column %q: %.80q is not of the kind %s", file, line, f.Name, string(textOf(v, room[:0])), string(f.Kind)).
			Try("correct it, list it under data.missing, or give the column another kind under data.columns")
	}
	switch {
	case f.Kind == Float && o.absent.Float(math.Float64frombits(bits)), f.Kind == Integer && o.absent.Integer(int64(bits)):
		bits = f.Kind.missingBits()
	}
	to.number(column, bits)
	return nil
}

// columnOf is the place of a column that an option names.
func (o *opening) columnOf(name string) (int, error) {
	i := slices.IndexFunc(o.guesses, func(g *columnGuess) bool { return g.name == name })
	if i < 0 {
		return 0, o.noColumn(name)
	}
	return i, nil
}
