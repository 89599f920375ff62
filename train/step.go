package train

import (
	"fmt"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/tensor"
)

// stepGraph rewrites a network into one training step: forward, loss, backward and
// update. Its inputs are the network's, then the target, the step (int64, from 1)
// and the learning rate; its outputs are the loss and the count of correct rows.
// Its state are the parameters, each followed by its moments.
func stepGraph(p *Problem, spec TrainSpec, ops *graph.Table) (*graph.Graph, error) {
	g, to := p.Graph.Clone()
	b := graph.Extend(g, ops)
	output := g.Outputs[0]
	g.Outputs = nil
	target := b.Input("target", p.Target.DType, p.Target.Shape...)
	step := b.Input("step", tensor.Int64)
	rate := b.Input("learning_rate", tensor.Float32)
	params := make([]*graph.Value, len(p.Params))
	for i, v := range p.Params {
		if params[i] = to[v]; params[i] == nil {
			return nil, fmt.Errorf("parameter %s is not used by the network", v.Name)
		}
	}
	if err := op.LowerDropout(b, spec.Seed, step); err != nil {
		return nil, err
	}
	if err := op.LowerBatchNorm(b); err != nil {
		return nil, err
	}
	loss, correct := p.Loss(b, output, target)
	if b.Err() != nil {
		return nil, b.Err()
	}
	grads, err := graph.Grad(b, loss, params)
	if err != nil {
		return nil, err
	}
	for i, w := range params {
		if grads[i] == nil {
			return nil, fmt.Errorf("the loss does not depend on parameter %s", w.Name)
		}
		update(b, spec.Optimizer, w, grads[i], rate, step)
	}
	b.Output(loss)
	b.Output(correct)
	return g, b.Err()
}

// update makes w a state value and adds the node that changes it.
func update(b *graph.Builder, o OptimizerSpec, w, grad, rate, step *graph.Value) {
	b.Variable(w)
	shape, _ := w.Type.Shape.Static()
	moment := func(name string) *graph.Value { return b.State(w.Name+name, tensor.New(tensor.Float32, shape...)) }
	private := func(name string) graph.OpID { return graph.OpID{Domain: graph.Private, Name: name} }
	if o.Name == "sgd" {
		m := moment(".momentum")
		nesterov := int64(0)
		if o.Nesterov {
			nesterov = 1
		}
		next := b.Node(private("SGD"), 2, graph.Attrs{
			"momentum": o.Momentum, "weight_decay": o.WeightDecay, "nesterov": nesterov,
		}, w, m, grad, rate, step)
		b.SetNext(w, next[0])
		b.SetNext(m, next[1])
		return
	}
	m, v := moment(".m"), moment(".v")
	decoupled := int64(0)
	if o.Name == "adamw" {
		decoupled = 1
	}
	next := b.Node(private("Adam"), 3, graph.Attrs{
		"beta1": o.Beta1, "beta2": o.Beta2, "epsilon": o.Epsilon, "weight_decay": o.WeightDecay, "decoupled": decoupled,
	}, w, m, v, grad, rate, step)
	for i, s := range []*graph.Value{w, m, v} {
		b.SetNext(s, next[i])
	}
}

// evaluationGraph computes the loss and the count of correct rows with the
// parameters where the training session keeps them.
func evaluationGraph(p *Problem, ops *graph.Table, current map[string]*tensor.Tensor) (*graph.Graph, error) {
	g, _ := p.Graph.Clone()
	b := graph.Extend(g, ops)
	output := g.Outputs[0]
	g.Outputs = nil
	target := b.Input("target", p.Target.DType, p.Target.Shape...)
	bind(g, current)
	loss, correct := p.Loss(b, output, target)
	b.Output(loss)
	b.Output(correct)
	return g, b.Err()
}

// bind gives the constants of g that training changes their current values.
func bind(g *graph.Graph, current map[string]*tensor.Tensor) {
	for _, v := range g.Constants() {
		if t := current[v.Name]; t != nil {
			v.Const = graph.ConstantOf(t)
		}
	}
}

// trained is the network with copies of the current values of what was trained.
func trained(p *Problem, current map[string]*tensor.Tensor) *graph.Graph {
	g, _ := p.Graph.Clone()
	copies := map[string]*tensor.Tensor{}
	for _, v := range g.Constants() {
		if t := current[v.Name]; t != nil {
			copies[v.Name] = t.Clone()
		}
	}
	bind(g, copies)
	return g
}
