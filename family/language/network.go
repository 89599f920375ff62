package language

import (
	"context"
	"slices"

	"tandem/fault"
	"tandem/graph"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/model"
	"tandem/nn"
	"tandem/tensor"
	"tandem/train"
	"tandem/train/tune"
)

// network is the part of the problem that is a graph: from tokens [batch, steps] to the
// probabilities of what follows each, [batch, steps, tokens].
func network(spec train.Spec, m Model, start *tune.Network, steps, tokens int, ops *graph.Table) (*train.Problem, error) {
	if start != nil {
		return networkOn(start, spec, m, steps, tokens, ops)
	}
	b := nn.NewBuilder("language", ops, spec.Train.Seed)
	x := b.Input(model.TextOutput, tensor.Int64, graph.Sym("batch"), graph.Const(steps))
	x = nn.Embedding{Count: tokens, Size: m.Embedding}.Build(b, x)
	finish(b, m.Layers.Net().Build(b, x), nn.Dense{Units: tokens})
	if b.Err() != nil {
		return nil, fault.Wrap(b.Err(), "language.build", fault.Invalid, "the network cannot be built for windows of %d tokens", steps)
	}
	return &train.Problem{Graph: b.G, Params: b.Params()}, nil
}

// finish makes probabilities of what head makes of x.
func finish(b *nn.Builder, x *graph.Value, head nn.Layer) {
	y := b.Op("Softmax", nil, head.Build(b, x))
	y.Name = b.Name("probabilities")
	b.Output(y)
}

// networkOn goes on with a network that is there: as it is, or with a new head of the
// section's layers.
func networkOn(n *tune.Network, spec train.Spec, m Model, steps, tokens int, ops *graph.Table) (*train.Problem, error) {
	out := n.Graph.Outputs[0]
	if out.Def == nil || out.Def.Op != (graph.OpID{Name: "Softmax"}) {
		return nil, fault.New("language.build", fault.Unsupported, "%s does not give the probabilities of tokens", spec.From.Model).
			Try("start from a run of family language")
	}
	s, head := spec.From, nn.Layer(nn.Sequential{})
	switch {
	case len(m.Layers) > 0 || s.After != "":
		head = append(m.Layers.Net(), nn.Dense{Units: tokens})
	default:
		s.After = out.Def.Inputs[0].Name
		if k, ok := out.Type.Shape[len(out.Type.Shape)-1].Value(); !ok || k < tokens {
			return nil, fault.New("language.build", fault.Invalid, "%s knows %d tokens, the data has %d", spec.From.Model, k, tokens).
				Try("give data of the same tokens, or a new head: model.layers")
		}
	}
	shape := graph.Shape{graph.Sym("batch"), graph.Const(steps)}
	t, err := tune.Begin(n, s, map[string]graph.Shape{n.Graph.Inputs[0].Name: shape}, spec.Train.Seed, ops)
	if err != nil {
		return nil, err
	}
	finish(t.Builder, t.Features, head)
	if err := t.Check(); err != nil {
		return nil, err
	}
	return &train.Problem{Graph: t.G, Params: t.Params(), Finish: func(g *graph.Graph) error { return t.Merge(g, ops) }}, nil
}

// checkCausal refuses a network in which a step sees what follows it: it would learn to
// copy. The network, as it begins, is asked about two texts that differ in their last
// token; all answers but the last must be the same.
func checkCausal(ctx context.Context, g *graph.Graph, steps, tokens int, ops *graph.Table) error {
	const op = "language.check"
	pool := kernel.NewPool(1, kernel.Detect())
	defer pool.Close()
	clone, _ := g.Clone()
	program, err := graph.Compile(clone, graph.Options{Ops: ops, Pool: pool, Passes: pass.Evaluation()})
	if err != nil {
		return err
	}
	session, err := program.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	x := tensor.New(tensor.Int64, 2, steps)
	for i := range steps {
		token := int64(kernel.Words(1, 0, 0, uint64(i))[0]) % int64(tokens)
		x.I64()[i], x.I64()[steps+i] = token, token
	}
	x.I64()[2*steps-1] = (x.I64()[steps-1] + 1) % int64(tokens)
	out, err := session.Run(ctx, []*tensor.Tensor{x}, nil)
	if err != nil {
		return err
	}
	if shape := out[0].Shape(); !shape.Equal(tensor.Shape{2, steps, shape[len(shape)-1]}) {
		return fault.New(op, fault.Invalid, "the layers make %v of two texts of %d tokens, not an answer for every token", shape, steps).
			Try("leave out layers that join steps, such as flatten, and last of recurrent layers")
	}
	one, two := out[0].Rows(0, 1).F32(), out[0].Rows(1, 2).F32()
	before := (steps - 1) * out[0].Dim(2)
	if !slices.Equal(one[:before], two[:before]) {
		return fault.New(op, fault.Invalid, "the layers show a step what follows it, so that there is nothing to tell").
			Try("set causal of attention and transformer, and leave out bidirectional and reverse layers")
	}
	return nil
}
