package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/tensor"
)

// linearAttentionOps carry a state from token to token in place of a cache of keys.
func linearAttentionOps() []graph.Op {
	return []graph.Op{
		{ID: onnx("LinearAttention"), Since: 27, Infer: inferLinearAttention, Kernel: floating(kernelLinearAttention[float32], kernelLinearAttention[float64]), Expand: expandLinearAttention},
		{ID: onnx("CausalConvWithState"), Since: 27, Infer: inferCausalConv, Kernel: floating(kernelCausalConv[float32], kernelCausalConv[float64]), Expand: expandCausalConv},
	}
}

// linearHeads reads the attributes that tell how many heads there are.
func linearHeads(a graph.Attrs) (heads, kvHeads int, err error) {
	heads, kvHeads = a.Int("q_num_heads", 0), a.Int("kv_num_heads", 0)
	if heads < 1 || kvHeads < 1 || heads%kvHeads != 0 {
		return 0, 0, fmt.Errorf("q_num_heads is %d, kv_num_heads %d: the first must be a multiple of the second", heads, kvHeads)
	}
	return heads, kvHeads, nil
}

// linearRule tells what an update rule needs.
func linearRule(a graph.Attrs) (gated, delta bool, err error) {
	switch rule := a.String("update_rule", "gated_delta"); rule {
	case "linear":
	case "gated":
		gated = true
	case "delta":
		delta = true
	case "gated_delta":
		gated, delta = true, true
	default:
		return false, false, fmt.Errorf("update_rule %q is not linear, gated, delta or gated_delta", rule)
	}
	return gated, delta, nil
}

// inferLinearAttention: (q, k, v [batch, tokens, heads·size], state, decay, beta) ->
// (y, state [batch, heads, key size, value size]).
func inferLinearAttention(c *graph.Infer) error {
	if err := c.Require(3, 6); err != nil {
		return err
	}
	if err := floats(c, 0, 1, 2, 4, 5); err != nil {
		return err
	}
	heads, kvHeads, err := linearHeads(c.Node.Attrs)
	if err != nil {
		return err
	}
	gated, delta, err := linearRule(c.Node.Attrs)
	if err != nil {
		return err
	}
	if gated != c.Has(4) || delta != c.Has(5) {
		return fmt.Errorf("update_rule %q needs a decay: %v, a beta: %v, and nothing else", c.Node.Attrs.String("update_rule", "gated_delta"), gated, delta)
	}
	for i := range 6 {
		if i != 3 && c.Has(i) {
			if err := c.Rank(i, 3); err != nil {
				return err
			}
			s, first := c.In(i).Shape, c.In(0).Shape
			if err := sameDims(c, "batch or tokens", s[0], first[0], s[1], first[1]); err != nil {
				return err
			}
		}
	}
	for i, n := range []int{heads, kvHeads, kvHeads} {
		if w, ok := c.In(i).Shape[2].Value(); ok && w%n != 0 {
			return fmt.Errorf("input %d has %d columns for %d heads", i, w, n)
		}
	}
	q, k, v := c.In(0).Shape, c.In(1).Shape, c.In(2).Shape
	size, valueSize := q[2].Div(graph.Const(heads)), v[2].Div(graph.Const(kvHeads))
	if err := c.Same(k[2].Div(graph.Const(kvHeads)), size, "sizes of a head of keys and queries"); err != nil {
		return err
	}
	state := graph.Shape{q[0], graph.Const(kvHeads), size, valueSize}
	stateType := c.In(0).DType
	if c.Has(3) {
		if err := c.Rank(3, 4); err != nil {
			return err
		}
		s := c.In(3).Shape
		if err := sameDims(c, "state", s[0], state[0], s[1], state[1], s[2], state[2], s[3], state[3]); err != nil {
			return err
		}
		if stateType = c.In(3).DType; !fullFloat(stateType) {
			return fmt.Errorf("the state is %v, expected floats", stateType)
		}
	}
	c.Out(0, c.In(0).DType, graph.Shape{q[0], q[1], valueSize.Mul(graph.Const(heads))})
	c.Out(1, stateType, state)
	return nil
}

// linearHead is the recurrence of one head of keys and values.
type linearHead[T wide] struct {
	state           []T // [size, valueSize]
	size, valueSize int
	gated, delta    bool
	retrieved       []T
}

// step takes a token: the state decays (decay has one element, or one for each of
// the key's), and the value, or with the delta rule what the state does not yet
// give for the key, is written.
func (h *linearHead[T]) step(k, v, decay []T, beta T) {
	if h.gated {
		for i := range h.size {
			f := T(math.Exp(float64(decay[min(i, len(decay)-1)])))
			row := h.state[i*h.valueSize:][:h.valueSize]
			for j := range row {
				row[j] *= f
			}
		}
	}
	write := v
	if h.delta {
		clear(h.retrieved)
		h.read(h.retrieved, k, 1)
		for j := range h.retrieved {
			h.retrieved[j] = beta * (v[j] - h.retrieved[j])
		}
		write = h.retrieved
	}
	for i, key := range k {
		row := h.state[i*h.valueSize:][:h.valueSize]
		for j := range row {
			row[j] += key * write[j]
		}
	}
}

// read adds scale·qᵀ·state to y.
func (h *linearHead[T]) read(y, q []T, scale T) {
	for i, f := range q {
		f *= scale
		for j, s := range h.state[i*h.valueSize:][:h.valueSize] {
			y[j] += f * s
		}
	}
}

func kernelLinearAttention[T wide](c *graph.Call) (func() error, error) {
	heads, kvHeads, err := linearHeads(c.Node.Attrs)
	if err != nil {
		return nil, err
	}
	gated, delta, err := linearRule(c.Node.Attrs)
	if err != nil {
		return nil, err
	}
	batch, tokens := c.In[0].Dim(0), c.In[0].Dim(1)
	size, valueSize := c.In[0].Dim(2)/heads, c.In[2].Dim(2)/kvHeads
	for i, allowed := range map[int][2]int{4: {kvHeads, kvHeads * size}, 5: {kvHeads, 1}} {
		if c.Has(i) && c.In[i].Dim(2) != allowed[0] && c.In[i].Dim(2) != allowed[1] {
			return nil, fmt.Errorf("input %d has %d columns, expected %d or %d", i, c.In[i].Dim(2), allowed[0], allowed[1])
		}
	}
	scale := T(c.Node.Attrs.Float("scale", 0))
	if scale == 0 {
		scale = T(1 / math.Sqrt(float64(size)))
	}
	// part is what input i holds for a head at a token.
	part := func(i, b, t, head, of int) []T {
		w := c.In[i].Dim(2) / of
		return tensor.Data[T](c.In[i])[(b*tokens+t)*c.In[i].Dim(2)+head*w:][:w]
	}
	states, err := graph.Room[T](c, batch*kvHeads*size*valueSize)
	if err != nil {
		return nil, err
	}
	rooms := make([]T, c.Pool.Threads()*valueSize)
	group := heads / kvHeads
	each := func(lo, hi, worker int) {
		y := tensor.Data[T](c.Out[0])
		for i := lo; i < hi; i++ {
			b, kv := i/kvHeads, i%kvHeads
			h := linearHead[T]{states[i*size*valueSize:][:size*valueSize], size, valueSize, gated, delta, rooms[worker*valueSize:][:valueSize]}
			for t := range tokens {
				var decay []T
				if gated {
					decay = part(4, b, t, kv, kvHeads)
				}
				beta := T(1)
				if delta {
					n := c.In[5].Dim(2)
					beta = part(5, b, t, kv%n, n)[0]
				}
				h.step(part(1, b, t, kv, kvHeads), part(2, b, t, kv, kvHeads), decay, beta)
				for g := kv * group; g < (kv+1)*group; g++ {
					h.read(y[((b*tokens+t)*heads+g)*valueSize:][:valueSize], part(0, b, t, g, heads), scale)
				}
			}
		}
	}
	return func() error {
		if clear(states); c.Has(3) {
			copy(states, tensor.Data[T](c.In[3]))
		}
		clear(tensor.Data[T](c.Out[0]))
		c.Pool.For(batch*kvHeads, 1, each)
		if len(c.Out) > 1 && c.Out[1] != nil {
			copy(tensor.Data[T](c.Out[1]), states)
		}
		return nil
	}, nil
}

// inferCausalConv: (x [batch, channels, length], w [channels, 1, k], bias, state
// [batch, channels, k-1]) -> (y, state).
func inferCausalConv(c *graph.Infer) error {
	if err := c.Require(2, 4); err != nil {
		return err
	}
	if err := floats(c, 0, 1, 2, 3); err != nil {
		return err
	}
	if err := c.Rank(0, 3); err != nil {
		return err
	}
	if err := c.Rank(1, 3); err != nil {
		return err
	}
	x, w := c.In(0).Shape, c.In(1).Shape
	if err := sameDims(c, "channels of the input and the kernel", w[0], x[1], w[1], graph.Const(1)); err != nil {
		return err
	}
	if w[2].Is(0) {
		return fmt.Errorf("the kernel has shape %v", w)
	}
	state := graph.Shape{x[0], x[1], w[2].Sub(graph.Const(1))}
	if c.Has(2) {
		if err := c.Rank(2, 1); err != nil {
			return err
		}
		if err := c.Same(c.In(2).Shape[0], x[1], "bias and channels"); err != nil {
			return err
		}
	}
	if c.Has(3) {
		if err := c.Rank(3, 3); err != nil {
			return err
		}
		s := c.In(3).Shape
		if err := sameDims(c, "state", s[0], state[0], s[1], state[1], s[2], state[2]); err != nil {
			return err
		}
	}
	switch a := c.Node.Attrs.String("activation", "none"); a {
	case "none", "silu", "swish":
	default:
		return fmt.Errorf("activation %q is not none, silu or swish", a)
	}
	c.Out(0, c.In(0).DType, x)
	c.Out(1, c.In(0).DType, state)
	return nil
}

// kernelCausalConv convolves each channel with what came before, which is the state
// or zeros; the next state is the end of both together.
func kernelCausalConv[T wide](c *graph.Call) (func() error, error) {
	l, k := linesAlong(c.In[0].Shape(), 1), c.In[1].Dim(2)
	silu := c.Node.Attrs.String("activation", "none") != "none"
	line, err := graph.Room[T](c, k-1+l.inner)
	if err != nil {
		return nil, err
	}
	return func() error {
		x, w, y := tensor.Data[T](c.In[0]), tensor.Data[T](c.In[1]), tensor.Data[T](c.Out[0])
		for i := range l.outer * l.n {
			c.Pool.Look()
			clear(line)
			if c.Has(3) {
				copy(line[:k-1], tensor.Data[T](c.In[3])[i*(k-1):])
			}
			copy(line[k-1:], x[i*l.inner:][:l.inner])
			ch := i % l.n
			for t := range l.inner {
				sum := dot(line[t:][:k], w[ch*k:][:k])
				if c.Has(2) {
					sum += tensor.Data[T](c.In[2])[ch]
				}
				if silu {
					sum = T(float64(sum) / (1 + math.Exp(-float64(sum))))
				}
				y[i*l.inner+t] = sum
			}
			if len(c.Out) > 1 && c.Out[1] != nil {
				copy(tensor.Data[T](c.Out[1])[i*(k-1):][:k-1], line[len(line)-(k-1):])
			}
		}
		return nil
	}, nil
}
