package main

import (
	"context"
	"errors"
	"io"
	"math"

	"tandem/fault"
	"tandem/internal/client"
	"tandem/kernel"
	"tandem/model"
	"tandem/processor"
	"tandem/tensor"
)

// goOn writes on each text by as many bytes as were asked for.
func (c *predictCmd) goOn(ctx context.Context, a *app, t target, inputs [][]byte) error {
	for i, data := range inputs {
		text := string(data)
		for k := range c.Tokens {
			next, err := c.nextByte(ctx, t, text, uint64(k))
			if err != nil {
				return err
			}
			text += string([]byte{next})
			if !a.json {
				if _, err := a.out.Write([]byte{next}); err != nil {
					return fault.From(err, "tandem.print")
				}
			}
		}
		if a.json {
			if err := a.emit(struct {
				Input string `json:"input"`
				Text  string `json:"text"`
			}{c.Input[i], text[len(data):]}); err != nil {
				return err
			}
			continue
		}
		if _, err := io.WriteString(a.out, "\n"); err != nil {
			return fault.From(err, "tandem.print")
		}
	}
	return nil
}

// nextByte draws what follows a text; number is that of the draw.
func (c *predictCmd) nextByte(ctx context.Context, t target, text string, number uint64) (byte, error) {
	out, err := t.client.Infer(ctx, t.ref.name, t.ref.version, []client.Named{{Name: model.TextInput, Tensor: tensor.OfStrings([]string{text}, 1)}})
	if err != nil {
		return 0, err
	}
	if len(out) == 0 || out[0].Tensor.DType() != tensor.Float32 || out[0].Tensor.Rank() != 3 || out[0].Tensor.Dim(2) < processor.ByteTokens {
		return 0, fault.New("tandem.predict", fault.Unsupported, "the model does not say what follows each byte of a text").
			Try("send a request of the Open Inference Protocol in JSON, and read its outputs")
	}
	p := processor.Bytes{Steps: out[0].Tensor.Dim(1)}
	width := out[0].Tensor.Dim(2)
	scores := out[0].Tensor.F32()[p.Last(text)*width:][:processor.ByteTokens]
	word := kernel.Words(c.Seed, 0, 0, number)[0]
	return byte(choose(scores, c.Temperature, float64(word)/(1<<32))), nil
}

// choose is the index of a score, drawn by u in [0,1) with probabilities that are
// proportional to score^(1/temperature), or the greatest at temperature 0.
func choose(scores []float32, temperature, u float64) int {
	best, weights, sum := 0, make([]float64, len(scores)), 0.0
	for i, v := range scores {
		if v > scores[best] {
			best = i
		}
	}
	if temperature <= 0 {
		return best
	}
	for i, v := range scores {
		weights[i] = math.Pow(float64(v)/float64(scores[best]), 1/temperature)
		sum += weights[i]
	}
	left := u * sum
	for i, w := range weights {
		if left -= w; left < 0 {
			return i
		}
	}
	return best
}

// checkText refuses settings that texts cannot be written on with.
func (c *predictCmd) checkText() error {
	var errs []error
	if c.Tokens < 1 {
		errs = append(errs, usage("%s is %d, it must be at least 1", "--tokens", c.Tokens))
	}
	if !(c.Temperature >= 0) {
		errs = append(errs, usage("%s is %v, it must be at least 0", "--temperature", c.Temperature))
	}
	return errors.Join(errs...)
}
