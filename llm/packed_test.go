package llm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tandem/fault"
	"tandem/model/gguf"
)

// inParts writes the stories model again, in n files.
func inParts(t *testing.T, n int) []string {
	t.Helper()
	whole, err := gguf.Open(storiesFile(t))
	if err != nil {
		t.Fatal(err)
	}
	defer whole.Close()
	dir := t.TempDir()
	var paths []string
	for i := range n {
		m := &gguf.Metadata{}
		if i == 0 {
			m = whole.Metadata.Clone()
		}
		m.Set("split.no", uint16(i))
		m.Set("split.count", uint16(n))
		tensors := whole.Tensors[len(whole.Tensors)*i/n : len(whole.Tensors)*(i+1)/n]
		var b bytes.Buffer
		w, err := gguf.NewWriter(&b, m, tensors)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range tensors {
			if err := w.WriteTensor(x.Data); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, filepath.Join(dir, fmt.Sprintf("stories-%05d-of-%05d.gguf", i+1, n)))
		if err := os.WriteFile(paths[i], b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return paths
}

// TestModelInParts: the story of a model in three files is that of one, from the files
// and from their artifact, and its packed weights belong to all of them.
func TestModelInParts(t *testing.T) {
	paths, dir := inParts(t, 3), t.TempDir()
	request := Request{Prompt: []int{1, 403}, MaxTokens: 30, Sampling: Sampling{Logprobs: -1}}
	tell := func(m *Model, err error) (ids []int, fresh bool) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		ids, _, _, err = ask(m, request)
		if err := errors.Join(err, m.Close()); err != nil {
			t.Fatal(err)
		}
		return ids, m.packed.Fresh()
	}
	want, _ := tell(Open(storiesFile(t), Options{}))
	for i, path := range []string{paths[0], paths[2]} {
		if got, fresh := tell(Open(path, Options{PackedDir: dir})); !slices.Equal(got, want) || fresh != (i == 0) {
			t.Errorf("start %d: packed anew %v, %v, expected %v", i, fresh, got, want)
		}
	}
	if err := os.Chtimes(paths[1], time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if _, fresh := tell(Open(paths[0], Options{PackedDir: dir})); !fresh {
		t.Error("the weights of another second part are used")
	}
	ctx := context.Background()
	manifest, src, err := Artifact(ctx, paths[1])
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Files) != 3 || manifest.Stages[0].File != manifest.Files[0].Name {
		t.Errorf("the artifact has %v", manifest.Files)
	}
	if got, _ := tell(OpenArtifact(ctx, manifest, src, Options{})); !slices.Equal(got, want) {
		t.Errorf("the artifact tells %v, expected %v", got, want)
	}
	if err := os.Remove(paths[1]); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(paths[0], Options{}); fault.KindOf(err) != fault.NotFound || !strings.Contains(err.Error(), "part 2 of 3 is missing") {
		t.Error(err)
	}
}

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
