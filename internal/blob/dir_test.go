package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"tandem/fault"
)

func openDir(t *testing.T, path string) *Dir {
	t.Helper()
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// files lists every file below d, temporary ones included.
func files(t *testing.T, d *Dir) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(d.root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// verify compares the bytes of a blob with its name.
func verify(d *Dir, digest Digest) error {
	f, err := d.Open(digest)
	if err != nil {
		return err
	}
	defer f.Close()
	if got, _, err := SumReader(f); err != nil || got != digest {
		return fmt.Errorf("the bytes stored as %s have digest %s, %v", digest, got, err)
	}
	return nil
}

func TestPutThenRead(t *testing.T) {
	d := openDir(t, filepath.Join(t.TempDir(), "deep", "blobs"))
	ctx := context.Background()
	for _, content := range []string{"", "a", strings.Repeat("xyz", 300_000)} {
		want := Sum([]byte(content))
		for _, name := range []Digest{"", want, want} { // the third time it is there already
			got, n, err := d.Put(ctx, strings.NewReader(content), name, int64(len(content)))
			if err != nil || got != want || n != int64(len(content)) {
				t.Fatalf("Put = %s, %d, %v", got, n, err)
			}
		}
		f, err := d.Open(want)
		if err != nil {
			t.Fatal(err)
		}
		back, err := io.ReadAll(f)
		if f.Close(); err != nil || string(back) != content {
			t.Fatalf("read %d bytes, %v", len(back), err)
		}
		if ok, err := d.Has(want); !ok || err != nil {
			t.Errorf("Has = %v, %v", ok, err)
		}
		if err := verify(d, want); err != nil {
			t.Error(err)
		}
		path, _ := d.Path(want)
		hexa := string(want[7:])
		if want := filepath.Join(d.root, "sha256", hexa[:2], hexa); path != want {
			t.Errorf("Path = %s, want %s", path, want)
		}
	}
	all, err := d.All()
	if err != nil || len(all) != 3 || len(files(t, d)) != 3 {
		t.Errorf("All = %v, %v; files %v", all, err, files(t, d))
	}
	for _, digest := range all {
		if err := errors.Join(d.Delete(digest), d.Delete(digest)); err != nil {
			t.Error(err)
		}
		if ok, _ := d.Has(digest); ok {
			t.Error("there after Delete")
		}
		if _, err := d.Open(digest); fault.KindOf(err) != fault.NotFound {
			t.Errorf("Open after Delete: %v", err)
		}
	}
}

func TestFailedPutLeavesNothing(t *testing.T) {
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	for _, tc := range []struct {
		name  string
		ctx   context.Context
		r     io.Reader
		want  Digest
		limit int64
		kind  fault.Kind
	}{
		{"other digest", context.Background(), strings.NewReader("abc"), Sum([]byte("abd")), 10, fault.Invalid},
		{"cut short", context.Background(), strings.NewReader("ab"), Sum([]byte("abc")), 10, fault.Invalid},
		{"one byte too many", context.Background(), strings.NewReader("abcd"), "", 3, fault.TooLarge},
		{"nothing allowed", context.Background(), strings.NewReader("a"), "", 0, fault.TooLarge},
		{"negative limit", context.Background(), strings.NewReader("a"), "", -1, fault.TooLarge},
		{"sender goes away", context.Background(), iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("abc"))), "", 10, fault.Canceled},
		{"disk of sender", context.Background(), iotest.ErrReader(fault.New("x", fault.Corrupt, "x")), "", 10, fault.Corrupt},
		{"canceled", canceled, strings.NewReader("abc"), "", 10, fault.Canceled},
		{"no digest", context.Background(), strings.NewReader("abc"), "sha256:../../x", 10, fault.Invalid},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := openDir(t, t.TempDir())
			got, n, err := d.Put(tc.ctx, tc.r, tc.want, tc.limit)
			if fault.KindOf(err) != tc.kind || got != "" || n != 0 {
				t.Errorf("Put = %q, %d, %v; want %v", got, n, err, tc.kind)
			}
			if left := files(t, d); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if err != nil && strings.Contains(err.Error(), d.root) {
				t.Errorf("an error of the sender shows the server's path: %v", err)
			}
		})
	}
}

func TestPutHealsAChangedByte(t *testing.T) {
	d := openDir(t, t.TempDir())
	ctx := context.Background()
	content := bytes.Repeat([]byte("weights"), 1000)
	digest, _, err := d.Put(ctx, bytes.NewReader(content), "", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	path, _ := d.Path(digest)
	bad := bytes.Clone(content)
	bad[len(bad)-1] ^= 1
	if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, bad, 0o600)); err != nil {
		t.Fatal(err)
	}
	if verify(d, digest) == nil {
		t.Fatal("the byte is as it was")
	}
	if _, _, err := d.Put(ctx, bytes.NewReader(content), digest, 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := verify(d, digest); err != nil {
		t.Errorf("after Put: %v", err)
	}
}

func TestOpenDirRemovesStaleTemporaryFiles(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path)
	kept, _, err := d.Put(context.Background(), strings.NewReader("kept"), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.tmp(), "put-123"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	d = openDir(t, path)
	if left := files(t, d); len(left) != 1 {
		t.Errorf("files = %v", left)
	}
	if ok, _ := d.Has(kept); !ok {
		t.Error("a blob is gone")
	}
}

func TestOpenDirSaysThatItCannotWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := OpenDir(filepath.Join(file, "blobs"))
	if fault.KindOf(err) != fault.Denied || !strings.Contains(fault.RemedyOf(err), "--data") || !strings.Contains(err.Error(), file) {
		t.Errorf("below a file: %v", err)
	}
}

func TestConcurrentPutsOfTheSameBytes(t *testing.T) {
	d := openDir(t, t.TempDir())
	ctx := context.Background()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 8 {
				content := strings.Repeat(fmt.Sprint((i+j)%4), 50_000)
				digest, _, err := d.Put(ctx, strings.NewReader(content), "", 1<<20)
				if err == nil {
					err = verify(d, digest)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(files(t, d)); n != 4 {
		t.Errorf("%d files, want 4", n)
	}
}
