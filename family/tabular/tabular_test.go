package tabular

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/data"
	"tandem/fault"
	"tandem/graph/op"
	"tandem/kernel"
	"tandem/nn"
	"tandem/nn/layers"
	"tandem/train"
)

// table is rows whose answers follow from the others.
func table(t *testing.T) string {
	var b strings.Builder
	b.WriteString("x,kind,note,y,z\n")
	for i := range 2000 {
		x, kind := i*7919%100, []string{"up", "down"}[i%2]
		y, z := "low", x
		if (x > 50) == (kind == "up") {
			y = "high"
		}
		if kind == "down" {
			z = -x
		}
		fmt.Fprintf(&b, "%d,%s,note %d,%s,%d\n", x, kind, i, y, z)
	}
	path := filepath.Join(t.TempDir(), "x.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func run(t *testing.T, threads int, path string, m Model, task string) (*train.Record, error) {
	s := train.Spec{Name: "x", Family: "tabular", Task: task, Data: train.DataSpec{Path: path}}
	s.Model.Value = m
	s.Train.Epochs, s.Train.Seed = 15, 1
	if m.Text.Buckets < 4096 { // a small network
		s.Train.Epochs, s.Train.Optimizer.LearningRate = 8, 0.01
	}
	s.FillDefaults()
	p, err := Prepare(t.Context(), s, op.Default())
	if err != nil {
		return nil, err
	}
	defer p.Train.Close()
	pool := kernel.NewPool(threads, kernel.Detect())
	defer pool.Close()
	return train.Run(t.Context(), p, s, filepath.Join(t.TempDir(), "run"), train.Options{Ops: op.Default(), Pool: pool})
}

// TestLearns: both tasks, to the same bits with one thread and two.
func TestLearns(t *testing.T) {
	path := table(t)
	m := defaultModel()
	m.Target, m.Ignore = "y", []string{"note", "z"}
	one, err := run(t, 1, path, m, Classify)
	if err != nil {
		t.Fatal(err)
	}
	if got := one.Metrics["test_accuracy"]; got < 0.95 {
		t.Errorf("accuracy %v", got)
	}
	if two, err := run(t, 2, path, m, Classify); err != nil || two.Artifact != one.Artifact {
		t.Errorf("with two threads other weights: %v", err)
	}
	m.Target, m.Ignore = "z", []string{"note", "y"}
	r, err := run(t, 2, path, m, Regress)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Metrics["test_rmse"]; !(got < 12) { // the numbers lie between -99 and 99
		t.Errorf("rmse %v, %v", got, r.Metrics)
	}
}

// TestLossOfTheSpec: each loss is what training makes small, and weights of classes move
// what is predicted.
func TestLossOfTheSpec(t *testing.T) {
	path := table(t)
	m := defaultModel()
	m.Layers = layers.List{nn.Dense{Units: 8, Activation: nn.ReLU}}
	learn := func(task string, l train.LossSpec) (*train.Record, error) {
		m.Target, m.Ignore = map[string]string{Classify: "y", Regress: "z"}[task], []string{"note", "y", "z"}
		s := train.Spec{Name: "x", Family: "tabular", Task: task, Data: train.DataSpec{Path: path}}
		s.Model.Value, s.Train.Loss = m, l
		s.Train.Epochs, s.Train.Seed = 2, 1
		s.FillDefaults()
		p, err := Prepare(t.Context(), s, op.Default())
		if err != nil {
			return nil, err
		}
		defer p.Train.Close()
		pool := kernel.NewPool(1, kernel.Detect())
		defer pool.Close()
		return train.Run(t.Context(), p, s, filepath.Join(t.TempDir(), "run"), train.Options{Ops: op.Default(), Pool: pool})
	}
	for task, losses := range map[string][]train.LossSpec{
		Regress:  {{}, {Name: "mae"}, {Name: "huber", Delta: 0.2}, {Name: "huber"}, {Name: "quantile", Quantile: 0.9}, {Name: "quantile", Quantile: 0.2}},
		Classify: {{}, {Smoothing: 0.1}, {Focus: 2}, {Weights: map[string]float32{"high": 20}}, {Name: "cross_entropy", Balanced: true, Smoothing: 0.1}},
	} {
		seen := map[string]int{}
		for i, l := range losses {
			r, err := learn(task, l)
			if err != nil {
				t.Fatal(err)
			}
			if j, ok := seen[string(r.Artifact)]; ok {
				t.Errorf("%+v and %+v give the same weights", l, losses[j])
			}
			seen[string(r.Artifact)] = i
			if recall := r.Metrics["test_recall_macro"]; l.Weights != nil && recall > 0.6 {
				t.Errorf("with a class that weighs 20 times the other the mean recall is %v, half is all of it", recall)
			}
		}
	}
	for want, l := range map[string]train.LossSpec{
		"train.loss.name is huber, which is for numbers": {Name: "huber"},
		`names "hgih", which is no class`:                {Weights: map[string]float32{"hgih": 2}},
		"must be above 0":                                {Weights: map[string]float32{"high": 0}},
	} {
		if _, err := learn(Classify, l); err == nil || !strings.Contains(err.Error(), want) || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for want, l := range map[string]train.LossSpec{
		"train.loss.name is cross_entropy, which is for classes": {Name: "cross_entropy"},
		"the target is a number":                                 {Smoothing: 0.1},
	} {
		if _, err := learn(Regress, l); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// reviews are rows of which words and a category of many values, some missing, decide.
func reviews(t *testing.T) string {
	var b strings.Builder
	b.WriteString("text,city,stars,good\n")
	words := [2][]string{{"awful", "broken", "无聊"}, {"lovely", "solid", "精彩"}}
	for i := range 1500 {
		k := i * 7919 % 83
		good := (i + k) % 2
		word, city := words[good][i%3], fmt.Sprintf("city %d", k)
		if i%4 == 0 { // of these the city decides
			word, good = "plain", k%2
		} else if i%9 == 0 {
			city = ""
		}
		fmt.Fprintf(&b, "\"The %s one, number %d of its shelf\",%s,%d,%s\n", word, i, city, i%7, []string{"no", "yes"}[good])
	}
	path := filepath.Join(t.TempDir(), "reviews.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// small is a network for reviews.
func small() Model {
	m := defaultModel()
	m.Target, m.Text = "good", Text{Words: 12, Buckets: 500, Size: 8}
	m.Layers = layers.List{nn.Dense{Units: 16, Activation: nn.ReLU}}
	return m
}

// TestWordsAndCategories: vectors of words and of values of a category decide, to the same
// bits with one thread and two, with features and without; the artifact says what was
// measured in training.
func TestWordsAndCategories(t *testing.T) {
	path := reviews(t)
	m := small()
	one, err := run(t, 1, path, m, Classify)
	if err != nil {
		t.Fatal(err)
	}
	if got := one.Metrics["test_accuracy"]; got < 0.95 {
		t.Errorf("accuracy %v", got)
	}
	if two, err := run(t, 2, path, m, Classify); err != nil || two.Artifact != one.Artifact {
		t.Errorf("with two threads other weights: %v", err)
	}
	m.Ignore = []string{"stars"} // nothing but codes
	if r, err := run(t, 1, path, m, Classify); err != nil || r.Metrics["test_accuracy"] < 0.95 {
		t.Errorf("%v, %v", r, err)
	}
	m.Ignore = []string{"text"} // of three quarters of the rows the city says nothing
	if r, err := run(t, 1, path, m, Classify); err != nil || r.Metrics["test_accuracy"] > 0.9 {
		t.Errorf("without the words: %v, %v", r, err)
	}
}

// TestMissingIsKept: the model keeps which texts stood for a missing value, and a new head on
// it takes them over.
func TestMissingIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.csv")
	text := "x,c,y\n"
	for i := range 40 {
		text += fmt.Sprintf("%d,%s,%s\n", i, []string{"a", "-", "b", "NA"}[i%4], []string{"no", "yes"}[i/20])
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	m := small()
	m.Target = "y"
	s := train.Spec{Name: "x", Family: "tabular", Task: Classify, Data: train.DataSpec{Path: path}}
	s.Model.Value = m
	s.Train.Epochs, s.Train.Seed = 1, 1
	prepared := func(s train.Spec) *train.Problem {
		t.Helper()
		s.FillDefaults()
		p, err := Prepare(t.Context(), s, op.Default())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Train.Close() })
		return p
	}
	if r := prepared(s).Artifact.Rows; !slices.Equal(r.Missing, data.DefaultMissing()) || fmt.Sprint(r.Columns[1].Values) != "[- a b]" {
		t.Errorf("of nothing said: %q, values %q", r.Missing, r.Columns[1].Values)
	}
	s.Data.Missing = []string{"-"}
	p := prepared(s)
	if r := p.Artifact.Rows; !slices.Equal(r.Missing, []string{"-"}) || fmt.Sprint(r.Columns[1].Values) != "[NA a b]" {
		t.Errorf("said: %q, values %q", r.Missing, r.Columns[1].Values)
	}
	pool := kernel.NewPool(1, kernel.Detect())
	defer pool.Close()
	s.FillDefaults()
	dir := filepath.Join(t.TempDir(), "run")
	if _, err := train.Run(t.Context(), p, s, dir, train.Options{Ops: op.Default(), Pool: pool}); err != nil {
		t.Fatal(err)
	}
	m = plainModel()
	m.Target = "y"
	s.Model.Value, s.From.Model, s.Data.Missing = m, dir, nil
	if r := prepared(s).Artifact.Rows; !slices.Equal(r.Missing, []string{"-"}) {
		t.Errorf("of a new head: %q", r.Missing)
	}
	s.Data.Missing = []string{"NA", "-"}
	if r := prepared(s).Artifact.Rows; !slices.Equal(r.Missing, []string{"NA", "-"}) {
		t.Errorf("of a new head on other data: %q", r.Missing)
	}
}

// TestFrom: a new head on a run, whose columns are seen as it saw them though the data
// have other values in another order.
func TestFrom(t *testing.T) {
	path := reviews(t)
	m := small()
	s := train.Spec{Name: "x", Family: "tabular", Task: Classify, Data: train.DataSpec{Path: path}}
	s.Model.Value = m
	s.Train.Epochs, s.Train.Seed, s.Train.Optimizer.LearningRate = 8, 1, 0.01
	s.FillDefaults()
	dir := filepath.Join(t.TempDir(), "first")
	prepared := func(s train.Spec, dir string) (*train.Record, error) {
		p, err := Prepare(t.Context(), s, op.Default())
		if err != nil {
			return nil, err
		}
		defer p.Train.Close()
		pool := kernel.NewPool(2, kernel.Detect())
		defer pool.Close()
		return train.Run(t.Context(), p, s, dir, train.Options{Ops: op.Default(), Pool: pool})
	}
	first, err := prepared(s, dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	other := filepath.Join(t.TempDir(), "other.csv")
	few := lines[0] + "\"The plain one\",a new city,1,yes\n" + strings.Join(lines[200:500], "")
	if err := os.WriteFile(other, []byte(few), 0o644); err != nil {
		t.Fatal(err)
	}
	s.Data.Path, s.From.Model = other, dir
	s.Train.Freeze = []string{"embedding*", "dense1*"}
	m = plainModel()
	m.Target = "good"
	s.Model.Value = m
	tuned, err := prepared(s, filepath.Join(t.TempDir(), "tuned"))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := first.Metrics["test_accuracy"], tuned.Metrics["test_accuracy"]; b < 0.9 {
		t.Errorf("accuracy %v, with a new head on frozen layers %v", a, b)
	}
	for _, tc := range []struct {
		change func(*train.Spec, *Model)
		want   string
	}{
		{func(s *train.Spec, m *Model) { m.Target = "city" }, `takes the target "city" itself`},
		{func(s *train.Spec, m *Model) { s.Data.Columns = map[string]data.Kind{"stars": data.Category} }, `column "stars" is of the kind category`},
		{func(s *train.Spec, m *Model) { s.Data.Path = table(t); m.Target = "y" }, `the data has no column "`},
	} {
		bad, m := s, m
		tc.change(&bad, &m)
		bad.Model.Value = m
		if _, err := Prepare(t.Context(), bad, op.Default()); fault.KindOf(err) == fault.Internal || err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v, want %q", err, tc.want)
		}
	}
}
