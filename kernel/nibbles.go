package kernel

import (
	"math"

	"tandem/kernel/ref"
)

// Nibbles are a matrix [K, N] in codes of four bits: an element is (code - zero)·scale,
// with a scale and a zero for every Block rows of a column. A product multiplies the floats
// that this gives, whichever way it goes: they are made for a block of the matrix at a time,
// in the cache.
type Nibbles struct {
	Block int       // a multiple of 8
	Zeros bool      // there are zeros; else all are 8
	Data  []float32 // as PackNibbles wrote it
}

// In memory, panels of tileShape.cols columns follow each other, the last one filled up. In
// a panel each block begins with a row of scales, and one of zeros if there are any; then
// come rows of words, of eight codes each (ref.Nibbles).

// nibbleGroup is the number of codes in a word.
const nibbleGroup = 8

// headRows are the rows before the words of a block.
func (b *Nibbles) headRows() int {
	if b.Zeros {
		return 2
	}
	return 1
}

// panelLen is the number of words in a panel of k rows.
func (b *Nibbles) panelLen(k, cols int) int {
	return (ceilDiv(k, b.Block)*b.headRows() + ceilDiv(k, nibbleGroup)) * cols
}

// Len is the number of words that Data has for a [k, n] matrix.
func (b *Nibbles) Len(k, n int, isa ISA) int {
	cols := shapeOf(isa).cols
	return ceilDiv(n, cols) * b.panelLen(k, cols)
}

// PackNibbles fills dst, of b.Len words, from what MatMulNBits has: for each of n columns
// codes of whole blocks, two in a byte, the first in its low bits, and for each block a
// scale, and a zero if b has zeros.
func PackNibbles(p *Pool, dst []float32, b Nibbles, codes []byte, scales, zeros []float32, k, n int) {
	cols, blocks := shapeOf(p.isa).cols, ceilDiv(k, b.Block)
	checkLen("PackNibbles", "dst", len(dst), b.Len(k, n, p.isa))
	checkLen("PackNibbles", "codes", len(codes), n*blocks*b.Block/2)
	checkLen("PackNibbles", "scales", len(scales), n*blocks)
	if b.Zeros {
		checkLen("PackNibbles", "zeros", len(zeros), n*blocks)
	}
	panel := b.panelLen(k, cols)
	p.For(ceilDiv(n, cols), max(1, (1<<16)/max(1, panel)), func(lo, hi, _ int) {
		for i := lo; i < hi; i++ {
			to := dst[i*panel:][:panel]
			clear(to)
			for j := i * cols; j < min((i+1)*cols, n); j++ {
				b.packColumn(to[j-i*cols:], codes[j*blocks*b.Block/2:], scales[j*blocks:], zeros, j*blocks, k, cols)
			}
		}
	})
}

// packColumn writes one column of a panel, whose rows lie cols apart.
func (b *Nibbles) packColumn(to []float32, codes []byte, scales, zeros []float32, first, k, cols int) {
	at := 0
	put := func(v float32) { to[at], at = v, at+cols }
	for i := 0; i < k; i += nibbleGroup {
		if i%b.Block == 0 {
			put(scales[i/b.Block])
			if b.Zeros {
				put(zeros[first+i/b.Block])
			}
		}
		c := codes[i/2:][:nibbleGroup/2]
		put(math.Float32frombits(uint32(c[0]) | uint32(c[1])<<8 | uint32(c[2])<<16 | uint32(c[3])<<24))
	}
}

// nibbleRows is k, filled up to whole words: the rows that unpack writes.
func nibbleRows(k int) int { return ceilDiv(k, nibbleGroup) * nibbleGroup }

// unpack writes rows [k0,k1) and columns [n0,n1) of the matrix, which has k rows, as panels
// of nibbleRows(k1-k0) rows; k0 and n0 are the first of a word and of a panel.
func (b *Nibbles) unpack(dst []float32, isa ISA, k, k0, k1, n0, n1 int) {
	cols := shapeOf(isa).cols
	panel, head := b.panelLen(k, cols), b.headRows()*cols
	size := head + b.Block/nibbleGroup*cols
	for n := n0; n < n1; n += cols {
		data := b.Data[n/cols*panel:][:panel]
		for at := k0; at < k1; {
			block, end := data[at/b.Block*size:], min(k1, at-at%b.Block+b.Block)
			blocks, groups := 1, ceilDiv(end-at, nibbleGroup)
			if at%b.Block == 0 && k1-at >= b.Block {
				blocks = (k1 - at) / b.Block
				end = at + blocks*b.Block
			}
			b.floats(dst, isa, block, block[head+at%b.Block/nibbleGroup*cols:], blocks, groups, cols)
			dst = dst[blocks*groups*nibbleGroup*cols:]
			at = end
		}
	}
}

// floats writes groups of rows of blocks that follow each other; words are the first one's.
func (b *Nibbles) floats(dst []float32, isa ISA, block, words []float32, blocks, groups, cols int) {
	if isa != Generic {
		zeros := b.headRows() - 1
		nibblesAsm(isa, &dst[0], &block[0], &words[0], blocks, groups, zeros)
		return
	}
	for i := range blocks {
		if i > 0 {
			block = words[groups*cols:]
			words = block[b.headRows()*cols:]
		}
		var zeros []float32
		if b.Zeros {
			zeros = block[cols:][:cols]
		}
		ref.Nibbles(dst, block[:cols], zeros, words, groups)
		dst = dst[groups*nibbleGroup*cols:]
	}
}

// nibbleRowsMost is the number of rows up to which nothing is written of the floats: they are
// multiplied in registers.
const nibbleRowsMost = 8

// multiplyCodes computes columns [n0,n1) of C for so few rows.
func (g *Gemm) multiplyCodes(n0, n1 int, scratch []float32) {
	cols, whole := g.plan.cols, g.K/nibbleGroup*nibbleGroup
	var sums [nibbleRowsMost * 32]float32
	for n := n0; n < n1 && !ended(g.stop); n += cols {
		end := min(n+cols, n1)
		g.startSums(sums[:], n, end)
		g.Codes.multiply(sums[:], g.A, g.lda, g.M, g.K, whole, n, cols)
		for i := range g.M {
			copy(g.C[i*g.ldc+n:i*g.ldc+end], sums[i*cols:])
		}
		if whole < g.K {
			g.blockOfB(0, g.M, n, end, whole, g.K, scratch)
		}
	}
	if whole == g.K {
		for i := range g.M {
			row := g.C[i*g.ldc+n0 : i*g.ldc+n1]
			if g.Act == ActReLU {
				unary(g.isa, OpReLU, row, row, 0)
			}
			finish(g.isa, g.Act, row, g.addAt(i*g.ldc+n0))
		}
	}
}

// startSums sets the sums of columns [n,end), in rows of a panel's.
func (g *Gemm) startSums(sums []float32, n, end int) {
	start, bias := g.startOf(0, n)
	for i := range g.M {
		row := sums[i*g.plan.cols:][:g.plan.cols]
		clear(row)
		switch start {
		case startC:
			copy(row, g.C[i*g.ldc+n:i*g.ldc+end])
		case startColumnBias:
			copy(row, bias[:end-n])
		case startRowBias:
			for j := range row {
				row[j] = bias[i]
			}
		}
	}
}

// multiply adds to sums the products of the first whole of k columns of a with the panel of
// columns from n. A call of the kernel goes over so many blocks that it takes a few µs.
func (b *Nibbles) multiply(sums, a []float32, lda, rows, k, whole, n, cols int) {
	data := b.Data[n/cols*b.panelLen(k, cols):]
	head, most := b.headRows()*cols, max(1, kBlock*8/b.Block)
	for at := 0; at < whole; {
		blocks, groups := min(most, (whole-at)/b.Block), b.Block/nibbleGroup
		if blocks == 0 {
			blocks, groups = 1, (whole-at)/nibbleGroup
		}
		nibbleRowsAsm(&sums[0], &data[0], &data[head], &a[at], 4*lda, rows, blocks, groups, b.headRows()-1)
		data = data[blocks*(head+groups*cols):]
		at += blocks * groups * nibbleGroup
	}
}
