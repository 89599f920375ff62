package llm

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestPackedWeightsAreKept: the second start reads what the first has packed; a file that
// is damaged is packed anew, and answers are the same in all cases.
func TestPackedWeightsAreKept(t *testing.T) {
	path, dir := storiesFile(t), filepath.Join(t.TempDir(), "packed")
	tell := func() (ids []int, fresh bool) {
		t.Helper()
		m, err := Open(path, Options{PackedDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		m.packed.writing.Wait()
		for p, err := range m.Generate(context.Background(), Request{Prompt: []int{1, 403}, MaxTokens: 30, Sampling: Sampling{Logprobs: -1}}) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, p.ID)
		}
		fresh = m.packed.fresh
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		return ids, fresh
	}
	first, fresh := tell()
	if !fresh {
		t.Error("the first start has packed nothing")
	}
	if second, fresh := tell(); fresh || !slices.Equal(first, second) {
		t.Errorf("the second start packs: %v; %v, expected %v", fresh, second, first)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []func([]byte) []byte{
		func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		func(b []byte) []byte { return b[:len(b)/3] },
		func(b []byte) []byte { return nil },
		func(b []byte) []byte { b[0] = 255; return b },
	} {
		if err := os.WriteFile(files[0], change(slices.Clone(data)), 0o600); err != nil {
			t.Fatal(err)
		}
		if ids, fresh := tell(); !fresh || !slices.Equal(ids, first) {
			t.Errorf("a damaged file is used: %v, %v", fresh, ids)
		}
		if whole, err := os.ReadFile(files[0]); err != nil || !slices.Equal(whole, data) {
			t.Error("a damaged file is not written again")
		}
	}
}

func TestMakeRoom(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"new.packed", "old.packed", "other"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, make([]byte, 100), 0o600); err != nil {
			t.Fatal(err)
		}
		when := time.Now().Add(-time.Duration(i) * time.Hour)
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
	if err := makeRoom(dir, 150); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(left) != 2 || filepath.Base(left[0]) != "new.packed" {
		t.Errorf("%v are left", left)
	}
}
