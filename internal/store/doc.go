// Package store keeps the server's metadata in SQL: one SQLite file, tandem.db, in the
// data directory.
//
// Write runs one transaction at a time and returns when it is on the disk, so what has
// been acknowledged outlives kill -9 and a power cut. Read runs beside the writer and
// sees one consistent state. Open migrates the schema and takes the lock that keeps a
// second server out of the directory.
//
// The schema is in migrations/. Each table but tenants has tenant_id as the first part
// of its keys, from the first migration on: a query that forgets the tenant cannot use
// an index and stands out, and a test walks the schema. Moments are INTEGER
// microseconds since 1970, UTC (Micros, Time); NULL is "not yet".
//
// The tables belong to the packages that read and write them: tenants, keys and usage
// to internal/tenant; the others to internal/registry.
package store
