package kernel

import (
	"fmt"
	"math"
	"unsafe"

	"tandem/kernel/ref"
	"tandem/tensor/block"
)

// PageTokens is the number of positions in a page of a paged cache.
const PageTokens = 32

// keyBlock is the number of positions whose scores are normalised at a time. Blocks
// are counted from the sequence's beginning, so that sums do not depend on where a
// prompt was cut.
const keyBlock = 4 * PageTokens

// PagedAttention is causal scaled dot-product attention of several sequences
// packed one after another, over keys and values in pages. The step's own keys and
// values are written to the cache first.
//
// The cache holds float16: as cheap to widen as bfloat16 where there are no
// bfloat16 instructions, and eight times as exact. Keys lie as [page][key-value
// head][element][position], values as [page][head][position][element], so that
// both products stream through them without sums across lanes.
//
// A row's bits depend on its own sequence alone.
type PagedAttention struct {
	Heads, KVHeads, Size int // Size: elements of a head
	Scale                float32
	SoftCap              float32 // 0: none
	Window               int     // positions before its own that a query sees; negative: all

	Q, K, V       []float32 // row t, head h at t·LD + h·Size
	LDQ, LDK, LDV int
	Y             []float32 // [tokens, Heads·Size]
	Keys, Values  []byte    // PageBytes a page
	Lengths       []int64   // [sequences+1]: where each one's rows begin and end
	Past          []int64   // [sequences]: positions that are in the cache already
	Blocks        []int64   // [sequences, BlocksPerRow]: the pages of each
	BlocksPerRow  int
	QNorm, KNorm  []float32 // nil, or Size: weights of an RMS norm of each head
	Epsilon       float32
	Cos, Sin      []float32 // nil, or [positions, Rotary/2]
	Positions     []int64   // with Cos: [tokens]
	Rotary        int       // elements of a head that are turned
	Interleaved   bool      // neighbours are turned, not halves
	pagedRun
}

type pagedRun struct {
	isa     ISA
	phase   pagedPhase
	group   int // query heads that share a key head
	heads   int // of them in a tile
	tokens  int // of a tile
	units   []int
	workers []byte
	worker  int
	width   int // Size in whole tiles, of a row of values in the cache
}

type pagedPhase uint8

const (
	pagedWrite pagedPhase = iota
	pagedAttend
)

// paddedSize is the width of a row of values in the cache.
func paddedSize(size int) int { return ceilDiv(size, 32) * 32 }

// KeyPageBytes is the size of a page of keys of all heads.
func KeyPageBytes(kvHeads, size int) int { return kvHeads * size * PageTokens * 2 }

// ValuePageBytes is the size of a page of values of all heads.
func ValuePageBytes(kvHeads, size int) int { return kvHeads * paddedSize(size) * PageTokens * 2 }

func (a *PagedAttention) plan(p *Pool) {
	a.isa = p.isa
	a.group, a.width = a.Heads/a.KVHeads, paddedSize(a.Size)
	high := shapeOf(p.isa).rows
	a.heads = a.group
	for a.heads > high { // the largest divisor that fits
		a.heads--
		for a.group%a.heads != 0 {
			a.heads--
		}
	}
	a.tokens = high / a.heads
	a.worker = 4 * max(high*(a.Size+keyBlock+a.width+2), PageTokens*a.Size*3)
	a.worker = (a.worker + 63) &^ 63
}

// ScratchLen is the number of bytes that Run needs on p for these dimensions.
func (a *PagedAttention) ScratchLen(p *Pool) int {
	a.plan(p)
	return roomsLen[byte](p.threads, a.worker)
}

// Run computes Y and extends the cache. Positions, lengths and blocks that do not
// fit each other are an error of the caller's data, which it names.
func (a *PagedAttention) Run(p *Pool, scratch []byte) error {
	a.plan(p)
	if err := a.check(len(scratch), p); err != nil {
		return err
	}
	a.workers = scratch
	n := len(a.Past)
	if len(a.units) != n+1 {
		a.units = make([]int, n+1)
	}
	if a.K != nil {
		a.phase = pagedWrite
		for s := range n {
			a.units[s+1] = a.units[s]
			if !a.alone(s) {
				a.units[s+1] += a.pagesOf(s) * a.KVHeads
			}
		}
		rows := len(a.Y) / (a.Heads * a.Size) * a.KVHeads
		p.run(a.units[n], max(1, 16*a.units[n]/max(1, rows)), a)
	}
	a.phase = pagedAttend
	for s := range n {
		tiles := ceilDiv(int(a.Lengths[s+1]-a.Lengths[s]), a.tokens)
		a.units[s+1] = a.units[s] + tiles*a.Heads/a.heads
	}
	p.run(a.units[n], 1, a)
	return nil
}

// alone reports whether one tile has all queries that read what the step writes of a
// sequence for a key head, as is the case where answers are written: it writes that itself.
func (a *PagedAttention) alone(s int) bool {
	return a.heads == a.group && int(a.Lengths[s+1]-a.Lengths[s]) <= a.tokens
}

func (a *PagedAttention) check(scratch int, p *Pool) error {
	if len(a.Lengths) != len(a.Past)+1 || len(a.Blocks) != len(a.Past)*a.BlocksPerRow {
		return fmt.Errorf("%d lengths and %d blocks for %d sequences", len(a.Lengths), len(a.Blocks), len(a.Past))
	}
	rows := len(a.Y) / (a.Heads * a.Size)
	pages := int64(len(a.Keys) / KeyPageBytes(a.KVHeads, a.Size))
	if a.Lengths[0] != 0 || a.Lengths[len(a.Past)] != int64(rows) {
		return fmt.Errorf("the sequences' rows go from %d to %d, there are %d", a.Lengths[0], a.Lengths[len(a.Past)], rows)
	}
	for s, past := range a.Past {
		n := a.Lengths[s+1] - a.Lengths[s]
		if n < 0 || past < 0 || n > 0 && past+n > int64(a.BlocksPerRow*PageTokens) {
			return fmt.Errorf("sequence %d has %d rows after %d positions, its pages hold %d", s, n, past, a.BlocksPerRow*PageTokens)
		}
		if n == 0 {
			continue
		}
		for i := int64(0); i*PageTokens < past+n; i++ {
			if page := a.Blocks[s*a.BlocksPerRow+int(i)]; page < 0 || page >= pages {
				return fmt.Errorf("sequence %d uses page %d, the cache has %d", s, page, pages)
			}
		}
	}
	if a.Cos != nil {
		rows := len(a.Cos) / (a.Rotary / 2)
		for _, at := range a.Positions {
			if at < 0 || at >= int64(rows) {
				return fmt.Errorf("position %d, the table has %d", at, rows)
			}
		}
	}
	checkLen("PagedAttention", "scratch", scratch, roomsLen[byte](p.threads, a.worker))
	return nil
}

func (a *PagedAttention) chunk(lo, hi, worker int) {
	room := floatsAt(roomOf(a.workers, worker, a.worker))
	s := a.sequenceOf(lo, 0)
	for i := lo; i < hi; i++ {
		s = a.sequenceOf(i, s)
		unit := i - a.units[s]
		if a.phase == pagedWrite {
			a.write(s, unit/a.KVHeads, unit%a.KVHeads, room)
			continue
		}
		splits := a.Heads / a.heads
		head := unit % splits * a.heads
		if a.K != nil && a.alone(s) {
			for page := range a.pagesOf(s) {
				a.write(s, page, head/a.group, room)
			}
		}
		var then pagedBlock
		if i+1 < hi {
			next := a.sequenceOf(i+1, s)
			unit := i + 1 - a.units[next]
			at := int(a.Past[next]) + unit/splits*a.tokens
			end := min(at+a.tokens, int(a.Past[next]+a.Lengths[next+1]-a.Lengths[next]))
			then = pagedBlock{s: next, kv: unit % splits * a.heads / a.group, from: a.seesFrom(at), end: end}
		}
		a.tile(s, unit/splits*a.tokens, head, room, then)
	}
}

// sequenceOf is the sequence of a unit, which is s or comes after it.
func (a *PagedAttention) sequenceOf(unit, s int) int {
	for unit >= a.units[s+1] {
		s++
	}
	return s
}

// keysOf are the keys of a head in the i-th page of a sequence.
func (a *PagedAttention) keysOf(s, i, head int) []byte {
	size := a.Size * PageTokens * 2
	return a.Keys[(int(a.Blocks[s*a.BlocksPerRow+i])*a.KVHeads+head)*size:][:size]
}

// pagedBlock are the positions of a block, which begins at from, of those before end.
type pagedBlock struct{ s, kv, from, end int }

func (b pagedBlock) pages() int { return ceilDiv(min(keyBlock, b.end-b.from), PageTokens) }

// page is what is read of a block as the i-th: the keys of its last page, to which
// answers have just written, those of the others, and the values. Nil: there is none.
func (a *PagedAttention) page(b pagedBlock, i int) []byte {
	pages := b.pages()
	switch {
	case i < pages:
		return a.keysOf(b.s, b.from/PageTokens+(i+pages-1)%pages, b.kv)
	case i < 2*pages:
		return a.valuesOf(b.s, b.from/PageTokens+i-pages, b.kv)
	}
	return nil
}

// valuesOf are the values.
func (a *PagedAttention) valuesOf(s, i, head int) []byte {
	size := a.width * PageTokens * 2
	return a.Values[(int(a.Blocks[s*a.BlocksPerRow+i])*a.KVHeads+head)*size:][:size]
}

// seesFrom is the position of the first block of keys that a query at a position reads.
func (a *PagedAttention) seesFrom(at int) int {
	if a.Window < 0 {
		return 0
	}
	return max(0, at-a.Window) / keyBlock * keyBlock
}

// write puts what the step has of a head's keys and values into a page: the i-th of
// those that the step's rows of sequence s reach into.
func (a *PagedAttention) write(s, i, head int, room []float32) {
	past, begin := int(a.Past[s]), int(a.Lengths[s])
	index := past/PageTokens + i
	lo := max(past, index*PageTokens)
	n := min(past+int(a.Lengths[s+1])-begin, (index+1)*PageTokens) - lo
	row, slot := begin+lo-past, lo%PageTokens
	keys, values := halvesAt(a.keysOf(s, index, head)), halvesAt(a.valuesOf(s, index, head))
	rows, room := room[:n*a.Size], room[PageTokens*a.Size:]
	for r := range n {
		k, v := (row+r)*a.LDK+head*a.Size, (row+r)*a.LDV+head*a.Size
		a.head(rows[r*a.Size:][:a.Size], a.K[k:][:a.Size], a.KNorm, row+r)
		narrow(a.isa, values[(slot+r)*a.width:][:a.Size], a.V[v:][:a.Size])
	}
	if n < 8 {
		halves := halvesOf(room)[:a.Size]
		for r := range n {
			narrow(a.isa, halves, rows[r*a.Size:][:a.Size])
			for c, v := range halves {
				keys[c*PageTokens+slot+r] = v
			}
		}
		return
	}
	turned, room := room[:a.Size*PageTokens], room[a.Size*PageTokens:]
	transpose(turned, rows, PageTokens, a.Size, n, a.Size, a.isa)
	if n == PageTokens {
		narrow(a.isa, keys, turned)
		return
	}
	halves := halvesOf(room)[:a.Size*PageTokens]
	narrow(a.isa, halves, turned)
	for c := range a.Size {
		copy(keys[c*PageTokens+slot:][:n], halves[c*PageTokens:])
	}
}

// pagesOf is the number of pages that the step's rows of a sequence reach into.
func (a *PagedAttention) pagesOf(s int) int {
	past, n := int(a.Past[s]), int(a.Lengths[s+1]-a.Lengths[s])
	if n == 0 {
		return 0
	}
	return (past+n-1)/PageTokens - past/PageTokens + 1
}

// head is a head of queries or keys, normalised and turned to its position.
func (a *PagedAttention) head(dst, src, norm []float32, row int) {
	if norm != nil {
		rmsNorm(a.isa, dst, src, norm, a.Epsilon)
	} else {
		copy(dst, src)
	}
	if a.Cos == nil {
		return
	}
	half := a.Rotary / 2
	at := int(a.Positions[row]) * half
	cos, sin := a.Cos[at:][:half], a.Sin[at:][:half]
	if a.Interleaved {
		turnPairs(a.isa, dst, cos, sin)
	} else {
		turnHalves(a.isa, dst, cos, sin)
	}
}

// tile computes some queries of a sequence, from the first on, for some heads that
// share a key head. Row r of the tile is query r/heads, head r%heads. What the next tile
// reads first is fetched meanwhile.
func (a *PagedAttention) tile(s, first, head int, room []float32, then pagedBlock) {
	begin := int(a.Lengths[s]) + first
	tokens := min(a.tokens, int(a.Lengths[s+1])-begin)
	rows, high := tokens*a.heads, shapeOf(a.isa).rows
	var t pagedTile // field by field: a literal is made elsewhere and copied, by loads that wait for stores
	t.PagedAttention, t.s, t.kv, t.rows, t.at = a, s, head/a.group, rows, int(a.Past[s])+first
	t.q, room = room[:high*a.Size], room[high*a.Size:]
	t.scores, room = room[:high*keyBlock], room[high*keyBlock:]
	t.out, room = room[:high*a.width], room[high*a.width:]
	t.top, t.total = room[:high], room[high:2*high]
	for r := range rows {
		row := begin + r/a.heads
		q := t.q[r*a.Size:][:a.Size]
		a.head(q, a.Q[row*a.LDQ+(head+r%a.heads)*a.Size:][:a.Size], a.QNorm, row)
		unary(a.isa, opScale, q, q, a.Scale)
		t.top[r], t.total[r] = lowest, 0
	}
	clear(t.out[:rows*a.width])
	end := t.at + tokens
	for from := a.seesFrom(t.at); from < end; from += keyBlock {
		next := then
		if from+keyBlock < end {
			next = pagedBlock{s, t.kv, from + keyBlock, end}
		}
		t.block(pagedBlock{s, t.kv, from, end}, next)
	}
	for r := range rows {
		y := a.Y[(begin+r/a.heads)*a.Heads*a.Size+(head+r%a.heads)*a.Size:][:a.Size]
		unary(a.isa, opScale, y, t.out[r*a.width:][:a.Size], 1/t.total[r])
	}
}

// lowest stands for the greatest score before there is any: less than all, and
// finite, so that differences are numbers.
const lowest = -1e30

type pagedTile struct {
	*PagedAttention
	s, kv, rows, at int       // at: the position of the first query
	q               []float32 // [rows][Size], scaled
	scores          []float32 // [rows][keyBlock]
	out             []float32 // [rows][width], to be divided by total
	top, total      []float32 // greatest score; sum of weights
}

// block adds the keys of a block. Keys that a row does not see have the weight zero, which
// adds nothing to it.
//
// A page is fetched while the second one before it is computed with, a line for each step.
func (t *pagedTile) block(b, next pagedBlock) {
	cols, n, pages := shapeOf(t.isa).cols, min(keyBlock, b.end-b.from), b.pages()
	wide := t.isa == AVX512 && t.rows <= wideRows
	read := func(i int) []byte {
		if i < 2*pages {
			return t.page(b, i)
		}
		return t.page(next, i-2*pages)
	}
	var h halfTile
	h.isa, h.format, h.rows = t.isa, block.F16, t.rows
	h.k, h.a, h.as, h.bs, h.cs = t.Size, t.q, t.Size, PageTokens, keyBlock
	for i := 0; i < pages; i++ {
		page, p := read(i), (i+pages-1)%pages
		h.ahead = distance(page, read(i+aheadPages))
		if h.wide = wide && i+1 < pages; h.wide {
			i++
			h.otherB, h.then = distance(page, read(i)), distance(page, read(i+aheadPages))
			h.otherC = uintptr((i+pages-1)%pages-p) * PageTokens * 4
		}
		for c := 0; c < PageTokens; c += cols {
			h.b, h.c = page[2*c:], t.scores[p*PageTokens+c:]
			h.run()
		}
	}
	t.weigh(b.from, n)
	h.as, h.bs, h.cs, h.accumulate = keyBlock, t.width, t.width, true
	h.otherB, h.otherC = uintptr(cols)*2, uintptr(cols)*4
	for p := range pages {
		page, then := read(pages+p), read(pages+p+aheadPages)
		h.ahead = distance(page, then)
		h.then = h.ahead + h.otherB
		h.k, h.a = min(PageTokens, n-p*PageTokens), t.scores[p*PageTokens:]
		for c := 0; c < t.width; c += cols {
			h.b, h.c = page[2*c:], t.out[c:]
			if h.wide = wide && c+2*cols <= t.width; h.wide {
				c += cols
			}
			h.run()
		}
	}
}

// aheadPages is by how many pages fetching precedes computing. One, of few rows, is computed
// with in about the time that a line takes to come.
const aheadPages = 2

// distance is how far it is from the beginning of a page to that of another, if there is one.
func distance(from, to []byte) uintptr {
	if to == nil {
		return 0
	}
	return uintptr(unsafe.Pointer(unsafe.SliceData(to))) - uintptr(unsafe.Pointer(unsafe.SliceData(from)))
}

// weigh turns scores of n keys into weights, those of keys that a row does not see into
// zeros, and scales what was summed before to a new greatest score.
func (t *pagedTile) weigh(from, n int) {
	n = ceilDiv(n, PageTokens) * PageTokens // as many as were computed: whole vectors
	for r := range t.rows {
		all := t.scores[r*keyBlock:][:n]
		if t.SoftCap != 0 {
			unary(t.isa, opScale, all, all, 1/t.SoftCap)
			unary(t.isa, OpTanh, all, all, 0)
			unary(t.isa, opScale, all, all, t.SoftCap)
		}
		at := t.at + r/t.heads - from
		if t.Window >= 0 {
			hide(all[:min(n, max(0, at-t.Window))])
		}
		hide(all[min(n, max(0, at+1)):])
	}
	if t.isa != Generic {
		weighAsm(t.isa, &t.scores[0], &t.top[0], &t.total[0], &t.out[0], t.rows, n, keyBlock, t.width)
		return
	}
	for r := range t.rows {
		ref.Weigh(t.scores[r*keyBlock:][:n], &t.top[r], &t.total[r], t.out[r*t.width:][:t.width])
	}
}

// hide gives scores that have no weight.
func hide(scores []float32) {
	for i := range scores {
		scores[i] = float32(math.Inf(-1))
	}
}

// halvesAt is memory as float16.
func halvesAt(b []byte) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/2)
}

// halvesOf is room for float16.
func halvesOf(x []float32) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(x))), 2*len(x))
}
