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
	for domain, version := range graph.Opsets() { // gradients may use operators of all
		if g.Opset[domain] == 0 {
			g.Opset[domain] = version
		}
	}
	b := graph.Extend(g, ops)
	output := g.Outputs[0]
	g.Outputs = nil
	target := b.Input("target", p.Target.DType, p.Target.Shape...)
	step := b.Input("step", tensor.Int64)
	rate := b.Input("learning_rate", tensor.Float32)
	if err := spec.checkPatterns(p.Params); err != nil {
		return nil, err
	}
	trained, err := spec.trainable(p.Params)
	if err != nil {
		return nil, err
	}
	params := make([]*graph.Value, len(trained))
	for i, v := range trained {
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
	// Loops are unrolled now, so that the loss sees the types of their results.
	if err := graph.Expand(b, params); err != nil {
		return nil, err
	}
	loss, correct := counted(p.Loss, b, output, target)
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
	}
	if err := newUpdater(b, spec, rate, step).update(params, grads); err != nil {
		return nil, err
	}
	b.Output(loss)
	b.Output(correct)
	return g, b.Err()
}

// evaluationGraph computes the loss, the count of correct rows and, where metrics take
// it, the network's output, with the parameters where the training session keeps them.
func evaluationGraph(p *Problem, ops *graph.Table, current map[string]*tensor.Tensor) (*graph.Graph, error) {
	g, _ := p.Graph.Clone()
	b := graph.Extend(g, ops)
	output := g.Outputs[0]
	g.Outputs = nil
	target := b.Input("target", p.Target.DType, p.Target.Shape...)
	bind(g, current)
	of := p.Loss
	if p.TestLoss != nil {
		of = p.TestLoss
	}
	loss, correct := counted(of, b, output, target)
	b.Output(loss)
	b.Output(correct)
	if p.wantsOutput() {
		b.Output(output)
	}
	return g, b.Err()
}

// counted is a loss, with a count of 0 where there is none.
func counted(of LossFunc, b *graph.Builder, output, target *graph.Value) (loss, correct *graph.Value) {
	loss, correct = of(b, output, target)
	if correct == nil {
		correct = b.Op("Identity", nil, b.Const("none_correct", tensor.Scalar(int64(0))))
	}
	return loss, correct
}

// latest is what a parameter counts as: its moving average, if there is one.
func latest(current map[string]*tensor.Tensor, name string) *tensor.Tensor {
	if t := current[name+averageSuffix]; t != nil {
		return t
	}
	return current[name]
}

// bind gives the constants of g that training changes the values that count.
func bind(g *graph.Graph, current map[string]*tensor.Tensor) {
	for _, v := range g.Constants() {
		if t := latest(current, v.Name); t != nil {
			v.Const = graph.ConstantOf(t)
		}
	}
}

// trained is the network with copies of the current values of what was trained, or of
// their moving averages where those are kept, as Finish leaves it.
func (p *Problem) trained(current map[string]*tensor.Tensor) (*graph.Graph, error) {
	g, _ := p.Graph.Clone()
	copies := map[string]*tensor.Tensor{}
	for _, v := range g.Constants() {
		if t := latest(current, v.Name); t != nil {
			copies[v.Name] = t.Clone()
		}
	}
	bind(g, copies)
	if p.Finish == nil {
		return g, nil
	}
	return g, p.Finish(g)
}
