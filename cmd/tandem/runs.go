package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"tandem/fault"
	"tandem/train"
	"tandem/train/report"
)

// runsCmd is `tandem runs`.
type runsCmd struct {
	List    runsListCmd    `cmd:"" help:"List runs."`
	Show    runsShowCmd    `cmd:"" help:"Show a run: what it was told and how it went."`
	Compare runsCompareCmd `cmd:"" help:"Show runs side by side."`
	Report  runsReportCmd  `cmd:"" help:"Write a run's report: one page of HTML with curves, classes and the spec."`
}

// runsFolder is where runs are looked for.
type runsFolder struct {
	Runs string `help:"Folder of runs." placeholder:"DIR" default:"runs"`
}

// find is the directory of a run, by its path or by its ID.
func (f runsFolder) find(run string) string {
	if byID := filepath.Join(f.Runs, run); exists(byID) {
		return byID
	}
	return run
}

// run is a record with its place.
type run struct {
	*train.Record
	Path string `json:"path"`
}

func (f runsFolder) read(name string) (run, error) {
	dir := f.find(name)
	r, err := train.ReadRecord(dir)
	if fault.KindOf(err) == fault.NotFound {
		return run{}, fault.New("tandem.runs", fault.NotFound, "there is no run %s", name).Try("tandem runs list shows which there are; --runs names another folder")
	}
	return run{r, dir}, err
}

type runsListCmd struct{ runsFolder }

// Run lists the runs, the oldest first.
func (c *runsListCmd) Run(a *app) error {
	records, err := train.ListRuns(c.Runs)
	if err != nil {
		return err
	}
	runs := make([]run, len(records))
	for i, r := range records {
		runs[i] = run{r, filepath.Join(c.Runs, r.ID)}
	}
	titles := []string{"ID", "MODEL", "STATUS", "STEPS", "ACCURACY", "TIME", "CREATED"}
	return show(a, runs, titles, func(r run) []string {
		return []string{r.ID, r.Family + "/" + r.Task, a.msg.Text(string(r.Status)), strconv.Itoa(r.Steps), metric(r.Metrics, "test_accuracy"),
			trainedFor(r.Record), moment(r.Created)}
	})
}

func trainedFor(r *train.Record) string {
	return (time.Duration(r.TrainedMS) * time.Millisecond).Round(100 * time.Millisecond).String()
}

func metric(m map[string]float64, name string) string {
	v, ok := m[name]
	if !ok {
		return "–"
	}
	return strconv.FormatFloat(v, 'f', 4, 64)
}

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

type runsShowCmd struct {
	runsFolder
	ID string `arg:"" placeholder:"RUN" help:"ID of the run, or its directory."`
}

// Run shows a run and its evaluations.
func (c *runsShowCmd) Run(a *app) error {
	r, err := c.read(c.ID)
	if err != nil {
		return err
	}
	metrics, err := train.ReadMetrics(r.Path)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	if a.json {
		return a.emit(struct {
			run
			Lines []train.Metric `json:"metric_lines"`
		}{r, metrics})
	}
	rows := [][]string{{a.msg.Sprintf("Run"), r.ID}}
	for _, f := range c.facts(a, r) {
		rows = append(rows, []string{f.title, f.value})
	}
	if r.Error != "" {
		rows = append(rows, []string{a.msg.Sprintf("Error"), a.msg.Text(r.Error)})
	}
	if err := a.table(nil, rows); err != nil {
		return err
	}
	return a.evaluations(metrics)
}

// shownDigits of a digest tell two of them apart.
const (
	digestMark  = "sha256:"
	shownDigits = 12
)

type fact struct{ title, value string }

// facts are what can be compared of a run.
func (f runsFolder) facts(a *app, r run) []fact {
	return []fact{
		{a.msg.Sprintf("Path"), r.Path},
		{a.msg.Sprintf("Family and task"), r.Family + "/" + r.Task},
		{a.msg.Sprintf("Status"), a.msg.Text(string(r.Status))},
		{a.msg.Sprintf("Steps"), strconv.Itoa(r.Steps)},
		{a.msg.Sprintf("Seed"), strconv.FormatUint(r.Seed, 10)},
		{a.msg.Sprintf("Training time"), trainedFor(r.Record)},
		{a.msg.Sprintf("Threads"), fmt.Sprintf("%d, %s", r.Threads, r.ISA)},
		{a.msg.Sprintf("Data"), string(r.Data)},
		{a.msg.Sprintf("Spec"), string(r.Spec)},
		{a.msg.Sprintf("Model digest"), string(r.Artifact)},
		{a.msg.Sprintf("Created"), moment(r.Created)},
	}
}

func (a *app) evaluations(metrics []train.Metric) error {
	titles := []string{"EPOCH", "STEP", "TEST LOSS", "TEST ACCURACY"}
	var rows [][]string
	for _, m := range metrics {
		if m.Kind != "test" {
			continue
		}
		last := m.Accuracy
		if rmse, numbers := m.Values["rmse"]; numbers { // which are not right or wrong
			titles, last = []string{"EPOCH", "STEP", "TEST LOSS", "TEST RMSE"}, rmse
		}
		rows = append(rows, []string{strconv.Itoa(m.Epoch), strconv.Itoa(m.Step), fmt.Sprintf("%.4f", m.Loss), fmt.Sprintf("%.4f", last)})
	}
	if len(rows) == 0 {
		return nil
	}
	a.say("")
	return a.table(titles, rows)
}

type runsCompareCmd struct {
	runsFolder
	IDs []string `arg:"" name:"run" placeholder:"RUN" help:"IDs of runs, or their directories."`
}

// Run shows the facts and the metrics of runs in columns.
func (c *runsCompareCmd) Run(a *app) error {
	if len(c.IDs) < 2 {
		return usage("at least two runs can be compared")
	}
	var runs []run
	for _, id := range c.IDs {
		r, err := c.read(id)
		if err != nil {
			return err
		}
		runs = append(runs, r)
	}
	if a.json {
		return show(a, runs, nil, nil)
	}
	rows := [][]string{{""}}
	names := map[string]bool{}
	for _, r := range runs {
		rows[0] = append(rows[0], r.ID)
		for name := range r.Metrics {
			names[name] = true
		}
	}
	for _, name := range sortedNames(names) {
		row := []string{a.msg.Text(name)}
		for _, r := range runs {
			row = append(row, metric(r.Metrics, name))
		}
		rows = append(rows, row)
	}
	for i, f := range c.facts(a, runs[0]) {
		row := []string{f.title}
		for _, r := range runs {
			value := c.facts(a, r)[i].value
			if strings.HasPrefix(value, digestMark) {
				value = value[:len(digestMark)+shownDigits]
			}
			row = append(row, value)
		}
		rows = append(rows, row)
	}
	return a.table(nil, rows)
}

type runsReportCmd struct {
	runsFolder
	ID string `arg:"" placeholder:"RUN" help:"ID of the run, or its directory."`
}

// Run writes report.html into the run's directory.
func (c *runsReportCmd) Run(a *app) error {
	r, err := c.read(c.ID)
	if err != nil {
		return err
	}
	path, err := a.report(r.Path)
	if err != nil {
		return err
	}
	if a.json {
		return a.emit(map[string]string{"report": path})
	}
	a.say("Report: %s", path)
	return nil
}

// report writes a run's report in the user's language.
func (a *app) report(dir string) (path string, err error) {
	return report.WriteFile(dir, report.Language{Lang: a.msg.Lang(), Text: a.msg.Text})
}
