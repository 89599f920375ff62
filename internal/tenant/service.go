package tenant

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"tandem/fault"
	"tandem/internal/store"
)

// defaultName is the name of the tenant that the first start makes.
const defaultName = "default"

// firstName is that of a tenant's first key.
const firstName = "first owner"

// Service authenticates keys, manages them, and keeps the usage ledger. It is safe for
// concurrent use.
type Service struct {
	db  *store.DB
	now func() time.Time

	// changes orders loading, creating and revoking, so that the table below becomes
	// what the database is. Authenticate does not take it: it never waits for a disk.
	changes sync.Mutex
	loaded  atomic.Bool
	mu      sync.RWMutex
	live    map[string]*liveKey // by prefix; revoked keys are not in it

	usage ledger
}

// liveKey is a key that can be used now.
type liveKey struct {
	principal Principal
	hash      hash
	// lastUsed is in seconds since 1970: written at most once a second for each key.
	lastUsed atomic.Int64
	flushed  atomic.Int64 // the value of lastUsed that the database has
}

// New makes a service. The live keys are loaded on first use.
func New(db *store.DB, now func() time.Time) *Service {
	return &Service{db: db, now: now, live: map[string]*liveKey{}}
}

// Bootstrap makes the tenant "default" and its first owner key if there is no key yet;
// created is then true, and secret is shown this once. It loads the live keys, so the
// first request need not.
func (s *Service) Bootstrap(ctx context.Context) (secret string, created bool, err error) {
	const op = "tenant.bootstrap"
	if err := s.load(ctx); err != nil {
		return "", false, fault.From(err, op)
	}
	t, err := s.Default(ctx)
	if err != nil {
		return "", false, err
	}
	var n newKey
	err = s.change(ctx, func(tx *sql.Tx) error {
		var keys int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM keys`).Scan(&keys); err != nil || keys > 0 {
			return err
		}
		created = true
		n, err = s.insertKey(ctx, tx, t, firstName, RoleOwner)
		return err
	}, func() {
		if created {
			s.publish(n)
		}
	})
	if err != nil {
		return "", false, fault.From(err, op)
	}
	return n.secret, created, nil
}

// CreateTenant makes a tenant and its first owner key, whose secret is shown this once.
// No key may do this: it is for the operator who holds the data directory.
func (s *Service) CreateTenant(ctx context.Context, name string) (ID, string, error) {
	const op = "tenant.createTenant"
	if err := checkName(name, op); err != nil {
		return "", "", err
	}
	var n newKey
	err := s.change(ctx, func(tx *sql.Tx) error {
		var err error
		n, err = s.insertTenant(ctx, tx, name)
		return err
	}, func() { s.publish(n) })
	if fault.KindOf(err) == fault.Conflict {
		return "", "", fault.New(op, fault.Conflict, "there is a tenant %q already", name).Try("choose another name")
	}
	if err != nil {
		return "", "", fault.From(err, op)
	}
	return n.principal.Tenant, n.secret, nil
}

// Default is the tenant "default". It is made if it is not there, without a key: a
// server that asks for none may fail before it could show one.
func (s *Service) Default(ctx context.Context) (ID, error) {
	const op = "tenant.default"
	var id ID
	err := s.change(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `SELECT id FROM tenants WHERE name = ?`, defaultName).Scan(&id)
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		id, err = s.insertTenantRow(ctx, tx, defaultName)
		return err
	}, func() {})
	return id, fault.From(err, op)
}

func (s *Service) insertTenantRow(ctx context.Context, tx *sql.Tx, name string) (ID, error) {
	id := ID(newID())
	_, err := tx.ExecContext(ctx, `INSERT INTO tenants (id, name, created_at) VALUES (?, ?, ?)`, id, name, store.Micros(s.now()))
	return id, err
}

func (s *Service) insertTenant(ctx context.Context, tx *sql.Tx, name string) (newKey, error) {
	id, err := s.insertTenantRow(ctx, tx, name)
	if err != nil {
		return newKey{}, err
	}
	return s.insertKey(ctx, tx, id, firstName, RoleOwner)
}

// change runs a write transaction, and then publish, before any other change starts.
func (s *Service) change(ctx context.Context, write func(*sql.Tx) error, publish func()) error {
	s.changes.Lock()
	defer s.changes.Unlock()
	if err := s.db.Write(ctx, write); err != nil {
		return err
	}
	publish()
	return nil
}

// load reads the live keys once; a failed load is tried again by the next caller.
func (s *Service) load(ctx context.Context) error {
	if s.loaded.Load() {
		return nil
	}
	s.changes.Lock()
	defer s.changes.Unlock()
	if s.loaded.Load() {
		return nil
	}
	live := map[string]*liveKey{}
	err := s.db.Read(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT tenant_id, id, role, prefix, hash, last_used_at FROM keys WHERE revoked_at IS NULL`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var k liveKey
			var prefix string
			var sum []byte
			var used sql.NullInt64
			if err := rows.Scan(&k.principal.Tenant, &k.principal.Key, &k.principal.Role, &prefix, &sum, &used); err != nil {
				return err
			}
			copy(k.hash[:], sum)
			if used.Valid {
				k.lastUsed.Store(store.Time(used).Unix())
				k.flushed.Store(k.lastUsed.Load())
			}
			live[prefix] = &k
		}
		return rows.Err()
	})
	if err != nil {
		return fault.From(err, "tenant.load")
	}
	s.mu.Lock()
	s.live = live
	s.mu.Unlock()
	s.loaded.Store(true)
	return nil
}

// Authenticate finds whose secret this is. It does not touch the disk. Every failure has
// the same text, so that it tells nothing about which keys there are.
func (s *Service) Authenticate(ctx context.Context, secret string) (Principal, error) {
	const op = "tenant.authenticate"
	if err := s.load(ctx); err != nil {
		return Principal{}, fault.From(err, op)
	}
	prefix, shaped := publicPart(secret)
	s.mu.RLock()
	k := s.live[prefix]
	s.mu.RUnlock()
	if !shaped || k == nil || !k.hash.equal(hashOf(secret)) {
		return Principal{}, fault.New(op, fault.Unauthenticated, "the key is missing, wrong or revoked").
			Try("send a key that begins with td_, as in Authorization: Bearer td_…; an owner can make one")
	}
	if now := s.now().Unix(); k.lastUsed.Load() != now {
		k.lastUsed.Store(now)
	}
	return k.principal, nil
}

// newID makes an identity that sorts by time of creation.
func newID() string { return uuid.Must(uuid.NewV7()).String() }
