package tabular

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/data"
	"tandem/fault"
	"tandem/graph/op"
	"tandem/train"
)

// TestBrokenTargets: rows whose label is not there, of another kind or no number, and
// columns that are not there, stop the run before it begins.
func TestBrokenTargets(t *testing.T) {
	rows := "a,b,y\n" + strings.Repeat("1,x,no\n2,z,yes\n", 30)
	numbers := "a,y\n" + strings.Repeat("1,0.5\n2,1.5\n", 30)
	for _, c := range []struct {
		name, text, test, task string
		change                 func(*Model, *train.Spec)
		kind                   fault.Kind
		says                   []string
	}{
		{"no target", rows, "", Classify, func(m *Model, _ *train.Spec) { m.Target = "" }, fault.Invalid, []string{"model.target is missing"}},
		{"no such column", rows, "", Classify, func(m *Model, _ *train.Spec) { m.Target = "label" }, fault.NotFound, []string{`no column "label"`, `"y"`}},
		{"no such column to ignore", rows, "", Classify, func(m *Model, _ *train.Spec) { m.Ignore = []string{"c"} }, fault.NotFound, []string{`model.ignore names column "c"`}},
		{"a part that holds nothing out", rows, "", Classify, func(_ *Model, s *train.Spec) { s.Data.Split.Test = 0.001 }, fault.Invalid, []string{"data.split.test is 0.001", "of 60 examples"}},
		{"nothing but the target", "y\n" + strings.Repeat("no\nyes\n", 30), "", Classify, nil, fault.Invalid, []string{`no column beside the target "y"`}},
		{"a missing label", rows + "1,x,\n", "", Classify, nil, fault.Invalid, []string{"1 rows have no value of the target \"y\""}},
		{"a label that is NaN", numbers + "1,NaN\n", "", Regress, nil, fault.Invalid, []string{"1 rows have no value of the target \"y\""}},
		{"a label that is infinite", numbers + "1,inf\n", "", Regress, nil, fault.Invalid, []string{"line 62", `column "y"`, `"inf" is not of the kind float`}},
		{"a label that is a text", numbers + "1,x\n", "", Regress, nil, fault.Invalid, []string{"line 62", `column "y"`, `"x" is not of the kind float`}},
		{"one class", "a,y\n" + strings.Repeat("1,no\n", 60), "", Classify, nil, fault.Invalid, []string{`the target "y" has one value, "no"`}},
		{"a class for each row", "a,y\n1,a\n2,b\n3,c\n4,d\n5,e\n", "", Classify, nil, fault.Invalid, []string{`column "y" has 5 classes in 5 rows`}},
		{"a column without values", "a,b,y\n" + strings.Repeat(",x,no\n,z,yes\n", 30), "", Classify, nil, fault.Invalid, []string{`column "a" has no values`}},
		{"numbers without values", "a,b,y\n" + strings.Repeat(",x,no\n,z,yes\n", 30), "", Classify, func(_ *Model, s *train.Spec) { s.Data.Columns = map[string]data.Kind{"a": data.Float} }, fault.Invalid, []string{`column "a" has no values`}},
		{"a number of which float32 sees one value", "a,y\n" + strings.Repeat("1,1000000000\n2,1000000003\n", 30), "", Regress, nil, fault.Invalid, []string{`the target "y" has the mean 1`, "differ by 64"}},
		{"a number beyond float32", "a,y\n" + strings.Repeat("1,1e39\n2,2\n", 30), "", Regress, nil, fault.Invalid, []string{`the target "y" goes up to 1e+39`}},
		{"a number beyond float32 to test with", numbers, "a,y\n1,1e39\n", Regress, nil, fault.Invalid, []string{`the target "y" goes up to 1e+39`}},
		{"a number below float32", "a,y\n" + strings.Repeat("1,1e-42\n2,2e-42\n", 30), "", Regress, nil, fault.Invalid, []string{"has the deviation 5e-43"}},
		{"long classes", "a,y\n" + strings.Repeat("1,"+strings.Repeat("no", 3000)+"\n2,yes\n", 30), "", Classify, nil, fault.TooLarge, []string{`of the target "y" has 6000 bytes`}},
		{"a long name", strings.Repeat("a", 5000) + ",y\n" + strings.Repeat("1,no\n2,yes\n", 30), "", Classify, func(_ *Model, s *train.Spec) { s.Data.Header = "yes" }, fault.TooLarge, []string{"the name of column", "has 5000 bytes"}},
		{"a target of another kind", rows, "", Classify, func(_ *Model, s *train.Spec) { s.Data.Columns = map[string]data.Kind{"y": data.Text} }, fault.Invalid, []string{`the target "y"`}},
		{"a test set without the target", rows, "a,b\n1,x\n", Classify, nil, fault.Invalid, []string{`test.csv lacks columns of train.csv: ["y"]`}},
		{"a label that is missing in the test set", rows, "a,b,y\n1,x,\n", Classify, nil, fault.Invalid, []string{"1 rows have no value of the target \"y\""}},
		{"no table", rows, "", Classify, func(_ *Model, s *train.Spec) {
			s.Data.Format, s.Data.Window = data.FormatTokens, 4
		}, fault.Invalid, []string{"train.csv is no table"}},
		{"a test set that is not there", rows, "-", Classify, nil, fault.NotFound, []string{"test.csv"}},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "train.csv")
		if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		s := train.Spec{Family: "tabular", Task: c.task}
		s.Data.Path = path
		if c.test != "" {
			if s.Data.TestPath = filepath.Join(dir, "test.csv"); c.test != "-" {
				if err := os.WriteFile(s.Data.TestPath, []byte(c.test), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		m := defaultModel()
		m.Target = "y"
		if c.change != nil {
			c.change(&m, &s)
		}
		s.Model.Value = m
		s.FillDefaults()
		p, err := Prepare(t.Context(), s, op.Default())
		if err == nil {
			_ = p.Train.Close()
		}
		if fault.KindOf(err) != c.kind || fault.RemedyOf(err) == "" {
			t.Errorf("%s: %v (%v), try %q", c.name, err, fault.KindOf(err), fault.RemedyOf(err))
			continue
		}
		for _, says := range c.says {
			if !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v does not say %q", c.name, err, says)
			}
		}
	}
}
