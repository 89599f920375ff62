package gguf

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tandem/fault"
	"tandem/tensor/block"
)

// sample is a small file with a value of every type and tensors of several formats.
func sample() (*Metadata, []Tensor) {
	m := &Metadata{}
	for _, v := range []any{
		uint8(1), int8(-2), uint16(3), int16(-4), uint32(5), int32(-6), uint64(7), int64(-8), float32(0.5), 0.25, true, "text 文",
		[]uint8{1, 2}, []int8{-1}, []uint16{3}, []int16{-4, 4}, []uint32{5}, []int32{-6}, []uint64{7}, []int64{-8}, []float32{0.5}, []float64{0.25},
		[]bool{true, false}, []string{"a", "", "文"}, []string{}, []int32{},
	} {
		m.Set("test."+reflect.TypeOf(v).String()+string(rune('a'+m.Len())), v)
	}
	m.Set("general.alignment", uint32(64))
	tensors := []Tensor{
		{Name: "a", Format: block.F32, Shape: []int{3}},
		{Name: "b", Format: block.Q8_0, Shape: []int{3, 64}},
		{Name: "c", Format: block.Q4_K, Shape: []int{2, 1, 256}},
		{Name: "d", Format: block.BF16, Shape: []int{}},
		{Name: "e", Format: block.Format(20), Shape: []int{1, 32}},
	}
	for i := range tensors {
		t := &tensors[i]
		t.Data = bytes.Repeat([]byte{byte(i + 1)}, t.Format.Size(t.Len()))
	}
	return m, tensors
}

func encode(t testing.TB, m *Metadata, tensors []Tensor) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, m, tensors)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range tensors {
		if err := w.WriteTensor(x.Data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	m, tensors := sample()
	path := filepath.Join(t.TempDir(), "x.gguf")
	if err := os.WriteFile(path, encode(t, m, tensors), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if diff := cmp.Diff(m, f.Metadata, cmp.AllowUnexported(Metadata{})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(tensors, f.Tensors); diff != "" {
		t.Error(diff)
	}
	c, ok := f.Tensor("c")
	if _, err := c.Float32s(); err != nil || !ok {
		t.Error(err)
	}
	e, _ := f.Tensor("e")
	if _, err := e.Float32s(); fault.KindOf(err) != fault.Unsupported || !strings.Contains(err.Error(), "IQ4_NL") {
		t.Errorf("an encoding that Tandem does not read: %v", err)
	}
	if _, ok := f.Tensor("f"); ok {
		t.Error("a tensor that is not there was found")
	}
}

func TestGetters(t *testing.T) {
	m := &Metadata{}
	m.Set("u", uint64(1)<<63)
	m.Set("i", int8(-3))
	m.Set("f", float32(0.5))
	m.Set("l", []uint16{1, 2})
	m.Set("s", "x")
	if v, err := m.Int("i"); v != -3 || err != nil {
		t.Error(v, err)
	}
	if _, err := m.Int("u"); fault.KindOf(err) != fault.Invalid {
		t.Error("an integer that does not fit was taken")
	}
	if _, err := m.Int("absent"); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
	if v, err := m.IntOr("absent", 9); v != 9 || err != nil {
		t.Error(v, err)
	}
	if _, err := m.IntOr("s", 9); fault.KindOf(err) != fault.Invalid {
		t.Error("a string was taken for an integer")
	}
	if v, err := m.Float("i"); v != -3 || err != nil {
		t.Error(v, err)
	}
	if v, err := m.Ints("l"); !reflect.DeepEqual(v, []int{1, 2}) || err != nil {
		t.Error(v, err)
	}
	if v, err := m.Floats("f"); !reflect.DeepEqual(v, []float64{0.5}) || err != nil {
		t.Error(v, err)
	}
	m.Delete("i")
	if m.Has("i") || m.Len() != 4 {
		t.Error("a deleted key is still there")
	}
}

// TestDamage: cut off anywhere, or one byte changed, the file is refused or read,
// never a crash; cut off it is always refused.
func TestDamage(t *testing.T) {
	m, tensors := sample()
	good := encode(t, m, tensors)
	end := len(good) - 64 + tensors[4].Format.Bytes() // the padding after the last tensor may be missing
	for n := range end {
		if _, err := parse(good[:n:n]); err == nil {
			t.Fatalf("cut off after %d of %d bytes it was accepted", n, len(good))
		}
	}
	for i := range good {
		for _, x := range []byte{0, 1, 0x7f, 0xff} {
			bad := bytes.Clone(good)
			bad[i] = x
			if f, err := parse(bad); err == nil {
				touch(f)
			}
		}
	}
}

// touch reads all that a file promises.
func touch(f *File) {
	for i := range f.Tensors {
		t := &f.Tensors[i]
		if t.Len() > 1<<20 {
			continue
		}
		_, _ = t.Float32s() // an encoding that cannot be read is no crash
	}
}

func TestRefused(t *testing.T) {
	m, tensors := sample()
	change := func(f func(m *Metadata, tensors []Tensor) []Tensor) []byte {
		c, ts := m.Clone(), append([]Tensor(nil), tensors...)
		return encode(t, c, f(c, ts))
	}
	good := encode(t, m, tensors)
	huge := bytes.Clone(good)
	binary.LittleEndian.PutUint64(huge[16:], 1<<60)
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "does not begin"},
		{"magic", append([]byte("GGML"), good[4:]...), "does not begin"},
		{"version", append(append([]byte("GGUF"), 9, 0, 0, 0), good[8:]...), "version 9"},
		{"version 1", append(append([]byte("GGUF"), 1, 0, 0, 0), good[8:]...), "version 1"},
		{"big-endian", append(append([]byte("GGUF"), 0, 0, 0, 3), good[8:]...), "big-endian"},
		{"counts", huge, "pairs"},
		{"alignment", change(func(m *Metadata, ts []Tensor) []Tensor { m.Set("general.alignment", uint32(24)); return ts }), "power of two"},
		{"twice", change(func(m *Metadata, ts []Tensor) []Tensor { ts[1].Name = "a"; return ts }), "there twice"},
		{"row", change(func(m *Metadata, ts []Tensor) []Tensor { ts[1].Shape = []int{64, 3}; return ts }), "rows of 3"},
		{"rank", change(func(m *Metadata, ts []Tensor) []Tensor { ts[0].Shape = []int{1, 1, 1, 1, 3}; return ts }), "5 dimensions"},
	} {
		_, err := parse(c.data)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected %q", c.name, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	m, tensors := sample()
	f.Add(encode(f, m, tensors))
	f.Add(encode(f, &Metadata{}, nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := parse(data)
		if err != nil {
			return
		}
		touch(file)
		// What was read can be written, and is then read as the same.
		again, err := parse(encode(t, file.Metadata, file.Tensors))
		if err != nil {
			t.Fatal(err)
		}
		if len(again.Tensors) != len(file.Tensors) || again.Metadata.Len() != file.Metadata.Len() {
			t.Fatal("something was lost")
		}
	})
}

// TestStories reads a real file.
func TestStories(t *testing.T) {
	dir := os.Getenv("TANDEM_DATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	f, err := Open(filepath.Join(dir, "stories260k", "stories260K.gguf"))
	if fault.KindOf(err) == fault.NotFound && err != nil {
		t.Skip("set TANDEM_DATA: ", err)
	} else if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if arch, err := f.Metadata.Text("general.architecture"); arch != "llama" || err != nil {
		t.Error(arch, err)
	}
	tokens, err := f.Metadata.Texts("tokenizer.ggml.tokens")
	if len(tokens) != 512 || err != nil {
		t.Error(len(tokens), err)
	}
	w, ok := f.Tensor("token_embd.weight")
	if !ok || !reflect.DeepEqual(w.Shape, []int{512, 64}) {
		t.Errorf("%v", w)
	}
	if x, err := w.Float32s(); len(x) != 512*64 || err != nil {
		t.Error(len(x), err)
	}
}
