package kernel

import (
	"math"

	"tandem/kernel/ref"
)

// Codes are a matrix [K, N] in codes of a few bits: an element is (code - zero)·scale,
// with a scale and a zero for every Block rows of a column. A product multiplies the floats
// that this gives, whichever way it goes: they are made for a block of the matrix at a time,
// in the cache.
type Codes struct {
	Bits  int       // 4 or 8
	Block int       // a multiple of 8
	Zeros bool      // there are zeros; else all are half of the range
	Data  []float32 // as PackCodes wrote it
}

// In memory, panels of tileShape.cols columns follow each other, the last one filled up. In
// a panel each block begins with a row of scales, and one of zeros if there are any; then
// come rows of words, of as many codes as they have room for (ref.Codes).

// group is the number of codes in a word.
func (b *Codes) group() int { return 32 / b.Bits }

// headRows are the rows before the words of a block.
func (b *Codes) headRows() int {
	if b.Zeros {
		return 2
	}
	return 1
}

// panelLen is the number of words in a panel of k rows.
func (b *Codes) panelLen(k, cols int) int {
	return (ceilDiv(k, b.Block)*b.headRows() + ceilDiv(k, b.group())) * cols
}

// Len is the number of words that Data has for a [k, n] matrix.
func (b *Codes) Len(k, n int, isa ISA) int {
	cols := shapeOf(isa).cols
	return ceilDiv(n, cols) * b.panelLen(k, cols)
}

// PackCodes fills dst, of b.Len words, from what MatMulNBits has: for each of n columns
// codes of whole blocks, the first in the low bits of a byte, and for each block a
// scale, and a zero if b has zeros.
func PackCodes(p *Pool, dst []float32, b Codes, codes []byte, scales, zeros []float32, k, n int) {
	cols, blocks := shapeOf(p.isa).cols, ceilDiv(k, b.Block)
	checkLen("PackCodes", "dst", len(dst), b.Len(k, n, p.isa))
	checkLen("PackCodes", "codes", len(codes), n*blocks*b.Block*b.Bits/8)
	checkLen("PackCodes", "scales", len(scales), n*blocks)
	if b.Zeros {
		checkLen("PackCodes", "zeros", len(zeros), n*blocks)
	}
	panel := b.panelLen(k, cols)
	p.For(ceilDiv(n, cols), max(1, (1<<16)/max(1, panel)), func(lo, hi, _ int) {
		for i := lo; i < hi; i++ {
			to := dst[i*panel:][:panel]
			clear(to)
			for j := i * cols; j < min((i+1)*cols, n); j++ {
				b.packColumn(to[j-i*cols:], codes[j*blocks*b.Block*b.Bits/8:], scales[j*blocks:], zeros, j*blocks, k, cols)
			}
		}
	})
}

// packColumn writes one column of a panel, whose rows lie cols apart.
func (b *Codes) packColumn(to []float32, codes []byte, scales, zeros []float32, first, k, cols int) {
	at := 0
	put := func(v float32) { to[at], at = v, at+cols }
	for i := 0; i < k; i += b.group() {
		if i%b.Block == 0 {
			put(scales[i/b.Block])
			if b.Zeros {
				put(zeros[first+i/b.Block])
			}
		}
		c := codes[i*b.Bits/8:][:4]
		put(math.Float32frombits(uint32(c[0]) | uint32(c[1])<<8 | uint32(c[2])<<16 | uint32(c[3])<<24))
	}
}

// rows is k, filled up to whole words: the rows that unpack writes.
func (b *Codes) rows(k int) int { return ceilDiv(k, b.group()) * b.group() }

// unpack writes rows [k0,k1) and columns [n0,n1) of the matrix, which has k rows, as panels
// of rows(k1-k0) rows; k0 and n0 are the first of a word and of a panel.
func (b *Codes) unpack(dst []float32, isa ISA, k, k0, k1, n0, n1 int) {
	cols := shapeOf(isa).cols
	panel, head := b.panelLen(k, cols), b.headRows()*cols
	size := head + b.Block/b.group()*cols
	for n := n0; n < n1; n += cols {
		data := b.Data[n/cols*panel:][:panel]
		for at := k0; at < k1; {
			block, end := data[at/b.Block*size:], min(k1, at-at%b.Block+b.Block)
			blocks, groups := 1, ceilDiv(end-at, b.group())
			if at%b.Block == 0 && k1-at >= b.Block {
				blocks = (k1 - at) / b.Block
				end = at + blocks*b.Block
			}
			b.floats(dst, isa, block, block[head+at%b.Block/b.group()*cols:], blocks, groups, cols)
			dst = dst[blocks*groups*b.group()*cols:]
			at = end
		}
	}
}

// floats writes groups of rows of blocks that follow each other; words are the first one's.
func (b *Codes) floats(dst []float32, isa ISA, block, words []float32, blocks, groups, cols int) {
	if isa != Generic {
		zeros := b.headRows() - 1
		codesAsm(isa, b.Bits, &dst[0], &block[0], &words[0], blocks, groups, zeros)
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
		ref.Codes(dst, block[:cols], zeros, words, groups, b.Bits)
		dst = dst[groups*b.group()*cols:]
	}
}

// codeRowsMost is the number of rows up to which nothing is written of the floats: they are
// multiplied in registers.
const codeRowsMost = 8

// multiplyCodes computes columns [n0,n1) of C for so few rows.
func (g *Gemm) multiplyCodes(n0, n1 int, scratch []float32) {
	cols, group := g.plan.cols, g.Codes.group()
	whole := g.K / group * group
	var sums [codeRowsMost * 32]float32
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
func (b *Codes) multiply(sums, a []float32, lda, rows, k, whole, n, cols int) {
	data := b.Data[n/cols*b.panelLen(k, cols):]
	head, most := b.headRows()*cols, max(1, kBlock*8/b.Block)
	for at := 0; at < whole; {
		blocks, groups := min(most, (whole-at)/b.Block), b.Block/b.group()
		if blocks == 0 {
			blocks, groups = 1, (whole-at)/b.group()
		}
		codeRowsAsm(b.Bits, &sums[0], &data[0], &data[head], &a[at], 4*lda, rows, blocks, groups, b.headRows()-1)
		data = data[blocks*(head+groups*cols):]
		at += blocks * groups * b.group()
	}
}
