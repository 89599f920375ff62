package store

import (
	"database/sql"
	"errors"
	"io/fs"
	"syscall"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"tandem/fault"
)

const (
	remedySpace   = "free space on the disk that holds the --data directory, then try again; nothing was changed"
	remedyWrite   = "choose a --data directory that this user can write, or change its owner and mode"
	remedyCorrupt = "stop the server, check the disk, and restore the --data directory from a backup"
)

// classify gives an error of database/sql or SQLite its kind and a remedy. Errors that
// have a kind, such as those that the function given to Write returns, stay as they are.
func classify(err error, op string) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	kind, remedy := fault.KindOf(err), ""
	if errors.Is(err, sql.ErrNoRows) {
		kind = fault.NotFound
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		kind, remedy = kindOfCode(e.Code())
	}
	return fault.Wrap(err, op, kind, "").Try(remedy)
}

func kindOfCode(code int) (fault.Kind, string) {
	switch code { // extended codes first
	case lib.SQLITE_IOERR_SHMSIZE: // extending a file has failed
		return fault.NoSpace, remedySpace
	case lib.SQLITE_IOERR_CORRUPTFS:
		return fault.Corrupt, remedyCorrupt
	case lib.SQLITE_CONSTRAINT_FOREIGNKEY:
		return fault.NotFound, ""
	}
	switch code & 0xff {
	case lib.SQLITE_FULL:
		return fault.NoSpace, remedySpace
	case lib.SQLITE_READONLY, lib.SQLITE_PERM, lib.SQLITE_CANTOPEN:
		return fault.Denied, remedyWrite
	case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
		return fault.Corrupt, remedyCorrupt
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED:
		return fault.Unavailable, "try again"
	case lib.SQLITE_INTERRUPT:
		return fault.Canceled, ""
	case lib.SQLITE_CONSTRAINT:
		return fault.Conflict, ""
	case lib.SQLITE_IOERR:
		return fault.Internal, "check the disk that holds the --data directory, and the limit that ulimit -f shows"
	case lib.SQLITE_NOMEM:
		return fault.NoSpace, "give the server more memory"
	}
	return fault.Internal, ""
}

// openFault says which directory could not be opened, and what to do about it.
func openFault(err error, op, dir string) error {
	kind, remedy := fault.KindOf(err), fault.RemedyOf(err)
	switch {
	case remedy != "":
	case kind == fault.NoSpace:
		remedy = remedySpace
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR):
		kind, remedy = fault.Denied, remedyWrite
	}
	return fault.Wrap(err, op, kind, "cannot open the data directory %q", dir).Try(remedy)
}
