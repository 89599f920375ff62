//go:build !linux

package kernel

import "testing"

func hugeBytes(_ *testing.B, n int) []byte { return make([]byte, n) }
