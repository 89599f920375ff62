package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"time"

	"tandem"
	"tandem/graph"
	"tandem/tensor"
)

// benchCmd is `tandem bench`.
type benchCmd struct {
	Path    string   `arg:"" name:"PATH" help:"An .onnx or .gguf file, a Hugging Face folder, or the directory of a run or of a model."`
	Batch   int      `help:"Size of the first dimension of inputs where the model leaves it open." placeholder:"N" default:"1"`
	Shape   []string `help:"Shape of an input, such as pixels=1x3x224x224, or size of an open dimension, such as length=128. May be given more than once." placeholder:"NAME=SHAPE" sep:"none"`
	Input   string   `help:"Arrays by the names of the inputs, in NumPy's format. Without it: random numbers, and ones for integers." placeholder:"FILE.npz"`
	Threads int      `help:"Threads that compute. Without it: all processors." placeholder:"N"`
	Seconds float64  `help:"How long to measure." placeholder:"SECONDS" default:"5"`
	textBench
	precisionFlag
	Profile bool `help:"Show where the time goes, by operator and shapes. Measuring each operator takes time too."`
}

// benchResult is what --json prints.
type benchResult struct {
	Model          string         `json:"model"`
	Batch          int            `json:"batch"`
	Threads        int            `json:"threads"`
	Runs           int            `json:"runs"`
	SamplesPerS    float64        `json:"samples_per_s"`
	P50            float64        `json:"p50_ms"`
	P99            float64        `json:"p99_ms"`
	Open           float64        `json:"open_ms"`
	First          float64        `json:"first_result_ms"` // from the beginning of opening
	PeakBytes      int64          `json:"peak_memory_bytes,omitempty"`
	BeforeBytes    int64          `json:"memory_before_bytes,omitempty"` // what the process held before opening
	WeightBytes    int64          `json:"weight_bytes"`
	GFLOPPerSecond float64        `json:"gflop_per_s,omitempty"`
	Profile        []benchProfile `json:"profile,omitempty"`
}

// benchProfile is an operator on one set of shapes.
type benchProfile struct {
	Operator string  `json:"operator"`
	Shapes   string  `json:"shapes"`
	Calls    float64 `json:"calls_per_run"`
	Time     float64 `json:"ms_per_run"`
	GFLOPS   float64 `json:"gflop_per_s"`
	Share    float64 `json:"share"`
}

// Run measures.
func (c *benchCmd) Run(ctx context.Context, a *app) (err error) {
	if c.Batch < 1 || c.Seconds <= 0 {
		return usage("--batch and --seconds must be more than 0")
	}
	threads, err := threadsOr(c.Threads)
	if err != nil {
		return err
	}
	if languageAt(c.Path) {
		if len(c.Shape) > 0 || c.Input != "" || c.Batch != 1 {
			return usage("%s, %s and %s are for tensors: a model that generates text has --pp, --tg, --depth and --parallel", "--batch", "--shape", "--input")
		}
		if c.Precision != "" {
			return usage("%s is for ONNX files and artifacts; language models are written in another precision", "--precision").with("tandem quantize MODEL.gguf --precision q8_0 --output OUT.gguf")
		}
		return c.textBench.run(ctx, a, c.Path, threads, c.profile())
	}
	form, err := c.form()
	if err != nil {
		return err
	}
	if !isONNX(c.Path) {
		if _, _, err := localArtifact(c.Path); err != nil {
			return err
		}
	}
	profile := c.profile()
	before, start := heldMemoryBytes(), time.Now()
	m, err := tandem.Open(c.Path, tandem.Options{Threads: threads, Profile: profile, Precision: form, PackedDir: packedDir(a.getenv)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.closing(ctx, m.Close)) }()
	opened := time.Since(start)
	in, err := c.inputs(m)
	if err != nil {
		return err
	}
	out := make([]*tensor.Tensor, len(m.Outputs()))
	began := time.Now() // making inputs is not counted
	if err := m.RunInto(ctx, in, out); err != nil {
		return err
	}
	r := benchResult{Model: c.Path, Batch: batchOf(in), Threads: threads, Open: ms(opened), First: ms(opened + time.Since(began)), WeightBytes: m.WeightBytes()}
	times, err := c.measure(ctx, m, in, out, profile)
	if err != nil {
		return err
	}
	r.count(times, profile)
	r.PeakBytes, r.BeforeBytes = peakMemoryBytes(), before
	if a.json {
		return a.emit(r)
	}
	return r.show(a)
}

// profile is where times are added up, if they are to be shown.
func (c *benchCmd) profile() *graph.Profile {
	if !c.Profile {
		return nil
	}
	return graph.NewProfile()
}

// measure runs for a tenth of the time to warm up, and then for all of it.
func (c *benchCmd) measure(ctx context.Context, m *tandem.Model, in, out []*tensor.Tensor, profile *graph.Profile) ([]time.Duration, error) {
	run := func(limit time.Duration) (times []time.Duration, err error) {
		for start := time.Now(); len(times) == 0 || time.Since(start) < limit; {
			for i, p := range m.Outputs() {
				if d := p.DType; d == tensor.Sequence || d == tensor.Optional || d == tensor.Undefined {
					out[i] = nil // a list, or of a shape that depends on data
				}
			}
			began := time.Now()
			if err := m.RunInto(ctx, in, out); err != nil {
				return nil, err
			}
			times = append(times, time.Since(began))
		}
		return times, nil
	}
	limit := time.Duration(c.Seconds * float64(time.Second))
	if _, err := run(limit / 10); err != nil {
		return nil, err
	}
	if profile != nil {
		profile.Reset()
	}
	runtime.GC() // what opening left behind is not measured
	return run(limit)
}

func (r *benchResult) count(times []time.Duration, profile *graph.Profile) {
	var total time.Duration
	for _, t := range times {
		total += t
	}
	slices.Sort(times)
	at := func(q float64) float64 { return ms(times[int(q*float64(len(times)-1)+0.5)]) }
	r.Runs, r.P50, r.P99 = len(times), at(0.5), at(0.99)
	r.SamplesPerS = float64(r.Batch*len(times)) / total.Seconds()
	if profile == nil {
		return
	}
	var work float64
	for _, row := range profile.Rows() {
		work += row.Work
	}
	r.GFLOPPerSecond = work / 1e9 / total.Seconds()
	r.Profile = profileOf(profile, len(times))
}

// profileOf is what a profile has of so many runs.
func profileOf(profile *graph.Profile, runs int) (list []benchProfile) {
	rows := profile.Rows()
	var sum time.Duration
	for _, row := range rows {
		sum += row.Time
	}
	for _, row := range rows {
		list = append(list, benchProfile{
			row.Op.String(), row.Shapes, float64(row.Calls) / float64(runs), ms(row.Time) / float64(runs),
			row.Work / max(float64(row.Time.Nanoseconds()), 1), float64(row.Time) / max(float64(sum), 1),
		})
	}
	return list
}

func (r *benchResult) show(a *app) error {
	rows := [][]string{
		{a.msg.Sprintf("Samples/s"), fmt.Sprintf("%.2f", r.SamplesPerS)},
		{a.msg.Sprintf("Time of a run"), a.msg.Sprintf("%.3f ms (median), %.3f ms (99th percentile)", r.P50, r.P99)},
		{a.msg.Sprintf("Runs"), a.msg.Sprintf("%d, batch %d, %d threads", r.Runs, r.Batch, r.Threads)},
		{a.msg.Sprintf("Opening"), a.msg.Sprintf("%.1f ms, first result after %.1f ms", r.Open, r.First)},
		{a.msg.Sprintf("Weights"), size(r.WeightBytes)},
	}
	if r.PeakBytes > 0 {
		rows = append(rows, []string{a.msg.Sprintf("Peak memory"), size(r.PeakBytes)})
	}
	if r.GFLOPPerSecond > 0 {
		rows = append(rows, []string{"GFLOP/s", fmt.Sprintf("%.1f", r.GFLOPPerSecond)})
	}
	if err := a.table(nil, rows); err != nil {
		return err
	}
	return a.profileTable(r.Profile)
}

func (a *app) profileTable(profile []benchProfile) error {
	if profile == nil {
		return nil
	}
	fmt.Fprintln(a.out)
	var lines [][]string
	for _, p := range profile {
		lines = append(lines, []string{p.Operator, fmt.Sprintf("%.1f%%", 100*p.Share), fmt.Sprintf("%.3f", p.Time),
			strconv.FormatFloat(p.Calls, 'f', -1, 64), fmt.Sprintf("%.1f", p.GFLOPS), p.Shapes})
	}
	return a.table([]string{"OPERATOR", "SHARE", "MS A RUN", "CALLS A RUN", "GFLOP/S", "SHAPES"}, lines)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// batchOf is the first dimension of the first input that has one.
func batchOf(in []*tensor.Tensor) int {
	for _, t := range in {
		if t.Rank() > 0 {
			return max(t.Dim(0), 1)
		}
	}
	return 1
}
