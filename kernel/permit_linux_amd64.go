//go:build !purego

package kernel

import "syscall"

// permitAMX asks Linux for the state of the tiles, which it gives to processes that want
// it only, and reports whether they have it: Documentation/arch/x86/xstate.rst.
func permitAMX() bool {
	const requestPermission, tileData = 0x1023, 18
	_, _, failed := syscall.RawSyscall(syscall.SYS_ARCH_PRCTL, requestPermission, tileData, 0)
	return failed == 0
}
