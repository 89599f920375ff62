//go:build amd64 && !linux && !purego

package kernel

// permitAMX: no other system is known to give tiles to a process.
func permitAMX() bool { return false }
