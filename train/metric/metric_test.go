package metric_test

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"tandem/train/metric"
)

type recorded struct {
	Labels []struct {
		Name      string
		Classes   int
		K         int
		Labels    []int64
		Scores    []float32
		Values    map[string]float64
		Precision []float64
		Recall    []float64
		F1        []float64
		Confusion [][]int64
	}
	Numbers []struct {
		Name                 string
		Width                int
		Targets, Predictions []float32
		Values               map[string]float64
	}
}

func read(t *testing.T) (r recorded) {
	text, err := os.ReadFile("testdata/sklearn.json")
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-10*max(1, math.Abs(b)) }

// TestLabelsEqualScikitLearn, whatever batches they come in.
func TestLabelsEqualScikitLearn(t *testing.T) {
	for _, c := range read(t).Labels {
		for _, rows := range []int{len(c.Labels), 7} {
			m := metric.NewClasses(c.Classes, c.K)
			for at := 0; at < len(c.Labels); at += rows {
				end := min(at+rows, len(c.Labels))
				m.Add(c.Scores[at*c.Classes:end*c.Classes], c.Labels[at:end])
			}
			got := m.Values()
			for name, want := range c.Values {
				if v, ok := got[name]; !ok || !near(v, want) {
					t.Errorf("%s: %s is %v, scikit-learn's is %v", c.Name, name, v, want)
				}
			}
			if _, defined := got["auc"]; defined != (c.Values["auc"] != 0) {
				t.Errorf("%s: auc is defined: %v", c.Name, defined)
			}
			for name := range got {
				if !slices.Contains(metric.Labels.Names(c.Classes), name) {
					t.Errorf("%s is not among the names", name)
				}
			}
			for k, one := range m.PerClass() {
				if !near(one.Precision, c.Precision[k]) || !near(one.Recall, c.Recall[k]) || !near(one.F1, c.F1[k]) {
					t.Errorf("%s: class %d: %+v, want %v %v %v", c.Name, k, one, c.Precision[k], c.Recall[k], c.F1[k])
				}
				if !slices.Equal(m.Confusion[k], c.Confusion[k]) {
					t.Errorf("%s: confusion of class %d is %v, want %v", c.Name, k, m.Confusion[k], c.Confusion[k])
				}
			}
		}
	}
}

func TestNumbersEqualScikitLearn(t *testing.T) {
	for _, c := range read(t).Numbers {
		m := metric.NewValues(c.Width)
		for at := 0; at < len(c.Targets); at += 3 * c.Width {
			end := min(at+3*c.Width, len(c.Targets))
			m.Add(c.Predictions[at:end], c.Targets[at:end])
		}
		got := m.Values()
		for name, want := range c.Values {
			if v, ok := got[name]; !ok || !near(v, want) {
				t.Errorf("%s: %s is %v, scikit-learn's is %v", c.Name, name, v, want)
			}
		}
		if len(got) != len(c.Values) {
			t.Errorf("%s: %v", c.Name, got)
		}
	}
}

func TestManyClassesKeepNoPairs(t *testing.T) {
	m := metric.NewClasses(metric.MaxConfusionClasses+1, 5)
	p := make([]float32, metric.MaxConfusionClasses+1)
	p[3] = 1
	m.Add(p, []int64{3})
	if m.Confusion != nil || m.Values()["accuracy"] != 1 {
		t.Errorf("%v", m.Values()["accuracy"])
	}
}

func TestTokens(t *testing.T) {
	v := metric.OfTokens(2 * math.Ln2)
	if !near(v["perplexity"], 4) || !near(v["bits_per_character"], 2) {
		t.Errorf("%v", v)
	}
}

// TestScoresThatAreNoNumbers: a network that has diverged is measured as well; it ends.
func TestScoresThatAreNoNumbers(t *testing.T) {
	nan := float32(math.NaN())
	c := metric.NewClasses(2, 1)
	c.Add([]float32{nan, nan, nan, nan, 0.2, 0.8}, []int64{0, 1, 1})
	if v := c.Values(); !near(v["accuracy"], 2./3) || v["auc"] != 0.75 {
		t.Errorf("the metrics are %v", v)
	}
}
