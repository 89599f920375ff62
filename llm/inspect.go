package llm

import (
	"errors"
	"os"

	"tandem/fault"
	"tandem/model/gguf"
)

// Summary is what a model's files say of it.
type Summary struct {
	Arch        string         `json:"architecture"`
	Parameters  int64          `json:"parameters"`
	Bytes       int64          `json:"parameter_bytes"`
	Encodings   map[string]int `json:"tensors_by_encoding"`
	Layers      int            `json:"layers"`
	Width       int            `json:"width"`
	Heads       int            `json:"heads"` // of the first layer, as are the next three
	KVHeads     int            `json:"key_value_heads"`
	HeadSize    int            `json:"head_size"`
	FeedForward int            `json:"feed_forward"`
	Vocabulary  int            `json:"vocabulary"`
	Context     int            `json:"context_tokens"`
	CacheBytes  int64          `json:"cache_bytes_per_token"`
	Chats       bool           `json:"chat_template"`
	Files       int            `json:"files"`
}

// Inspect reads what the files of a model say, and computes nothing. Errors are those of
// Open.
func Inspect(path string) (_ *Summary, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fault.From(err, "llm.inspect")
	}
	m := &Model{}
	defer func() { err = errors.Join(err, m.Close()) }()
	var w *weights
	if info.IsDir() {
		w, err = m.readFolder(folder(path), Options{})
	} else if f, openErr := gguf.Open(path); openErr != nil {
		return nil, openErr
	} else {
		w, err = m.readFile(f, Options{})
	}
	if err != nil {
		return nil, err
	}
	c, first := m.config, m.config.Layers[0]
	s := &Summary{
		Arch: c.Arch, Bytes: w.bytes(), Encodings: map[string]int{}, Layers: len(c.Layers), Width: c.Width, Heads: first.Heads, KVHeads: first.KVHeads,
		HeadSize: first.HeadSize, FeedForward: first.FeedForward, Vocabulary: c.Vocab, Context: c.Context, CacheBytes: c.CacheBytes(), Chats: m.Chats(),
		Files: len(m.sources),
	}
	for _, t := range w.byName {
		s.Parameters += int64(t.Shape.Len())
		encoding := t.DType.String()
		if f, ok := t.Encoding.InRows(); ok {
			encoding = f.String()
		}
		s.Encodings[encoding]++
	}
	return s, nil
}
