package op

import (
	"math"

	"tandem/kernel"
	"tandem/tensor"
)

// heads sees elements as [batch, head, row, size], with a stride for each of the
// first three.
type heads[T wide] struct {
	data             []T
	batch, head, row int
}

func (h heads[T]) at(b, n, r, size int) []T {
	return h.data[b*h.batch+n*h.head+r*h.row:][:size]
}

// headsFirst is the view of a dense [batch, heads, rows, size].
func headsFirst[T wide](data []T, heads_, rows, size int) heads[T] {
	return heads[T]{data, heads_ * rows * size, rows * size, size}
}

// rowsFirst is the view of a dense [batch, rows, heads, size].
func rowsFirst[T wide](data []T, heads_, rows, size int) heads[T] {
	return heads[T]{data, heads_ * rows * size, size, heads_ * size}
}

// attention is softmax(cap(q·kᵀ·scale) + bias)·v for each head. A head of keys and
// values serves heads/kvHeads heads of queries. A row of queries that may look at
// no key gives zeros.
type attention[T wide] struct {
	batch, heads, kvHeads int
	rows, keys            int // of queries; of keys and values, the past included
	size, valueSize       int
	scale, softcap        T    // softcap 0: none
	causal                bool // bias hides key j from row i if j > i
	only                  bool // and nothing else, nor does it add anything

	q, k, v, y heads[T]
	// bias sets what is added to the scores of one row; -Inf hides a key. Nil: 0.
	bias func(b, head, row int, bias []T)
	// sink, if there is one, is a further score that every row is normalised
	// with and that has no value.
	sink func(head int) T
	// trace, if not nil, receives [batch, heads, rows, keys] at a stage.
	trace []T
	stage traceStage

	rooms  [][]T // per worker: scores and bias
	each   func(lo, hi, worker int)
	blocks kernel.Attention
	room   []float32
}

// traceStage is the attribute qk_matmul_output_mode.
type traceStage int

const (
	traceScores traceStage = iota
	traceCapped
	traceBiased
	traceWeights
)

func (a *attention[T]) run(pool *kernel.Pool) {
	if k, ok := any(a).(*attention[float32]); ok && a.trace == nil && a.sink == nil && a.softcap == 0 {
		k.runBlocks(pool)
		return
	}
	if a.rooms == nil {
		a.rooms, a.each = make([][]T, pool.Threads()), a.some
	}
	cost := max(1, a.keys*(a.size+a.valueSize))
	pool.For(a.batch*a.heads*a.rows, max(1, (1<<15)/cost), a.each)
}

// some computes the rows of all heads from lo to hi.
func (a *attention[T]) some(lo, hi, worker int) {
	if len(a.rooms[worker]) < 2*a.keys {
		a.rooms[worker] = make([]T, 2*a.keys)
	}
	room := a.rooms[worker]
	for i := lo; i < hi; i++ {
		a.one(i/(a.rows*a.heads), i/a.rows%a.heads, i%a.rows, room[:a.keys], room[a.keys:][:a.keys])
	}
}

// runBlocks leaves the work to the matrix kernels.
func (a *attention[T]) runBlocks(pool *kernel.Pool) {
	strides := func(h heads[T]) kernel.Strides { return kernel.Strides{Batch: h.batch, Head: h.head, Row: h.row} }
	k := &a.blocks
	k.Batch, k.Heads, k.KVHeads, k.Rows, k.Keys, k.Size, k.ValueSize = a.batch, a.heads, a.kvHeads, a.rows, a.keys, a.size, a.valueSize
	k.Scale, k.ZeroHidden, k.Causal = float32(a.scale), true, a.causal
	k.Q, k.K, k.V, k.Y = any(a.q.data).([]float32), any(a.k.data).([]float32), any(a.v.data).([]float32), any(a.y.data).([]float32)
	k.QS, k.KS, k.VS, k.YS = strides(a.q), strides(a.k), strides(a.v), strides(a.y)
	if a.bias != nil && !(a.causal && a.only) {
		k.Bias = any(a.bias).(func(b, head, row int, bias []float32))
	}
	if n := k.ScratchLen(pool); len(a.room) < n {
		a.room = make([]float32, n)
	}
	k.Run(pool, a.room)
}

// one computes a row of a head.
func (a *attention[T]) one(b, head, row int, scores, bias []T) {
	kv := head / (a.heads / a.kvHeads)
	if a.bias == nil {
		clear(bias)
	} else {
		a.bias(b, head, row, bias)
	}
	q, hidden := a.q.at(b, head, row, a.size), T(math.Inf(-1))
	for j := range scores {
		if bias[j] == hidden && a.trace == nil {
			scores[j] = hidden
			continue
		}
		scores[j] = dot(q, a.k.at(b, kv, j, a.size)) * a.scale
	}
	a.record(traceScores, b, head, row, scores)
	if a.softcap != 0 {
		for j, s := range scores {
			scores[j] = a.softcap * T(math.Tanh(float64(s/a.softcap)))
		}
	}
	a.record(traceCapped, b, head, row, scores)
	top := hidden
	for j, v := range bias {
		scores[j] += v
		top = max(top, v)
	}
	a.record(traceBiased, b, head, row, scores)
	if top == hidden {
		clear(scores)
	} else {
		a.normalize(scores, head)
	}
	a.record(traceWeights, b, head, row, scores)
	y := a.y.at(b, head, row, a.valueSize)
	clear(y)
	for j, p := range scores {
		if p == 0 {
			continue
		}
		for i, v := range a.v.at(b, kv, j, a.valueSize) {
			y[i] += p * v
		}
	}
}

func (a *attention[T]) record(stage traceStage, b, head, row int, scores []T) {
	if a.trace != nil && a.stage == stage {
		copy(a.trace[((b*a.heads+head)*a.rows+row)*a.keys:][:a.keys], scores)
	}
}

// normalize turns scores into weights.
func (a *attention[T]) normalize(scores []T, head int) {
	top := T(math.Inf(-1))
	if a.sink != nil {
		top = a.sink(head)
	}
	for _, s := range scores {
		top = max(top, s)
	}
	total := 0.0
	if a.sink != nil {
		total = math.Exp(float64(a.sink(head) - top))
	}
	for j, s := range scores {
		e := math.Exp(float64(s - top))
		scores[j] = T(e)
		total += e
	}
	if math.IsInf(float64(top), -1) {
		clear(scores)
		return
	}
	for j := range scores {
		scores[j] = T(float64(scores[j]) / total)
	}
}

// dot adds in four chains, whatever the rows around.
func dot[T wide](a, b []T) T {
	var s0, s1, s2, s3 T
	b = b[:len(a)]
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return (s0 + s1) + (s2 + s3)
}

// addMask sets a bias from a mask that is broadcast, right-aligned, to [batch,
// heads, rows, keys]; keys beyond the mask's last dimension are hidden.
type addMask[T wide] struct {
	mask    *tensor.Tensor
	strides [3]int // of batch, head, row; 0 where the mask repeats
	last    int
}

func newAddMask[T wide](mask *tensor.Tensor) *addMask[T] {
	m := &addMask[T]{mask: mask, last: 1}
	s := mask.Shape()
	if len(s) > 0 {
		m.last = s[len(s)-1]
	}
	stride := m.last
	for i := len(s) - 2; i >= 0; i-- {
		if s[i] != 1 {
			m.strides[3-(len(s)-1-i)] = stride
		}
		stride *= s[i]
	}
	return m
}

func (m *addMask[T]) fill(b, head, row int, bias []T) {
	at, hidden := b*m.strides[0]+head*m.strides[1]+row*m.strides[2], T(math.Inf(-1))
	n := min(m.last, len(bias))
	for j := n; j < len(bias); j++ {
		bias[j] = hidden
	}
	if m.mask.DType() != tensor.Bool {
		copy(bias[:n], tensor.Data[T](m.mask)[at:])
		return
	}
	for j, seen := range tensor.Data[bool](m.mask)[at:][:n] {
		if bias[j] = 0; !seen {
			bias[j] = hidden
		}
	}
}

// hideOutside hides the keys that a query may not look at: those more than right
// after its position, and more than left before it; -1 is no bound.
func hideOutside[T wide](bias []T, position, left, right int) {
	if right >= 0 {
		hide(bias[min(max(position+right+1, 0), len(bias)):])
	}
	if left >= 0 {
		hide(bias[:min(max(position-left, 0), len(bias))])
	}
}

func hide[T wide](bias []T) {
	if len(bias) == 0 {
		return
	}
	bias[0] = T(math.Inf(-1))
	for n := 1; n < len(bias); n *= 2 {
		copy(bias[n:], bias[:n])
	}
}
