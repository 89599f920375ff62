package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"tandem/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS // never written

// maxReaders bounds the connections that read beside the one that writes.
const maxReaders = 8

// DB is the open metadata of one data directory, safe for concurrent use.
type DB struct {
	write *sql.DB // one connection: transactions queue for it in order of arrival
	read  *sql.DB
	lock  *os.File
}

// Open makes the data directory where it is missing, takes its lock, and brings its
// schema up to date. Only one process can have a directory open; the kernel drops the
// lock when the process ends, however it ends.
func Open(ctx context.Context, dir string) (*DB, error) {
	const op = "store.open"
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fault.From(err, op)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, openFault(err, op, dir)
	}
	lock, err := lockFile(filepath.Join(dir, "tandem.lock"))
	if errors.Is(err, errLocked) {
		return nil, fault.New(op, fault.Conflict, "another tandem server is using %q", dir).
			Try("stop that server, talk to it with --server, or choose another --data directory")
	}
	if err != nil {
		return nil, openFault(err, op, dir)
	}
	db := &DB{lock: lock}
	if err := db.open(ctx, filepath.Join(dir, "tandem.db")); err != nil {
		_ = db.Close()
		return nil, openFault(err, op, dir)
	}
	return db, nil
}

// open makes the file before SQLite does, which would take the umask's mode; the -wal
// and -shm files get the mode of this one.
func (db *DB) open(ctx context.Context, path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(0o600), f.Close()); err != nil {
		return err
	}
	if db.write, err = pool(path, 1, "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)"); err != nil {
		return err
	}
	if err := migrate(ctx, db.write, migrations); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(path)); err != nil { // SQLite does not sync the name of a file that it did not make
		return err
	}
	db.read, err = pool(path, maxReaders, "query_only(1)")
	return err
}

// pool opens connections that stay open: closing the last one would checkpoint and
// delete the write-ahead log each time that the server is idle.
func pool(path string, connections int, pragmas ...string) (*sql.DB, error) {
	q := url.Values{"_txlock": {"immediate"}, "_pragma": append([]string{"busy_timeout(10000)"}, pragmas...)}
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}
	p, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, err
	}
	p.SetMaxOpenConns(connections)
	p.SetMaxIdleConns(connections)
	return p, nil
}

// migrate brings the schema to the newest version in files. It refuses one that a newer
// program has written: to guess at it could lose what that program keeps there.
func migrate(ctx context.Context, db *sql.DB, files fs.FS) error {
	const op = "store.migrate"
	sub, err := fs.Sub(files, "migrations")
	if err != nil {
		return fault.From(err, op)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, sub, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return classify(err, op)
	}
	current, target, err := p.GetVersions(ctx)
	if err != nil {
		return classify(err, op)
	}
	if current > target {
		return fault.New(op, fault.Conflict, "the data has schema %d, and this program knows schema %d", current, target).
			Try("start the newer tandem that wrote it, or choose another --data directory")
	}
	if _, err := p.Up(ctx); err != nil {
		return classify(err, op)
	}
	return nil
}

// Write runs f in a transaction that sees and changes the newest state, alone. It
// commits when f returns nil; then the changes are on the disk. Transactions wait for
// each other in order of arrival, or until ctx ends. f must not call Write.
//
// The transaction itself does not follow ctx: cancelled in the middle of a commit,
// it could not say whether it has happened.
func (db *DB) Write(ctx context.Context, f func(*sql.Tx) error) error {
	const op = "store.write"
	conn, err := db.write.Conn(ctx)
	if err != nil {
		return classify(err, op)
	}
	defer conn.Close()
	return run(conn.BeginTx, context.WithoutCancel(ctx), nil, f, op)
}

// Read runs f in a transaction that sees one consistent state, and in which nothing can
// be changed. It does not wait for writers.
func (db *DB) Read(ctx context.Context, f func(*sql.Tx) error) error {
	return run(db.read.BeginTx, ctx, &sql.TxOptions{ReadOnly: true}, f, "store.read")
}

type beginFunc func(context.Context, *sql.TxOptions) (*sql.Tx, error)

func run(begin beginFunc, ctx context.Context, opts *sql.TxOptions, f func(*sql.Tx) error, op string) error {
	tx, err := begin(ctx, opts)
	if err != nil {
		return classify(err, op)
	}
	defer tx.Rollback() // after Commit it does nothing; it is for errors and panics of f
	if err := f(tx); err != nil {
		return classify(err, op)
	}
	return classify(tx.Commit(), op)
}

// Close ends the connections and gives the directory free.
func (db *DB) Close() error {
	var errs []error
	for _, p := range []*sql.DB{db.read, db.write} { // the writer last: it checkpoints
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	errs = append(errs, db.lock.Close())
	return fault.From(errors.Join(errs...), "store.close")
}

// Micros is how a moment is stored; the zero Time is NULL.
func Micros(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMicro(), Valid: !t.IsZero()}
}

// Time reads what Micros has stored, in UTC.
func Time(micros sql.NullInt64) time.Time {
	if !micros.Valid {
		return time.Time{}
	}
	return time.UnixMicro(micros.Int64).UTC()
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
