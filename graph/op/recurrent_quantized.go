package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// DynamicQuantizeLSTM is an LSTM whose weights are bytes: weight [directions,in,4·hidden],
// recurrence [directions,hidden,4·hidden]. The input becomes bytes by its range over all
// steps and sequences, the states by their range over all sequences of a step. So a
// sequence depends on those that run with it; ONNX Runtime, which divides the sequences
// among its threads, depends on their number, and gives the same as this with one.

// Inputs after those of LSTM: a scale for each direction, or for each column of each.
const (
	inWeightScale, inWeightZero, inRecurrenceScale, inRecurrenceZero = 8, 9, 10, 11
)

func inferQuantizedLSTM(c *graph.Infer) error {
	if err := c.Require(3, 12); err != nil {
		return err
	}
	if err := c.Floats(inX, inBias, inH, inC, inPeephole, inWeightScale, inRecurrenceScale); err != nil {
		return err
	}
	if err := operandsQuantized(c, isByte, [2]int{inWeight, inWeightZero}, [2]int{inRecurrence, inRecurrenceZero}); err != nil {
		return err
	}
	dirs, err := directions(c.Node)
	if err != nil {
		return err
	}
	if _, err := readActivations(c.Node, kindLSTM(), len(dirs)); err != nil {
		return err
	}
	for _, i := range []int{inX, inWeight, inRecurrence} {
		if err := c.Rank(i, 3); err != nil {
			return err
		}
	}
	x, d, hidden := c.In(inX).Shape, graph.Const(len(dirs)), c.In(inRecurrence).Shape[1]
	if err := checkQuantizedLSTM(c, d, hidden); err != nil {
		return err
	}
	c.Out(0, tensor.Float32, graph.Shape{x[0], d, x[1], hidden})
	c.Out(1, tensor.Float32, graph.Shape{d, x[1], hidden})
	c.Out(2, tensor.Float32, graph.Shape{d, x[1], hidden})
	return nil
}

func checkQuantizedLSTM(c *graph.Infer, dirs, hidden graph.Dim) error {
	if err := checkRecurrent(c, kindLSTM(), dirs, hidden, c.In(inX).Shape[1], false, true); err != nil {
		return err
	}
	for _, i := range []int{inWeightScale, inWeightZero, inRecurrenceScale, inRecurrenceZero} {
		if !c.Has(i) {
			if i == inWeightScale || i == inRecurrenceScale {
				return fmt.Errorf("input %d, a scale, is missing", i)
			}
			continue
		}
		n, cols := c.In(i).Shape.Len(), hidden.Mul(graph.Const(4))
		if err1, err2 := c.Same(n, dirs, ""), c.Same(n, dirs.Mul(cols), ""); err1 != nil && err2 != nil {
			return fmt.Errorf("input %d (%s) has shape %v, expected %v or %v numbers", i, c.Node.Inputs[i].Name, c.In(i).Shape, dirs, dirs.Mul(cols))
		}
	}
	return nil
}

// panelsQuantizedLSTM: the products of bytes read both matrices of weights packed.
func panelsQuantizedLSTM(*graph.Node) []graph.Panel {
	return []graph.Panel{{In: inWeight}, {In: inRecurrence}}
}

// layerProduct multiplies floats, made bytes by their range, with the bytes of a
// direction.
type layerProduct struct {
	kernel.ByteGemm
	pool                *kernel.Pool
	weight, scale, zero *tensor.Tensor
	packed              bool
	room                []byte // for the weights of a direction, if they are not packed
	zeros               []int32
	step                [1]float32 // of the bytes that the floats became
	reach               kernel.ByteRange
	quantizer           kernel.QuantizeBytes
	bytes, scratch      []byte
}

func newLayerProduct(c *graph.Call, weight, scale, zero, rows int) (*layerProduct, error) {
	w, constant := c.In[weight], c.Node.Inputs[weight].Const
	p := &layerProduct{pool: c.Pool, weight: w, scale: c.In[scale], zero: optional(c, zero)}
	p.packed = constant != nil && constant.Encoding == graph.PanelBytes
	p.M, p.K, p.N = rows, w.Dim(1), w.Dim(2)
	p.ZeroB, p.ScaleA = []int32{}, p.step[:] // there may be zero points
	packing := 0
	if !p.packed {
		packing = kernel.PackedByteLen(p.K, p.N, c.Pool)
	}
	var err error
	for _, part := range []struct {
		to *[]byte
		n  int
	}{{&p.room, packing}, {&p.bytes, rows * p.K}, {&p.scratch, p.ScratchLen(c.Pool)}} {
		if *part.to, err = graph.Room[byte](c, part.n); err != nil {
			return nil, err
		}
	}
	if p.zeros, err = graph.Room[int32](c, p.N); err != nil {
		return nil, err
	}
	p.ScaleB, err = graph.Room[float32](c, p.N)
	return p, err
}

// load reads the weights of direction d, their zero points and scales.
func (p *layerProduct) load(d int) {
	dirs, signed := p.weight.Dim(0), p.weight.DType() == tensor.Int8
	if p.packed {
		p.Packed = part(p.weight.Bytes(), d, dirs)
	} else {
		p.Packed = p.room
		p.PackB(p.pool, p.room, part(p.weight.Bytes(), d, dirs), signed)
	}
	if scales := part(p.scale.F32(), d, dirs); len(scales) == p.N {
		copy(p.ScaleB, scales)
	} else {
		for j := range p.ScaleB {
			p.ScaleB[j] = scales[0]
		}
	}
	base := int32(0)
	if !signed {
		base = -128 // as they are packed
	}
	p.loadZeros(d, dirs, base)
}

// loadZeros reads the zero points of direction d, added to base; there are none if all are 0.
func (p *layerProduct) loadZeros(d, dirs int, base int32) {
	n, zero := 1, base
	if p.zero != nil {
		n = p.zero.Len() / dirs
		zero += int32(smallByte(p.zero, d*n))
	}
	p.ZeroB = nil
	if n == 1 && zero == 0 {
		return
	}
	for j := range p.zeros {
		if n > 1 {
			zero = base + int32(smallByte(p.zero, d*n+j))
		}
		p.zeros[j] = zero
		if zero != 0 {
			p.ZeroB = p.zeros
		}
	}
}

// part is the d-th of equal parts.
func part[T any](x []T, d, parts int) []T {
	n := len(x) / parts
	return x[d*n:][:n]
}

// quantize makes rows bytes, as DynamicQuantizeLinear does. Without a range all are 0.
func (p *layerProduct) quantize(x []float32) {
	p.M = len(x) / max(p.K, 1)
	p.reach.X = x
	p.reach.Run(p.pool)
	p.step[0] = (p.reach.Hi - p.reach.Lo) / 255
	if p.step[0] == 0 {
		return
	}
	p.ZeroA = int32(min(max(math.RoundToEven(float64(-p.reach.Lo/p.step[0])), 0), 255))
	p.A = p.bytes[:len(x)]
	q := &p.quantizer
	q.X, q.Y, q.Scale, q.Zero = x, p.A, p.step[0], p.ZeroA
	q.Run(p.pool)
}

// share takes the bytes of another product, which has the same left operand.
func (p *layerProduct) share(of *layerProduct) {
	p.M, p.A, p.ZeroA, p.step = of.M, of.A, of.ZeroA, of.step
}

// multiply computes the rows that are bytes; those of y after them stay as they are.
func (p *layerProduct) multiply(y []float32) {
	p.Y = y[:p.M*p.N]
	if p.step[0] == 0 {
		clear(p.Y)
		for i := range p.M {
			copy(p.Y[i*p.N:], p.Bias)
		}
		return
	}
	p.Run(p.pool, p.scratch)
}

// quantizedLayer is a layer, whose products go by bytes. Directions share nothing that they
// write, so that they run on threads of their own.
type quantizedLayer struct {
	c     *graph.Call
	lanes []*quantizedLSTM // for each direction
	each  func(lo, hi, worker int)
}

// quantizedLSTM is a direction of a layer.
type quantizedLSTM struct {
	*recurrent[float32]
	input, states *layerProduct
	// counted are the states whose range counts. The last state of a sequence still does
	// in the step after it, as with ONNX Runtime.
	counted []float32
	lstm    kernel.LSTMCell
	running []bool
}

func kernelQuantizedLSTM(c *graph.Call) (func() error, error) {
	dirs, err := directions(c.Node)
	if err != nil {
		return nil, err
	}
	l := &quantizedLayer{c: c}
	for range dirs {
		q, err := newQuantizedLSTM(c)
		if err != nil {
			return nil, err
		}
		l.lanes = append(l.lanes, q)
	}
	l.each = func(lo, hi, _ int) {
		for d := lo; d < hi; d++ {
			l.lanes[d].steps(d)
		}
	}
	return l.run, nil
}

func newQuantizedLSTM(c *graph.Call) (*quantizedLSTM, error) {
	r, err := newRecurrent[float32](c, kindLSTM(), c.In[inRecurrence].Dim(1))
	if err != nil {
		return nil, err
	}
	q := &quantizedLSTM{recurrent: r, running: make([]bool, r.batch)}
	if q.input, err = newLayerProduct(c, inWeight, inWeightScale, inWeightZero, r.seq*r.batch); err != nil {
		return nil, err
	}
	if q.states, err = newLayerProduct(c, inRecurrence, inRecurrenceScale, inRecurrenceZero, r.batch); err != nil {
		return nil, err
	}
	if q.counted, err = graph.Room[float32](c, r.batch*r.hidden); err != nil {
		return nil, err
	}
	r.fromInput, r.fromStates = q.weigh, q.recur
	if plainRecurrent(c.Node, kindLSTM()) == "" {
		r.cell, q.input.Bias = q.step, r.bias
	}
	return q, nil
}

func (l *quantizedLayer) run() error {
	for _, q := range l.lanes {
		if err := q.readLengths(); err != nil {
			return err
		}
	}
	first := l.lanes[0]
	first.clearOutputs()
	steps := 0 // what lies behind the longest sequence has no part in the range
	for _, n := range first.lengths {
		steps = max(steps, n)
	}
	first.input.quantize(l.c.F32(inX)[:steps*first.batch*first.in])
	for d, q := range l.lanes {
		q.input.share(first.input)
		q.begin(d)
	}
	l.c.Pool.For(len(l.lanes), 1, l.each)
	return nil
}

// weigh computes what the input gives to the gates of direction d.
func (q *quantizedLSTM) weigh(d int) {
	q.input.load(d)
	q.states.load(d)
	q.input.multiply(q.xw)
}

// recur computes what the states give to the gates.
func (q *quantizedLSTM) recur(step int) {
	copy(q.counted, q.h)
	for b, n := range q.lengths {
		if step > n {
			clear(q.counted[b*q.hidden:][:q.hidden])
		}
	}
	q.states.quantize(q.counted)
	q.states.multiply(q.hr)
}

// step is stepLSTM on the fused kernel, for layers as plainRecurrent says.
func (q *quantizedLSTM) step(_ *recurrent[float32], step int) {
	q.recur(step)
	width, pool := 4*q.hidden, q.c.Pool
	gates := q.hr[:q.batch*width]
	for b, t := range q.active {
		if q.running[b] = t >= 0; t >= 0 {
			row := gates[b*width:][:width]
			kernel.OpAdd.Do(pool, row, row, q.gatesOf(b)) // which has the bias
		}
	}
	q.lstm = kernel.LSTMCell{Gates: gates, Prev: q.state, C: q.state, H: q.h, Active: q.running, Rows: q.batch, Hidden: q.hidden}
	q.lstm.Run(pool)
}
