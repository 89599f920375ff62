package processor

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"tandem/data"
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
