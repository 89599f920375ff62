package kernel

import (
	"math"

	"tandem/kernel/ref"
)

// Strides of an operand of Attention, in elements.
type Strides struct{ Batch, Head, Row int }

func (s Strides) at(b, h, r int) int { return b*s.Batch + h*s.Head + r*s.Row }

// Attention computes Y = softmax(Scale·Q·Kᵀ + bias)·V for each head. Heads/KVHeads
// heads of queries share a head of keys and values. Rows of a head are Size and
// ValueSize neighbours in memory; where they lie is said by strides.
//
// The scores of a block of rows are one matrix product, and so is their weighted
// sum of values; between them they stay in the L2 cache. Each element is one chain
// over Size, then over Keys, so that a row's bits do not depend on other rows.
type Attention struct {
	Batch, Heads, KVHeads int
	Rows, Keys            int
	Size, ValueSize       int
	Scale                 float32
	Q, K, V, Y            []float32
	QS, KS, VS, YS        Strides
	// Bias, if there is one, sets what is added to the scores of a row; -Inf
	// hides a key. It must be safe for concurrent use.
	Bias func(b, head, row int, bias []float32)
	// Causal says that Bias hides key j from row i if j > i: what lies beyond the
	// last row of a block is left out. It changes no bits. Without Bias it hides them.
	Causal bool
	// ZeroHidden: a row of which every key is hidden gives 0, not NaN.
	ZeroHidden bool

	attentionRun
}

type attentionRun struct {
	isa       ISA
	plan      attentionPlan
	phase     attentionPhase
	panels    []float32
	perWorker []float32
}

type attentionPhase uint8

const (
	attentionPack attentionPhase = iota
	attentionMultiply
)

type attentionPlan struct {
	tileShape
	width     int  // keys, filled up to whole panels
	block     int  // rows of queries in a block
	blocks    int  // in a head
	packK     bool // keys are packed in panels; else they are the left operand
	packV     bool // values are packed in panels; else they are read in place
	panel     int  // floats of a head's packed keys
	panelV    int  // and values
	ahead     bool // panels are packed before, for all blocks of a head; else where they are used
	perWorker int
}

const (
	// scoresBytes bounds the scores of a block: they share the L2 cache with a
	// head's keys and values.
	scoresBytes = 256 << 10
	// softmaxMost are the rows that one call makes weights of.
	softmaxMost = 12
	// softmaxTop is the room for the greatest score of each, a line.
	softmaxTop = 16
	// fewRows is the number of rows up to which packing the keys costs more than
	// it saves.
	fewRows = 2
)

func (a *Attention) makePlan(p *Pool) attentionPlan {
	pl := attentionPlan{tileShape: shapeOf(p.isa)}
	pl.width = ceilDiv(a.Keys, pl.cols) * pl.cols
	pl.packK = a.Rows > fewRows || p.isa == AVX2 // whose kernel reads whole rows of B
	pl.packV = p.isa == AVX2 && a.ValueSize%pl.cols != 0 || a.Rows > pl.rows && a.VS.Row*4%aliasBytes == 0
	if pl.packK {
		pl.panel = pl.width * a.Size
	}
	if pl.packV {
		pl.panelV = PackedLen(a.Keys, a.ValueSize, p.isa)
	}
	strips := max(1, scoresBytes/4/max(pl.width*pl.rows, 1))
	pl.block = min(strips*pl.rows, max(a.Rows, 1))
	if a.Causal {
		pl.block = min(pl.block, 4*pl.rows)
	}
	// A few long heads are divided further, so that every thread has work.
	if heads := a.Batch * a.Heads; heads < 4*p.threads {
		pl.block = min(pl.block, ceilDiv(ceilDiv(a.Rows*heads, 4*p.threads), pl.rows)*pl.rows)
	}
	pl.blocks = ceilDiv(a.Rows, max(pl.block, 1))
	pl.perWorker = (pl.block+softmaxMost)*pl.width + softmaxTop
	if pl.ahead = pl.blocks > 1 || a.Heads != a.KVHeads; !pl.ahead {
		pl.perWorker += pl.panel + pl.panelV
	}
	return pl
}

// packed is the number of floats of the panels that are packed before.
func (a *Attention) packed(pl *attentionPlan) int {
	if !pl.ahead {
		return 0
	}
	return a.Batch * a.KVHeads * (pl.panel + pl.panelV)
}

// ScratchLen is the number of floats that Run needs on p for these dimensions.
func (a *Attention) ScratchLen(p *Pool) int {
	pl := a.makePlan(p)
	return a.packed(&pl) + roomsLen[float32](p.threads, pl.perWorker)
}

// Run computes Y, which must not overlap the operands.
func (a *Attention) Run(p *Pool, scratch []float32) {
	if a.Batch*a.Heads*a.Rows*a.ValueSize == 0 {
		return
	}
	a.isa, a.plan = p.isa, a.makePlan(p)
	a.check(p, len(scratch))
	packed := a.packed(&a.plan)
	a.panels, a.perWorker = scratch[:packed], scratch[packed:]
	if packed > 0 {
		a.phase = attentionPack
		p.run(a.Batch*a.KVHeads, ceilDiv(1<<14, max(1, a.plan.panel+a.plan.panelV)), a)
	}
	a.phase = attentionMultiply
	work := a.Keys * (a.Size + a.ValueSize + 16) * a.plan.block * 2
	p.run(a.Batch*a.Heads*a.plan.blocks, ceilDiv(chunkFlops/4, max(1, work)), a)
}

func (a *Attention) check(p *Pool, scratch int) {
	const op = "Attention"
	end := func(s Strides, heads, rows, size int) int {
		if rows == 0 {
			return 0
		}
		return s.at(a.Batch-1, heads-1, rows-1) + size
	}
	checkLen(op, "Q", len(a.Q), end(a.QS, a.Heads, a.Rows, a.Size))
	checkLen(op, "K", len(a.K), end(a.KS, a.KVHeads, a.Keys, a.Size))
	checkLen(op, "V", len(a.V), end(a.VS, a.KVHeads, a.Keys, a.ValueSize))
	checkLen(op, "Y", len(a.Y), end(a.YS, a.Heads, a.Rows, a.ValueSize))
	checkLen(op, "scratch", scratch, a.ScratchLen(p))
}

func (a *Attention) chunk(lo, hi, worker int) {
	for i := lo; i < hi; i++ {
		if panels := a.plan.panel + a.plan.panelV; a.phase == attentionPack {
			a.pack(i, a.panels[i*panels:][:panels])
			continue
		}
		head, first := i/a.plan.blocks, i%a.plan.blocks*a.plan.block
		rows := min(a.plan.block, a.Rows-first)
		a.rows(head/a.Heads, head%a.Heads, first, rows, roomOf(a.perWorker, worker, a.plan.perWorker))
	}
}

// pack writes the panels of one head of keys and values.
func (a *Attention) pack(i int, room []float32) {
	if a.Keys == 0 {
		return
	}
	b, h := i/a.KVHeads, i%a.KVHeads
	if a.plan.packK {
		packBlock(room[:a.plan.panel], a.K[a.KS.at(b, h, 0):], a.KS.Row, true, 0, a.Size, 0, a.Keys, a.isa)
	}
	if a.plan.packV {
		packBlock(room[a.plan.panel:], a.V[a.VS.at(b, h, 0):], a.VS.Row, false, 0, a.Keys, 0, a.ValueSize, a.isa)
	}
}

// rows computes rows of one head.
func (a *Attention) rows(b, head, first, rows int, room []float32) {
	pl := &a.plan
	kv := head / (a.Heads / a.KVHeads)
	keys, width := a.Keys, pl.width
	if a.Causal {
		keys = min(keys, first+rows)
		width = ceilDiv(keys, pl.cols) * pl.cols
	}
	scores, bias := room[:rows*pl.width], room[pl.block*pl.width:][:softmaxMost*pl.width+softmaxTop]
	panels := room[(pl.block+softmaxMost)*pl.width+softmaxTop:]
	if pl.ahead {
		panels = a.panels[(b*a.KVHeads+kv)*(pl.panel+pl.panelV):]
	} else {
		a.pack(b*a.KVHeads+kv, panels)
	}
	a.multiplyKeys(b, head, kv, first, rows, width, scores, panels)
	for r := range min(rows, softmaxMost) {
		beginBias(bias[softmaxTop+r*width:][:width], 0, keys, false)
	}
	for r := 0; r < rows; r += softmaxMost {
		a.weigh(b, head, first+r, min(softmaxMost, rows-r), keys, width, scores[r*pl.width:], bias)
	}
	t := tileRun{
		isa: a.isa, tileShape: pl.tileShape,
		a: scores, rs: pl.width, ks: 1,
		c: a.Y[a.YS.at(b, head, first):], cs: a.YS.Row,
	}
	for k := 0; k == 0 || k < keys; k += kBlock {
		t.k = min(kBlock, keys-k)
		t.a = scores[k:]
		if pl.packV {
			t.b, t.bs, t.panel = panels[pl.panel+k*pl.cols:], pl.cols, a.Keys*pl.cols
		} else {
			t.b, t.bs, t.panel, t.bounded = a.V[min(a.VS.at(b, kv, k), len(a.V)):], a.VS.Row, pl.cols, true
		}
		if t.start = startC; k == 0 {
			t.start = startZero
		}
		t.run(rows, a.ValueSize)
	}
}

// weigh makes weights of rows of scores. In room are what the greatest of them are, and
// their bias, row by row, which is nothing but for the hidden keys behind the last.
func (a *Attention) weigh(b, head, first, rows, keys, width int, scores, room []float32) {
	top, bias, stride := room[:rows], room[softmaxTop:], width
	switch {
	case a.Bias != nil:
		for r := range rows {
			a.Bias(b, head, first+r, bias[r*width:][:keys])
		}
	case a.Causal:
		beginBias(bias[:width], first, keys, true)
		for r := range rows {
			row := bias[r*width:][:width]
			if r > 0 {
				copy(row, bias[(r-1)*width:])
			}
			if first+r < keys {
				row[first+r] = 0
			}
		}
	default:
		stride = 0
	}
	softmaxRows(a.isa, scores, bias, top, width, a.plan.width, stride, a.Scale)
	for r, v := range top {
		if a.ZeroHidden && v == float32(math.Inf(-1)) && hidden(bias[r*stride:][:width]) {
			clear(scores[r*a.plan.width:][:width])
		}
	}
}

// multiplyKeys computes scores[row, key] = q·k. With few rows the keys are the left
// operand: multiplication commutes, so the bits are the same.
func (a *Attention) multiplyKeys(b, head, kv, first, rows, width int, scores, panels []float32) {
	pl := &a.plan
	t := tileRun{isa: a.isa, tileShape: pl.tileShape, k: a.Size}
	q := a.Q[a.QS.at(b, head, first):]
	if pl.packK {
		t.a, t.rs, t.ks = q, a.QS.Row, 1
		t.b, t.bs, t.panel = panels, pl.cols, pl.cols*a.Size
		t.c, t.cs = scores, pl.width
		t.run(rows, width)
		return
	}
	if a.Keys > 0 {
		t.a, t.rs, t.ks = a.K[a.KS.at(b, kv, 0):], a.KS.Row, 1
	}
	for r := range rows {
		t.b, t.bs = q[r*a.QS.Row:], 1
		t.c, t.cs = scores[r*pl.width:], 1
		t.run(a.Keys, 1)
		clear(scores[r*pl.width+a.Keys : (r+1)*pl.width])
	}
}

func hidden(bias []float32) bool {
	for _, v := range bias {
		if v != float32(math.Inf(-1)) {
			return false
		}
	}
	return true
}

// softmaxRows computes softmax(s·scale + bias) on n elements, whole vectors, of len(top)
// rows that lie stride apart, and top, the greatest score of each.
func softmaxRows(isa ISA, s, bias, top []float32, n, stride, biasStride int, scale float32) {
	if n == 0 {
		for r := range top {
			top[r] = ref.Max(nil)
		}
		return
	}
	if isa != Generic && n*len(top) <= asmElements {
		softmaxRowsAsm(isa, &s[0], &bias[0], &top[0], len(top), n, stride, biasStride, scale)
		return
	}
	for r := range top {
		row := s[r*stride:][:n]
		top[r] = scoreRow(isa, row, bias[r*biasStride:][:n], scale)
		unary(isa, opScale, row, row, 1/weighRow(isa, row, top[r]))
	}
}

// scoreRow computes s = s·scale + bias on whole vectors and returns the maximum.
func scoreRow(isa ISA, s, bias []float32, scale float32) float32 {
	if isa == Generic {
		return ref.Scores(s, bias, scale)
	}
	top := [2]float32{ref.Max(nil)}
	for i := 0; i < len(s); i += asmElements {
		top[1] = scoresAsm(isa, &s[i], &bias[i], min(asmElements, len(s)-i), scale)
		top[0] = ref.Max(top[:])
	}
	return top[0]
}

// weighRow computes s = exp(s - top) on whole vectors and returns the sum.
func weighRow(isa ISA, s []float32, top float32) float32 {
	if isa == Generic {
		return ref.Weights(s, top)
	}
	total := float32(0)
	for i := 0; i < len(s); i += asmElements {
		total += weightsAsm(isa, &s[i], min(asmElements, len(s)-i), top)
	}
	return total
}
