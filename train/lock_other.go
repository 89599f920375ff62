//go:build !unix

package train

// lock does nothing where the system has no advisory locks.
func lock(string) (unlock func(), err error) { return func() {}, nil }

// locked is not known there.
func locked(string) bool { return true }
