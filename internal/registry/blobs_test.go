package registry

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tandem/fault"
	"tandem/internal/blob"
	"tandem/internal/tenant"
)

func TestPutBlobRefuses(t *testing.T) {
	b := begin(t)
	d := blob.Sum([]byte("abc"))
	wantKind(t, "other bytes", b.PutBlob(ctx, "alice", d, strings.NewReader("abd"), 10), fault.Invalid)
	wantKind(t, "too many", b.PutBlob(ctx, "alice", d, strings.NewReader("abc"), 2), fault.TooLarge)
	wantKind(t, "cut", b.PutBlob(ctx, "alice", d, iotest.ErrReader(io.ErrUnexpectedEOF), 9), fault.Canceled)
	wantKind(t, "no digest", b.PutBlob(ctx, "alice", "", strings.NewReader("abc"), 10), fault.Invalid)
	if has, err := b.HasBlob(ctx, "alice", d); has || err != nil {
		t.Errorf("HasBlob = %v, %v", has, err)
	}
	if len(b.pins.count) != 0 {
		t.Errorf("still pinned: %v", b.pins.count)
	}
}

func TestGC(t *testing.T) {
	b := begin(t)
	gc := func(want int) {
		t.Helper()
		if n, err := b.GC(ctx); err != nil || n != want {
			t.Errorf("GC removed %d, %v; want %d", n, err, want)
		}
	}
	has := func(content string, want bool) {
		t.Helper()
		if got, err := b.HasBlob(ctx, "alice", blob.Sum([]byte(content))); err != nil || got != want {
			t.Errorf("HasBlob(%s) = %v, %v; want %v", content, got, err, want)
		}
	}
	b.create(alice, "m", "shared", "one")
	b.create(alice, "m", "shared", "two")
	if err := b.put(alice, "upload"); err != nil {
		t.Fatal(err)
	}
	gc(0)
	if _, _, err := b.blobs.Put(ctx, strings.NewReader("a crash left this"), "", 100); err != nil {
		t.Fatal(err)
	}
	gc(1)
	f, _, err := b.OpenBlob(ctx, "alice", blob.Sum([]byte("one")))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := b.DeleteVersion(ctx, "alice", "m", 1); err != nil {
		t.Fatal(err)
	}
	has("one", false)
	gc(2) // "one" and the manifest, at once; the upload is held
	if rest, err := io.ReadAll(f); string(rest) != "one" || err != nil {
		t.Errorf("an open file: %q, %v", rest, err)
	}
	has("shared", true)
	has("two", true)
	has("upload", true)
	b.pass(holdUpload/2 + time.Second)
	has("upload", false) // it may not last until the version comes
	gc(0)
	if err := b.put(alice, "upload"); err != nil {
		t.Fatal(err)
	}
	b.pass(holdUpload / 2)
	gc(0)
	b.pass(holdUpload)
	gc(1)
	has("two", true)
	v, err := b.Version(ctx, "alice", "m", 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.ManifestBytes(ctx, "alice", v); err != nil {
		t.Error(err)
	}
}

func TestLostAndDamagedFiles(t *testing.T) {
	b := begin(t)
	v := b.create(alice, "m", "weights")
	d := blob.Sum([]byte("weights"))
	if err := b.blobs.Delete(d); err != nil {
		t.Fatal(err)
	}
	_, _, err := b.OpenBlob(ctx, "alice", d)
	wantKind(t, "lost", err, fault.Corrupt)
	if has, err := b.HasBlob(ctx, "alice", d); has || err != nil {
		t.Errorf("HasBlob of a lost file: %v, %v", has, err)
	}
	path, err := b.BlobPath(v.Digest)
	if err == nil {
		err = errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, []byte("{}"), 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.ManifestBytes(ctx, "alice", v)
	wantKind(t, "damaged manifest", err, fault.Corrupt)
	if again := b.create(alice, "m", "weights"); again != v { // sending it again heals both
		t.Errorf("again: %+v", again)
	}
	if _, err := b.ManifestBytes(ctx, "alice", v); err != nil {
		t.Error(err)
	}
}

// Uploads, versions, deletions and GC at once: a version never lacks a file.
func TestConcurrentUse(t *testing.T) {
	b := begin(t)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	var collector sync.WaitGroup
	collector.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := b.GC(ctx); err != nil {
				t.Error(err)
			}
		}
	})
	for w := range 4 {
		wg.Go(func() {
			p := []tenant.Principal{alice, bob}[w%2]
			name := fmt.Sprint("m", w)
			for i := range 10 {
				own := fmt.Sprint(w, i)
				if err := errors.Join(b.put(p, own), b.put(p, "shared by all")); err != nil {
					t.Error(err)
					return
				}
				v, err := b.CreateVersion(ctx, p.Tenant, name, manifestOf(own, "shared by all"))
				if fault.KindOf(err) == fault.Conflict && strings.Contains(err.Error(), string(blob.Sum([]byte("shared by all")))) {
					continue // another worker of the tenant claimed it and then deleted its version: send it again
				}
				if err != nil || v.Bytes != int64(len(own))+13 {
					t.Errorf("CreateVersion = %+v, %v", v, err)
					return
				}
				for _, d := range []blob.Digest{blob.Sum([]byte(own)), blob.Sum([]byte("shared by all")), v.Digest} {
					if err := b.verify(d); err != nil {
						t.Error(err)
					}
				}
				if i%2 == 0 {
					if err := b.DeleteVersion(ctx, p.Tenant, name, v.Number); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	collector.Wait()
	for w := range 4 {
		p := []tenant.Principal{alice, bob}[w%2]
		versions, err := b.Versions(ctx, p.Tenant, fmt.Sprint("m", w))
		if err != nil || len(versions) == 0 {
			t.Errorf("%d versions, %v", len(versions), err)
		}
		for _, v := range versions {
			m, err := b.Manifest(ctx, p.Tenant, v)
			if err != nil {
				t.Error(err)
				continue
			}
			for _, f := range m.Files {
				if err := b.verify(f.Digest); err != nil {
					t.Errorf("%s:%d lacks %s: %v", v.Model, v.Number, f.Name, err)
				}
			}
		}
	}
}

func TestConcurrentCreateOfTheSameManifest(t *testing.T) {
	b := begin(t)
	want := b.create(alice, "warm", "x")
	var wg sync.WaitGroup
	got := make([]Version, 6)
	for i := range got {
		wg.Go(func() {
			var err error
			if got[i], err = b.CreateVersion(ctx, "alice", "m", manifestOf("x")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	want.Model = "m"
	for _, v := range got {
		if v != want {
			t.Error(cmp.Diff(want, v))
		}
	}
}
