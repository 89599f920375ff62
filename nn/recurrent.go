package nn

import (
	"cmp"
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// Cell is the kind of a recurrent layer.
type Cell string

const (
	SimpleRNN Cell = "RNN"  // tanh
	GRU       Cell = "GRU"  // Cho et al., 2014, reset after the product
	LSTM      Cell = "LSTM" // Hochreiter and Schmidhuber, 1997, with forget gates
)

func (c Cell) gates() int { return map[Cell]int{SimpleRNN: 1, GRU: 3, LSTM: 4}[c] }

// Recurrent runs over the steps of x [batch, steps, inputs]. Its result has the
// states of every step, [batch, steps, units], or only the last, [batch, units];
// both directions side by side make 2·units.
type Recurrent struct {
	Cell          Cell `yaml:"-"` // in a spec it is the layer's name
	Units         int
	Layers        int  // one upon the other; 0 means 1
	Reverse       bool // from the last step to the first
	Bidirectional bool
	Last          bool    // only the last state
	Dropout       float32 // between layers
	Init          Init    // of what the input is multiplied with; "": LecunUniform
	Recurrence    Init    // of what states are multiplied with, such as Orthogonal; "": LecunUniform
	// Lengths, int32 [batch], if given, are the numbers of steps that count in each
	// sequence: states after them are 0.
	Lengths *graph.Value
}

func (l Recurrent) Build(b *Builder, x *graph.Value) *graph.Value {
	if l.Cell.gates() == 0 {
		b.Fail(fmt.Errorf("recurrent cell %q is unknown: use RNN, GRU or LSTM", l.Cell))
		return x
	}
	if l.Layers < 0 || !(l.Dropout >= 0 && l.Dropout < 1) || l.Dropout > 0 && l.Layers < 2 {
		b.Fail(fmt.Errorf("%s: %d layers and dropout %v, which must be in [0,1), and lies between layers", l.kind(), cmp.Or(l.Layers, 1), l.Dropout))
		return x
	}
	if l.Reverse && l.Bidirectional {
		b.Fail(fmt.Errorf("%s: both reverse and bidirectional, of which the latter goes both ways already", l.kind()))
		return x
	}
	if s := x.Type.Shape; len(s) != 3 && b.Err() == nil {
		b.Fail(fmt.Errorf("%s takes [batch, steps, inputs], its input has shape %v", l.kind(), s))
		return x
	}
	layers := max(l.Layers, 1)
	y := b.Op("Transpose", graph.Attrs{"perm": []int64{1, 0, 2}}, x)
	for i := range layers {
		last := l.Last && i == layers-1
		y = l.layer(b, y, last)
		if l.Dropout > 0 && i < layers-1 {
			y = Dropout{l.Dropout}.Build(b, y)
		}
	}
	if l.Last || b.Err() != nil {
		return y
	}
	return b.Op("Transpose", graph.Attrs{"perm": []int64{1, 0, 2}}, y)
}

func (l Recurrent) kind() string {
	return map[Cell]string{SimpleRNN: "rnn", GRU: "gru", LSTM: "lstm"}[l.Cell]
}

// layer maps [steps, batch, inputs] to [steps, batch, units], or [batch, units].
func (l Recurrent) layer(b *Builder, x *graph.Value, last bool) *graph.Value {
	name := b.scope(l.kind())
	in, ok := size(b, name, 3, -1, x)
	if !ok || !positive(b, name+" units", l.Units) {
		return x
	}
	dirs, rows := 1, l.Cell.gates()*l.Units
	attrs := graph.Attrs{"hidden_size": int64(l.Units), "direction": "forward"}
	switch {
	case l.Bidirectional:
		dirs, attrs["direction"] = 2, "bidirectional"
	case l.Reverse:
		attrs["direction"] = "reverse"
	}
	outputs := 2
	switch l.Cell {
	case GRU:
		attrs["linear_before_reset"] = int64(1)
	case LSTM:
		outputs = 3
	}
	w := b.Param(name+".weight", l.Init.or(LecunUniform), Fan{in, l.Units, l.Units, in}, dirs, rows, in)
	r := b.Param(name+".recurrence", l.Recurrence.or(LecunUniform), Fan{l.Units, l.Units, l.Units, l.Units}, dirs, rows, l.Units)
	bias := b.Param(name+".bias", Zeros, Fan{}, dirs, 2*rows)
	l.open(bias)
	out := b.Node(graph.OpID{Name: string(l.Cell)}, outputs, attrs, x, w, r, bias, l.Lengths)
	y, perm, join := out[0], []int64{0, 2, 1, 3}, []int64{0, 0, int64(dirs * l.Units)}
	if last {
		y, perm, join = out[1], []int64{1, 0, 2}, []int64{0, int64(dirs * l.Units)}
	}
	if b.Err() != nil {
		return x
	}
	if dirs == 1 {
		return b.Op("Squeeze", nil, y, b.Ints("axis", int64(len(perm)-3)))
	}
	return b.Op("Reshape", nil, b.Op("Transpose", graph.Attrs{"perm": perm}, y), b.Ints("joined", join...))
}

// open sets the bias of the forget gates of LSTM, which start open (Jozefowicz et al.,
// 2015).
func (l Recurrent) open(bias *graph.Value) {
	t, err := bias.Const.Tensor()
	if l.Cell != LSTM || err != nil {
		return
	}
	for d := 0; d < t.Len(); d += 8 * l.Units {
		set(t.F32()[d+2*l.Units:d+3*l.Units], 1)
	}
}

// Lengths counts the true elements of each row of a mask [batch, steps], in which
// they come first: what Recurrent takes.
func Lengths(b *Builder, mask *graph.Value) *graph.Value {
	ones := b.Op("Cast", graph.Attrs{"to": int64(tensor.Int32)}, mask)
	return b.Op("ReduceSum", graph.Attrs{"keepdims": int64(0)}, ones, b.Ints("steps", 1))
}
