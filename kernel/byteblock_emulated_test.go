//go:build linux && amd64 && !purego

package kernel

import (
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// TestByteBlockEmulated runs the kernel of blocks, as it is assembled, on an emulated
// processor that has AMX, and compares with the reference: 1 to 32 rows, panels, lines,
// strides.
func TestByteBlockEmulated(t *testing.T) {
	e := newEmulator(t, "byteBlockAMX")
	r := rand.New(rand.NewPCG(45, 1))
	for i := range 64 {
		b := randomByteBlock(r, 1+i%32)
		want := slices.Clone(b.Sums)
		var args blockArgs
		shape := args.of(b)
		args.shape = &shape
		e.call(t, region{unsafe.Pointer(&args), int(unsafe.Sizeof(args))}, region{unsafe.Pointer(&shape), int(unsafe.Sizeof(shape))}, memoryOf(b.A), memoryOf(b.B), memoryOf(b.Sums))
		got := b.Sums
		b.Sums = want
		b.Run()
		if !slices.Equal(got, want) {
			t.Fatalf("%d rows, %d steps of %d lines, %d panels: %v\nwant %v", b.Rows, b.Steps, b.Lines, b.Panels, got, want)
		}
	}
}
