package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tandem/data"
	"tandem/fault"
	"tandem/graph"
	"tandem/graph/pass"
	"tandem/internal/blob"
	"tandem/internal/setting"
	"tandem/kernel"
	"tandem/model"
	"tandem/tensor"
	"tandem/train/metric"
)

// Options are what Run needs besides the problem and the spec. None of them
// changes the weights that come out, but for the instruction tier of Pool.
type Options struct {
	Ops  *graph.Table
	Pool *kernel.Pool
	// Resume goes on with the run in the directory instead of starting one.
	Resume bool
	// MemoryLimitBytes is what the run may take: one that needs more is refused before
	// it starts. 0 is no limit.
	MemoryLimitBytes int64
	// Needs, if given, is told what the run will take before it starts, where there is a
	// limit.
	Needs func(Memory)
	Callbacks
	// Progress, if given, is called from Run's goroutine several times a second.
	Progress func(Progress)
}

// Phase is what a run is doing.
type Phase string

const (
	Training   Phase = "train"
	Evaluating Phase = "evaluate"
	Saving     Phase = "save"
)

// Progress is where a run stands.
type Progress struct {
	Phase         Phase
	Epoch, Epochs int // from 1
	Step, Steps   int // within the epoch, or of the evaluation
	Loss          float64
	Accuracy      float64 // of this epoch so far, of what has labels
	Labelled      bool
	RowsPerSecond float64
	Remaining     time.Duration // for the whole run
}

const (
	logSteps         = 20 // steps that a line of metrics covers
	progressInterval = 100 * time.Millisecond
	evaluationRows   = 250
)

// trainer is a run under way.
type trainer struct {
	p    *Problem
	spec Spec
	dir  string
	opt  Options

	record  *Record
	metrics *os.File
	step    *Stepper
	eval    *graph.Session
	feed    *feeder // of batches to train on

	done     int // steps
	perEpoch int // steps
	total    int // steps
	window   tally
	epoch    tally
	tests    []float64 // what is monitored, of the epochs done: lower is better
	stopped  bool      // by a callback
	shown    time.Time
	started  time.Time
	from     int // steps done when this process began

	trainedBefore int64 // milliseconds, by earlier processes
}

// tally adds up what steps report.
type tally struct {
	Loss    float64 `json:"loss"`   // sum over rows, each by its weight
	Weight  float64 `json:"weight"` // of all rows
	Correct int     `json:"correct"`
	Rows    int     `json:"rows"`
	since   time.Time
	before  int // rows that were counted before since, by an earlier process
}

// begin starts the clock.
func (t *tally) begin() { t.since, t.before = time.Now(), t.Rows }

// rate is in rows per second.
func (t *tally) rate(now time.Time) float64 {
	return float64(t.Rows-t.before) / max(now.Sub(t.since).Seconds(), 1e-9)
}

func (t *tally) add(loss, weight float64, correct, rows int) {
	t.Loss += loss * weight
	t.Weight += weight
	t.Correct += correct
	t.Rows += rows
}

// mean is the loss of all rows.
func (t *tally) mean() float64 {
	if t.Weight == 0 {
		return 0
	}
	return t.Loss / t.Weight
}

// metric is the tally of rows with so many labels each.
func (t *tally) metric(kind string, epoch, step, labels int) Metric {
	now, rows := time.Now(), float64(max(t.Rows, 1))
	return Metric{
		Kind: kind, Epoch: epoch, Step: step, Time: now.UTC().Truncate(time.Millisecond),
		Loss: t.mean(), Accuracy: float64(t.Correct) / rows / float64(labels), RowsPerSecond: t.rate(now),
	}
}

// Run trains p as spec says and leaves everything about it in dir. When ctx ends,
// the run stops with a checkpoint and the error's remedy says how to go on.
func Run(ctx context.Context, p *Problem, spec Spec, dir string, opt Options) (*Record, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	t := &trainer{p: p, spec: spec, dir: dir, opt: opt}
	t.perEpoch = (p.Train.Len() + spec.Train.BatchRows - 1) / spec.Train.BatchRows
	t.total = t.perEpoch * spec.Train.Epochs
	if t.total == 0 || p.Test.Len() == 0 {
		return nil, fault.New("train.run", fault.Invalid, "%d training and %d test examples: both must have some", p.Train.Len(), p.Test.Len())
	}
	if err := t.check(); err != nil {
		return nil, err
	}
	unlock, err := t.openDir()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if t.record.Status == Succeeded {
		return t.record, nil
	}
	err = t.train(ctx)
	if err != nil {
		t.record.Status, t.record.Error = Failed, said(err)
		switch fault.KindOf(err) {
		case fault.Canceled, fault.Deadline:
			t.record.Status, t.record.Error = Stopped, ""
		case fault.NoSpace:
			err = fault.Wrap(err, "train.run", fault.NoSpace, "").Try("make room, then " + t.resumeCommand())
		}
	}
	return t.record, errors.Join(err, fault.From(t.record.write(dir), "train.run"))
}

// said is an error as people read it: without the operation, with the remedy.
func said(err error) string {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return err.Error()
	}
	if remedy := fault.RemedyOf(e); remedy != "" {
		return e.Message() + " (" + remedy + ")"
	}
	return e.Message()
}

// isaSeparator parts the instruction tiers of a run that went on elsewhere.
const isaSeparator = ", "

// openDir creates the run directory, or checks that the one to resume is of the
// same spec and data.
func (t *trainer) openDir() (unlock func(), err error) {
	const op = "train.run"
	text := t.spec.Encode()
	if err := os.MkdirAll(filepath.Join(t.dir, checkpointDir), 0o755); err != nil {
		return nil, fault.Wrap(err, op, fault.KindOf(err), "the run directory cannot be made").Try("choose another --out")
	}
	release, err := lock(t.dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			release()
		}
	}()
	digest, err := t.dataDigest()
	if err != nil {
		return nil, err
	}
	from, err := t.fromDigest()
	if err != nil {
		return nil, err
	}
	old, err := ReadRecord(t.dir)
	switch {
	case err == nil && !t.opt.Resume:
		return nil, fault.New(op, fault.Conflict, "%s holds a run already", t.dir).Try("add --resume to go on with it, or choose another --out")
	case err != nil && fault.KindOf(err) != fault.NotFound:
		return nil, err
	case err == nil && old.Spec != blob.Sum(text):
		return nil, t.otherSpec(text)
	case err == nil && old.Data != digest:
		return nil, fault.New(op, fault.Conflict, "the run in %s was trained on other data", t.dir).Try("resume with the same data")
	case err == nil && old.From != "" && old.From != from:
		return nil, fault.New(op, fault.Conflict, "the run in %s started from another model than %s is now", t.dir, t.spec.From.Model).Try("put that model back, or start a new run")
	case err == nil:
		t.record = old
	case t.opt.Resume:
		return nil, fault.New(op, fault.NotFound, "there is no run to resume in %s", t.dir).Try("leave out --resume to start one")
	default:
		created := time.Now().UTC().Truncate(time.Millisecond)
		t.record = &Record{
			ID: filepath.Base(t.dir), Name: t.spec.Name, Family: t.spec.Family, Task: t.spec.Task,
			Seed: t.spec.Train.Seed, Spec: blob.Sum(text), Data: digest, From: from, Created: created,
		}
		if err := writeDurably(filepath.Join(t.dir, specFile), func(f *os.File) error { _, err := f.Write(text); return err }); err != nil {
			return nil, fault.From(err, op)
		}
	}
	if t.record.Status != Succeeded {
		t.record.Status, t.record.Error = Running, ""
		t.record.Threads = t.opt.Pool.Threads()
		if isa := t.opt.Pool.ISA().String(); t.record.Steps == 0 {
			t.record.ISA = isa
		} else if !slices.Contains(strings.Split(t.record.ISA, isaSeparator), isa) {
			t.record.ISA += isaSeparator + isa
		}
	}
	return release, fault.From(t.record.write(t.dir), op)
}

// otherSpec says where the spec, which is text, differs from that of the run to resume.
func (t *trainer) otherSpec(text []byte) error {
	const op, remedy = "train.run", "resume with the spec.yaml in that directory, or start a new run from its model by --from"
	path := filepath.Join(t.dir, specFile)
	old, err := os.ReadFile(path)
	if err != nil {
		return fault.Wrap(err, op, fault.Conflict, "the run in %s has another spec", t.dir).Try(remedy)
	}
	there, errThere := setting.Parse(path, old)
	here, errHere := setting.Parse("", text)
	key, inThere, inHere := setting.Difference(there, here)
	if errThere != nil || errHere != nil || inThere == inHere {
		return fault.New(op, fault.Conflict, "the run in %s has another spec", t.dir).Try(remedy)
	}
	return fault.New(op, fault.Conflict, "the run in %s has another spec: %s is %.200q there, and %.200q here", t.dir, key, inThere, inHere).Try(remedy)
}

// dataDigest identifies all examples.
func (t *trainer) dataDigest() (model.Digest, error) {
	a, err := t.p.Train.Digest()
	if err != nil {
		return "", err
	}
	b, err := t.p.Test.Digest()
	return blob.Sum([]byte(a.String() + "\n" + b.String())), err
}

// fromDigest identifies what a run takes from the model that it starts from and does not
// train: no checkpoint has it.
func (t *trainer) fromDigest() (model.Digest, error) {
	if t.spec.From.Model == "" {
		return "", nil
	}
	trained, err := t.spec.Train.trainable(t.p.Params)
	if err != nil {
		return "", err
	}
	var parts []string
	for _, v := range t.p.Graph.Constants() {
		if slices.Contains(trained, v) || v.Const.DType == tensor.String {
			continue
		}
		x, err := v.Const.Tensor()
		if err != nil {
			return "", fault.From(err, "train.run")
		}
		parts = append(parts, fmt.Sprint(v.Name, x.DType(), x.Shape(), blob.Sum(x.Bytes())))
	}
	a := t.p.Artifact
	text, err := json.Marshal([]any{parts, a.Image, a.Rows, a.Text})
	return blob.Sum(text), fault.From(err, "train.run")
}

// check refuses what can be known to fail before anything is written: the directory is
// free for the corrected run.
func (t *trainer) check() error {
	if err := t.checkMonitor(); err != nil {
		return err
	}
	if err := t.spec.Train.checkPatterns(t.p.Params); err != nil {
		return err
	}
	if every := t.spec.Train.AccumulateSteps; every > t.total {
		return fault.New("train.run", fault.Invalid, "train.accumulate_steps is %d, and the run has %d batches: it would never change a weight", every, t.total).
			Try("lower train.accumulate_steps or train.batch_rows, or train for more epochs")
	}
	if err := t.checkBatchNorm(); err != nil {
		return err
	}
	return t.checkMemory()
}

// checkBatchNorm refuses a batch in which a channel has one value: what is normalised by
// it is 0 whatever it was, and its variance would go into the running average.
func (t *trainer) checkBatchNorm() error {
	rows := t.spec.Train.rows(t.p)
	if last := t.p.Train.Len() % rows; last != 0 {
		rows = last
	}
	for _, n := range t.p.Graph.Nodes {
		if n.Op != (graph.OpID{Name: "BatchNormalization"}) || rows > 1 {
			continue
		}
		if s := n.Inputs[0].Type.Shape; len(s) == 2 || len(s) > 2 && s[2:].Len().Equal(graph.Const(1)) {
			return fault.New("train.run", fault.Invalid, "the last batch of an epoch has one example, of %d, which batch_norm cannot normalise", t.p.Train.Len()).
				Try("set train.batch_rows to another number, or take batch_norm out of model.layers")
		}
	}
	return nil
}

func (t *trainer) train(ctx context.Context) (err error) {
	if err := t.compile(); err != nil {
		return err
	}
	defer t.step.Close()
	defer t.eval.Close()
	if err := t.restore(); err != nil {
		return err
	}
	t.metrics, err = os.OpenFile(filepath.Join(t.dir, metricsFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fault.From(err, "train.run")
	}
	defer t.metrics.Close()
	t.started, t.from, t.trainedBefore = time.Now(), t.done, t.record.TrainedMS
	t.feed = newFeeder(t.p, t.spec.Train.rows(t.p), t.opt.Pool.Threads())
	for t.done < t.total && !(t.done%t.perEpoch == 0 && (t.stopped || t.spec.Train.stopsEarly(t.tests))) {
		if err := t.trainEpoch(ctx, t.done/t.perEpoch); err != nil {
			return err
		}
	}
	return t.finish()
}

// trainEpoch does the steps of an epoch that were not done yet, and evaluates.
func (t *trainer) trainEpoch(ctx context.Context, epoch int) error {
	first := t.done % t.perEpoch
	t.feed.start(t.p.Train, data.Pass{Shuffle: true, Seed: t.spec.Train.Seed, Epoch: epoch, Skip: first})
	defer t.feed.stop()
	t.window.begin()
	t.epoch.begin()
	for i := first; i < t.perEpoch; i++ {
		if err := t.trainStep(ctx, epoch); err != nil {
			return err
		}
		if i+1 == t.perEpoch {
			if err := t.endEpoch(ctx, epoch); err != nil {
				return err
			}
		}
		if t.done%t.spec.Train.CheckpointSteps == 0 || i+1 == t.perEpoch {
			if err := t.checkpoint(); err != nil {
				return err
			}
		}
	}
	return nil
}

// compile makes the two programs; they share the parameters' memory.
func (t *trainer) compile() (err error) {
	if t.step, err = NewStepper(t.p, t.spec.Train, t.opt.Ops, t.opt.Pool); err != nil {
		return err
	}
	g, err := evaluationGraph(t.p, t.opt.Ops, t.step.state)
	if err != nil {
		return fault.Wrap(err, "train.compile", fault.Internal, "the evaluation cannot be built")
	}
	prog, err := graph.Compile(g, graph.Options{Ops: t.opt.Ops, Pool: t.opt.Pool, Passes: pass.Evaluation()})
	if err != nil {
		return err
	}
	t.eval, err = prog.NewSession()
	return err
}

func (t *trainer) trainStep(ctx context.Context, epoch int) error {
	b, err := t.feed.next()
	if err != nil {
		return err
	}
	defer t.feed.release(b)
	rate := t.spec.Train.rate(t.done, t.total, t.tests)
	if err := ctx.Err(); err != nil {
		return t.stop(err)
	}
	// A step is never cut short: state that is half updated could not be resumed.
	loss, correct, err := t.step.Step(context.WithoutCancel(ctx), t.done+1, rate, b.inputs(), b.target())
	if err != nil {
		return err
	}
	t.done++
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return t.diverged(ctx, epoch, loss)
	}
	weight := t.p.weight(b.target())
	t.window.add(loss, weight, correct, b.Len())
	t.epoch.add(loss, weight, correct, b.Len())
	if t.opt.Callbacks.Step != nil {
		if err := t.opt.Callbacks.Step(t.done, loss); err != nil {
			return err
		}
	}
	if t.done%logSteps == 0 || t.done%t.perEpoch == 0 {
		if err := t.log("train", epoch, rate); err != nil {
			return err
		}
	}
	t.show(Progress{Phase: Training, Epoch: epoch + 1, Step: (t.done-1)%t.perEpoch + 1, Steps: t.perEpoch, Loss: loss}, &t.epoch)
	return nil
}

// stop leaves a checkpoint before giving up.
func (t *trainer) stop(cause error) error {
	if err := t.checkpoint(); err != nil {
		return err
	}
	return fault.New("train.run", fault.KindOf(cause), "stopped after step %d of %d", t.done, t.total).
		Try(t.resumeCommand())
}

func (t *trainer) resumeCommand() string {
	return fmt.Sprintf("tandem train %s --out %s --resume", filepath.Join(t.dir, specFile), t.dir)
}

// log writes the window's line of metrics and starts the next window.
func (t *trainer) log(kind string, epoch int, rate float32) error {
	m := t.window.metric(kind, epoch+1, t.done, t.p.labels())
	m.LearningRate = rate
	t.window = tally{since: time.Now()}
	return t.append(m)
}

func (t *trainer) append(m Metric) error {
	line, err := json.Marshal(m)
	if err != nil {
		return fault.From(err, "train.log")
	}
	_, err = t.metrics.Write(append(line, '\n'))
	return fault.From(err, "train.log")
}

// show reports progress, but not more often than people can read; the last step of
// a phase always.
func (t *trainer) show(p Progress, sum *tally) {
	now := time.Now()
	if t.opt.Progress == nil || now.Sub(t.shown) < progressInterval && p.Step != p.Steps {
		return
	}
	t.shown = now
	p.Epochs = t.spec.Train.Epochs
	p.Accuracy, p.Labelled = float64(sum.Correct)/float64(max(sum.Rows, 1)*t.p.labels()), t.p.Metrics != metric.Numbers
	p.RowsPerSecond = sum.rate(now)
	if steps := t.done - t.from; steps > 0 {
		p.Remaining = now.Sub(t.started) / time.Duration(steps) * time.Duration(t.total-t.done)
	}
	t.opt.Progress(p)
}

// finish writes the artifact and closes the record.
func (t *trainer) finish() error {
	if t.opt.Progress != nil {
		n := t.spec.Train.Epochs
		t.opt.Progress(Progress{Phase: Saving, Epoch: n, Epochs: n, Labelled: t.p.Metrics != metric.Numbers, Accuracy: t.record.Metrics["test_accuracy"], Loss: t.record.Metrics["test_loss"]})
	}
	a := t.p.Artifact
	a.Family, a.Task, a.Metrics = t.spec.Family, t.spec.Task, t.record.Metrics
	state := t.step.state
	if t.spec.Train.KeepBest {
		best, err := t.best()
		if err != nil {
			return err
		}
		defer best.Close()
		state = map[string]*tensor.Tensor{}
		for _, s := range best.Tensors {
			state[s.Name] = s.Tensor
		}
	}
	var err error
	if a.Graph, err = t.p.trained(state); err != nil {
		return err
	}
	a.Lineage = model.Lineage{Spec: string(t.record.Spec), Data: t.record.Data, Seed: t.spec.Train.Seed}
	dir := filepath.Join(t.dir, ModelDir)
	// A crash after the artifact and before the record leaves one behind.
	if err := os.RemoveAll(dir); err != nil {
		return fault.From(err, "train.finish")
	}
	digest, err := model.Write(dir, a)
	if err != nil {
		return err
	}
	finished := time.Now().UTC().Truncate(time.Millisecond)
	t.record.Artifact, t.record.Status, t.record.Finished = digest, Succeeded, &finished
	return nil
}
