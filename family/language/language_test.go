package language

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem"
	"tandem/fault"
	"tandem/graph/op"
	"tandem/kernel"
	"tandem/nn"
	"tandem/nn/layers"
	"tandem/tensor"
	"tandem/train"
)

// song is a text that can be told from its beginning, but for the line that comes next.
func song(t *testing.T, name string) string {
	t.Helper()
	lines := []string{"one for sorrow\n", "two for mirth\n", "three for a funeral\n", "four for birth\n"}
	var b strings.Builder
	for i := range 300 {
		b.WriteString(lines[i*i*7919/5%4])
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func spec(path string, list layers.List) train.Spec {
	s := train.Spec{Name: "song", Family: "language", Task: Generate, Data: train.DataSpec{Path: path, Window: 16}}
	s.Train.Epochs, s.Train.Seed, s.Train.BatchRows = 6, 1, 8
	s.Train.Optimizer.LearningRate = 0.01
	s.Model.Value = Model{Embedding: 16, Layers: list}
	s.FillDefaults()
	return s
}

func run(t *testing.T, s train.Spec, threads int) (*train.Record, string) {
	t.Helper()
	p, err := Prepare(t.Context(), s, op.Default())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Train.Close()
	pool := kernel.NewPool(threads, kernel.Detect())
	defer pool.Close()
	dir := filepath.Join(t.TempDir(), "run")
	r, err := train.Run(t.Context(), p, s, dir, train.Options{Ops: op.Default(), Pool: pool})
	if err != nil {
		t.Fatal(err)
	}
	return r, dir
}

// TestLearns: recurrent and attending networks, the same bits with one thread and two.
// Accuracy is that of tokens.
func TestLearns(t *testing.T) {
	path := song(t, "song.txt")
	for name, list := range map[string]layers.List{
		"lstm":        {nn.Recurrent{Cell: nn.LSTM, Units: 32}},
		"transformer": {nn.Positions{}, nn.Transformer{Blocks: 1, Heads: 2, Causal: true}},
	} {
		one, dir := run(t, spec(path, list), 1)
		if bits, accuracy := one.Metrics["test_bits_per_character"], one.Metrics["test_accuracy"]; !(bits < 1.2) || !(accuracy > 0.75 && accuracy <= 1) {
			t.Errorf("%s: %v bits per character, accuracy %v", name, bits, accuracy)
		}
		if two, _ := run(t, spec(path, list), 2); two.Artifact != one.Artifact {
			t.Errorf("%s: with two threads other weights", name)
		}
		m, err := tandem.Open(dir, tandem.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for text, want := range map[string]byte{"three for a funera": 'l', "thre": 'e', "one for sorrow\nfour for bir": 't'} {
			out, err := m.Run(t.Context(), map[string]*tensor.Tensor{"text": tensor.OfStrings([]string{text}, 1)})
			if err != nil {
				t.Fatal(err)
			}
			scores, best := out["probabilities"].F32()[(min(len(text), 16)-1)*256:][:256], 0
			for i, v := range scores {
				if v > scores[best] {
					best = i
				}
			}
			if byte(best) != want {
				t.Errorf("%s: after %q comes %q, want %q", name, text, byte(best), want)
			}
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestSmoothedLoss: smoothing changes what is learned, but not what is measured: bits per
// character are those of the probabilities.
func TestSmoothedLoss(t *testing.T) {
	s := spec(song(t, "song.txt"), layers.List{nn.Recurrent{Cell: nn.GRU, Units: 24}})
	s.Train.Epochs = 3
	plain, _ := run(t, s, 2)
	s.Train.Loss.Smoothing = 0.6
	smooth, _ := run(t, s, 2)
	// Spread over 256 bytes, 0.6 of the target costs 0.6·log2(256/0.6) bits at the least.
	if bits := smooth.Metrics["test_bits_per_character"]; smooth.Artifact == plain.Artifact || bits < plain.Metrics["test_bits_per_character"] || bits > 4 {
		t.Errorf("%v bits, without smoothing %v", bits, plain.Metrics)
	}
}

// TestFromGoesOn: training that starts from a run begins where that ended, and may have
// other text; a new head begins anew.
func TestFromGoesOn(t *testing.T) {
	path := song(t, "song.txt")
	first, dir := run(t, spec(path, layers.List{nn.Recurrent{Cell: nn.GRU, Units: 24}}), 2)
	s := spec(path, nil)
	s.Data.Window, s.From.Model, s.Train.Epochs = 0, dir, 1
	s.Train.Optimizer.LearningRate = 1e-5
	on, _ := run(t, s, 2)
	if a, b := first.Metrics["test_loss"], on.Metrics["test_loss"]; b > a*1.05 {
		t.Errorf("loss %v, after going on %v", a, b)
	}
	s.Model.Value = Model{Embedding: 16, Layers: layers.List{nn.Dense{Units: 8, Activation: nn.ReLU}}}
	if anew, _ := run(t, s, 2); anew.Metrics["test_loss"] < 2*first.Metrics["test_loss"] {
		t.Errorf("a new head has the loss %v already", anew.Metrics["test_loss"])
	}
	s.Data.Path = tokenFile(t)
	if _, err := Prepare(t.Context(), s, op.Default()); err == nil || !strings.Contains(err.Error(), "the tokens of") {
		t.Error(err)
	}
	s.Data.Path, s.Data.Window = path, 8
	if _, err := Prepare(t.Context(), s, op.Default()); err == nil || !strings.Contains(err.Error(), "takes 16 tokens") {
		t.Error(err)
	}
}

// tokenFile has five tokens, up to 260.
func tokenFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.u16")
	raw := make([]byte, 4000)
	for i := range 2000 {
		raw[2*i], raw[2*i+1] = byte(i%5), byte(i%5/4) // 0 1 2 3 260
	}
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTokenFile: numbers of two bytes have as many classes as they need, and no text.
func TestTokenFile(t *testing.T) {
	p, err := Prepare(t.Context(), spec(tokenFile(t), layers.List{nn.Recurrent{Cell: nn.GRU, Units: 8}}), op.Default())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Train.Close()
	if shape := p.Graph.Outputs[0].Type.Shape.String(); shape != "[batch, 16, 261]" || p.Artifact.Text != nil {
		t.Errorf("%s, %v", shape, p.Artifact.Text)
	}
}

// TestRefused: networks that see what is to be told, or give something else, and data that
// are no tokens.
func TestRefused(t *testing.T) {
	path := song(t, "song.txt")
	for _, tc := range []struct {
		list layers.List
		want string
	}{
		{layers.List{nn.Recurrent{Cell: nn.LSTM, Units: 8, Bidirectional: true}}, "show a step what follows it"},
		{layers.List{nn.Recurrent{Cell: nn.GRU, Units: 8, Reverse: true}}, "show a step what follows it"},
		{layers.List{nn.Transformer{Blocks: 1, Heads: 2}}, "show a step what follows it"},
		{layers.List{nn.Recurrent{Cell: nn.GRU, Units: 8, Last: true}}, "not an answer for every token"},
		{layers.List{nn.Attention{Heads: 5}}, "cannot be built for windows of 16 tokens"},
	} {
		if _, err := Prepare(t.Context(), spec(path, tc.list), op.Default()); err == nil || !strings.Contains(err.Error(), tc.want) || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%v: %v, want %q", tc.list, err, tc.want)
		}
	}
	s := spec(path, layers.List{nn.Recurrent{Cell: nn.GRU, Units: 8}})
	s.Train.Loss.Balanced = true
	if _, err := Prepare(t.Context(), s, op.Default()); err == nil || !strings.Contains(err.Error(), "tokens have none") {
		t.Errorf("balanced tokens: %v", err)
	}
	s = spec(path, nil)
	s.Data.Format = "csv"
	if _, err := Prepare(t.Context(), s, op.Default()); err == nil {
		t.Error("a table is taken for tokens")
	}
}
