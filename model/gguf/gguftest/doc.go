// Package gguftest writes GGUF files for the tests of other packages.
package gguftest
