package train

import (
	"io"
	"math"
	"os"
	"slices"

	"tandem/data"
	"tandem/fault"
	"tandem/internal/setting"
	"tandem/train/metric"
	"tandem/train/tune"
)

// Spec describes a run completely, in a file or in Go: its fields are the keys of the
// file. What is left out, or zero in Go, has the default of FillDefaults; a zero that a
// file says stands.
type Spec struct {
	Name   string     `yaml:"name" help:"name of the run"`
	Family string     `yaml:"family" help:"kind of model: tandem train --explain lists them"`
	Task   string     `yaml:"task" help:"what the model is to do"`
	Data   DataSpec   `yaml:"data"`
	From   tune.Start `yaml:"from"`
	Model  Section    `yaml:"model"`
	Train  TrainSpec  `yaml:"train"`

	given *setting.Node // what was written, and where; nil for a spec in Go
}

// TrainSpec says how to train.
type TrainSpec struct {
	Epochs          int           `yaml:"epochs" limit:"[1,1000000]" help:"passes over the training set"`
	BatchRows       int           `yaml:"batch_rows" limit:"[1,1048576]" help:"examples of one step"`
	Seed            uint64        `yaml:"seed" help:"the same one gives the same weights"`
	Loss            LossSpec      `yaml:"loss"`
	Optimizer       OptimizerSpec `yaml:"optimizer"`
	Schedule        ScheduleSpec  `yaml:"schedule"`
	ClipNorm        float32       `yaml:"clip_norm" limit:"[0,)" help:"bound of the common norm of all gradients; 0: none"`
	ClipValue       float32       `yaml:"clip_value" limit:"[0,)" help:"bound of the size of each number of a gradient, before clip_norm; 0: none"`
	AccumulateSteps int           `yaml:"accumulate_steps" limit:"[0,)" help:"batches whose gradients make one update, with their mean; 0: each makes one. Those left at the end of the run make none"`
	AverageDecay    float32       `yaml:"average_decay" limit:"[0,1)" help:"moving average of the weights, which is then what is tested and kept; 0: none"`
	Monitor         string        `yaml:"monitor" help:"what better means for stop_patience, keep_best and plateau: loss, or a metric of the test set, such as f1_macro"`
	TopK            int           `yaml:"top_k" limit:"[1,)" help:"classes that the label may be among for top_k_accuracy"`
	StopPatience    int           `yaml:"stop_patience" limit:"[0,)" help:"end after so many epochs without a better test; 0: never"`
	KeepBest        bool          `yaml:"keep_best" help:"write the weights of the best epoch, not of the last"`
	Freeze          []string      `yaml:"freeze" help:"patterns of parameters that stay as they are"`
	Rates           []RateSpec    `yaml:"rates" help:"factors on the learning rate by patterns of parameters; the first that fits counts"`
	Recompute       bool          `yaml:"recompute" help:"keep fewer results of the forward pass and compute the others again: less memory, more time, the same weights"`
	Precision       string        `yaml:"precision" one:"f32 bf16" help:"bf16: products of matrices round what they multiply to bfloat16, forward and backward; weights, sums and all else stay float32"`
	CheckpointSteps int           `yaml:"checkpoint_steps" limit:"[1,)" help:"steps between checkpoints, besides one after each epoch"`
}

// RateSpec is a factor on the learning rate of the parameters whose names match a
// pattern, as path.Match has it.
type RateSpec struct {
	Pattern string  `yaml:"pattern"`
	Factor  float32 `yaml:"factor"`
}

// OptimizerSpec names the rule that updates weights.
type OptimizerSpec struct {
	Name         string  `yaml:"name" one:"adam adamw sgd lion adafactor muon" help:"rule that updates weights"`
	LearningRate float32 `yaml:"learning_rate" limit:"(0,100]" help:"the peak of the schedule"`
	Beta1        float32 `yaml:"beta1" limit:"[0,1)" help:"decay of the first moment, of adam, adamw, lion and muon"`
	Beta2        float32 `yaml:"beta2" limit:"[0,1)" help:"decay of the second moment, of adam, adamw, lion and muon"`
	Epsilon      float32 `yaml:"epsilon" limit:"[0,)" help:"what keeps adam, adamw and muon from dividing by 0"`
	Momentum     float32 `yaml:"momentum" limit:"[0,1)" help:"momentum of sgd and muon"`
	Nesterov     bool    `yaml:"nesterov" help:"momentum that looks ahead, of sgd"`
	WeightDecay  float32 `yaml:"weight_decay" limit:"[0,)" help:"pull of weights towards 0"`
}

// ScheduleSpec says how the learning rate changes.
type ScheduleSpec struct {
	Name        string    `yaml:"name" one:"constant linear cosine one_cycle step plateau" help:"how the learning rate changes"`
	WarmupSteps int       `yaml:"warmup_steps" limit:"[0,)" help:"steps in which the learning rate rises to its peak"`
	Patience    int       `yaml:"patience" limit:"[0,)" help:"of plateau: epochs without a better test before the rate falls"`
	Factor      float32   `yaml:"factor" limit:"[0,1)" help:"of plateau and step: what the rate is multiplied with then"`
	At          []float64 `yaml:"at" help:"of step: after which parts of the run the rate falls, such as [0.5, 0.75]"`
}

// Section is the part of a spec whose keys a family defines.
type Section struct {
	Value any // a struct; nil until a family has read what was written
	node  *setting.Node
}

// DecodeSetting keeps what was written until the family reads it.
func (s *Section) DecodeSetting(n *setting.Node, _ string) error {
	*s = Section{node: n}
	return nil
}

// Settings are those of the family, or what was written.
func (s Section) Settings() any {
	if s.Value == nil && s.node != nil {
		return s.node
	}
	return s.Value
}

// ReadSection is what the section model of s says, above defaults, and completes s with
// it. Unknown keys are errors.
func ReadSection[T any](s *Spec, defaults T) (T, error) {
	if v, ok := s.Model.Value.(T); ok {
		return v, nil
	}
	if s.Model.Value != nil {
		return defaults, fault.New("train.section", fault.Invalid, "the section model is a %T, family %s takes a %T", s.Model.Value, s.Family, defaults)
	}
	if s.Model.node != nil {
		if err := s.Model.node.Decode("model", &defaults); err != nil {
			return defaults, err
		}
	}
	s.Model.Value = defaults
	return defaults, setting.Check(struct {
		Model T `yaml:"model"`
	}{defaults}, s.given)
}

// Override is a setting that stands above what a file says.
type Override struct {
	Key   string // train.epochs
	Value string // as YAML would have it
	By    string // the flag that says so
}

// maxSpecBytes bounds a spec.
const maxSpecBytes = 1 << 20

// ReadSpec reads a YAML file and fills in defaults. Validate tells whether what was
// read is complete.
func ReadSpec(path string, over ...Override) (Spec, error) {
	f, err := os.Open(path)
	if err != nil {
		return Spec{}, fault.From(err, "train.readSpec")
	}
	defer f.Close()
	return LoadSpec(path, f, over...)
}

// LoadSpec reads YAML and fills in defaults. name is what errors call the text.
func LoadSpec(name string, r io.Reader, over ...Override) (Spec, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxSpecBytes+1))
	if err != nil {
		return Spec{}, fault.From(err, "train.readSpec")
	}
	if len(text) > maxSpecBytes {
		return Spec{}, fault.New("train.readSpec", fault.TooLarge, "%s has more than %d bytes, a spec has at most that", name, maxSpecBytes)
	}
	return parseSpec(name, text, over)
}

func parseSpec(name string, text []byte, over []Override) (Spec, error) {
	given, err := setting.Parse(name, text)
	if err != nil {
		return Spec{}, err
	}
	for _, o := range over {
		if err := put(given, o); err != nil {
			return Spec{}, err
		}
	}
	s := Spec{}
	if err := given.Decode("", &s); err != nil {
		return Spec{}, err
	}
	s.FillDefaults()
	s.given = given
	return s, given.Decode("", &s) // a zero that was written stands above a default
}

// put sets an override. Another optimizer, schedule or loss than the file's has its own
// defaults, not what the file says of its own.
func put(given *setting.Node, o Override) error {
	value, err := setting.Value(o.Value, o.By)
	if err != nil {
		return err
	}
	for _, section := range []string{"train.optimizer", "train.schedule", "train.loss"} {
		if o.Key == section+".name" && !given.Get(o.Key).Says(o.Value) {
			given.Drop(section)
		}
	}
	given.Put(o.Key, value)
	return nil
}

// Encode writes the spec as YAML, with every setting.
func (s Spec) Encode() []byte { return setting.Encode(s) }

// Explain writes the spec as YAML with a comment behind each setting.
func (s Spec) Explain(comment func(setting.Setting) string) []byte {
	return setting.EncodeWith(s, s.given, comment)
}

// Settings are all settings, with where their values come from.
func (s Spec) Settings() []setting.Setting { return setting.List(s, s.given) }

// FillDefaults sets what was left out.
func (s *Spec) FillDefaults() {
	t := &s.Train
	s.From.SetDefaults()
	setDefault(&t.Epochs, 3)
	setDefault(&t.BatchRows, 64)
	setDefault(&t.CheckpointSteps, 200)
	setDefault(&t.Monitor, metric.Loss)
	setDefault(&t.TopK, 5)
	setDefault(&t.Precision, "f32")
	setDefault(&t.Optimizer.Name, "adam")
	setDefault(&t.Schedule.Name, "cosine")
	s.Data.setDefaults()
	t.Loss.setDefaults()
	t.Optimizer.setDefaults()
	t.Schedule.setDefaults()
}

func (s *ScheduleSpec) setDefaults() {
	switch s.Name {
	case "plateau":
		setDefault(&s.Patience, 2)
		setDefault(&s.Factor, 0.1)
	case "step":
		setDefault(&s.Factor, 0.1)
		if s.At == nil {
			s.At = []float64{0.5, 0.75}
		}
	}
}

// check holds what limits of single settings do not say.
func (s ScheduleSpec) check() error {
	if s.Name == "plateau" && (s.Patience < 1 || s.Factor <= 0) {
		return fault.New("train.spec", fault.Invalid, "train.schedule: patience must be at least 1 and factor in (0,1)").Try(explainRemedy)
	}
	inside := slices.IsSorted(s.At)
	for _, part := range s.At {
		inside = inside && part > 0 && part < 1
	}
	if s.Name == "step" && (!inside || s.Factor <= 0) {
		return fault.New("train.spec", fault.Invalid, "train.schedule: at is %v and factor %v, they must lie between 0 and 1, and at must rise", s.At, s.Factor).Try(explainRemedy)
	}
	return nil
}

// explainRemedy is the remedy for settings out of their ranges.
const explainRemedy = "tandem train --explain lists the keys, their ranges and defaults"

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Validate checks what does not depend on a family.
func (s Spec) Validate() error {
	bad := func(format string, args ...any) error {
		return fault.New("train.spec", fault.Invalid, format, args...).Try(explainRemedy)
	}
	switch {
	case s.Family == "":
		return bad("family is missing")
	case s.Data.Path == "":
		return bad("data.path is missing")
	case s.From.LoRA.Rank == 0 && (len(s.From.LoRA.Patterns) > 0 || s.From.LoRA.Alpha > 0):
		return bad("from.lora.rank is 0: there are no pairs")
	case s.From.Model == "" && (s.From.After != "" || len(s.From.Also) > 0 || s.From.LoRA.Rank > 0):
		return bad("from.model is missing, and other settings of from are given")
	case (s.Data.Split.By == "time" || s.Data.Split.By == "group") && s.Data.Split.Column == "":
		return bad("data.split.by is %s, and data.split.column is missing", s.Data.Split.By)
	case s.Data.Split.Column != "" && (s.Data.Split.By == "" || s.Data.Split.By == string(data.ByChance)):
		return bad("data.split.column is %q, and data.split.by does not say time or group", s.Data.Split.Column)
	}
	if err := setting.Check(s, s.given); err != nil {
		return err
	}
	for _, r := range s.Train.Rates {
		if !(r.Factor > 0) || math.IsInf(float64(r.Factor), 0) {
			return fault.New("train.spec", fault.Invalid, "train.rates: the factor of pattern %q is %v, it must be above 0", r.Pattern, r.Factor).
				Try("name parameters that are to stay as they are in train.freeze")
		}
	}
	if err := s.Train.Schedule.check(); err != nil {
		return err
	}
	return s.Train.checkUnused(s.given)
}
