package kernel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"tandem/kernel/ref"
)

// randomByteBlock is a block with rubbish where its sums go.
func randomByteBlock(r *rand.Rand, rows int) *ref.ByteBlock {
	b := &ref.ByteBlock{Rows: rows, Steps: 1 + r.IntN(4), Panels: 1 + r.IntN(blockPanels)}
	b.RS = 64*b.Steps + r.IntN(40)
	size := b.RS * rows
	words := amxTile * b.Steps
	if r.IntN(2) == 0 { // as a convolution has them
		b.Lines, b.RS = 1+r.IntN(3), 1+r.IntN(100)
		b.Line = 64*b.Steps + r.IntN(200)
		size = (rows-1)*b.RS + (b.Lines-1)*b.Line + 64*b.Steps
		words *= b.Lines
	}
	b.Panel = 128 * (words + r.IntN(amxTile))
	b.A, b.B = randomBytes(r, size), randomBytes(r, b.Panels*b.Panel)
	b.Sums = make([]int32, b.Panels*amxBlock*32)
	for i := range b.Sums {
		b.Sums[i] = int32(r.Uint32())
	}
	return b
}

// TestByteBlock compares the kernel with the reference, where the processor has AMX; sums
// of rows that are not there stay as they are.
func TestByteBlock(t *testing.T) {
	if !hasAMX {
		t.Skip("SKIPPED: this processor has no AMX; TestByteBlockInterpreted runs the kernel without")
	}
	r := rand.New(rand.NewPCG(45, 2))
	for i := range 640 {
		b := randomByteBlock(r, 1+i%32)
		want := *b
		want.Sums = slices.Clone(b.Sums)
		want.Run()
		addUpBlock(b)
		if !slices.Equal(b.Sums, want.Sums) {
			t.Fatalf("%d rows, %d steps of %d lines, %d panels: %v\nwant %v", b.Rows, b.Steps, b.Lines, b.Panels, b.Sums, want.Sums)
		}
	}
}

// TestByteBlockReference compares the reference with the sums by definition.
func TestByteBlockReference(t *testing.T) {
	r := rand.New(rand.NewPCG(45, 3))
	for i := range 32 {
		b := randomByteBlock(r, 1+i)
		before := slices.Clone(b.Sums)
		b.Run()
		for at, sum := range b.Sums {
			q, row, j, want := at/(amxBlock*32), at/32%amxBlock, at%32, int32(0)
			for k := range 64 * b.Steps * max(1, b.Lines) {
				if row < b.Rows {
					a := b.A[row*b.RS+k/(64*b.Steps)*b.Line+k%(64*b.Steps)]
					want += int32(a) * int32(int8(b.B[q*b.Panel+k/4*128+4*j+k%4]))
				}
			}
			if row >= b.Rows || q >= b.Panels {
				want = before[at]
			}
			if sum != want {
				t.Fatalf("%d rows, %d steps of %d lines: sum %d is %d, want %d", b.Rows, b.Steps, b.Lines, at, sum, want)
			}
		}
	}
}

// blockPools are pools of AVX-512 with and without blocks: where the processor has no AMX,
// the reference adds them up.
func blockPools(t testing.TB) []*Pool {
	t.Helper()
	if !detectVNNI() {
		t.Skip("SKIPPED: this processor has no dot products of bytes")
	}
	var pools []*Pool
	for _, blocks := range []bool{true, false} {
		p := NewPool(2, AVX512)
		t.Cleanup(p.Close)
		p.amx = blocks
		pools = append(pools, p)
	}
	return pools
}

// TestByteGemmByBlocks: products of which blocks add up something, with words and rows that
// are left over, and what becomes of them.
func TestByteGemmByBlocks(t *testing.T) {
	r := rand.New(rand.NewPCG(45, 4))
	pools := blockPools(t)
	for range 60 {
		m, n, k := leastAMXRows+r.IntN(90), 1+r.IntN(300), 64*(1+r.IntN(4))+r.IntN(2)*r.IntN(64)
		c := randomByteCase(r, m, n, k)
		c.ScaleB, c.ScaleA = c.scale, random(r, m, 0)
		c.Bias = random(r, n, 2)
		floats, bytes := make([]float32, m*n), make([]byte, m*n)
		for i := range m {
			ref.ScaleSums(floats[i*n:][:n], c.want[i*n:][:n], c.ScaleB, c.Bias, c.ScaleA[i])
			ref.Requantize(bytes[i*n:][:n], c.want[i*n:][:n], c.ScaleB, 3, true)
		}
		for _, p := range pools {
			c.pack(p)
			c.Sums, c.Y, c.Bytes = make([]int32, m*n), nil, nil
			c.Run(p, c.scratch(p))
			if !slices.Equal(c.Sums, c.want) {
				t.Fatalf("%d×%d×%d zeros %v, blocks %v: %v\nwant %v", m, n, k, c.ZeroB != nil, p.amx, c.Sums, c.want)
			}
			c.Sums, c.Y = nil, dirty(m*n)
			c.Run(p, c.scratch(p))
			same(t, fmt.Sprint(m, n, k, p.amx), c.Y, floats)
			c.Y, c.Bytes, c.To, c.ToSigned = nil, make([]byte, m*n), 3, true
			c.Run(p, c.scratch(p))
			if !slices.Equal(c.Bytes, bytes) {
				t.Fatalf("%d×%d×%d, blocks %v: bytes %v\nwant %v", m, n, k, p.amx, c.Bytes, bytes)
			}
			checkCombine(t, r, &c.Rescale, bytes, func() { c.Run(p, c.scratch(p)) })
			checkCombineRow(t, r, &c.Rescale, bytes, n, func() { c.Run(p, c.scratch(p)) })
		}
	}
}

// TestByteConvByBlocks: convolutions of which blocks add up something: of single pixels, of
// patches, and by lines, of whole steps or not.
func TestByteConvByBlocks(t *testing.T) {
	r := rand.New(rand.NewPCG(45, 5))
	pools := blockPools(t)
	for range 30 {
		size := 1 + 2*r.IntN(2)
		d := &Conv{N: 1 + r.IntN(2), C: []int{64, 128, 20, 36, 68}[r.IntN(5)], H: 3 + r.IntN(8), W: 9 + r.IntN(32), OC: 1 + r.IntN(70), KH: size, KW: size,
			StrideH: 1 + r.IntN(2), StrideW: 1 + r.IntN(2), PadTop: size / 2, PadLeft: size / 2, PadBottom: size / 2, PadRight: size / 2, DilationH: 1 + r.IntN(2), DilationW: 1, Groups: 1}
		checkByteConv(t, r, pools, d, randomBytes)
	}
}
