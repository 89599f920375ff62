package llm

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
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
		m.packed.Wait()
		for p, err := range m.Generate(context.Background(), Request{Prompt: []int{1, 403}, MaxTokens: 30, Sampling: Sampling{Logprobs: -1}}) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, p.ID)
		}
		fresh = m.packed.Fresh()
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
