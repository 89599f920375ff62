package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"time"

	"tandem"
	"tandem/processor/tokenizer"
	"tandem/tensor"
)

// maxTokens is where texts are cut off, the tokens around them included.
const maxTokens = 128

// output is the result of the model that is a text's vector.
const output = "sentence"

// order is a line of the input: which texts, how many at a time, and the file for their
// vectors, if there is one.
type order struct {
	From  int    `json:"from"`
	Count int    `json:"count"`
	Batch int    `json:"batch"`
	Out   string `json:"out"`
}

// done is the line that answers it.
type done struct {
	Seconds float64 `json:"seconds"`
	Cutting float64 `json:"tokenizer_seconds"` // part of Seconds
	Tokens  int     `json:"tokens"`
}

// embedder is a tokenizer and the model behind it.
type embedder struct {
	cut   *tokenizer.Tokenizer
	model *tandem.Model
	end   int64 // the token after a text
}

func main() {
	log.SetFlags(0)
	threads := flag.Int("threads", 2, "threads that compute")
	flag.Usage = func() { fmt.Fprintln(os.Stderr, "text [--threads N] MODEL.onnx TOKENIZER.json TEXTS.json") }
	flag.Parse()
	if flag.NArg() != 3 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(flag.Arg(0), flag.Arg(1), flag.Arg(2), *threads); err != nil {
		log.Fatal(err)
	}
}

func run(path, vocabulary, file string, threads int) (err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var texts []string
	if err := json.Unmarshal(data, &texts); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if data, err = os.ReadFile(vocabulary); err != nil {
		return err
	}
	e := new(embedder)
	if e.cut, err = tokenizer.FromJSON(data); err != nil {
		return fmt.Errorf("%s: %w", vocabulary, err)
	}
	empty := e.cut.Encode("", true)
	if len(empty) == 0 {
		return fmt.Errorf("%s puts nothing around a text", vocabulary)
	}
	e.end = int64(empty[len(empty)-1])
	if e.model, err = tandem.Open(path, tandem.Options{Threads: threads}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.model.Close()) }()
	if !slices.ContainsFunc(e.model.Outputs(), func(p tandem.Port) bool { return p.Name == output }) {
		return fmt.Errorf("%s has no output %q", path, output)
	}
	answers := json.NewEncoder(os.Stdout)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return err
		}
		if o.From < 0 || o.Count < 1 || o.Batch < 1 || o.From+o.Count > len(texts) {
			return fmt.Errorf("%+v is no order for %d texts", o, len(texts))
		}
		d, err := e.serve(texts[o.From:o.From+o.Count], o)
		if err == nil {
			err = answers.Encode(d)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// serve turns texts into vectors, which it writes if it is told where.
func (e *embedder) serve(texts []string, o order) (d done, err error) {
	vectors := io.Discard
	if o.Out != "" {
		f, err := os.Create(o.Out)
		if err != nil {
			return d, err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		vectors = f
	}
	begin := time.Now()
	for at := 0; at < len(texts); at += o.Batch {
		cutting := time.Now()
		ids, mask, tokens := e.tokens(texts[at:min(at+o.Batch, len(texts))])
		d.Cutting += time.Since(cutting).Seconds()
		d.Tokens += tokens
		out, err := e.model.Run(context.Background(), map[string]*tensor.Tensor{"input_ids": ids, "attention_mask": mask})
		if err != nil {
			return d, err
		}
		if _, err := vectors.Write(out[output].Bytes()); err != nil {
			return d, err
		}
	}
	d.Seconds = time.Since(begin).Seconds()
	return d, nil
}

// tokens are those of a batch and a mask, [texts, longest], and how many there are.
func (e *embedder) tokens(texts []string) (ids, mask *tensor.Tensor, count int) {
	rows, width := make([][]int, len(texts)), 0
	for i, s := range texts {
		rows[i] = e.cut.Encode(s, true)
		width = max(width, min(len(rows[i]), maxTokens))
	}
	ids, mask = tensor.New(tensor.Int64, len(texts), width), tensor.New(tensor.Int64, len(texts), width)
	for i, row := range rows {
		for j := range min(len(row), maxTokens) {
			ids.I64()[i*width+j], mask.I64()[i*width+j] = int64(row[j]), 1
			count++
		}
		if len(row) > maxTokens {
			ids.I64()[(i+1)*width-1] = e.end
		}
	}
	return ids, mask, count
}
