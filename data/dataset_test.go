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
	for _, f := range d.Fields() {
		names = append(names, f.Name)
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

func TestSlice(t *testing.T) {
	d := abc(t)
	s := d.Slice(1, 3)
	x, _ := s.Column("x")
	word, _ := s.Column("word")
	if !slices.Equal(x.F32(), []float32{2, 3, 4, 5}) || !slices.Equal(word.Strings(), []string{"b", "c"}) {
		t.Errorf("x %v, word %v", x.F32(), word.Strings())
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

func digestOf(t *testing.T, d *Dataset) Digest {
	t.Helper()
	digest, err := d.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// TestDigestNeverChanges: artifacts name datasets by it. It was computed from the
// comment of Digest by a program in another language. Never re-record it.
func TestDigestNeverChanges(t *testing.T) {
	const want = "sha256:d3d0040652e76f2d787e022bcb61b5102347d07a459168545f3b667b981c3bea"
	if got := digestOf(t, abc(t)).String(); got != want {
		t.Errorf("got %s", got)
	}
}

func TestDigestTellsDatasetsApart(t *testing.T) {
	make1 := func(c ...Column) Digest {
		d, err := NewDataset(c...)
		if err != nil {
			t.Fatal(err)
		}
		return digestOf(t, d)
	}
	a, b := Column{Name: "a", Tensor: tensor.Of([]int8{1, 2}, 2)}, Column{Name: "b", Tensor: tensor.Of([]int8{3, 4}, 2)}
	if make1(a, b) != make1(b, a) {
		t.Error("the order of columns counts")
	}
	whole := tensor.Of([]int8{9, 1, 2, 9}, 4)
	d, _ := NewDataset(Column{Name: "a", Tensor: whole, Classes: 10})
	if digestOf(t, d.Slice(1, 3)) != make1(a) {
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
		"values":      make1(Column{Name: "a", Tensor: a.Tensor, Values: []string{"x", "y"}}),
		"their break": make1(Column{Name: "a", Tensor: tensor.OfStrings([]string{"xy", "z"}, 2)}),
	} {
		if other, ok := seen[digest]; ok {
			t.Errorf("%s and %s have the same digest", name, other)
		}
		seen[digest] = name
	}
}

func TestDigestText(t *testing.T) {
	d := digestOf(t, abc(t))
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
