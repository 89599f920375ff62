-- +goose Up

-- The bytes that a tenant has sent and so may see. The file itself may be shared with
-- other tenants; nobody can tell. held_until keeps an upload until a version claims it.
CREATE TABLE blobs (
    tenant_id  TEXT    NOT NULL REFERENCES tenants (id),
    digest     TEXT    NOT NULL,
    bytes      INTEGER NOT NULL CHECK (bytes >= 0),
    created_at INTEGER NOT NULL,
    held_until INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX blobs_digest ON blobs (digest);

-- last_number only grows: the number of a deleted version never names another one.
CREATE TABLE models (
    tenant_id   TEXT    NOT NULL REFERENCES tenants (id),
    name        TEXT    NOT NULL,
    last_number INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE versions (
    tenant_id  TEXT    NOT NULL,
    model      TEXT    NOT NULL,
    number     INTEGER NOT NULL CHECK (number > 0),
    digest     TEXT    NOT NULL, -- of the manifest, which is a blob too
    bytes      INTEGER NOT NULL, -- of the manifest's files together
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, model, number),
    UNIQUE (tenant_id, model, digest),
    FOREIGN KEY (tenant_id, model) REFERENCES models (tenant_id, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- Every blob that a version needs, its manifest included: what is named here is kept.
CREATE TABLE version_files (
    tenant_id TEXT    NOT NULL,
    model     TEXT    NOT NULL,
    number    INTEGER NOT NULL,
    digest    TEXT    NOT NULL,
    PRIMARY KEY (tenant_id, model, number, digest),
    FOREIGN KEY (tenant_id, model, number) REFERENCES versions (tenant_id, model, number) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, digest) REFERENCES blobs (tenant_id, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX version_files_digest ON version_files (tenant_id, digest);

-- A history: rows end and are never changed otherwise. previous is the row that a
-- rollback of this one brings back.
CREATE TABLE deployments (
    id         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    tenant_id  TEXT    NOT NULL,
    model      TEXT    NOT NULL,
    number     INTEGER NOT NULL,
    previous   INTEGER,
    created_at INTEGER NOT NULL,
    created_by TEXT    NOT NULL,
    ended_at   INTEGER,
    FOREIGN KEY (tenant_id, model) REFERENCES models (tenant_id, name) ON DELETE CASCADE
) STRICT;
CREATE INDEX deployments_model ON deployments (tenant_id, model, id);
CREATE UNIQUE INDEX deployments_active ON deployments (tenant_id, model) WHERE ended_at IS NULL;
