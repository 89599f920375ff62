package serve

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestDecide(t *testing.T) {
	now := time.Unix(1000, 0)
	at := func(rows int, class string, ago time.Duration) waiting {
		return waiting{rows: rows, class: class, arrived: now.Add(-ago)}
	}
	dead := func(w waiting) waiting { w.deadline = now; return w }
	for _, tc := range []struct {
		name    string
		queue   []waiting
		delay   time.Duration
		join    []int
		expired []int
		wait    time.Duration
	}{
		{name: "empty"},
		{name: "one does not wait", queue: []waiting{at(1, "a", 0)}, join: []int{0}},
		{name: "all that fit", queue: []waiting{at(3, "a", 0), at(3, "a", 0), at(2, "a", 0), at(1, "a", 0)}, join: []int{0, 1, 2}},
		{name: "only the class of the oldest", queue: []waiting{at(1, "a", 0), at(1, "b", 0), at(1, "a", 0)}, join: []int{0, 2}},
		{name: "a smaller one does not overtake its own class", queue: []waiting{at(5, "a", 0), at(4, "a", 0), at(1, "a", 0)}, join: []int{0}},
		{name: "a large one leads alone", queue: []waiting{at(20, "a", 0), at(1, "a", 0)}, join: []int{0}},
		{name: "a large one does not join", queue: []waiting{at(1, "a", 0), at(20, "a", 0)}, join: []int{0}},
		{name: "expired ones never run", queue: []waiting{dead(at(1, "a", 0)), at(1, "a", 0), dead(at(1, "b", 0))}, join: []int{1}, expired: []int{0, 2}},
		{name: "expired behind a full step", queue: []waiting{at(8, "a", 0), dead(at(1, "a", 0))}, join: []int{0}, expired: []int{1}},
		{name: "delay not over", queue: []waiting{at(1, "a", 2*time.Millisecond)}, delay: 5 * time.Millisecond, wait: 3 * time.Millisecond},
		{name: "delay over", queue: []waiting{at(1, "a", 5*time.Millisecond)}, delay: 5 * time.Millisecond, join: []int{0}},
		{name: "full before the delay", queue: []waiting{at(4, "a", 0), at(4, "a", 0)}, delay: time.Second, join: []int{0, 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var d decision
			decide(tc.queue, Limits{MaxBatchRows: 8, MaxDelay: tc.delay}, now, &d)
			if !slices.Equal(d.join, tc.join) || !slices.Equal(d.expired, tc.expired) || d.wait != tc.wait {
				t.Errorf("join %v, expired %v, wait %v; want %v, %v, %v", d.join, d.expired, d.wait, tc.join, tc.expired, tc.wait)
			}
		})
	}
}

// TestDecideSimulation plays random arrivals against the rules that decide's comment
// promises: full use of a step, one class, order within a class, no starvation.
func TestDecideSimulation(t *testing.T) {
	const maxRows = 16
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		type item struct {
			waiting
			id, ahead int
		}
		var queue []item
		var d decision
		next, lastOfClass := 0, map[string]int{}
		for step := 0; step < 60 || len(queue) > 0; step++ {
			for range rng.IntN(5) {
				if step < 60 {
					w := waiting{rows: 1 + rng.IntN(maxRows+4), class: fmt.Sprint(rng.IntN(3))}
					queue = append(queue, item{w, next, len(queue)})
					next++
				}
			}
			view := make([]waiting, len(queue))
			for i := range queue {
				view[i] = queue[i].waiting
			}
			decide(view, Limits{MaxBatchRows: maxRows}, time.Time{}, &d)
			if len(queue) == 0 {
				continue
			}
			if len(d.join) == 0 || d.join[0] != 0 {
				t.Fatalf("seed %d: the oldest of %d does not lead: %v", seed, len(queue), d.join)
			}
			rows := 0
			for _, i := range d.join {
				q := queue[i]
				rows += q.rows
				if q.class != queue[0].class {
					t.Fatalf("seed %d: classes %s and %s joined", seed, q.class, queue[0].class)
				}
				if last, ok := lastOfClass[q.class]; ok && q.id < last {
					t.Fatalf("seed %d: request %d overtaken by %d of its class", seed, q.id, last)
				}
				lastOfClass[q.class] = q.id
			}
			if rows > maxRows && len(d.join) > 1 {
				t.Fatalf("seed %d: %d rows joined", seed, rows)
			}
			left := queue[:0]
			for i, q := range queue {
				if slices.Contains(d.join, i) {
					continue
				}
				if q.ahead--; q.ahead < 0 {
					t.Fatalf("seed %d: request %d waits longer than the requests ahead of it take", seed, q.id)
				}
				left = append(left, q)
			}
			queue = left
		}
	}
}
