package train_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/fault"
	"tandem/train"
)

// TestSpecSaysWhereValuesComeFrom: file, flag and default; zeros that are written stay;
// what is written in full is read as the same.
func TestSpecSaysWhereValuesComeFrom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "first.yaml")
	text := "name: first\nfamily: test\ndata:\n  path: somewhere\ntrain:\n  epochs: 7\n  optimizer: {name: adamw, beta1: 0}\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := train.ReadSpec(path, train.Override{Key: "train.seed", Value: "9", By: "--seed"})
	if err != nil || s.Validate() != nil {
		t.Fatal(err, s.Validate())
	}
	o := s.Train.Optimizer
	if s.Train.Epochs != 7 || s.Train.Seed != 9 || o.Beta1 != 0 || o.Beta2 != 0.999 || o.LearningRate != 1e-3 {
		t.Errorf("%+v", s.Train)
	}
	from := map[string]string{}
	for _, x := range s.Settings() {
		from[x.Key] = strings.Replace(x.Source.String(), path, "FILE", 1)
	}
	for key, want := range map[string]string{"train.epochs": "FILE:6", "train.seed": "--seed", "train.optimizer.beta1": "FILE:7", "train.optimizer.beta2": ""} {
		if from[key] != want {
			t.Errorf("%s comes from %q, want %q", key, from[key], want)
		}
	}
	again, err := train.LoadSpec("again", strings.NewReader(string(s.Encode())))
	if err != nil || again.Validate() != nil || string(again.Encode()) != string(s.Encode()) {
		t.Errorf("%v\n%s\n%s", err, s.Encode(), again.Encode())
	}
}

// TestAnotherOptimizer: a flag that names another one brings its own defaults.
func TestAnotherOptimizer(t *testing.T) {
	text := "train:\n  optimizer: {name: adam, learning_rate: 0.5, beta1: 0.1}\n"
	for _, tc := range []struct {
		name string
		want train.OptimizerSpec
	}{
		{"adam", train.OptimizerSpec{Name: "adam", LearningRate: 0.5, Beta1: 0.1, Beta2: 0.999, Epsilon: 1e-8}},
		{"sgd", train.OptimizerSpec{Name: "sgd", LearningRate: 0.1}},
	} {
		s, err := train.LoadSpec("f", strings.NewReader(text), train.Override{Key: "train.optimizer.name", Value: tc.name, By: "--optimizer"})
		if err != nil || s.Train.Optimizer != tc.want {
			t.Errorf("%+v, %v, want %+v", s.Train.Optimizer, err, tc.want)
		}
	}
}

// TestAnotherLoss: what the file says of its own loss does not stand in the way.
func TestAnotherLoss(t *testing.T) {
	text := "family: x\ndata: {path: y}\ntrain:\n  loss: {name: huber, delta: 3}\n"
	s, err := train.LoadSpec("f", strings.NewReader(text), train.Override{Key: "train.loss.name", Value: "mae", By: "--set"})
	if err != nil || s.Validate() != nil || s.Train.Loss.Name != "mae" || s.Train.Loss.Delta != 1 {
		t.Errorf("%+v, %v, %v", s.Train.Loss, err, s.Validate())
	}
}

func TestBadSpecs(t *testing.T) {
	for _, tc := range []struct{ text, want, try string }{
		{"family: x\ndata: {path: y}\ntrain:\n  epocs: 3", "s.yaml:4, train.epocs: there is no such key", "did you mean epochs?"},
		{"family: x\ndata: {path: y}\ntrain: {epochs: 0}", "s.yaml:3, train.epochs is 0, it must be from 1 to 1000000", "tandem train --explain"},
		{"family: x\ndata: {path: y}\ntrain: {optimizer: {name: adm}}", `train.optimizer.name is "adm"`, "did you mean adam?"},
		{"family: x\ndata: {path: y}\ntrain: {optimizer: {learning_rate: -1}}", "it must be above 0 and at most 100", ""},
		{"family: x\ndata: {path: y}\ntrain: {average_decay: 1}", "it must be at least 0 and below 1", ""},
		{"family: x\ndata: {path: y}\nfrom: {model: m.onnx, lora: {patterns: [a*]}}", "from.lora.rank is 0: there are no pairs", ""},
		{"family: x\ndata: {path: y}\nfrom: {lora: {rank: 4}}", "from.model is missing", ""},
		{"family: x\ndata: {path: y}\ntrain: {schedule: {name: plateau, patience: 0}}", "patience must be at least 1", ""},
		{"family: x\ndata: {path: y}\ntrain: {rates: [{patern: a, factor: 1}]}", "train.rates[1].patern", "did you mean pattern?"},
		{"family: x\ndata: {path: y}\ntrain: {rates: [{pattern: a}]}", `the factor of pattern "a" is 0, it must be above 0`, "train.freeze"},
		{"family: x\ndata: {path: y}\ntrain: {rates: [{pattern: a, factor: -1}]}", `the factor of pattern "a" is -1`, ""},
		{"family: x\ndata: {path: y}\ntrain: {loss: {name: hubber}}", `s.yaml:3, train.loss.name is "hubber"`, "did you mean huber?"},
		{"family: x\ndata: {path: y}\ntrain: {loss: {smoothing: 1}}", "s.yaml:3, train.loss.smoothing is 1", ""},
		{"family: x\ndata: {path: y}\ntrain: {loss: {quantile: 1}}", "it must be above 0 and below 1", ""},
		{"family: x\ndata: {path: y}\ntrain: {loss: {delta: 0}}", "it must be above 0", ""},
		{"family: x\ndata: {path: y}\ntrain: {loss: {weights: {a: b}}}", `train.loss.weights.a: "b" is not a number`, ""},
		{"family: x\ndata: {path: y}\ntrain: {clip_value: -1}", "train.clip_value is -1", ""},
		{"family: x\ndata: {path: y}\ntrain:\n  optimizer: {name: sgd, beta1: 0.5}", "s.yaml:4, train.optimizer.beta1 is nothing that sgd takes, but adam, adamw, lion, muon", "leave it out"},
		{"family: x\ndata: {path: y}\ntrain: {optimizer: {momentum: 0.9}}", "train.optimizer.momentum is nothing that adam takes, but sgd, muon", ""},
		{"family: x\ndata: {path: y}\ntrain: {schedule: {factor: 0.5}}", "s.yaml:3, train.schedule.factor is nothing that cosine takes", ""},
		{"family: x\ndata: {path: y}\ntrain: {schedule: {name: one_cycle, warmup_steps: 5}}", "warmup_steps is nothing that one_cycle takes", ""},
		{"family: x\ndata: {path: y}\ntrain: {loss: {name: mae, delta: 2}}", "train.loss.delta is nothing that mae takes, but huber", ""},
		{"family: x\ndata: {path: y, split: {by: group}}", "data.split.by is group, and data.split.column is missing", ""},
		{"family: x\ndata: {path: y, split: {column: who}}", `data.split.column is "who", and data.split.by does not say time or group`, ""},
		{"family: x\ndata: {path: y}\ntrain: {schedule: {name: step, at: [0.7, 0.5]}}", "at is [0.7 0.5] and factor 0.1", ""},
		{"family: x\ndata: {path: y}\ntrain: {schedule: {name: step, at: [5]}}", "they must lie between 0 and 1", ""},
		{"family: x\ndata: {path: y}\ntrain: {schedule: {at: [0.5]}}", "train.schedule.at is nothing that cosine takes, but step", ""},
		{"data: {path: y}", "family is missing", ""},
		{"family: x\ndata: {path: y, format: cvs}", `s.yaml:2, data.format is "cvs"`, "did you mean csv?"},
		{"family: x\ndata: {path: y, split: {test: 1}}", "s.yaml:2, data.split.test is 1", ""},
		{"family: x\ndata: {path: y, split: {by: date}}", `data.split.by is "date"`, ""},
		{"family: x\ndata: {path: y, window: -3}", "s.yaml:2, data.window is -3", ""},
		{"family: x\ndata: {path: y}\ntrain: {batch_rows: 0}", "s.yaml:3, train.batch_rows is 0", ""},
		{"family: x\ndata: {path: y}\ntrain: {threads: -1}", "s.yaml:3, train.threads", ""},
		{"family: x\ndata: {path: y}\ntrain: {optimizer: {learning_rate: .nan}}", "s.yaml:3, train.optimizer.learning_rate", ""},
		{"family: x\ndata: [y]", "s.yaml:2, data: it must be a list of keys with values", ""},
		{"", "family is missing", ""},
		{"family: x", "data.path is missing", ""},
		{strings.Repeat("#", 1<<20) + "\n", "a spec has at most", ""},
	} {
		s, err := train.LoadSpec("s.yaml", strings.NewReader(tc.text))
		if err == nil {
			err = s.Validate()
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(fault.RemedyOf(err), tc.try) {
			t.Errorf("%.80q: %v, want %q, try %q", tc.text, err, tc.want, tc.try)
		}
	}
}
