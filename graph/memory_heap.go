//go:build !unix

package graph

import "tandem/tensor"

// memory is on the Go heap where the system has no anonymous mappings.
type memory []byte

func allocate(n int) (memory, error) { return tensor.AlignedBytes(n), nil }

func (memory) free() {}
