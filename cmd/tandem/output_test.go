package main

import (
	"encoding/csv"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"tandem/data/rows"
	"tandem/fault"
)

// TestWriteFile: a file is replaced whole or not at all, through links too, which stay; what
// is no file is written to.
func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(at("far"), 0o755))
	must(os.Mkdir(at("far/deep"), 0o755))
	must(os.WriteFile(at("far/old"), []byte("before"), 0o600))
	must(os.Symlink("far/deep", at("dir")))
	must(os.Symlink("../old", at("far/deep/up"))) // from far/deep, not from where dir lies
	must(os.Symlink("dir/up", at("link")))
	must(os.Symlink("far/new", at("dangling")))
	must(os.Symlink("round", at("round")))

	broken := errors.New("broken")
	before, err := os.Stat(at("far/old"))
	must(err)
	for _, name := range []string{"far/old", "link", "dangling", "fresh"} {
		err := writeFile(at(name), func(w io.Writer) error {
			_, err := io.WriteString(w, "half an ans")
			return errors.Join(err, broken)
		})
		if !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if text, err := os.ReadFile(at("far/old")); err != nil || string(text) != "before" {
		t.Errorf("after an answer that broke off: %q, %v", text, err)
	}
	for link, real := range map[string]string{"link": "far/old", "dangling": "far/new", "fresh": "fresh"} {
		must(writeFile(at(link), func(w io.Writer) error { _, err := io.WriteString(w, link); return err }))
		if text, err := os.ReadFile(at(real)); err != nil || string(text) != link {
			t.Errorf("%s: %q, %v", real, text, err)
		}
		if _, err := os.Readlink(at(link)); link != "fresh" && err != nil {
			t.Errorf("%s is a link no more: %v", link, err)
		}
	}
	after, err := os.Stat(at("far/old"))
	must(err)
	if os.SameFile(before, after) {
		t.Error("the file behind the link was written to, not replaced")
	}
	if after.Mode().Perm() != 0o600 {
		t.Errorf("the file's rights became %v", after.Mode())
	}
	for _, name := range []string{".", "far", "far/deep"} {
		list, err := filepath.Glob(filepath.Join(at(name), ".*tmp-*"))
		if must(err); len(list) > 0 {
			t.Errorf("left: %v", list)
		}
	}
	if err := writeFile(at("round"), func(io.Writer) error { return nil }); fault.KindOf(err) == fault.Internal || err == nil {
		t.Errorf("a link to itself: %v", err)
	}

	must(syscall.Mkfifo(at("pipe"), 0o600))
	must(os.Symlink("pipe", at("topipe")))
	read := make(chan string)
	go func() {
		text, _ := os.ReadFile(at("pipe"))
		read <- string(text)
	}()
	must(writeFile(at("topipe"), func(w io.Writer) error { _, err := io.WriteString(w, "through"); return err }))
	if text := <-read; text != "through" {
		t.Errorf("a pipe got %q", text)
	}
}

// TestRecords: what is written as CSV and TSV is read as it was, by this program's own
// reader and by the standard library's.
func TestRecords(t *testing.T) {
	want := [][]string{
		{"row", "label", "note"},
		{"1", "plain", "红色"},
		{"2", "a,b", "tab\there"},
		{"3", `say "no"`, `"`},
		{"4", " before", "after "},
		{"5", "two\nlines", "a\r\nb"},
		{"6", "", "\r"},
		{"7", "01", "\u3000wide\u3000"},
	}
	for f, sep := range map[answerForm]rune{formCSV: ',', formTSV: '\t'} {
		var b strings.Builder
		out := newRecords(&b, f)
		for _, row := range want {
			out.put(row...)
		}
		if out.err != nil {
			t.Fatal(out.err)
		}
		r := csv.NewReader(strings.NewReader(b.String()))
		r.Comma = sep
		got, err := r.ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			for k, v := range want[i] {
				if plain := strings.ReplaceAll(v, "\r\n", "\n"); got[i][k] != plain { // what encoding/csv makes of it
					t.Errorf("%v: encoding/csv reads %q as %q", f, v, got[i][k])
				}
			}
		}
		own, err := rows.New("answer", []byte(b.String()), rows.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(own.Columns(), want[0]) {
			t.Errorf("%v: columns %q", f, own.Columns())
		}
		var row rows.Row
		for _, w := range want[1:] {
			if err := own.Next(&row); err != nil {
				t.Fatal(err)
			}
			for k, v := range w {
				if got := string(row.Values[k].Text); got != v {
					t.Errorf("%v: %q is read as %q", f, v, got)
				}
			}
		}
	}
}

// TestAnswerForm: the name of the file decides, and what is not written is refused.
func TestAnswerForm(t *testing.T) {
	for path, want := range map[string]answerForm{
		"": formPeople, "x": formPeople, "x.txt": formPeople, "/dev/stdout": formPeople, "x.CSV": formCSV, "a.b/x.tsv": formTSV,
		"x.json": formJSON, "x.jsonl": formJSON, "x.ndjson": formJSON, "x.npz": formArrays,
	} {
		if got, err := formOf(path, false); err != nil || got != want {
			t.Errorf("%q: %v, %v", path, got, err)
		}
	}
	for path, json := range map[string]bool{"x.csv": true, "x.tsv": true, "x.parquet": false, "x.xlsx": true, "x.csv.gz": false} {
		if _, err := formOf(path, json); err == nil || fault.RemedyOf(err) == "" {
			t.Errorf("%q, --json %v: %v", path, json, err)
		}
	}
	if got, err := formOf("", true); err != nil || got != formJSON {
		t.Errorf("--json: %v, %v", got, err)
	}
}
