package registry

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"tandem/fault"
	"tandem/internal/blob"
	"tandem/internal/blob/crashtest"
)

// A version or deployment that was acknowledged is there after SIGKILL with all of its
// bytes; no version lacks a file; GC removes what was cut off.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	acked := 0
	for range 4 {
		acks := crashtest.Killed(t, dir, 80*time.Millisecond, func(dir string, ack func(string)) {
			b, done := open(t, dir)
			defer done()
			for i := 0; ; i++ {
				content := strings.Repeat(fmt.Sprintf("%d-%d ", os.Getpid(), i), 1000)
				v := b.create(alice, "m", content, content+"2")
				b.deploy(alice, "m", v.Number)
				ack(string(v.Digest))
			}
		})
		acked += len(acks)
		b, done := open(t, dir)
		if _, err := b.GC(ctx); err != nil {
			t.Fatal(err)
		}
		versions, err := b.Versions(ctx, "alice", "m")
		if err != nil {
			t.Fatal(err)
		}
		there := map[string]int{}
		for _, v := range versions {
			there[string(v.Digest)] = v.Number
			m, err := b.Manifest(ctx, "alice", v)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range m.Files {
				if err := b.verify(f.Digest); err != nil {
					t.Errorf("%s:%d: %v", v.Model, v.Number, err)
				}
			}
		}
		last := 0
		for _, digest := range acks {
			if last = there[digest]; last == 0 {
				t.Errorf("acknowledged and gone: %s", digest)
			}
		}
		if v, err := b.Deployed(ctx, "alice", "m"); err != nil || v.Number < last {
			t.Errorf("deployed %+v, %v; version %d was acknowledged", v, err, last)
		}
		done()
	}
	t.Logf("%d acknowledged", acked)
}

func TestFullDisk(t *testing.T) {
	crashtest.SmallDisk(t, 4<<20, func(dir string) {
		b, done := open(t, dir)
		defer done()
		v := b.create(alice, "m", "weights")
		free := crashtest.Fill(t, dir)
		var errs []error
		for i := range 40 { // pages that SQLite has free take the first ones
			errs = append(errs, b.put(alice, strings.Repeat(fmt.Sprint(i), 5000)))
		}
		if err := errors.Join(errs...); err == nil {
			t.Error("a full disk took everything")
		}
		for _, err := range errs {
			if err != nil {
				wantKind(t, "PutBlob", err, fault.NoSpace)
			}
		}
		free()
		if again := b.create(alice, "m", "weights", "more"); again.Number != 2 {
			t.Errorf("when there is room again: %+v", again)
		}
		if err := errors.Join(b.verify(v.Digest), b.verify(blob.Sum([]byte("weights")))); err != nil {
			t.Error(err)
		}
	})
}
