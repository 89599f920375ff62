package kernel

import "math"

// AttentionGrad computes the gradients DQ, DK and DV of Attention from DY, the
// gradient of Y. Weights are computed again, block by block, and never held for all
// rows (Dao et al., "FlashAttention", 2022, without its tiling of keys).
//
// A head of keys and values is one unit of work, so that every sum over rows is
// taken in their order. DQ, DK and DV lie as Q, K and V do.
type AttentionGrad struct {
	Batch, Heads, KVHeads int
	Rows, Keys            int
	Size, ValueSize       int
	Scale                 float32
	Q, K, V, DY           []float32
	DQ, DK, DV            []float32
	QS, KS, VS, YS        Strides
	// Bias as in Attention. Causal says that it hides key j from row i if j > i, so
	// that such blocks are left out.
	Bias   func(b, head, row int, bias []float32)
	Causal bool

	isa     ISA
	workers []attentionGradWorker
}

// attentionGradWorker is the room of one worker: weights and their gradients of a
// block of rows, and matrix products on a pool of its own thread.
type attentionGradWorker struct {
	alone               *Pool
	weights, grads      []float32
	bias, scratch       []float32
	scores, back        Gemm // q·kᵀ, dy·vᵀ
	toValues, toQueries Gemm // weightsᵀ·dy, dscores·k
	toKeys              Gemm // dscoresᵀ·q
}

// Rows in a block: the weights of a long sequence stay in the L2 cache, and a
// causal mask leaves out what lies beyond a block's last row.
const attentionGradRows = 48

// ScratchLen is the number of floats that Run needs on p for these dimensions.
func (a *AttentionGrad) ScratchLen(p *Pool) int { return p.threads * a.perWorker(p.isa) }

func (a *AttentionGrad) width() int { return ceilDiv(a.Keys, 32) * 32 }

func (a *AttentionGrad) perWorker(isa ISA) int {
	return 2*attentionGradRows*a.width() + a.width() + a.gemmScratch(isa)
}

// gemmScratch is enough for each of the products, at any number of keys: a block
// of the left operand, and the right one packed whole or in blocks.
func (a *AttentionGrad) gemmScratch(isa ISA) int {
	size := max(a.Size, a.ValueSize)
	right := max(kBlock*nBlock, PackedLen(size, a.Keys, isa), PackedLen(a.Keys, size, isa), PackedLen(attentionGradRows, size, isa))
	return right + max(kBlock*(mBlock+16), mBlock*(kBlock+16))
}

// shape sets the products up for a block of rows that look at the first keys.
func (w *attentionGradWorker) shape(a *AttentionGrad, rows, keys int) {
	width := a.width()
	w.scores = Gemm{M: rows, N: keys, K: a.Size, TransB: true, LDA: a.QS.Row, LDB: a.KS.Row, LDC: width}
	w.back = Gemm{M: rows, N: keys, K: a.ValueSize, TransB: true, LDA: a.YS.Row, LDB: a.VS.Row, LDC: width}
	w.toValues = Gemm{M: keys, N: a.ValueSize, K: rows, TransA: true, LDA: width, LDB: a.YS.Row, LDC: a.VS.Row, Accumulate: true}
	w.toQueries = Gemm{M: rows, N: a.Size, K: keys, LDA: width, LDB: a.KS.Row, LDC: a.QS.Row}
	w.toKeys = Gemm{M: keys, N: a.Size, K: rows, TransA: true, LDA: width, LDB: a.QS.Row, LDC: a.KS.Row, Accumulate: true}
}

// Run computes the gradients, which must not overlap the operands.
func (a *AttentionGrad) Run(p *Pool, scratch []float32) {
	checkLen("AttentionGrad", "scratch", len(scratch), a.ScratchLen(p))
	a.isa = p.isa
	if len(a.workers) != p.threads {
		a.workers = make([]attentionGradWorker, p.threads)
		for i := range a.workers {
			a.workers[i].alone = NewPool(1, p.isa)
		}
	}
	block := attentionGradRows * a.width()
	for i := range a.workers {
		room := scratch[i*a.perWorker(p.isa):][:a.perWorker(p.isa)]
		w := &a.workers[i]
		w.weights, w.grads, w.bias, w.scratch = room[:block], room[block:2*block], room[2*block:][:a.width()], room[2*block+a.width():]
	}
	work := 2 * a.Rows * a.Keys * (a.Size + a.ValueSize)
	p.run(a.Batch*a.KVHeads, ceilDiv(chunkFlops/4, max(1, work)), a)
}

func (a *AttentionGrad) chunk(lo, hi, worker int) {
	for i := lo; i < hi; i++ {
		b, kv := i/a.KVHeads, i%a.KVHeads
		for r := range a.Keys {
			clear(a.DK[a.KS.at(b, kv, r):][:a.Size])
			clear(a.DV[a.VS.at(b, kv, r):][:a.ValueSize])
		}
		group := a.Heads / a.KVHeads
		for head := kv * group; head < (kv+1)*group; head++ {
			for first := 0; first < a.Rows; first += attentionGradRows {
				a.rows(&a.workers[worker], b, head, kv, first, min(attentionGradRows, a.Rows-first))
			}
		}
	}
}

// rows adds what a block of rows of one head gives to all gradients.
func (a *AttentionGrad) rows(w *attentionGradWorker, b, head, kv, first, rows int) {
	keys, width := a.Keys, a.width()
	if a.Causal {
		keys = min(keys, first+rows)
	}
	if keys == 0 || a.Size == 0 {
		return
	}
	w.shape(a, rows, keys)
	q, dy := a.Q[a.QS.at(b, head, first):], a.DY[a.YS.at(b, head, first):]
	k, v := a.K[a.KS.at(b, kv, 0):], a.V[a.VS.at(b, kv, 0):]
	run := func(g *Gemm, x, y, z []float32) {
		g.A, g.B, g.C = x, y, z
		g.Run(w.alone, w.scratch)
	}
	run(&w.scores, q, k, w.weights)
	run(&w.back, dy, v, w.grads)
	padded := ceilDiv(keys, 16) * 16
	clear(w.bias)
	for j := keys; j < padded; j++ {
		w.bias[j] = float32(math.Inf(-1))
	}
	for r := range rows {
		s, d := w.weights[r*width:][:padded], w.grads[r*width:][:padded]
		clear(s[keys:])
		clear(d[keys:])
		if a.Bias != nil {
			a.Bias(b, head, first+r, w.bias[:keys])
		}
		top := scoreRow(a.isa, s, w.bias[:padded], a.Scale)
		if top == float32(math.Inf(-1)) {
			clear(s)
			clear(d)
			continue
		}
		unary(a.isa, opScale, s, s, 1/weighRow(a.isa, s, top))
		softmaxGrad(a.isa, d, s, d, dot(a.isa, s, d), a.Scale)
	}
	run(&w.toValues, w.weights, dy, a.DV[a.VS.at(b, kv, 0):])
	run(&w.toQueries, w.grads, k, a.DQ[a.QS.at(b, head, first):])
	run(&w.toKeys, w.grads, q, a.DK[a.KS.at(b, kv, 0):])
}
