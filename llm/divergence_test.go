package llm

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
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
		Tokens  []int
		Formats map[string][][]float64 // logarithmic probabilities after each token
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	pool := kernel.NewPool(2, kernel.Detect())
	defer pool.Close()
	dense := logprobsOf(t, pool, filepath.Join(dir, "f32.gguf"), r.Tokens)
	if d := divergence(r.Formats["f32"], dense); !(d < 1e-5) {
		t.Errorf("float32 diverges from llama.cpp's by %.3g nats", d)
	}
	for format, theirs := range r.Formats {
		if format == "f32" {
			continue
		}
		ours := divergence(dense, logprobsOf(t, pool, filepath.Join(dir, format+".gguf"), r.Tokens))
		peer := divergence(r.Formats["f32"], theirs)
		t.Logf("%-7s %.4g nats, llama.cpp %.4g: %.3f ×", format, ours, peer, ours/peer)
		if !(ours <= 1.05*peer) || peer == 0 {
			t.Errorf("%s: the divergence is %.4g nats, llama.cpp's %.4g", format, ours, peer)
		}
	}
}

// logprobsOf are those after each token, by the form of the model that serves.
func logprobsOf(t *testing.T, pool *kernel.Pool, path string, tokens []int) [][]float64 {
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
	logits := pagedStep{[][]int{tokens}, []int{0}, [][]int{{4, 2, 7, 0, 1, 3, 8}}}.run(t, compiledPaged(t, g, pool))
	out := make([][]float64, len(logits))
	for i, row := range logits {
		total := 0.0
		for _, v := range row {
			total += math.Exp(float64(v))
		}
		for _, v := range row {
			out[i] = append(out[i], float64(v)-math.Log(total))
		}
	}
	return out
}

// divergence is Kullback and Leibler's, of q from p, in nats, the mean over rows of
// logarithmic probabilities.
func divergence(p, q [][]float64) float64 {
	sum := 0.0
	for i := range p {
		for j, lp := range p[i] {
			sum += math.Exp(lp) * (lp - q[i][j])
		}
	}
	return sum / float64(len(p))
}
