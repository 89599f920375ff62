package store

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"tandem/fault"
	"tandem/internal/blob/crashtest"
)

// What Write has acknowledged is there after SIGKILL, nothing is half-written, and the
// lock is free at once.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	acked := 0
	for range 6 {
		acks := crashtest.Killed(t, dir, 60*time.Millisecond, func(dir string, ack func(string)) {
			db, err := Open(context.Background(), dir)
			for i := 0; err == nil; i++ {
				id := fmt.Sprintf("%d-%d", os.Getpid(), i)
				err = db.Write(context.Background(), func(tx *sql.Tx) error {
					if err := addTenant(tx, id); err != nil {
						return err
					}
					for j := range 20 { // so that a transaction can be cut in the middle
						_, err := tx.Exec(`INSERT INTO usage VALUES (?, '2026-01-01', ?, 'm', 1, 1, 0, 1, 1, 0, 0)`, id, fmt.Sprint(j))
						if err != nil {
							return err
						}
					}
					return nil
				})
				ack(id)
			}
			fmt.Println(err)
		})
		acked += len(acks)
		db, err := Open(context.Background(), dir)
		if err != nil {
			t.Fatal(err)
		}
		var check string
		var half int
		err = db.Read(context.Background(), func(tx *sql.Tx) error {
			for _, id := range acks {
				var n int
				if err := tx.QueryRow(`SELECT count(*) FROM tenants WHERE id = ?`, id).Scan(&n); err != nil || n != 1 {
					t.Errorf("acknowledged and gone: %s, %v", id, err)
				}
			}
			if err := tx.QueryRow(`SELECT count(*) FROM tenants t WHERE 20 <> (SELECT count(*) FROM usage u WHERE u.tenant_id = t.id)`).Scan(&half); err != nil {
				return err
			}
			return tx.QueryRow(`PRAGMA integrity_check`).Scan(&check)
		})
		if err != nil || check != "ok" || half != 0 {
			t.Errorf("%v; integrity %q; %d half-written", err, check, half)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d acknowledged", acked)
}

func TestFullDisk(t *testing.T) {
	crashtest.SmallDisk(t, 2<<20, func(dir string) {
		ctx := context.Background()
		db := open(t, dir)
		free := crashtest.Fill(t, dir)
		written := 0
		var err error
		for err == nil && written < 1_000_000 {
			err = db.Write(ctx, func(tx *sql.Tx) error { return addTenant(tx, strings.Repeat("x", 3000)+fmt.Sprint(written)) })
			if err == nil {
				written++
			}
		}
		if fault.KindOf(err) != fault.NoSpace || fault.RemedyOf(err) == "" {
			t.Fatalf("Write on a full disk: %v", err)
		}
		if n := countTenants(t, db); n != written {
			t.Errorf("%d tenants, %d acknowledged", n, written)
		}
		free()
		if err := db.Write(ctx, func(tx *sql.Tx) error { return addTenant(tx, "again") }); err != nil {
			t.Errorf("Write when there is room again: %v", err)
		}
		if n := countTenants(t, db); n != written+1 {
			t.Errorf("%d tenants, want %d", n, written+1)
		}
	})
}

func TestOpenOnAFullOrReadOnlyDisk(t *testing.T) {
	crashtest.SmallDisk(t, 1<<20, func(dir string) {
		free := crashtest.Fill(t, dir)
		_, err := Open(context.Background(), dir)
		if fault.KindOf(err) != fault.NoSpace || fault.RemedyOf(err) == "" {
			t.Errorf("full: %v", err)
		}
		free()
		open(t, dir).Close()
		if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			t.Skipf("SKIPPED, NOT TESTED: %v", err)
		}
		_, err = Open(context.Background(), dir)
		if fault.KindOf(err) != fault.Denied || !strings.Contains(fault.RemedyOf(err), "--data") {
			t.Errorf("read-only: %v", err)
		}
	})
}
