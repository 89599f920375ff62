package data

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"tandem/fault"
	"tandem/tensor"
)

func abc(t *testing.T) *Dataset {
	t.Helper()
	d, err := NewDataset(
		Column{Name: "x", Tensor: tensor.Of([]float32{0, 1, 2, 3, 4, 5}, 3, 2)},
		Column{Name: "label", Tensor: tensor.Of([]int64{7, 8, 9}, 3), Classes: 10},
		Column{Name: "word", Tensor: tensor.OfStrings([]string{"a", "b", "c"}, 3)},
	)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDatasetHoldsItsColumns(t *testing.T) {
	d := abc(t)
	if x, ok := d.Column("x"); !ok || x.Len() != 6 || d.Len() != 3 {
		t.Errorf("x is %v, %v; length %d", x, ok, d.Len())
	}
	if _, ok := d.Column("y"); ok || d.Classes("label") != 10 || d.Classes("x") != 0 || d.Classes("y") != 0 {
		t.Error("columns that are not there, or classes that are not known")
	}
	names := []string{}
	for _, c := range d.Columns() {
		names = append(names, c.Name)
	}
	if !slices.Equal(names, []string{"x", "label", "word"}) {
		t.Errorf("columns %v", names)
	}
}

func TestNewDatasetRefuses(t *testing.T) {
	three := tensor.New(tensor.Int64, 3)
	for name, tc := range map[string]struct {
		columns []Column
		says    string
	}{
		"nothing":       {nil, "no columns"},
		"no name":       {[]Column{{Tensor: three}}, "no name"},
		"no tensor":     {[]Column{{Name: "a"}}, `"a"`},
		"zero tensor":   {[]Column{{Name: "a", Tensor: new(tensor.Tensor)}}, `"a"`},
		"a scalar":      {[]Column{{Name: "a", Tensor: tensor.Scalar(1.0)}}, `"a"`},
		"a name twice":  {[]Column{{Name: "a", Tensor: three}, {Name: "a", Tensor: three}}, `"a"`},
		"other lengths": {[]Column{{Name: "a", Tensor: three}, {Name: "b", Tensor: tensor.New(tensor.Int8, 4)}}, `"a" has 3 examples, and column "b" has 4`},
		"half bytes":    {[]Column{{Name: "a", Tensor: tensor.New(tensor.Int4, 2, 3)}}, "whole bytes"},
	} {
		_, err := NewDataset(tc.columns...)
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), tc.says) || fault.RemedyOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGather(t *testing.T) {
	d := abc(t)
	rows := []int{2, 0, 2, 1}
	x, label, word := tensor.New(tensor.Float32, 4, 2), tensor.New(tensor.Int64, 4), tensor.New(tensor.String, 4)
	for name, dst := range map[string]*tensor.Tensor{"x": x, "label": label, "word": word} {
		if err := d.Gather(name, rows, dst); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(x.F32(), []float32{4, 5, 0, 1, 4, 5, 2, 3}) || !slices.Equal(label.I64(), []int64{9, 7, 9, 8}) ||
		!slices.Equal(word.Strings(), []string{"c", "a", "c", "b"}) {
		t.Errorf("got %v %v %v", x.F32(), label.I64(), word.Strings())
	}
	if err := d.Gather("x", nil, tensor.New(tensor.Float32, 0, 2)); err != nil {
		t.Errorf("of no rows: %v", err)
	}
}

func TestGatherRefuses(t *testing.T) {
	d := abc(t)
	for name, tc := range map[string]struct {
		column string
		rows   []int
		dst    *tensor.Tensor
		kind   fault.Kind
		says   string
	}{
		"no such column": {"y", []int{0}, tensor.New(tensor.Float32, 1, 2), fault.NotFound, `"y"`},
		"row beyond":     {"x", []int{0, 3}, tensor.New(tensor.Float32, 2, 2), fault.Invalid, "example 3 of a dataset of 3"},
		"row below":      {"word", []int{-1}, tensor.New(tensor.String, 1), fault.Invalid, "example -1"},
		"other type":     {"x", []int{0}, tensor.New(tensor.Float64, 1, 2), fault.Invalid, "float32[1x2]"},
		"other count":    {"x", []int{0}, tensor.New(tensor.Float32, 2, 2), fault.Invalid, "float32[1x2]"},
		"other shape":    {"x", []int{0}, tensor.New(tensor.Float32, 1, 1), fault.Invalid, "float32[1x2]"},
		"other rank":     {"x", []int{0}, tensor.New(tensor.Float32, 2), fault.Invalid, "float32[1x2]"},
		"a scalar":       {"x", []int{0}, tensor.Scalar[float32](1), fault.Invalid, "float32[1x2]"},
		"nowhere":        {"x", []int{0}, nil, fault.Invalid, "none"},
	} {
		err := d.Gather(tc.column, tc.rows, tc.dst)
		if fault.KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.says) || fault.RemedyOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGatherDoesNotAllocate(t *testing.T) {
	d, rows := abc(t), []int{1, 2, 0, 0}
	x, word := tensor.New(tensor.Float32, 4, 2), tensor.New(tensor.String, 4)
	n := testing.AllocsPerRun(10, func() {
		_ = d.Gather("x", rows, x)
		_ = d.Gather("word", rows, word)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestSlice(t *testing.T) {
	d := abc(t)
	s := d.Slice(1, 3)
	x, word := tensor.New(tensor.Float32, 1, 2), tensor.New(tensor.String, 1)
	if err := s.Gather("x", []int{1}, x); err != nil || !slices.Equal(x.F32(), []float32{4, 5}) {
		t.Errorf("x: %v, %v", x.F32(), err)
	}
	if err := s.Gather("word", []int{0}, word); err != nil || word.Strings()[0] != "b" {
		t.Errorf("word: %v, %v", word.Strings(), err)
	}
	if err := s.Gather("x", []int{2}, x); err == nil {
		t.Error("an example beyond the slice was given")
	}
	if s.Len() != 2 || s.Classes("label") != 10 || d.Slice(2, 2).Len() != 0 || d.Len() != 3 {
		t.Error("lengths or classes are wrong")
	}
	for _, bad := range [][2]int{{-1, 1}, {2, 1}, {0, 4}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Slice(%d, %d) did not panic", bad[0], bad[1])
				}
			}()
			d.Slice(bad[0], bad[1])
		}()
	}
}

// TestDigestNeverChanges: artifacts name datasets by it. It was computed from the
// comment of Digest by a program in another language. Never re-record it.
func TestDigestNeverChanges(t *testing.T) {
	const want = "sha256:0c0c5f436e5544b269488d720e45c589fb9a51d5c8d724636df4d7d6060b0db9"
	if got := abc(t).Digest().String(); got != want {
		t.Errorf("got %s", got)
	}
}

func TestDigestTellsDatasetsApart(t *testing.T) {
	make1 := func(c ...Column) Digest {
		d, err := NewDataset(c...)
		if err != nil {
			t.Fatal(err)
		}
		return d.Digest()
	}
	a, b := Column{Name: "a", Tensor: tensor.Of([]int8{1, 2}, 2)}, Column{Name: "b", Tensor: tensor.Of([]int8{3, 4}, 2)}
	if make1(a, b) != make1(b, a) {
		t.Error("the order of columns counts")
	}
	whole := tensor.Of([]int8{9, 1, 2, 9}, 4)
	d, _ := NewDataset(Column{Name: "a", Tensor: whole, Classes: 10})
	if d.Slice(1, 3).Digest() != make1(a) {
		t.Error("a slice has another digest than the same examples alone")
	}
	seen := map[Digest]string{}
	for name, digest := range map[string]Digest{
		"a":           make1(a),
		"a, b":        make1(a, b),
		"name":        make1(Column{Name: "c", Tensor: a.Tensor}),
		"type":        make1(Column{Name: "a", Tensor: tensor.Of([]uint8{1, 2}, 2)}),
		"shape":       make1(Column{Name: "a", Tensor: tensor.Of([]int8{1, 2}, 2, 1)}),
		"bytes":       make1(Column{Name: "a", Tensor: tensor.Of([]int8{1, 3}, 2)}),
		"strings":     make1(Column{Name: "a", Tensor: tensor.OfStrings([]string{"x", "yz"}, 2)}),
		"their break": make1(Column{Name: "a", Tensor: tensor.OfStrings([]string{"xy", "z"}, 2)}),
	} {
		if other, ok := seen[digest]; ok {
			t.Errorf("%s and %s have the same digest", name, other)
		}
		seen[digest] = name
	}
}

func TestDigestText(t *testing.T) {
	d := abc(t).Digest()
	text, err := json.Marshal(map[string]Digest{"d": d})
	var back map[string]Digest
	if err != nil || json.Unmarshal(text, &back) != nil || back["d"] != d {
		t.Errorf("%s: %v, %v", text, back, err)
	}
	hex := strings.TrimPrefix(d.String(), "sha256:")
	for _, bad := range []string{"", hex, "sha256:", "sha256:" + hex[1:], "sha256:" + hex + "0", "sha256:" + strings.ToUpper(hex), "sha512:" + hex, "sha256:g" + hex[1:]} {
		if _, err := ParseDigest(bad); fault.KindOf(err) != fault.Invalid || fault.RemedyOf(err) == "" {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
