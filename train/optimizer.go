package train

import (
	"fmt"

	"tandem/fault"
	"tandem/graph"
	"tandem/tensor"
	"tandem/train/tune"
)

// optimizer is a rule that updates weights: a private operator that takes a weight,
// its states, the gradient, the learning rate and the step, and returns the weight
// and the states.
type optimizer struct {
	op     string
	states []string // names' suffixes
	// shape of a state; nil: the weight's.
	shape func(state int, weight []int) []int
	attrs func(OptimizerSpec) graph.Attrs
	rate  float32 // default
}

// optimizers by name: the one list of them.
func optimizers() map[string]optimizer {
	adam := func(decoupled int64) func(OptimizerSpec) graph.Attrs {
		return func(o OptimizerSpec) graph.Attrs {
			return graph.Attrs{"beta1": o.Beta1, "beta2": o.Beta2, "epsilon": o.Epsilon, "weight_decay": o.WeightDecay, "decoupled": decoupled}
		}
	}
	decayed := func(o OptimizerSpec) graph.Attrs {
		return graph.Attrs{"momentum": o.Momentum, "weight_decay": o.WeightDecay}
	}
	return map[string]optimizer{
		"adam":  {op: "Adam", states: []string{".m", ".v"}, attrs: adam(0), rate: 1e-3},
		"adamw": {op: "Adam", states: []string{".m", ".v"}, attrs: adam(1), rate: 1e-3},
		"sgd": {op: "SGD", states: []string{".momentum"}, rate: 0.1, attrs: func(o OptimizerSpec) graph.Attrs {
			a := decayed(o)
			if a["nesterov"] = int64(0); o.Nesterov {
				a["nesterov"] = int64(1)
			}
			return a
		}},
		"lion": {op: "Lion", states: []string{".m"}, rate: 1e-4, attrs: func(o OptimizerSpec) graph.Attrs {
			return graph.Attrs{"beta1": o.Beta1, "beta2": o.Beta2, "weight_decay": o.WeightDecay}
		}},
		"adafactor": {op: "Adafactor", states: []string{".row", ".column"}, shape: factors, attrs: decayed, rate: 1e-2},
		"muon":      {op: "Muon", states: []string{".m"}, attrs: decayed, rate: 1e-3},
	}
}

// factors are the shapes of Adafactor's states: rows and columns of each matrix, or
// an element's own moment.
func factors(state int, weight []int) []int {
	n := len(weight)
	switch {
	case n < 2 && state == 0:
		return weight
	case n < 2:
		return []int{0}
	case state == 0:
		return weight[:n-1]
	}
	return append(append([]int{}, weight[:n-2]...), weight[n-1])
}

// setDefaults fills in what the named optimizer takes.
func (o *OptimizerSpec) setDefaults() {
	setDefault(&o.LearningRate, optimizers()[o.Name].rate)
	switch o.Name {
	case "adam", "adamw", "muon": // Muon: for what is no hidden matrix
		setDefault(&o.Beta1, 0.9)
		setDefault(&o.Beta2, 0.999)
		setDefault(&o.Epsilon, 1e-8)
	case "lion":
		setDefault(&o.Beta1, 0.9)
		setDefault(&o.Beta2, 0.99)
	}
	if o.Name == "muon" {
		setDefault(&o.Momentum, 0.95)
	}
}

// updater adds the nodes that update parameters.
type updater struct {
	*graph.Builder
	spec       TrainSpec
	rate, step *graph.Value
	tables     map[*graph.Value]bool // embeddings: values that Gather reads
}

func newUpdater(b *graph.Builder, spec TrainSpec, rate, step *graph.Value) *updater {
	u := &updater{b, spec, rate, step, map[*graph.Value]bool{}}
	for _, n := range b.G.Nodes {
		if n.Op == (graph.OpID{Name: "Gather"}) {
			u.tables[n.Inputs[0]] = true
		}
	}
	return u
}

// update makes the parameters state and adds the nodes that change them.
func (u *updater) update(params, grads []*graph.Value) error {
	for i, w := range params {
		u.Variable(w)
		if u.spec.AccumulateSteps > 1 {
			grads[i] = u.accumulate(w, grads[i])
		}
	}
	if v := u.spec.ClipValue; v > 0 {
		for i, g := range grads {
			grads[i] = u.Op("Clip", nil, g, u.Const("least", tensor.Scalar(-v)), u.Const("most", tensor.Scalar(v)))
		}
	}
	if u.spec.ClipNorm > 0 {
		factor := u.Private("ClipFactor", graph.Attrs{"norm": u.spec.ClipNorm}, grads...)
		for i, g := range grads {
			grads[i] = u.Op("Mul", nil, g, factor)
		}
	}
	for i, w := range params {
		if err := u.one(w, grads[i]); err != nil {
			return err
		}
	}
	return u.Err()
}

func (u *updater) state(name string, shape []int) *graph.Value {
	return u.State(name, tensor.New(tensor.Float32, shape...))
}

func (u *updater) every() int64 { return int64(max(u.spec.AccumulateSteps, 1)) }

// accumulate is the mean gradient of several steps, at the last of them.
func (u *updater) accumulate(w, grad *graph.Value) *graph.Value {
	shape, _ := w.Type.Shape.Static()
	sum := u.state(w.Name+".sum", shape)
	out := u.Node(graph.OpID{Domain: graph.Private, Name: "Accumulate"}, 2, graph.Attrs{"every": u.every()}, sum, grad, u.step)
	u.SetNext(sum, out[0])
	return out[1]
}

// one updates w. Muon is for the matrices within a network; the rest takes AdamW.
func (u *updater) one(w, grad *graph.Value) error {
	name := u.spec.Optimizer.Name
	if name == "muon" && (len(w.Type.Shape) != 2 || u.tables[w]) {
		name = "adamw"
	}
	o := optimizers()[name]
	shape, _ := w.Type.Shape.Static()
	rate, err := u.rateOf(w)
	if err != nil {
		return err
	}
	states := []*graph.Value{w}
	for i, suffix := range o.states {
		s := shape
		if o.shape != nil {
			s = o.shape(i, shape)
		}
		states = append(states, u.state(w.Name+suffix, s))
	}
	attrs := o.attrs(u.spec.Optimizer)
	attrs["every"] = u.every()
	next := u.Node(graph.OpID{Domain: graph.Private, Name: o.op}, len(states), attrs, append(append([]*graph.Value{}, states...), grad, rate, u.step)...)
	for i, s := range states {
		u.SetNext(s, next[i])
	}
	if u.spec.AverageDecay > 0 {
		u.average(w, next[0], shape)
	}
	return nil
}

// average keeps the moving average of a parameter.
func (u *updater) average(w, next *graph.Value, shape []int) {
	start := tensor.New(tensor.Float32, shape...)
	for _, s := range u.G.State {
		if s.Current == w {
			copy(start.Bytes(), s.Init.Data)
		}
	}
	mean := u.State(w.Name+averageSuffix, start)
	u.SetNext(mean, u.Private("MovingAverage", graph.Attrs{"decay": u.spec.AverageDecay, "every": u.every()}, mean, next, u.step))
}

// averageSuffix names the moving average of a parameter.
const averageSuffix = ".average"

// rateOf is the learning rate of a parameter: that of the step, times the factor of
// the first pattern that its name matches.
func (u *updater) rateOf(w *graph.Value) (*graph.Value, error) {
	for _, r := range u.spec.Rates {
		ok, err := tune.Matches(r.Pattern, w.Name)
		if err != nil {
			return nil, fault.From(err, "train.spec")
		}
		if ok {
			return u.Op("Mul", nil, u.rate, u.Const("factor", tensor.Scalar(r.Factor))), nil
		}
	}
	return u.rate, nil
}

// frozen reports whether the spec leaves a parameter as it is.
func (t TrainSpec) frozen(name string) (bool, error) {
	for _, p := range t.Freeze {
		ok, err := tune.Matches(p, name)
		if err != nil {
			return false, fault.From(err, "train.spec")
		}
		if ok {
			return true, nil
		}
	}
	return false, nil
}

// trainable are the parameters that are not frozen.
func (t TrainSpec) trainable(params []*graph.Value) ([]*graph.Value, error) {
	var list []*graph.Value
	for _, w := range params {
		frozen, err := t.frozen(w.Name)
		if err != nil {
			return nil, err
		}
		if !frozen {
			list = append(list, w)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("train.freeze leaves no parameter to train")
	}
	return list, nil
}
