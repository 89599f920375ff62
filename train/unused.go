package train

import (
	"fmt"
	"slices"
	"strings"

	"tandem/fault"
	"tandem/graph"
	"tandem/internal/setting"
	"tandem/train/tune"
)

// checkUnused refuses what is said to an optimizer, a schedule or a loss that does not
// take it: whoever says so expects it to do something. given, which may be nil, says where
// values come from.
func (t TrainSpec) checkUnused(given *setting.Node) error {
	o, s, l := t.Optimizer, t.Schedule, t.Loss
	for _, u := range []struct {
		key   string
		said  bool
		name  string
		users string
	}{
		{"train.optimizer.beta1", o.Beta1 != 0, o.Name, "adam adamw lion muon"},
		{"train.optimizer.beta2", o.Beta2 != 0, o.Name, "adam adamw lion muon"},
		{"train.optimizer.epsilon", o.Epsilon != 0, o.Name, "adam adamw muon"},
		{"train.optimizer.momentum", o.Momentum != 0, o.Name, "sgd muon"},
		{"train.optimizer.nesterov", o.Nesterov, o.Name, "sgd"},
		{"train.schedule.warmup_steps", s.WarmupSteps != 0, s.Name, "constant linear cosine step plateau"},
		{"train.schedule.patience", s.Patience != 0, s.Name, "plateau"},
		{"train.schedule.factor", s.Factor != 0, s.Name, "step plateau"},
		{"train.schedule.at", len(s.At) > 0, s.Name, "step"},
		{"train.loss.delta", l.Delta != 1, l.Name, lossHuber},
		{"train.loss.quantile", l.Quantile != 0.5, l.Name, lossQuantile},
	} {
		users := strings.Fields(u.users)
		if !u.said || slices.Contains(users, u.name) {
			continue
		}
		at := u.key
		if n := given.Get(u.key); n != nil && n.Source.Name != "" {
			at = n.Source.String() + ", " + at
		}
		return fault.New("train.spec", fault.Invalid, "%s is nothing that %s takes, but %s", at, u.name, strings.Join(users, ", ")).
			Try("leave it out")
	}
	return nil
}

// namedAtMost bounds how many parameters an error names.
const namedAtMost = 8

// checkPatterns refuses patterns that fit no parameter: they are misspelt.
func (t TrainSpec) checkPatterns(params []*graph.Value) error {
	var names []string
	for _, v := range params {
		names = append(names, v.Name)
	}
	check := func(key, pattern string) error {
		for _, name := range names {
			if ok, err := tune.Matches(pattern, name); ok || err != nil {
				return fault.From(err, "train.spec")
			}
		}
		first := strings.Join(names[:min(namedAtMost, len(names))], ", ")
		return fault.New("train.spec", fault.Invalid, "pattern %q of %s fits no parameter", pattern, key).Try(fmt.Sprintf("there are %s …", first))
	}
	for _, p := range t.Freeze {
		if err := check("train.freeze", p); err != nil {
			return err
		}
	}
	for _, r := range t.Rates {
		if err := check("train.rates", r.Pattern); err != nil {
			return err
		}
	}
	return nil
}
