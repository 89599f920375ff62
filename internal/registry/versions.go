package registry

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"

	"tandem/fault"
	"tandem/internal/blob"
	"tandem/internal/store"
	"tandem/internal/tenant"
	"tandem/model"
)

// MaxManifestBytes bounds a manifest; its largest part is the names of classes.
const MaxManifestBytes = 16 << 20

// maxMissing bounds the digests that an error names.
const maxMissing = 3

// CreateVersion names the files of a manifest as the next version of a model, which is
// made where it is missing. Every file must have been sent by this tenant. A manifest
// that the model has already gives the version that is there: a client that lost the
// answer asks again.
func (r *Registry) CreateVersion(ctx context.Context, t tenant.ID, name string, manifest []byte) (Version, error) {
	const op = "registry.createVersion"
	if err := checkName(name); err != nil {
		return Version{}, fault.From(err, op)
	}
	if len(manifest) > MaxManifestBytes {
		return Version{}, fault.New(op, fault.TooLarge, "the manifest has %d bytes; at most %d are allowed", len(manifest), MaxManifestBytes)
	}
	m, err := model.ParseManifest(manifest)
	if err != nil {
		return Version{}, fault.From(err, op)
	}
	digest := blob.Sum(manifest)
	defer r.pins.pin(digest)()
	if _, _, err := r.blobs.Put(ctx, bytes.NewReader(manifest), digest, MaxManifestBytes); err != nil {
		return Version{}, fault.From(err, op)
	}
	var v Version
	err = r.db.Write(ctx, func(tx *sql.Tx) error {
		v, err = scanVersion(tx.QueryRowContext(ctx, selectVersions+` AND v.model = ? AND v.digest = ?`, t, name, digest))
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if err := checkFiles(ctx, tx, t, m.Files); err != nil {
			return err
		}
		v, err = r.insertVersion(ctx, tx, t, name, digest, int64(len(manifest)), m.Files)
		return err
	})
	if err != nil {
		return Version{}, fault.From(err, op)
	}
	return v, nil
}

// checkFiles compares each file with what the tenant has sent.
func checkFiles(ctx context.Context, tx *sql.Tx, t tenant.ID, files []model.File) error {
	const op = "registry.createVersion"
	var missing []string
	for _, f := range files {
		if _, err := blob.ParseDigest(string(f.Digest)); err != nil {
			return fault.Wrap(err, op, fault.Invalid, "file %.100q", f.Name)
		}
		var stored int64
		err := tx.QueryRowContext(ctx, `SELECT bytes FROM blobs WHERE tenant_id = ? AND digest = ?`, t, f.Digest).Scan(&stored)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			missing = append(missing, fmt.Sprintf("%.100q (%s)", f.Name, f.Digest))
		case err != nil:
			return err
		case stored != f.Bytes:
			return fault.New(op, fault.Invalid, "file %.100q has %d bytes, not the %d that the manifest says", f.Name, stored, f.Bytes).
				Try("write the manifest again from the files")
		}
	}
	if len(missing) == 0 {
		return nil
	}
	shown := strings.Join(missing[:min(len(missing), maxMissing)], ", ")
	if len(missing) > maxMissing {
		shown += ", …"
	}
	return fault.New(op, fault.Conflict, "%d of the %d files have not been sent: %s", len(missing), len(files), shown).
		Try("send these files, then create the version again")
}

// insertVersion takes the next number, and claims the uploads for the version: from now
// on they are kept because it names them, and go when it goes.
func (r *Registry) insertVersion(ctx context.Context, tx *sql.Tx, t tenant.ID, name string, digest blob.Digest, manifestBytes int64, files []model.File) (Version, error) {
	v := Version{Model: name, Digest: digest, CreatedAt: store.Time(store.Micros(r.now()))}
	created := store.Micros(v.CreatedAt)
	err := tx.QueryRowContext(ctx, `INSERT INTO models (tenant_id, name, last_number, created_at) VALUES (?, ?, 1, ?)
		ON CONFLICT (tenant_id, name) DO UPDATE SET last_number = last_number + 1 RETURNING last_number`, t, name, created).Scan(&v.Number)
	if err != nil {
		return Version{}, err
	}
	if err := r.holdBlob(ctx, tx, t, digest, manifestBytes); err != nil {
		return Version{}, err
	}
	named := map[blob.Digest]bool{digest: true} // two names can have the same bytes
	for _, f := range files {
		v.Bytes += f.Bytes
		named[f.Digest] = true
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO versions (tenant_id, model, number, digest, bytes, created_at) VALUES (?, ?, ?, ?, ?, ?)`,
		t, name, v.Number, digest, v.Bytes, created)
	if err != nil {
		return Version{}, err
	}
	for d := range named {
		if _, err := tx.ExecContext(ctx, `INSERT INTO version_files (tenant_id, model, number, digest) VALUES (?, ?, ?, ?)`, t, name, v.Number, d); err != nil {
			return Version{}, err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE blobs SET held_until = 0 WHERE tenant_id = ? AND digest = ?`, t, d); err != nil {
			return Version{}, err
		}
	}
	return v, nil
}

// ManifestBytes reads the manifest of a version, in the encoding whose digest it has.
func (r *Registry) ManifestBytes(ctx context.Context, t tenant.ID, v Version) ([]byte, error) {
	const op = "registry.manifest"
	f, _, err := r.OpenBlob(ctx, t, v.Digest)
	if err != nil {
		return nil, fault.From(err, op)
	}
	defer f.Close()
	manifest, err := io.ReadAll(f)
	if err != nil {
		return nil, fault.From(err, op)
	}
	if got := blob.Sum(manifest); got != v.Digest {
		return nil, fault.New(op, fault.Corrupt, "the manifest of %s:%d has digest %s, not %s", v.Model, v.Number, got, v.Digest).
			Try("check the disk, then restore the --data directory from a backup, or create the version again")
	}
	return manifest, nil
}

// Manifest reads and parses the manifest of a version.
func (r *Registry) Manifest(ctx context.Context, t tenant.ID, v Version) (*model.Manifest, error) {
	const op = "registry.manifest"
	manifest, err := r.ManifestBytes(ctx, t, v)
	if err != nil {
		return nil, err
	}
	m, err := model.ParseManifest(manifest)
	return m, fault.From(err, op)
}

// DeleteVersion removes a version that is not deployed. Its bytes go with the next GC.
func (r *Registry) DeleteVersion(ctx context.Context, t tenant.ID, name string, number int) error {
	const op = "registry.deleteVersion"
	if number <= 0 { // never "the newest one" when deleting
		return fault.New(op, fault.Invalid, "%d is not the number of a version", number).Try("name the version to delete, as in NAME:3")
	}
	err := r.db.Write(ctx, func(tx *sql.Tx) error {
		if _, err := findVersion(ctx, tx, op, t, name, number); err != nil {
			return err
		}
		active, err := activeDeployment(ctx, tx, t, name)
		if err != nil {
			return err
		}
		if active.Version == number {
			return fault.New(op, fault.Conflict, "version %d of model %q is deployed", number, name).
				Try("deploy another version, or end the deployment with tandem deployments delete, then delete it")
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM versions WHERE tenant_id = ? AND model = ? AND number = ?`, t, name, number)
		return err
	})
	return fault.From(err, op)
}

// DeleteModel removes a model that is not deployed, with its versions and its history.
func (r *Registry) DeleteModel(ctx context.Context, t tenant.ID, name string) error {
	const op = "registry.deleteModel"
	err := r.db.Write(ctx, func(tx *sql.Tx) error {
		if err := modelExists(ctx, tx, op, t, name); err != nil {
			return err
		}
		active, err := activeDeployment(ctx, tx, t, name)
		if err != nil {
			return err
		}
		if active.Version != 0 {
			return fault.New(op, fault.Conflict, "version %d of model %q is deployed", active.Version, name).
				Try("end the deployment with tandem deployments delete, then delete it")
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM models WHERE tenant_id = ? AND name = ?`, t, name)
		return err
	})
	return fault.From(err, op)
}
