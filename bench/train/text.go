package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/kernel"
	"tandem/nn"
	"tandem/tensor"
	"tandem/train"
)

// A quality run trains a small network on the characters of a text and prints bits per
// character of the part that was held out. bench/text_twin.py does the same in PyTorch:
// the same network, distributions of first weights, windows of text, and optimizer.

const (
	textRows, textSteps = 32, 64 // windows in a batch, characters in a window
	textHeldOut         = 10     // the last tenth
	textTests           = 40     // batches of held-out windows
	textRate            = 2e-3
)

// textNetwork is by name: lstm, or transformer.
func textNetwork(name string, characters int) (nn.Sequential, error) {
	switch name {
	case "lstm":
		return nn.Sequential{nn.Embedding{Count: characters, Size: 64}, nn.Recurrent{Cell: nn.LSTM, Units: 128}, nn.Dense{Units: characters}, nn.Softmax}, nil
	case "transformer":
		return nn.Sequential{
			nn.Embedding{Count: characters, Size: 96}, nn.Transformer{Blocks: 2, Heads: 4, Causal: true}, nn.Dense{Units: characters}, nn.Softmax,
		}, nil
	}
	return nil, fmt.Errorf("there is no network %q of texts", name)
}

// corpus is a text as classes of characters.
type corpus struct {
	classes     []int64
	count       int // of different characters
	train, test int // where the held-out part begins and ends
}

func readCorpus(path string) (*corpus, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	used := slices.Clone(text)
	slices.Sort(used)
	used = slices.Compact(used)
	c := &corpus{count: len(used), train: len(text) - len(text)/textHeldOut, test: len(text)}
	for _, b := range text {
		at, _ := slices.BinarySearch(used, b)
		c.classes = append(c.classes, int64(at))
	}
	return c, nil
}

// window fills row r with the characters from at on, and with those that follow them.
func (c *corpus) window(x, y *tensor.Tensor, r, at int) {
	copy(x.I64()[r*textSteps:][:textSteps], c.classes[at:])
	copy(y.I64()[r*textSteps:][:textSteps], c.classes[at+1:])
}

// draw is a number below n, of a seed and a counter (SplitMix64, Steele et al., 2014).
func draw(seed, counter uint64, n int) int {
	z := seed*0xD1342543DE82EF95 + (counter+1)*0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return int((z ^ z>>31) % uint64(n))
}

// runText trains for so many steps and prints one JSON object.
func runText(name, path string, steps int, seed uint64, pool *kernel.Pool) error {
	c, err := readCorpus(path)
	if err != nil {
		return err
	}
	layers, err := textNetwork(name, c.count)
	if err != nil {
		return err
	}
	ids := graph.Type{DType: tensor.Int64, Shape: graph.Shape{graph.Sym("batch"), graph.Const(textSteps)}}
	p, err := (network{name: name, input: ids, tokens: textSteps, layers: layers}).problem(seed)
	if err != nil {
		return err
	}
	spec := train.TrainSpec{Seed: seed, Optimizer: train.OptimizerSpec{Name: "adam", LearningRate: textRate, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8}}
	s, err := train.NewStepper(p, spec, op.Default(), pool)
	if err != nil {
		return err
	}
	defer s.Close()
	x, y := tensor.New(tensor.Int64, textRows, textSteps), tensor.New(tensor.Int64, textRows, textSteps)
	step := func(i int, rate float32) (float64, error) {
		loss, _, err := s.Step(context.Background(), i+1, rate, []*tensor.Tensor{x}, y)
		return loss, err
	}
	start := time.Now()
	for i := range steps {
		for r := range textRows {
			c.window(x, y, r, draw(seed, uint64(i*textRows+r), c.train-textSteps-1))
		}
		rate := textRate * (1 + math.Cos(math.Pi*float64(i)/float64(steps))) / 2
		if _, err := step(i, float32(rate)); err != nil {
			return err
		}
	}
	took := time.Since(start)
	sum := 0.0
	for i := range textTests { // steps at rate 0 change no weight
		for r := range textRows {
			c.window(x, y, r, c.train+(i*textRows+r)*(c.test-c.train-textSteps-1)/(textTests*textRows))
		}
		loss, err := step(steps+i, 0)
		if err != nil {
			return err
		}
		sum += loss
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"model": name, "seed": seed, "steps": steps, "characters": steps * textRows * textSteps, "seconds": took.Seconds(),
		"bits_per_character": sum / textTests / math.Ln2, "isa": pool.ISA().String(),
	})
}
