package gguftest

import (
	"errors"
	"os"
	"testing"

	"tandem/model/gguf"
)

// WithTemplate copies a model to another path, with a chat template of the test's.
func WithTemplate(t testing.TB, from, to, template string) {
	t.Helper()
	f, err := gguf.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	meta := f.Metadata.Clone()
	meta.Set("tokenizer.chat_template", template)
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	w, err := gguf.NewWriter(out, meta, f.Tensors)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range f.Tensors {
		if err := w.WriteTensor(x.Data); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), out.Close()); err != nil {
		t.Fatal(err)
	}
}
