//go:build linux && amd64 && !purego

package kernel

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestByteBlockInterpreted runs the kernel of blocks, as it is assembled, on processors that
// have no AMX, and compares with the reference: 1 to 32 rows, panels, lines, strides. It
// reads no more of A and B than there is.
func TestByteBlockInterpreted(t *testing.T) {
	p := newInterpreter(t, "byteBlockAMX")
	r := rand.New(rand.NewPCG(45, 1))
	for i := range 64 {
		b := randomByteBlock(r, 1+i%32)
		want := *b
		want.Sums = slices.Clone(b.Sums)
		want.Run()
		args, shapes := make([]blockArgs, 1), make([]amxShape, 1)
		shapes[0] = args[0].of(b)
		args[0].shape = &shapes[0]
		if err := p.call(memoryOf(args), []region{memoryOf(shapes), memoryOf(b.A), memoryOf(b.B)}, []region{memoryOf(b.Sums)}); err != nil {
			t.Fatalf("%d rows, %d steps of %d lines, %d panels: %v", b.Rows, b.Steps, b.Lines, b.Panels, err)
		}
		if !slices.Equal(b.Sums, want.Sums) {
			t.Fatalf("%d rows, %d steps of %d lines, %d panels: %v\nwant %v", b.Rows, b.Steps, b.Lines, b.Panels, b.Sums, want.Sums)
		}
	}
}
