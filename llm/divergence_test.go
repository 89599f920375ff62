package llm

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"tandem/graph"
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
	answers := func(format string, unrounded bool) [][]float64 {
		return logprobsOf(t, pool, filepath.Join(dir, format+".gguf"), unrounded, r.Stretches)
	}
	dense, peerDense := answers("f32", false), r.Formats["f32"]
	if d := mean(divergences(peerDense, dense)); !(d < 1e-5) {
		t.Errorf("float32 diverges from llama.cpp's by %.3g nats", d)
	}
	delete(r.Formats, "f32")
	for _, format := range slices.Sorted(maps.Keys(r.Formats)) {
		rows, peerRows := answers(format, false), r.Formats[format]
		ours, peer := divergences(dense, rows), divergences(peerDense, peerRows)
		t.Logf("%-7s %s", format, beside(ours, peer, len(r.Stretches)))
		if !(mean(ours) <= 1.05*mean(peer)) || mean(peer) == 0 {
			t.Errorf("%s: the divergence is %.4g nats, llama.cpp's %.4g", format, mean(ours), mean(peer))
		}
		// What rounding activations does alone: from the same weights with float32 activations.
		exact := answers(format, true)
		t.Logf("%-7s %s by activations", format, beside(divergences(exact, rows), divergences(exact, peerRows), len(r.Stretches)))
	}
}

func beside(ours, peer []float64, stretches int) string {
	return fmt.Sprintf("%.4g nats, llama.cpp %.4g: %.3f × (standard error %.3f, %d rows)",
		mean(ours), mean(peer), mean(ours)/mean(peer), ratioError(ours, peer, stretches), len(ours))
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
// Unrounded, weights are float32 of the same values, and activations are not quantised.
func logprobsOf(t *testing.T, pool *kernel.Pool, path string, unrounded bool, stretches [][]int) (rows [][]float64) {
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
	for i := 0; unrounded && i < len(f.Tensors); i++ {
		x, err := dense(&f.Tensors[i])
		if err != nil {
			t.Fatal(err)
		}
		w.byName[f.Tensors[i].Name] = graph.ConstantOf(x)
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
