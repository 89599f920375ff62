// Package crashtest is for tests of what outlives a crash or a full disk: it runs the
// body of a test in a process of its own, which can be killed, or whose disk is small.
//
// SIGKILL shows what a process leaves behind, not what a power cut does: the kernel still
// writes what the process gave it. That files are synced is for a reader to check.
package crashtest
