package gguf

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tandem/fault"
)

// writeParts writes tensors as a model in n files, the way llama-gguf-split does: the
// first has the metadata.
func writeParts(t *testing.T, dir string, n int, m *Metadata, tensors []Tensor) []string {
	t.Helper()
	var paths []string
	for i := range n {
		own := &Metadata{}
		if i == 0 {
			own = m.Clone()
		}
		own.Set("general.alignment", uint32(64))
		own.Set("split.no", uint16(i))
		own.Set("split.count", uint16(n))
		own.Set("split.tensors.count", int32(len(tensors)))
		path := filepath.Join(dir, fmt.Sprintf("x-%05d-of-%05d.gguf", i+1, n))
		data := encode(t, own, tensors[len(tensors)*i/n:len(tensors)*(i+1)/n])
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// TestParts: a model in three files is what it is in one, whichever is given.
func TestParts(t *testing.T) {
	m, tensors := sample()
	paths := writeParts(t, t.TempDir(), 3, m, tensors)
	for _, path := range paths {
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m, f.Metadata, cmp.AllowUnexported(Metadata{})); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(tensors, f.Tensors); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(paths, f.Paths); diff != "" {
			t.Error(diff)
		}
		if d, ok := f.Tensor("d"); !ok || d.Name != "d" {
			t.Error("a tensor of the last part is not found")
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	// Other names, in the order of the parts.
	other := filepath.Join(t.TempDir(), "blob")
	if err := os.Rename(paths[1], other); err != nil {
		t.Fatal(err)
	}
	f, err := OpenParts(paths[0], other, paths[2])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if len(f.Tensors) != len(tensors) {
		t.Errorf("%d tensors", len(f.Tensors))
	}
	// What is written of it is whole.
	mix, err := MixOf("f32")
	if err != nil {
		t.Fatal(err)
	}
	for i := range f.Tensors {
		if f.Tensors[i].Name == "e" { // has no codec
			f.Tensors = append(f.Tensors[:i:i], f.Tensors[i+1:]...)
			break
		}
	}
	out := filepath.Join(t.TempDir(), "whole.gguf")
	if err := Quantize(context.Background(), f, out, mix, nil); err != nil {
		t.Fatal(err)
	}
	whole, err := Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer whole.Close()
	if len(whole.Paths) != 1 || len(whole.Tensors) != len(tensors)-1 {
		t.Errorf("%v, %d tensors", whole.Paths, len(whole.Tensors))
	}
}

// TestBrokenParts: what is missing, mixed up or damaged is named.
func TestBrokenParts(t *testing.T) {
	m, tensors := sample()
	for name, tc := range map[string]struct {
		change func(paths []string) error
		kind   fault.Kind
		want   string
	}{
		"missing": {func(p []string) error { return os.Remove(p[1]) }, fault.NotFound, "part 2 of 3 is missing"},
		"renamed": {func(p []string) error { return os.Rename(p[0], filepath.Join(filepath.Dir(p[0]), "model.gguf")) }, fault.Invalid, "does not end in -00001-of-00003.gguf"},
		"swapped": {func(p []string) error { return os.Rename(p[2], p[1]) }, fault.Invalid, "is part 3 of 3, expected part 2 of 3"},
		"cut off": {func(p []string) error { return os.Truncate(p[2], 100) }, fault.Invalid, "00003-of-00003"},
		"twice": {func(p []string) error {
			other := writeParts(t, t.TempDir(), 3, m, []Tensor{tensors[4], tensors[0], tensors[1], tensors[2], tensors[3]})
			return os.Rename(other[1], p[1])
		}, fault.Invalid, "is in another part"},
		"too few": {func(p []string) error {
			other := writeParts(t, t.TempDir(), 3, m, []Tensor{tensors[0], tensors[1], tensors[3]})
			return os.Rename(other[2], p[2])
		}, fault.Invalid, "tensors, the first says"},
		"a number": {func(p []string) error {
			own := m.Clone()
			own.Set("split.no", uint16(7))
			own.Set("split.count", uint16(3))
			return os.WriteFile(p[0], encode(t, own, tensors[:1]), 0o644)
		}, fault.Invalid, "part 8 of 3"},
	} {
		paths := writeParts(t, t.TempDir(), 3, m, tensors)
		if err := tc.change(paths); err != nil {
			t.Fatal(err)
		}
		first := paths[0]
		if name == "renamed" {
			first = filepath.Join(filepath.Dir(first), "model.gguf")
		}
		_, err := Open(first)
		if fault.KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v (%v), expected %q", name, err, fault.KindOf(err), tc.want)
		}
	}
}
