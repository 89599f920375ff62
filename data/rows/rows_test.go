package rows

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

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

// fuzzedBytes bounds what reading a small file may allocate: a few buffers, and a page
// that says to be large.
const fuzzedBytes = 200 << 20

// read reads all rows of whatever it is: an error or rows, never a panic, and never
// much memory for what a few bytes claim.
func read(t *testing.T, name string, text []byte) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	defer func() {
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > fuzzedBytes+100*uint64(len(text)) {
			t.Errorf("%d bytes of %s took %d MiB", len(text), name, n>>20)
		}
	}()
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

// parquetSeeds are small files of several encodings and compressions.
func parquetSeeds(f testing.TB) [][]byte {
	type flat struct {
		ID   int64     `parquet:"id,delta"`
		X    *float64  `parquet:"x,optional"`
		Word string    `parquet:"word,dict"`
		Yes  bool      `parquet:"yes"`
		Day  time.Time `parquet:"day,timestamp(microsecond)"`
		Few  uint32    `parquet:"few"`
	}
	type nested struct {
		ID   int32   `parquet:"id"`
		List []int32 `parquet:"list"`
	}
	x := 0.25
	rows := []flat{{1, &x, "a", true, time.Unix(1, 0), 7}, {2, nil, "b", false, time.Unix(2, 0), 8}, {3, &x, "a", true, time.Unix(3, 0), 9}}
	var seeds [][]byte
	for _, opt := range []parquet.WriterOption{
		parquet.Compression(&parquet.Uncompressed), parquet.Compression(&parquet.Snappy), parquet.Compression(&parquet.Zstd),
		parquet.Compression(&parquet.Gzip), parquet.Compression(&parquet.Lz4Raw), parquet.DataPageVersion(1), parquet.MaxRowsPerRowGroup(1),
	} {
		var b bytes.Buffer
		if err := parquet.Write(&b, rows, opt); err != nil {
			f.Fatal(err)
		}
		seeds = append(seeds, b.Bytes())
	}
	var b bytes.Buffer
	if err := parquet.Write(&b, []nested{{1, []int32{1, 2}}, {2, nil}}); err != nil {
		f.Fatal(err)
	}
	return append(seeds, b.Bytes())
}

// TestParquetForms: every encoding and compression is read; a text in a page's header that
// says to have a gigabyte is not.
func TestParquetForms(t *testing.T) {
	seeds := parquetSeeds(t)
	for i, content := range seeds[:len(seeds)-1] {
		path := filepath.Join(t.TempDir(), "x.parquet")
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		r, err := Open(path, Options{})
		if err != nil {
			t.Fatal(i, err)
		}
		var row Row
		for n := 1; n <= 3; n++ {
			if err := r.Next(&row); err != nil || len(row.Values) != 6 {
				t.Errorf("form %d, row %d: %v", i, n, err)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	nested := filepath.Join(t.TempDir(), "nested.parquet")
	if err := os.WriteFile(nested, seeds[len(seeds)-1], 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(nested, Options{}); fault.KindOf(err) != fault.Unsupported || !strings.Contains(err.Error(), `nested.parquet: column "list" holds a list or an object`) {
		t.Errorf("a list in a column: %v", err)
	}
	page := []byte{0x15, 0, 0x15, 8, 0x15, 8, 0x1c, 0x18, 0xff, 0xff, 0xff, 0xff, 0x03}
	if w := (thriftWalk{b: page, left: 100}); true {
		if w.structure(0); !w.beyond {
			t.Errorf("%+v", w)
		}
	}
}

// TestParquetTypes: decimals in bytes, whole numbers without sign, columns of no type, bytes
// that are no text, and a file without rows as pyarrow writes it.
func TestParquetTypes(t *testing.T) {
	schema := parquet.NewSchema("x", parquet.Group{
		"b": parquet.Leaf(parquet.ByteArrayType), "d": parquet.Decimal(2, 9, parquet.FixedLenByteArrayType(4)),
		"u": parquet.Uint(64), "v": parquet.Decimal(1, 30, parquet.ByteArrayType),
	})
	written := func(text string) []byte {
		var b bytes.Buffer
		w := parquet.NewWriter(&b, schema)
		_, err := w.WriteRows([]parquet.Row{{
			parquet.ByteArrayValue([]byte(text)).Level(0, 0, 0), parquet.FixedLenByteArrayValue([]byte{0xff, 0xff, 0xff, 0x85}).Level(0, 0, 1),
			parquet.Int64Value(-1).Level(0, 0, 2), parquet.ByteArrayValue([]byte{0x0d, 0xe0, 0xb6, 0xb3, 0xa7, 0x64, 0, 1, 0x05}).Level(0, 0, 3),
		}})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	r, err := New("x.parquet", written("红"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var row Row
	if err := r.Next(&row); err != nil {
		t.Fatal(err)
	}
	v := row.Values
	if string(v[0].Text) != "红" || v[1].Float != -1.23 || v[2].Is != Float || v[2].Float != 1<<64 || v[3].Float != 25600000000000000026.1 {
		t.Errorf("%+v", v)
	}
	if r, err = New("x.parquet", written("\xff\xfe"), Options{}); err != nil {
		t.Fatal(err)
	}
	if err := r.Next(&row); err == nil || !strings.Contains(err.Error(), `line 1: column "b" holds bytes that are no text`) {
		t.Error(err)
	}
	for name, want := range map[string]error{"empty.parquet": io.EOF, "null.parquet": nil} {
		r, err := Open(filepath.Join("testdata", name), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Next(&row); err != want || err == nil && row.Values[0].Is != Missing {
			t.Errorf("%s: %v, %+v", name, err, row.Values)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestNew reads what lies in memory as a file of that name is read.
func TestNew(t *testing.T) {
	var zipped, columns bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write([]byte("a,b\n1,x\n")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	type pair struct {
		A int64  `parquet:"a"`
		B string `parquet:"b"`
	}
	if err := parquet.Write(&columns, []pair{{1, "x"}}); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"x.csv": []byte("a,b\n1,x\n"), "x.csv.gz": zipped.Bytes(), "x.parquet": columns.Bytes(), "-": columns.Bytes(), "x.json": []byte(`{"a":1,"b":"x"}`),
	} {
		r, err := New(name, content, Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var row Row
		if err := r.Next(&row); err != nil || len(row.Values) != 2 || string(row.Values[1].Text) != "x" {
			t.Errorf("%s: %v, %v", name, row, err)
		}
		if strings.Join(r.Columns(), " ") != "a b" {
			t.Errorf("%s: columns %q", name, r.Columns())
		}
		if err := r.Next(&row); err != io.EOF {
			t.Errorf("%s: %v", name, err)
		}
		if err := r.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParquet(f *testing.F) {
	for _, seed := range parquetSeeds(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text []byte) { read(t, "x.parquet", text) })
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
