package npz

import (
	"archive/zip"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"tandem/fault"
	"tandem/tensor"
)

func arrays() []Array {
	half := tensor.New(tensor.Float16, 3)
	tensor.SetFloat32s(half, []float32{1, -0.5, 65504})
	return []Array{
		{"f4", tensor.Of([]float32{1, 2, 3, 4, 5, -6.5}, 2, 3)},
		{"f8", tensor.Of([]float64{1e300, -2}, 2, 1)},
		{"half", half},
		{"bool", tensor.Of([]bool{true, false, true}, 3)},
		{"i1", tensor.Of([]int8{-128, 127}, 2)}, {"i2", tensor.Of([]int16{-1}, 1)}, {"i4", tensor.Of([]int32{-70000}, 1)},
		{"i8", tensor.Of([]int64{-1 << 62})},
		{"u1", tensor.Of([]uint8{255}, 1)}, {"u2", tensor.Of([]uint16{65535}, 1)}, {"u4", tensor.Of([]uint32{1 << 31}, 1)},
		{"u8", tensor.Of([]uint64{1 << 63}, 1)},
		{"text", tensor.OfStrings([]string{"", "naïve", "日本 😀"}, 3, 1)},
		{"a/b", tensor.New(tensor.Float32, 0, 3)},
		{"nothing", tensor.New(tensor.String, 0)},
	}
}

func read(t *testing.T, data []byte) []Array {
	t.Helper()
	got, err := Read(bytes.NewReader(data), int64(len(data)), "x.npz", DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func same(a, b *tensor.Tensor) bool {
	return a.DType() == b.DType() && a.Shape().Equal(b.Shape()) && bytes.Equal(a.Bytes(), b.Bytes()) && slices.Equal(a.Strings(), b.Strings())
}

func compare(t *testing.T, got, want []Array) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d arrays, want %d", len(got), len(want))
	}
	for i, w := range want {
		if got[i].Name != w.Name || !same(got[i].Tensor, w.Tensor) {
			t.Errorf("array %d is %s %v, want %s %v", i, got[i].Name, got[i].Tensor, w.Name, w.Tensor)
		}
	}
}

func written(t *testing.T, list []Array) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, list); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	data := written(t, arrays())
	compare(t, read(t, data), arrays())
	if !bytes.Equal(data, written(t, arrays())) {
		t.Error("the same arrays give different bytes")
	}
}

// TestNumPy has NumPy read what Write wrote, and write it back in other forms: with
// compression, big-endian, the first dimension fastest, strings as bytes.
func TestNumPy(t *testing.T) {
	python := filepath.Join("..", "..", "bench", ".venv", "bin", "python")
	if _, err := os.Stat(python); err != nil {
		t.Skip("SKIPPED: bench/.venv is not there, so that NumPy itself was not asked (make test sets it up)")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "in.npz"), written(t, arrays()), 0o644); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(dir, "script.py")
	if err := os.WriteFile(script, []byte(`
import numpy as np, sys
x = dict(np.load("in.npz"))
assert x["f4"].tolist() == [[1, 2, 3], [4, 5, -6.5]] and x["f4"].dtype == np.float32
assert x["half"].tolist() == [1, -0.5, 65504] and x["half"].dtype == np.float16
assert x["text"].tolist() == [[""], ["naïve"], ["日本 😀"]]
assert x["i8"].shape == () and x["i8"] == -2**62
np.savez("same.npz", **x)
np.savez_compressed("compressed.npz", **x)
np.savez("turned.npz", **{k: np.copy(v.astype(v.dtype.newbyteorder(">")), order="F") for k, v in x.items()})
np.savez("bytes.npz", text=np.array([b"ab", b"", b"c"]))
np.savez("object.npz", o=np.array([{}], dtype=object))
np.savez("record.npz", o=np.zeros(2, dtype=[("a", "f4")]))
np.savez("complex.npz", o=np.zeros(2, dtype="c8"))
`), 0o644); err != nil {
		t.Fatal(err)
	}
	abs, err := filepath.Abs(python)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(abs, script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	load := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for _, name := range []string{"same.npz", "compressed.npz", "turned.npz"} {
		t.Run(name, func(t *testing.T) { compare(t, read(t, load(name)), arrays()) })
	}
	compare(t, read(t, load("bytes.npz")), []Array{{"text", tensor.OfStrings([]string{"ab", "", "c"}, 3)}})
	for _, name := range []string{"object.npz", "record.npz", "complex.npz"} {
		data := load(name)
		if _, err := Read(bytes.NewReader(data), int64(len(data)), name, DefaultLimits()); fault.KindOf(err) != fault.Unsupported {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// member makes an archive of one array with a header as given, compressed.
func member(t testing.TB, head string, elements []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create("x.npy")
	if err != nil {
		t.Fatal(err)
	}
	raw := append([]byte(magic), 1, 0, byte(len(head)), byte(len(head)>>8))
	raw = append(append(raw, head...), elements...)
	if _, err := w.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestBadInputIsRefused(t *testing.T) {
	f4 := func(shape string) string {
		return "{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + ", }"
	}
	for _, tc := range []struct {
		name string
		data []byte
		kind fault.Kind
		text string
	}{
		{"no archive", []byte("no"), fault.Invalid, "not an .npz file"},
		{"short", member(t, f4("(4,)"), make([]byte, 12)), fault.Invalid, "ends within its elements"},
		{"long", member(t, f4("(2,)"), make([]byte, 12)), fault.Invalid, "there is more"},
		{"bomb", member(t, f4("(1000000000,)"), make([]byte, 12)), fault.Invalid, "too short"},
		{"over the limit", member(t, f4("(100000000000,)"), nil), fault.TooLarge, "limit"},
		{"overflow", member(t, f4("(4611686018427387904, 16)"), nil), fault.Invalid, "more than"},
		{"negative", member(t, f4("(-1,)"), nil), fault.Invalid, "not understood"},
		{"dictionary", member(t, "{'descr': '<f4'}", nil), fault.Invalid, "not understood"},
		{"type", member(t, strings.Replace(f4("()"), "<f4", "<f3", 1), make([]byte, 4)), fault.Unsupported, "<f3"},
		{"character", member(t, strings.Replace(f4("()"), "<f4", "<U1", 1), []byte{0, 0, 0xff, 0}), fault.Invalid, "not a character"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Read(bytes.NewReader(tc.data), int64(len(tc.data)), "bad.npz", DefaultLimits())
			if fault.KindOf(err) != tc.kind || err == nil || !strings.Contains(err.Error(), tc.text) || !strings.Contains(err.Error(), "bad.npz") {
				t.Errorf("%v (%v), want %v with %q", err, fault.KindOf(err), tc.kind, tc.text)
			}
		})
	}
	if err := Write(&bytes.Buffer{}, []Array{{"x", tensor.New(tensor.BFloat16, 1)}}); fault.KindOf(err) != fault.Unsupported {
		t.Errorf("bfloat16 is written: %v", err)
	}
}

// FuzzRead: no panic, memory bounded by the file, and what is read can be written and
// read again.
func FuzzRead(f *testing.F) {
	var b bytes.Buffer
	if err := Write(&b, arrays()); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(member(f, "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }", make([]byte, 12)))
	f.Fuzz(func(t *testing.T, data []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		list, err := Read(bytes.NewReader(data), int64(len(data)), "x", Limits{Bytes: 1 << 24, Arrays: 64})
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 4<<24+1<<22+uint64(100*len(data)) {
			t.Fatalf("%d bytes of input took %d bytes", len(data), used)
		}
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := Write(&b, list); err != nil {
			if fault.KindOf(err) == fault.Unsupported {
				return // a byte string that is not UTF-8
			}
			t.Fatal(err)
		}
		again, err := Read(bytes.NewReader(b.Bytes()), int64(b.Len()), "x", DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		compare(t, again, list)
	})
}
