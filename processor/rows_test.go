package processor

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"tandem/data"
	"tandem/data/rows"
	"tandem/tensor"
)

// TestRowsEncode: every kind of column, known, unseen and missing, as features and codes.
func TestRowsEncode(t *testing.T) {
	r := &Rows{Columns: []RowColumn{
		{Name: "n", Kind: data.Float, Mean: 10, Std: 2, Missing: true},
		{Name: "big", Kind: data.Category, Values: []string{"x", "y"}, Embed: 3},
		{Name: "small", Kind: data.Category, Values: []string{"u", "v"}},
		{Name: "words", Kind: data.Text, Embed: 2, Words: 3, Buckets: 1000},
		{Name: "b", Kind: data.Boolean},
	}}
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	if r.Features() != 6 || r.Codes() != 4 {
		t.Fatalf("%d features, %d codes", r.Features(), r.Codes())
	}
	features, codes := tensor.New(tensor.Float32, 3, 6), tensor.New(tensor.Int64, 3, 4)
	columns := []*tensor.Tensor{
		tensor.Of([]float64{14, math.NaN(), 10}, 3), tensor.OfStrings([]string{"y", "", "z"}, 3), tensor.OfStrings([]string{"v", "w", "u"}, 3),
		tensor.OfStrings([]string{"Red, red", "", "red 红色 blue"}, 3), tensor.OfStrings([]string{"true", "0", ""}, 3),
	}
	if err := r.Encode(features, codes, columns); err != nil {
		t.Fatal(err)
	}
	if want := []float32{2, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0}; !slices.Equal(features.F32(), want) {
		t.Errorf("features %v, want %v", features.F32(), want)
	}
	c := codes.I64()
	if !slices.Equal([]int64{c[0], c[4], c[8]}, []int64{3, 1, 0}) {
		t.Errorf("codes of a category %v", c)
	}
	red := c[1]
	if red < 1 || red > 1000 || c[2] != red || c[3] != 0 || c[5] != 0 || c[9] != red || c[10] == c[11] || c[10] == red {
		t.Errorf("codes of words %v", c)
	}
	if r.Encode(features, nil, columns) == nil {
		t.Error("a missing destination is taken")
	}
	columns[0] = tensor.Of([]float64{14, -1e300, 10}, 3)
	if err := r.Encode(features, codes, columns); err == nil || !strings.Contains(err.Error(), "-1e+300") {
		t.Errorf("of a number that no float32 holds: %v", err)
	}
}

// TestMissingMarkers: what stands for a missing value does so in the file that is read, in
// rows of JSON, and in tensors that are sent, as an empty one does; a date is no number.
func TestMissingMarkers(t *testing.T) {
	r := &Rows{Missing: []string{"-", "-999", "n. a."}, Columns: []RowColumn{
		{Name: "n", Kind: data.Float, Mean: 10, Std: 2, Missing: true},
		{Name: "i", Kind: data.Integer, Mean: 1, Std: 2, Missing: true},
		{Name: "d", Kind: data.Date, Mean: 0, Std: 999, Missing: true},
		{Name: "c", Kind: data.Category, Values: []string{"x", "y"}, Missing: true},
		{Name: "e", Kind: data.Category, Values: []string{"x", "y"}, Embed: 2},
		{Name: "b", Kind: data.Boolean, Missing: true},
		{Name: "w", Kind: data.Text, Embed: 2, Words: 2, Buckets: 9},
	}}
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	encoded := func(columns []*tensor.Tensor) ([]float32, []int64) {
		t.Helper()
		n := columns[0].Len()
		features, codes := tensor.New(tensor.Float32, n, r.Features()), tensor.New(tensor.Int64, n, r.Codes())
		if err := r.Encode(features, codes, columns); err != nil {
			t.Fatal(err)
		}
		return features.F32(), codes.I64()
	}
	read := func(name, text string) ([]float32, []int64) {
		t.Helper()
		file, err := rows.New(name, []byte(text), rows.Options{})
		if err != nil {
			t.Fatal(err)
		}
		columns, err := ReadRows(file, r.Schema(), 9)
		if err != nil {
			t.Fatal(err)
		}
		return encoded(columns)
	}
	features, codes := read("a.csv", "n,i,d,c,e,b,w\n,,,,,,\n")
	if want := []float32{0, 1, 0, 1, 0, 1, 0, 0, 1, 0, 0, 1}; !slices.Equal(features, want) || !slices.Equal(codes, []int64{1, 0, 0}) {
		t.Fatalf("of nothing: %v, %v", features, codes)
	}
	for name, text := range map[string]string{
		"b.csv":   "n,i,d,c,e,b,w\n-999,-,n. a.,-,n. a.,-,-999\n",
		"c.csv":   "n,i,d,c,e,b,w\n-999.0,-999.0,-,-999,-999,n. a.,-\n",
		"a.jsonl": `{"n":-999,"i":-999.0,"d":"-","c":"-","e":"-","b":"-","w":"n. a."}`,
		"b.jsonl": `{"n":"-","i":"-999","d":"-999","c":-999,"e":-999,"b":-999,"w":-999}`,
	} {
		if f, c := read(name, text); !slices.Equal(f, features) || !slices.Equal(c, codes) {
			t.Errorf("%s: %v, %v, want %v, %v", text, f, c, features, codes)
		}
	}
	number, text := func(v float64) *tensor.Tensor { return tensor.Of([]float64{v}, 1) }, func(v string) *tensor.Tensor { return tensor.OfStrings([]string{v}, 1) }
	sent := []*tensor.Tensor{number(-999), number(-999), number(math.NaN()), text("-"), text("-999"), text("-"), text("-")}
	if f, c := encoded(sent); !slices.Equal(f, features) || !slices.Equal(c, codes) {
		t.Errorf("tensors: %v, %v, want %v, %v", f, c, features, codes)
	}
	sent[2] = number(-999) // seconds since 1970
	if f, _ := encoded(sent); f[4] != -1 || f[5] != 0 {
		t.Errorf("a date: %v", f)
	}
	var again Rows
	written, err := json.Marshal(r)
	if err == nil {
		err = json.Unmarshal(written, &again)
	}
	if err != nil || !slices.Equal(again.Missing, r.Missing) {
		t.Errorf("%s, %v", written, err)
	}

	// Without markers fields of CSV have those of old, and other values are what they are;
	// an empty list has none.
	if written, err = json.Marshal(&Rows{Missing: []string{}}); err != nil || !strings.Contains(string(written), `"missing":[]`) {
		t.Errorf("%s, %v", written, err)
	}
	for text, want := range map[string]string{"c\nNA\n": "", "{\"c\":\"NA\"}": "NA"} {
		for _, missing := range [][]string{nil, {}} {
			file, err := rows.New("x", []byte(text), rows.Options{})
			if err != nil {
				t.Fatal(err)
			}
			columns, err := ReadRows(file, &Schema{Columns: []RowInput{{"c", data.Category}}, Missing: missing}, 9)
			if err != nil {
				t.Fatal(err)
			}
			if missing != nil {
				want = "NA"
			}
			if got := columns[0].Strings()[0]; got != want {
				t.Errorf("%q with %q: %q, want %q", text, missing, got, want)
			}
		}
	}
}

// TestValuesOfOtherKinds: what training would refuse, predicting does.
func TestValuesOfOtherKinds(t *testing.T) {
	s := &Schema{Columns: []RowInput{{"n", data.Float}, {"d", data.Date}}}
	for text, says := range map[string]string{
		"n,d\nyes,2020-01-01\n":        `line 2, column "n": "yes" is not a number`,
		"n,d\n2020-01-01,2020-01-01\n": `line 2, column "n": "2020-01-01" is not a number`,
		"n,d\n1,2020\n":                `line 2, column "d": "2020" is not a date`,
		"n,d\ninf,2020-01-01\n":        `line 2, column "n": "inf" is not a number`,
		`{"n":1,"d":5}`:                `line 1, column "d": "5" is not a date`,
	} {
		file, err := rows.New("x", []byte(text), rows.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ReadRows(file, s, 9); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
	}
}

// TestColumnsThatAreNotThere: all of them are named, and what is there instead, in a header
// without rows too.
func TestColumnsThatAreNotThere(t *testing.T) {
	s := &Schema{Columns: []RowInput{{"age", data.Float}, {"city", data.Category}, {"note", data.Text}}}
	for text, says := range map[string]string{
		"Age,city\n1,x\n": `the rows have no column "age", "note", they have "Age", "city"`,
		"age,city,nota\n": `the rows have no column "note", they have "age", "city", "nota"`,
		"{}\n":            `the rows have no column "age", "city", "note", they have []`,
		"a,b,c,d,e,f,g,h,i,j\n" + "1,1,1,1,1,1,1,1,1,1": `"h", +2`,
	} {
		file, err := rows.New("x", []byte(text), rows.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ReadRows(file, s, 9); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
	}
}

// TestHeaders: the names of the model's columns tell whether the first line has them.
func TestHeaders(t *testing.T) {
	for _, tc := range []struct {
		names, text string
		want        float64
	}{
		{"a b", "b,a\n1,2\n", 2},
		{"0 1", "1,0\n3,4\n", 4}, // as pandas names columns of an array
		{"column1 column2", "7,x\n8,y\n", 7},
		{"column2 column1", "x,y\nz,5\n", math.NaN()},
	} {
		var s Schema
		for i, name := range strings.Fields(tc.names) {
			s.Columns = append(s.Columns, RowInput{name, []data.Kind{data.Float, data.Text}[i]})
		}
		s.Missing = []string{"y"}
		r, err := OpenRows("x.csv", []byte(tc.text), &s)
		if err != nil {
			t.Fatal(err)
		}
		columns, err := ReadRows(r, &s, 1)
		if err != nil {
			t.Errorf("%q: %v", tc.text, err)
			continue
		}
		if got := tensor.Data[float64](columns[0])[0]; got != tc.want && !(math.IsNaN(got) && math.IsNaN(tc.want)) {
			t.Errorf("%q: %v, want %v", tc.text, got, tc.want)
		}
	}
	s := &Schema{Columns: []RowInput{{"q", data.Float}}}
	r, err := OpenRows("x.csv", []byte("a,b\n1,2\n"), s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ReadRows(r, s, 1); err == nil || !strings.Contains(err.Error(), `no column "q", they have "a", "b"`) {
		t.Error(err)
	}
}

// TestBadRows: parameters that no training writes.
func TestBadRows(t *testing.T) {
	for _, text := range []string{
		`{"columns":[{"name":"a","kind":"text"}]}`,
		`{"columns":[{"name":"a","kind":"text","embed":2,"words":3}]}`,
		`{"columns":[{"name":"a","kind":"text","embed":2,"words":-3,"buckets":4}]}`,
		`{"columns":[{"name":"a","kind":"category","embed":2}]}`,
		`{"columns":[{"name":"a","kind":"text","embed":2,"words":3,"buckets":9,"bucket":9}]}`,
	} {
		if err := json.Unmarshal([]byte(text), new(Rows)); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}

// TestBytes: the end of a long text, a short one, bytes that are no UTF-8.
func TestBytes(t *testing.T) {
	p := &Bytes{Steps: 3}
	dst := tensor.New(tensor.Int64, 4, 3)
	for i := range dst.I64() {
		dst.I64()[i] = 7
	}
	list := []string{"abcd", "a", "", "\xff\x00"}
	if err := p.Encode(dst, tensor.OfStrings(list, 4)); err != nil {
		t.Fatal(err)
	}
	if want := []int64{'b', 'c', 'd', 'a', 0, 0, 0, 0, 0, 255, 0, 0}; !slices.Equal(dst.I64(), want) {
		t.Errorf("%v, want %v", dst.I64(), want)
	}
	var at []int
	for _, text := range append(list, strings.Repeat("x", 9)) {
		at = append(at, p.Last(text))
	}
	if !slices.Equal(at, []int{2, 0, 0, 1, 2}) {
		t.Errorf("last steps %v", at)
	}
	if p.Encode(tensor.New(tensor.Int64, 4, 2), tensor.OfStrings(list, 4)) == nil {
		t.Error("a destination of another size is taken")
	}
	for _, text := range []string{`{"steps":0}`, `{}`, `{"steps":3,"more":1}`} {
		if err := json.Unmarshal([]byte(text), new(Bytes)); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}
