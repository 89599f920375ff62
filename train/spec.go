package train

import (
	"bytes"
	"fmt"
	"os"
	"slices"

	"github.com/goccy/go-yaml"

	"tandem/fault"
)

// Spec describes a run completely. Keys are strict: an unknown one is an error.
type Spec struct {
	Name   string         `yaml:"name"`
	Family string         `yaml:"family"`
	Task   string         `yaml:"task"`
	Data   DataSpec       `yaml:"data"`
	Model  map[string]any `yaml:"model,omitempty"` // decoded by the family
	Train  TrainSpec      `yaml:"train"`
}

// DataSpec says where the examples are.
type DataSpec struct {
	Path string `yaml:"path"` // a folder, or the name of a built-in set
	// LimitRows uses only the first examples of the training set, and of the test set;
	// 0 is all.
	LimitRows int `yaml:"limit_rows,omitempty"`
}

// TrainSpec says how to train.
type TrainSpec struct {
	Epochs    int           `yaml:"epochs"`
	BatchRows int           `yaml:"batch_rows"`
	Seed      uint64        `yaml:"seed"`
	Optimizer OptimizerSpec `yaml:"optimizer"`
	Schedule  ScheduleSpec  `yaml:"schedule"`
	// ClipNorm bounds the common norm of all gradients; 0: no bound.
	ClipNorm float32 `yaml:"clip_norm,omitempty"`
	// AccumulateSteps is how many batches' gradients make one update; 0 means 1.
	AccumulateSteps int `yaml:"accumulate_steps,omitempty"`
	// AverageDecay keeps a moving average of the weights, which is what is evaluated
	// and written; 0: none.
	AverageDecay float32 `yaml:"average_decay,omitempty"`
	// StopPatience ends training after so many epochs without a lower test loss; 0:
	// never.
	StopPatience int `yaml:"stop_patience,omitempty"`
	// KeepBest writes the weights of the epoch with the lowest test loss.
	KeepBest bool `yaml:"keep_best,omitempty"`
	// Freeze lists patterns of parameters that stay as they are.
	Freeze []string `yaml:"freeze,omitempty"`
	// Rates are factors on the learning rate by patterns of parameters; the first
	// that matches counts.
	Rates []RateSpec `yaml:"rates,omitempty"`
	// CheckpointSteps is how many steps lie between checkpoints, besides one at
	// the end of each epoch.
	CheckpointSteps int `yaml:"checkpoint_steps"`
}

// RateSpec is a factor on the learning rate of the parameters whose names match a
// pattern, as path.Match has it.
type RateSpec struct {
	Pattern string  `yaml:"pattern"`
	Factor  float32 `yaml:"factor"`
}

// OptimizerSpec names the rule that updates weights.
type OptimizerSpec struct {
	Name         string  `yaml:"name"` // adam, adamw, sgd, lion, adafactor, muon
	LearningRate float32 `yaml:"learning_rate"`
	Beta1        float32 `yaml:"beta1,omitempty"`
	Beta2        float32 `yaml:"beta2,omitempty"`
	Epsilon      float32 `yaml:"epsilon,omitempty"`
	Momentum     float32 `yaml:"momentum,omitempty"`
	Nesterov     bool    `yaml:"nesterov,omitempty"`
	WeightDecay  float32 `yaml:"weight_decay,omitempty"`
}

// ScheduleSpec says how the learning rate changes.
type ScheduleSpec struct {
	Name        string `yaml:"name"` // constant, linear, cosine, one_cycle, plateau
	WarmupSteps int    `yaml:"warmup_steps,omitempty"`
	// Of plateau: epochs without a lower test loss after which the rate is
	// multiplied by Factor.
	Patience int     `yaml:"patience,omitempty"`
	Factor   float32 `yaml:"factor,omitempty"`
}

// maxSpecBytes bounds a spec file.
const maxSpecBytes = 1 << 20

// ReadSpec reads a YAML file and fills in defaults.
func ReadSpec(path string) (Spec, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Spec{}, fault.From(err, "train.readSpec")
	}
	if info.Size() > maxSpecBytes {
		return Spec{}, fault.New("train.readSpec", fault.TooLarge, "%s has %d bytes, a spec has at most %d", path, info.Size(), maxSpecBytes)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Spec{}, fault.From(err, "train.readSpec")
	}
	s, err := ParseSpec(text)
	if err != nil {
		return Spec{}, fault.Wrap(err, "train.readSpec", fault.Invalid, "%s", path)
	}
	return s, nil
}

// ParseSpec decodes YAML and fills in defaults.
func ParseSpec(text []byte) (Spec, error) {
	var s Spec
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&s); err != nil {
		return Spec{}, fault.Wrap(fmt.Errorf("%s", yaml.FormatError(err, false, true)), "train.parseSpec", fault.Invalid, "the spec is not valid")
	}
	s.FillDefaults()
	return s, s.Validate()
}

// Encode writes the spec as YAML.
func (s Spec) Encode() ([]byte, error) { return yaml.Marshal(s) }

// FillDefaults sets what was left out.
func (s *Spec) FillDefaults() {
	t := &s.Train
	setDefault(&t.Epochs, 3)
	setDefault(&t.BatchRows, 64)
	setDefault(&t.CheckpointSteps, 200)
	setDefault(&t.Optimizer.Name, "adam")
	setDefault(&t.Schedule.Name, "cosine")
	t.Optimizer.setDefaults()
	if t.Schedule.Name == "plateau" {
		setDefault(&t.Schedule.Patience, 2)
		setDefault(&t.Schedule.Factor, 0.1)
	}
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Validate checks what does not depend on a family.
func (s Spec) Validate() error {
	bad := func(format string, args ...any) error {
		return fault.New("train.spec", fault.Invalid, format, args...).Try("tandem train --explain lists the keys, their ranges and defaults")
	}
	t, o := s.Train, s.Train.Optimizer
	switch {
	case s.Family == "":
		return bad("family is missing")
	case s.Data.Path == "":
		return bad("data.path is missing")
	case s.Data.LimitRows < 0:
		return bad("data.limit_rows is %d, it must not be negative", s.Data.LimitRows)
	case t.Epochs < 1 || t.Epochs > 1e6:
		return bad("train.epochs is %d, it must be from 1 to 1000000", t.Epochs)
	case t.BatchRows < 1 || t.BatchRows > 1<<20:
		return bad("train.batch_rows is %d, it must be from 1 to %d", t.BatchRows, 1<<20)
	case t.CheckpointSteps < 1:
		return bad("train.checkpoint_steps is %d, it must be at least 1", t.CheckpointSteps)
	case optimizers()[o.Name].op == "":
		return bad("train.optimizer.name is %q, it must be adam, adamw, sgd, lion, adafactor or muon", o.Name)
	case !(t.ClipNorm >= 0) || t.AccumulateSteps < 0:
		return bad("train.clip_norm and train.accumulate_steps must not be negative")
	case !(t.AverageDecay >= 0 && t.AverageDecay < 1):
		return bad("train.average_decay is %v, it must be in [0,1)", t.AverageDecay)
	case !(o.LearningRate > 0 && o.LearningRate <= 100):
		return bad("train.optimizer.learning_rate is %v, it must be above 0 and at most 100", o.LearningRate)
	case !(o.Beta1 >= 0 && o.Beta1 < 1) || !(o.Beta2 >= 0 && o.Beta2 < 1) || !(o.Momentum >= 0 && o.Momentum < 1):
		return bad("train.optimizer: beta1, beta2 and momentum must be in [0,1)")
	case !(o.WeightDecay >= 0) || !(o.Epsilon >= 0):
		return bad("train.optimizer: weight_decay and epsilon must not be negative")
	case !slices.Contains([]string{"constant", "linear", "cosine", "one_cycle", "plateau"}, t.Schedule.Name):
		return bad("train.schedule.name is %q, it must be constant, linear, cosine, one_cycle or plateau", t.Schedule.Name)
	case t.Schedule.Name == "plateau" && (t.Schedule.Patience < 1 || !(t.Schedule.Factor > 0 && t.Schedule.Factor < 1)):
		return bad("train.schedule: patience must be at least 1 and factor in (0,1)")
	case t.StopPatience < 0:
		return bad("train.stop_patience is %d, it must not be negative", t.StopPatience)
	case t.Schedule.WarmupSteps < 0:
		return bad("train.schedule.warmup_steps is %d, it must not be negative", t.Schedule.WarmupSteps)
	}
	return nil
}
