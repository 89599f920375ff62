package tune

import (
	"fmt"
	"slices"
	"strings"

	"tandem/fault"
	"tandem/graph"
	"tandem/graph/pass"
	"tandem/nn"
	"tandem/tensor"
)

// maskInput is the input that says which steps of a sequence count, as every exporter
// of text models calls it.
const maskInput = "attention_mask"

// Tuned is a network to train: what is kept of another one, with a new head.
type Tuned struct {
	*nn.Builder
	// Features are what the head takes: rows, if Start pools.
	Features *graph.Value
	// Kept are the parameters of the part that is kept which train: with LoRA only those
	// that Start.Also names, beside the pairs.
	Kept []*graph.Value

	pairs []pair
}

// oldestOpset is the first in which a head can be written: axes are inputs.
const oldestOpset = 13

// headPrefix begins the names of what is added to a network.
const headPrefix = "head."

// Begin cuts the network as s says. inputs, where given, are shapes that inputs are to
// have instead of their own, by name. The caller adds the head to Features by the
// Builder, and the graph's output.
func Begin(n *Network, s Start, inputs map[string]graph.Shape, seed uint64, ops *graph.Table) (*Tuned, error) {
	g := n.Graph
	if v := g.Opset[""]; v < oldestOpset {
		return nil, fault.New("tune.begin", fault.Unsupported, "%s is in opset %d; training starts from %d on", s.Model, v, oldestOpset).
			Try("convert it with onnx.version_converter")
	}
	for _, v := range g.Inputs {
		if shape, ok := inputs[v.Name]; ok {
			v.Type.Shape = shape
		}
	}
	if err := graph.InferTypes(g, ops); err != nil {
		return nil, fault.Wrap(err, "tune.begin", fault.Invalid, "%s does not take such inputs", s.Model)
	}
	at, err := find(g, s.After)
	if err != nil {
		return nil, err
	}
	g.Outputs = []*graph.Value{at}
	if s.Pool == "mean" && g.Input(maskInput) != nil {
		g.Outputs = append(g.Outputs, g.Input(maskInput))
	}
	if err := pass.Views().Run(g, ops); err != nil { // Identity, and dead nodes
		return nil, fault.From(err, "tune.begin")
	}
	at, mask := g.Outputs[0], g.Input(maskInput)
	g.Outputs = []*graph.Value{at} // pairs may put a sum in its place
	dropInputs(g, at, mask, s.Pool)
	t := &Tuned{Builder: nn.Extend(g, ops, seed, headPrefix), Kept: Params(g)}
	all := listed(g)
	if s.LoRA.Rank > 0 {
		if err := t.addPairs(s.LoRA); err != nil {
			return nil, err
		}
	}
	if err := t.addAlso(s.Also, all); err != nil {
		return nil, err
	}
	at, g.Outputs = g.Outputs[0], nil
	if t.Features, err = t.pool(at, mask, s.Pool); err != nil {
		return nil, err
	}
	return t, nil
}

// Params are all that training changes: of what is kept, then of the head.
func (t *Tuned) Params() []*graph.Value { return append(slices.Clone(t.Kept), t.Builder.Params()...) }

// find is the value after which the head begins.
func find(g *graph.Graph, name string) (*graph.Value, error) {
	if name == "" {
		return beforeLast(g.Outputs[0]), nil
	}
	var names []string
	for _, n := range g.Nodes {
		for _, o := range n.Outputs { // the first that is there, of a node
			if o != nil && (n.Name == name || o.Name == name) {
				return o, nil
			}
		}
	}
	for _, o := range g.Outputs {
		names = append(names, o.Name)
	}
	return nil, fault.New("tune.begin", fault.NotFound, "the model has no node or value %q to put a head on", name).
		Try("its outputs are " + strings.Join(names, ", ") + "; tandem inspect --weights lists nodes with weights")
}

// beforeLast is what the last linear layer takes that an output comes from by nothing
// but activations, a bias and scaling; without one it is the output.
func beforeLast(out *graph.Value) *graph.Value {
	for v := out; v.Def != nil && v.Def.Op.Domain == ""; v = v.Def.Inputs[0] {
		switch n := v.Def; n.Op.Name {
		case "Softmax", "LogSoftmax", "Sigmoid", "Identity", "Dropout":
		case "Add", "Mul": // a bias, or the unit of a number
			if !isWeight(n, 1) && !isScalar(n.Input(1)) {
				return out
			}
		case "Gemm", "MatMul":
			if !isWeight(n, 1) {
				return out
			}
			return n.Inputs[0]
		default:
			return out
		}
	}
	return out
}

// isScalar tells whether a value is one constant number.
func isScalar(v *graph.Value) bool { return v != nil && v.Const != nil && v.Const.Shape.Len() == 1 }

// dropInputs removes inputs that nothing reads any more.
func dropInputs(g *graph.Graph, at, mask *graph.Value, pool string) {
	uses := g.Uses()
	g.Inputs = slices.DeleteFunc(g.Inputs, func(v *graph.Value) bool {
		return len(uses[v]) == 0 && v != at && !(v == mask && pool == "mean")
	})
}

// pool makes one row of the steps of a sequence [batch, steps, width].
func (t *Tuned) pool(x, mask *graph.Value, how string) (*graph.Value, error) {
	if !x.Type.Known() {
		return nil, fault.New("tune.begin", fault.Unsupported, "the shape of %s depends on data: a head cannot be built on it", x.Name)
	}
	if how == "none" {
		return x, nil
	}
	if len(x.Type.Shape) != 3 {
		return nil, fault.New("tune.begin", fault.Invalid, "%s has shape %v; only [batch, steps, width] can be pooled", x.Name, x.Type.Shape).
			Try("set from.pool to none, or from.after to a value of that shape")
	}
	one := t.Ints("axis", 1)
	switch {
	case how == "first":
		x = t.Op("Gather", graph.Attrs{"axis": int64(1)}, x, t.Const("first", tensor.Scalar(int64(0))))
	case mask == nil:
		x = t.Op("Div", nil, t.Op("ReduceSum", graph.Attrs{"keepdims": int64(0)}, x, one), t.count(x))
	default:
		weights := t.Op("Unsqueeze", nil, t.Op("Cast", graph.Attrs{"to": int64(tensor.Float32)}, mask), t.Ints("last", 2))
		sum := t.Op("ReduceSum", graph.Attrs{"keepdims": int64(0)}, t.Op("Mul", nil, x, weights), one)
		count := t.Op("Max", nil, t.Op("ReduceSum", graph.Attrs{"keepdims": int64(0)}, weights, one), t.Scalar("least", 1))
		x = t.Op("Div", nil, sum, count) // 0 of a sequence that is all padding
	}
	if err := t.Err(); err != nil {
		return nil, fault.Wrap(err, "tune.begin", fault.Unsupported, "the steps cannot be pooled")
	}
	return x, nil
}

// count is the number of steps of x [batch, steps, width], as a float.
func (t *Tuned) count(x *graph.Value) *graph.Value {
	n := t.Op("Gather", nil, t.Op("Shape", nil, x), t.Const("steps", tensor.Scalar(int64(1))))
	return t.Op("Cast", graph.Attrs{"to": int64(tensor.Float32)}, n)
}

// Check tells whether a head could be built.
func (t *Tuned) Check() error {
	if t.Err() == nil {
		return nil
	}
	return fault.Wrap(t.Err(), "tune.begin", fault.Invalid, "the head cannot be built on %s of shape %v", t.Features.Name, fmt.Sprint(t.Features.Type.Shape))
}
