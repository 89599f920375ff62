package kernel

import (
	"math"
	"unsafe"

	"tandem/kernel/ref"
	"tandem/tensor/block"
)

// halfTile computes C = A·B, or C += A·B, for a few rows and as many columns as a
// tile has, with B stored as float32, float16 or bfloat16, dense: each element one
// chain over k.
type halfTile struct {
	isa        ISA
	format     block.Format // F32, F16 or BF16
	rows, k    int          // at most tileShape.rows
	a          []float32
	as         int    // row stride of A
	b          []byte // [k][tileShape.cols], or rows of bs elements
	bs         int    // 0: dense
	c          []float32
	cs         int
	accumulate bool
	ahead      uintptr // how far from B lies what is prefetched with it, a line for each row
	// On AVX-512, of float16: at most wideRows rows of twice as many columns, of which half lie
	// elsewhere: how far it is to them in B and C, and to what is prefetched with them.
	wide                 bool
	otherB, otherC, then uintptr
}

// wideRows are so few that each has registers for four vectors. One for two vectors would
// wait for its last sums, and there would be more calls than need be.
const wideRows = 6

// halfAhead is how far ahead weights are prefetched, in bytes: they are larger than what
// processors keep.
const halfAhead = 2 << 10

func (t *halfTile) run() {
	cols, size := shapeOf(t.isa).cols, floatSize(t.format)
	bs := or(t.bs, cols)
	for k := 0; k < t.k; k += kBlock {
		n := min(kBlock, t.k-k)
		goOn := t.accumulate || k > 0
		if t.isa == Generic {
			t.runGeneric(k, n, bs, goOn)
			continue
		}
		var args tileArgs // field by field: a literal is made elsewhere and copied
		args.a, args.b, args.c = unsafe.Pointer(&t.a[k]), unsafe.Pointer(&t.b[k*bs*size]), unsafe.Pointer(&t.c[0])
		args.rs, args.ks, args.bs, args.cs = uintptr(t.as)*4, 4, uintptr(bs*size), uintptr(t.cs)*4
		args.k, args.rows, args.mask, args.ahead = n, t.rows, 1<<cols-1, t.ahead
		if goOn {
			args.start = startC
		}
		storage := storageOf(t.format)
		if t.wide {
			storage = asWideFloat16
			args.panel, args.columnsC, args.far = t.otherB, t.otherC, t.then
		}
		runTile(t.isa, storage, &args)
	}
}

func (t *halfTile) runGeneric(k, n, bs int, goOn bool) {
	const cols = 16
	size := floatSize(t.format)
	var b [kBlock * cols]float32
	for i := range n {
		row := t.b[(k+i)*bs*size:][:cols*size]
		for c := range cols {
			b[i*cols+c] = floatAt(t.format, row[c*size:])
		}
	}
	s := ref.Tile{Rows: t.rows, Cols: cols, K: n, A: t.a[k:], RS: t.as, KS: 1, B: b[:], BS: cols, C: t.c, CS: t.cs, FromC: goOn}
	s.Run()
}

// floatAt reads a number; unlike block.Decode it lets its destination stay on the stack.
func floatAt(f block.Format, b []byte) float32 {
	switch f {
	case block.F16:
		return ref.Half(b)
	case block.BF16:
		return math.Float32frombits(uint32(b[0])<<16 | uint32(b[1])<<24)
	}
	return ref.Word(b, 0)
}
