package llm

import (
	"cmp"
	"math"
	"slices"

	"tandem/fault"
	"tandem/kernel"
	"tandem/kernel/ref"
)

// Sampling says how the next token is chosen among all. The zero value takes the
// most probable one.
//
// In this order: penalties and Bias change the logits; Temperature divides them; TopK,
// then TopP and MinP leave out the improbable; Seed draws from what is left. TopP is a
// share of what TopK leaves, and MinP is one of the best token: neither takes from the
// other, as in transformers and llama.cpp (which has the temperature last by default).
type Sampling struct {
	Temperature float64 // 0 (or so little that logits overflow): the most probable token, the first of equals
	TopK        int     // so many of the most probable; 0: all
	TopP        float64 // the most probable that together have this probability; 0 or 1: all
	MinP        float64 // those at least this part as probable as the best; 0: all
	// Repetition divides the logits of tokens that have occurred if they are
	// positive, and multiplies them if not (Keskar et al., "CTRL", 2019); 0 or 1: none;
	// else LeastRepetition or more.
	Repetition float64
	// Frequency is subtracted for each time that a token has been generated,
	// Presence once if it has been at all.
	Frequency, Presence float64
	Bias                map[int]float32 // added to logits, by token
	Seed                uint64
	// Logprobs is how many alternatives are reported with each token; -1: not even
	// the token's own. They are those of the model, before any of the above.
	Logprobs int
}

const (
	maxAlternatives  = 20    // bounds Logprobs
	leastTemperature = 1e-30 // below, quotients of logits overflow; far above it, the next to best has no chance
	// LeastRepetition is the least penalty: quotients of logits by less mean nothing.
	LeastRepetition = 0.01
)

// TopP is Sampling.TopP for a top_p that someone gives: 0 leaves the most probable token
// alone, as in other programs, and all only where nothing is said.
func TopP(given float64) float64 {
	if given == 0 {
		return math.SmallestNonzeroFloat64
	}
	return given
}

// check refuses what has no meaning.
func (s *Sampling) check(vocab int) error {
	bad := func(format string, args ...any) error {
		return fault.New("llm.sampling", fault.Invalid, format, args...)
	}
	within := func(v, lo, hi float64) bool { return v >= lo && v <= hi } // false for NaN
	switch {
	case !within(s.Temperature, 0, 100):
		return bad("the temperature is %g, expected 0 to 100", s.Temperature)
	case s.TopK < 0:
		return bad("top_k is %d, expected 0 or more", s.TopK)
	case !within(s.TopP, 0, 1):
		return bad("top_p is %g, expected 0 to 1", s.TopP)
	case !within(s.MinP, 0, 1):
		return bad("min_p is %g, expected 0 to 1", s.MinP)
	case s.Repetition != 0 && !within(s.Repetition, LeastRepetition, 100):
		return bad("the repetition penalty is %g, expected %g to 100", s.Repetition, LeastRepetition)
	case !within(s.Frequency, -2, 2):
		return bad("the frequency penalty is %g, expected -2 to 2", s.Frequency)
	case !within(s.Presence, -2, 2):
		return bad("the presence penalty is %g, expected -2 to 2", s.Presence)
	case s.Logprobs > maxAlternatives:
		return bad("%d alternatives are asked for, at most %d are given", s.Logprobs, maxAlternatives)
	}
	for id, v := range s.Bias {
		if id < 0 || id >= vocab || !within(float64(v), -100, 100) {
			return bad("the bias of token %d is %g: tokens are 0 to %d, biases -100 to 100", id, v, vocab-1)
		}
	}
	return nil
}

// Alternative is a token that could have come next.
type Alternative struct {
	ID      int
	Logprob float32
}

// choice is what a sampler picks.
type choice struct {
	Alternative
	top    []Alternative // the most probable first
	broken bool          // nothing could be picked: the logits are not numbers
}

// sampler picks the tokens of one sequence. What it picks depends on the logits, on
// the tokens so far, and on the seed and the number of the token: not on what else
// is computed.
type sampler struct {
	Sampling
	seen      map[int]bool // in the prompt or generated
	generated map[int]int  // how often
	n         uint64       // tokens picked
}

// samplerRoom is scratch memory that samplers share, one at a time.
type samplerRoom struct {
	pool   *kernel.Pool
	p, log []float32 // probabilities with and before the limits: log are logarithms
	likely []likely
}

type likely struct {
	id int
	p  float32
}

// byProbability: the most probable first, the first of equals.
func byProbability(a, b likely) int { return cmp.Or(cmp.Compare(b.p, a.p), cmp.Compare(a.id, b.id)) }

func newSampler(s Sampling, prompt []int) *sampler {
	z := &sampler{Sampling: s, seen: map[int]bool{}, generated: map[int]int{}}
	if z.penalises() {
		for _, id := range prompt {
			z.seen[id] = true
		}
	}
	return z
}

func (z *sampler) penalises() bool { return z.Repetition > 0 && z.Repetition != 1 }

// pick chooses the next token. It may change logits.
func (z *sampler) pick(logits []float32, room *samplerRoom) choice {
	var c choice
	if z.Logprobs >= 0 {
		room.log = room.normalise(room.log, logits, true)
		c.top = room.best(z.Logprobs)
	}
	z.penalise(logits)
	if z.Temperature < leastTemperature {
		c.ID = kernel.Largest(room.pool, logits)
		c.broken = logits[c.ID]-logits[c.ID] != 0 // infinite or not a number
	} else {
		var p float32
		c.ID, p = z.draw(logits, room)
		c.broken = !(p > 0) // one logit that is not a number leaves no probability that is
	}
	if z.Logprobs >= 0 {
		c.Logprob = room.log[c.ID]
	}
	z.n++
	z.generated[c.ID]++
	z.seen[c.ID] = true
	return c
}

// penalise applies penalties and biases.
func (z *sampler) penalise(logits []float32) {
	if z.penalises() {
		for id := range z.seen {
			if r := float32(z.Repetition); logits[id] > 0 {
				logits[id] /= r
			} else {
				logits[id] *= r
			}
		}
	}
	if z.Frequency != 0 || z.Presence != 0 {
		for id, n := range z.generated {
			logits[id] -= float32(z.Frequency*float64(n) + z.Presence)
		}
	}
	for id, v := range z.Bias {
		logits[id] += v
	}
}

// draw takes one of the tokens that the limits leave, with its probability, which it
// tells.
func (z *sampler) draw(logits []float32, room *samplerRoom) (id int, p float32) {
	u, total := z.uniform(), 0.0
	if z.TopK == 0 && z.MinP == 0 && (z.TopP == 0 || z.TopP == 1) {
		z.temper(logits, room)
		id = room.at(u)
		return id, room.p[id]
	}
	list := z.left(logits, room)
	for _, c := range list {
		total += float64(c.p)
	}
	for _, c := range list {
		if u -= float64(c.p) / total; u < 0 {
			return c.id, c.p
		}
	}
	last := list[len(list)-1]
	return last.id, last.p
}

// temper sets room.p to the probabilities at the temperature.
func (z *sampler) temper(logits []float32, room *samplerRoom) {
	t := float32(z.Temperature)
	for i := range logits {
		logits[i] /= t
	}
	room.p = room.normalise(room.p, logits, false)
}

// left are the tokens that the limits leave, the most probable first.
func (z *sampler) left(logits []float32, room *samplerRoom) []likely {
	z.temper(logits, room)
	return room.limited(z.TopK, z.TopP, z.MinP)
}

// samplingStream keeps these draws apart from those of training under the same seed.
const samplingStream = 1 << 48

// uniform is in [0,1), by the seed and the number of the token.
func (z *sampler) uniform() float64 {
	var bits [ref.GroupLen]uint32
	stream := ref.NewStream(z.Seed, samplingStream, z.n)
	stream.Group(&bits, 0)
	return float64(uint64(bits[0])<<21|uint64(bits[1])>>11) * 0x1p-53
}

// normalise sets p to the probabilities that logits mean, or to their logarithms.
func (r *samplerRoom) normalise(p, logits []float32, log bool) []float32 {
	p = slices.Grow(p[:0], len(logits))[:len(logits)]
	s := kernel.Softmax{Y: p, X: logits, Rows: 1, Cols: len(logits), Log: log}
	s.Run(r.pool)
	return p
}

// at is the token at which the sum of the probabilities before it passes u.
func (r *samplerRoom) at(u float64) int {
	sum, last := 0.0, 0
	for i, p := range r.p {
		if p > 0 {
			last = i
			if sum += float64(p); sum > u {
				return i
			}
		}
	}
	return last
}

// best are the n tokens of the largest r.log.
func (r *samplerRoom) best(n int) []Alternative {
	if n == 0 {
		return nil
	}
	r.keep(r.log, n, float32(math.Inf(-1)))
	list := make([]Alternative, len(r.likely))
	for i, c := range r.likely {
		list[i] = Alternative{c.id, c.p}
	}
	return list
}

// limited are the tokens that the limits leave, the most probable first.
func (r *samplerRoom) limited(topK int, topP, minP float64) []likely {
	least := float32(0)
	if minP > 0 {
		least = math.Nextafter32(float32(minP)*slices.Max(r.p), 0)
	}
	if topP == 0 || topP == 1 {
		r.keep(r.p, topK, least)
		return r.likely
	}
	total, sum := 1.0, 0.0
	if topK == 0 {
		// All tokens up to this bound have 1-topP together at most.
		r.keep(r.p, 0, max(least, float32((1-topP)/float64(len(r.p)))))
		if len(r.likely) == 0 { // all are as probable
			r.keep(r.p, 1, 0)
		}
	} else {
		r.keep(r.p, topK, 0)
		total = 0
		for _, c := range r.likely {
			total += float64(c.p)
		}
	}
	for i, c := range r.likely {
		if c.p <= least {
			return r.likely[:i]
		}
		if sum += float64(c.p); sum >= topP*total {
			return r.likely[:i+1]
		}
	}
	return r.likely
}

// keep sets r.likely to the n largest of p that are more than least, sorted; n = 0: all.
func (r *samplerRoom) keep(p []float32, n int, least float32) {
	const few = 1024 // that are kept in order: of more, sorting all at the end takes less
	if n > few {
		if r.keep(p, 0, least); len(r.likely) > n {
			r.likely = r.likely[:n]
		}
		return
	}
	r.likely = r.likely[:0]
	for id, v := range p {
		c := likely{id, v}
		switch {
		case v <= least:
		case n == 0 || len(r.likely) < n:
			if r.likely = append(r.likely, c); len(r.likely) == n {
				slices.SortFunc(r.likely, byProbability)
			}
		case byProbability(c, r.likely[n-1]) < 0: // goes in, the last goes out
			i, _ := slices.BinarySearchFunc(r.likely, c, byProbability)
			copy(r.likely[i+1:], r.likely[i:n-1])
			r.likely[i] = c
		}
	}
	slices.SortFunc(r.likely, byProbability)
}
