package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"strings"
	"time"
	"unicode"

	"tandem/data"
	"tandem/family"
	"tandem/fault"
	"tandem/graph/op"
	"tandem/internal/setting"
	"tandem/kernel"
	"tandem/model"
	"tandem/train"
)

// trainCmd is `tandem train`. Flags stand above what the spec says.
type trainCmd struct {
	Spec string `arg:"" optional:"" placeholder:"SPEC.yaml" help:"File that describes the run; - is standard input. Flags stand above what it says."`

	Family       *string  `setting:"family" help:"Kind of model, such as vision." placeholder:"NAME"`
	Task         *string  `setting:"task" help:"What it is to do, such as classify." placeholder:"NAME"`
	Data         *string  `setting:"data.path" help:"Folder or file of examples, or the name of a built-in set (mnist)." placeholder:"PATH"`
	Name         *string  `setting:"name" help:"Name of the run." placeholder:"NAME"`
	From         *string  `setting:"from.model" help:"Model to start from: an .onnx file, the directory of a run or of a model, or a model on the server." placeholder:"PATH|NAME[:VERSION]"`
	Epochs       *int     `setting:"train.epochs" help:"Passes over the training set." placeholder:"N"`
	BatchRows    *int     `setting:"train.batch_rows" help:"Examples of one step." placeholder:"N"`
	Seed         *uint64  `setting:"train.seed" help:"Seed: the same one gives the same weights." placeholder:"N"`
	Optimizer    *string  `setting:"train.optimizer.name" help:"adam, adamw, sgd, lion, adafactor or muon." placeholder:"NAME"`
	LearningRate *float32 `setting:"train.optimizer.learning_rate" help:"Learning rate." placeholder:"X"`
	LimitRows    *int     `setting:"data.limit_rows" help:"Use only the first N examples for training and for testing: for a quick look." placeholder:"N"`
	Set          []string `sep:"none" help:"Any setting by its key, such as train.clip_norm=1; as often as needed. --explain lists the keys." placeholder:"KEY=VALUE"`

	Memory *byteSize `help:"Memory that examples may take, such as 512MiB; the result does not depend on it. Without it: 2GiB." placeholder:"SIZE"`

	Out     string `help:"Directory of the run. Without it: runs/NAME-TIME." placeholder:"DIR"`
	Resume  bool   `help:"Go on with the run in --out, from its last checkpoint."`
	Threads int    `help:"Threads that compute; the result does not depend on it. Without it: all processors." placeholder:"N"`
	Explain bool   `help:"Show every setting with its value, where that comes from and what it means, and train nothing."`
}

// Run trains a model.
func (c *trainCmd) Run(ctx context.Context, a *app) (err error) {
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
	if err := spec.Validate(); err != nil {
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
	if err := c.checkOut(out); err != nil {
		return err
	}
	if c.Memory != nil && *c.Memory < 2*data.MinMemoryBytes {
		return usage("%s is %s, it must be at least %s", "--memory", size(int64(*c.Memory)), size(2*data.MinMemoryBytes))
	}
	if err := a.fetchStart(ctx, &spec, out); err != nil {
		return err
	}
	limit, needs := c.memoryLimit(&spec)
	p, err := f.Prepare(ctx, spec, op.Default())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Train.Close()) }()
	a.say("Run %s: %s examples to train on, %s to test with, %d threads (%s)", out, a.msg.Count(p.Train.Len()), a.msg.Count(p.Test.Len()), threads, kernel.Detect())
	a.sayColumns(&p.Artifact)
	record, err := a.train(ctx, p, spec, out, threads, c.Resume, limit, needs)
	if err != nil {
		return err
	}
	return a.trained(record, out)
}

// checkOut refuses a directory that the run cannot have, before minutes are spent on
// reading data.
func (c *trainCmd) checkOut(out string) error {
	const op = "tandem.train"
	if _, err := train.ReadRecord(out); err == nil && !c.Resume {
		return fault.New(op, fault.Conflict, "%s holds a run already", out).Try("add --resume to go on with it, or choose another --out")
	}
	remove := removeNew(out)
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fault.Wrap(err, op, fault.KindOf(err), "the run directory cannot be made").Try("choose another --out")
	}
	remove()
	return nil
}

// removeNew is what removes, of the folders on the way to path, those that are not there
// yet: nothing of a run that is refused stays. One that has become another's, and is no
// longer empty, stays.
func removeNew(path string) (remove func()) {
	var missing []string
	for p := filepath.Clean(path); !exists(p); p = filepath.Dir(p) {
		missing = append(missing, p)
	}
	return func() {
		for _, p := range missing {
			_ = os.Remove(p)
		}
	}
}

// fetchStart brings the model to start from into the run's directory, where it stays, if
// spec names one on the server.
func (a *app) fetchStart(ctx context.Context, spec *train.Spec, out string) error {
	name := spec.From.Model
	if name == "" || isPath(name) {
		return nil
	}
	dir := filepath.Join(out, "from")
	remove := removeNew(dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fault.From(err, "tandem.train")
	}
	m, _, err := a.fetch(ctx, name, dir)
	if err != nil {
		remove()
		return err
	}
	spec.From.Model = dir
	return fault.From(os.WriteFile(filepath.Join(dir, model.ManifestFile), m.Encode(), 0o644), "tandem.train")
}

// memoryLimit is what the run may take besides its examples, in bytes. Of --memory the
// examples may have half. Go's heap has what the program itself and, as needs is told, the
// memory outside the heap leave of it.
func (c *trainCmd) memoryLimit(spec *train.Spec) (limit int64, needs func(train.Memory)) {
	if c.Memory == nil {
		return defaultMemoryBytes(), nil
	}
	all := int64(*c.Memory)
	half := all / 2
	bound := func(m train.Memory) {
		// A limit below what lives makes the collector run all the time.
		debug.SetMemoryLimit(max(all-programBytes()-m.Total(), half))
	}
	bound(train.Memory{})
	spec.Data.MemoryBytes = max(half, 1) // 0 would be the default
	return half, bound
}

// programBytes is what the program's own pages take, once all that training uses is there.
func programBytes() int64 {
	const later = 4 << 20 // pages that are read after this call
	return statusBytes("RssFile:") + later
}

func defaultMemoryBytes() int64 { return int64(memoryShare * float64(machineMemoryBytes())) }

// train runs the job with its progress on show.
func (a *app) train(ctx context.Context, p *train.Problem, spec train.Spec, out string, threads int, resume bool, memoryBytes int64, needs func(train.Memory)) (*train.Record, error) {
	pool := kernel.NewPool(threads, kernel.Detect())
	defer pool.Close()
	view := newProgress(a)
	defer view.close()
	return train.Run(ctx, p, spec, out, train.Options{Ops: op.Default(), Pool: pool, Resume: resume, Progress: view.update, MemoryLimitBytes: memoryBytes, Needs: needs})
}

// trained says how a run ended and what to do with it.
func (a *app) trained(r *train.Record, out string) error {
	page, err := a.report(out)
	if err != nil {
		return err
	}
	if a.json {
		return a.emit(struct {
			Event  string `json:"event"`
			Path   string `json:"path"`
			Report string `json:"report"`
			*train.Record
		}{"finished", out, page, r})
	}
	if v, ok := r.Metrics["test_accuracy"]; ok {
		a.say("accuracy %.4f", v)
	}
	var others []string
	for _, name := range sortedNames(r.Metrics) {
		if short := strings.TrimPrefix(name, "test_"); short != "accuracy" {
			others = append(others, fmt.Sprintf("%s %.4g", short, r.Metrics[name]))
		}
	}
	a.say("Test set: %s", strings.Join(others, ", "))
	a.say("Model: %s", filepath.Join(out, train.ModelDir))
	a.say("Report: %s", page)
	a.say("Digest: %s", r.Artifact)
	example := map[string]string{"vision": "PICTURE", "tabular": "ROWS.csv", "language": "TEXT"}[r.Family]
	a.say("Next: tandem predict %s --input %s, or tandem import %s --name %s --deploy", out, cmp.Or(example, "FILE"), out, modelName(r.Name))
	return nil
}

// spec joins the file, that of the run to resume, and the flags.
func (c *trainCmd) spec(a *app) (train.Spec, error) {
	over, err := c.overrides()
	if err != nil {
		return train.Spec{}, err
	}
	switch {
	case c.Resume && c.Out == "":
		return train.Spec{}, usage("--resume needs --out").with("name the directory of the run: --out runs/NAME")
	case c.Spec == "-":
		return named(train.LoadSpec("-", a.in, over...))
	case c.Spec != "":
		s, err := named(train.ReadSpec(c.Spec, over...))
		if err != nil && fault.RemedyOf(err) == "" {
			remedy := "tandem train --explain lists the keys, their ranges and defaults"
			if ext := filepath.Ext(c.Spec); ext != ".yaml" && ext != ".yml" || errors.Is(err, fs.ErrNotExist) {
				remedy = "SPEC.yaml is a file that describes the run; examples are named by --data"
			}
			err = fault.Wrap(err, "tandem.train", fault.KindOf(err), "").Try(remedy)
		}
		return s, err
	case c.Resume:
		s, err := train.ReadSpec(filepath.Join(c.Out, specFile), over...)
		if fault.KindOf(err) == fault.NotFound {
			err = fault.New("tandem.train", fault.NotFound, "there is no run to resume in %s", c.Out).Try("leave out --resume to start one")
		}
		return s, err
	case !c.Explain && (c.Family == nil || c.Data == nil):
		return train.Spec{}, usage("it takes a spec, or --family and --data").with("tandem train --family vision --data mnist")
	}
	return named(train.LoadSpec("", strings.NewReader(""), over...))
}

// named gives a run that has none the name of its data.
func named(s train.Spec, err error) (train.Spec, error) {
	if err == nil && s.Name == "" && s.Data.Path != "" {
		base := filepath.Base(s.Data.Path)
		s.Name = modelName(strings.TrimSuffix(base, filepath.Ext(base)))
	}
	return s, err
}

// overrides are the settings that flags give: those with a flag of their own, then
// --set.
func (c *trainCmd) overrides() ([]train.Override, error) {
	var all []train.Override
	v := reflect.ValueOf(*c)
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if key := f.Tag.Get("setting"); key != "" && !v.Field(i).IsNil() {
			all = append(all, train.Override{Key: key, Value: fmt.Sprint(v.Field(i).Elem()), By: "--" + flagName(f.Name)})
		}
	}
	for _, s := range c.Set {
		key, value, ok := strings.Cut(s, "=")
		if !ok || key == "" {
			return nil, usage("--set %q is not KEY=VALUE", s).with("--set train.epochs=5")
		}
		if full := fullKey(key); full != "" {
			return nil, usage("--set: the key %s is within another", key).with("--set " + full + "=" + value)
		}
		all = append(all, train.Override{Key: key, Value: value, By: "--set"})
	}
	return all, nil
}

// fullKey is the one setting that ends in a key whose sections were left out; "" if there
// is none, or more than one.
func fullKey(key string) (full string) {
	for _, s := range (train.Spec{}).Settings() {
		switch {
		case s.Key == key:
			return ""
		case strings.HasSuffix(s.Key, "."+key) && full != "":
			return ""
		case strings.HasSuffix(s.Key, "."+key):
			full = s.Key
		}
	}
	return full
}

// flagName writes BatchRows as batch-rows.
func flagName(field string) string {
	var b strings.Builder
	for i, r := range field {
		if i > 0 && unicode.IsUpper(r) {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// specFile is a run's own spec, in its directory.
const specFile = "spec.yaml"

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

// explain prints the spec with every setting, where its value comes from and what it
// means. It is a spec itself.
func (c *trainCmd) explain(a *app) error {
	spec, err := c.spec(a)
	if err != nil {
		return err
	}
	if spec.Family != "" {
		if _, err := family.Find(&spec); err != nil {
			return err
		}
	}
	if a.json {
		for _, s := range spec.Settings() {
			if err := a.emit(a.explained(s)); err != nil {
				return err
			}
		}
		return nil
	}
	for _, f := range family.List() {
		if spec.Family == "" || spec.Family == f.Name {
			a.say("# Family %s has these tasks: %s", f.Name, strings.Join(f.Tasks, ", "))
		}
	}
	_, err = a.out.Write(spec.Explain(a.comment))
	return fault.From(err, "tandem.print")
}

// explained is a setting as --json shows it.
type explained struct {
	Key    string `json:"key"`
	Value  any    `json:"value"`
	Source string `json:"source"` // default, a file, or a flag
	Line   int    `json:"line,omitempty"`
	Range  string `json:"range,omitempty"`
	Help   string `json:"help"`
}

func (a *app) explained(s setting.Setting) explained {
	e := explained{s.Key, s.Plain(), cmp.Or(s.Source.Name, "default"), s.Source.Line, "", a.msg.Text(s.Help)}
	if r := s.Range(); r != nil {
		e.Range, _ = a.msg.Error(r)
	}
	return e
}

// comment says where a value comes from, what it means and what it may be.
func (a *app) comment(s setting.Setting) string {
	e := a.explained(s)
	from := a.msg.Text("default")
	if s.Source.Name != "" {
		from = s.Source.String()
	}
	text := from + "; " + e.Help
	if e.Range != "" {
		text += " (" + e.Range + ")"
	}
	return text
}

// exists tells whether a path is there, whatever it is.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
