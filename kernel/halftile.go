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
}

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
		args := tileArgs{
			a: unsafe.Pointer(&t.a[k]), b: unsafe.Pointer(&t.b[k*bs*size]), c: unsafe.Pointer(&t.c[0]),
			rs: uintptr(t.as) * 4, ks: 4, bs: uintptr(bs * size), cs: uintptr(t.cs) * 4,
			k: n, rows: t.rows, mask: 1<<cols - 1, ahead: t.ahead,
		}
		if goOn {
			args.start = startC
		}
		runTile(t.isa, storageOf(t.format), &args)
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
