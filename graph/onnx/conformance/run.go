package conformance

import (
	"context"
	"fmt"
	"regexp"
	"sync"
	"time"

	"tandem/fault"
	"tandem/graph"
	"tandem/kernel"
)

// Options are what running cases needs. Ops and Pool must be there. A pool of one
// thread lets a panic in a kernel be caught.
type Options struct {
	Ops    *graph.Table
	Pool   *kernel.Pool
	Passes []graph.Pass
	Match  *regexp.Regexp // of names of cases; nil: all
	Jobs   int            // cases at a time; 0: one

	CaseMemoryBytes int           // working memory; 0: DefaultCaseMemoryBytes
	CaseTime        time.Duration // 0: DefaultCaseTime
}

const (
	DefaultCaseMemoryBytes = 1 << 30
	DefaultCaseTime        = 30 * time.Second
)

// Status is how a case ended.
type Status string

const (
	Passed  Status = "passed"
	Failed  Status = "failed"
	Skipped Status = "skipped"
)

// Result is what became of a case.
type Result struct {
	Set, Name string
	Status    Status
	Reason    string // why it did not pass
}

// Totals counts results.
type Totals struct{ Passed, Failed, Skipped int }

func (t *Totals) add(s Status) {
	switch s {
	case Passed:
		t.Passed++
	case Failed:
		t.Failed++
	default:
		t.Skipped++
	}
}

func (t Totals) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", t.Passed, t.Failed, t.Skipped)
}

// Run runs the cases beneath dir and reports each result, by set and name. It
// fails if there are none, or when ctx ends.
func Run(ctx context.Context, dir string, opt Options, report func(Result)) (Totals, error) {
	var total Totals
	cases, err := find(dir, opt.Match)
	if err != nil {
		return total, fault.From(err, "conformance.run")
	}
	if len(cases) == 0 {
		return total, fault.New("conformance.run", fault.NotFound, "there are no cases in %s", dir).
			Try("give the folder onnx/backend/test/data of the onnx package, or one within it")
	}
	if opt.CaseMemoryBytes == 0 {
		opt.CaseMemoryBytes = DefaultCaseMemoryBytes
	}
	if opt.CaseTime == 0 {
		opt.CaseTime = DefaultCaseTime
	}
	next := make(chan int)
	done := make([]chan Result, len(cases))
	for i := range done {
		done[i] = make(chan Result, 1)
	}
	var workers sync.WaitGroup
	defer workers.Wait()
	defer close(next)
	for range max(opt.Jobs, 1) {
		workers.Go(func() {
			for i := range next {
				done[i] <- cases[i].run(ctx, opt)
			}
		})
	}
	for i, sent := 0, 0; i < len(cases); {
		var feed chan int
		if sent < len(cases) {
			feed = next
		}
		select {
		case <-ctx.Done():
			return total, fault.From(ctx.Err(), "conformance.run")
		case feed <- sent:
			sent++
		case r := <-done[i]:
			total.add(r.Status)
			report(r)
			i++
		}
	}
	return total, nil
}
