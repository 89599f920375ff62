package llm

import (
	"context"
	"encoding/json"
	"hash/fnv"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// recorded is a small model and what another program answers with it:
// bench/llm_make.py and bench/llm_logits.py write it.
type recorded struct {
	Config  json.RawMessage
	Tensors map[string][]int
	Tokens  []int
	Rows    []int
	Logits  [][]float64
}

func readRecorded(t *testing.T, path string) recorded {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var r recorded
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// formula are the weights that bench/llm_make.py gives a tensor.
func formula(name string, shape []int, offset bool) *tensor.Tensor {
	t := tensor.New(tensor.Float32, shape...)
	h := fnv.New64a()
	h.Write([]byte(name))
	seed := h.Sum64()
	for i := range t.F32() {
		x := seed + uint64(i) + 0x9E3779B97F4A7C15
		x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
		x = (x ^ x>>27) * 0x94D049BB133111EB
		x ^= x >> 31
		u := float32(x>>40)*0x1p-23 - 1
		switch {
		case len(shape) > 1:
			u *= float32(math.Sqrt(3 / float64(shape[len(shape)-1])))
		case offset || strings.HasSuffix(name, "bias"):
			u *= 0.2
		default:
			u = u*0.2 + 1
		}
		t.F32()[i] = u
	}
	return t
}

// build makes the graph of a recorded model.
func (r recorded) build(t *testing.T, context int) (*Config, *graph.Graph) {
	t.Helper()
	c, err := parseHF(r.Config, context)
	if err != nil {
		t.Fatal(err)
	}
	g, err := buildDecoder(c, r.weights(t, c), op.Default(), 1, context)
	if err != nil {
		t.Fatal(err)
	}
	return c, g
}

func (r recorded) weights(t *testing.T, c *Config) *weights {
	t.Helper()
	w := newWeights()
	for name, shape := range r.Tensors {
		if err := w.addHF(c.arch, name, formula(name, shape, c.arch.normOffset)); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// feed runs tokens through a session, a few at a time, and returns the logits after each.
func feed(t *testing.T, s *graph.Session, tokens []int, chunk int) [][]float32 {
	t.Helper()
	var all [][]float32
	for at := 0; at < len(tokens); at += chunk {
		n := min(chunk, len(tokens)-at)
		ids, positions, rows := make([]int64, n), make([]int64, n), make([]int64, n)
		for i := range n {
			ids[i], positions[i], rows[i] = int64(tokens[at+i]), int64(at+i), int64(i)
		}
		out, err := s.Run(context.Background(), []*tensor.Tensor{
			tensor.Of(ids, 1, n), tensor.Of(positions, 1, n), tensor.Of([]int64{int64(at)}, 1), tensor.Of([]int64{int64(at + n)}, 1), tensor.Of(rows, n),
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			all = append(all, out[0].Rows(i, i+1).F32())
		}
	}
	return all
}

// compare holds logits to recorded ones: within bound, and the same best token wherever
// the recorded two best are more than ten bounds apart.
func compare(t *testing.T, got [][]float32, r recorded, bound float64) {
	t.Helper()
	worst := 0.0
	for i, row := range r.Rows {
		want := r.Logits[i]
		if len(want) != len(got[row]) {
			t.Fatalf("%d logits, expected %d", len(got[row]), len(want))
		}
		best, second, ours := 0, math.Inf(-1), 0
		for j, v := range want {
			worst = max(worst, math.Abs(v-float64(got[row][j])))
			if v > want[best] {
				best = j
			}
			if got[row][j] > got[row][ours] {
				ours = j
			}
		}
		for j, v := range want {
			if j != best {
				second = max(second, v)
			}
		}
		if ours != best && want[best]-second > 10*bound {
			t.Errorf("after token %d the best is %d, expected %d by %g", row, ours, best, want[best]-second)
		}
	}
	if !(worst <= bound) {
		t.Errorf("logits differ by up to %g, allowed are %g", worst, bound)
	}
	t.Logf("largest difference %.2g", worst)
}

func compiled(t *testing.T, g *graph.Graph) *graph.Session {
	t.Helper()
	pool := kernel.NewPool(2, kernel.Detect())
	t.Cleanup(pool.Close)
	p, err := graph.Compile(g, graph.Options{Ops: op.Default(), Pool: pool, Passes: pass.Inference(pool)})
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// TestTransformers: every architecture gives the logits of transformers, whole and in
// pieces that the cache joins.
func TestTransformers(t *testing.T) {
	files, _ := filepath.Glob("testdata/transformers/*.json")
	var seen []string
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".json"), func(t *testing.T) {
			r := readRecorded(t, path)
			c, g := r.build(t, 64)
			seen = append(seen, c.Arch)
			s := compiled(t, g)
			compare(t, feed(t, s, r.Tokens, len(r.Tokens)), r, 1e-3)
			compare(t, feed(t, s, r.Tokens, 7), r, 1e-3)
		})
	}
	for _, a := range archs() {
		if len(a.hf) > 0 && !slices.Contains(seen, a.name) {
			t.Errorf("no model of %s is recorded", a.name)
		}
	}
}
