package llm

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"tandem/fault"
	"tandem/kernel"
)

// TestThreadsPickTheSameTokens: the answers of a step are picked by all threads at once,
// and each is what its sampler picks alone.
func TestThreadsPickTheSameTokens(t *testing.T) {
	const answers, rounds, vocab = 24, 6, 20_000
	pool := kernel.NewPool(4, kernel.Detect())
	defer pool.Close()
	e := &engine{pool: pool.Branch(), rooms: make([]samplerRoom, pool.Threads())}
	for i := range e.rooms {
		e.rooms[i].pool = e.pool
	}
	kinds := []Sampling{
		{Logprobs: 3}, {Temperature: 1, Logprobs: -1}, {Temperature: 0.8, TopK: 40, TopP: 0.9, Logprobs: 0},
		{Temperature: 1.2, MinP: 0.01, Repetition: 1.3, Logprobs: 20}, {Temperature: 0.7, TopP: 0.95, Frequency: 0.5, Presence: 0.2, Logprobs: -1},
	}
	newAnswer := func(i int) *answer {
		s := kinds[i%len(kinds)]
		s.Seed = uint64(i)
		return &answer{
			sampler: newSampler(s, []int{1, 2, 3}), left: 1000,
			decode: func(id int) string { return fmt.Sprint(id, " ") }, flush: func() string { return "" },
		}
	}
	alone, together, step := make([]*answer, answers), make([]*answer, answers), []part(nil)
	for i := range answers {
		alone[i], together[i] = newAnswer(i), newAnswer(i)
		if i%5 == 4 { // a piece of a prompt that goes on: nothing is picked after it
			step = append(step, part{&sequence{tokens: make([]int, 9)}, 3})
		}
		step = append(step, part{&sequence{tokens: make([]int, 1), answer: together[i]}, 1})
	}
	room, r := testRoom(t), rand.New(rand.NewPCG(9, 9))
	for round := range rounds {
		logits, want := make([][]float32, answers), make([]Piece, answers)
		for i := range logits {
			logits[i] = randomLogits(r, vocab)
			want[i] = alone[i].next(slices.Clone(logits[i]), room)
		}
		got := e.pick(step, logits)
		for i := range want {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Fatalf("round %d: answer %d goes on with %+v, alone with %+v", round, i, got[i], want[i])
			}
		}
	}
}

// failing is a runner whose first step panics.
type failing struct {
	runner
	steps int
}

func (f *failing) run(ctx context.Context, step []part) ([][]float32, error) {
	if f.steps++; f.steps == 1 {
		panic("out of order")
	}
	return f.runner.run(ctx, step)
}

// TestPanicIsContained: the request of a step that panics ends with an error, the next one
// is answered.
func TestPanicIsContained(t *testing.T) {
	m := small(t, "llama2", Options{Context: 32})
	m.awaitIdle(t)
	m.engine.runner = &failing{runner: m.engine.runner}
	for i := range 2 {
		ids, _, _, err := ask(m, Request{Prompt: []int{5}, MaxTokens: 3, IgnoreEnd: true})
		if i == 0 && (fault.KindOf(err) != fault.Internal || !strings.Contains(err.Error(), "out of order")) || i == 1 && (err != nil || len(ids) != 3) {
			t.Errorf("request %d: %v %v", i, ids, err)
		}
	}
}
