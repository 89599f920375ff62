package train

import (
	"context"
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tandem/data"
	"tandem/fault"
	"tandem/tensor"
	"tandem/train/metric"
)

// Callbacks are called from Run's goroutine. An error ends the run as a failure of the
// same kind, with the last checkpoint left to resume from.
type Callbacks struct {
	// Step is called after each step, with its loss before the update.
	Step func(step int, loss float64) error
	// Epoch is called after each epoch's evaluation; true ends training there, as
	// early stopping does.
	Epoch func(Evaluation) (stop bool, err error)
}

// Evaluation is what was measured on the test set after an epoch.
type Evaluation struct {
	Metric
	Best bool // better than all before, by train.monitor
	// Classes has the confusion matrix and each class of classifiers; nil for others.
	Classes *metric.Classes
	// Parameter is the current value of a parameter: memory that the next step
	// changes.
	Parameter func(name string) (*tensor.Tensor, bool)
}

// Report is evaluation.json: more about the evaluation that counts.
type Report struct {
	Epoch     int            `json:"epoch"`
	Labels    []string       `json:"labels,omitempty"`
	Classes   []metric.Class `json:"classes,omitempty"`
	Confusion [][]int64      `json:"confusion,omitempty"` // by label, then by prediction
}

// ReadReport reads evaluation.json of a run directory; there is none before the first
// evaluation.
func ReadReport(dir string) (*Report, error) {
	text, err := os.ReadFile(filepath.Join(dir, reportFile))
	if err != nil {
		return nil, fault.From(err, "train.readReport")
	}
	var r Report
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fault.Wrap(err, "train.readReport", fault.Corrupt, "%s", filepath.Join(dir, reportFile))
	}
	return &r, nil
}

// scorer adds up a problem's metrics over the test set.
type scorer struct {
	kind    metric.Kind
	classes *metric.Classes
	values  *metric.Values
}

// width is the size of the last dimension of the network's output, or 1 for a vector.
func (p *Problem) width() int {
	shape := p.Graph.Outputs[0].Type.Shape
	if len(shape) < 2 {
		return 1
	}
	n, _ := shape[len(shape)-1].Value()
	return max(n, 1)
}

// labels is how many labels an example has: one, or one for each step.
func (p *Problem) labels() int {
	n := 1
	for _, d := range p.Target.Shape[min(1, len(p.Target.Shape)):] {
		if size, ok := d.Value(); ok {
			n *= size
		}
	}
	return n
}

// weight is what the loss of a batch counts for among others: the sum of its rows' weights.
func (p *Problem) weight(target *tensor.Tensor) float64 {
	if p.Weights == nil {
		return float64(target.Dim(0))
	}
	sum := 0.0
	for _, label := range target.I64() {
		sum += float64(p.Weights[label])
	}
	return sum
}

func (p *Problem) newScorer(topK int) *scorer {
	s := &scorer{kind: p.Metrics}
	switch p.Metrics {
	case metric.Labels:
		s.classes = metric.NewClasses(p.width(), topK)
	case metric.Numbers:
		s.values = metric.NewValues(p.width())
	}
	return s
}

// wantsOutput tells whether the network's output is needed for the metrics.
func (p *Problem) wantsOutput() bool {
	return p.Metrics == metric.Labels || p.Metrics == metric.Numbers
}

func (s *scorer) add(output, target *tensor.Tensor) {
	switch {
	case s.classes != nil:
		s.classes.Add(output.F32(), target.I64())
	case s.values != nil:
		s.values.Add(output.F32(), target.F32())
	}
}

func (s *scorer) result(loss float64) map[string]float64 {
	switch {
	case s.classes != nil:
		return s.classes.Values()
	case s.values != nil:
		return s.values.Values()
	case s.kind == metric.Tokens:
		return metric.OfTokens(loss)
	}
	return nil
}

// checkMonitor refuses to train by a metric that the run does not measure.
func (t *trainer) checkMonitor() error {
	names := t.p.Metrics.Names(t.p.width())
	if t.p.Metrics == metric.None {
		names = append(names, "accuracy")
	}
	if slices.Contains(names, t.spec.Train.Monitor) {
		return t.checkDefined()
	}
	return fault.New("train.run", fault.Invalid, "train.monitor is %q, which this run does not measure", t.spec.Train.Monitor).
		Try("use one of: " + strings.Join(names, ", "))
}

// checkDefined refuses to train by a metric that the test set leaves undefined, before an
// epoch is spent on finding out.
func (t *trainer) checkDefined() error {
	switch name := t.spec.Train.Monitor; {
	case name == "r2" && t.p.Test.Len() < 2:
		return t.undefined()
	case name == "auc" && t.p.Metrics == metric.Labels:
		seen := map[int64]bool{}
		feed := newFeeder(t.p, evaluationRows, t.opt.Pool.Threads())
		feed.start(t.p.Test, data.Pass{})
		defer feed.stop()
		for left := t.p.Test.Len(); left > 0 && len(seen) < t.p.width(); {
			b, err := feed.next()
			if err != nil {
				return err
			}
			for _, label := range b.target().I64() {
				seen[label] = true
			}
			left -= b.Len()
			feed.release(b)
		}
		if len(seen) < t.p.width() {
			return t.undefined()
		}
	}
	return nil
}

// undefined is the error of a metric that the test set leaves undefined.
func (t *trainer) undefined() error {
	remedy := "give the test set examples of every class, or monitor another metric"
	if t.p.Metrics == metric.Numbers {
		remedy = "give the test set at least two examples, or monitor another metric"
	}
	return fault.New("train.run", fault.Invalid, "train.monitor is %s, which is not defined on this test set", t.spec.Train.Monitor).Try(remedy)
}

// endEpoch evaluates on the test set, and keeps what is best.
func (t *trainer) endEpoch(ctx context.Context, epoch int) error {
	score := t.p.newScorer(t.spec.Train.TopK)
	m, err := t.evaluate(ctx, epoch, score)
	if err != nil {
		return err
	}
	t.epoch = tally{since: time.Now()}
	monitored, err := t.monitored(m)
	if err != nil {
		return err
	}
	t.tests = append(t.tests, monitored)
	best, keep := isBest(t.tests), t.spec.Train.KeepBest
	if !keep || best {
		t.record.Metrics = m.named()
		if err := t.writeReport(m.Epoch, score); err != nil {
			return err
		}
	}
	if keep && best {
		if err := t.saveBest(); err != nil {
			return err
		}
	}
	if err := t.append(m); err != nil {
		return err
	}
	if t.opt.Callbacks.Epoch == nil {
		return nil
	}
	stop, err := t.opt.Callbacks.Epoch(Evaluation{Metric: m, Best: best, Classes: score.classes, Parameter: t.step.State})
	t.stopped = t.stopped || stop
	return err
}

func (t *trainer) evaluate(ctx context.Context, epoch int, score *scorer) (Metric, error) {
	sum := tally{since: time.Now()}
	outs := []*tensor.Tensor{tensor.New(tensor.Float32), tensor.New(tensor.Int64)}
	var room *tensor.Tensor
	if t.p.wantsOutput() {
		room = newRows(t.p.Graph.Outputs[0].Type, evaluationRows)
		outs = append(outs, room)
	}
	feed := newFeeder(t.p, evaluationRows, t.opt.Pool.Threads())
	feed.start(t.p.Test, data.Pass{})
	defer feed.stop()
	steps := (t.p.Test.Len() + evaluationRows - 1) / evaluationRows
	for i := range steps {
		b, err := feed.next()
		if err != nil {
			return Metric{}, err
		}
		if room != nil {
			outs[2] = room.Rows(0, b.Len())
		}
		if _, err := t.eval.Run(context.WithoutCancel(ctx), b.fed, outs); err != nil {
			return Metric{}, err
		}
		sum.add(float64(outs[0].F32()[0]), t.p.weight(b.target()), int(outs[1].I64()[0]), b.Len())
		if room != nil {
			score.add(outs[2], b.target())
		}
		feed.release(b)
		t.show(Progress{Phase: Evaluating, Epoch: epoch + 1, Step: i + 1, Steps: steps, Loss: sum.mean()}, &sum)
	}
	m := sum.metric("test", epoch+1, t.done, t.p.labels())
	if math.IsNaN(m.Loss) || math.IsInf(m.Loss, 0) {
		return Metric{}, fault.New("train.evaluate", fault.Invalid, "the loss of the test set after epoch %d is %v", epoch+1, m.Loss).Try(divergedRemedy)
	}
	m.Values = score.result(m.Loss)
	maps.DeleteFunc(m.Values, func(_ string, v float64) bool { return math.IsInf(v, 0) }) // a perplexity beyond float64
	if t.p.Metrics == metric.Numbers {
		m.Accuracy = 0
	}
	return m, nil
}

// named are the metrics of the test set by the names that records have.
func (m Metric) named() map[string]float64 {
	all := map[string]float64{"test_loss": m.Loss}
	for name, v := range m.Values {
		all["test_"+name] = v
	}
	if _, numbers := m.Values["rmse"]; !numbers {
		all["test_accuracy"] = m.Accuracy
	}
	return all
}

// monitored is what early stopping, the best weights and plateaus go by: lower is
// better.
func (t *trainer) monitored(m Metric) (float64, error) {
	name := t.spec.Train.Monitor
	v, ok := m.named()["test_"+name]
	if !ok || math.IsNaN(v) {
		return 0, t.undefined()
	}
	if metric.HigherIsBetter(name) {
		return -v, nil
	}
	return v, nil
}

func (t *trainer) writeReport(epoch int, score *scorer) error {
	r := Report{Epoch: epoch, Labels: t.p.Artifact.Labels}
	if score.classes != nil {
		r.Classes, r.Confusion = score.classes.PerClass(), score.classes.Confusion
	}
	text, err := json.Marshal(r)
	if err == nil {
		err = writeDurably(filepath.Join(t.dir, reportFile), func(f *os.File) error { _, err := f.Write(append(text, '\n')); return err })
	}
	return fault.From(err, "train.evaluate")
}
