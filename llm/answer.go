package llm

import (
	"slices"
	"strings"
)

// answer is the text of one sequence as it grows: it finds where the answer ends.
type answer struct {
	sampler *sampler
	decode  func(id int) string // gives whole characters only
	flush   func() string       // what decode still holds
	ends    []int               // tokens that end it
	stops   []string            // texts that end it
	left    int                 // tokens that may still come
	held    string              // text that may be the beginning of a stop string
}

// next picks the token that follows, and says what can be shown.
func (a *answer) next(logits []float32, room *samplerRoom) Piece {
	c := a.sampler.pick(logits, room)
	if c.broken {
		return Piece{Finish: finishBroken}
	}
	p := Piece{Alternative: c.Alternative, Top: c.top}
	a.left--
	if slices.Contains(a.ends, c.ID) {
		p.End, p.Finish = true, FinishStop
	} else {
		a.held += a.decode(c.ID)
		if a.left == 0 {
			p.Finish = FinishLength
		}
	}
	if p.Finish != FinishNone {
		a.held += a.flush()
	}
	if i := firstStop(a.held, a.stops); i >= 0 {
		p.Text, a.held, p.Finish = a.held[:i], "", FinishStop
		return p
	}
	keep := 0
	if p.Finish == FinishNone {
		keep = begun(a.held, a.stops)
	}
	p.Text, a.held = a.held[:len(a.held)-keep], a.held[len(a.held)-keep:]
	return p
}

// firstStop is where the first of the stop strings begins in text, or -1.
func firstStop(text string, stops []string) int {
	first := -1
	for _, s := range stops {
		if i := strings.Index(text, s); i >= 0 && (first < 0 || i < first) {
			first = i
		}
	}
	return first
}

// begun is the length of the longest end of text that is the beginning of a stop
// string.
func begun(text string, stops []string) int {
	longest := 0
	for _, s := range stops {
		for n := min(len(s)-1, len(text)); n > longest; n-- {
			if strings.HasSuffix(text, s[:n]) {
				longest = n
			}
		}
	}
	return longest
}
