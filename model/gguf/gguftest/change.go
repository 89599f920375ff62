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
	With(t, from, to, map[string]any{"tokenizer.chat_template": template})
}

// With copies a model to another path, with some metadata of the test's.
func With(t testing.TB, from, to string, changes map[string]any) {
	t.Helper()
	f, err := gguf.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	meta := f.Metadata.Clone()
	for key, value := range changes {
		meta.Set(key, value)
	}
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
