//go:build unix

package train

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"tandem/fault"
)

// lock keeps a second process out of a run directory. The system releases it when
// the process ends, however it ends.
func lock(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fault.From(err, "train.lock")
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if closed := f.Close(); !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fault.From(errors.Join(err, closed), "train.lock")
		}
		return nil, fault.New("train.lock", fault.Conflict, "another process is training in %s", dir).Try("wait for it, or choose another --out")
	}
	return func() { _ = f.Close() }, nil // closing a file that was only locked cannot lose data
}

// locked tells whether a process is training in a run directory.
func locked(dir string) bool {
	f, err := os.Open(filepath.Join(dir, ".lock"))
	if err != nil {
		return false
	}
	defer f.Close() // what it has locked is free again
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil
}
