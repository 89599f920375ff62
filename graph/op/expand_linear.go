package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/tensor"
)

// Expansions of what carries a state from token to token, and of attention with inner
// graphs, for their gradients.

// maxWrittenTokens bounds the nodes that LinearAttention becomes.
const maxWrittenTokens = 2048

// writtenLinear is LinearAttention token by token. Values of a token are [batch, 1, width],
// the state is [batch, heads of keys, size, size of values].
type writtenLinear struct {
	*graph.Expansion
	heads, kvHeads int
	gated, delta   bool
	scale          *graph.Value
}

func expandLinearAttention(e *graph.Expansion) ([]*graph.Value, error) {
	w := writtenLinear{Expansion: e}
	var err error
	if w.heads, w.kvHeads, err = linearHeads(e.Node.Attrs); err != nil {
		return nil, err
	}
	if w.gated, w.delta, err = linearRule(e.Node.Attrs); err != nil {
		return nil, err
	}
	tokens, ok1 := e.In(0).Type.Shape[1].Value()
	width, ok2 := e.In(0).Type.Shape[2].Value()
	wide, ok3 := e.In(2).Type.Shape[2].Value()
	if !ok1 || !ok2 || !ok3 || tokens < 1 || tokens > maxWrittenTokens {
		return nil, fmt.Errorf("the gradient is for 1 to %d tokens, a number that is known, not %v", maxWrittenTokens, e.In(0).Type.Shape)
	}
	scale := e.Node.Attrs.Float("scale", 0)
	if scale == 0 {
		scale = float32(1 / math.Sqrt(float64(width/w.heads)))
	}
	w.scale = e.Scalar("scale", scale)
	state := e.In(3)
	if state == nil {
		state = w.empty(width/w.heads, wide/w.kvHeads)
	}
	parts := make([][]*graph.Value, 6)
	for i := range parts {
		if parts[i] = make([]*graph.Value, tokens); i != 3 && e.In(i) != nil {
			copy(parts[i], e.Builder.Node(onnx("Split"), tokens, graph.Attrs{"axis": int64(1), "num_outputs": int64(tokens)}, e.In(i)))
		}
	}
	results := make([]*graph.Value, tokens)
	for t := range tokens {
		state, results[t] = w.step(state, parts[0][t], parts[1][t], parts[2][t], parts[4][t], parts[5][t])
	}
	return []*graph.Value{e.Op("Concat", graph.Attrs{"axis": int64(1)}, results...), state}, nil
}

// empty is a state of zeros for as many examples as there are.
func (w writtenLinear) empty(size, valueSize int) *graph.Value {
	batch := w.Op("Slice", nil, w.Op("Shape", nil, w.In(0)), w.Ints("from", 0), w.Ints("to", 1))
	shape := w.Op("Concat", graph.Attrs{"axis": int64(0)}, batch, w.Ints("state", int64(w.kvHeads), int64(size), int64(valueSize)))
	return w.Op("Expand", nil, w.Scalar("zero", 0), shape)
}

// by reshapes a token's numbers to [batch, …].
func (w writtenLinear) by(x *graph.Value, shape ...int64) *graph.Value {
	return w.Op("Reshape", nil, x, w.Ints("heads", append([]int64{0}, shape...)...))
}

// step is linearHead's, for all heads.
func (w writtenLinear) step(state, q, k, v, decay, beta *graph.Value) (next, y *graph.Value) {
	kv := int64(w.kvHeads)
	if w.gated {
		state = w.Op("Mul", nil, state, w.Op("Exp", nil, w.by(decay, kv, -1, 1)))
	}
	write := w.by(v, kv, 1, -1)
	if w.delta {
		missing := w.Op("Sub", nil, write, w.Op("MatMul", nil, w.by(k, kv, 1, -1), state))
		write = w.Op("Mul", nil, missing, w.by(beta, -1, 1, 1))
	}
	state = w.Op("Add", nil, state, w.Op("MatMul", nil, w.by(k, kv, -1, 1), write))
	read := w.Op("MatMul", nil, w.by(q, kv, int64(w.heads/w.kvHeads), -1), state)
	return state, w.by(w.Op("Mul", nil, read, w.scale), 1, -1)
}

// expandCausalConv is a convolution of each channel over the state, or zeros, and x.
func expandCausalConv(e *graph.Expansion) ([]*graph.Value, error) {
	channels, ok1 := e.In(1).Type.Shape[0].Value()
	k, ok2 := e.In(1).Type.Shape[2].Value()
	if !ok1 || !ok2 {
		return nil, fmt.Errorf("a kernel of shape %v has no gradient", e.In(1).Type.Shape)
	}
	all := e.In(0)
	switch {
	case k == 1:
	case e.In(3) != nil:
		all = e.Op("Concat", graph.Attrs{"axis": int64(2)}, e.In(3), all)
	default:
		all = e.Op("Pad", nil, all, e.Ints("pads", 0, 0, int64(k-1), 0, 0, 0))
	}
	y := e.Op("Conv", graph.Attrs{"group": int64(channels)}, all, e.In(1), e.In(2))
	if e.Node.Attrs.String("activation", "none") != "none" {
		y = e.Op("Mul", nil, y, e.Op("Sigmoid", nil, y))
	}
	from := -int64(k - 1)
	if k == 1 {
		from = math.MaxInt64
	}
	state := e.Op("Slice", nil, all, e.Ints("from", from), e.Ints("to", math.MaxInt64), e.Ints("axis", 2))
	return []*graph.Value{y, state}, nil
}

// expandFlexAttention puts the inner graphs where scores and weights are.
func expandFlexAttention(e *graph.Expansion) ([]*graph.Value, error) {
	if p := flexPrecision(e.Node, e.In(0).Type.DType); p != tensor.Float32 {
		return nil, fmt.Errorf("softmax_precision %v has no gradient", p)
	}
	if d := e.In(0).Type.DType; d != tensor.Float32 && len(e.Node.Bodies()) > 0 {
		return nil, fmt.Errorf("inner graphs of %v have no gradient", d)
	}
	w := writtenAttention{Expansion: e}
	q := e.In(0)
	k, v, err := w.repeated(q, e.In(1), e.In(2))
	if err != nil {
		return nil, err
	}
	size, ok := q.Type.Shape[3].Value()
	if !ok {
		return nil, fmt.Errorf("the size of a head is not known")
	}
	s := e.Op("MatMul", nil, q, e.Op("Transpose", graph.Attrs{"perm": []int64{0, 1, 3, 2}}, k))
	s = e.Op("Mul", nil, s, e.Scalar("scale", float32(scaleOf(e.Node, size))))
	change := func(name string, x *graph.Value) *graph.Value {
		if body, ok := e.Node.Attrs[name].(*graph.Graph); ok {
			return e.Inline(body, []*graph.Value{x})[0]
		}
		return x
	}
	weights := change("prob_mod", e.Op("Softmax", graph.Attrs{"axis": int64(-1)}, change("score_mod", s)))
	return []*graph.Value{e.Op("MatMul", nil, weights, v)}, nil
}
