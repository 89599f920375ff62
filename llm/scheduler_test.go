package llm

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestSchedulerSimulation plays random requests to their end and looks at every step:
// no page and no slot twice, limits kept, every sequence computed once and in order,
// nobody starved.
func TestSchedulerSimulation(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		l := Limits{MaxSequences: 1 + r.IntN(5), MaxStepTokens: 1 + r.IntN(20)}
		pageSize, pages := 1+r.IntN(4), 8+r.IntN(10)
		s := newScheduler(l, pageSize, pages)
		answers := map[*sequence]int{} // tokens still to generate
		todo := 12
		for steps := 0; todo > 0 || len(answers) > 0; steps++ {
			if steps > 20_000 {
				t.Fatalf("seed %d: no end", seed)
			}
			if todo > 0 && r.IntN(3) == 0 {
				n := 1 + r.IntN(pageSize*pages-1)
				q := &sequence{tokens: make([]int, n)}
				answers[q] = 1 + r.IntN(pageSize*pages-n)
				s.add(q)
				todo--
			}
			for q := range answers { // someone goes away
				if r.IntN(200) == 0 {
					s.remove(q)
					delete(answers, q)
				}
				break
			}
			step := s.next()
			if step == nil && len(answers) > 0 {
				t.Fatalf("seed %d: %d sequences wait and nothing is computed", seed, len(answers))
			}
			checkStep(t, s, step, l, pageSize, pages)
			for _, p := range step {
				last := p.last()
				if p.done += p.count; !last {
					continue
				}
				if answers[p.sequence]--; answers[p.sequence] == 0 {
					s.remove(p.sequence)
					delete(answers, p.sequence)
				} else {
					p.tokens = append(p.tokens, 0)
				}
			}
		}
		if len(s.freePages) != pages || len(s.freeSlots) != l.MaxSequences {
			t.Fatalf("seed %d: %d pages and %d slots are free in the end", seed, len(s.freePages), len(s.freeSlots))
		}
	}
}

func checkStep(t *testing.T, s *scheduler, step []part, l Limits, pageSize, pages int) {
	t.Helper()
	used, slots, total := slices.Clone(s.freePages), slices.Clone(s.freeSlots), 0
	for _, q := range s.running {
		used, slots = append(used, q.pages...), append(slots, q.slot)
	}
	slices.Sort(used)
	slices.Sort(slots)
	if len(used) != pages || len(slices.Compact(used)) != pages || len(slices.Compact(slots)) != l.MaxSequences {
		t.Fatalf("pages %v or slots %v are lost or there twice", used, slots)
	}
	seen := map[*sequence]bool{}
	for _, p := range step {
		total += p.count
		if seen[p.sequence] || p.slot < 0 || p.count < 1 || p.count > p.pending() || len(p.pages)*pageSize < p.done+p.count {
			t.Fatalf("a part of %d tokens of %d pending, slot %d, %d pages, %d done", p.count, p.pending(), p.slot, len(p.pages), p.done)
		}
		seen[p.sequence] = true
	}
	if total > l.MaxStepTokens || len(step) > l.MaxSequences {
		t.Fatalf("a step of %d tokens of %d sequences", total, len(step))
	}
}
