package llm

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"tandem/kernel"
)

func TestProf(t *testing.T) {
	path := os.Getenv("PROF_MODEL")
	if path == "" {
		t.Skip()
	}
	geti := func(k string, d int) int {
		if v, err := strconv.Atoi(os.Getenv(k)); err == nil {
			return v
		}
		return d
	}
	par, pp, tg, th := geti("PAR", 16), geti("PP", 17), geti("TG", 64), geti("TH", 2)
	pool := kernel.NewPool(th, kernel.Detect())
	room := pp + tg + 2
	m, err := Open(path, Options{Pool: pool, Context: room, Limits: Limits{MaxSequences: par, CacheTokens: par * room}, PackedDir: os.Getenv("HOME") + "/.cache/tandem/packed"})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := time.Now()
	var first, last time.Time
	n := 0
	for i := range par {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			q := Request{Prompt: make([]int, pp), MaxTokens: tg, IgnoreEnd: true, Sampling: Sampling{Logprobs: -1}}
			for j := range q.Prompt {
				q.Prompt[j] = r.IntN(m.Config().Vocab)
			}
			k := 0
			for _, err := range m.Generate(context.Background(), q) {
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				last = time.Now()
				if k == 0 {
					first = last
				} else {
					n++
				}
				k++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	fmt.Printf("prefill %.1f tok/s, decode %.1f tok/s\n", float64(par*pp)/first.Sub(start).Seconds(), float64(n)/last.Sub(first).Seconds())
}
