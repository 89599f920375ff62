package op

import (
	"fmt"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// recurrentOps are the layers over sequences: x [seq,batch,in], weight
// [directions,gates·hidden,in], recurrence [directions,gates·hidden,hidden]. With
// layout 1, batch is the first dimension of x, the states and the results.
func recurrentOps() []graph.Op {
	define := func(name string, kind recurrentKind) []graph.Op {
		return []graph.Op{
			{ID: onnx(name), Since: 1, Infer: inferRecurrent(kind), Kernel: kernelRecurrent(kind), Grad: gradRecurrent(name, kind), Expand: expandRecurrent(name, kind), Work: workRecurrent, Encoded: true, Panels: panelsRecurrent(kind)},
			// As ONNX's; further results: gates of every step, cell states or inner products.
			{ID: private(name), Infer: inferRecurrentSaved(kind), Kernel: kernelFast(kind), Work: workRecurrent},
		}
	}
	list := slices.Concat(define("RNN", kindRNN()), define("GRU", kindGRU()), define("LSTM", kindLSTM()))
	return append(list, graph.Op{
		// attributes kind, direction, activations; see recurrent_grad.go
		ID: private("RecurrentGrad"), Infer: inferRecurrentGrad, Kernel: kernelRecurrentGrad,
		InPlace: []graph.Alias{{In: rgGates, Out: rgOutGates}, {In: rgSaved, Out: rgOutSaved}},
	}, graph.Op{ID: microsoft("DynamicQuantizeLSTM"), Since: 1, Infer: inferQuantizedLSTM, Kernel: kernelQuantizedLSTM, Work: workRecurrent, Encoded: true, Panels: panelsQuantizedLSTM})
}

// recurrentKind is what distinguishes the layers.
type recurrentKind struct {
	gates    int
	defaults []string // activations
	inputs   int
	states   int // 2: h and c
}

func kindRNN() recurrentKind  { return recurrentKind{1, []string{"Tanh"}, 6, 1} }
func kindGRU() recurrentKind  { return recurrentKind{3, []string{"Sigmoid", "Tanh"}, 6, 1} }
func kindLSTM() recurrentKind { return recurrentKind{4, []string{"Sigmoid", "Tanh", "Tanh"}, 8, 2} }

// Inputs of the three operators; the last two are LSTM's.
const (
	inX, inWeight, inRecurrence, inBias, inLengths, inH, inC, inPeephole = 0, 1, 2, 3, 4, 5, 6, 7
)

// directions of an operator: which of them run from the end.
func directions(n *graph.Node) ([]bool, error) {
	switch d := n.Attrs.String("direction", "forward"); d {
	case "forward":
		return []bool{false}, nil
	case "reverse":
		return []bool{true}, nil
	case "bidirectional":
		return []bool{false, true}, nil
	default:
		return nil, fmt.Errorf("direction %q is unknown", d)
	}
}

func inferRecurrent(kind recurrentKind) func(*graph.Infer) error {
	return func(c *graph.Infer) error {
		if err := c.Require(3, kind.inputs); err != nil {
			return err
		}
		if err := floats(c, inX, inWeight, inRecurrence, inBias, inH, inC, inPeephole); err != nil {
			return err
		}
		dirs, err := directions(c.Node)
		if err != nil {
			return err
		}
		if _, err := readActivations(c.Node, kind, len(dirs)); err != nil {
			return err
		}
		if err := c.Rank(inX, 3); err != nil {
			return err
		}
		if err := c.Rank(inRecurrence, 3); err != nil {
			return err
		}
		x, d, hidden := c.In(inX).Shape, graph.Const(len(dirs)), c.In(inRecurrence).Shape[2]
		if n, ok := c.Node.Attrs["hidden_size"].(int64); ok {
			if err := c.Same(graph.Const(int(n)), hidden, "hidden_size and the weights'"); err != nil {
				return err
			}
		}
		first := c.Node.Attrs.Int("layout", 0) != 0
		seq, batch := x[0], x[1]
		if first {
			seq, batch = batch, seq
		}
		if err := checkRecurrent(c, kind, d, hidden, batch, first, false); err != nil {
			return err
		}
		y, state := graph.Shape{seq, d, batch, hidden}, graph.Shape{d, batch, hidden}
		if first {
			y, state = graph.Shape{batch, seq, d, hidden}, graph.Shape{batch, d, hidden}
		}
		c.Out(0, c.In(inX).DType, y)
		for i := range kind.states {
			c.Out(1+i, c.In(inX).DType, state)
		}
		return nil
	}
}

// checkRecurrent checks the shapes of all inputs but x. Transposed weights have the
// gates as columns.
func checkRecurrent(c *graph.Infer, kind recurrentKind, dirs, hidden, batch graph.Dim, batchFirst, transposed bool) error {
	rows := hidden.Mul(graph.Const(kind.gates))
	state := graph.Shape{dirs, batch, hidden}
	if batchFirst {
		state = graph.Shape{batch, dirs, hidden}
	}
	weight, recurrence := graph.Shape{dirs, rows, c.In(inX).Shape[2]}, graph.Shape{dirs, rows, hidden}
	if transposed {
		weight[1], weight[2], recurrence[1], recurrence[2] = weight[2], rows, hidden, rows
	}
	want := map[int]graph.Shape{
		inWeight: weight, inRecurrence: recurrence,
		inBias: {dirs, rows.Mul(graph.Const(2))}, inLengths: {batch}, inH: state, inC: state,
		inPeephole: {dirs, hidden.Mul(graph.Const(3))},
	}
	for i := inWeight; i < kind.inputs; i++ {
		if !c.Has(i) {
			continue
		}
		if err := c.Rank(i, len(want[i])); err != nil {
			return err
		}
		for axis, d := range want[i] {
			if err := c.Same(c.In(i).Shape[axis], d, fmt.Sprintf("dimension %d of input %d (%s)", axis, i, c.Node.Inputs[i].Name)); err != nil {
				return err
			}
		}
	}
	if c.Has(inLengths) && c.In(inLengths).DType != tensor.Int32 {
		return fmt.Errorf("sequence_lens is %v, expected int32", c.In(inLengths).DType)
	}
	return nil
}

func kernelFast(kind recurrentKind) graph.Kernel {
	return func(c *graph.Call) (func() error, error) { return prepareFastRecurrent(c, kind) }
}

func kernelRecurrent(kind recurrentKind) graph.Kernel {
	return floating(
		func(c *graph.Call) (func() error, error) {
			if plainRecurrent(c.Node, kind) == "" {
				return prepareFastRecurrent(c, kind)
			}
			for _, v := range c.Node.Inputs {
				if v != nil && v.Const != nil && v.Const.Encoding != graph.Dense {
					return nil, fmt.Errorf("%s is in encoding %q, which is not read here", v.Name, v.Const.Encoding)
				}
			}
			return prepareRecurrent[float32](c, kind)
		},
		func(c *graph.Call) (func() error, error) { return prepareRecurrent[float64](c, kind) },
	)
}

// panelsRecurrent: the fused kernels read both matrices of weights packed.
func panelsRecurrent(kind recurrentKind) func(*graph.Node) []graph.Panel {
	return func(n *graph.Node) []graph.Panel {
		if plainRecurrent(n, kind) != "" {
			return nil
		}
		return []graph.Panel{{In: inWeight, Transposed: true}, {In: inRecurrence, Transposed: true}}
	}
}
