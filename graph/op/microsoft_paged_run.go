package op

import (
	"fmt"
	"math"
	"unsafe"

	"tandem/graph"
	"tandem/tensor"
)

// microsoftPaged is a prepared call of ONNX Runtime's PagedAttention. It computes in
// float32: the new tokens are normalised, turned and stored in the cache, rounded to its
// type; then each sequence's positions are gathered from its blocks, and attention is
// that of one sequence. So a token's bits do not depend on other sequences.
type microsoftPaged struct {
	c                    *graph.Call
	heads, kvHeads, size int
	tokens, sequences    int
	blocks, positions    int // in the cache; in a block
	perRow               int // blocks of a sequence
	turn                 rotation
	rotary               bool
	offset               int // where the rotation begins within a head
	epsilon              float64
	window               int
	causal               bool

	parts  [3]heads[float32] // queries, keys and values; each token's heads beside each other
	rooms  [3][]float32      // what they lie in; the first alone if they are packed
	gains  [2][]float32      // of the norms of queries and keys
	cos    []float32
	sin    []float32
	sinks  []float32
	y      []float32
	turned []float32     // a head
	cache  [2][]byte     // keys and values, as they are updated
	own    [2][]byte     // the same where the node has no such output
	view   tensor.Tensor // of a part of a cache
	shape  [1]int        // of the view
	seen   [2][]float32  // the keys and values of a sequence [positions, kvHeads, size]
	holes  []int         // blocks of the sequence that are not mapped
	one    *attention[float32]
	first  int // position of the sequence's first new token
}

func kernelMicrosoftPaged(c *graph.Call) (func() error, error) {
	a, cache := c.Node.Attrs, c.In[paKeyCache].Shape()
	p := &microsoftPaged{
		c: c, heads: a.Int("num_heads", 0), kvHeads: cache[2], size: cache[3],
		tokens: c.In[paQuery].Dim(0), sequences: c.In[paPast].Dim(0),
		blocks: cache[0], positions: cache[1], perRow: c.In[paTable].Dim(1),
		offset: a.Int("rotary_offset", 0), rotary: a.Int("do_rotary", 0) != 0,
		epsilon: float64(a.Float("qk_norm_epsilon", 1e-6)),
		window:  a.Int("local_window_size", -1), causal: a.Int("is_causal", 1) != 0,
	}
	if p.rotary {
		p.turn = rotation{c.In[paCos].Dim(1), a.Int("rotary_interleaved", 0) != 0}
		if p.offset+2*p.turn.half > p.size {
			return nil, fmt.Errorf("the tables turn %d elements from %d on of a head of %d", 2*p.turn.half, p.offset, p.size)
		}
	}
	p.holes = make([]int, 0, p.perRow)
	if err := p.allocate(); err != nil {
		return nil, err
	}
	p.prepare(float32(microsoftScale[float64](a, p.size)), a.Float("softcap", 0))
	return p.run, nil
}

// allocate makes room for everything but the gathered positions, which grow.
func (p *microsoftPaged) allocate() (err error) {
	room := func(n int) (x []float32) {
		if err == nil {
			x, err = graph.Room[float32](p.c, n)
		}
		return x
	}
	width := [3]int{p.heads * p.size, p.kvHeads * p.size, p.kvHeads * p.size}
	if all := width[0] + 2*width[1]; p.c.Has(paKey) {
		for i, w := range width {
			p.rooms[i] = room(p.tokens * w)
			p.parts[i] = heads[float32]{p.rooms[i], 0, p.size, w}
		}
	} else if p.rooms[0] = room(p.tokens * all); err == nil {
		for i, at := range []int{0, width[0], width[0] + width[1]} {
			p.parts[i] = heads[float32]{p.rooms[0][min(at, len(p.rooms[0])):], 0, p.size, all}
		}
	}
	if p.turned = room(p.size); p.c.Has(paQueryNorm) {
		p.gains = [2][]float32{room(p.size), room(p.size)}
	}
	if p.rotary {
		p.cos, p.sin = room(p.c.In[paCos].Len()), room(p.c.In[paSin].Len())
	}
	if p.c.Has(paSink) {
		p.sinks = room(p.heads)
	}
	if p.c.Out[0].DType() != tensor.Float32 {
		p.y = room(p.tokens * width[0])
	}
	for j := range p.own {
		if err == nil && p.output(j) == nil {
			p.own[j], err = graph.Room[byte](p.c, len(p.c.In[paKeyCache+j].Bytes()))
		}
	}
	return err
}

func (p *microsoftPaged) output(j int) *tensor.Tensor {
	if 1+j < len(p.c.Out) {
		return p.c.Out[1+j]
	}
	return nil
}

// prepare makes the attention of one sequence.
func (p *microsoftPaged) prepare(scale, softcap float32) {
	left := -1
	if p.window > 0 {
		left = p.window - 1
	}
	right := -1
	if p.causal {
		right = 0
	}
	p.one = &attention[float32]{batch: 1, heads: p.heads, kvHeads: p.kvHeads, size: p.size, valueSize: p.size, scale: scale, softcap: softcap}
	p.one.bias = func(_, _, row int, bias []float32) {
		clear(bias)
		for _, hole := range p.holes {
			from := hole * p.positions
			hide(bias[min(from, len(bias)):min(from+p.positions, len(bias))])
		}
		hideOutside(bias, p.first+row, left, right)
	}
	if p.c.Has(paSink) {
		p.one.sink = func(head int) float32 { return p.sinks[head] }
	}
}

func (p *microsoftPaged) run() error {
	if err := p.check(); err != nil {
		return err
	}
	p.read()
	p.turnAll()
	if err := p.store(); err != nil {
		return err
	}
	y := p.y
	if y == nil {
		y = p.c.Out[0].F32()
	}
	width, lengths := p.heads*p.size, tensor.Data[int32](p.c.In[paLengths])
	for s := range p.sequences {
		from, rows := int(lengths[s]), int(lengths[s+1]-lengths[s])
		if rows == 0 {
			continue
		}
		p.first = int(tensor.Data[int32](p.c.In[paPast])[s])
		keys := p.first + rows
		if err := p.gather(s, keys); err != nil {
			return err
		}
		a, q := p.one, p.parts[0]
		a.rows, a.keys = rows, keys
		a.causal = p.causal && p.first == 0
		a.only = p.window <= 0 && len(p.holes) == 0
		a.q = heads[float32]{q.data[from*q.row:], 0, q.head, q.row}
		a.k, a.v = rowsFirst(p.seen[0], p.kvHeads, keys, p.size), rowsFirst(p.seen[1], p.kvHeads, keys, p.size)
		a.y = rowsFirst(y[from*width:], p.heads, rows, p.size)
		a.run(p.c.Pool)
	}
	if p.y != nil {
		tensor.SetFloat32s(p.c.Out[0], p.y)
	}
	return nil
}

// check: all that the inputs' elements say is looked at before anything is stored.
func (p *microsoftPaged) check() error {
	lengths, past := tensor.Data[int32](p.c.In[paLengths]), tensor.Data[int32](p.c.In[paPast])
	if lengths[0] != 0 || int(lengths[p.sequences]) != p.tokens {
		return fmt.Errorf("the cumulative lengths go from %d to %d, there are %d tokens", lengths[0], lengths[p.sequences], p.tokens)
	}
	for s := range p.sequences {
		rows := int(lengths[s+1]) - int(lengths[s])
		if rows < 0 {
			return fmt.Errorf("the cumulative lengths fall from %d to %d at sequence %d", lengths[s], lengths[s+1], s)
		}
		if rows == 0 {
			continue
		}
		if end, capacity := int(past[s])+rows, p.perRow*p.positions; past[s] < 0 || end > capacity {
			return fmt.Errorf("sequence %d has %d positions in the cache and %d new tokens, its %d blocks have room for %d", s, past[s], rows, p.perRow, capacity)
		}
		if end := int(past[s]) + rows; p.rotary && end > p.c.In[paCos].Dim(0) {
			return fmt.Errorf("sequence %d ends at position %d, the tables of cosines and sines have %d", s, end, p.c.In[paCos].Dim(0))
		}
		for i, block := range p.row(s, int(past[s])+rows) {
			if block < -1 || int(block) >= p.blocks {
				return fmt.Errorf("block %d of sequence %d is %d, the cache has %d", i, s, block, p.blocks)
			}
		}
	}
	if !p.c.Has(paSlots) {
		return nil
	}
	for t, slot := range tensor.Data[int32](p.c.In[paSlots]) {
		if slot < -1 || int(slot) >= p.blocks*p.positions {
			return fmt.Errorf("slot %d of token %d: the cache has %d blocks of %d positions", slot, t, p.blocks, p.positions)
		}
	}
	return nil
}

// row is the part of the table of blocks that a sequence of so many positions uses.
func (p *microsoftPaged) row(s, positions int) []int32 {
	return tensor.Data[int32](p.c.In[paTable])[s*p.perRow:][:(positions+p.positions-1)/p.positions]
}

// read widens what the kernel computes with, and takes the caches over.
func (p *microsoftPaged) read() {
	for i, room := range p.rooms {
		if p.c.Has(paQuery+i) && room != nil {
			tensor.Float32s(room, p.c.In[paQuery+i])
		}
	}
	if p.gains[0] != nil {
		tensor.Float32s(p.gains[0], p.c.In[paQueryNorm])
		tensor.Float32s(p.gains[1], p.c.In[paKeyNorm])
	}
	if p.rotary {
		tensor.Float32s(p.cos, p.c.In[paCos])
		tensor.Float32s(p.sin, p.c.In[paSin])
	}
	if p.sinks != nil {
		tensor.Float32s(p.sinks, p.c.In[paSink])
	}
	for j := range p.cache {
		if p.cache[j] = p.own[j]; p.output(j) != nil {
			p.cache[j] = p.output(j).Bytes()
		}
		if from := p.c.In[paKeyCache+j].Bytes(); unsafe.SliceData(from) != unsafe.SliceData(p.cache[j]) {
			copy(p.cache[j], from)
		}
	}
}

// turnAll normalises and turns the queries and keys of every token.
func (p *microsoftPaged) turnAll() {
	lengths, past := tensor.Data[int32](p.c.In[paLengths]), tensor.Data[int32](p.c.In[paPast])
	if p.gains[0] == nil && !p.rotary {
		return
	}
	for s := range p.sequences {
		for t := int(lengths[s]); t < int(lengths[s+1]); t++ {
			p.c.Pool.Look()
			at := int(past[s]) + t - int(lengths[s])
			for i, n := range []int{p.heads, p.kvHeads} {
				for h := range n {
					p.turnOne(p.parts[i].at(0, h, t, p.size), p.gains[i], at)
				}
			}
		}
	}
}

func (p *microsoftPaged) turnOne(x, gain []float32, at int) {
	if gain != nil {
		sum := 0.0
		for _, v := range x {
			sum += float64(v) * float64(v)
		}
		f := 1 / math.Sqrt(sum/float64(len(x))+p.epsilon)
		for i, v := range x {
			x[i] = float32(float64(v) * f * float64(gain[i]))
		}
	}
	if p.rotary {
		half := p.turn.half
		part := x[p.offset:][:2*half]
		copy(p.turned, part)
		rotate(p.turn, part, p.turned[:2*half], p.cos[at*half:][:half], p.sin[at*half:][:half])
	}
}

// store puts the keys and values of the new tokens into the cache.
func (p *microsoftPaged) store() error {
	lengths, past := tensor.Data[int32](p.c.In[paLengths]), tensor.Data[int32](p.c.In[paPast])
	var slots []int32
	if p.c.Has(paSlots) {
		slots = tensor.Data[int32](p.c.In[paSlots])
	}
	for s := range p.sequences {
		for t := int(lengths[s]); t < int(lengths[s+1]); t++ {
			var slot int
			if slots != nil {
				slot = int(slots[t])
			} else {
				at := int(past[s]) + t - int(lengths[s])
				if slot = int(p.row(s, at+1)[at/p.positions]); slot >= 0 {
					slot = slot*p.positions + at%p.positions
				}
			}
			if slot < 0 {
				continue
			}
			for j := range p.cache {
				from := p.parts[1+j]
				tensor.SetFloat32s(p.part(j, slot, 1), from.data[t*from.row:][:p.kvHeads*p.size])
			}
		}
	}
	return nil
}

// part is a view of positions of a cache, until the next call.
func (p *microsoftPaged) part(j, slot, n int) *tensor.Tensor {
	d, width := p.c.In[paKeyCache+j].DType(), p.kvHeads*p.size
	p.shape[0] = n * width
	p.view.Set(d, p.shape[:], p.cache[j][d.ByteLen(slot*width):d.ByteLen((slot+n)*width)])
	return &p.view
}

// gather widens the positions of a sequence from its blocks, one after another.
func (p *microsoftPaged) gather(s, positions int) (err error) {
	width := p.kvHeads * p.size
	if n := positions * width; len(p.seen[0]) < n {
		// Grown by halves, so that few steps of a growing sequence allocate.
		n = min(max(n, len(p.seen[0])*3/2), p.perRow*p.positions*width)
		for j := range p.seen {
			if p.seen[j], err = graph.Room[float32](p.c, n); err != nil {
				return err
			}
		}
	}
	p.holes = p.holes[:0]
	for i, block := range p.row(s, positions) {
		n := min(p.positions, positions-i*p.positions)
		if block < 0 {
			p.holes = append(p.holes, i)
		}
		for j := range p.seen {
			to := p.seen[j][i*p.positions*width:][:n*width]
			if block < 0 {
				clear(to)
				continue
			}
			tensor.Float32s(to, p.part(j, int(block)*p.positions, n))
		}
	}
	return nil
}
