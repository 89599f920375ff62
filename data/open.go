package data

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tandem/data/rows"
	"tandem/fault"
)

const openOp = "data.open"

// Formats of data that Open reads.
const (
	FormatCSV     = "csv"
	FormatJSONL   = "jsonl"
	FormatParquet = "parquet"
	FormatIDX     = "idx"
	FormatImages  = "images"
	FormatTokens  = "tokens"
)

// Options say how data is read. The zero value recognises all of it.
type Options struct {
	Format string // one of those above

	// Of tables: how the text is written. See rows.Options.
	Encoding  string
	Separator string
	Header    *bool
	Quotes    *bool
	Names     []string

	// Columns says of what kind columns of a table are; others' is found out.
	Columns map[string]Kind
	// Missing are the texts that stand for a missing value: see Markers. nil means
	// DefaultMissing, of CSV alone.
	Missing []string

	// Labels is the column of a table that holds classes: none of them may be in the rows
	// to test with alone. Pictures and IDX have theirs.
	Labels string

	// Window is how many tokens an example of a token stream has, 0 means 128.
	Window int

	// TestPath is what to test with, in the same form; without one, Split parts it
	// off.
	TestPath string
	Split    Split

	// MemoryBytes bounds what examples take in memory; 0 means 2 GiB. What does not
	// fit is kept in a file without a name in TMPDIR. The order of examples does
	// not depend on it.
	MemoryBytes int64
}

const defaultMemoryBytes = 2 << 30

// DefaultMissing are the texts that stand for a missing value in CSV, besides the
// empty one.
func DefaultMissing() []string {
	return []string{"NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "?"}
}

// Open reads the data at path: a file, or a folder of files of one form, which it
// recognises by name and content.
//
//	CSV, JSONL, Parquet  a column for each of the file's; in a folder, its files
//	                     in the order of their names, all with the same columns
//	IDX                  "image" and "label": see OpenIDX
//	images               a folder or zip with a folder of pictures for each class, or
//	                     such folders in "train" and "test" or "val": "image", the
//	                     picture's file; "label"; and "file", its name. The classes take
//	                     turns
//	tokens               a file of numbers of 2 bytes, .u16, .bin or .tokens, or of
//	                     4, .u32; or text, whose bytes are the tokens: "tokens",
//	                     int64 [n,Window+1]
//
// A row that is wrong stops it, with file, line, column and what to do. Both
// datasets have the same fields. There is no test set if neither TestPath nor Split
// asks for one. Train owns what both read from.
func Open(ctx context.Context, path string, opt Options) (train, test *Dataset, err error) {
	if opt.MemoryBytes == 0 {
		opt.MemoryBytes = defaultMemoryBytes
	}
	if err := opt.check(); err != nil {
		return nil, nil, err
	}
	info, err := lookAt(path)
	if err == nil && opt.TestPath != "" {
		_, err = lookAt(opt.TestPath)
	}
	if err != nil {
		return nil, nil, err
	}
	format := opt.Format
	if format == "" {
		if format, err = recognise(path, info); err != nil {
			return nil, nil, err
		}
	}
	if err := opt.checkHolding(format, filepath.Base(path)); err != nil {
		return nil, nil, err
	}
	switch format {
	case FormatCSV, FormatJSONL, FormatParquet:
		opt.Format = format
		return openTable(ctx, path, opt)
	case FormatIDX:
		if !info.IsDir() {
			return nil, nil, fault.New(openOp, fault.Invalid, "%s is a file", filepath.Base(path)).Try("give the folder of the set's four files")
		}
		return OpenIDX(os.DirFS(path))
	case FormatImages:
		return openPictures(ctx, path, opt)
	case FormatTokens:
		return openTokens(ctx, path, opt)
	}
	return nil, nil, fault.New(openOp, fault.Invalid, "there is no format %.40q of data", format).
		Try("use csv, jsonl, parquet, idx, images or tokens")
}

func (opt Options) check() error {
	for name, kind := range opt.Columns {
		if !slices.Contains(kinds(), kind) {
			return fault.New(openOp, fault.Invalid, "column %q cannot be of the kind %.40q", name, string(kind)).
				Try("use integer, float, boolean, category, text or date")
		}
	}
	if s := opt.Split; !(s.Test >= 0 && s.Test < 1) {
		return fault.New(openOp, fault.Invalid, "a part of %v to test with", s.Test).Try("give data.split.test a fraction from 0 to below 1")
	}
	if opt.Split.Test > 0 && opt.TestPath != "" {
		return fault.New(openOp, fault.Invalid, "both a test set and a part of the data to test with").Try("give data.test_path or data.split, not both")
	}
	if opt.MemoryBytes < MinMemoryBytes {
		return fault.New(openOp, fault.Invalid, "%d MiB of memory for examples", opt.MemoryBytes>>20).Try(fmt.Sprintf("allow at least %d MiB", MinMemoryBytes>>20))
	}
	return nil
}

// checkHolding refuses a way of holding examples out that a format does not have: what is
// tested with would be others than was asked for.
func (opt Options) checkHolding(format, name string) error {
	switch by := opt.Split.By; {
	case format == FormatIDX && opt.TestPath != "":
		return fault.New(openOp, fault.Invalid, "%s has images to test with of its own, and data.test_path is given", name).Try("leave out data.test_path")
	case slices.Contains([]string{FormatIDX, FormatImages, FormatTokens}, format) && by != "" && by != ByChance:
		return fault.New(openOp, fault.Invalid, "%s has no columns to split by: data.split.by is %s", name, string(by)).
			Try("leave out data.split.by, or part the data yourself and give data.test_path")
	}
	return nil
}

// MinMemoryBytes is room for two windows of a table, and what they're read with.
const MinMemoryBytes = 64 << 20

// lookAt refuses what is neither a file nor a folder that has something in it. What is
// read once only, such as a pipe, will not do: most readers pass over the data twice.
func lookAt(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() && !info.Mode().IsRegular() {
		return nil, fault.New(openOp, fault.Invalid, "%s is no file", filepath.Base(path)).Try("write what it gives to a file first")
	}
	if err == nil && info.IsDir() {
		var entries []fs.DirEntry
		if entries, err = os.ReadDir(path); err == nil && len(entries) == 0 {
			return nil, fault.New(openOp, fault.Invalid, "%s is an empty folder", filepath.Base(path)).Try("give a folder of data")
		}
	}
	if err != nil {
		return nil, fault.Wrap(err, openOp, fault.KindOf(err), "the data cannot be read").Try("give the path of a file or a folder of data")
	}
	return info, nil
}

// recognise tells the format of what is at path.
func recognise(path string, info fs.FileInfo) (string, error) {
	if !info.IsDir() {
		return recogniseFile(path)
	}
	if _, err := readIDXFile(os.DirFS(path), idxNames[1]); fault.KindOf(err) != fault.NotFound || err == nil {
		return FormatIDX, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return "", fault.From(err, openOp)
	}
	for _, e := range entries {
		switch {
		case strings.HasPrefix(e.Name(), "."):
		case e.IsDir():
			return FormatImages, nil
		default:
			return recogniseFile(filepath.Join(path, e.Name()))
		}
	}
	return "", fault.New(openOp, fault.Invalid, "%s has hidden files only", filepath.Base(path)).Try("give a folder of data")
}

func recogniseFile(path string) (string, error) {
	name := strings.ToLower(filepath.Base(path))
	switch filepath.Ext(name) {
	case ".zip":
		return FormatImages, nil
	case ".bin", ".tokens", ".u16", ".u32", ".txt":
		return FormatTokens, nil
	case ".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp":
		return "", fault.New(openOp, fault.Invalid, "%s is a picture in no folder of a class", filepath.Base(path)).
			Try("give a folder or zip with a folder of pictures for each class")
	}
	f, err := rows.Recognise(path)
	return string(f), err
}

// tableFiles are the files of a table, in the order of their names.
func tableFiles(path string) ([]string, error) {
	info, err := lookAt(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var files []string
	err = filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		if err == nil && p != path && strings.HasPrefix(e.Name(), ".") || err == nil && strings.HasPrefix(e.Name(), "_") {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil // what other programs leave beside the data
		}
		if err == nil && e.Type().IsRegular() {
			files = append(files, p)
		}
		return err
	})
	if err == nil && len(files) == 0 {
		err = fault.New(openOp, fault.Invalid, "%s has no files of a table", filepath.Base(path)).Try("give a folder of CSV, JSONL or Parquet files")
	}
	return files, fault.From(err, openOp)
}
