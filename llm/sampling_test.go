package llm

import (
	"cmp"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"tandem/fault"
	"tandem/kernel"
)

func testRoom(t *testing.T) *samplerRoom {
	t.Helper()
	pool := kernel.NewPool(1, kernel.Detect())
	t.Cleanup(pool.Close)
	return &samplerRoom{pool: pool}
}

func randomLogits(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64() * 3)
	}
	return x
}

// probabilities in float64, and the order from the most probable on.
func probabilities(logits []float32, temperature float64) (p []float64, order []int) {
	total := 0.0
	for i, v := range logits {
		p = append(p, math.Exp(float64(v)/temperature))
		total += p[i]
		order = append(order, i)
	}
	for i := range p {
		p[i] /= total
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p[b], p[a]) })
	return p, order
}

// TestDrawsFollowTheDistribution: what is drawn is what the limits leave, as often as
// its probability says.
func TestDrawsFollowTheDistribution(t *testing.T) {
	room, r := testRoom(t), rand.New(rand.NewPCG(1, 2))
	for _, tc := range []struct {
		name string
		s    Sampling
		keep func(p []float64, order []int) int // how many of order are left
	}{
		{"all", Sampling{Temperature: 0.8}, func(p []float64, order []int) int { return len(order) }},
		{"top k", Sampling{Temperature: 1.5, TopK: 4}, func(p []float64, order []int) int { return 4 }},
		{"top p", Sampling{Temperature: 1, TopP: 0.7}, func(p []float64, order []int) int { return nucleus(p, order, 0.7) }},
		{"top k and p", Sampling{Temperature: 1, TopK: 6, TopP: 0.8}, func(p []float64, order []int) int { return nucleus(p, order[:6], 0.8) }},
		{"min p", Sampling{Temperature: 1, MinP: 0.2}, func(p []float64, order []int) int { return atLeast(p, order, 0.2) }},
		{"top p and min p", Sampling{Temperature: 1, TopP: 0.85, MinP: 0.1}, func(p []float64, order []int) int {
			return min(nucleus(p, order, 0.85), atLeast(p, order, 0.1))
		}},
		{"all limits, of which top p cuts", Sampling{Temperature: 6, TopK: 12, TopP: 0.4, MinP: 0.7}, func(p []float64, order []int) int {
			return min(nucleus(p, order[:12], 0.4), atLeast(p, order, 0.7))
		}},
		{"all limits, of which min p cuts", Sampling{Temperature: 6, TopK: 12, TopP: 0.8, MinP: 0.8}, func(p []float64, order []int) int {
			return min(nucleus(p, order[:12], 0.8), atLeast(p, order, 0.8))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			logits := randomLogits(r, 24)
			p, order := probabilities(logits, tc.s.Temperature)
			left := order[:tc.keep(p, order)]
			const draws = 20_000
			tc.s.Seed, tc.s.Logprobs = 5, -1
			z, counts := newSampler(tc.s, nil), map[int]int{}
			for range draws {
				counts[z.pick(slices.Clone(logits), room).ID]++
			}
			mass := 0.0
			for _, id := range left {
				mass += p[id]
			}
			for id, n := range counts {
				if !slices.Contains(left, id) {
					t.Errorf("token %d is drawn %d times and is not among those left", id, n)
				}
			}
			for _, id := range left {
				want := p[id] / mass
				if got := float64(counts[id]) / draws; math.Abs(got-want) > 4*math.Sqrt(want/draws)+1e-4 {
					t.Errorf("token %d is drawn in %.4f of all cases, expected %.4f", id, got, want)
				}
			}
		})
	}
}

// atLeast counts the tokens that have this part of the best one's probability.
func atLeast(p []float64, order []int, minP float64) int {
	n := 0
	for n < len(order) && p[order[n]] >= minP*p[order[0]] {
		n++
	}
	return n
}

func nucleus(p []float64, order []int, topP float64) int {
	total, sum := 0.0, 0.0
	for _, id := range order {
		total += p[id]
	}
	if len(order) == len(p) {
		total = 1
	}
	for i, id := range order {
		if sum += p[id]; sum >= topP*total {
			return i + 1
		}
	}
	return len(order)
}

func TestGreedyTakesTheFirstOfEquals(t *testing.T) {
	z := newSampler(Sampling{Logprobs: 2}, nil)
	c := z.pick([]float32{1, 3, 3, 0}, testRoom(t))
	if c.ID != 1 || c.top[0].ID != 1 || c.top[1].ID != 2 {
		t.Errorf("picked %d of %v", c.ID, c.top)
	}
	want := 3 - math.Log(math.Exp(1)+2*math.Exp(3)+1)
	if math.Abs(float64(c.Logprob)-want) > 1e-5 {
		t.Errorf("its logarithmic probability is %g, expected %g", c.Logprob, want)
	}
}

// TestPenalties: by hand.
func TestPenalties(t *testing.T) {
	room := testRoom(t)
	for _, tc := range []struct {
		name   string
		s      Sampling
		prompt []int
		picks  []int // the first picks, from the logits 4 3 2 -1
	}{
		{"none", Sampling{}, nil, []int{0, 0, 0}},
		{"repetition, of the prompt too", Sampling{Repetition: 2.5}, []int{1}, []int{0, 2, 0}}, // 4; 1.6 1.2 2; 1.6 1.2 .8
		{"frequency", Sampling{Frequency: 0.75}, nil, []int{0, 0, 1, 0}},                       // 4 3; 3.25 3; 2.5 3; 2.5 2.25
		{"presence", Sampling{Presence: 1.5}, nil, []int{0, 1, 0}},                             // 4 3; 2.5 3; 2.5 1.5 2
		{"bias", Sampling{Bias: map[int]float32{3: 5.5}}, nil, []int{3, 3}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.s.Logprobs = -1
			z := newSampler(tc.s, tc.prompt)
			for i, want := range tc.picks {
				if got := z.pick([]float32{4, 3, 2, -1}, room).ID; got != want {
					t.Errorf("pick %d is %d, expected %d", i, got, want)
				}
			}
		})
	}
}

// TestLeastTemperatures: what is too little to divide by takes the most probable token.
func TestLeastTemperatures(t *testing.T) {
	room := testRoom(t)
	for _, temperature := range []float64{1e-29, 1e-31, 1e-37, 1e-40, math.SmallestNonzeroFloat64} {
		for _, s := range []Sampling{{Temperature: temperature}, {Temperature: temperature, TopK: 3}, {Temperature: temperature, TopP: 0.9, MinP: 0.1}} {
			if c := newSampler(s, nil).pick([]float32{-40, 1, 3, 2.9999998}, room); c.ID != 2 || c.broken {
				t.Errorf("%+v picks %+v", s, c)
			}
		}
	}
}

// TestNoTopP: a top_p of 0 leaves the most probable token, the first of equals.
func TestNoTopP(t *testing.T) {
	room := testRoom(t)
	for _, logits := range [][]float32{{1, 3, 2, 3}, {0, 0, 0}, make([]float32, 512)} {
		want := kernel.Largest(room.pool, logits)
		for seed := range uint64(20) {
			c := newSampler(Sampling{Temperature: 2, TopP: TopP(0), Seed: seed}, nil).pick(slices.Clone(logits), room)
			if c.ID != want || c.broken {
				t.Errorf("of %.8v: %+v, expected %d", logits, c, want)
			}
		}
	}
	if TopP(0.5) != 0.5 || TopP(1) != 1 {
		t.Error("another top_p is changed")
	}
}

// TestKeepMany: keeping tokens in order and sorting all at the end leave the same.
func TestKeepMany(t *testing.T) {
	room, r := testRoom(t), rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{1, 1023, 1024, 1025, 2000, 4000} {
		p := make([]float32, 3000)
		for i := range p {
			p[i] = float32(r.IntN(700)) / 700 // many are equal, some are 0
		}
		room.keep(p, 0, 0)
		want := slices.Clone(room.likely)
		want = want[:min(n, len(want))]
		if room.keep(p, n, 0); !slices.Equal(room.likely, want) {
			t.Errorf("the %d largest are others than the first %d of all", n, n)
		}
	}
}

// TestBrokenLogits: one logit that is not a number, or infinite, is noticed wherever it is,
// in all tiers.
func TestBrokenLogits(t *testing.T) {
	for isa := kernel.Generic; isa <= kernel.Detect(); isa++ {
		pool := kernel.NewPool(1, isa)
		defer pool.Close()
		room := &samplerRoom{pool: pool}
		for n := 1; n < 70; n++ {
			for at := range n {
				for _, v := range []float64{math.NaN(), math.Inf(1)} {
					for _, s := range []Sampling{{Temperature: 1}, {Temperature: 1, TopK: 2}, {Temperature: 1, TopP: 0.5}, {Temperature: 0.5, MinP: 0.5}} {
						logits := make([]float32, n)
						logits[at] = float32(v)
						if c := newSampler(s, nil).pick(logits, room); !c.broken {
							t.Fatalf("%v: %g at %d of %d is not noticed: %+v", isa, v, at, n, c)
						}
					}
				}
			}
		}
	}
}

func TestSeedRepeats(t *testing.T) {
	room, r := testRoom(t), rand.New(rand.NewPCG(3, 4))
	logits := randomLogits(r, 1000)
	draw := func(seed uint64) (ids []int) {
		z := newSampler(Sampling{Temperature: 1, Seed: seed, Logprobs: -1}, nil)
		for range 50 {
			ids = append(ids, z.pick(slices.Clone(logits), room).ID)
		}
		return ids
	}
	if a, b := draw(7), draw(7); !slices.Equal(a, b) {
		t.Errorf("seed 7 gives %v and %v", a, b)
	}
	if a, b := draw(7), draw(8); slices.Equal(a, b) {
		t.Errorf("seeds 7 and 8 give the same tokens")
	}
}

func TestSamplingIsChecked(t *testing.T) {
	nan := math.NaN()
	for _, s := range []Sampling{
		{Temperature: -1}, {Temperature: nan}, {TopK: -1}, {TopP: 1.1}, {TopP: nan}, {MinP: -0.1}, {Repetition: -2},
		{Repetition: 1e-40}, {Frequency: 2.5}, {Presence: -3}, {Logprobs: 21}, {Bias: map[int]float32{10: 1}}, {Bias: map[int]float32{1: 101}},
	} {
		if err := s.check(10); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%+v gives %v", s, err)
		}
	}
	if err := (&Sampling{Temperature: 2, TopK: 5, TopP: 0.5, MinP: 0.1, Repetition: 1.1, Bias: map[int]float32{9: -100}}).check(10); err != nil {
		t.Error(err)
	}
}

// TestSamplingEqualsTransformers: what is left to chance, and with what probability, is what
// transformers' own processors leave (bench/llm_sampling.py).
func TestSamplingEqualsTransformers(t *testing.T) {
	text, err := os.ReadFile("testdata/sampling.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Cases []struct {
			Settings struct {
				Temperature float64
				TopK        int     `json:"top_k"`
				TopP        float64 `json:"top_p"`
				MinP        float64 `json:"min_p"`
				Repetition  float64 `json:"repetition_penalty"`
			}
			Logits []float32
			Tokens []int
			Left   map[int]float64
		}
	}
	if err := json.Unmarshal(text, &file); err != nil || len(file.Cases) < 30 {
		t.Fatal(err, len(file.Cases))
	}
	room := testRoom(t)
	for i, c := range file.Cases {
		s := c.Settings
		z := newSampler(Sampling{Temperature: s.Temperature, TopK: s.TopK, TopP: s.TopP, MinP: s.MinP, Repetition: s.Repetition, Logprobs: -1}, c.Tokens)
		z.penalise(c.Logits)
		got, total := map[int]float64{}, 0.0
		for _, l := range z.left(c.Logits, room) {
			got[l.id] = float64(l.p)
			total += got[l.id]
		}
		if len(got) != len(c.Left) {
			t.Errorf("case %d, %+v: %d tokens are left, expected %d", i, s, len(got), len(c.Left))
		}
		for id, want := range c.Left {
			if math.Abs(got[id]/total-want) > 1e-5*want+1e-9 {
				t.Errorf("case %d, %+v: token %d has the probability %.7f, expected %.7f", i, s, id, got[id]/total, want)
			}
		}
	}
}
