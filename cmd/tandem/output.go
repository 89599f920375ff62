package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"tandem/fault"
)

// answerForm is how an answer is written.
type answerForm int

const (
	formPeople answerForm = iota // aligned, in the user's language, rounded
	formJSON                     // an object a line
	formCSV                      // RFC 4180, with the names of the columns in the first line
	formTSV                      // the same, parted by tabs
	formArrays                   // NumPy's
)

// formOf tells the form by the name of the file to write. What has no extension is
// written as it is shown, as .txt is.
func formOf(path string, json bool) (answerForm, error) {
	f := formPeople
	if json {
		f = formJSON
	}
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case "", ".", ".txt": // . is a folder: writing says so
	case ".json", ".jsonl", ".ndjson":
		f = formJSON
	case npzSuffix:
		f = formArrays
	case ".csv", ".tsv":
		if f = formCSV; ext == ".tsv" {
			f = formTSV
		}
		if json {
			return f, usage("%s asks for JSON, and %s for a table", "--json", path).with("leave out --json, or give --output a name that ends in .jsonl")
		}
	default:
		return f, usage("an answer is not written as %s: %s", ext, path).with("give --output a name that ends in .csv, .tsv, .jsonl (or .json), .txt, or .npz for an input in .npz")
	}
	return f, nil
}

// records writes records as CSV or TSV; its first error stays.
type records struct {
	w   io.Writer
	sep string
	err error
}

func newRecords(w io.Writer, f answerForm) *records {
	if f == formTSV {
		return &records{w: w, sep: "\t"}
	}
	return &records{w: w, sep: ","}
}

// put writes a line. A field is quoted where what reads it would take it for something
// else; package encoding/csv leaves spaces at the end bare, which readers take off.
func (r *records) put(fields ...string) {
	line := make([]string, len(fields))
	for i, f := range fields {
		if f == "" || strings.ContainsAny(f, r.sep+"\"\r\n") || strings.TrimSpace(f) != f {
			f = `"` + strings.ReplaceAll(f, `"`, `""`) + `"`
		}
		line[i] = f
	}
	if r.err == nil {
		_, err := io.WriteString(r.w, strings.Join(line, r.sep)+"\n")
		r.err = fault.From(err, "tandem.print")
	}
}

// writeFile writes the file at path whole or not at all: an answer of before stays where
// there is none now. A link stays, and what it leads to is replaced, with the rights that
// it had. What is there and no file, such as a pipe, is written to.
func writeFile(path string, write func(io.Writer) error) (err error) {
	const op = "tandem.write"
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(path); err == nil {
		if !info.Mode().IsRegular() {
			return writeInto(path, write)
		}
		mode = info.Mode().Perm()
	}
	real, err := behindLinks(path)
	if err != nil {
		return fault.From(err, op)
	}
	f, err := os.CreateTemp(filepath.Dir(real), "."+filepath.Base(real)+".tmp-")
	if e, ok := errors.AsType[*fs.PathError](err); ok { // nobody has given the name that it has
		return fault.Wrap(e.Err, op, fault.KindOf(err), "writing %s", path)
	}
	if err != nil {
		return fault.From(err, op)
	}
	err = write(f)
	if err == nil {
		err = f.Chmod(mode)
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), real)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the error that matters is the first
	}
	return err
}

// writeInto writes to what is there.
func writeInto(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return fault.From(err, "tandem.write")
	}
	return errors.Join(write(f), fault.From(f.Close(), "tandem.write"))
}

// maxLinks is how many links after another are followed: as many as Linux does.
const maxLinks = 40

// behindLinks is the path that a link leads to in the end, whether or not anything is
// there: filepath.EvalSymlinks wants that.
func behindLinks(path string) (string, error) {
	given := path
	for range maxLinks {
		to, err := os.Readlink(path)
		if err != nil {
			return path, nil // no link, or nothing yet
		}
		if !filepath.IsAbs(to) {
			dir, err := filepath.EvalSymlinks(filepath.Dir(path))
			if err != nil {
				return "", err
			}
			to = filepath.Join(dir, to)
		}
		path = to
	}
	return "", fault.New("tandem.write", fault.Invalid, "%s is a link that leads nowhere", given).Try("give the path of a file")
}
