package llm

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"tandem/graph/op"
	"tandem/kernel"
	"tandem/model/gguf"
)

// TestQuantisedDivergence compares how far quantising moves what a trained model says,
// here and in llama.cpp: bench/llm_kl.py makes the files and asks llama.cpp.
func TestQuantisedDivergence(t *testing.T) {
	dir := os.Getenv("LLM_KL")
	if dir == "" {
		t.Skip("LLM_KL does not name a folder made by bench/llm_kl.py")
	}
	text, err := os.ReadFile(filepath.Join(dir, "llama.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Stretches [][]int
		Formats   map[string][][]float64 // logarithmic probabilities after each token
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	pool := kernel.NewPool(2, kernel.Detect())
	defer pool.Close()
	dense := logprobsOf(t, pool, filepath.Join(dir, "f32.gguf"), r.Stretches)
	if d := mean(divergences(r.Formats["f32"], dense)); !(d < 1e-5) {
		t.Errorf("float32 diverges from llama.cpp's by %.3g nats", d)
	}
	for _, format := range slices.Sorted(maps.Keys(r.Formats)) {
		if format == "f32" {
			continue
		}
		ours := divergences(dense, logprobsOf(t, pool, filepath.Join(dir, format+".gguf"), r.Stretches))
		peer := divergences(r.Formats["f32"], r.Formats[format])
		ratio := mean(ours) / mean(peer)
		t.Logf("%-7s %.4g nats, llama.cpp %.4g: %.3f × (standard error %.3f, %d rows)",
			format, mean(ours), mean(peer), ratio, ratioError(ours, peer, len(r.Stretches)), len(ours))
		if !(ratio <= 1.05) {
			t.Errorf("%s: the divergence is %.4g nats, llama.cpp's %.4g", format, mean(ours), mean(peer))
		}
	}
}

// ratioError is the standard error of mean(a)/mean(b) by its linearisation, from stretches of
// rows, which are independent of each other as rows that follow one another are not.
func ratioError(a, b []float64, stretches int) float64 {
	ratio, n, sum := mean(a)/mean(b), len(a)/stretches, 0.0
	for i := range stretches {
		d := mean(a[i*n:][:n]) - ratio*mean(b[i*n:][:n])
		sum += d * d
	}
	return math.Sqrt(sum/float64(stretches*(stretches-1))) / mean(b)
}

func mean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

// logprobsOf are those after each token of each stretch, by the form of the model that serves.
func logprobsOf(t *testing.T, pool *kernel.Pool, path string, stretches [][]int) (rows [][]float64) {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := parseGGUF(f, 256)
	if err != nil {
		t.Fatal(err)
	}
	w := newWeights()
	if err := w.addGGUF(f); err != nil {
		t.Fatal(err)
	}
	g, err := buildDecoder(c, w, op.Default(), 1, 256)
	if err != nil {
		t.Fatal(err)
	}
	s := compiledPaged(t, g, pool)
	for _, tokens := range stretches {
		for _, row := range (pagedStep{[][]int{tokens}, []int{0}, [][]int{{4, 2, 7, 0, 1, 3, 8}}}).run(t, s) {
			rows = append(rows, logSoftmax(row))
		}
	}
	return rows
}

func logSoftmax(logits []float32) (out []float64) {
	total := 0.0
	for _, v := range logits {
		total += math.Exp(float64(v))
	}
	for _, v := range logits {
		out = append(out, float64(v)-math.Log(total))
	}
	return out
}

// divergences are Kullback and Leibler's, of q from p, in nats, for each row of logarithmic
// probabilities.
func divergences(p, q [][]float64) []float64 {
	out := make([]float64, len(p))
	for i := range p {
		for j, lp := range p[i] {
			out[i] += math.Exp(lp) * (lp - q[i][j])
		}
	}
	return out
}
