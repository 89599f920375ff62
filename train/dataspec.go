package train

import (
	"context"
	"slices"

	"tandem/data"
	"tandem/fault"
)

// DataSpec says where the examples are, and how they are to be read.
type DataSpec struct {
	Path      string `yaml:"path" help:"a folder or a file of examples, or the name of a built-in set"`
	TestPath  string `yaml:"test_path" help:"what to test with, in the same form; empty: data.split, or the data's own folders"`
	Format    string `yaml:"format" one:"auto csv jsonl parquet idx images tokens" help:"how the examples are kept; auto: found out"`
	LimitRows int    `yaml:"limit_rows" limit:"[0,)" help:"use only the first examples of the training and of the test set; 0: all"`

	Encoding  string               `yaml:"encoding" help:"of CSV and JSONL: utf-8, gb18030, gbk, windows-1252 …; empty: found out"`
	Separator string               `yaml:"separator" help:"of CSV: one character between fields; empty: found out"`
	Header    string               `yaml:"header" one:"auto yes no" help:"of CSV: whether the first row names the columns; auto: found out"`
	Quotes    string               `yaml:"quotes" one:"yes no" help:"of CSV: whether double quotes enclose fields"`
	Names     []string             `yaml:"names" help:"of CSV: names of the columns, instead of the header's"`
	Columns   map[string]data.Kind `yaml:"columns" help:"kinds of columns: integer, float, boolean, category, text or date; others are found out"`
	Missing   []string             `yaml:"missing" help:"texts, and numbers of columns of numbers, that stand for a missing value, besides the empty one; if nothing else is said, of CSV alone"`
	Window    int                  `yaml:"window" limit:"[0,1048576]" help:"of token streams: tokens of an example; 0: 128"`
	Split     SplitSpec            `yaml:"split"`

	// Labels is the column of a table that holds classes, which the family knows.
	Labels string `yaml:"-"`
	// MemoryBytes bounds what examples take in memory; 0: data's own limit. The
	// result does not depend on it, so it's no part of what is written.
	MemoryBytes int64 `yaml:"-"`
}

// SplitSpec says what part of the examples is held out to test with.
type SplitSpec struct {
	Test   float64 `yaml:"test" limit:"[0,1)" help:"part of the examples to test with, where no test set is given"`
	By     string  `yaml:"by" one:"random time group" help:"how it is chosen: by chance, the latest, or whole groups"`
	Column string  `yaml:"column" help:"of time and group: the column to go by"`
}

func (d *DataSpec) setDefaults() {
	setDefault(&d.Format, "auto")
	setDefault(&d.Header, "auto")
	setDefault(&d.Split.By, string(data.ByChance))
	setDefault(&d.Quotes, "yes")
	if d.Missing == nil {
		d.Missing = data.DefaultMissing()
	}
}

// defaultTest is what is held out if nothing is said, and the data has no test set of
// its own.
const defaultTest = 0.1

// Open reads the data. There is a test set: what the spec says, what the data has,
// or a tenth.
func (d DataSpec) Open(ctx context.Context, seed uint64) (train, test *data.Dataset, err error) {
	quotes := d.Quotes == "yes"
	opt := data.Options{
		Encoding: d.Encoding, Separator: d.Separator, Quotes: &quotes, Names: d.Names, Columns: d.Columns,
		Missing: d.Missing, Window: d.Window, TestPath: d.TestPath, MemoryBytes: d.MemoryBytes, Labels: d.Labels,
		Split: data.Split{Test: d.Split.Test, By: data.SplitBy(d.Split.By), Column: d.Split.Column, Seed: seed},
	}
	if slices.Equal(d.Missing, data.DefaultMissing()) {
		opt.Missing = nil // formats that say what is missing keep these texts
	}
	if d.Format != "auto" {
		opt.Format = d.Format
	}
	if d.Header != "auto" {
		header := d.Header == "yes"
		opt.Header = &header
	}
	if opt.TestPath == "" && opt.Split.Test == 0 {
		opt.Split.Test = defaultTest
	}
	if train, test, err = data.Open(ctx, d.Path, opt); err != nil {
		return nil, nil, err
	}
	if (test == nil || test.Len() == 0) && d.Labels != "" && 2*train.Classes(d.Labels) > train.Len() {
		return nil, nil, fault.New("train.open", fault.Invalid, "column %q has %d classes in %d rows, and the first row of each is kept to train with: none is left to test with", d.Labels, train.Classes(d.Labels), train.Len()).
			Try("check model.target, predict a number with --task regress, or give more data")
	}
	if (test == nil || test.Len() == 0) && train.Len() > 1 && opt.Split.Test > 0 {
		return nil, nil, fault.New("train.open", fault.Invalid, "data.split.test is %v: of %d examples that is none to test with", opt.Split.Test, train.Len()).
			Try("set a greater data.split.test, or give data.test_path")
	}
	if test == nil || test.Len() == 0 || train.Len() == 0 {
		return nil, nil, fault.New("train.open", fault.Invalid, "the data has too few examples to hold some out: %d", train.Len()).
			Try("give more data, or data.test_path")
	}
	if n := d.LimitRows; n > 0 {
		train, test = train.Slice(0, min(n, train.Len())), test.Slice(0, min(n, test.Len()))
	}
	return train, test, nil
}
