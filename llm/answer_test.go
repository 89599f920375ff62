package llm

import (
	"testing"
)

// spelled decodes tokens by a list, holding the last byte of each back to see that it
// is flushed.
type spelled struct {
	words []string
	held  string
}

func (s *spelled) Write(id int) string {
	text := s.held + s.words[id]
	s.held = text[len(text)-1:]
	return text[:len(text)-1]
}

func (s *spelled) Flush() string { return s.held }

func TestStopStringsAcrossTokens(t *testing.T) {
	words, room := []string{"Hello ", "wor", "ld. EN", "D of it", "\n\n"}, testRoom(t)
	for _, tc := range []struct {
		stops  []string
		tokens []int
		left   int
		text   string
		finish Finish
		n      int // tokens until the end
	}{
		{nil, []int{0, 1, 2}, 3, "Hello world. EN", FinishLength, 3},
		{[]string{"END"}, []int{0, 1, 2, 3}, 9, "Hello world. ", FinishStop, 4},
		{[]string{"END", "world"}, []int{0, 1, 2, 3}, 9, "Hello ", FinishStop, 3},
		{[]string{"ENDING"}, []int{0, 1, 2, 3}, 4, "Hello world. END of it", FinishLength, 4},
		{[]string{"END of it!"}, []int{2, 3}, 2, "ld. END of it", FinishLength, 2}, // held to the end
	} {
		a := &answer{sampler: newSampler(Sampling{Logprobs: -1}, nil), stops: tc.stops, left: tc.left}
		s := &spelled{words: words}
		a.decode, a.flush = s.Write, s.Flush
		text, n := "", 0
		var p Piece
		for _, id := range tc.tokens {
			logits := make([]float32, len(words))
			logits[id] = 1
			p = a.next(logits, room)
			text += p.Text
			if n++; p.Finish != FinishNone {
				break
			}
		}
		if text != tc.text || p.Finish != tc.finish || n != tc.n {
			t.Errorf("stops %q: %q, finish %q after %d tokens; expected %q, %q after %d", tc.stops, text, p.Finish, n, tc.text, tc.finish, tc.n)
		}
	}
}

func TestEndToken(t *testing.T) {
	s := &spelled{words: []string{"a", "b"}}
	a := &answer{sampler: newSampler(Sampling{Logprobs: -1}, nil), decode: s.Write, flush: s.Flush, ends: []int{1}, left: 5}
	room := testRoom(t)
	first, second := a.next([]float32{1, 0}, room), a.next([]float32{0, 1}, room)
	if text := first.Text + second.Text; text != "a" || !second.End || second.Finish != FinishStop {
		t.Errorf("%q, %+v", text, second)
	}
}
