package blob

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"tandem/fault"
	"tandem/internal/blob/crashtest"
)

func TestReadOnlyDisk(t *testing.T) {
	crashtest.SmallDisk(t, 1<<20, func(dir string) {
		openDir(t, dir) // all folders are there: only the probe writes
		if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			t.Skipf("SKIPPED, NOT TESTED: %v", err)
		}
		_, err := OpenDir(dir)
		if fault.KindOf(err) != fault.Denied || !strings.Contains(fault.RemedyOf(err), "--data") {
			t.Errorf("read-only: %v", err)
		}
	})
}

func TestFullDisk(t *testing.T) {
	crashtest.SmallDisk(t, 3<<20, func(dir string) {
		d := openDir(t, dir)
		ctx := context.Background()
		small, _, err := d.Put(ctx, strings.NewReader("small"), "", 10)
		if err != nil {
			t.Fatal(err)
		}
		big := make([]byte, 8<<20)
		for range 2 { // a leftover of the first would show in the second
			_, _, err = d.Put(ctx, bytes.NewReader(big), Sum(big), 1<<30)
			if fault.KindOf(err) != fault.NoSpace || fault.RemedyOf(err) == "" {
				t.Fatalf("Put on a full disk: %v", err)
			}
			if left := files(t, d); len(left) != 1 {
				t.Fatalf("files = %v", left)
			}
		}
		free := crashtest.Fill(t, dir)
		if _, err := OpenDir(dir); fault.KindOf(err) != fault.NoSpace || fault.RemedyOf(err) == "" {
			t.Errorf("OpenDir on a full disk: %v", err)
		}
		free()
		if _, _, err := d.Put(ctx, bytes.NewReader(big[:1<<20]), "", 1<<30); err != nil {
			t.Errorf("Put when there is room again: %v", err)
		}
		if err := verify(d, small); err != nil {
			t.Error(err)
		}
	})
}

// What Put has acknowledged is there after SIGKILL, whatever is there is whole, and the
// next start removes the rest.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	ctx := context.Background()
	acked := 0
	for range 6 {
		acks := crashtest.Killed(t, dir, 60*time.Millisecond, func(dir string, ack func(string)) {
			d, err := OpenDir(dir)
			for i := 0; err == nil; i++ {
				content := bytes.Repeat(fmt.Appendf(nil, "%d %d ", os.Getpid(), i), 20_000)
				var digest Digest
				digest, _, err = d.Put(ctx, bytes.NewReader(content), "", 1<<30)
				ack(string(digest))
			}
			fmt.Println(err)
		})
		acked += len(acks)
		d := openDir(t, dir)
		if left, _ := os.ReadDir(d.tmp()); len(left) > 0 {
			t.Errorf("temporary files: %v", left)
		}
		for _, digest := range acks {
			if ok, err := d.Has(Digest(digest)); !ok || err != nil {
				t.Errorf("acknowledged and gone: %s, %v", digest, err)
			}
		}
		all, err := d.All()
		if err != nil {
			t.Fatal(err)
		}
		for _, digest := range all {
			if err := verify(d, digest); err != nil {
				t.Error(err)
			}
			if err := d.Delete(digest); err != nil {
				t.Error(err)
			}
		}
	}
	t.Logf("%d acknowledged", acked)
}
