// Package mapped gives the bytes of a file without copying them.
//
// The bytes are read only: a write to them is a fault that ends the program. They
// must not be used after Close. A file that somebody shortens while it is mapped
// has the same effect, which no program can rule out; Tandem's own files are
// written once, made read-only and replaced by renaming, never rewritten.
package mapped
