package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"tandem/data"
	"tandem/processor/tokenizer"
	"tandem/tensor"
)

// sentences are columns "ids" and "mask", int64 [n,length], and "label", int64 [n].
type sentences struct{ train, dev *data.Dataset }

func readSet(s settings) (*sentences, error) {
	text, err := os.ReadFile(s.tokenizer)
	if err != nil {
		return nil, err
	}
	tok, err := tokenizer.FromJSON(text)
	if err != nil {
		return nil, err
	}
	set := &sentences{}
	if set.train, err = readFile(filepath.Join(s.data, "train.tsv"), tok, s.length); err != nil {
		return nil, err
	}
	if s.limit > 0 && s.limit < set.train.Len() {
		set.train = set.train.Slice(0, s.limit)
	}
	set.dev, err = readFile(filepath.Join(s.data, "dev.tsv"), tok, s.length)
	return set, err
}

// readFile reads lines of a sentence, a tab and 0 or 1. Longer sentences are cut; the
// last token stays.
func readFile(path string, tok *tokenizer.Tokenizer, length int) (*data.Dataset, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var ids, mask, labels []int64
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		text, label, ok := strings.Cut(lines.Text(), "\t")
		if !ok || label != "0" && label != "1" {
			return nil, fmt.Errorf("%s: line %d is no sentence with a label", path, len(labels)+1)
		}
		labels = append(labels, int64(label[0]-'0'))
		tokens := tok.Encode(text, true)
		if len(tokens) > length {
			tokens = append(tokens[:length-1], tokens[len(tokens)-1])
		}
		for i := range length {
			if i < len(tokens) {
				ids, mask = append(ids, int64(tokens[i])), append(mask, 1)
			} else {
				ids, mask = append(ids, 0), append(mask, 0)
			}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	n := len(labels)
	return data.NewDataset(
		data.Column{Name: "ids", Tensor: tensor.Of(ids, n, length)},
		data.Column{Name: "mask", Tensor: tensor.Of(mask, n, length)},
		data.Column{Name: "label", Tensor: tensor.Of(labels, n)})
}

func feed(d *data.Dataset, in []*tensor.Tensor, target *tensor.Tensor) error {
	ids, _ := d.Column("ids")
	mask, _ := d.Column("mask")
	label, _ := d.Column("label")
	return errors.Join(in[0].CopyFrom(ids), in[1].CopyFrom(mask), target.CopyFrom(label))
}
