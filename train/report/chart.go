package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"tandem/train"
)

// Sizes of a chart, in units of its SVG.
const (
	chartWidth, chartHeight = 560, 240
	left, right, top, low   = 62, 12, 12, 30
	maxPoints               = 800 // of a line
)

// chart is a picture of values over steps.
type chart struct {
	Title         string
	Width, Height int
	X, Y          []tick
	Lines         []line
	Bottom, Right float64 // of the axes
}

// tick is a mark of an axis, at a place.
type tick struct {
	At    float64
	Label string
}

// line is a series: its points as SVG has them.
type line struct {
	Name   string
	Class  string
	Points string
	Dots   []dot
}

type dot struct {
	X, Y float64
	Text string
}

type point struct{ x, y float64 }

// series are values by step, as a line of the log has them.
type series struct {
	name, class string
	points      []point
}

// charts are the loss, the accuracy and the learning rate, then each other metric of
// the test set.
func charts(metrics []train.Metric) []chart {
	pick := func(name, kind string, value func(train.Metric) (float64, bool)) series {
		s := series{name: name, class: kind}
		for _, m := range metrics {
			if v, ok := value(m); m.Kind == kind && ok && !math.IsNaN(v) && !math.IsInf(v, 0) {
				s.points = append(s.points, point{float64(m.Step), v})
			}
		}
		return s
	}
	loss := func(m train.Metric) (float64, bool) { return m.Loss, true }
	accuracy := func(m train.Metric) (float64, bool) { _, numbers := m.Values["rmse"]; return m.Accuracy, !numbers }
	rate := func(m train.Metric) (float64, bool) { return float64(m.LearningRate), true }
	var all []chart
	add := func(title string, list ...series) {
		if c, ok := draw(title, list); ok {
			all = append(all, c)
		}
	}
	add("loss", pick("training", "train", loss), pick("test", "test", loss))
	test := pick("test", "test", accuracy)
	training := pick("training", "train", accuracy)
	if len(test.points) == 0 && len(metrics) > 0 && slices.ContainsFunc(metrics, func(m train.Metric) bool { return m.Kind == "test" }) {
		training.points = nil // a regression
	}
	add("accuracy", training, test)
	add("learning rate", pick("training", "train", rate))
	for _, name := range otherMetrics(metrics) {
		add(name, pick("test", "test", func(m train.Metric) (float64, bool) { v, ok := m.Values[name]; return v, ok }))
	}
	return all
}

// otherMetrics are the names of what evaluations found besides loss and accuracy; means
// that are the accuracy once more are left out.
func otherMetrics(metrics []train.Metric) []string {
	var names []string
	for _, m := range metrics {
		for name := range m.Values {
			if name != "accuracy" && !strings.HasSuffix(name, "_micro") && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// draw places series in a chart; there is none without points.
func draw(title string, list []series) (chart, bool) {
	var all []point
	for _, s := range list {
		all = append(all, s.points...)
	}
	if len(all) == 0 {
		return chart{}, false
	}
	x, y := bounds(all, func(p point) float64 { return p.x }), bounds(all, func(p point) float64 { return p.y })
	c := chart{Title: title, Width: chartWidth, Height: chartHeight, Bottom: chartHeight - low, Right: chartWidth - right}
	placeX := func(v float64) float64 { return left + (v-x.lo)/(x.hi-x.lo)*(chartWidth-left-right) }
	placeY := func(v float64) float64 { return chartHeight - low - (v-y.lo)/(y.hi-y.lo)*(chartHeight-low-top) }
	for _, v := range x.ticks() {
		c.X = append(c.X, tick{round(placeX(v)), label(v)})
	}
	for _, v := range y.ticks() {
		c.Y = append(c.Y, tick{round(placeY(v)), label(v)})
	}
	for _, s := range list {
		if len(s.points) == 0 {
			continue
		}
		l := line{Name: s.name, Class: s.class}
		var b strings.Builder
		for _, p := range thin(s.points) {
			fmt.Fprintf(&b, "%.1f,%.1f ", placeX(p.x), placeY(p.y))
			if s.class == "test" {
				l.Dots = append(l.Dots, dot{round(placeX(p.x)), round(placeY(p.y)), label(p.x) + ": " + number(p.y)})
			}
		}
		l.Points = strings.TrimSuffix(b.String(), " ")
		c.Lines = append(c.Lines, l)
	}
	return c, true
}

// thin keeps at most maxPoints of a line, the last among them.
func thin(points []point) []point {
	if len(points) <= maxPoints {
		return points
	}
	kept := make([]point, maxPoints)
	for i := range kept {
		kept[i] = points[i*(len(points)-1)/(maxPoints-1)]
	}
	return kept
}

// extent is what an axis spans; it is never empty.
type extent struct{ lo, hi float64 }

func bounds(points []point, of func(point) float64) extent {
	e := extent{of(points[0]), of(points[0])}
	for _, p := range points {
		e.lo, e.hi = min(e.lo, of(p)), max(e.hi, of(p))
	}
	if e.hi-e.lo <= 1e-12*math.Abs(e.hi) {
		room := max(math.Abs(e.hi)/10, 1e-9)
		e.lo, e.hi = e.lo-room, e.hi+room
	}
	return e
}

// ticks are round numbers within the extent: 1, 2 or 5 times a power of ten apart.
func (e extent) ticks() []float64 {
	raw := (e.hi - e.lo) / 5
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	step := 10 * power
	for _, m := range []float64{1, 2, 5} {
		if m*power >= raw {
			step = m * power
			break
		}
	}
	var all []float64
	for i := math.Ceil(e.lo / step); i*step <= e.hi && len(all) < 12; i++ {
		all = append(all, i*step)
	}
	return all
}

func label(v float64) string { return strconv.FormatFloat(v, 'g', 5, 64) }

func round(v float64) float64 { return math.Round(v*10) / 10 }
