package kernel

import "fmt"

// Activation is the function applied to a product: ReLU in registers, others while
// a strip of the result is in the L1 cache.
type Activation uint8

const (
	ActNone Activation = iota
	ActReLU
	ActTanh
	ActSigmoid
	ActReLU6
	ActHardSigmoid
	ActHardSwish
	ActSiLU
	ActGELU // by tanh
	ActGELUErf
)

// unary is the element-wise operation that an activation is.
func (a Activation) unary() UnaryOp {
	switch a {
	case ActReLU:
		return OpReLU
	case ActTanh:
		return OpTanh
	case ActSigmoid:
		return OpSigmoid
	case ActReLU6:
		return OpReLU6
	case ActHardSigmoid:
		return OpHardSigmoid
	case ActHardSwish:
		return OpHardSwish
	case ActSiLU:
		return OpSiLU
	case ActGELU:
		return OpGELU
	case ActGELUErf:
		return OpGELUErf
	}
	panic("kernel: unknown Activation")
}

// BiasAxis says along which axis of C a bias runs.
type BiasAxis uint8

const (
	BiasNone   BiasAxis = iota
	BiasColumn          // len N, one for each column
	BiasRow             // len M, one for each row
)

// Gemm computes C = act(A·B + bias) + Add, or C += A·B, on row-major matrices.
//
// Each element is one chain of multiply-adds over k, started from the bias (or
// from C, or from zero): its bits depend on K and on the operands only.
type Gemm struct {
	M, N, K        int
	TransA, TransB bool // A is [M,K], or [K,M] when TransA; B is [K,N], or [N,K] when TransB
	LDA, LDB, LDC  int  // row strides in elements; 0 means dense
	A, B, C        []float32
	Packed         []float32 // B as PackB wrote it; then B, LDB and TransB are not looked at
	Codes          *Codes    // B in codes of few bits; then B, LDB, TransB and Packed are not looked at
	BFloat16       bool      // A and B are rounded to bfloat16 first; Packed is what PackBFloat16 wrote
	RoundedA       bool      // with BFloat16: A is, and
	RoundedC       bool      // C becomes dense rows of bfloat16, two in a word; see KeepsBFloat16
	Bias           []float32
	BiasAxis       BiasAxis
	Accumulate     bool // C += A·B; then there must be no bias
	Act            Activation
	Add            []float32 // rows as in C; or nil

	gemmRun
	bfloat16Run
}

// gemmRun is what one Run works out: strides with defaults filled in, the
// division into chunks and the room for packed blocks.
type gemmRun struct {
	storage       storage // of Packed
	amx           bool    // see tileRun
	narrow        bool    // C takes words of two bfloat16
	lda, ldb, ldc int
	plan          gemmPlan
	isa           ISA
	stop          <-chan struct{}
	phase         gemmPhase
	shared        []float32 // all of B in panels, or a block of it
	scratch       []float32 // perWorker floats for each worker
	left          []float32 // a block of A, if byBlock
	k0, k1        int       // the block of k under way, if byBlock
}

type gemmPhase uint8

const (
	gemmPack gemmPhase = iota
	gemmMultiply
	gemmCopy
)

// Blocking. A block of B (kBlock × nBlock) and one of A stay in the L2 cache
// while the tile kernel goes over them; one strip of A stays in L1.
const (
	kBlock = 384 // steps of k in one call of the tile kernel
	nBlock = 256 // columns
	mBlock = 96  // rows of A packed at a time: whole tiles for 12, 6 and 4 rows

	// leftStride is the row stride of a copied block of a transposed A: an odd number of
	// lines, so that the rows of a strip use all sets of the L1 cache.
	leftStride = mBlock + 16
	// rowsInPlace are so few rows of a transposed A that a block is copied as it is used.
	rowsInPlace = 48

	// aliasBytes is the row stride at whose multiples the twelve rows of a
	// strip compete for the same eight ways of the L1 cache.
	aliasBytes = 4096
	// directRows is the number of rows up to which packing B costs more than
	// it saves; directStride is the row stride in bytes of B up to which its
	// panels are read in place at any number of rows.
	directRows   = 24
	directStride = 2048
	// longK are the steps of k in one call of the tile kernel when all rows are one
	// strip: the sums stay in registers.
	longK = 4096
	// aheadMost are the rows up to which panels of packed weights are fetched ahead: with
	// more of them the time that memory takes is small beside that of the multiplications.
	aheadMost = 144
	// codeRows are the rows of a panel that are made of codes at a time for one strip.
	codeRows = 128
	// chunkFlops is the least work worth handing to another thread, about 20 µs.
	chunkFlops = 1 << 21
	amxFlops   = 1 << 24 // the same for products of words on tiles
)

type gemmPlan struct {
	tileShape
	byRow     bool // threads divide the rows, else the panels of columns
	direct    bool // B is read where it is
	packA     bool // blocks of A are copied first
	packAll   bool // B is packed whole before the threads start
	byBlock   bool // blocks of k are the outermost loop: see packRowsOf
	stream    bool // each panel of packed weights is fetched while the one before it is multiplied
	units     int  // strips of rows or panels of columns
	grain     int  // units in a chunk
	aLen      int  // scratch floats for a block of A
	cLen      int  // and for one of C that is rounded
	perWorker int  // scratch floats for a worker
	sharedLen int
	leftLen   int // scratch floats for a block of A that all workers share
}

func (g *Gemm) makePlan(p *Pool) gemmPlan {
	pl, work := gemmPlan{tileShape: shapeOf(p.isa)}, chunkFlops
	if g.amx {
		pl.rows, work = amxBlock, amxFlops
	}
	strips, panels := ceilDiv(g.M, pl.rows), ceilDiv(g.N, pl.cols)
	pl.byRow = strips >= panels && g.Codes == nil
	ldb := or(g.LDB, g.N)
	switch {
	case g.Codes != nil:
		pl.perWorker += kBlock * nBlock
	case g.Packed != nil:
	// The AVX2 kernel reads whole rows of its panel, masks it has none.
	case !g.TransB && (g.M <= directRows || ldb*4 <= directStride) && (p.isa != AVX2 || g.N%pl.cols == 0):
		pl.direct = true
	case pl.byRow:
		pl.packAll = true
		pl.sharedLen = PackedLen(g.K, g.N, p.isa)
	default:
		pl.perWorker += kBlock * nBlock
	}
	pl.packA = g.TransA || (g.M > 8 && or(g.LDA, g.K)*4%aliasBytes == 0)
	if g.TransA && !g.TransB && g.Packed == nil && g.Codes == nil && g.K > rowsInPlace {
		pl.byBlock, pl.perWorker = true, 0
		pl.leftLen = ceilDiv(g.M, mBlock) * min(g.K, kBlock) * leftStride
		if pl.sharedLen = 0; !pl.direct {
			pl.sharedLen = min(g.K, kBlock) * panels * pl.cols
		}
	} else if pl.packA {
		pl.aLen = max(kBlock*(mBlock+16), mBlock*(kBlock+16))
		pl.perWorker += pl.aLen
	}
	pl.stream = p.isa == AVX512 && g.Packed != nil && g.Codes == nil && g.storage == asFloat32 && !pl.byRow && strips > 1 && g.M <= aheadMost && (!pl.packA || g.M <= mBlock)
	perUnit := 2 * g.K
	if pl.byBlock {
		perUnit = 2 * min(g.K, kBlock)
	}
	if pl.byRow {
		pl.units = strips
		perUnit *= pl.rows * g.N
	} else {
		pl.units = panels
		perUnit *= pl.cols * max(g.M, pl.rows) // fewer rows wait for memory
	}
	grain := max(ceilDiv(work, max(perUnit, 1)), ceilDiv(pl.units, p.threads*8))
	if pl.packA && !pl.byRow { // every chunk copies A
		grain = max(grain, min(ceilDiv(pl.units, p.threads*2), nBlock/pl.cols))
	}
	pl.grain = evenGrain(pl.units, grain, p.threads)
	if g.narrow {
		pl.cLen = min(g.M, 2*mBlock) * min(g.N, nBlock)
		pl.perWorker += pl.cLen
	}
	return pl
}

// evenGrain is grain, or somewhat less where that gives every thread as many chunks: of
// three chunks on two threads one thread has twice the work.
func evenGrain(units, grain, threads int) int {
	if units <= grain {
		return grain
	}
	chunks := ceilDiv(ceilDiv(units, grain), threads) * threads
	if g := ceilDiv(units, chunks); 2*g > grain && ceilDiv(units, g)%threads == 0 {
		return g
	}
	return grain
}

// ScratchLen is the number of floats that Run needs on p for these dimensions.
func (g *Gemm) ScratchLen(p *Pool) int {
	if g.BFloat16 {
		return g.bfloat16ScratchLen(p)
	}
	pl := g.makePlan(p)
	return pl.sharedLen + pl.leftLen + roomsLen[float32](p.threads, pl.perWorker)
}

// Run computes the product. C must not overlap A or B.
func (g *Gemm) Run(p *Pool, scratch []float32) {
	if g.BFloat16 {
		g.runBFloat16(p, scratch)
		return
	}
	g.plan = g.makePlan(p)
	g.check(p, len(scratch))
	if g.M == 0 || g.N == 0 {
		return
	}
	g.isa, g.stop = p.isa, p.stop
	if g.K == 0 {
		g.runEmpty()
		return
	}
	if g.shared, g.scratch = scratch[:g.plan.sharedLen], scratch[g.plan.sharedLen:]; g.plan.byBlock {
		g.runBlocks(p)
		return
	}
	if g.Packed != nil && g.Codes == nil {
		g.shared = g.Packed
	}
	if g.plan.packAll {
		g.phase = gemmPack
		panels := ceilDiv(g.N, g.plan.cols)
		p.run(panels, ceilDiv(1<<15, g.K*g.plan.cols), g)
	}
	g.phase = gemmMultiply
	p.run(g.plan.units, g.plan.grain, g)
}

func (g *Gemm) check(p *Pool, scratch int) {
	if g.M < 0 || g.N < 0 || g.K < 0 {
		panic(fmt.Sprintf("kernel: Gemm of %d×%d×%d", g.M, g.N, g.K))
	}
	aRows, aCols, bRows, bCols := g.M, g.K, g.K, g.N
	if g.TransA {
		aRows, aCols = aCols, aRows
	}
	if g.TransB {
		bRows, bCols = bCols, bRows
	}
	g.lda, g.ldb, g.ldc = or(g.LDA, aCols), or(g.LDB, bCols), or(g.LDC, g.N)
	checkMatrix("A", g.A, aRows, aCols, g.lda)
	if g.narrow {
		checkLen("Gemm", "C", len(g.C), g.M*g.N/2)
	} else {
		checkMatrix("C", g.C, g.M, g.N, g.ldc)
	}
	if g.Codes != nil {
		checkLen("Gemm", "Codes", len(g.Codes.Data), g.Codes.Len(g.K, g.N, p.isa))
	} else if g.Packed != nil {
		checkLen("Gemm", "Packed", len(g.Packed), ceilDiv(g.N, g.plan.cols)*g.panelLen())
	} else {
		checkMatrix("B", g.B, bRows, bCols, g.ldb)
	}
	switch {
	case g.BiasAxis == BiasColumn:
		checkLen("Gemm", "Bias", len(g.Bias), g.N)
	case g.BiasAxis == BiasRow:
		checkLen("Gemm", "Bias", len(g.Bias), g.M)
	}
	if g.Accumulate && g.BiasAxis != BiasNone {
		panic("kernel: Gemm accumulates and has a bias")
	}
	if g.Add != nil {
		checkMatrix("Add", g.Add, g.M, g.N, g.ldc)
	}
	checkLen("Gemm", "scratch", scratch, g.ScratchLen(p))
}

func checkMatrix(name string, x []float32, rows, cols, ld int) {
	if ld < cols {
		panic(fmt.Sprintf("kernel: Gemm.%s has rows of %d with a stride of %d", name, cols, ld))
	}
	if rows > 0 && cols > 0 {
		checkLen("Gemm", name, len(x), (rows-1)*ld+cols)
	}
}

// checkLen panics unless have, the length of an operation's operand, is at
// least want.
func checkLen(op, operand string, have, want int) {
	if have < want {
		panic(fmt.Sprintf("kernel: %s: %s has %d elements, needs %d", op, operand, have, want))
	}
}

// runEmpty is the product over no k: the start values themselves.
func (g *Gemm) runEmpty() {
	for i := range g.M {
		row := g.C[i*g.ldc:][:g.N]
		for j := range row {
			switch {
			case g.BiasAxis == BiasColumn:
				row[j] = g.Bias[j]
			case g.BiasAxis == BiasRow:
				row[j] = g.Bias[i]
			case !g.Accumulate:
				row[j] = 0
			}
		}
		if g.Act == ActReLU {
			unary(g.isa, OpReLU, row, row, 0)
		}
		finish(g.isa, g.Act, row, g.addAt(i*g.ldc))
	}
}

// runBlocks goes over blocks of k: first all threads copy the block's rows of A and B, in
// the order in which they lie, then they multiply. Row by row a transposed A is read as
// fast as memory gives it; a block that each worker copies for itself would take a few
// lines of every row, each from another page.
func (g *Gemm) runBlocks(p *Pool) {
	g.left = g.scratch[:g.plan.leftLen]
	for k := 0; k < g.K; k += kBlock {
		g.k0, g.k1 = k, min(k+kBlock, g.K)
		g.phase = gemmCopy
		p.run(g.k1-g.k0, max(1, (1<<14)/(g.M+len(g.shared)/kBlock)), g)
		g.phase = gemmMultiply
		p.run(g.plan.units, g.plan.grain, g)
	}
}

// copyBlock copies rows [lo,hi) of the block under way: of A to [M/mBlock][k][leftStride],
// of B to panels.
func (g *Gemm) copyBlock(lo, hi int) {
	k := g.k1 - g.k0
	for i := lo; i < hi; i++ {
		row := g.A[(g.k0+i)*g.lda:][:g.M]
		for m := 0; m < g.M; m += mBlock {
			copy(g.left[(m/mBlock*k)*leftStride+i*leftStride:], row[m:min(m+mBlock, g.M)])
		}
	}
	if len(g.shared) > 0 {
		cols := g.plan.cols
		packSomeRows(g.shared, g.B[g.k0*g.ldb:], g.ldb, k, g.N, cols, lo, hi)
	}
}

// strips computes rows [m0,m1) and columns [n0,n1) of C for the block under way.
func (g *Gemm) strips(m0, m1, n0, n1 int) {
	pl, k := &g.plan, g.k1-g.k0
	t := tileRun{isa: g.isa, tileShape: pl.tileShape, storage: g.storage, k: k, cs: g.ldc, last: g.k1 == g.K, act: g.Act, rs: 1, ks: leftStride}
	for n := n0; n < n1; n += nBlock {
		nEnd := min(n+nBlock, n1)
		if pl.direct {
			t.b, t.bs, t.panel, t.bounded = g.B[g.k0*g.ldb+n:], g.ldb, pl.cols, true
		} else {
			t.b, t.bs, t.panel = g.shared[n*k:], pl.cols, k*pl.cols
		}
		t.start, t.bias = g.startOf(g.k0, n)
		for m := m0; m < m1; {
			mEnd := min(m-m%mBlock+mBlock, m1)
			t.a = g.left[m/mBlock*k*leftStride+m%mBlock:]
			t.c, t.add = g.C[m*g.ldc+n:], g.addAt(m*g.ldc+n)
			if t.start == startRowBias {
				t.bias = g.Bias[m:]
			}
			t.run(mEnd-m, nEnd-n)
			m = mEnd
		}
	}
}

// startOf is what the sums of a block of k begin with, and the bias of columns from n.
func (g *Gemm) startOf(k, n int) (start uint32, bias []float32) {
	switch {
	case k > 0 || g.Accumulate:
		return startC, nil
	case g.BiasAxis == BiasColumn:
		return startColumnBias, g.Bias[n:]
	case g.BiasAxis == BiasRow:
		return startRowBias, g.Bias
	}
	return startZero, nil
}

func (g *Gemm) chunk(lo, hi, worker int) {
	if g.BFloat16 {
		g.round(lo, hi)
		return
	}
	if g.phase == gemmCopy {
		g.copyBlock(lo, hi)
		return
	}
	if g.plan.byBlock {
		if g.plan.byRow {
			g.strips(lo*g.plan.rows, min(hi*g.plan.rows, g.M), 0, g.N)
		} else {
			g.strips(0, g.M, lo*g.plan.cols, min(hi*g.plan.cols, g.N))
		}
		return
	}
	if g.phase == gemmPack {
		packPanels(g.shared, g.B, g.K, g.N, g.ldb, g.TransB, g.isa, lo, hi)
		return
	}
	scratch := roomOf(g.scratch, worker, g.plan.perWorker)
	if g.plan.byRow {
		g.blocks(lo*g.plan.rows, min(hi*g.plan.rows, g.M), 0, g.N, scratch)
	} else {
		g.blocks(0, g.M, lo*g.plan.cols, min(hi*g.plan.cols, g.N), scratch)
	}
}

// blocks computes rows [m0,m1) and columns [n0,n1) of C.
func (g *Gemm) blocks(m0, m1, n0, n1 int, scratch []float32) {
	// Where blocks of A are copied and B is not, fewer copies matter more than the
	// place of B in the cache.
	step := nBlock
	if g.plan.packA && (g.plan.direct || len(g.shared) > 0) && !g.narrow {
		step = 4 * nBlock
	}
	kStep := kBlock
	if m1-m0 <= g.plan.rows && g.isa != Generic && !g.plan.packA && (g.plan.direct || len(g.shared) > 0) {
		kStep = longK
	}
	if g.Codes != nil && g.M <= codeRowsMost && g.K >= g.Codes.group() && g.isa == AVX512 && !g.TransA {
		g.multiplyCodes(n0, n1, scratch)
		return
	}
	if g.Codes != nil && m1-m0 <= g.plan.rows && !g.plan.packA { // what is made of codes stays in L1
		step, kStep = g.plan.cols, codeRows
	}
	rows := m1 - m0
	if g.narrow { // what is rounded has been in the L2 cache
		rows = min(rows, 2*mBlock)
	}
	for ; m0 < m1; m0 += rows {
		mEnd := min(m0+rows, m1)
		for n := n0; n < n1; n += step {
			nEnd := min(n+step, n1)
			for k := 0; k < g.K && !ended(g.stop); k += kStep {
				g.blockOfB(m0, mEnd, n, nEnd, k, min(k+kStep, g.K), scratch)
			}
		}
	}
}

// blockOfB adds the product over [k0,k1) to rows [m0,m1), columns [n0,n1).
func (g *Gemm) blockOfB(m0, m1, n0, n1, k0, k1 int, scratch []float32) {
	pl := &g.plan
	t := tileRun{isa: g.isa, tileShape: pl.tileShape, amx: g.amx, storage: g.storage, k: k1 - k0, c: g.C, cs: g.ldc, last: k1 == g.K, act: g.Act}
	switch {
	case pl.direct:
		t.b, t.bs, t.panel, t.bounded = g.B[k0*g.ldb+n0:], g.ldb, pl.cols, true
	case len(g.shared) > 0:
		t.bs, t.panel = g.rowLen(), g.panelLen()
		t.b = g.shared[n0/pl.cols*t.panel+k0*t.bs:]
		if t.stream = pl.stream; k1 < g.K {
			t.next = t.k*t.bs - (ceilDiv(n1-n0, pl.cols)-1)*t.panel
		} else {
			t.next = t.panel - k0*t.bs
		}
	case g.Codes != nil:
		t.b, t.bs, t.panel = scratch[pl.aLen:], pl.cols, g.Codes.rows(t.k)*pl.cols
		t.cached = t.panel <= codeRows*pl.cols && n1-n0 <= pl.cols
		g.Codes.unpack(t.b, g.isa, g.K, k0, k1, n0, n1)
	default:
		t.b, t.bs, t.panel = scratch[pl.aLen:], pl.cols, t.k*pl.cols
		packBlock(t.b, g.B, g.ldb, g.TransB, k0, k1, n0, n1, g.isa)
	}
	t.start, t.bias = g.startOf(k0, n0)
	step := m1 - m0
	if pl.packA {
		step = mBlock
	}
	for m := m0; m < m1; m += step {
		mEnd := min(m+step, m1)
		switch {
		case !pl.packA:
			t.a, t.rs, t.ks = g.A[m*g.lda+k0:], g.lda, 1
		case g.TransA:
			t.a, t.rs, t.ks = scratch, 1, leftStride
			copyRows(t.a, t.ks, g.A[k0*g.lda+m:], g.lda, k1-k0, mEnd-m)
		default:
			t.a, t.rs, t.ks = scratch, kBlock+16, 1
			copyRows(t.a, t.rs, g.A[m*g.lda+k0:], g.lda, mEnd-m, k1-k0)
		}
		if g.narrow {
			t.cs, t.halfStep = n1-n0, g.N/2
			t.c, t.halves = scratch[pl.perWorker-pl.cLen+(m-m0)*t.cs:], g.C[m*t.halfStep+n0/2:]
		} else {
			t.c, t.add = g.C[m*g.ldc+n0:], g.addAt(m*g.ldc+n0)
		}
		if t.start == startRowBias {
			t.bias = g.Bias[m:]
		}
		t.run(mEnd-m, n1-n0)
	}
}

// rowLen is the number of words in a row of a panel of B, panelLen that in a panel.
func (g *Gemm) rowLen() int {
	if g.storage == asBFloat16 {
		return g.plan.cols / 2
	}
	return g.plan.cols
}

func (g *Gemm) panelLen() int { return g.K * g.rowLen() }

// addAt is Add from an element on, or nil.
func (g *Gemm) addAt(i int) []float32 {
	if g.Add == nil {
		return nil
	}
	return g.Add[i:]
}

// copyRows copies a matrix between row strides.
func copyRows(dst []float32, ds int, src []float32, ss, rows, cols int) {
	for i := range rows {
		copy(dst[i*ds:][:cols], src[i*ss:][:cols])
	}
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// or is v, or the default when v is 0.
func or(v, deflt int) int {
	if v == 0 {
		return deflt
	}
	return v
}
