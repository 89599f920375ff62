package ref

import "math"

// RoundBFloat16 is the bfloat16 nearest to x, as a float32: halves go to even, every NaN
// becomes one.
func RoundBFloat16(x float32) float32 {
	if x != x {
		return math.Float32frombits(0x7fc00000)
	}
	b := math.Float32bits(x)
	return math.Float32frombits((b + 0x7fff + b>>16&1) &^ 0xffff)
}

// DotBFloat16 is the bfloat16 that VCVTNE2PS2BF16 makes of x, as a float32: what
// RoundBFloat16 gives, but zero for numbers below the normal ones, which products take for
// it anyway, and a NaN keeps what it has of its bits.
func DotBFloat16(x float32) float32 {
	b := math.Float32bits(x)
	switch {
	case x != x:
		return math.Float32frombits(b&^0xffff | 1<<22)
	case b&0x7f800000 == 0:
		return math.Float32frombits(b & (1 << 31))
	}
	return RoundBFloat16(x)
}

// DotTile is the contract of the kernel of words of two bfloat16: a block of
//
//	C[i,j] = act(start + Σ_k A[i,k]·B[k,j])
//
// with the arithmetic of VDPBF16PS. The products of the upper halves of two words are
// added first, then those of the lower ones, each fused with its addition and rounded to
// even; numbers below the normal ones count as zero, and results below them become it.
// Strides are in words.
type DotTile struct {
	Rows, Cols, Words int
	A                 []uint32 // (i,k) at i*RS + k*KS
	RS, KS            int
	Lines, Line       int      // a row of A may be several lines of Words, Line apart
	B                 []uint32 // (k,j) at k*BS + j; those of the next line follow
	BS                int
	C                 []float32 // (i,j) at i*CS + j
	CS                int
	FromC             bool      // start from C
	From              []float32 // or from these, laid out like C, plus ColumnBias
	ColumnBias        []float32 // or from these
	RowBias           []float32 // or from these, or from zero
	ReLU              bool
}

// Run computes the tile.
func (t *DotTile) Run() {
	// The sums begin as those of a Tile do.
	begin := Tile{Rows: t.Rows, Cols: t.Cols, C: t.C, CS: t.CS, FromC: t.FromC, From: t.From, ColumnBias: t.ColumnBias, RowBias: t.RowBias}
	begin.Run()
	for i := range t.Rows {
		c := t.C[i*t.CS:][:t.Cols]
		for k := range max(t.Lines, 1) * t.Words {
			a, b := t.A[i*t.RS+k/t.Words*t.Line+k%t.Words*t.KS], t.B[k*t.BS:][:t.Cols]
			for j := range c {
				c[j] = multiplyAdd(a&0xffff0000, b[j]&0xffff0000, c[j])
				c[j] = multiplyAdd(a<<16, b[j]<<16, c[j])
			}
		}
		if t.ReLU {
			relu(c)
		}
	}
}

// multiplyAdd is a·b + c for the bits of two bfloat16, rounded once. The product is exact
// in float64. What the sum there leaves out goes into its last bit (rounding to odd), so
// that rounding again to float32 is as rounding once: Boldo and Melquiond, "Emulation of
// FMA and correctly rounded sums", 2008.
func multiplyAdd(a, b uint32, c float32) float32 {
	product := float64(normal(math.Float32frombits(a))) * float64(normal(math.Float32frombits(b)))
	add := float64(normal(c))
	sum := product + add
	rest := sum - product
	lost := (product - (sum - rest)) + (add - rest)
	if bits := math.Float64bits(sum); lost != 0 && lost == lost && bits&1 == 0 {
		if (lost > 0) == (sum > 0) {
			bits++
		} else {
			bits--
		}
		sum = math.Float64frombits(bits)
	}
	return normal(float32(sum))
}

// normal is x, or a zero of its sign if it is below the normal numbers.
func normal(x float32) float32 {
	const least = 0x1p-126
	if x > -least && x < least {
		return float32(math.Copysign(0, float64(x)))
	}
	return x
}

// BFloat16Tiles is a product of words of two bfloat16 as the tiles of AMX compute it
// (TDPBF16PS): of every 16 words the products of lower and of upper halves are added up
// from zero apart, then to each other, then to what came before. Numbers below the normal
// ones are zero.
type BFloat16Tiles struct {
	Rows, Cols, Words int
	A                 []uint32 // (i,k) at i*RS + k
	RS                int
	B                 []uint32 // (k,j) at k*BS + j
	BS                int
	C                 []float32 // (i,j) at i*CS + j
	CS                int
	FromC             bool      // start from C
	ColumnBias        []float32 // or from these, or from zero
}

// Run computes the product.
func (t *BFloat16Tiles) Run() {
	for i := range t.Rows {
		c := t.C[i*t.CS:][:t.Cols]
		switch {
		case t.ColumnBias != nil:
			copy(c, t.ColumnBias)
		case !t.FromC:
			clear(c)
		}
		for from := 0; from < t.Words; from += 16 {
			for j := range c {
				var lower, upper float32
				for k := from; k < min(from+16, t.Words); k++ {
					a, b := t.A[i*t.RS+k], t.B[k*t.BS+j]
					lower = multiplyAdd(a<<16, b<<16, lower)
					upper = multiplyAdd(a&0xffff0000, b&0xffff0000, upper)
				}
				c[j] = normal(normal(c[j]) + normal(lower+upper))
			}
		}
	}
}
