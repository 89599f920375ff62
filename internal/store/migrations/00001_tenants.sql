-- +goose Up
CREATE TABLE tenants (
    id         TEXT    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- prefix is the public part of the secret, by which the key is found. It is unique over
-- all tenants because a request does not say whose it is.
CREATE TABLE keys (
    tenant_id    TEXT    NOT NULL REFERENCES tenants (id),
    id           TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    role         TEXT    NOT NULL CHECK (role IN ('owner', 'developer', 'user')),
    prefix       TEXT    NOT NULL UNIQUE,
    hash         BLOB    NOT NULL CHECK (length(hash) = 32),
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER,
    revoked_at   INTEGER,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

-- A ledger: no foreign keys, because it outlives the models and keys that it counts.
CREATE TABLE usage (
    tenant_id  TEXT    NOT NULL,
    day        TEXT    NOT NULL, -- 2006-01-02, UTC
    key_id     TEXT    NOT NULL,
    model      TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    requests   INTEGER NOT NULL,
    errors     INTEGER NOT NULL,
    rows       INTEGER NOT NULL,
    compute_ns INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, day, key_id, model, version)
) STRICT, WITHOUT ROWID;
