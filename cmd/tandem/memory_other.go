//go:build !linux

package main

// machineMemoryBytes is not known: --memory-limit says it.
func machineMemoryBytes() int64 { return 0 }

// peakMemoryBytes is unknown here.
func peakMemoryBytes() int64 { return 0 }

// heldMemoryBytes is unknown here.
func heldMemoryBytes() int64 { return 0 }

// statusBytes is unknown here.
func statusBytes(string) int64 { return 0 }
