package data

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tandem/fault"
)

// TestBrokenPlaces: what may lie, or not, where data was said to be, for every reader:
// nothing, a folder, an empty one, what may not be read, and what is no file.
func TestBrokenPlaces(t *testing.T) {
	type place struct {
		name string
		make func(t *testing.T, path string)
		kind fault.Kind
		says string
	}
	none := func(*testing.T, string) {}
	folder := func(t *testing.T, path string) { must(t, os.Mkdir(path, 0o755)) }
	closed := func(t *testing.T, path string) {
		if os.Getuid() == 0 {
			t.Skip("NOT TESTED: nothing is forbidden to root")
		}
		must(t, os.WriteFile(path, []byte("a,b\n1,2\n"), 0))
	}
	pipe := func(t *testing.T, path string) { must(t, syscall.Mkfifo(path, 0o644)) }
	nowhere := func(t *testing.T, path string) { must(t, os.Symlink(path+".gone", path)) }
	for _, name := range []string{"x.csv", "x.jsonl", "x.parquet", "x.zip", "x.u16", "x.txt", "x.csv.gz"} {
		for _, p := range []place{
			{"nothing", none, fault.NotFound, "the data cannot be read"},
			{"a link to nothing", nowhere, fault.NotFound, "the data cannot be read"},
			{"an empty folder", folder, fault.Invalid, name + " is an empty folder"},
			{"what may not be read", closed, fault.Denied, "the data cannot be read"},
			{"a pipe", pipe, fault.Invalid, name + " is no file"},
		} {
			t.Run(name+"/"+p.name, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), name)
				p.make(t, path)
				formats := []string{"", FormatCSV, FormatTokens, FormatImages}
				for _, format := range formats {
					_, _, err := Open(t.Context(), path, Options{Format: format})
					if fault.KindOf(err) != p.kind || !strings.Contains(err.Error(), p.says) || !strings.Contains(err.Error(), name) || fault.RemedyOf(err) == "" {
						t.Errorf("format %q: %v (%v), try %q, want %q", format, err, fault.KindOf(err), fault.RemedyOf(err), p.says)
					}
				}
			})
		}
	}
	good := write(t, "x.csv", "a,b\n1,2\n3,4\n")
	for _, name := range []string{"none.csv", "none"} {
		_, _, err := Open(t.Context(), good, Options{TestPath: filepath.Join(t.TempDir(), name)})
		if fault.KindOf(err) != fault.NotFound || !strings.Contains(err.Error(), name) || fault.RemedyOf(err) == "" {
			t.Errorf("no test set: %v", err)
		}
	}
}

// TestHoldingOutByNothing: what has no columns is not split by one, and a set of its own
// is not put in the place of the one that was named.
func TestHoldingOutByNothing(t *testing.T) {
	text, folder := write(t, "x.txt", strings.Repeat("many words ", 500)), t.TempDir()
	for _, c := range []struct {
		path, says string
		opt        Options
	}{
		{text, "no columns to split by: data.split.by is group", Options{Split: Split{Test: 0.1, By: ByGroup, Column: "x"}}},
		{text, "no columns to split by: data.split.by is time", Options{Split: Split{Test: 0.1, By: ByTime, Column: "x"}}},
		{text, "", Options{Split: Split{Test: 0.1, By: ByChance}}},
		{folder, "no columns to split by: data.split.by is group", Options{Format: FormatImages, Split: Split{Test: 0.1, By: ByGroup, Column: "x"}}},
		{folder, "no columns to split by: data.split.by is time", Options{Format: FormatIDX, Split: Split{Test: 0.1, By: ByTime, Column: "x"}}},
		{folder, "images to test with of its own", Options{Format: FormatIDX, TestPath: text}},
	} {
		must(t, os.WriteFile(filepath.Join(folder, "file"), nil, 0o644))
		d, _, err := Open(t.Context(), c.path, c.opt)
		if err == nil {
			must(t, d.Close())
		}
		if c.says == "" && err != nil || c.says != "" && (fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), c.says) || fault.RemedyOf(err) == "") {
			t.Errorf("%v: %v, want %q", c.opt, err, c.says)
		}
	}
}

// TestFoldersWithoutFiles: a folder that has other things than a format's files.
func TestFoldersWithoutFiles(t *testing.T) {
	for _, c := range []struct {
		format string
		files  map[string][]byte
		says   string
	}{
		{FormatCSV, map[string][]byte{".hidden": nil, "_SUCCESS": nil}, "set has no files of a table"},
		{FormatTokens, map[string][]byte{"a.u16": {1, 0, 2, 0}}, "set is a folder"},
		{FormatIDX, map[string][]byte{"other": nil}, "there is no train-images-idx3-ubyte"},
		{FormatImages, map[string][]byte{".hidden": nil}, "set has no pictures to train on"},
	} {
		path, _ := tree(t, c.files)
		_, _, err := Open(t.Context(), path, Options{Format: c.format})
		if k := fault.KindOf(err); k == fault.Internal || err == nil || !strings.Contains(err.Error(), c.says) || fault.RemedyOf(err) == "" {
			t.Errorf("%s: %v (%v), try %q, want %q", c.format, err, k, fault.RemedyOf(err), c.says)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
