package data

import (
	"cmp"
	"compress/gzip"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/fault"
	"tandem/tensor"
)

// shared is a folder of real data; without it the test says so.
func shared(t testing.TB, name string) string {
	t.Helper()
	root := cmp.Or(os.Getenv("TANDEM_DATA"), "../../shared/data")
	path := filepath.Join(root, name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("NOT TESTED: no %s (set TANDEM_DATA)", path)
	}
	return path
}

func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, path string, opt Options) (train, test *Dataset) {
	t.Helper()
	train, test, err := Open(t.Context(), path, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := train.Close(); err != nil {
			t.Error(err)
		}
	})
	return train, test
}

// whole is a column of a dataset that streams, in its own order.
func whole(t testing.TB, d *Dataset, name string) *tensor.Tensor {
	t.Helper()
	i := d.index(name)
	if i < 0 {
		t.Fatalf("no column %q", name)
	}
	all := tensor.New(d.fields[i].DType, append([]int{d.Len()}, d.fields[i].Shape...)...)
	at := 0
	err := d.Scan(func(part *Dataset) error {
		at += part.Len()
		return all.Rows(at-part.Len(), at).CopyFrom(part.memory[i])
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func kindsOf(d *Dataset) string {
	var s []string
	for _, f := range d.fields {
		s = append(s, f.Name+" "+string(f.Kind))
	}
	return strings.Join(s, ", ")
}

// TestAdult opens the census of 1994: 48,842 rows in two files, with spaces after
// its commas and question marks for what is missing.
func TestAdult(t *testing.T) {
	path := shared(t, "adult")
	train, test := open(t, filepath.Join(path, "adult.data.gz"), Options{TestPath: filepath.Join(path, "adult.test.gz")})
	if train.Len() != 32561 || test.Len() != 16281 {
		t.Errorf("%d and %d rows", train.Len(), test.Len())
	}
	const want = "age integer, workclass category, fnlwgt integer, education category, education-num integer, " +
		"marital-status category, occupation category, relationship category, race category, sex category, " +
		"capital-gain integer, capital-loss integer, hours-per-week integer, native-country category, classification category"
	if got := kindsOf(train); got != want {
		t.Errorf("columns %s", got)
	}
	f, _ := train.Field("classification")
	if !slices.Equal(f.Values, []string{"<=50K", ">50K"}) || f.Classes != 2 {
		t.Errorf("classes %q", f.Values)
	}
	rich := 0
	for _, v := range whole(t, train, "classification").I64() {
		rich += int(v)
	}
	absent := 0
	for _, v := range whole(t, train, "workclass").I64() {
		if v == MissingCode {
			absent++
		}
	}
	if rich != 7841 || absent != 1836 { // as the set's own description counts them
		t.Errorf("%d rich, %d of no workclass", rich, absent)
	}
	if age := whole(t, train, "age").I64(); age[0] != 39 || age[1] != 50 {
		t.Errorf("ages %v…", age[:2])
	}
}

// TestRealTables opens others as they come.
func TestRealTables(t *testing.T) {
	no := false
	for _, tc := range []struct {
		path string
		opt  Options
		rows int
		want string
	}{
		{"ml-100k/u.data.gz", Options{Names: []string{"user", "item", "rating", "time"}}, 100000, "user integer, item integer, rating integer, time integer"},
		{"ml-100k/u.item", Options{Encoding: "windows-1252", Header: &no}, 1682, "column1 integer, column2 text, column3 category, column4 text"},
		{"ml-100k/u.user", Options{Names: []string{"id", "age", "sex", "work", "zip"}}, 943, "id integer, age integer, sex category, work category, zip text"},
		{"etth1/ETTh1.csv.gz", Options{}, 17420, "date date, HUFL float, HULL float, MUFL float, MULL float, LUFL float, LULL float, OT float"},
		{"agnews-test/test.csv.gz", Options{Columns: map[string]Kind{"column1": Category}}, 7600, "column1 category, column2 text, column3 text"},
		{"sst2/train.tsv", Options{Quotes: &no, Names: []string{"text", "label"}}, 6920, "text text, label integer"},
		{"imdb/test.jsonl.bz2", Options{}, 25000, "id text, label integer, text text"},
		{"deepctr-samples/criteo_sample.txt", Options{Format: FormatCSV}, 200, "label integer, I1 float"},
	} {
		t.Run(filepath.Base(tc.path), func(t *testing.T) {
			d, _ := open(t, shared(t, tc.path), tc.opt)
			if got := kindsOf(d); d.Len() != tc.rows || !strings.HasPrefix(got, tc.want) {
				t.Errorf("%d rows of %s", d.Len(), got)
			}
		})
	}
}

const people = `name,age,height,member,city,since,zip
"Ada ""A."" King",36,1.65,yes,London,1843-01-02,00123
Kurt,,1.7,no,Wien,1931-05-06 10:11:12.5,10115
"Grace
Hopper",85,NA,true,London,1952-10-11T01:02:03Z,20500
,20,1e2,FALSE,Wien,,00001
`

// TestTypes: what is found out of a column, and how values are kept.
func TestTypes(t *testing.T) {
	d, _ := open(t, write(t, "people.csv", people), Options{})
	if got := kindsOf(d); got != "name text, age integer, height float, member boolean, city category, since date, zip text" {
		t.Fatal(got)
	}
	if got := whole(t, d, "name").Strings(); !slices.Equal(got, []string{`Ada "A." King`, "Kurt", "Grace\nHopper", ""}) {
		t.Errorf("names %q", got)
	}
	if got := whole(t, d, "age").I64(); !slices.Equal(got, []int64{36, MissingInteger, 85, 20}) {
		t.Errorf("ages %v", got)
	}
	h := tensor.Data[float64](whole(t, d, "height"))
	if h[0] != 1.65 || h[1] != 1.7 || !math.IsNaN(h[2]) || h[3] != 100 {
		t.Errorf("heights %v", h)
	}
	if got := whole(t, d, "member").I64(); !slices.Equal(got, []int64{1, 0, 1, 0}) {
		t.Errorf("members %v", got)
	}
	if got := whole(t, d, "city").I64(); !slices.Equal(got, []int64{0, 1, 0, 1}) {
		t.Errorf("cities %v", got)
	}
	if got := whole(t, d, "since").I64(); !slices.Equal(got, []int64{-4007664000_000000, -1219931327_500000, -543538677_000000, MissingInteger}) {
		t.Errorf("dates %v", got)
	}
	if got := whole(t, d, "zip").Strings(); !slices.Equal(got, []string{"00123", "10115", "20500", "00001"}) {
		t.Errorf("zips %q", got)
	}
}

// TestEncodings: the same rows in whatever encoding.
func TestEncodings(t *testing.T) {
	const text = "名字,城市\n张三,北京\n李四,上海\n王五,北京\n赵六,上海\n"
	gbk := "\xc3\xfb\xd7\xd6,\xb3\xc7\xca\xd0\n\xd5\xc5\xc8\xfd,\xb1\xb1\xbe\xa9\n\xc0\xee\xcb\xc4,\xc9\xcf\xba\xa3\n\xcd\xf5\xce\xe5,\xb1\xb1\xbe\xa9\n\xd5\xd4\xc1\xf9,\xc9\xcf\xba\xa3\n"
	utf16 := []byte{0xff, 0xfe}
	for _, r := range text {
		utf16 = append(utf16, byte(r), byte(r>>8))
	}
	plain, _ := open(t, write(t, "a.csv", text), Options{})
	want := digestOf(t, plain)
	for name, tc := range map[string]struct {
		text, encoding string
	}{
		"mark": {"\ufeff" + text, ""}, "mark, said": {"\ufeff" + text, "utf-8"}, "gbk": {gbk, ""}, "gbk, said": {gbk, "gbk"},
		"gb18030": {gbk, "gb18030"}, "utf-16": {string(utf16), ""}, "crlf": {strings.ReplaceAll(text, "\n", "\r\n"), ""},
		"semicolons": {strings.ReplaceAll(text, ",", ";"), ""}, "tabs": {strings.ReplaceAll(text, ",", "\t"), ""},
		"no last end": {strings.TrimSuffix(text, "\n"), ""}, "empty lines": {"\n" + strings.ReplaceAll(text, "\n", "\n\n"), ""},
		"spaces": {strings.ReplaceAll(text, ",", " , "), ""}, "quotes": {strings.ReplaceAll(text, "北京", ` "北京" `), ""},
	} {
		d, _ := open(t, write(t, "a.csv", tc.text), Options{Encoding: tc.encoding})
		if digestOf(t, d) != want {
			t.Errorf("%s: %s, %q", name, kindsOf(d), whole(t, d, d.fields[0].Name).Strings())
		}
	}
}

// TestBrokenRows: every kind of mistake is named with file, line, column and remedy.
func TestBrokenRows(t *testing.T) {
	many, wide := "a,b\n"+strings.Repeat("1,2\n", 50), ""
	for i := range 29 {
		wide += fmt.Sprintf("x%d,", i)
	}
	yes := true
	for _, tc := range []struct {
		name, file, text string
		opt              Options
		says             string
	}{
		{"too few fields", "x.csv", "a,b\n1,2\n3\n", Options{}, "x.csv: line 3: 1 fields, not 2"},
		{"too many fields", "x.csv", "a,b\n1,2\n3,4,5\n", Options{}, "x.csv: line 3: 3 fields, not 2"},
		{"a quote that stays open", "x.csv", "a,b\n1,2\n\"3,4\n5,6\n", Options{}, "x.csv: line 3: a quote that is not closed"},
		{"text after a quote", "x.csv", "a,b\n\"1\"2,3\n", Options{}, "x.csv: line 2: field 1 goes on after its closing quote"},
		{"not UTF-8", "x.csv", "a,b\n1,\xe9t\xe9\n", Options{}, `x.csv: line 2: column "b" holds bytes that are not of the text's encoding`},
		{"not GB 18030", "x.csv", "a,b\n1,\xff\xff\n", Options{Encoding: "gb18030"}, `x.csv: line 2: column "b" holds bytes`},
		{"two names", "x.csv", "a,a\n1,2\n", Options{}, `columns 1 and 2 are both called "a"`},
		{"no name", "x.csv", "a,\n1,2\n", Options{Header: &yes}, "column 2 has no name"},
		{"the index of pandas", "x.csv", ",a,b\n0,1,2\n1,3,4\n", Options{}, "x.csv: column 1 has no name"},
		{"other names", "x.csv", "1,2\n", Options{Names: []string{"a"}}, "1 names for 2 columns"},
		{"nothing", "x.csv", "", Options{}, "x.csv: it is empty"},
		{"a header alone", "x.csv", "a,b\n", Options{}, "x.csv has no rows"},
		{"a text among numbers", "x.csv", many + "1,2o\n", Options{}, `line 52, column "b": "2o" is not a number`},
		{"not of the kind", "x.csv", "a,b\n1,2\n1,x\n", Options{Columns: map[string]Kind{"b": Integer}}, `line 3, column "b": "x" is not of the kind integer`},
		{"a date that is none", "x.csv", "a\n2020-02-30\n", Options{Columns: map[string]Kind{"a": Date}}, `line 2, column "a": "2020-02-30" is not of the kind date`},
		{"no such column", "x.csv", "a\n1\n", Options{Columns: map[string]Kind{"c": Date}}, `no column "c", it has ["a"]`},
		{"no such kind", "x.csv", "a\n1\n", Options{Columns: map[string]Kind{"a": "int"}}, `the kind "int"`},
		{"no such encoding", "x.csv", "a\n1\n", Options{Encoding: "utf-9"}, `no encoding "utf-9"`},
		{"no such separator", "x.csv", "a\n1\n", Options{Separator: "ab"}, `"ab" cannot part fields`},
		{"not an object", "x.jsonl", "{\"a\":1}\n[1]\n", Options{}, "x.jsonl: line 2: the line is not a JSON object"},
		{"a cut object", "x.jsonl", "{\"a\":1}\n{\"a\":1\n", Options{}, "x.jsonl: line 2: character 7: a comma or } is missing"},
		{"a list within", "x.jsonl", "{\"a\":1}\n{\"a\":[1]}\n", Options{}, `x.jsonl: line 2: column "a" holds a list or an object`},
		{"a name twice", "x.jsonl", "{\"a\":1}\n{\"a\":1,\"a\":2}\n", Options{}, `x.jsonl: line 2: the name "a" is given twice`},
		{"a number with a zero", "x.jsonl", "{\"a\":01}\n", Options{}, "x.jsonl: line 1: character 7: a comma or } is missing"},
		{"two objects", "x.jsonl", "{\"a\":1}{\"a\":1}\n", Options{}, "x.jsonl: line 1: character 8: the end of the line is missing"},
		{"a bad escape", "x.jsonl", "{\"a\":\"\\q\"}\n", Options{}, "x.jsonl: line 1: character 10: a text in quotes, in UTF-8 is missing"},
		{"JSON not UTF-8", "x.jsonl", "{\"a\":\"\xff\"}\n", Options{}, "in UTF-8"},
		{"cut gzip", "x.csv.gz", "\x1f\x8b", Options{}, "x.csv.gz: it is not compressed by gzip"},
		{"not Parquet", "x.parquet", "a text of some length", Options{}, "x.parquet: it is not a whole Parquet file"},
		{"cut Parquet", "x.parquet", "PAR1PAR1PAR1", Options{}, "x.parquet: the description at the end of the file says to be longer than the file"},
		{"no groups to split by", "x.csv", "a\n1\n", Options{Split: Split{Test: 0.5, By: ByGroup, Column: "g"}}, `no column "g"`},
		{"no time to split by", "x.csv", "a,t\n1,2020-01-01\n2,\n", Options{Split: Split{Test: 0.5, By: ByTime, Column: "t"}}, `x.csv, line 3: column "t", to split by, has no date or number`},
		{"nothing to train on", "x.csv", "a\n1\n", Options{Split: Split{Test: 0.9}}, "all 1 rows of x.csv are to test with"},
		{"one group", "x.csv", "a,g\n1,2020-01-01\n2,2020-01-01\n", Options{Split: Split{Test: 0.5, By: ByTime, Column: "g"}}, "all 2 rows of x.csv are to test with"},
		{"no such split", "x.csv", "a\n1\n", Options{Split: Split{Test: 0.5, By: "luck"}}, `no way to split by "luck"`},
		{"a name that is not UTF-8", "x.csv", "\xe9t\xe9,b\n1,2\n", Options{}, "x.csv: the name of column 1 holds bytes that are not of the text's encoding"},
		{"UTF-16 without a mark", "x.csv", "a\x00,\x00b\x00\n\x001\x00,\x002\x00\n\x00", Options{}, "x.csv: line 1: a zero byte"},
		{"a zero byte", "x.csv", "a,b\n1,2\n3,4\x00\n", Options{}, "x.csv: line 3: a zero byte"},
		{"a workbook", "x.csv", "PK\x03\x04\x14\x00\x06\x00 a zip of sheets", Options{}, "x.csv: line 1: a zero byte"},
		{"only a mark", "x.csv", "\ufeff", Options{}, "x.csv: it is empty"},
		{"only empty lines", "x.csv", "\n\r\n\n", Options{}, "x.csv: it is empty"},
		{"a huge field", "x.csv", "a,b\n1," + strings.Repeat("x", 16<<20) + "\n", Options{}, "x.csv: line 2: the row is longer than 16777216 bytes"},
		{"a quote open in a huge file", "x.csv", "a,b\n1,\"" + strings.Repeat("2\n3,", 4<<20) + "\n", Options{}, "x.csv: line 2: the row is longer than 16777216 bytes"},
		{"too many columns", "x.csv", strings.Repeat("a,", 1<<14) + "a\n", Options{}, "x.csv: line 1: more than 16384 fields"},
		{"an infinite number", "x.csv", "a\n1\ninf\n", Options{Columns: map[string]Kind{"a": Float}}, `line 3, column "a": "inf" is not of the kind float`},
		{"a number beyond floats", "x.csv", "a\n1\n1e999\n", Options{Columns: map[string]Kind{"a": Float}}, `line 3, column "a": "1e999" is not of the kind float`},
		{"a number beyond integers", "x.csv", "a\n1\n99999999999999999999\n", Options{Columns: map[string]Kind{"a": Integer}}, `line 3, column "a": "99999999999999999999" is not of the kind integer`},
		{"an infinity among numbers", "x.csv", many + "1,-inf\n", Options{}, `line 52, column "b": "-inf" is not a finite number`},
		{"many infinities", "x.csv", "a,b\n" + strings.Repeat("1,2\n1,Infinity\n1,1e999\n", 20), Options{}, `line 3, column "b": "Infinity" is not a finite number`},
		{"line ends of old", "x.csv", "a,b\r1,2\r3,4\r", Options{}, "x.csv: its lines end in a carriage return alone"},
		{"a column of many that is not there", "x.csv", wide + "y\n" + strings.Repeat("1,", 29) + "1\n", Options{Columns: map[string]Kind{"c": Date}}, "and 10 more"},
		{"a picture", "x.png", "\x89PNG\r\n", Options{}, "x.png is a picture in no folder of a class"},
		{"half a truth", "x.csv", "a\nyes\nmaybe\n", Options{Columns: map[string]Kind{"a": Boolean}}, `line 3, column "a": "maybe" is not of the kind boolean`},
		{"nothing in JSONL", "x.jsonl", "", Options{}, "x.jsonl has no rows"},
		{"a list of objects", "x.json", "[{\"a\":1},\n{\"a\":2}]\n", Options{}, "x.json: line 1: the line is not a JSON object"},
		{"an object over lines", "x.jsonl", "{\n\"a\":1}\n", Options{}, "x.jsonl: line 1: character 2: a name in quotes is missing"},
		{"no name in JSONL", "x.jsonl", "{\"\":1}\n", Options{}, "x.jsonl: line 1: a name is empty"},
		{"NaN in JSONL", "x.jsonl", "{\"a\":NaN}\n", Options{}, "x.jsonl: line 1: character 6: a value is missing"},
		{"a zero byte in JSONL", "x.jsonl", "{\"a\":\"\x00\"}\n", Options{}, "x.jsonl: line 1: character 6: a text in quotes, in UTF-8 is missing"},
		{"a number beyond floats in JSONL", "x.jsonl", "{\"a\":1.5}\n{\"a\":1e999}\n", Options{}, `line 2, column "a": "1e999" is not of the kind float`},
		{"a long line of JSON", "x.jsonl", "{\"a\":\"" + strings.Repeat("x", 16<<20) + "\"}\n", Options{}, "x.jsonl: line 1: the row is longer"},
		{"nothing in Parquet", "x.parquet", "", Options{}, "x.parquet: it is not a whole Parquet file"},
		{"text that is Parquet", "x.csv", "PAR1\x15\x00\x15", Options{}, "x.csv: line 1: a zero byte"},
		{"a compressed Parquet", "x.parquet.gz", gzipped(t, "PAR1PAR1"), Options{}, "x.parquet.gz: it is a compressed Parquet file"},
		{"not zstd", "x.csv.zst", "a,b\n1,2\n", Options{}, "x.csv.zst"},
		{"not bzip2", "x.csv.bz2", "a,b\n1,2\n", Options{}, "x.csv.bz2"},
		{"too little memory", "x.csv", "a\n1\n", Options{MemoryBytes: 1 << 20}, "1 MiB of memory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := write(t, tc.file, tc.text)
			_, _, err := Open(t.Context(), path, tc.opt)
			if err == nil || !strings.Contains(err.Error(), tc.says) || fault.RemedyOf(err) == "" || fault.KindOf(err) == fault.Internal {
				t.Errorf("%v (%v), want %q", err, fault.KindOf(err), tc.says)
			}
		})
	}
}

// TestFilesOfOtherColumns: the files of a set have the same columns in any order; one that
// has others, such as a misspelt one, is named beside the first.
func TestFilesOfOtherColumns(t *testing.T) {
	for _, tc := range []struct {
		name, a, b, test string
		says             string // "" if it is read
	}{
		{"another order", "x,y\n1,2\n", "y,x\n4,3\n", "", ""},
		{"a header misspelt", "age,y\n1,2\n", "aeg,y\n3,4\n", "", `b.csv and a.csv have different columns: ["aeg"] against ["age"]`},
		{"one less", "x,y\n1,2\n", "x\n3\n", "", `b.csv lacks columns of a.csv: ["y"]`},
		{"one more", "x,y\n1,2\n", "x,y,z\n3,4,5\n", "", `b.csv has columns that a.csv lacks: ["z"]`},
		{"a part without header", "x,y\n1,2\n", "3,4\n", "", `["column1" "column2"] against ["x" "y"]`},
		{"a header alone", "x,y\n1,2\n", "x,z\n", "", `["z"] against ["y"]`},
		{"to test with", "x,y\n1,2\n", "x,y\n3,4\n", "x\n5\n", `t.csv lacks columns of a.csv: ["y"]`},
	} {
		dir, opt := t.TempDir(), Options{}
		for name, text := range map[string]string{"set/a.csv": tc.a, "set/b.csv": tc.b, "t.csv": tc.test} {
			path := filepath.Join(dir, name)
			if name == "t.csv" && text != "" {
				opt.TestPath = path
			}
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		train, _, err := Open(t.Context(), filepath.Join(dir, "set"), opt)
		if tc.says != "" {
			if err == nil || !strings.Contains(err.Error(), tc.says) || fault.RemedyOf(err) == "" {
				t.Errorf("%s: %v, want %q", tc.name, err, tc.says)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
		} else if x, y := whole(t, train, "x").I64(), whole(t, train, "y").I64(); !slices.Equal(x, []int64{1, 3}) || !slices.Equal(y, []int64{2, 4}) {
			t.Errorf("%s: x %v, y %v", tc.name, x, y)
		}
	}

	// A line of JSON leaves out what is missing, and so do the lines of a file.
	dir := t.TempDir()
	for name, text := range map[string]string{"a.jsonl": `{"x":1}`, "b.jsonl": `{"y":2}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if d, _ := open(t, dir, Options{}); kindsOf(d) != "x integer, y integer" {
		t.Errorf("of JSONL: %s", kindsOf(d))
	}
}

// TestMissing: fields of CSV are missing by the usual texts or those that were given; values of
// other formats by those that were given alone. A number goes by its value.
func TestMissing(t *testing.T) {
	const csv = "n,c\n1,x\n-9,NA\n-9.0,-9\n2.5,x\n?,\n"
	const jsonl = `{"n":1,"c":"x"}
{"n":-9,"c":"NA"}
{"n":-9.0,"c":"-9"}
{"n":2.5,"c":"x"}
{"n":null,"c":""}
`
	for _, tc := range []struct {
		name, file, text string
		missing          []string
		n                string // values that are there
		c                string
		kept             []string
	}{
		{"csv", "x.csv", csv, nil, "[1 -9 -9 2.5]", `["x" "-9" "x"]`, DefaultMissing()},
		{"csv, said", "x.csv", csv, []string{"-9", "?"}, "[1 2.5]", `["x" "NA" "x"]`, []string{"-9", "?"}},
		{"jsonl", "x.jsonl", jsonl, nil, "[1 -9 -9 2.5]", `["x" "NA" "-9" "x"]`, nil},
		{"jsonl, said", "x.jsonl", jsonl, []string{"-9"}, "[1 2.5]", `["x" "NA" "x"]`, []string{"-9"}},
	} {
		d, _ := open(t, write(t, tc.file, tc.text), Options{Missing: tc.missing, Columns: map[string]Kind{"n": Float, "c": Text}})
		var n []float64
		for _, v := range tensor.Data[float64](whole(t, d, "n")) {
			if !math.IsNaN(v) {
				n = append(n, v)
			}
		}
		c := slices.DeleteFunc(slices.Clone(whole(t, d, "c").Strings()), func(s string) bool { return s == "" })
		if fmt.Sprint(n) != tc.n || fmt.Sprintf("%q", c) != tc.c || !slices.Equal(d.Slice(0, 2).Missing(), tc.kept) || (d.Missing() == nil) != (tc.kept == nil) {
			t.Errorf("%s: n %v, c %q, kept %q", tc.name, n, c, d.Missing())
		}
	}
	d, _ := open(t, write(t, "x.csv", "n\n1\n-9\n9223372036854775807\n"), Options{Missing: []string{"-9", "9223372036854775806"}})
	if got := whole(t, d, "n").I64(); !slices.Equal(got, []int64{1, MissingInteger, math.MaxInt64}) {
		t.Errorf("whole numbers: %v", got)
	}
}

func gzipped(t testing.TB, text string) string {
	t.Helper()
	var b strings.Builder
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestCutGzip: a file that ends too early is no shorter set.
func TestCutGzip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.csv.gz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	for i := range 200_000 {
		fmt.Fprintf(z, "%d,%d\n", i*7919, i)
	}
	z.Close()
	size, _ := f.Seek(0, io.SeekCurrent)
	if err := f.Truncate(size / 2); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, _, err := Open(t.Context(), path, Options{}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "x.csv.gz cannot be read") {
		t.Errorf("%v", err)
	}
}

// TestSplits: what is held out, by chance, by time and by group.
func TestSplits(t *testing.T) {
	var b strings.Builder
	b.WriteString("id,time,user\n")
	for i := range 10_000 {
		fmt.Fprintf(&b, "%d,%d,u%d\n", i, (i*7919)%10_000/2, i%500)
	}
	path := write(t, "x.csv", b.String())
	for _, by := range []Split{{By: ByChance}, {By: ByTime, Column: "time"}, {By: ByGroup, Column: "user"}} {
		by.Test, by.Seed = 0.2, 7
		train, test := open(t, path, Options{Split: by})
		ids := append(slices.Clone(whole(t, train, "id").I64()), whole(t, test, "id").I64()...)
		slices.Sort(ids)
		if len(ids) != 10_000 || len(slices.Compact(ids)) != 10_000 {
			t.Errorf("%s: %d rows, not each once", by.By, len(ids))
		}
		switch by.By {
		case ByChance:
			if test.Len() != 2000 {
				t.Errorf("by chance %d are held", test.Len())
			}
			if first := whole(t, test, "id").I64(); first[0] > 60 || first[1999] < 9_940 || first[1000] < 4_500 || first[1000] > 5_500 {
				t.Errorf("by chance from %d, %d, to %d", first[0], first[1000], first[1999])
			}
		case ByTime:
			latest, earliest := slices.Max(whole(t, train, "time").I64()), slices.Min(whole(t, test, "time").I64())
			if latest >= earliest || test.Len() != 2000 {
				t.Errorf("by time %d are held, from %d; trained until %d", test.Len(), earliest, latest)
			}
		case ByGroup:
			users := map[string]bool{}
			for _, u := range whole(t, train, "user").Strings() {
				users[u] = true
			}
			for _, u := range whole(t, test, "user").Strings() {
				if users[u] {
					t.Fatalf("user %s is on both sides", u)
				}
			}
			if n := test.Len(); n < 1500 || n > 2500 {
				t.Errorf("by group %d are held", n)
			}
		}
		again, _ := open(t, path, Options{Split: by})
		if digestOf(t, again) != digestOf(t, train) {
			t.Errorf("%s: another split the second time", by.By)
		}
	}
}

// TestSpilled: what does not fit in memory gives the same examples in the same
// order as what does, with the file gone from its folder.
func TestSpilled(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	var b strings.Builder
	b.WriteString("id,x,word\n")
	for i := range 700_000 {
		fmt.Fprintf(&b, "%d,%g,%s\n", i, float64(i)/8, strings.Repeat("ab", i%40)+fmt.Sprint(i))
	}
	path := write(t, "x.csv", b.String())
	small, _ := open(t, path, Options{MemoryBytes: MinMemoryBytes})
	large, _ := open(t, path, Options{})
	if f := small.source.(*table).store.file; f == nil || large.source.(*table).store.file != nil {
		t.Fatal("the wrong one lies in a file")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if len(small.runs) < 3*windowBlocks/2 {
		t.Fatalf("%d blocks are too few for this test", len(small.runs))
	}
	p := Pass{Rows: 1000, Shuffle: true, Seed: 3, Epoch: 1, Skip: 33}
	a, b2 := small.Read(p), large.Read(p)
	defer a.Close()
	defer b2.Close()
	var x, y Batch
	for {
		err, other := a.Next(&x), b2.Next(&y)
		if err == io.EOF && other == io.EOF {
			break
		}
		if err != nil || other != nil {
			t.Fatal(err, other)
		}
		if digestOf(t, x.Dataset) != digestOf(t, y.Dataset) {
			t.Fatal("another order or other values in memory and in a file")
		}
	}
	if digestOf(t, small) != digestOf(t, large) {
		t.Error("digests differ")
	}
}

func TestTooLongForMemory(t *testing.T) {
	var b strings.Builder
	long := strings.Repeat("x", 1<<20)
	for i := range 30 {
		fmt.Fprintf(&b, "{\"a\":\"%s%d\"}\n", long, i)
	}
	_, _, err := Open(t.Context(), write(t, "x.jsonl", b.String()), Options{MemoryBytes: MinMemoryBytes})
	if fault.KindOf(err) != fault.TooLarge || !strings.Contains(err.Error(), "64 MiB are allowed") {
		t.Errorf("%v", err)
	}
}
