//go:build !unix

package store

import (
	"errors"
	"os"

	"tandem/fault"
)

var errLocked = errors.New("locked by another process")

// lockFile refuses: without a lock that the kernel drops, two servers could write one
// directory.
func lockFile(string) (*os.File, error) {
	return nil, fault.New("store.lock", fault.Unsupported, "a data directory cannot be locked on this system").
		Try("run the server on Linux, macOS or another Unix")
}
