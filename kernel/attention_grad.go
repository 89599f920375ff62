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
	// that such blocks are left out; without Bias that is all that is hidden.
	Bias   func(b, head, row int, bias []float32)
	Causal bool

	isa       ISA
	perWorker []float32
	room      int // floats of a worker
}

// attentionGradRoom is the memory of one worker.
type attentionGradRoom struct {
	weights, grads []float32 // of a block of rows: [rows][width]
	bias           []float32
	keys, values   []float32 // panels of kᵀ and vᵀ of the head under way
	rows           []float32 // panels of k
	right          []float32 // panels of a block of rows
}

// Rows in a block: the weights of a long sequence stay in the L2 cache, and a
// causal mask leaves out what lies beyond a block's last row.
const attentionGradRows = 48

// ScratchLen is the number of floats that Run needs on p for these dimensions.
func (a *AttentionGrad) ScratchLen(p *Pool) int {
	_, n := a.divide(nil, p.isa)
	return roomsLen[float32](p.threads, n)
}

// width is the row stride of weights: whole panels, and half a line more, so that the
// rows of a column do not compete for a few places of the L1 cache.
func (a *AttentionGrad) width() int { return ceilDiv(a.Keys, 32)*32 + 16 }

// divide cuts a worker's memory up, and tells how much that is.
func (a *AttentionGrad) divide(memory []float32, isa ISA) (room attentionGradRoom, n int) {
	block := attentionGradRows * a.width()
	for _, part := range []struct {
		to     *[]float32
		length int
	}{
		{&room.weights, block}, {&room.grads, block}, {&room.bias, a.width()},
		{&room.keys, PackedLen(a.Size, a.Keys, isa)}, {&room.values, PackedLen(a.ValueSize, a.Keys, isa)},
		{&room.rows, PackedLen(a.Keys, a.Size, isa)}, {&room.right, PackedLen(attentionGradRows, max(a.Size, a.ValueSize), isa)},
	} {
		if memory != nil {
			*part.to = memory[n:][:part.length]
		}
		n += part.length
	}
	return room, n
}

// Run computes the gradients, which must not overlap the operands.
func (a *AttentionGrad) Run(p *Pool, scratch []float32) {
	checkLen("AttentionGrad", "scratch", len(scratch), a.ScratchLen(p))
	a.isa, a.perWorker = p.isa, scratch
	_, a.room = a.divide(nil, p.isa)
	work := 2 * a.Rows * a.Keys * (a.Size + a.ValueSize)
	p.run(a.Batch*a.KVHeads, ceilDiv(chunkFlops/4, max(1, work)), a)
}

func (a *AttentionGrad) chunk(lo, hi, worker int) {
	room, _ := a.divide(roomOf(a.perWorker, worker, a.room), a.isa)
	for i := lo; i < hi; i++ {
		b, kv := i/a.KVHeads, i%a.KVHeads
		for r := a.seen(a.Rows); r < a.Keys; r++ {
			clear(a.DK[a.KS.at(b, kv, r):][:a.Size])
			clear(a.DV[a.VS.at(b, kv, r):][:a.ValueSize])
		}
		if a.Keys == 0 || a.Size == 0 || a.ValueSize == 0 {
			continue
		}
		k, v := a.K[a.KS.at(b, kv, 0):], a.V[a.VS.at(b, kv, 0):]
		packBlock(room.keys, k, a.KS.Row, true, 0, a.Size, 0, a.Keys, a.isa)
		packBlock(room.values, v, a.VS.Row, true, 0, a.ValueSize, 0, a.Keys, a.isa)
		packBlock(room.rows, k, a.KS.Row, false, 0, a.Keys, 0, a.Size, a.isa)
		group := a.Heads / a.KVHeads
		for head := kv * group; head < (kv+1)*group; head++ {
			// The last rows come first: they see the most keys, whose sums they begin.
			for end := a.Rows; end > 0; {
				first := (end - 1) / attentionGradRows * attentionGradRows
				a.rows(&room, b, head, kv, first, end-first)
				end = first
			}
		}
	}
}

// seen is how many keys the rows before end see at most.
func (a *AttentionGrad) seen(end int) int {
	if a.Causal {
		return min(a.Keys, end)
	}
	if end == 0 {
		return 0
	}
	return a.Keys
}

// rows adds what a block of rows of one head gives to all gradients.
func (a *AttentionGrad) rows(room *attentionGradRoom, b, head, kv, first, rows int) {
	keys := a.seen(first + rows)
	cols := shapeOf(a.isa).cols
	padded := ceilDiv(keys, cols) * cols
	q, dy := a.Q[a.QS.at(b, head, first):], a.DY[a.YS.at(b, head, first):]
	t := tileRun{isa: a.isa, tileShape: shapeOf(a.isa), bs: cols, cs: a.width()}
	// q·kᵀ and dy·vᵀ
	t.k, t.panel = a.Size, a.Size*cols
	t.a, t.rs, t.ks, t.b, t.c = q, a.QS.Row, 1, room.keys, room.weights
	t.run(rows, padded)
	t.k, t.panel = a.ValueSize, a.ValueSize*cols
	t.a, t.rs, t.b, t.c = dy, a.YS.Row, room.values, room.grads
	t.run(rows, padded)
	a.softmax(room, b, head, first, rows, keys, padded)
	// dq = dscores·k
	t = tileRun{isa: a.isa, tileShape: t.tileShape, a: room.grads, rs: a.width(), ks: 1, bs: cols, panel: a.Keys * cols,
		c: a.DQ[a.QS.at(b, head, first):], cs: a.QS.Row}
	for k := 0; k < keys; k += kBlock {
		t.k, t.a, t.b = min(kBlock, keys-k), room.grads[k:], room.rows[k*cols:]
		t.run(rows, a.Size)
		t.start = startC
	}
	// dv += weightsᵀ·dy and dk += dscoresᵀ·q
	t = tileRun{isa: a.isa, tileShape: t.tileShape, k: rows, rs: 1, ks: a.width(), start: startC}
	if first+rows == a.Rows && head%(a.Heads/a.KVHeads) == 0 {
		t.start = startZero
	}
	t.a, t.c, t.cs = room.weights, a.DV[a.VS.at(b, kv, 0):], a.VS.Row
	a.right(&t, room, dy, a.YS.Row, a.ValueSize)
	t.run(keys, a.ValueSize)
	t.a, t.c, t.cs = room.grads, a.DK[a.KS.at(b, kv, 0):], a.KS.Row
	a.right(&t, room, q, a.QS.Row, a.Size)
	t.run(keys, a.Size)
}

// right makes t.k rows of size floats the right operand: as they lie, unless the AVX2
// kernel would read beyond them.
func (a *AttentionGrad) right(t *tileRun, room *attentionGradRoom, x []float32, stride, size int) {
	if cols := t.cols; a.isa == AVX2 && size%cols != 0 {
		packBlock(room.right, x, stride, false, 0, t.k, 0, size, a.isa)
		t.b, t.bs, t.panel = room.right, cols, t.k*cols
		return
	}
	t.b, t.bs, t.panel, t.bounded = x, stride, t.cols, true
}

// softmax turns the scores of a block into weights, and the gradients of the weights
// into those of the scores.
func (a *AttentionGrad) softmax(room *attentionGradRoom, b, head, first, rows, keys, padded int) {
	bias := room.bias[:padded]
	beginBias(bias, first, keys, a.Causal && a.Bias == nil)
	for r := range rows {
		s, d := room.weights[r*a.width():][:padded], room.grads[r*a.width():][:padded]
		if a.Bias != nil {
			a.Bias(b, head, first+r, bias[:keys])
		} else if first+r < keys {
			bias[first+r] = 0
		}
		top := scoreRow(a.isa, s, bias, a.Scale)
		if top == float32(math.Inf(-1)) {
			clear(s)
			clear(d)
			continue
		}
		unary(a.isa, opScale, s, s, 1/weighRow(a.isa, s, top))
		softmaxGrad(a.isa, d, s, d, dot(a.isa, s, d), a.Scale)
	}
}

// beginBias sets the bias before row first: nothing is added, what is beyond the keys is
// hidden, and with causal what is not before that row. Each row then shows its own key.
func beginBias(bias []float32, first, keys int, causal bool) {
	seen := keys
	if causal {
		seen = min(first, keys)
	}
	clear(bias[:seen])
	for j := seen; j < len(bias); j++ {
		bias[j] = float32(math.Inf(-1))
	}
}
