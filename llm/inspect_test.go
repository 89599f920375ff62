package llm

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestInspect: what the files say, of one and of several.
func TestInspect(t *testing.T) {
	want := &Summary{
		Arch: "llama", Parameters: 260_032, Bytes: 1_040_128, Encodings: map[string]int{"float32": 47}, Layers: 5, Width: 64, Heads: 8, KVHeads: 4,
		HeadSize: 8, FeedForward: 172, Vocabulary: 512, Context: 512, CacheBytes: 5 * 4 * (8 + 32) * 2, Files: 1, // values lie in rows of 32
	}
	for n, path := range map[int]string{1: storiesFile(t), 3: inParts(t, 3)[2]} {
		want.Files = n
		got, err := Inspect(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if text, err := json.Marshal(got); err != nil || len(text) == 0 {
			t.Error(err)
		}
	}
}

// TestProgress: opening tells how many bytes of the weights are ready, and never more
// than all.
func TestProgress(t *testing.T) {
	last, all := int64(-1), int64(0)
	m, err := Open(storiesFile(t), Options{Progress: func(done, of int64) {
		if done < last || done > of || all != 0 && of != all {
			t.Errorf("%d of %d after %d of %d", done, of, last, all)
		}
		last, all = done, of
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if all != 1_040_128 || last < all/2 {
		t.Errorf("%d of %d", last, all)
	}
}
