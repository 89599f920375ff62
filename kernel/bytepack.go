package kernel

import "unsafe"

// byteForm is how a pool's processor multiplies bytes: by dot products of four bytes
// (VNNI), besides which there may be products of blocks (AMX), or of two numbers of 16
// bits, to which bytes are widened. Products of bytes that are added in pairs with
// saturation (VPMADDUBSW) are not exact.
type byteForm struct {
	isa ISA
	tileShape
	size   int  // bytes that an element takes in a word of four bytes
	blocks bool // AMX adds up the sums of blocks
	paired bool // tiles of combined bytes are paired where they may be
}

// vnniColumns is the width of a tile of VNNI.
const vnniColumns = 32

func byteFormOf(p *Pool) byteForm {
	switch {
	case p.vnni:
		return byteForm{AVX512, tileShape{12, vnniColumns}, 1, p.amx, p.four}
	case p.isa >= AVX2:
		return byteForm{AVX2, tileShape{6, 16}, 2, false, false}
	}
	return byteForm{Generic, tileShape{4, 16}, 2, false, false}
}

// Tiles are paired (tileArgs.paired) from so many rows on, with so many words. Of sums alone
// less is to be done, which pays beside few words only.
const pairedRows, leastPairedWords, mostBytesWords = 9, 16, 64

// pairs says how tiles of so many rows, whose columns all exist, are paired.
func (s *byteStrips) pairs(rows int) uint32 {
	switch {
	case !s.paired || s.to.Bytes == nil || rows < pairedRows || s.lines > 1 || s.words < leastPairedWords || s.from != nil || s.rowStart != nil:
		return notPaired
	case s.to.Combine != nil:
		return pairedSums
	case s.words <= mostBytesWords:
		return pairedBytes
	}
	return notPaired
}

// words is the number of words of k elements.
func (f byteForm) words(k int) int { return ceilDiv(k*f.size, 4) }

// panelBytes is the size of a panel of f.cols columns.
func (f byteForm) panelBytes(k int) int { return 4 * f.cols * f.words(k) }

// sumsAt is where the sums of the columns of packed bytes begin.
func (f byteForm) sumsAt(k, n int) int { return ceilDiv(n, f.cols) * f.panelBytes(k) }

// PackedByteLen is the size of a [k,n] matrix of bytes as PackBytes writes it for p.
func PackedByteLen(k, n int, p *Pool) int { return byteFormOf(p).sumsAt(k, n) + 4*n }

// PackBytes packs b, a matrix [k,n] of bytes, or [n,k] when trans, for use as
// ByteGemm.Packed on p: panels of columns, each [words][columns], filled up with
// zeros, then the sums of the columns. Unsigned bytes are packed less 128, so that
// their zero points are less by as much too.
func PackBytes(p *Pool, dst, b []byte, signed bool, k, n int, trans bool) {
	new(bytePacking).run(p, dst, b, signed, k, n, trans)
}

// PackB is PackBytes for a right-hand matrix [K,N] that is not packed once for all: it
// allocates nothing after the first time.
func (g *ByteGemm) PackB(p *Pool, dst, b []byte, signed bool) {
	g.packing.run(p, dst, b, signed, g.K, g.N, false)
}

// bytePacking is the work of one PackBytes: element (k,j) of b is at k*rs + j*cs.
type bytePacking struct {
	byteForm
	b, dst       []byte
	sums         []int32
	k, n, rs, cs int
	flip         byte
}

func (t *bytePacking) run(p *Pool, dst, b []byte, signed bool, k, n int, trans bool) {
	checkLen("PackBytes", "dst", len(dst), PackedByteLen(k, n, p))
	checkLen("PackBytes", "b", len(b), k*n)
	f := byteFormOf(p)
	*t = bytePacking{byteForm: f, b: b, dst: dst, sums: int32sAt(dst[f.sumsAt(k, n):]), k: k, n: n, rs: n, cs: 1}
	if trans {
		t.rs, t.cs = 1, k
	}
	if !signed {
		t.flip = 128
	}
	p.run(ceilDiv(n, f.cols), ceilDiv(1<<15, max(1, k*f.cols)), t)
}

func (t *bytePacking) chunk(lo, hi, _ int) {
	size := t.panelBytes(t.k)
	for q := lo; q < hi; q++ {
		t.panel(t.dst[q*size:][:size], q*t.cols, t.sums)
	}
}

func (t *bytePacking) panel(dst []byte, n0 int, sums []int32) {
	clear(dst)
	width := min(t.cols, t.n-n0)
	sums = sums[n0:][:width]
	clear(sums)
	from := 0
	if t.size == 1 && t.cs == 1 && width == t.cols && t.k >= 4 {
		from = t.k &^ 3
		for k := 0; k < from; k += packedRows {
			packWordsAsm(&dst[k*t.cols], &t.b[k*t.rs+n0], &sums[0], min(packedRows, from-k), t.rs, uint32(t.flip)*0x01010101)
		}
	}
	for k := from; k < t.k; k++ {
		at := k * t.size / 4 * t.cols * 4
		at += k * t.size % 4
		if t.cs == 1 { // along a row of b
			for j, v := range t.b[k*t.rs+n0:][:width] {
				sums[j] += t.put(dst, at+4*j, v)
			}
			continue
		}
		for j := range sums {
			sums[j] += t.put(dst, at+4*j, t.b[k*t.rs+(n0+j)*t.cs])
		}
	}
}

// packedRows bounds the time in one call of packWordsAsm.
const packedRows = 4096

// put writes an element, and returns its value.
func (t *bytePacking) put(dst []byte, at int, v byte) int32 {
	v ^= t.flip
	dst[at] = v
	if t.size == 2 {
		dst[at+1] = byte(int8(v) >> 7)
	}
	return int32(int8(v))
}

// int32sAt and int16sAt are memory as whole numbers.
func int32sAt(b []byte) []int32 {
	return unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}

func float32sAt(b []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}

func int16sAt(b []byte) []int16 {
	return unsafe.Slice((*int16)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/2)
}

// flipBytes is x xor flip, in place.
func flipBytes(x []byte, flip byte) {
	for ; len(x) >= 8; x = x[8:] {
		*(*uint64)(unsafe.Pointer(unsafe.SliceData(x))) ^= uint64(flip) * 0x0101010101010101
	}
	for i := range x {
		x[i] ^= flip
	}
}

// sumBytes adds unsigned bytes.
func sumBytes(x []byte) int32 {
	const mask = 0x00ff00ff00ff00ff
	var total int32
	for len(x) >= 8 {
		var sums uint64 // of 16 bits
		n := min(len(x)/8, 128)
		for range n {
			w := *(*uint64)(unsafe.Pointer(unsafe.SliceData(x)))
			sums += w&mask + w>>8&mask
			x = x[8:]
		}
		total += int32(sums&0xffff + sums>>16&0xffff + sums>>32&0xffff + sums>>48)
	}
	for _, v := range x {
		total += int32(v)
	}
	return total
}
