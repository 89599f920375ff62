package rows

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/parquet-go/parquet-go"

	"tandem/fault"
)

// TestParquet: numbers, texts and what is missing, over several reads.
func TestParquet(t *testing.T) {
	type record struct {
		ID   int64    `parquet:"id"`
		X    *float64 `parquet:"x,optional"`
		Word string   `parquet:"word"`
		Yes  bool     `parquet:"yes"`
	}
	var list []record
	for i := range 1000 {
		r := record{ID: int64(i), Word: "w", Yes: i%2 == 1}
		if i%3 > 0 {
			x := float64(i) / 4
			r.X = &x
		}
		list = append(list, r)
	}
	path := filepath.Join(t.TempDir(), "x.parquet")
	if err := parquet.WriteFile(path, list); err != nil {
		t.Fatal(err)
	}
	r, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	index := map[string]int{}
	for i, name := range r.Columns() {
		index[name] = i
	}
	var row Row
	for i := range 1000 {
		if err := r.Next(&row); err != nil {
			t.Fatal(err)
		}
		id, x, yes := row.Values[index["id"]], row.Values[index["x"]], row.Values[index["yes"]]
		if id.Is != Int || id.Int != int64(i) || yes.Is != Bool || yes.Int != int64(i%2) || row.Line != i+1 ||
			(x.Is == Missing) != (i%3 == 0) || x.Is == Float && x.Float != float64(i)/4 || string(row.Values[index["word"]].Text) != "w" {
			t.Fatalf("row %d: %+v", i, row.Values)
		}
	}
	if err := r.Next(&row); err != io.EOF {
		t.Error(err)
	}
	whole, _ := os.ReadFile(path)
	for cut := 0; cut < len(whole); cut += 97 {
		changed := bytes.Clone(whole)
		changed[cut] ^= 0x55
		read(t, "x.parquet", changed)
	}
}

// read reads all rows of whatever it is: an error or rows, never a panic.
func read(t *testing.T, name string, text []byte) {
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := Open(path, Options{})
	if err == nil {
		var row Row
		for err == nil {
			err = r.Next(&row)
		}
		_ = r.Close()
	}
	if err != io.EOF && (fault.KindOf(err) == fault.Internal || fault.RemedyOf(err) == "") {
		t.Errorf("%v (%v), remedy %q", err, fault.KindOf(err), fault.RemedyOf(err))
	}
}

func FuzzCSV(f *testing.F) {
	f.Add([]byte("a,b\n1,\"2\"\"\n3\"\n"))
	f.Add([]byte("\xc3\xfb;\"\n"))
	f.Fuzz(func(t *testing.T, text []byte) { read(t, "x.csv", text) })
}

func FuzzJSONL(f *testing.F) {
	f.Add([]byte("{\"a\":1,\"b\":\"\\u00e9\"}\n{\"b\":null,\"c\":-1e5}\n"))
	f.Fuzz(func(t *testing.T, text []byte) { read(t, "x.jsonl", text) })
}
