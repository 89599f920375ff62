package registry

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"tandem/fault"
	"tandem/internal/blob"
	"tandem/internal/store"
	"tandem/internal/tenant"
)

// holdUpload is how long bytes are kept for the version that will name them.
const holdUpload = 24 * time.Hour

// pins keeps GC from removing a file between the moment that it is complete and the
// moment that a row names it. One process has the directory open, so memory is enough.
type pins struct {
	mu    sync.Mutex
	count map[blob.Digest]int
}

func (p *pins) pin(d blob.Digest) (unpin func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count[d]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.count[d]--; p.count[d] == 0 {
			delete(p.count, d)
		}
	}
}

// HasBlob tells whether this tenant need not send d. For bytes that no version names and
// that GC will soon remove it says false: sending them again holds them again.
func (r *Registry) HasBlob(ctx context.Context, t tenant.ID, d blob.Digest) (bool, error) {
	const op = "registry.hasBlob"
	if _, err := blob.ParseDigest(string(d)); err != nil {
		return false, fault.From(err, op)
	}
	var rows int
	err := r.db.Read(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT count(*) FROM blobs b WHERE tenant_id = ? AND digest = ? AND (held_until > ?
			OR EXISTS (SELECT 1 FROM version_files f WHERE f.tenant_id = b.tenant_id AND f.digest = b.digest))`,
			t, d, store.Micros(r.now().Add(holdUpload/2))).Scan(&rows)
	})
	if err != nil || rows == 0 {
		return false, fault.From(err, op)
	}
	there, err := r.blobs.Has(d) // a file lost with a disk is sent again
	return there, fault.From(err, op)
}

// PutBlob stores bytes for this tenant. It refuses them if their digest is not want, or
// if there are more than limitBytes. They are kept for a day, and then for as long as a
// version names them.
func (r *Registry) PutBlob(ctx context.Context, t tenant.ID, want blob.Digest, body io.Reader, limitBytes int64) error {
	const op = "registry.putBlob"
	if _, err := blob.ParseDigest(string(want)); err != nil {
		return fault.From(err, op)
	}
	defer r.pins.pin(want)()
	_, bytes, err := r.blobs.Put(ctx, body, want, limitBytes)
	if err != nil {
		return fault.From(err, op)
	}
	err = r.db.Write(ctx, func(tx *sql.Tx) error { return r.holdBlob(ctx, tx, t, want, bytes) })
	return fault.From(err, op)
}

func (r *Registry) holdBlob(ctx context.Context, tx *sql.Tx, t tenant.ID, d blob.Digest, bytes int64) error {
	now := r.now()
	_, err := tx.ExecContext(ctx, `INSERT INTO blobs (tenant_id, digest, bytes, created_at, held_until) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (tenant_id, digest) DO UPDATE SET held_until = excluded.held_until`,
		t, d, bytes, store.Micros(now), store.Micros(now.Add(holdUpload)))
	return err
}

// OpenBlob opens bytes that this tenant has sent, and says how many there are.
func (r *Registry) OpenBlob(ctx context.Context, t tenant.ID, d blob.Digest) (*os.File, int64, error) {
	const op = "registry.openBlob"
	if _, err := blob.ParseDigest(string(d)); err != nil {
		return nil, 0, fault.From(err, op)
	}
	var bytes int64
	err := r.db.Read(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `SELECT bytes FROM blobs WHERE tenant_id = ? AND digest = ?`, t, d).Scan(&bytes)
		if errors.Is(err, sql.ErrNoRows) {
			return fault.New(op, fault.NotFound, "there are no bytes with digest %s", d)
		}
		return err
	})
	if err != nil {
		return nil, 0, fault.From(err, op)
	}
	f, err := r.blobs.Open(d)
	if fault.KindOf(err) == fault.NotFound {
		return nil, 0, lost(op, d)
	}
	if err != nil {
		return nil, 0, fault.From(err, op)
	}
	return f, bytes, nil
}

func lost(op string, d blob.Digest) error {
	return fault.New(op, fault.Corrupt, "the file of %s is missing from the data directory", d).
		Try("upload the file again, or restore the --data directory from a backup")
}

// BlobPath is where the bytes of a version's file are, for loading. It does not ask
// whose they are: take d from a manifest that the tenant may see.
func (r *Registry) BlobPath(d blob.Digest) (string, error) {
	path, err := r.blobs.Path(d)
	return path, fault.From(err, "registry.blobPath")
}

// GC removes the bytes that no version names and no upload holds, and returns how many
// files went. A file that is open or mapped stays readable where it is. What a crash
// interrupts, the next GC does.
func (r *Registry) GC(ctx context.Context) (files int, err error) {
	const op = "registry.gc"
	err = r.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM blobs WHERE held_until <= ? AND NOT EXISTS
			(SELECT 1 FROM version_files f WHERE f.tenant_id = blobs.tenant_id AND f.digest = blobs.digest)`, store.Micros(r.now()))
		return err
	})
	if err != nil {
		return 0, fault.From(err, op)
	}
	stored, err := r.blobs.All()
	if err != nil {
		return 0, fault.From(err, op)
	}
	for _, d := range stored {
		removed, err := r.removeUnnamed(ctx, d)
		if err != nil {
			return files, fault.From(err, op)
		}
		if removed {
			files++
		}
	}
	return files, nil
}

// removeUnnamed deletes a file that no tenant's row names. Rows appear only while the
// digest is pinned, and nothing is pinned while the lock is held: so what has no row
// here gets none before the file is gone.
func (r *Registry) removeUnnamed(ctx context.Context, d blob.Digest) (bool, error) {
	r.pins.mu.Lock()
	defer r.pins.mu.Unlock()
	if r.pins.count[d] > 0 {
		return false, nil
	}
	var named bool
	err := r.db.Read(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM blobs WHERE digest = ?)`, d).Scan(&named)
	})
	if err != nil || named {
		return false, err
	}
	return true, r.blobs.Delete(d)
}
