package packed

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"tandem/graph"
)

// TestStore: what was packed is found by the next store of the same model in the same
// state, on a cache line of its own, in a region or not; another state finds nothing,
// and a damaged weight alone is packed anew.
func TestStore(t *testing.T) {
	dir := t.TempDir()
	weights := map[string][]byte{"a": bytes.Repeat([]byte("packed"), 200_000), "b": bytes.Repeat([]byte{7}, 65), "": {}}
	open := func(state string, region *graph.Region) (anew []string) {
		t.Helper()
		s := Open(dir, "model", state, "tier")
		for _, name := range []string{"b", "a", ""} {
			want := weights[name]
			data, err := s.Packing(region)(name, len(want), func(dst []byte) {
				anew = append(anew, name)
				copy(dst, want)
			})
			if err != nil || !bytes.Equal(data, want) {
				t.Fatalf("%q: %v, %d bytes that differ", name, err, len(data))
			}
		}
		if s.Fresh() != (len(anew) > 0) {
			t.Errorf("Fresh is %v", s.Fresh())
		}
		s.Keep()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return anew
	}
	region, err := graph.NewRegion(4 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer region.Close()
	for i, tc := range []struct {
		state  string
		region *graph.Region
		anew   int
	}{{"one", nil, 3}, {"one", nil, 0}, {"one", region, 0}, {"two", nil, 3}, {"one", nil, 3}} {
		if anew := open(tc.state, tc.region); len(anew) != tc.anew {
			t.Errorf("start %d packs %q", i, anew)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	data[bytes.Index(data, bytes.Repeat([]byte{7}, 65))] ^= 1
	if err := os.WriteFile(files[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	if anew := open("one", nil); !slices.Equal(anew, []string{"b"}) {
		t.Errorf("with b damaged %q are packed", anew)
	}
	if anew := open("one", nil); len(anew) != 0 {
		t.Errorf("the file was not mended: %q", anew)
	}
}

// TestGivenUp: what was not written whole leaves nothing behind.
func TestGivenUp(t *testing.T) {
	dir := t.TempDir()
	s := Open(dir, "model", "state", "tier")
	s.stopped.Store(true)
	if _, err := s.Packing(nil)("a", 2*smallest, func(dst []byte) { dst[0] = 1 }); err != nil {
		t.Fatal(err)
	}
	s.Keep()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Error(files, err)
	}
}

// FuzzRead: no file makes the store fail.
func FuzzRead(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00a"))
	f.Fuzz(func(t *testing.T, entries []byte) {
		s := &Store{found: map[string]entry{}}
		s.read(append(append([]byte(magic), s.key[:]...), entries...))
		for _, e := range s.found {
			_ = checksum(e.data)
		}
	})
}

func TestMakeRoom(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"new.packed", "old.packed", "other", "old.packed.1.part"} {
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
	if len(left) != 2 || filepath.Base(left[0]) != "new.packed" || filepath.Base(left[1]) != "other" {
		t.Errorf("%v are left", left)
	}
}
