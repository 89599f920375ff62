package gguf

import (
	"bufio"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"tandem/fault"
	"tandem/tensor/block"
)

// Mix says which encodings the tensors of a language model get: most of them one,
// and those on which its answers depend most a finer one. The mixes are llama.cpp's,
// under the same names.
type Mix struct {
	Name     string
	fileType uint32 // general.file_type
	most     block.Format
	// finer is for the values of attention and the last matrix of feed-forward
	// blocks, in the first and last eighth of the layers and every third between.
	finer block.Format
	// firstValues and firstDown are for the same in the first four layers, and in
	// the first eighth.
	firstValues, firstDown block.Format
	joined                 block.Format // for queries, keys and values in one matrix
}

// Mixes are all mixes.
func Mixes() []Mix {
	plain := func(name string, fileType uint32, f block.Format) Mix {
		return Mix{name, fileType, f, f, f, f, f}
	}
	return []Mix{
		plain("f32", 0, block.F32), plain("f16", 1, block.F16), plain("bf16", 32, block.BF16),
		plain("q8_0", 7, block.Q8_0), plain("q4_0", 2, block.Q4_0), plain("q4_1", 3, block.Q4_1),
		plain("q5_0", 8, block.Q5_0), plain("q5_1", 9, block.Q5_1), plain("q6_k", 18, block.Q6_K),
		{"q4_k_s", 14, block.Q4_K, block.Q4_K, block.Q5_K, block.Q5_K, block.Q4_K},
		{"q4_k_m", 15, block.Q4_K, block.Q6_K, block.Q4_K, block.Q4_K, block.Q5_K},
		{"q5_k_s", 16, block.Q5_K, block.Q5_K, block.Q5_K, block.Q5_K, block.Q5_K},
		{"q5_k_m", 17, block.Q5_K, block.Q6_K, block.Q5_K, block.Q5_K, block.Q6_K},
	}
}

// MixOf finds a mix by name, in small or capital letters; q4_k and q5_k mean the
// mixes with m.
func MixOf(name string) (Mix, error) {
	lower := strings.ToLower(name)
	if lower == "q4_k" || lower == "q5_k" {
		lower += "_m"
	}
	var names []string
	for _, m := range Mixes() {
		if m.Name == lower {
			return m, nil
		}
		names = append(names, m.Name)
	}
	return Mix{}, fault.New("gguf.mix", fault.Invalid, "no precision is called %.40q", name).Try("give one of " + strings.Join(names, ", "))
}

// layerOf finds the number of the layer in the name of a tensor.
var layerOf = regexp.MustCompile(`^blk\.([0-9]{1,6})\.`)

// format is the encoding of a tensor. layers is the number of layers; tied tells
// that the table of tokens is the last matrix, too.
func (m Mix) format(t *Tensor, layers int, tied bool) block.Format {
	if !quantizable(t) {
		return t.Format
	}
	f := m.most
	if f.Elements() == 1 {
		return f
	}
	layer := 0
	if found := layerOf.FindStringSubmatch(t.Name); found != nil {
		layer, _ = strconv.Atoi(found[1]) // digits, and few
	}
	more := layer < layers/8 || layer >= 7*layers/8 || (layer-layers/8)%3 == 2
	switch {
	case t.Name == "output.weight" || tied && t.Name == "token_embd.weight":
		if t.row()%f.Elements() != 0 || f == block.Q8_0 {
			f = block.Q8_0
		} else {
			f = block.Q6_K
		}
	case strings.HasSuffix(t.Name, ".attn_v.weight"):
		if f = m.ofLayer(more); layer < 4 && m.firstValues != m.most {
			f = m.firstValues
		}
	case strings.HasSuffix(t.Name, ".ffn_down.weight"):
		if f = m.ofLayer(more); layer < layers/8 && m.firstDown != m.most {
			f = m.firstDown
		}
	case strings.HasSuffix(t.Name, ".attn_qkv.weight"):
		f = m.joined
	}
	return fitting(f, t.row())
}

func (m Mix) ofLayer(more bool) block.Format {
	if more {
		return m.finer
	}
	return m.most
}

// quantizable: matrices of weights, but not those that are small and sensitive.
func quantizable(t *Tensor) bool {
	if len(t.Shape) < 2 || !strings.HasSuffix(t.Name, "weight") {
		return false
	}
	for _, part := range []string{"_norm.weight", "ffn_gate_inp.weight", "position_embd", "token_types", "ssm_conv1d", "shortconv.conv", "altup", "laurel", "per_layer_model_proj", "attn_rel_b.weight", "patch_embd"} {
		if strings.Contains(t.Name, part) {
			return false
		}
	}
	return true
}

// fitting is f, or an encoding with smaller blocks for rows that f does not divide.
func fitting(f block.Format, row int) block.Format {
	if row%f.Elements() == 0 {
		return f
	}
	switch f {
	case block.Q4_K:
		f = block.Q5_0
	case block.Q5_K:
		f = block.Q5_1
	case block.Q6_K:
		f = block.Q8_0
	}
	if row%f.Elements() == 0 {
		return f
	}
	return block.F16
}

// Quantize writes src to the file at path with the encodings of a mix. It refuses a
// source that is quantised already: its errors would add up. report, which may be
// nil, is told how many tensors of how many are done. The file appears whole or not
// at all. Memory: the source is mapped; two forms of a part of a tensor at a time.
func Quantize(ctx context.Context, src *File, path string, mix Mix, report func(done, all int)) (err error) {
	const op = "gguf.quantize"
	layers := 0
	tied := true
	tensors := make([]Tensor, len(src.Tensors))
	for i := range src.Tensors {
		t := &src.Tensors[i]
		if found := layerOf.FindStringSubmatch(t.Name); found != nil {
			n, _ := strconv.Atoi(found[1]) // digits, and few
			layers = max(layers, n+1)
		}
		tied = tied && t.Name != "output.weight"
		if quantizable(t) && t.Format.Elements() > 1 {
			return fault.New(op, fault.Invalid, "tensor %.200q is in %v already", t.Name, t.Format).
				Try("quantise the model's f32, f16 or bf16 file")
		}
	}
	for i := range src.Tensors {
		t := src.Tensors[i]
		if f := mix.format(&t, layers, tied); f != t.Format {
			if !t.Format.Codec() {
				return fault.New(op, fault.Unsupported, "tensor %.200q is encoded as %v, which Tandem does not read", t.Name, t.Format)
			}
			t.Format, t.Data = f, nil
		}
		tensors[i] = t
	}
	m := src.Metadata.Clone()
	m.Set("general.file_type", mix.fileType)
	m.Set("general.quantization_version", uint32(2))

	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fault.From(err, op)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close(), os.Remove(file.Name()))
		}
	}()
	buffered := bufio.NewWriterSize(file, 1<<20)
	w, err := NewWriter(buffered, m, tensors)
	if err != nil {
		return err
	}
	for i := range tensors {
		if err := ctx.Err(); err != nil {
			return fault.From(err, op)
		}
		data := tensors[i].Data
		if data == nil {
			data = recode(&src.Tensors[i], tensors[i].Format)
		}
		if err := w.WriteTensor(data); err != nil {
			return err
		}
		if report != nil {
			report(i+1, len(tensors))
		}
	}
	return finish(file, buffered, w, path)
}

func finish(file *os.File, buffered *bufio.Writer, w *Writer, path string) error {
	const op = "gguf.quantize"
	if err := errors.Join(w.Close(), buffered.Flush(), file.Chmod(0o644), file.Sync()); err != nil {
		return fault.From(err, op)
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return fault.From(err, op)
	}
	return fault.From(file.Close(), op)
}

// recode encodes a tensor again, its parts on all processors.
func recode(t *Tensor, f block.Format) []byte {
	const part = 1 << 16 // elements, a multiple of every block's
	n := t.Len()
	out := make([]byte, f.Size(n))
	next := make(chan int)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			numbers := make([]float32, part)
			for lo := range next {
				x := numbers[:min(part, n-lo)]
				block.Decode(t.Format, x, t.Data[t.Format.Size(lo):t.Format.Size(lo+len(x))])
				block.Encode(f, out[f.Size(lo):f.Size(lo+len(x))], x)
			}
		})
	}
	for lo := 0; lo < n; lo += part {
		next <- lo
	}
	close(next)
	workers.Wait()
	return out
}
