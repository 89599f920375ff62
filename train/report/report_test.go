package report_test

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"tandem/train"
	"tandem/train/metric"
	"tandem/train/report"
)

const evil = `<script>alert("x")</script>&'`

// runDir writes a run directory as train does, with texts that would break out of HTML.
func runDir(t *testing.T, classes int) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, v any) {
		text, err := json.Marshal(v)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write("run.json", train.Record{
		ID: "one", Name: evil, Family: "f", Task: evil, Status: train.Failed, Error: evil, Data: "sha256:dada", Spec: "sha256:5bec",
		Created: time.Unix(0, 0), Metrics: map[string]float64{"test_loss": 0.25, "test_" + evil: 1},
	})
	c := metric.NewClasses(classes, 5)
	for i := range 20 * classes {
		p := make([]float32, classes)
		p[(i+i%7/6)%classes] = 1
		c.Add(p, []int64{int64(i % classes)})
	}
	labels := make([]string, classes)
	for i := range labels {
		labels[i] = fmt.Sprint(evil, i)
	}
	write("evaluation.json", train.Report{Epoch: 2, Labels: labels, Classes: c.PerClass(), Confusion: c.Confusion})
	if err := os.WriteFile(filepath.Join(dir, "spec.yaml"), []byte("name: '"+evil+"'\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	e := json.NewEncoder(&lines)
	for i := 1; i <= 3000; i++ {
		_ = e.Encode(train.Metric{Kind: "train", Step: i, Loss: 1 / float64(i), Accuracy: 1 - 1/float64(i), LearningRate: 0.1})
		if i%1000 == 0 {
			_ = e.Encode(train.Metric{Kind: "test", Step: i, Loss: 2 / float64(i), Values: map[string]float64{"auc": math.Sqrt(float64(i)) / 60, evil: 1}})
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "metrics.jsonl"), []byte(lines.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestPage: it is complete, well formed, needs nothing from elsewhere, and nothing of
// the run is read as markup.
func TestPage(t *testing.T) {
	for _, classes := range []int{3, 60} {
		dir := runDir(t, classes)
		path, err := report.WriteFile(dir, report.English())
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text := string(data)
		for _, want := range []string{"sha256:dada", "sha256:5bec", "Curves over steps", "<polyline", "learning rate", "auc", "recall", "&lt;script&gt;"} {
			if !strings.Contains(text, want) {
				t.Errorf("%d classes: %q is not there", classes, want)
			}
		}
		if got := strings.Contains(text, "Confusion matrix"); got != (classes == 3) {
			t.Errorf("%d classes: a matrix: %v", classes, got)
		}
		if got := strings.Contains(text, "Most frequent errors"); got != (classes == 60) {
			t.Errorf("%d classes: errors: %v", classes, got)
		}
		if m := regexp.MustCompile(`(?i)<script|https?:|src=|href=|url\(|@import|ZgotmplZ`).FindString(text); m != "" {
			t.Errorf("%d classes: the page has %q", classes, m)
		}
		wellFormed(t, text)
		if len(data) > 300<<10 {
			t.Errorf("%d bytes for 3000 lines of metrics", len(data))
		}
	}
}

// wellFormed checks that every element is closed.
func wellFormed(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(strings.TrimPrefix(text, "<!DOCTYPE html>")))
	d.Entity = xml.HTMLEntity
	depth := 0
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("after %d: %v", d.InputOffset(), err)
		}
		switch e := tok.(type) {
		case xml.StartElement:
			depth++
			for _, a := range e.Attr {
				if strings.HasPrefix(strings.ToLower(a.Name.Local), "on") || strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
					t.Errorf("<%s %s=%q>", e.Name.Local, a.Name.Local, a.Value)
				}
			}
		case xml.EndElement:
			depth--
		}
	}
	if depth != 0 {
		t.Errorf("%d elements are left open", depth)
	}
}

// TestUnfinished: a run that has no more than its record and spec has a report too.
func TestUnfinished(t *testing.T) {
	dir := runDir(t, 3)
	for _, name := range []string{"metrics.jsonl", "evaluation.json"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	var b strings.Builder
	if err := report.Write(&b, dir, report.English()); err != nil || strings.Contains(b.String(), "<svg") {
		t.Errorf("%v", err)
	}
	wellFormed(t, b.String())
	if err := report.Write(io.Discard, t.TempDir(), report.English()); err == nil {
		t.Error("an empty folder has a report")
	}
}
