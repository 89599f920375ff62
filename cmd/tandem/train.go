package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tandem/family"
	"tandem/fault"
	"tandem/graph/op"
	"tandem/kernel"
	"tandem/train"
)

// trainCmd is `tandem train`. Flags stand above what the spec says.
type trainCmd struct {
	Spec string `arg:"" optional:"" placeholder:"SPEC.yaml" help:"File that describes the run; - is standard input. Flags stand above what it says."`

	Family       string   `help:"Kind of model, such as vision." placeholder:"NAME"`
	Task         string   `help:"What it is to do, such as classify." placeholder:"NAME"`
	Data         string   `help:"Folder of examples, or the name of a built-in set (mnist)." placeholder:"PATH"`
	Name         string   `help:"Name of the run." placeholder:"NAME"`
	Epochs       *int     `help:"Passes over the training set." placeholder:"N"`
	BatchRows    *int     `help:"Examples of one step." placeholder:"N"`
	Seed         *uint64  `help:"Seed: the same one gives the same weights." placeholder:"N"`
	Optimizer    string   `help:"adam, adamw, sgd, lion, adafactor or muon." placeholder:"NAME"`
	LearningRate *float32 `help:"Learning rate." placeholder:"X"`
	LimitRows    *int     `help:"Use only the first N examples for training and for testing: for a quick look." placeholder:"N"`

	Out     string `help:"Directory of the run. Without it: runs/NAME-TIME." placeholder:"DIR"`
	Resume  bool   `help:"Go on with the run in --out, from its last checkpoint."`
	Threads int    `help:"Threads that compute; the result does not depend on it. Without it: all processors." placeholder:"N"`
	Explain bool   `help:"Show the keys of a spec with their defaults, and train nothing."`
}

// Run trains a model.
func (c *trainCmd) Run(ctx context.Context, a *app) error {
	if c.Explain {
		return c.explain(a)
	}
	spec, err := c.spec(a)
	if err != nil {
		return err
	}
	f, err := family.Find(&spec)
	if err != nil {
		return err
	}
	out := c.Out
	if out == "" {
		out = filepath.Join("runs", spec.Name+"-"+time.Now().Format("20060102-150405"))
	}
	threads, err := threadsOr(c.Threads)
	if err != nil {
		return err
	}
	if !c.Resume { // before minutes are spent on reading data
		if _, err := train.ReadRecord(out); err == nil {
			return fault.New("tandem.train", fault.Conflict, "%s holds a run already", out).Try("add --resume to go on with it, or choose another --out")
		}
	}
	p, err := f.Prepare(ctx, spec, op.Default())
	if err != nil {
		return err
	}
	a.say("Run %s: %s images to train on, %s to test with, %d threads (%s)", out, a.msg.Count(p.Train.Len()), a.msg.Count(p.Test.Len()), threads, kernel.Detect())
	record, err := a.train(ctx, p, spec, out, threads, c.Resume)
	if err != nil {
		return err
	}
	return a.trained(record, out)
}

// train runs the job with its progress on show.
func (a *app) train(ctx context.Context, p *train.Problem, spec train.Spec, out string, threads int, resume bool) (*train.Record, error) {
	pool := kernel.NewPool(threads, kernel.Detect())
	defer pool.Close()
	view := newProgress(a)
	defer view.close()
	return train.Run(ctx, p, spec, out, train.Options{Ops: op.Default(), Pool: pool, Resume: resume, Progress: view.update})
}

// trained says how a run ended and what to do with it.
func (a *app) trained(r *train.Record, out string) error {
	if a.json {
		return a.emit(struct {
			Event string `json:"event"`
			Path  string `json:"path"`
			*train.Record
		}{"finished", out, r})
	}
	a.say("accuracy %.4f", r.Metrics["test_accuracy"])
	a.say("Model: %s", filepath.Join(out, train.ModelDir))
	a.say("Digest: %s", r.Artifact)
	a.say("Next: tandem predict %s --input PICTURE, or tandem import %s --name %s --deploy", out, out, modelName(r.Name))
	return nil
}

// spec joins the file, that of the run to resume, and the flags.
func (c *trainCmd) spec(a *app) (train.Spec, error) {
	var s train.Spec
	var err error
	switch {
	case c.Resume && c.Out == "":
		return s, usage("--resume needs --out").with("name the directory of the run: --out runs/NAME")
	case c.Spec != "":
		s, err = readSpec(a, c.Spec)
	case c.Resume:
		s, err = train.ReadSpec(filepath.Join(c.Out, specFile))
		if fault.KindOf(err) == fault.NotFound {
			err = fault.New("tandem.train", fault.NotFound, "there is no run to resume in %s", c.Out).Try("leave out --resume to start one")
		}
	case c.Family == "" || c.Data == "":
		return s, usage("it takes a spec, or --family and --data").with("tandem train --family vision --data mnist")
	}
	if err != nil {
		return s, err
	}
	c.override(&s)
	s.FillDefaults()
	return s, s.Validate()
}

// override puts the flags that were given above the spec.
func (c *trainCmd) override(s *train.Spec) {
	setText(&s.Family, c.Family)
	setText(&s.Task, c.Task)
	setText(&s.Data.Path, c.Data)
	setText(&s.Name, c.Name)
	if c.Optimizer != "" && c.Optimizer != s.Train.Optimizer.Name {
		s.Train.Optimizer = train.OptimizerSpec{Name: c.Optimizer} // with its own defaults
	}
	set(&s.Train.Epochs, c.Epochs)
	set(&s.Train.BatchRows, c.BatchRows)
	set(&s.Train.Seed, c.Seed)
	set(&s.Train.Optimizer.LearningRate, c.LearningRate)
	set(&s.Data.LimitRows, c.LimitRows)
	if s.Name == "" {
		s.Name = modelName(filepath.Base(s.Data.Path))
	}
}

func setText(dst *string, v string) {
	if v != "" {
		*dst = v
	}
}

func set[T any](dst, v *T) {
	if v != nil {
		*dst = *v
	}
}

// specFile is a run's own spec, in its directory.
const specFile = "spec.yaml"

// maxSpecBytes bounds a spec that comes by standard input, as train does a file.
const maxSpecBytes = 1 << 20

func readSpec(a *app, path string) (train.Spec, error) {
	if path != "-" {
		return train.ReadSpec(path)
	}
	text, err := a.read(path, maxSpecBytes)
	if err != nil {
		return train.Spec{}, err
	}
	return train.ParseSpec(text)
}

// modelName makes a name that a server takes out of any text.
func modelName(text string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || b.Len() > 0 && strings.ContainsRune("._-", r) {
			b.WriteRune(r)
		}
	}
	if b.Len() == 0 {
		return "model"
	}
	return b.String()[:min(b.Len(), 63)]
}

// explain prints a spec with every key, and the network of each family.
func (c *trainCmd) explain(a *app) error {
	s := train.Spec{Name: "NAME", Family: "FAMILY", Task: "TASK", Data: train.DataSpec{Path: "PATH"}}
	s.FillDefaults()
	text, err := s.Encode()
	if err != nil {
		return fault.From(err, "tandem.train")
	}
	var shown bool
	for _, f := range family.List() {
		if c.Family != "" && c.Family != f.Name {
			continue
		}
		shown = true
		if a.json {
			if err := a.emit(map[string]any{"family": f.Name, "tasks": f.Tasks, "spec_yaml": string(text), "model_yaml": f.Explain()}); err != nil {
				return err
			}
			continue
		}
		a.say("# A spec with its defaults. Family %s has these tasks: %s", f.Name, strings.Join(f.Tasks, ", "))
		if _, err := fmt.Fprintf(a.out, "%s%s", text, f.Explain()); err != nil {
			return fault.From(err, "tandem.print")
		}
		a.say("%s", specRanges(a))
	}
	if !shown {
		_, err := family.Find(&train.Spec{Family: c.Family})
		return err
	}
	return nil
}

// specRanges says what values the keys take.
func specRanges(a *app) string {
	var b strings.Builder
	for _, l := range []struct{ key, text string }{
		{"data.limit_rows", a.msg.Sprintf("use only the first examples of the training and of the test set; 0: all")},
		{"train.epochs", a.msg.Sprintf("1 to 1000000")},
		{"train.batch_rows", a.msg.Sprintf("1 to 1048576")},
		{"train.seed", a.msg.Sprintf("any whole number; the same one gives the same weights")},
		{"train.optimizer.name", "adam, adamw, sgd, lion, adafactor, muon"},
		{"train.optimizer.learning_rate", a.msg.Sprintf("above 0, at most 100")},
		{"train.optimizer.momentum, nesterov", a.msg.Sprintf("for sgd: 0 to below 1; true or false")},
		{"train.optimizer.weight_decay", a.msg.Sprintf("0 or more")},
		{"train.schedule.name", "constant, linear, cosine, one_cycle, plateau"},
		{"train.schedule.warmup_steps", a.msg.Sprintf("0 or more")},
		{"train.checkpoint_steps", a.msg.Sprintf("steps between checkpoints, besides one after each epoch; at least 1")},
	} {
		fmt.Fprintf(&b, "# %s: %s\n", l.key, l.text)
	}
	return strings.TrimRight(b.String(), "\n")
}

// exists tells whether a path is there, whatever it is.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
