package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"tandem/fault"
)

func open(t *testing.T, dir string) *DB {
	t.Helper()
	db, err := Open(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func addTenant(tx *sql.Tx, id string) error {
	_, err := tx.Exec(`INSERT INTO tenants (id, name, created_at) VALUES (?, ?, 1)`, id, "name of "+id)
	return err
}

func countTenants(t *testing.T, db *DB) (n int) {
	t.Helper()
	err := db.Read(context.Background(), func(tx *sql.Tx) error {
		return tx.QueryRow(`SELECT count(*) FROM tenants`).Scan(&n)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Every table has the tenant, not null and with an index that begins with it.
func TestEveryTableHasTheTenant(t *testing.T) {
	db := open(t, t.TempDir())
	exempt := map[string]bool{"tenants": true, "goose_db_version": true, "sqlite_schema": true, "sqlite_sequence": true}
	err := db.Read(context.Background(), func(tx *sql.Tx) error {
		rows, err := tx.Query(`SELECT t.name, t.strict,
			EXISTS (SELECT 1 FROM pragma_table_info(t.name) c WHERE c.name = 'tenant_id' AND c."notnull"),
			EXISTS (SELECT 1 FROM pragma_index_list(t.name) l, pragma_index_info(l.name) i WHERE i.seqno = 0 AND i.name = 'tenant_id')
			FROM pragma_table_list t WHERE t.schema = 'main'`)
		if err != nil {
			return err
		}
		defer rows.Close()
		seen := 0
		for rows.Next() {
			var name string
			var strict, column, index bool
			if err := rows.Scan(&name, &strict, &column, &index); err != nil {
				return err
			}
			if exempt[name] {
				continue
			}
			if seen++; !column || !index || !strict {
				t.Errorf("table %s: strict %v, tenant_id %v, indexed %v", name, strict, column, index)
			}
		}
		if seen < 7 {
			t.Errorf("only %d tables seen", seen)
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestASecondServerIsRefused(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	_, err := Open(context.Background(), dir)
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), dir) || fault.RemedyOf(err) == "" {
		t.Errorf("second Open: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

func TestFileModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data #1 100%?")
	db := open(t, dir)
	if err := db.Write(context.Background(), func(tx *sql.Tx) error { return addTenant(tx, "a") }); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) < 4 {
		t.Errorf("files: %v, %v; want database, wal, shm, lock", entries, err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
	}
}

func TestPragmas(t *testing.T) {
	db := open(t, t.TempDir())
	for _, tc := range []struct {
		pool         *sql.DB
		pragma, want string
	}{
		{db.write, "journal_mode", "wal"},
		{db.write, "synchronous", "2"}, // FULL: each commit is synced
		{db.write, "foreign_keys", "1"},
		{db.read, "query_only", "1"},
	} {
		var got string
		if err := tc.pool.QueryRow("PRAGMA " + tc.pragma).Scan(&got); err != nil || got != tc.want {
			t.Errorf("%s = %q, %v; want %q", tc.pragma, got, err, tc.want)
		}
	}
}

func TestWriteRollsBack(t *testing.T) {
	db := open(t, t.TempDir())
	ctx := context.Background()
	cause := fault.New("x.y", fault.TooLarge, "cause")
	err := db.Write(ctx, func(tx *sql.Tx) error { return errors.Join(addTenant(tx, "a"), cause) })
	if !errors.Is(err, cause) || fault.KindOf(err) != fault.TooLarge {
		t.Errorf("Write = %v", err)
	}
	func() {
		defer func() { recover() }()
		_ = db.Write(ctx, func(tx *sql.Tx) error { _ = addTenant(tx, "b"); panic("defect") })
	}()
	if n := countTenants(t, db); n != 0 {
		t.Errorf("%d tenants after rollbacks", n)
	}
	if err := db.Write(ctx, func(tx *sql.Tx) error { return addTenant(tx, "c") }); err != nil {
		t.Errorf("Write after a panic: %v", err)
	}
	if err := db.Write(ctx, func(tx *sql.Tx) error { return addTenant(tx, "c") }); fault.KindOf(err) != fault.Conflict {
		t.Errorf("the same again: %v", err)
	}
}

func TestReadCannotWrite(t *testing.T) {
	db := open(t, t.TempDir())
	if err := db.Read(context.Background(), func(tx *sql.Tx) error { return addTenant(tx, "a") }); err == nil {
		t.Error("Read wrote")
	}
	if n := countTenants(t, db); n != 0 {
		t.Errorf("%d tenants", n)
	}
}

func TestReadSeesOneStateBesideAWriter(t *testing.T) {
	db := open(t, t.TempDir())
	ctx := context.Background()
	err := db.Read(ctx, func(tx *sql.Tx) error {
		var before, after int
		if err := tx.QueryRow(`SELECT count(*) FROM tenants`).Scan(&before); err != nil {
			return err
		}
		if err := db.Write(ctx, func(tx *sql.Tx) error { return addTenant(tx, "a") }); err != nil {
			return err
		}
		err := tx.QueryRow(`SELECT count(*) FROM tenants`).Scan(&after)
		if before != after {
			t.Errorf("saw %d, then %d", before, after)
		}
		return err
	})
	if n := countTenants(t, db); err != nil || n != 1 {
		t.Errorf("%v; %d tenants", err, n)
	}
}

// Writers that read, then write what they have read, lose nothing and never meet BUSY.
func TestWritersAreSerialised(t *testing.T) {
	db := open(t, t.TempDir())
	ctx := context.Background()
	if err := db.Write(ctx, func(tx *sql.Tx) error { return addTenant(tx, "a") }); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				err := db.Write(ctx, func(tx *sql.Tx) error {
					var n int
					if err := tx.QueryRow(`SELECT created_at FROM tenants`).Scan(&n); err != nil {
						return err
					}
					_, err := tx.Exec(`UPDATE tenants SET created_at = ?`, n+1)
					return err
				})
				if err != nil {
					t.Error(err)
				}
				countTenants(t, db)
			}
		})
	}
	wg.Wait()
	var n int
	if err := db.read.QueryRow(`SELECT created_at FROM tenants`).Scan(&n); err != nil || n != 81 {
		t.Errorf("counted %d, %v; want 81", n, err)
	}
}

func TestWaitingWriterGivesUpWithItsContext(t *testing.T) {
	db := open(t, t.TempDir())
	err := db.Write(context.Background(), func(*sql.Tx) error {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		err := db.Write(ctx, func(tx *sql.Tx) error { return addTenant(tx, "a") })
		if fault.KindOf(err) != fault.Deadline {
			t.Errorf("Write = %v", err)
		}
		return nil
	})
	if n := countTenants(t, db); err != nil || n != 0 {
		t.Errorf("%v; %d tenants", err, n)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	newer := fstest.MapFS{"migrations/00099_later.sql": {Data: []byte("-- +goose Up\nCREATE TABLE later (x);\n")}}
	entries, err := migrations.ReadDir("migrations")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := "migrations/" + e.Name()
		data, err := migrations.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		newer[name] = &fstest.MapFile{Data: data}
	}
	if err := migrate(context.Background(), db.write, newer); err != nil {
		t.Fatal(err)
	}
	db.Close()
	_, err = Open(context.Background(), dir)
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "schema 99") || fault.RemedyOf(err) == "" {
		t.Errorf("Open = %v", err)
	}
}

func TestOpenSaysWhatIsWrongWithTheDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	garbage := t.TempDir()
	if err := errors.Join(os.WriteFile(file, nil, 0o600),
		os.WriteFile(filepath.Join(garbage, "tandem.db"), []byte(strings.Repeat("not a database ", 1000)), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		dir  string
		kind fault.Kind
	}{{filepath.Join(file, "data"), fault.Denied}, {garbage, fault.Corrupt}} {
		_, err := Open(context.Background(), tc.dir)
		if fault.KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.dir) || !strings.Contains(fault.RemedyOf(err), "--data") {
			t.Errorf("Open(%s) = %v; want %v", tc.dir, err, tc.kind)
		}
		_, again := Open(context.Background(), tc.dir)
		if fault.KindOf(again) != tc.kind {
			t.Errorf("a failed Open kept the lock: %v", again)
		}
	}
}

func TestMoments(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 8000, time.FixedZone("x", 3600))
	if got := Time(Micros(at)); !got.Equal(at) || got.Location() != time.UTC {
		t.Errorf("%v became %v", at, got)
	}
	if got := Time(Micros(time.Time{})); !got.IsZero() {
		t.Errorf("zero became %v", got)
	}
}

func BenchmarkWrite(b *testing.B) {
	db, err := Open(context.Background(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	for i := 0; b.Loop(); i++ {
		if err := db.Write(context.Background(), func(tx *sql.Tx) error { return addTenant(tx, fmt.Sprint(i)) }); err != nil {
			b.Fatal(err)
		}
	}
}
