package registry

import (
	"context"
	"database/sql"
	"errors"
	"regexp"
	"time"

	"tandem/fault"
	"tandem/internal/blob"
	"tandem/internal/store"
	"tandem/internal/tenant"
)

// Registry is the models of all tenants. It is safe for concurrent use.
type Registry struct {
	db    *store.DB
	blobs *blob.Dir
	now   func() time.Time
	pins  pins
}

// New makes a registry. It is the only user of blobs: see GC.
func New(db *store.DB, blobs *blob.Dir, now func() time.Time) *Registry {
	return &Registry{db: db, blobs: blobs, now: now, pins: pins{count: map[blob.Digest]int{}}}
}

// Model is a name and what is there under it.
type Model struct {
	Name      string    `json:"name"`
	Versions  int       `json:"versions"` // how many there are
	Latest    int       `json:"latest"`   // number of the newest one; 0 if there is none
	Deployed  int       `json:"deployed"` // number of the deployed one; 0 if there is none
	CreatedAt time.Time `json:"created_at"`
}

// Version is an artifact under a number. It never changes.
type Version struct {
	Model     string      `json:"model"`
	Number    int         `json:"number"`
	Digest    blob.Digest `json:"digest"` // of the manifest: the identity of the artifact
	Bytes     int64       `json:"bytes"`  // of the manifest's files together
	CreatedAt time.Time   `json:"created_at"`
}

// reName has no capital letters because names appear in URLs and file names, where some
// systems do not tell them apart.
var reName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// checkName says whether name can be the name of a model.
func checkName(name string) error {
	if reName.MatchString(name) {
		return nil
	}
	return fault.New("registry.checkName", fault.Invalid, "%.100q cannot be the name of a model", name).
		Try("use 1 to 63 of a-z, 0-9, dot, underscore and hyphen; begin with a letter or digit")
}

const selectModels = `SELECT m.name, m.created_at,
	(SELECT count(*) FROM versions v WHERE v.tenant_id = m.tenant_id AND v.model = m.name),
	(SELECT coalesce(max(v.number), 0) FROM versions v WHERE v.tenant_id = m.tenant_id AND v.model = m.name),
	coalesce((SELECT d.number FROM deployments d WHERE d.tenant_id = m.tenant_id AND d.model = m.name AND d.ended_at IS NULL), 0)
	FROM models m WHERE m.tenant_id = ?`

// Models lists the models of a tenant by name.
func (r *Registry) Models(ctx context.Context, t tenant.ID) ([]Model, error) {
	var all []Model
	err := r.db.Read(ctx, func(tx *sql.Tx) (err error) {
		all, err = list(ctx, tx, scanModel, selectModels+` ORDER BY m.name`, t)
		return err
	})
	return all, fault.From(err, "registry.models")
}

// Model describes one model.
func (r *Registry) Model(ctx context.Context, t tenant.ID, name string) (Model, error) {
	const op = "registry.model"
	var m Model
	err := r.db.Read(ctx, func(tx *sql.Tx) (err error) {
		m, err = scanModel(tx.QueryRowContext(ctx, selectModels+` AND m.name = ?`, t, name))
		return orNoModel(err, op, name)
	})
	return m, fault.From(err, op)
}

const selectVersions = `SELECT v.model, v.number, v.digest, v.bytes, v.created_at FROM versions v WHERE v.tenant_id = ?`

// Versions lists the versions of a model, the newest first.
func (r *Registry) Versions(ctx context.Context, t tenant.ID, name string) ([]Version, error) {
	const op = "registry.versions"
	var all []Version
	err := r.db.Read(ctx, func(tx *sql.Tx) (err error) {
		if err := modelExists(ctx, tx, op, t, name); err != nil {
			return err
		}
		all, err = list(ctx, tx, scanVersion, selectVersions+` AND v.model = ? ORDER BY v.number DESC`, t, name)
		return err
	})
	return all, fault.From(err, op)
}

// Version describes a version; number 0 is the newest one.
func (r *Registry) Version(ctx context.Context, t tenant.ID, name string, number int) (Version, error) {
	const op = "registry.version"
	var v Version
	err := r.db.Read(ctx, func(tx *sql.Tx) (err error) {
		v, err = findVersion(ctx, tx, op, t, name, number)
		return err
	})
	return v, fault.From(err, op)
}

// findVersion gives the newest version for number 0.
func findVersion(ctx context.Context, tx *sql.Tx, op string, t tenant.ID, name string, number int) (Version, error) {
	v, err := scanVersion(tx.QueryRowContext(ctx, selectVersions+` AND v.model = ? AND (? = 0 OR v.number = ?)
		ORDER BY v.number DESC LIMIT 1`, t, name, number, number))
	if !errors.Is(err, sql.ErrNoRows) {
		return v, err
	}
	if err := modelExists(ctx, tx, op, t, name); err != nil {
		return Version{}, err
	}
	if number == 0 {
		return Version{}, fault.New(op, fault.NotFound, "model %q has no version", name).Try("import or train one")
	}
	return Version{}, fault.New(op, fault.NotFound, "model %q has no version %d", name, number).
		Try("list the versions of the model to see which there are")
}

func modelExists(ctx context.Context, tx *sql.Tx, op string, t tenant.ID, name string) error {
	var one int
	err := tx.QueryRowContext(ctx, `SELECT 1 FROM models WHERE tenant_id = ? AND name = ?`, t, name).Scan(&one)
	return orNoModel(err, op, name)
}

func orNoModel(err error, op, name string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fault.New(op, fault.NotFound, "there is no model %.100q", name).Try("list the models to see which there are")
	}
	return err
}

// row is what *sql.Row and *sql.Rows have in common.
type row interface{ Scan(...any) error }

func scanModel(r row) (Model, error) {
	var m Model
	var created sql.NullInt64
	err := r.Scan(&m.Name, &created, &m.Versions, &m.Latest, &m.Deployed)
	m.CreatedAt = store.Time(created)
	return m, err
}

func scanVersion(r row) (Version, error) {
	var v Version
	var created sql.NullInt64
	err := r.Scan(&v.Model, &v.Number, &v.Digest, &v.Bytes, &created)
	v.CreatedAt = store.Time(created)
	return v, err
}

// list runs a query and scans every row; the result is not nil, so that it is [] in JSON.
func list[T any](ctx context.Context, tx *sql.Tx, scan func(row) (T, error), query string, args ...any) ([]T, error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := []T{}
	for rows.Next() {
		item, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, item)
	}
	return all, rows.Err()
}
