package kernel

import (
	"math"
	"unsafe"

	"tandem/kernel/ref"
)

// Rescale is what becomes of the exact sums of products of bytes, plus Start. One of
// its results is given, with the rows of the product one after another:
//
//	Sums  = S
//	Y     = act(float(S)·(ScaleA·ScaleB) + Bias) + Add, rounded after each operation
//	Bytes = saturate(round(float(S)·ScaleB) + To), in int8 if ToSigned, else uint8;
//	        then what Combine makes of them, in place of its A, and its B;
//	        then what Table has for each, if it is not nil
type Rescale struct {
	Start  []int32   // for each column, or nil
	ScaleA []float32 // one, or one for each row
	ScaleB []float32 // for each column
	Bias   []float32 // for each column, or nil
	Act    Activation
	Add    []float32 // like Y, or nil

	Sums     []int32
	Y        []float32
	Bytes    []byte
	To       int32
	ToSigned bool
	Combine  *CombineBytes // or nil; its B is like Bytes, and may be Bytes, or is a row for all
	Table    []byte        // 256, or nil
}

// ByteGemm computes, exactly modulo 2³², the sums
//
//	S[i,j] = Σ_k (A[i,k] - ZeroA)·(B[k,j] - ZeroB[j])
//
// of matrices of bytes, and rescales them.
type ByteGemm struct {
	M, N, K int
	A       []byte // [M, K]
	SignedA bool   // A is int8, else uint8
	ZeroA   int32
	Packed  []byte  // B [K, N] as PackBytes wrote it
	ZeroB   []int32 // for each column, 128 less where B is unsigned; nil: all are 0
	Rescale

	packing bytePacking
	byteRun
}

// byteRun is what one Run of ByteGemm works out.
type byteRun struct {
	byteForm
	vectors   ISA
	stride    int // bytes of a row of A as it is multiplied
	copied    bool
	start     []int32
	rowSums   []int32 // less than 0; if direct, times the zero point of B
	rows      []byte  // copies of A's
	tiles     []byte  // of the workers: sums that become bytes
	byRow     bool
	preparing bool
	direct    bool // sums are rescaled in registers
	stop      <-chan struct{}
}

const (
	// byteColumns is the most columns of a block: as many as fit in blockBytes, half of
	// a usual L2 cache.
	byteColumns = 512
	blockBytes  = 512 << 10
	// byteWords bounds the time in one call of the tile kernel.
	byteWords = 8192
)

func (g *ByteGemm) plan(p *Pool) {
	g.byteForm, g.vectors = byteFormOf(p), p.isa
	g.copied = g.size == 2 || g.SignedA || g.K%4 != 0 || g.M > 8 && g.K%aliasBytes == 0
	g.stride = g.K
	if g.copied {
		g.stride = 4 * g.words(g.K)
		if g.stride%aliasBytes == 0 {
			g.stride += 64
		}
	}
	g.byRow = ceilDiv(g.M, g.stripRows()) >= ceilDiv(g.N, g.cols)
}

// lens are the bytes of scratch for each purpose.
func (g *ByteGemm) lens(p *Pool) (start, sums, copies, tiles int) {
	start = (4*g.N + 63) &^ 63
	if g.ZeroB != nil {
		sums = (4*g.M + 63) &^ 63
	}
	if g.copied {
		copies = (g.M*g.stride + 63) &^ 63
	}
	return start, sums, copies, roomsLen[byte](p.threads, g.workerBytes())
}

// workerBytes is the scratch of a worker, for the sums of a block and of a strip.
func (g *ByteGemm) workerBytes() int {
	if g.Bytes == nil {
		return g.blockRoom()
	}
	return g.blockRoom() + (4*g.tileShape.rows*min(byteColumns, g.N)+63)&^63
}

// ScratchLen is the number of bytes that Run needs on p: for these dimensions, and the
// zero points and results that are not nil.
func (g *ByteGemm) ScratchLen(p *Pool) int {
	g.plan(p)
	start, sums, copies, tiles := g.lens(p)
	return start + sums + copies + tiles
}

// Run computes the product.
func (g *ByteGemm) Run(p *Pool, scratch []byte) {
	g.plan(p)
	g.check(p, len(scratch))
	if g.M == 0 || g.N == 0 {
		return
	}
	start, sums, copies, _ := g.lens(p)
	g.start, scratch = int32sAt(scratch[:start]), scratch[start:]
	g.rowSums, scratch = int32sAt(scratch[:sums]), scratch[sums:]
	g.rows, g.tiles = scratch[:copies], scratch[copies:]
	startsOf(g.vectors, g.start[:g.N], &g.Rescale, int32sAt(g.Packed[g.sumsAt(g.K, g.N):]), g.ZeroB, g.K, g.ZeroA, g.SignedA)
	g.direct = g.fits(g.byteForm) && alike(g.ZeroB) && g.words(g.K) <= byteWords
	if g.copied || g.ZeroB != nil {
		g.preparing = true
		p.run(g.M, ceilDiv(1<<15, max(1, g.K)), g)
		times := int32(-1)
		if g.direct && g.ZeroB != nil {
			times = -g.ZeroB[0]
		}
		for i := range g.rowSums[:sums/4] {
			g.rowSums[i] *= times
		}
	}
	g.preparing, g.stop = false, p.stop
	units, work := ceilDiv(g.N, g.cols), g.cols*max(g.M, g.stripRows())
	if g.byRow {
		units, work = ceilDiv(g.M, g.stripRows()), g.stripRows()*g.N
	}
	p.run(units, max(ceilDiv(4*chunkFlops, max(1, 2*work*g.K)), ceilDiv(units, p.threads*8)), g)
}

// alike reports whether all numbers are the first.
func alike(x []int32) bool {
	for _, v := range x {
		if v != x[0] {
			return false
		}
	}
	return true
}

// startsOf writes what the sums of the columns begin with: Start less the zero point of A
// times the sum of the column, its own zero points taken off.
func startsOf(isa ISA, to []int32, r *Rescale, sums, zeroB []int32, k int, zeroA int32, signedA bool) {
	if signedA { // its bytes are multiplied as unsigned ones
		zeroA += 128
	}
	if r.Start == nil {
		clear(to)
	} else {
		copy(to, r.Start)
	}
	addMultiple(isa, to, sums, -zeroA)
	if zeroB != nil {
		addMultiple(isa, to, zeroB, int32(k)*zeroA)
	}
}

func (g *ByteGemm) check(p *Pool, scratch int) {
	checkLen("ByteGemm", "A", len(g.A), g.M*g.K)
	checkLen("ByteGemm", "Packed", len(g.Packed), PackedByteLen(g.K, g.N, p))
	if g.ZeroB != nil {
		checkLen("ByteGemm", "ZeroB", len(g.ZeroB), g.N)
	}
	g.Rescale.check(g.M, g.N)
	start, sums, copies, tiles := g.lens(p)
	checkLen("ByteGemm", "scratch", scratch, start+sums+copies+tiles)
}

func (r *Rescale) check(m, n int) {
	if r.Start != nil {
		checkLen("Rescale", "Start", len(r.Start), n)
	}
	switch {
	case r.Sums != nil:
		checkLen("Rescale", "Sums", len(r.Sums), m*n)
		return
	case r.Bytes != nil:
		checkLen("Rescale", "Bytes", len(r.Bytes), m*n)
		if r.Combine != nil {
			checkLen("Rescale", "Combine.B", len(r.Combine.B), n)
			if len(r.Combine.B) > n {
				checkLen("Rescale", "Combine.B", len(r.Combine.B), m*n)
			}
		}
		if r.Table != nil {
			checkLen("Rescale", "Table", len(r.Table), 256)
		}
	default:
		checkLen("Rescale", "Y", len(r.Y), m*n)
		if len(r.ScaleA) != 1 {
			checkLen("Rescale", "ScaleA", len(r.ScaleA), m)
		}
		if r.Bias != nil {
			checkLen("Rescale", "Bias", len(r.Bias), n)
		}
		if r.Add != nil {
			checkLen("Rescale", "Add", len(r.Add), m*n)
		}
	}
	checkLen("Rescale", "ScaleB", len(r.ScaleB), n)
}

// fits reports whether the tile kernel can rescale the sums in the registers in which they
// were added up: not if what it rounds may be too great for 32 bits.
func (r *Rescale) fits(f byteForm) bool {
	if f.isa != AVX512 || r.Sums != nil {
		return false
	}
	if r.Bytes == nil {
		return true
	}
	for _, s := range r.ScaleB {
		if !(-0.5 < s && s < 0.5) { // NaN too
			return false
		}
	}
	c := r.Combine
	if c == nil {
		return true
	}
	a, b := ref.Factors(c.OfA, c.OfB, c.OfY, false)
	most := max(a.Scale, -a.Scale, b.Scale, -b.Scale)
	return !c.Product && c.OfA.Zero == r.To && c.OfA.Signed == r.ToSigned && most < 1<<20
}

func (g *ByteGemm) chunk(lo, hi, worker int) {
	if g.preparing {
		g.prepare(lo, hi)
		return
	}
	s := byteStrips{byteForm: g.byteForm, vectors: g.vectors, to: &g.Rescale, direct: g.direct, a: g.A, stride: g.stride, words: g.words(g.K),
		panel: g.panelBytes(g.K), step: 1, cs: g.N, start: g.start[:g.N]}
	switch {
	case g.ZeroB == nil:
	case g.direct:
		s.rowStart = g.rowSums
	default:
		s.zeros, s.rowSums = g.ZeroB, g.rowSums
	}
	if g.copied {
		s.a = g.rows
	}
	room := int32sAt(roomOf(g.tiles, worker, g.workerBytes()))
	s.block, s.tile = room[:g.blockRoom()/4], room[g.blockRoom()/4:]
	m0, m1, n0, n1 := 0, g.M, lo*g.cols, min(hi*g.cols, g.N)
	if g.byRow {
		m0, m1, n0, n1 = lo*g.stripRows(), min(hi*g.stripRows(), g.M), 0, g.N
	}
	step := g.blockColumns(g.K, n1-n0)
	for n := n0; n < n1 && !ended(g.stop); n += step {
		s.b = g.Packed[n/g.cols*s.panel:]
		s.run(m0, m1, n, min(n+step, n1))
	}
}

// prepare copies rows in the form in which they are multiplied, and adds them up.
func (g *ByteGemm) prepare(lo, hi int) {
	flip := byte(0)
	if g.SignedA {
		flip = 128
	}
	for i := lo; i < hi; i++ {
		x := g.A[i*g.K:][:g.K]
		if g.copied {
			row := g.rows[i*g.stride:][:4*g.words(g.K)]
			g.word(g.vectors, row, x, flip)
			if g.size == 1 {
				x = row[:g.K]
			}
		}
		switch {
		case g.ZeroB == nil:
		case g.SignedA && g.size == 2:
			g.rowSums[i] = 0
			for _, v := range x {
				g.rowSums[i] += int32(v ^ flip)
			}
		default:
			g.rowSums[i] = sumBytes(x)
		}
	}
}

// blockColumns is the number of columns of a block of k rows, in whole panels, where there
// are n: blocks are about equal.
func (f byteForm) blockColumns(k, n int) int {
	most := max(1, min(byteColumns, blockBytes/max(1, k*f.size))/f.cols)
	panels := ceilDiv(n, f.cols)
	return ceilDiv(panels, max(1, ceilDiv(panels, most))) * f.cols
}

// word writes a row of unsigned bytes, xor flip, as words.
func (f byteForm) word(vectors ISA, to, x []byte, flip byte) {
	if f.size == 2 {
		widenBytes(vectors, int16sAt(to), x, flip)
	} else {
		copy(to, x)
		if flip != 0 {
			flipBytes(to[:len(x)], flip)
		}
	}
	clear(to[len(x)*f.size:])
}

// byteStrips goes over a block of rows and columns in tiles.
type byteStrips struct {
	byteForm
	vectors       ISA
	to            *Rescale
	direct        bool   // sums are rescaled in the registers in which they were added up
	a             []byte // row first+i at i*stride
	first         int
	stride, words int    // of a row; words are those of a line
	lines, line   int    // of a row, that begin so many bytes apart; 0: one
	step          int    // from a row of the result to the next of a strip
	b             []byte // panels from the block's first column on
	fetched       bool   // rows follow each other, and come from memory
	skipB         int    // bytes of a panel between the words of two lines
	panel         int
	cs, column    int // columns of the result; that of the first weights, to which scales belong too
	start         []int32
	zeros         []int32 // of the columns, or nil; then
	rowSums       []int32 // less than 0, of the rows
	rowStart      []int32 // what the sums of the rows start from besides, if direct; or nil
	tile          []int32 // room for the sums of a strip that become bytes
	block         []int32 // room for blockSums; with form.blocks
	most          int     // tiles in a call
	// What the sums of rows from fromRow on start from besides, as blockSums has them; or nil.
	from    []int32
	fromRow int
}

// run computes rows [m0,m1) and columns [n0,n1), fewer than byteColumns.
func (s *byteStrips) run(m0, m1, n0, n1 int) {
	if words := s.blockWords(m1 - m0); words > 0 {
		s.runBlocks(words, m0, m1, n0, n1)
	} else {
		args := s.args()
		s.runStrips(&args, m0, m1, n0, n1)
	}
}

// runStrips is run on the tile kernel alone: a strip of rows stays in the L1 cache while
// the panels stream from L2. args are those of s.args.
func (s *byteStrips) runStrips(args *tileArgs, m0, m1, n0, n1 int) {
	height := ceilDiv(m1-m0, ceilDiv(m1-m0, s.tileShape.rows))
	n := n1 - n0
	for i := m0; i < m1; i += height {
		s.strip(args, s.a[(i-s.first)*s.stride:], i, min(height, m1-i), n0, n)
	}
}

// strip computes n columns, from n0 on, of rows a of which the first is that of the result.
func (s *byteStrips) strip(args *tileArgs, a []byte, row, rows, n0, n int) {
	if s.direct {
		s.rescaled(args, a, row, n0, rows, n)
	} else {
		c, cs := s.sums(row, n0, n)
		for j := 0; j < n; j += s.cols {
			s.startFrom(args, row, j)
			s.product(args, a, s.b[j/s.cols*s.panel:], s.start[n0+j:], c[j:], cs, rows, min(s.cols, n-j))
		}
		s.rescale(c, cs, row, rows, n0, n)
	}
	switch {
	case s.to.Sums != nil:
	case s.to.Bytes == nil:
		s.finish(row, rows, n0, n)
	case s.to.Table != nil:
		s.lookup(row, rows, n0, n)
	}
}

// args are those of the tile kernel that all tiles share.
func (s *byteStrips) args() tileArgs {
	r := s.to
	s.most = max(1, byteWords/(max(1, s.words)*max(1, s.lines)))
	args := tileArgs{
		rs: uintptr(s.stride), ks: 4, bs: uintptr(4 * s.cols), k: s.words, lineStep: uintptr(s.line - 4*s.words),
		ahead: uintptr(4*s.cols) * aheadRows, panel: uintptr(s.panel), skipB: uintptr(s.skipB),
	}
	switch {
	case !s.direct:
	case r.Bytes != nil:
		args.result, args.cs, args.columnsC = resultBytes, uintptr(s.step*s.cs), uintptr(s.cols)
		to, signed := r.To, r.ToSigned
		if r.Combine != nil {
			args.combine(r)
			if len(r.Combine.B) > s.cs {
				args.otherStep = args.cs
			}
			to, signed = r.Combine.OfY.Zero, r.Combine.OfY.Signed
		}
		if !signed { // rounded as signed bytes
			to, args.flip = to-128, 0x80808080
		}
		args.zero = uint32(uint16(to)) * 0x10001
	default:
		args.result, args.cs, args.columnsC = resultFloats, uintptr(4*s.step*s.cs), uintptr(4*s.cols)
		if len(r.ScaleA) > 1 {
			args.rowStep = 4
		}
	}
	return args
}

// startFrom says what the sums of a tile, column columns into the block, start from.
func (s *byteStrips) startFrom(args *tileArgs, row, column int) {
	args.start = startColumnBias
	if s.from != nil {
		args.start, args.from = startFrom, unsafe.Pointer(&s.from[column*amxBlock+(row-s.fromRow)*s.cols])
	}
}

// combine lets the bytes of r become what its Combine makes of them.
func (t *tileArgs) combine(r *Rescale) {
	c := r.Combine
	a, b := ref.Factors(c.OfA, c.OfB, c.OfY, false)
	t.result, t.factor, t.otherFactor = resultCombined, a.Scale, b.Scale
	t.lo, t.hi = ref.Range(r.To, r.ToSigned)
	t.otherBits, t.otherZero = math.Float32bits(1<<23), float32(1<<23+b.Zero)
	if b.Signed {
		t.otherBits, t.otherZero = t.otherBits|128, t.otherZero+128
	}
}

// rescaled computes a strip, from row and column on, and rescales it. It has no divisions,
// which would take a tenth of the time of a short product.
func (s *byteStrips) rescaled(args *tileArgs, a []byte, row, column, rows, n int) {
	r := s.to
	args.rows, args.a = rows, unsafe.Pointer(unsafe.SliceData(a))
	if r.Bytes == nil {
		args.rowScale = unsafe.Pointer(&r.ScaleA[row*int(args.rowStep)/4])
	}
	if s.rowStart != nil {
		args.rowStart = unsafe.Pointer(&s.rowStart[row])
	}
	args.far = 0
	if s.fetched {
		args.far = uintptr(args.a) + uintptr(rows*s.stride)
	}
	pairs := s.pairs(rows)
	for j, cols := 0, 0; j < n; j += cols {
		args.tiles = max(1, min(s.most, (n-j)/vnniColumns))
		cols = min(args.tiles*vnniColumns, n-j)
		at := s.column + column + j
		args.mask, args.lines, args.allLines = uint32(uint64(1)<<min(vnniColumns, n-j)-1), s.lines, s.lines
		s.startFrom(args, row, j)
		args.paired = notPaired
		if n-j >= vnniColumns {
			args.paired = pairs
		}
		args.b, args.bias, args.scale = unsafe.Pointer(&s.b[j/vnniColumns*s.panel]), unsafe.Pointer(&s.start[column+j]), unsafe.Pointer(&r.ScaleB[at])
		if r.Bytes != nil {
			args.c = unsafe.Pointer(&r.Bytes[row*s.cs+at])
			if r.Combine != nil {
				args.other = unsafe.Pointer(unsafe.SliceData(r.other(row*s.cs+at, s.cs)))
			}
		} else {
			args.c = unsafe.Pointer(&r.Y[row*s.cs+at])
			if r.Bias != nil {
				args.shift = unsafe.Pointer(&r.Bias[at])
			}
		}
		tileBytesAsm(args)
	}
}

// sums is where the sums of a strip go, and their row stride.
func (s *byteStrips) sums(row, n0, n int) ([]int32, int) {
	switch at := row*s.cs + s.column + n0; {
	case s.to.Bytes != nil:
		return s.tile, n
	case s.to.Sums != nil:
		return s.to.Sums[at:], s.step * s.cs
	default:
		y := s.to.Y[at:]
		return unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(y))), len(y)), s.step * s.cs
	}
}

// product computes the sums of one tile.
func (s *byteStrips) product(args *tileArgs, a, b []byte, start, c []int32, cs, rows, cols int) {
	if s.isa == Generic {
		t := ref.ByteTile{Rows: rows, Cols: cols, Words: s.words, Lines: s.lines, Line: s.line / 2, A: int16sAt(a), RS: s.stride / 2, B: int16sAt(b), BS: s.cols, C: c, CS: cs, Start: start}
		t.Run()
		return
	}
	args.c, args.bias = unsafe.Pointer(unsafe.SliceData(c)), unsafe.Pointer(unsafe.SliceData(start))
	args.cs, args.rows, args.mask, args.lines = uintptr(4*cs), rows, uint32(uint64(1)<<cols-1), s.lines
	for k := 0; k < max(1, s.words); k += byteWords {
		args.k = min(byteWords, s.words-k)
		args.a, args.b = unsafe.Pointer(unsafe.SliceData(a[4*k:])), unsafe.Pointer(unsafe.SliceData(b[4*s.cols*k:]))
		if s.isa == AVX512 {
			tileBytesAsm(args)
		} else {
			runTile(AVX2, asPairs, args)
		}
		args.start = startC
	}
}

// rescale turns the sums c of rows from row on into what is wanted, before the activation.
func (s *byteStrips) rescale(c []int32, cs, row, rows, n0, n int) {
	for r := range rows {
		sums, i := c[r*cs:][:n], row+r*s.step
		if s.zeros != nil {
			addMultiple(s.vectors, sums, s.zeros[n0:], s.rowSums[i])
		}
		switch at := i*s.cs + s.column + n0; {
		case s.to.Bytes != nil:
			s.to.bytes(s.vectors, at, s.cs, sums, s.to.ScaleB[s.column+n0:])
		case s.to.Sums == nil:
			s.toFloats(s.to.Y[at:][:n], sums, i, s.column+n0)
		}
	}
}

// other are the bytes that those from at on, in rows of cs, are combined with.
func (r *Rescale) other(at, cs int) []byte {
	if len(r.Combine.B) == cs {
		at %= cs
	}
	return r.Combine.B[at:]
}

// bytes rescales sums of a row of cs to the bytes from at on.
func (r *Rescale) bytes(isa ISA, at, cs int, sums []int32, scale []float32) {
	y, c := r.Bytes[at:][:len(sums)], r.Combine
	if c == nil {
		requantize(isa, y, sums, scale, r.To, r.ToSigned)
		return
	}
	other := r.other(at, cs)
	var own [byteColumns]byte // y may be c.B
	for i := 0; i < len(y); i += len(own) {
		n := min(len(own), len(y)-i)
		requantize(isa, own[:n], sums[i:][:n], scale[i:], r.To, r.ToSigned)
		c.combine(isa, y[i:][:n], own[:n], other[i:][:n])
	}
}

// finish applies the activation to floats, and adds what is to be added.
func (s *byteStrips) finish(row, rows, n0, n int) {
	if s.to.Act == ActNone && s.to.Add == nil {
		return
	}
	whole := n == s.cs && s.step == 1 && s.to.Add == nil // the rows follow each other
	for r := 0; r < rows; r++ {
		at, size := (row+r*s.step)*s.cs+s.column+n0, n
		if whole {
			size, r = rows*n, rows
		}
		var add []float32
		if s.to.Add != nil {
			add = s.to.Add[at:]
		}
		y := s.to.Y[at:][:size]
		if s.to.Act == ActReLU {
			unary(s.vectors, OpReLU, y, y, 0)
		}
		finish(s.vectors, s.to.Act, y, add)
	}
}

func (s *byteStrips) toFloats(y []float32, sums []int32, row, n0 int) {
	scale := s.to.ScaleA[0]
	if len(s.to.ScaleA) > 1 {
		scale = s.to.ScaleA[row]
	}
	var bias []float32
	if s.to.Bias != nil {
		bias = s.to.Bias[n0:]
	}
	scaleSums(s.vectors, y, sums, s.to.ScaleB[n0:], bias, scale)
}
