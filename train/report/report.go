package report

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"tandem/fault"
	"tandem/train"
)

// File is the report's name in a run directory.
const File = "report.html"

// Limits of what is shown.
const (
	maxMatrixClasses = 30 // larger matrices are shown as a list of their largest errors
	maxErrors        = 40
	maxClassRows     = 1000
)

// Language says texts in the reader's language: Lang is its tag, such as "en", and Text
// translates a sentence.
type Language struct {
	Lang string
	Text func(string) string
}

// English leaves texts as they are.
func English() Language { return Language{"en", func(s string) string { return s }} }

// WriteFile writes the report of the run in dir to its place there, and returns its
// path.
func WriteFile(dir string, lang Language) (path string, err error) {
	path = filepath.Join(dir, File)
	f, err := os.CreateTemp(dir, "."+File+".tmp-")
	if err != nil {
		return "", fault.Wrap(err, "report.write", fault.KindOf(err), "the report cannot be written")
	}
	err = Write(f, dir, lang)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Chmod(f.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the error that matters is the first
		return "", fault.From(err, "report.write")
	}
	return path, nil
}

// Write writes the report of the run in dir, finished or not.
func Write(w io.Writer, dir string, lang Language) error {
	p, err := read(dir, lang)
	if err != nil {
		return err
	}
	return fault.From(page(lang).Execute(w, p), "report.write")
}

// content is what the template shows.
type content struct {
	Lang    string
	Record  *train.Record
	Facts   []fact
	Metrics []fact
	Charts  []chart
	Epoch   int // of the evaluation below
	Classes []class
	Left    int // classes that are not shown
	Matrix  *matrix
	Errors  []mistake
	Spec    string
}

// Shades are how dense the colours of cells are.
func (content) Shades() []float64 {
	return []float64{0, 0.08, 0.18, 0.28, 0.38, 0.48, 0.58, 0.68, 0.78, 0.88}
}

type fact struct{ Name, Value string }

type class struct {
	Name                        string
	Precision, Recall, F1, Area string
	Examples                    int64
}

// matrix is the confusion of few classes.
type matrix struct {
	Names []string
	Rows  []matrixRow
}

type matrixRow struct {
	Name  string
	Cells []cell
}

// cell has a shade from 0 to 9 by its share of the row.
type cell struct {
	Count int64
	Shade int
	Right bool
}

// mistake is a pair of classes that were confused.
type mistake struct {
	Label, Said string
	Count       int64
}

func read(dir string, lang Language) (*content, error) {
	record, err := train.ReadRecord(dir)
	if err != nil {
		return nil, err
	}
	metrics, err := train.ReadMetrics(dir)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return nil, err
	}
	spec, err := os.ReadFile(filepath.Join(dir, "spec.yaml"))
	if err != nil {
		return nil, fault.From(err, "report.write")
	}
	c := &content{Lang: lang.Lang, Record: record, Spec: string(spec), Charts: charts(metrics)}
	c.facts()
	names := make([]string, 0, len(record.Metrics))
	for name := range record.Metrics {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		c.Metrics = append(c.Metrics, fact{name, number(record.Metrics[name])})
	}
	r, err := train.ReadReport(dir)
	if fault.KindOf(err) == fault.NotFound {
		return c, nil
	}
	if err == nil {
		c.evaluation(r)
	}
	return c, err
}

func (c *content) facts() {
	r := c.Record
	c.Facts = []fact{
		{"Status", string(r.Status)}, {"Family and task", r.Family + "/" + r.Task}, {"Steps", strconv.Itoa(r.Steps)},
		{"Training time", (time.Duration(r.TrainedMS) * time.Millisecond).Round(100 * time.Millisecond).String()},
		{"Seed", strconv.FormatUint(r.Seed, 10)}, {"Threads", fmt.Sprintf("%d, %s", r.Threads, r.ISA)},
		{"Data", string(r.Data)}, {"Spec", string(r.Spec)}, {"Created", r.Created.UTC().Format(time.RFC3339)},
	}
	if r.Artifact != "" {
		c.Facts = append(c.Facts, fact{"Model digest", string(r.Artifact)})
	}
	if r.Error != "" {
		c.Facts = append(c.Facts, fact{"Error", r.Error})
	}
}

// evaluation shows each class, and which were confused.
func (c *content) evaluation(r *train.Report) {
	c.Epoch = r.Epoch
	name := func(i int) string {
		if i < len(r.Labels) {
			return r.Labels[i]
		}
		return strconv.Itoa(i)
	}
	for i, k := range r.Classes {
		if i == maxClassRows {
			c.Left = len(r.Classes) - i
			break
		}
		row := class{name(i), number(k.Precision), number(k.Recall), number(k.F1), "–", k.Examples}
		if k.AUC != nil {
			row.Area = number(*k.AUC)
		}
		c.Classes = append(c.Classes, row)
	}
	if n := len(r.Confusion); n > 0 && n <= maxMatrixClasses {
		c.Matrix = &matrix{}
		for i, row := range r.Confusion {
			c.Matrix.Names = append(c.Matrix.Names, name(i))
			c.Matrix.Rows = append(c.Matrix.Rows, shades(name(i), i, row))
		}
		return
	}
	for i, row := range r.Confusion {
		for j, n := range row {
			if i != j && n > 0 {
				c.Errors = append(c.Errors, mistake{name(i), name(j), n})
			}
		}
	}
	slices.SortStableFunc(c.Errors, func(a, b mistake) int { return int(b.Count - a.Count) })
	c.Errors = c.Errors[:min(len(c.Errors), maxErrors)]
}

func shades(name string, at int, counts []int64) matrixRow {
	var sum int64
	for _, n := range counts {
		sum += n
	}
	row := matrixRow{Name: name}
	for j, n := range counts {
		shade := 0
		if n > 0 {
			shade = 1 + int(8*n/sum)
		}
		row.Cells = append(row.Cells, cell{n, shade, j == at})
	}
	return row
}

// number has four digits after the point, or as many that count.
func number(v float64) string {
	if a := math.Abs(v); a >= 1e-3 && a < 1e5 || v == 0 {
		return strconv.FormatFloat(v, 'f', 4, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}
