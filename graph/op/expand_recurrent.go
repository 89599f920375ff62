package op

import (
	"fmt"
	"strings"

	"tandem/graph"
	"tandem/graph/op/control"
	"tandem/tensor"
)

// expandRecurrent writes out the forms of RNN, GRU and LSTM that RecurrentGrad does
// not have. With layout 1 the dimensions change places around layout 0. Peepholes, a
// clip, coupled gates, other activations, and GRU's reset before the product are
// unrolled, step by step, so that the number of steps must be known.
func expandRecurrent(name string, kind recurrentKind) func(*graph.Expansion) ([]*graph.Value, error) {
	return func(e *graph.Expansion) ([]*graph.Value, error) {
		dirs, err := directions(e.Node)
		if err != nil {
			return nil, err
		}
		if e.Node.Attrs.Int("layout", 0) != 0 {
			return batchFirst(e, name, kind), nil
		}
		if plainRecurrent(e.Node, kind) == "" {
			return nil, nil
		}
		u := &unrolledRecurrent{Expansion: e, kind: kind, dirs: len(dirs)}
		if err := u.prepare(); err != nil {
			return nil, err
		}
		return u.run(dirs)
	}
}

// batchFirst puts transpositions around the layer with layout 0.
func batchFirst(e *graph.Expansion, name string, kind recurrentKind) []*graph.Value {
	swap := func(v *graph.Value) *graph.Value {
		if v == nil {
			return nil
		}
		return e.Op("Transpose", graph.Attrs{"perm": []int64{1, 0, 2}}, v)
	}
	in := append([]*graph.Value{}, e.Node.Inputs...)
	for _, i := range []int{inX, inH, inC} {
		if i < len(in) {
			in[i] = swap(in[i])
		}
	}
	out := e.Builder.Node(onnx(name), 1+kind.states, without(e.Node.Attrs, "layout"), in...)
	out[0] = e.Op("Transpose", graph.Attrs{"perm": []int64{2, 0, 1, 3}}, out[0])
	for i := 1; i < len(out); i++ {
		out[i] = swap(out[i])
	}
	return out
}

// unrolledRecurrent writes a layer step by step.
type unrolledRecurrent struct {
	*graph.Expansion
	kind   recurrentKind
	dirs   int
	seq    int
	clip   *graph.Value // nil: none
	curves []func(*graph.Value) *graph.Value
	one    *graph.Value

	// of one direction
	recurrence, peephole []*graph.Value // by gate, [hidden, hidden]ᵀ; i, o, f
	bias, inner          []*graph.Value // by gate
}

func (u *unrolledRecurrent) prepare() error {
	seq, ok1 := u.In(inX).Type.Shape[0].Value()
	if _, ok2 := u.In(inRecurrence).Type.Shape[2].Value(); !ok1 || !ok2 {
		return fmt.Errorf("this form has a gradient only for a known number of steps, not %v", u.In(inX).Type.Shape[0])
	}
	if 32*seq*u.dirs > control.MaxUnrolled {
		return fmt.Errorf("%d steps are more than are unrolled", seq)
	}
	u.seq, u.one = seq, u.Scalar("one", 1)
	if c := u.Node.Attrs.Float("clip", 0); c > 0 {
		u.clip = u.Scalar("clip", c)
	}
	return u.readCurves()
}

// readCurves finds the operators of the activations, direction by direction.
func (u *unrolledRecurrent) readCurves() error {
	names, _ := u.Node.Attrs["activations"].([]string)
	for len(names) < u.dirs*len(u.kind.defaults) {
		names = append(names, u.kind.defaults...)
	}
	alphas, _ := u.Node.Attrs["activation_alpha"].([]float32)
	betas, _ := u.Node.Attrs["activation_beta"].([]float32)
	take := func(list *[]float32, def float32) float32 {
		if len(*list) > 0 {
			def, *list = (*list)[0], (*list)[1:]
		}
		return def
	}
	for _, name := range names {
		op, attrs := "", graph.Attrs(nil)
		switch strings.ToLower(name) {
		case "relu":
			op = "Relu"
		case "tanh":
			op = "Tanh"
		case "sigmoid":
			op = "Sigmoid"
		case "softsign":
			op = "Softsign"
		case "softplus":
			op = "Softplus"
		case "leakyrelu":
			op, attrs = "LeakyRelu", graph.Attrs{"alpha": take(&alphas, 0.01)}
		case "elu":
			op, attrs = "Elu", graph.Attrs{"alpha": take(&alphas, 1)}
		case "hardsigmoid":
			op, attrs = "HardSigmoid", graph.Attrs{"alpha": take(&alphas, 0.2), "beta": take(&betas, 0.5)}
		case "thresholdedrelu":
			op, attrs = "ThresholdedRelu", graph.Attrs{"alpha": take(&alphas, 1)}
		case "affine":
			a, b := u.Scalar("alpha", take(&alphas, 1)), u.Scalar("beta", take(&betas, 0))
			u.curves = append(u.curves, func(x *graph.Value) *graph.Value { return u.Op("Add", nil, u.Op("Mul", nil, a, x), b) })
			continue
		case "scaledtanh":
			a, b := u.Scalar("alpha", take(&alphas, 1)), u.Scalar("beta", take(&betas, 1))
			u.curves = append(u.curves, func(x *graph.Value) *graph.Value {
				return u.Op("Mul", nil, a, u.Op("Tanh", nil, u.Op("Mul", nil, b, x)))
			})
			continue
		default:
			return fmt.Errorf("activation %q is unknown", name)
		}
		u.curves = append(u.curves, func(x *graph.Value) *graph.Value { return u.Op(op, attrs, x) })
	}
	return nil
}

// parts takes direction d of an input [directions, n·…] apart into n; nil if absent.
func (u *unrolledRecurrent) parts(input, d, n int) []*graph.Value {
	v := u.In(input)
	if v == nil {
		return nil
	}
	v = u.Op("Gather", nil, v, u.Const("direction", tensor.Scalar(int64(d))))
	return u.Builder.Node(onnx("Split"), n, graph.Attrs{"axis": int64(0)}, v)
}

func (u *unrolledRecurrent) run(dirs []bool) ([]*graph.Value, error) {
	steps := make([][]*graph.Value, u.seq) // by time and direction
	last := make([][]*graph.Value, u.kind.states)
	for d, reverse := range dirs {
		h, ends := u.direction(d, reverse)
		if err := u.Err(); err != nil {
			return nil, err
		}
		for t, v := range h {
			steps[t] = append(steps[t], v)
		}
		for i, v := range ends {
			last[i] = append(last[i], v)
		}
	}
	times := make([]*graph.Value, u.seq)
	for t, list := range steps {
		times[t] = control.Stacked(u.Expansion, list, 0, false)
	}
	results := []*graph.Value{control.Stacked(u.Expansion, times, 0, false)}
	for _, list := range last {
		results = append(results, control.Stacked(u.Expansion, list, 0, false))
	}
	return results, nil
}

// direction gives the hidden states by time, [batch, hidden] each, and the last states.
func (u *unrolledRecurrent) direction(d int, reverse bool) (hidden, last []*graph.Value) {
	gates := u.kind.gates
	transposed := func(v *graph.Value) *graph.Value { return u.Op("Transpose", graph.Attrs{"perm": []int64{1, 0}}, v) }
	u.recurrence = u.parts(inRecurrence, d, gates)
	for i, v := range u.recurrence {
		u.recurrence[i] = transposed(v)
	}
	if u.bias, u.inner = u.parts(inBias, d, 2*gates), nil; u.bias != nil {
		u.bias, u.inner = u.bias[:gates], u.bias[gates:]
	}
	u.peephole = nil
	if u.kind.gates == 4 {
		u.peephole = u.parts(inPeephole, d, 3)
	}
	weight := transposed(u.Op("Gather", nil, u.In(inWeight), u.Const("direction", tensor.Scalar(int64(d)))))
	x := control.Slices(u.Expansion, u.Op("MatMul", nil, u.In(inX), weight), 0, u.seq)
	state := u.first(d, x[0])
	hidden = make([]*graph.Value, u.seq)
	for i := range u.seq {
		t := i
		if reverse {
			t = u.seq - 1 - i
		}
		parts := u.Builder.Node(onnx("Split"), gates, graph.Attrs{"axis": int64(1)}, x[t])
		next := u.step(d, parts, state)
		hidden[t] = next[0]
		if u.In(inLengths) != nil {
			// A sequence that is over keeps its states and gives zeros.
			at := u.Const("time", tensor.Scalar(int32(t)))
			active := u.Op("Unsqueeze", nil, u.Op("Greater", nil, u.In(inLengths), at), u.Ints("axis", 1))
			for j := range next {
				next[j] = u.Op("Where", nil, active, next[j], state[j])
			}
			hidden[t] = u.Op("Where", nil, active, hidden[t], u.Scalar("zero", 0))
		}
		state = next
	}
	return hidden, state
}

// first are the states before the first step.
func (u *unrolledRecurrent) first(d int, x *graph.Value) []*graph.Value {
	list := make([]*graph.Value, u.kind.states)
	for i := range list {
		if v := u.In(inH + i); v != nil {
			list[i] = u.Op("Gather", nil, v, u.Const("direction", tensor.Scalar(int64(d))))
			continue
		}
		part := u.Builder.Node(onnx("Split"), u.kind.gates, graph.Attrs{"axis": int64(1)}, x)[0]
		list[i] = u.Op("Mul", nil, u.Private("OnesLike", nil, part), u.Scalar("zero", 0))
	}
	return list
}

// sum is x + h·recurrence + both biases of a gate.
func (u *unrolledRecurrent) sum(gate int, x, h *graph.Value) *graph.Value {
	s := u.Op("Add", nil, x, u.Op("MatMul", nil, h, u.recurrence[gate]))
	if u.bias != nil {
		s = u.Op("Add", nil, u.Op("Add", nil, s, u.bias[gate]), u.inner[gate])
	}
	return s
}

// act applies activation i of direction d to a clipped sum.
func (u *unrolledRecurrent) act(d, i int, x *graph.Value) *graph.Value {
	if u.clip != nil {
		x = u.Op("Clip", nil, x, u.Op("Neg", nil, u.clip), u.clip)
	}
	return u.curves[d*len(u.kind.defaults)+i](x)
}

func (u *unrolledRecurrent) step(d int, x, state []*graph.Value) []*graph.Value {
	h := state[0]
	switch u.kind.gates {
	case 1:
		return []*graph.Value{u.act(d, 0, u.sum(0, x[0], h))}
	case 3:
		return []*graph.Value{u.gru(d, x, h)}
	}
	return u.lstm(d, x, h, state[1])
}

// gru: gates z, r, h in this order.
func (u *unrolledRecurrent) gru(d int, x []*graph.Value, h *graph.Value) *graph.Value {
	z, r := u.act(d, 0, u.sum(0, x[0], h)), u.act(d, 0, u.sum(1, x[1], h))
	var candidate *graph.Value
	if u.Node.Attrs.Int("linear_before_reset", 0) == 0 {
		candidate = u.sum(2, x[2], u.Op("Mul", nil, r, h))
	} else {
		inner := u.Op("MatMul", nil, h, u.recurrence[2])
		if u.inner != nil {
			inner = u.Op("Add", nil, inner, u.inner[2])
		}
		if candidate = u.Op("Add", nil, x[2], u.Op("Mul", nil, r, inner)); u.bias != nil {
			candidate = u.Op("Add", nil, candidate, u.bias[2])
		}
	}
	candidate = u.act(d, 1, candidate)
	return u.Op("Add", nil, u.Op("Mul", nil, u.Op("Sub", nil, u.one, z), candidate), u.Op("Mul", nil, z, h))
}

// lstm: gates i, o, f, c in this order; peepholes i, o, f.
func (u *unrolledRecurrent) lstm(d int, x []*graph.Value, h, was *graph.Value) []*graph.Value {
	peep := func(gate int, sum, cell *graph.Value) *graph.Value {
		if u.peephole == nil {
			return sum
		}
		return u.Op("Add", nil, sum, u.Op("Mul", nil, u.peephole[gate], cell))
	}
	in := u.act(d, 0, peep(0, u.sum(0, x[0], h), was))
	keep := u.Op("Sub", nil, u.one, in)
	if u.Node.Attrs.Int("input_forget", 0) == 0 {
		keep = u.act(d, 0, peep(2, u.sum(2, x[2], h), was))
	}
	now := u.Op("Add", nil, u.Op("Mul", nil, keep, was), u.Op("Mul", nil, in, u.act(d, 1, u.sum(3, x[3], h))))
	out := u.act(d, 0, peep(1, u.sum(1, x[1], h), now))
	return []*graph.Value{u.Op("Mul", nil, out, u.curves[d*3+2](now)), now}
}
