package main

import (
	"fmt"
	"strconv"

	"tandem/llm"
)

// textInspection is what there is to know of a model that generates text.
type textInspection struct {
	Architecture  string         `json:"architecture"`
	Parameters    int64          `json:"parameters"`
	Bytes         int64          `json:"parameter_bytes"`
	BitsPerWeight float64        `json:"bits_per_weight"`
	Context       int            `json:"context_tokens"`
	Vocabulary    int            `json:"vocabulary_tokens"`
	Layers        int            `json:"layers"`
	Width         int            `json:"width"`
	Heads         int            `json:"heads"`           // of the first layer
	KeyHeads      int            `json:"key_value_heads"` // of the first layer
	CacheBytes    int64          `json:"cache_bytes_per_token"`
	Chats         bool           `json:"chat_template"`
	Weights       []textEncoding `json:"weights"`
}

// textEncoding is the part of the weights that has one encoding.
type textEncoding struct {
	Encoding string `json:"encoding"`
	Tensors  int    `json:"tensors"`
	Bytes    int64  `json:"bytes"`
}

// inspectText shows a GGUF file or a Hugging Face folder.
func inspectText(a *app, path string) error {
	d, err := llm.Describe(path)
	if err != nil {
		return err
	}
	first := d.Config.Layers[0] // a model that was read has one
	i := textInspection{
		Architecture: d.Config.Arch, Parameters: d.Parameters, Bytes: d.WeightBytes, BitsPerWeight: 8 * float64(d.WeightBytes) / float64(d.Parameters),
		Context: d.Config.Context, Vocabulary: d.Config.Vocab, Layers: len(d.Config.Layers), Width: d.Config.Width,
		Heads: first.Heads, KeyHeads: first.KVHeads, CacheBytes: d.Config.CacheBytes(), Chats: d.Chats,
	}
	for _, e := range d.Encodings {
		i.Weights = append(i.Weights, textEncoding(e))
	}
	if a.json {
		return a.emit(i)
	}
	return i.show(a)
}

func (i textInspection) show(a *app) error {
	chats := "no"
	if i.Chats {
		chats = "yes"
	}
	err := a.table(nil, [][]string{
		{a.msg.Sprintf("Architecture"), i.Architecture},
		{a.msg.Sprintf("Parameters"), a.msg.Sprintf("%d, %s, %.2f bits each", i.Parameters, size(i.Bytes), i.BitsPerWeight)},
		{a.msg.Sprintf("Context"), a.msg.Sprintf("%d tokens; each takes %s of the cache", i.Context, size(i.CacheBytes))},
		{a.msg.Sprintf("Vocabulary"), a.msg.Sprintf("%d tokens", i.Vocabulary)},
		{a.msg.Sprintf("Layers"), a.msg.Sprintf("%d of width %d, %d heads of queries and %d of keys", i.Layers, i.Width, i.Heads, i.KeyHeads)},
		{a.msg.Sprintf("Chat template"), a.msg.Text(chats)},
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(a.out)
	var lines [][]string
	for _, e := range i.Weights {
		lines = append(lines, []string{e.Encoding, strconv.Itoa(e.Tensors), size(e.Bytes)})
	}
	return a.table([]string{"ENCODING", "TENSORS", "SIZE"}, lines)
}
