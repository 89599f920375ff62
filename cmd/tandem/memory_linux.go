package main

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// peakMemoryBytes is the most memory that this process has had at once, mapped files
// that were read included. 0 is unknown. (The figure of getrusage is not it: it begins with
// that of the process that started this one.)
func peakMemoryBytes() int64 { return statusBytes("VmHWM:") }

// heldMemoryBytes is what it has now.
func heldMemoryBytes() int64 { return statusBytes("VmRSS:") }

// statusBytes is a line of what the system says of this process.
func statusBytes(key string) int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == key && fields[2] == "kB" {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			return n << 10
		}
	}
	return 0
}

// machineMemoryBytes is what this process may use: of the machine, or of its control
// group if that allows less. 0 is unknown.
func machineMemoryBytes() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0
	}
	total := int64(info.Totalram) * int64(info.Unit)
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // no such version of control groups
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 {
			total = min(total, n)
		}
	}
	return total
}
