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
	Bias           []float32
	BiasAxis       BiasAxis
	Accumulate     bool // C += A·B; then there must be no bias
	Act            Activation
	Add            []float32 // rows as in C; or nil

	gemmRun
}

// gemmRun is what one Run works out: strides with defaults filled in, the
// division into chunks and the room for packed blocks.
type gemmRun struct {
	lda, ldb, ldc int
	plan          gemmPlan
	isa           ISA
	stop          <-chan struct{}
	phase         gemmPhase
	shared        []float32 // all of B in panels
	scratch       []float32 // perWorker floats for each worker
}

type gemmPhase uint8

const (
	gemmPack gemmPhase = iota
	gemmMultiply
)

// Blocking. A block of B (kBlock × nBlock) and one of A stay in the L2 cache
// while the tile kernel goes over them; one strip of A stays in L1.
const (
	kBlock = 384 // steps of k in one call of the tile kernel
	nBlock = 256 // columns
	mBlock = 96  // rows of A packed at a time: whole tiles for 12, 6 and 4 rows

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
	// chunkFlops is the least work worth handing to another thread, about 20 µs.
	chunkFlops = 1 << 21
)

type gemmPlan struct {
	tileShape
	byRow     bool // threads divide the rows, else the panels of columns
	direct    bool // B is read where it is
	packA     bool // blocks of A are copied first
	packAll   bool // B is packed whole before the threads start
	units     int  // strips of rows or panels of columns
	grain     int  // units in a chunk
	aLen      int  // scratch floats for a block of A
	perWorker int  // scratch floats for a worker
	sharedLen int
}

func (g *Gemm) makePlan(p *Pool) gemmPlan {
	pl := gemmPlan{tileShape: shapeOf(p.isa)}
	strips, panels := ceilDiv(g.M, pl.rows), ceilDiv(g.N, pl.cols)
	pl.byRow = strips >= panels
	ldb := or(g.LDB, g.N)
	switch {
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
	if pl.packA {
		pl.aLen = max(kBlock*(mBlock+16), mBlock*(kBlock+16))
		pl.perWorker += pl.aLen
	}
	perUnit := 2 * g.K
	if pl.byRow {
		pl.units = strips
		perUnit *= pl.rows * g.N
	} else {
		pl.units = panels
		perUnit *= pl.cols * max(g.M, pl.rows) // fewer rows wait for memory
	}
	pl.grain = max(ceilDiv(chunkFlops, max(perUnit, 1)), ceilDiv(pl.units, p.threads*8))
	return pl
}

// ScratchLen is the number of floats that Run needs on p for these dimensions.
func (g *Gemm) ScratchLen(p *Pool) int {
	pl := g.makePlan(p)
	return pl.sharedLen + p.threads*pl.perWorker
}

// Run computes the product. C must not overlap A or B.
func (g *Gemm) Run(p *Pool, scratch []float32) {
	g.check(p, len(scratch))
	if g.M == 0 || g.N == 0 {
		return
	}
	g.isa, g.stop, g.plan = p.isa, p.stop, g.makePlan(p)
	if g.K == 0 {
		g.runEmpty()
		return
	}
	g.shared, g.scratch = scratch[:g.plan.sharedLen], scratch[g.plan.sharedLen:]
	if g.Packed != nil {
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
	checkMatrix("C", g.C, g.M, g.N, g.ldc)
	if g.Packed != nil {
		checkLen("Gemm", "Packed", len(g.Packed), PackedLen(g.K, g.N, p.isa))
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

func (g *Gemm) chunk(lo, hi, worker int) {
	if g.phase == gemmPack {
		packPanels(g.shared, g.B, g.K, g.N, g.ldb, g.TransB, g.isa, lo, hi)
		return
	}
	scratch := g.scratch[worker*g.plan.perWorker:][:g.plan.perWorker]
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
	if g.plan.packA && (g.plan.direct || len(g.shared) > 0) {
		step = 4 * nBlock
	}
	kStep := kBlock
	if m1-m0 <= g.plan.rows && !g.plan.packA && (g.plan.direct || len(g.shared) > 0) {
		kStep = longK
	}
	for n := n0; n < n1; n += step {
		nEnd := min(n+step, n1)
		for k := 0; k < g.K && !ended(g.stop); k += kStep {
			g.blockOfB(m0, m1, n, nEnd, k, min(k+kStep, g.K), scratch)
		}
	}
}

// blockOfB adds the product over [k0,k1) to rows [m0,m1), columns [n0,n1).
func (g *Gemm) blockOfB(m0, m1, n0, n1, k0, k1 int, scratch []float32) {
	pl := &g.plan
	t := tileRun{isa: g.isa, tileShape: pl.tileShape, k: k1 - k0, c: g.C, cs: g.ldc, last: k1 == g.K, act: g.Act}
	switch {
	case pl.direct:
		t.b, t.bs, t.panel, t.bounded = g.B[k0*g.ldb+n0:], g.ldb, pl.cols, true
	case len(g.shared) > 0:
		t.b, t.bs, t.panel = g.shared[n0*g.K+k0*pl.cols:], pl.cols, g.K*pl.cols
	default:
		t.b, t.bs, t.panel = scratch[pl.aLen:], pl.cols, t.k*pl.cols
		packBlock(t.b, g.B, g.ldb, g.TransB, k0, k1, n0, n1, g.isa)
	}
	t.start = startZero
	switch {
	case k0 > 0 || g.Accumulate:
		t.start = startC
	case g.BiasAxis == BiasColumn:
		t.start, t.bias = startColumnBias, g.Bias[n0:]
	case g.BiasAxis == BiasRow:
		t.start, t.bias = startRowBias, g.Bias
	}
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
			t.a, t.rs, t.ks = scratch, 1, mBlock+16
			copyRows(t.a, t.ks, g.A[k0*g.lda+m:], g.lda, k1-k0, mEnd-m)
		default:
			t.a, t.rs, t.ks = scratch, kBlock+16, 1
			copyRows(t.a, t.rs, g.A[m*g.lda+k0:], g.lda, mEnd-m, k1-k0)
		}
		t.c, t.add = g.C[m*g.ldc+n0:], g.addAt(m*g.ldc+n0)
		if t.start == startRowBias {
			t.bias = g.Bias[m:]
		}
		t.run(mEnd-m, n1-n0)
	}
}

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
