package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"tandem/fault"
	"tandem/internal/message"
	"tandem/train"
)

// Intervals at which progress is printed where there is no bar.
const (
	lineInterval = 5 * time.Second
	jsonInterval = time.Second
)

// progress shows a training run: a bar on a terminal, else a line now and then, and
// JSON lines with --json.
type progress struct {
	a     *app
	bars  *mpb.Progress // nil: lines
	bar   *bar          // of the phase under way
	shown time.Time
}

// bar is drawn by another goroutine, also when the run has gone on to the next one.
type bar struct {
	*mpb.Bar
	mu   sync.Mutex
	last train.Progress
}

func (b *bar) set(now train.Progress) {
	b.mu.Lock()
	b.last = now
	b.mu.Unlock()
	b.SetCurrent(int64(now.Step))
}

// decorator prints f of what the bar has heard last.
func (b *bar) decorator(f func(train.Progress) string) decor.Decorator {
	return decor.Any(func(decor.Statistics) string {
		b.mu.Lock()
		defer b.mu.Unlock()
		return f(b.last)
	})
}

func newProgress(a *app) *progress {
	p := &progress{a: a}
	if !a.json && terminal(a.out) {
		p.bars = mpb.New(mpb.WithOutput(a.out), mpb.WithWidth(72), mpb.WithRefreshRate(100*time.Millisecond))
	}
	return p
}

// update is given to train.Options.
func (p *progress) update(now train.Progress) {
	switch {
	case p.bars != nil:
		p.draw(now)
	case p.a.json:
		if p.due(now, jsonInterval) {
			p.line(now)
		}
	case p.due(now, lineInterval):
		p.a.say("%s", p.text(now))
	}
}

// due tells whether a line is to be printed: the last step of a phase always is.
func (p *progress) due(now train.Progress, every time.Duration) bool {
	if now.Phase == train.Saving || now.Step != now.Steps && time.Since(p.shown) < every {
		return false
	}
	p.shown = time.Now()
	return true
}

// line has rounded numbers, and none that JSON cannot say.
func (p *progress) line(now train.Progress) {
	var accuracy *float64 // none where a prediction is not right or wrong
	if now.Labelled {
		v := finite(now.Accuracy)
		accuracy = &v
	}
	// What cannot be printed, the end of the run cannot either, and reports it.
	_ = p.a.emit(struct {
		Event     string   `json:"event"`
		Phase     string   `json:"phase"`
		Epoch     int      `json:"epoch"`
		Epochs    int      `json:"epochs"`
		Step      int      `json:"step"`
		Steps     int      `json:"steps"`
		Loss      float64  `json:"loss"`
		Accuracy  *float64 `json:"accuracy,omitempty"`
		Rate      float64  `json:"rows_per_s"`
		Remaining float64  `json:"remaining_s"`
	}{"progress", string(now.Phase), now.Epoch, now.Epochs, now.Step, now.Steps,
		finite(now.Loss), accuracy, finite(now.RowsPerSecond), finite(now.Remaining.Seconds())})
}

func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return math.Round(v*1e6) / 1e6
}

// text is everything about a moment of a run.
func (p *progress) text(now train.Progress) string {
	m := p.a.msg
	head := m.Sprintf("epoch %d of %d, step %d of %d", now.Epoch, now.Epochs, now.Step, now.Steps)
	if now.Phase == train.Evaluating {
		head = m.Sprintf("epoch %d of %d, evaluation", now.Epoch, now.Epochs)
	}
	parts := []string{head, m.Sprintf("loss %s", lossText(now.Loss))}
	if now.Labelled {
		parts = append(parts, m.Sprintf("accuracy %.4f", now.Accuracy))
	}
	parts = append(parts, m.Sprintf("%s rows/s", m.Count(int(now.RowsPerSecond))))
	if now.Phase == train.Training && now.Remaining > 0 {
		parts = append(parts, m.Sprintf("%s left", now.Remaining.Round(time.Second)))
	}
	return strings.Join(parts, m.Sprintf(", "))
}

// draw moves the bar of an epoch or an evaluation; each of them leaves its own behind.
func (p *progress) draw(now train.Progress) {
	if now.Phase == train.Saving {
		return
	}
	if p.bar == nil {
		p.bar = &bar{last: now}
		p.bar.Bar = p.bars.AddBar(int64(now.Steps), mpb.BarFillerTrim(),
			mpb.PrependDecorators(p.bar.decorator(p.name)), mpb.AppendDecorators(p.bar.decorator(p.numbers)))
	}
	p.bar.set(now)
	if now.Step == now.Steps { // every phase shows its last step
		p.bar.Wait()
		p.bar = nil
	}
}

// lossText keeps a loss short, also of a run that goes astray.
func lossText(loss float64) string {
	if math.Abs(loss) < 1e5 {
		return fmt.Sprintf("%.4f", loss)
	}
	return fmt.Sprintf("%.4g", loss)
}

func (p *progress) name(s train.Progress) string {
	m := p.a.msg
	text := m.Sprintf("epoch %d/%d", s.Epoch, s.Epochs)
	if s.Phase == train.Evaluating {
		text = m.Sprintf("evaluation")
	}
	return message.Pad(text, 12)
}

func (p *progress) numbers(s train.Progress) string {
	m := p.a.msg
	text := fmt.Sprintf(" %d/%d  ", s.Step, s.Steps) + m.Sprintf("loss %s", lossText(s.Loss))
	if s.Labelled {
		text += "  " + m.Sprintf("accuracy %.4f", s.Accuracy)
	}
	text += "  " + m.Sprintf("%s rows/s", m.Count(int(s.RowsPerSecond)))
	if s.Phase == train.Training && s.Remaining > 0 {
		text += "  " + m.Sprintf("%s left", s.Remaining.Round(time.Second))
	}
	return text
}

// close waits until everything is drawn. A bar that was under way is left as it stands.
func (p *progress) close() {
	if p.bars == nil {
		return
	}
	if p.bar != nil {
		p.bar.Abort(false)
		p.bar = nil
	}
	p.bars.Wait()
}

// counter is a bar for things that are done one by one; without a terminal it is silent.
type counter struct {
	bars *mpb.Progress
	bar  *mpb.Bar
}

func newCounter(a *app, w io.Writer, name string, total int) *counter {
	if a.json || !terminal(w) {
		return &counter{}
	}
	bars := mpb.New(mpb.WithOutput(w), mpb.WithWidth(72))
	return &counter{bars, bars.AddBar(int64(total), mpb.BarFillerTrim(),
		mpb.PrependDecorators(decor.Name(message.Pad(name, 12))), mpb.AppendDecorators(decor.CountersNoUnit(" %d/%d")))}
}

func (c *counter) add(n int) {
	if c.bar != nil {
		c.bar.IncrBy(n)
	}
}

func (c *counter) close() {
	if c.bar != nil {
		if !c.bar.Completed() {
			c.bar.Abort(false)
		}
		c.bars.Wait()
	}
}

// opening shows on a terminal how far a model is that takes its time to open; done takes
// the line away.
func (a *app) opening(path string) (progress func(done, all int64), done func()) {
	const patience = 300 * time.Millisecond
	if a.json || !terminal(a.err) {
		return nil, func() {}
	}
	begin, shown := time.Now(), int64(-1)
	progress = func(done, all int64) {
		if percent := 100 * done / max(all, 1); percent != shown && time.Since(begin) > patience {
			shown = percent
			fmt.Fprintf(a.err, "\r%s", a.msg.Sprintf("Opening %s: %d %%", filepath.Base(path), percent))
		}
	}
	return progress, func() {
		if shown >= 0 {
			fmt.Fprint(a.err, "\r\x1b[K")
		}
	}
}

// closing closes a model, and says on a terminal what it waits for when it takes its
// time. Where nothing had been interrupted before, an interrupt ends the waiting: what
// was not written whole is of no use to the next start, and does no harm.
func (a *app) closing(ctx context.Context, closeModel func() error) error {
	const patience = time.Second
	if a.json || !terminal(a.err) {
		return closeModel()
	}
	interrupted := ctx.Done()
	if ctx.Err() != nil {
		interrupted = nil // the next one ends the process
	}
	closed := make(chan error, 1)
	go func() { closed <- closeModel() }()
	select {
	case err := <-closed:
		return err
	case <-time.After(patience):
	}
	fmt.Fprint(a.err, a.msg.Sprintf("Keeping the packed weights, so that the next start is faster; Ctrl-C ends it"))
	defer fmt.Fprint(a.err, "\r\x1b[K")
	select {
	case err := <-closed:
		return err
	case <-interrupted:
		return fault.From(ctx.Err(), "tandem.close")
	}
}
