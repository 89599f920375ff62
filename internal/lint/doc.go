// Package lint holds the repository's rules as tests: which package may import
// which, names, sizes, documentation. It has no code of its own.
package lint
