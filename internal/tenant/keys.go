package tenant

import (
	"context"
	"database/sql"
	"strings"
	"time"
	"unicode"

	"tandem/fault"
	"tandem/internal/store"
)

// maxKeys bounds a tenant's live keys: all of them are in memory.
const maxKeys = 10_000

// maxNameBytes bounds the name of a key or tenant.
const maxNameBytes = 100

// Key describes a key without its secret.
type Key struct {
	ID         KeyID     `json:"id"`
	Name       string    `json:"name"`
	Role       Role      `json:"role"`
	Prefix     string    `json:"prefix"` // the public part of the secret, to tell keys apart
	CreatedAt  time.Time `json:"created_at"`
	LastUsedAt time.Time `json:"last_used_at,omitzero"` // to the second
	RevokedAt  time.Time `json:"revoked_at,omitzero"`
}

// newKey is a key that has just been made: not live before publish.
type newKey struct {
	key       Key
	secret    string
	principal Principal
}

// CreateKey makes a key in p's tenant. The secret is shown this once.
func (s *Service) CreateKey(ctx context.Context, p Principal, name string, role Role) (Key, string, error) {
	const op = "tenant.createKey"
	if err := p.Require(ActKeys, op); err != nil {
		return Key{}, "", err
	}
	if err := checkName(name, op); err != nil {
		return Key{}, "", err
	}
	if !role.valid() {
		return Key{}, "", fault.New(op, fault.Invalid, "%.50q is not a role", role).Try("use owner, developer or user")
	}
	if err := s.load(ctx); err != nil {
		return Key{}, "", fault.From(err, op)
	}
	var n newKey
	err := s.change(ctx, func(tx *sql.Tx) error {
		var live int
		err := tx.QueryRowContext(ctx, `SELECT count(*) FROM keys WHERE tenant_id = ? AND revoked_at IS NULL`, p.Tenant).Scan(&live)
		if err != nil {
			return err
		}
		if live >= maxKeys {
			return fault.New(op, fault.Exhausted, "there are %d keys already", live).Try("revoke keys that are not used")
		}
		n, err = s.insertKey(ctx, tx, p.Tenant, name, role)
		return err
	}, func() { s.publish(n) })
	if err != nil {
		return Key{}, "", fault.From(err, op)
	}
	return n.key, n.secret, nil
}

// insertKey draws a secret and stores its hash. The prefix is unique among all keys, and
// drawn again in the rare case that another key has it.
func (s *Service) insertKey(ctx context.Context, tx *sql.Tx, t ID, name string, role Role) (newKey, error) {
	n := newKey{key: Key{ID: KeyID(newID()), Name: name, Role: role, CreatedAt: s.now().UTC().Truncate(time.Microsecond)}}
	n.principal = Principal{Tenant: t, Key: n.key.ID, Role: role}
	for {
		n.secret = newSecret()
		n.key.Prefix, _ = publicPart(n.secret)
		sum := hashOf(n.secret)
		res, err := tx.ExecContext(ctx, `INSERT INTO keys (tenant_id, id, name, role, prefix, hash, created_at)
			VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (prefix) DO NOTHING`,
			t, n.key.ID, name, role, n.key.Prefix, sum[:], store.Micros(n.key.CreatedAt))
		if err != nil {
			return newKey{}, err
		}
		if inserted, err := res.RowsAffected(); err != nil || inserted == 1 {
			return n, err
		}
	}
}

// publish makes a stored key live; an empty one is none.
func (s *Service) publish(n newKey) {
	if n.secret == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live[n.key.Prefix] = &liveKey{principal: n.principal, hash: hashOf(n.secret)}
}

// Keys lists the keys of p's tenant, oldest first, the revoked ones included.
func (s *Service) Keys(ctx context.Context, p Principal) ([]Key, error) {
	const op = "tenant.keys"
	if err := p.Require(ActKeys, op); err != nil {
		return nil, err
	}
	keys := []Key{}
	err := s.db.Read(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT id, name, role, prefix, created_at, last_used_at, revoked_at
			FROM keys WHERE tenant_id = ? ORDER BY created_at, id`, p.Tenant)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var k Key
			var created, used, revoked sql.NullInt64
			if err := rows.Scan(&k.ID, &k.Name, &k.Role, &k.Prefix, &created, &used, &revoked); err != nil {
				return err
			}
			k.CreatedAt, k.LastUsedAt, k.RevokedAt = store.Time(created), store.Time(used), store.Time(revoked)
			keys = append(keys, k)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fault.From(err, op)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i, k := range keys {
		if l := s.live[k.Prefix]; l != nil && l.lastUsed.Load() > 0 {
			keys[i].LastUsedAt = time.Unix(l.lastUsed.Load(), 0).UTC()
		}
	}
	return keys, nil
}

// RevokeKey ends a key of p's tenant: once it returns, the key is refused. Requests that
// have entered are finished. Revoking a revoked key changes nothing.
func (s *Service) RevokeKey(ctx context.Context, p Principal, id KeyID) error {
	const op = "tenant.revokeKey"
	if err := p.Require(ActKeys, op); err != nil {
		return err
	}
	if err := s.load(ctx); err != nil {
		return fault.From(err, op)
	}
	var prefix string
	err := s.change(ctx, func(tx *sql.Tx) error {
		var role Role
		var revoked sql.NullInt64
		err := tx.QueryRowContext(ctx, `SELECT prefix, role, revoked_at FROM keys WHERE tenant_id = ? AND id = ?`, p.Tenant, id).
			Scan(&prefix, &role, &revoked)
		if err == sql.ErrNoRows {
			return fault.New(op, fault.NotFound, "there is no key %.100q", id).Try("list the keys to see their ids")
		}
		if err != nil || revoked.Valid {
			return err
		}
		if role == RoleOwner {
			if err := mustHaveOtherOwner(ctx, tx, p.Tenant, id); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, `UPDATE keys SET revoked_at = ? WHERE tenant_id = ? AND id = ?`, store.Micros(s.now()), p.Tenant, id)
		return err
	}, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.live, prefix)
	})
	return fault.From(err, op)
}

// mustHaveOtherOwner keeps a tenant from locking itself out.
func mustHaveOtherOwner(ctx context.Context, tx *sql.Tx, t ID, id KeyID) error {
	var others int
	err := tx.QueryRowContext(ctx, `SELECT count(*) FROM keys
		WHERE tenant_id = ? AND id <> ? AND role = ? AND revoked_at IS NULL`, t, id, RoleOwner).Scan(&others)
	if err == nil && others == 0 {
		return fault.New("tenant.revokeKey", fault.Conflict, "this is the last owner key").
			Try("make another owner key first, then revoke this one")
	}
	return err
}

// checkName accepts a name that can be printed on one line.
func checkName(name, op string) error {
	if name == "" || len(name) > maxNameBytes || strings.TrimSpace(name) != name ||
		strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return fault.New(op, fault.Invalid, "%.100q cannot be a name", name).
			Try("use 1 to 100 bytes of printable text without spaces around it")
	}
	return nil
}
