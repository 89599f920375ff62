package op

import (
	"fmt"

	"tandem/graph"
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

// layerProduct multiplies floats, made bytes by their range, with bytes.
type layerProduct struct {
	product[int32]
	weight, scale, zero *tensor.Tensor
	rows, cols, sums    []int32
	scales              []float32 // of the direction under way, one or one for each column
}

func newLayerProduct(c *graph.Call, weight, scale, zero, rows int) (*layerProduct, error) {
	w := c.In[weight]
	p := &layerProduct{weight: w, scale: c.In[scale], zero: optional(c, zero)}
	p.m, p.k, p.n = rows, w.Dim(1), w.Dim(2)
	p.prepared(c.Pool)
	var err error
	for _, part := range []struct {
		to *[]int32
		n  int
	}{{&p.rows, p.m * p.k}, {&p.cols, p.k * p.n}, {&p.sums, p.m * p.n}} {
		if *part.to, err = graph.Room[int32](c, part.n); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// load reads the weights of a direction, less their zero points.
func (p *layerProduct) load(d int) {
	size := p.k * p.n
	if p.weight.DType() == tensor.Int8 {
		convert(p.cols, tensor.Data[int8](p.weight)[d*size:][:size])
	} else {
		convert(p.cols, tensor.Data[uint8](p.weight)[d*size:][:size])
	}
	p.scales = part(p.scale.F32(), d, p.weight.Dim(0))
	if p.zero == nil {
		return
	}
	n := p.zero.Len() / p.weight.Dim(0)
	for i := range p.cols {
		p.cols[i] -= int32(smallByte(p.zero, d*n+i%p.n%n))
	}
}

// part is the d-th of equal parts.
func part[T any](x []T, d, parts int) []T {
	n := len(x) / parts
	return x[d*n:][:n]
}

// multiply computes rows of x; those of y beyond len(x) stay as they are.
func (p *layerProduct) multiply(y, x []float32) {
	p.m = len(x) / max(p.k, 1)
	scale := quantizeByRange(p.rows[:len(x)], x)
	p.run(p.rows, p.cols, p.sums, nil)
	for i, v := range p.sums[:p.m*p.n] {
		y[i] = float32(v) * (scale * p.scales[i%p.n%len(p.scales)])
	}
}

func kernelQuantizedLSTM(c *graph.Call) (func() error, error) {
	r, err := newRecurrent[float32](c, kindLSTM(), c.In[inRecurrence].Dim(1))
	if err != nil {
		return nil, err
	}
	input, err := newLayerProduct(c, inWeight, inWeightScale, inWeightZero, r.seq*r.batch)
	if err != nil {
		return nil, err
	}
	states, err := newLayerProduct(c, inRecurrence, inRecurrenceScale, inRecurrenceZero, r.batch)
	if err != nil {
		return nil, err
	}
	// The states whose range counts. The last state of a sequence still does in the step
	// after it, as with ONNX Runtime.
	counted, err := graph.Room[float32](c, r.batch*r.hidden)
	if err != nil {
		return nil, err
	}
	r.fromInput = func(d int) {
		input.load(d)
		states.load(d)
		steps := 0 // what lies behind the longest sequence has no part in the range
		for _, n := range r.lengths {
			steps = max(steps, n)
		}
		input.multiply(r.xw, c.F32(inX)[:steps*r.batch*r.in])
	}
	r.fromStates = func(step int) {
		copy(counted, r.h)
		for b, n := range r.lengths {
			if step > n {
				clear(counted[b*r.hidden:][:r.hidden])
			}
		}
		states.multiply(r.hr, counted)
	}
	return r.run, nil
}
