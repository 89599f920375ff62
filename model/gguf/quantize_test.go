package gguf

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/fault"
	"tandem/tensor/block"
)

// network is a small file with the tensors of a language model of n layers.
func network(t *testing.T, n int) *File {
	m := &Metadata{}
	m.Set("general.architecture", "llama")
	tensors := []Tensor{
		{Name: "token_embd.weight", Format: block.F32, Shape: []int{10, 256}},
		{Name: "output_norm.weight", Format: block.F32, Shape: []int{256}},
	}
	for i := range n {
		p := "blk." + string(rune('0'+i)) + "."
		tensors = append(tensors,
			Tensor{Name: p + "attn_v.weight", Format: block.F32, Shape: []int{4, 256}},
			Tensor{Name: p + "attn_norm.weight", Format: block.F32, Shape: []int{256}},
			Tensor{Name: p + "ffn_down.weight", Format: block.F16, Shape: []int{2, 96}},
			Tensor{Name: p + "ffn_up.weight", Format: block.BF16, Shape: []int{2, 512}})
	}
	for i := range tensors {
		x := &tensors[i]
		numbers := make([]float32, x.Len())
		for j := range numbers {
			numbers[j] = float32((j*7919+i)%1000-500) / 500
		}
		x.Data = make([]byte, x.Format.Size(x.Len()))
		block.Encode(x.Format, x.Data, numbers)
	}
	path := filepath.Join(t.TempDir(), "src.gguf")
	if err := os.WriteFile(path, encode(t, m, tensors), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestQuantize(t *testing.T) {
	src := network(t, 9)
	mix, err := MixOf("Q4_K")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "out.gguf")
	reported := 0
	if err := Quantize(context.Background(), src, path, mix, func(done, all int) { reported = all - done }); err != nil || reported != 0 {
		t.Fatal(err, reported)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, want := range map[string]block.Format{
		"token_embd.weight": block.Q6_K, "output_norm.weight": block.F32, // tied
		"blk.0.attn_v.weight": block.Q6_K, "blk.1.attn_v.weight": block.Q4_K, "blk.2.attn_v.weight": block.Q4_K, "blk.3.attn_v.weight": block.Q6_K,
		"blk.8.attn_v.weight": block.Q6_K, "blk.0.attn_norm.weight": block.F32,
		"blk.1.ffn_down.weight": block.Q5_0, "blk.0.ffn_down.weight": block.Q8_0, "blk.0.ffn_up.weight": block.Q4_K,
	} {
		x, ok := f.Tensor(name)
		if !ok || x.Format != want {
			t.Errorf("%s is in %v, expected %v", name, x.Format, want)
			continue
		}
		from, _ := src.Tensor(name)
		numbers, err := from.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, want.Size(len(numbers)))
		if block.Encode(want, b, numbers); !bytes.Equal(b, x.Data) {
			t.Errorf("%s has other blocks than Encode gives", name)
		}
	}
	if v, err := f.Metadata.Int("general.file_type"); v != 15 || err != nil {
		t.Error(v, err)
	}
	if err := Quantize(context.Background(), f, path+"2", mix, nil); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a quantised file was quantised again: %v", err)
	}
	if _, err := MixOf("q3"); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Quantize(canceled, src, path+"3", mix, nil); fault.KindOf(err) != fault.Canceled {
		t.Error(err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestEqualsLlamaQuantize compares with files that llama-quantize made of src.gguf in
// the folder LLAMA_QUANTIZED, named by their mixes: q4_k_m.gguf and so on.
func TestEqualsLlamaQuantize(t *testing.T) {
	dir := os.Getenv("LLAMA_QUANTIZED")
	if dir == "" {
		t.Skip("set LLAMA_QUANTIZED to a folder with src.gguf and what llama-quantize made of it")
	}
	src, err := Open(filepath.Join(dir, "src.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	n := 0
	for _, mix := range Mixes() {
		want, err := Open(filepath.Join(dir, mix.Name+".gguf"))
		if err != nil {
			continue
		}
		n++
		path := filepath.Join(t.TempDir(), mix.Name)
		if err := Quantize(context.Background(), src, path, mix, nil); err != nil {
			t.Fatal(err)
		}
		got, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want.Tensors {
			g, ok := got.Tensor(w.Name)
			if !ok || g.Format != w.Format {
				t.Errorf("%s: %s is in %v, llama-quantize gives %v", mix.Name, w.Name, g.Format, w.Format)
			} else if !bytes.Equal(g.Data, w.Data) {
				t.Errorf("%s: %s has other blocks in %v", mix.Name, w.Name, w.Format)
			}
		}
		for key, v := range want.Metadata.All() {
			if strings.HasPrefix(key, "general.") && got.Metadata.Get(key) != v {
				t.Errorf("%s: %s is %v, llama-quantize gives %v", mix.Name, key, got.Metadata.Get(key), v)
			}
		}
		_ = want.Close()
		_ = got.Close()
	}
	if n < 5 {
		t.Errorf("%d files to compare with", n)
	}
}
