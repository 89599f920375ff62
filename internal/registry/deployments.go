package registry

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"tandem/fault"
	"tandem/internal/store"
	"tandem/internal/tenant"
)

// Deployment says that a version of a model serves, or served. A model has at most one
// that has not ended.
type Deployment struct {
	ID        int64        `json:"id"` // grows with time
	Model     string       `json:"model"`
	Version   int          `json:"version"`
	CreatedAt time.Time    `json:"created_at"`
	CreatedBy tenant.KeyID `json:"created_by"`
	EndedAt   time.Time    `json:"ended_at,omitzero"`

	// previous is the deployment that a rollback brings back, 0 for none. A rollback
	// copies it from the one that it brings back: so each one goes further into the past,
	// where going to the row before would only swap two versions.
	previous int64
}

// Placement is a version that should serve, and whose it is.
type Placement struct {
	Tenant  tenant.ID
	Version Version
}

const selectDeployments = `SELECT d.id, d.model, d.number, d.created_at, d.created_by, d.ended_at, d.previous
	FROM deployments d WHERE d.tenant_id = ?`

func scanDeployment(r row) (Deployment, error) {
	var d Deployment
	var created, ended, previous sql.NullInt64
	err := r.Scan(&d.ID, &d.Model, &d.Version, &created, &d.CreatedBy, &ended, &previous)
	d.CreatedAt, d.EndedAt, d.previous = store.Time(created), store.Time(ended), previous.Int64
	return d, err
}

// one is the deployment that the query selects, or the zero Deployment.
func one(ctx context.Context, tx *sql.Tx, query string, args ...any) (Deployment, error) {
	d, err := scanDeployment(tx.QueryRowContext(ctx, query, args...))
	if errors.Is(err, sql.ErrNoRows) {
		return Deployment{}, nil
	}
	return d, err
}

func activeDeployment(ctx context.Context, tx *sql.Tx, t tenant.ID, name string) (Deployment, error) {
	return one(ctx, tx, selectDeployments+` AND d.model = ? AND d.ended_at IS NULL`, t, name)
}

// Deploy makes a version the one that serves; number 0 is the newest one. Deploying what
// is deployed changes nothing.
func (r *Registry) Deploy(ctx context.Context, p tenant.Principal, name string, number int) (Deployment, error) {
	const op = "registry.deploy"
	if err := p.Require(tenant.ActDeploy, op); err != nil {
		return Deployment{}, err
	}
	var d Deployment
	err := r.db.Write(ctx, func(tx *sql.Tx) error {
		v, err := findVersion(ctx, tx, op, p.Tenant, name, number)
		if err != nil {
			return err
		}
		last, err := one(ctx, tx, selectDeployments+` AND d.model = ? ORDER BY d.id DESC LIMIT 1`, p.Tenant, name)
		if err != nil {
			return err
		}
		if last.Version == v.Number && last.EndedAt.IsZero() {
			d = last
			return nil
		}
		d, err = r.replace(ctx, tx, p, name, v.Number, last.ID)
		return err
	})
	if err != nil {
		return Deployment{}, fault.From(err, op)
	}
	return d, nil
}

// Previous is the version that served before the present one, which Rollback brings
// back. Versions that have been deleted since are passed over.
func (r *Registry) Previous(ctx context.Context, p tenant.Principal, name string) (Version, error) {
	const op = "registry.previous"
	if err := p.Require(tenant.ActDeploy, op); err != nil {
		return Version{}, err
	}
	var v Version
	err := r.db.Read(ctx, func(tx *sql.Tx) error {
		d, err := rollbackTarget(ctx, tx, op, p.Tenant, name)
		if err != nil {
			return err
		}
		v, err = findVersion(ctx, tx, op, p.Tenant, name, d.Version)
		return err
	})
	return v, fault.From(err, op)
}

// Rollback makes the version serve that Previous gave. It refuses if another would be
// that one by now.
func (r *Registry) Rollback(ctx context.Context, p tenant.Principal, name string, number int) (Deployment, error) {
	const op = "registry.rollback"
	if err := p.Require(tenant.ActDeploy, op); err != nil {
		return Deployment{}, err
	}
	var d Deployment
	err := r.db.Write(ctx, func(tx *sql.Tx) error {
		target, err := rollbackTarget(ctx, tx, op, p.Tenant, name)
		if err != nil {
			return err
		}
		if target.Version != number {
			return fault.New(op, fault.Conflict, "version %d of model %q is no longer the one that served before", number, name).
				Try("list the versions, then try again")
		}
		d, err = r.replace(ctx, tx, p, name, target.Version, target.previous)
		return err
	})
	if err != nil {
		return Deployment{}, fault.From(err, op)
	}
	return d, nil
}

// rollbackTarget walks into the past to another version that is still there. The same
// version can come before itself: it was deployed, undeployed and deployed.
func rollbackTarget(ctx context.Context, tx *sql.Tx, op string, t tenant.ID, name string) (Deployment, error) {
	active, err := mustBeDeployed(ctx, tx, op, t, name)
	if err != nil {
		return Deployment{}, err
	}
	d := active
	for d.previous != 0 {
		if d, err = one(ctx, tx, selectDeployments+` AND d.id = ?`, t, d.previous); err != nil {
			return Deployment{}, err
		}
		var there bool
		err = tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM versions WHERE tenant_id = ? AND model = ? AND number = ?)`,
			t, name, d.Version).Scan(&there)
		if err != nil || there && d.Version != active.Version {
			return d, err
		}
	}
	return Deployment{}, fault.New(op, fault.Conflict, "nothing is left that served before version %d of model %q", active.Version, name).
		Try("deploy the version that should serve")
}

// replace ends the deployment that is active and begins another.
func (r *Registry) replace(ctx context.Context, tx *sql.Tx, p tenant.Principal, name string, number int, previous int64) (Deployment, error) {
	now := store.Micros(r.now())
	if err := end(ctx, tx, p.Tenant, name, now); err != nil {
		return Deployment{}, err
	}
	d := Deployment{Model: name, Version: number, CreatedAt: store.Time(now), CreatedBy: p.Key, previous: previous}
	err := tx.QueryRowContext(ctx, `INSERT INTO deployments (tenant_id, model, number, previous, created_at, created_by)
		VALUES (?, ?, ?, nullif(?, 0), ?, ?) RETURNING id`, p.Tenant, name, number, previous, now, p.Key).Scan(&d.ID)
	return d, err
}

func end(ctx context.Context, tx *sql.Tx, t tenant.ID, name string, now sql.NullInt64) error {
	_, err := tx.ExecContext(ctx, `UPDATE deployments SET ended_at = ? WHERE tenant_id = ? AND model = ? AND ended_at IS NULL`, now, t, name)
	return err
}

// Undeploy ends what serves.
func (r *Registry) Undeploy(ctx context.Context, p tenant.Principal, name string) error {
	const op = "registry.undeploy"
	if err := p.Require(tenant.ActDeploy, op); err != nil {
		return err
	}
	err := r.db.Write(ctx, func(tx *sql.Tx) error {
		if _, err := mustBeDeployed(ctx, tx, op, p.Tenant, name); err != nil {
			return err
		}
		return end(ctx, tx, p.Tenant, name, store.Micros(r.now()))
	})
	return fault.From(err, op)
}

// mustBeDeployed tells apart a model that is not there and one that is not deployed.
func mustBeDeployed(ctx context.Context, tx *sql.Tx, op string, t tenant.ID, name string) (Deployment, error) {
	d, err := activeDeployment(ctx, tx, t, name)
	if err != nil || d.Version != 0 {
		return d, err
	}
	if err := modelExists(ctx, tx, op, t, name); err != nil {
		return Deployment{}, err
	}
	return Deployment{}, fault.New(op, fault.NotFound, "model %q is not deployed", name).Try("deploy a version of it")
}

// Deployments lists what serves, by model.
func (r *Registry) Deployments(ctx context.Context, t tenant.ID) ([]Deployment, error) {
	var all []Deployment
	err := r.db.Read(ctx, func(tx *sql.Tx) (err error) {
		all, err = list(ctx, tx, scanDeployment, selectDeployments+` AND d.ended_at IS NULL ORDER BY d.model`, t)
		return err
	})
	return all, fault.From(err, "registry.deployments")
}

// Deployed is the version of a model that serves.
func (r *Registry) Deployed(ctx context.Context, t tenant.ID, name string) (Version, error) {
	const op = "registry.deployed"
	var v Version
	err := r.db.Read(ctx, func(tx *sql.Tx) error {
		d, err := mustBeDeployed(ctx, tx, op, t, name)
		if err != nil {
			return err
		}
		v, err = findVersion(ctx, tx, op, t, name, d.Version)
		return err
	})
	return v, fault.From(err, op)
}

// AllDeployed lists what serves for all tenants, for the start of the server. It is the
// only list that crosses tenants.
func (r *Registry) AllDeployed(ctx context.Context) ([]Placement, error) {
	var all []Placement
	err := r.db.Read(ctx, func(tx *sql.Tx) (err error) {
		all, err = list(ctx, tx, func(r row) (Placement, error) {
			var p Placement
			var created sql.NullInt64
			v := &p.Version
			err := r.Scan(&p.Tenant, &v.Model, &v.Number, &v.Digest, &v.Bytes, &created)
			v.CreatedAt = store.Time(created)
			return p, err
		}, `SELECT v.tenant_id, v.model, v.number, v.digest, v.bytes, v.created_at
			FROM deployments d JOIN versions v USING (tenant_id, model, number)
			WHERE d.ended_at IS NULL ORDER BY v.tenant_id, v.model`)
		return err
	})
	return all, fault.From(err, "registry.allDeployed")
}
