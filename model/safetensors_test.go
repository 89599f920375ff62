package model

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"tandem/fault"
	"tandem/tensor"
)

func TestSafetensorsRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	types := slices.Sorted(maps.Values(safetensorsTypes()))
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfDistinct(rapid.StringN(0, 5, -1), rapid.ID[string]).Draw(t, "names")
		var list []NamedTensor
		for _, name := range names {
			shape := append([]int{2}, rapid.SliceOfN(rapid.IntRange(0, 5), 0, 3).Draw(t, "shape")...)
			x := tensor.New(rapid.SampledFrom(types).Draw(t, "type"), shape...)
			for i := range x.Bytes() {
				x.Bytes()[i] = byte(len(list)+i) & 1
			}
			list = append(list, NamedTensor{name, x})
		}
		metadata := rapid.MapOfN(rapid.String(), rapid.String(), 0, 2).Draw(t, "metadata")
		var b, again bytes.Buffer
		if err := WriteSafetensors(&b, list, metadata); err != nil {
			t.Fatal(err)
		}
		if n := 8 + binary.LittleEndian.Uint64(b.Bytes()); n%64 != 0 {
			t.Fatalf("the data begins at byte %d", n)
		}
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := ReadSafetensors(path)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for i, x := range s.Tensors {
			want := list[i]
			if x.Name != want.Name || x.Tensor.String() != want.Tensor.String() || !bytes.Equal(x.Tensor.Bytes(), want.Tensor.Bytes()) {
				t.Fatalf("tensor %d: %q %v, want %q %v", i, x.Name, x.Tensor, want.Name, want.Tensor)
			}
			if off := uintptr(unsafe.Pointer(unsafe.SliceData(x.Tensor.Bytes()))) - uintptr(unsafe.Pointer(unsafe.SliceData(s.file.Bytes()))); len(x.Tensor.Bytes()) > 0 && off >= uintptr(b.Len()) {
				t.Fatalf("tensor %q was copied: it is not aligned in the file", x.Name)
			}
		}
		if len(s.Tensors) != len(list) || !maps.Equal(s.Metadata, metadata) {
			t.Fatalf("%d tensors, metadata %q", len(s.Tensors), s.Metadata)
		}
		if err := WriteSafetensors(&again, s.Tensors, s.Metadata); err != nil || !bytes.Equal(again.Bytes(), b.Bytes()) {
			t.Fatalf("written again, the bytes differ: %v", err)
		}
	})
}

func safetensorsFile(header, body string) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header+body...)
}

func TestSafetensorsAreChecked(t *testing.T) {
	entry := func(name, dtype, shape string, begin, end int) string {
		return fmt.Sprintf(`%q:{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`, name, dtype, shape, begin, end)
	}
	ok := entry("a", "F32", "[1]", 0, 4)
	for _, tc := range []struct {
		name string
		data []byte
		want string // "": read
	}{
		{"good", safetensorsFile("{"+ok+","+entry("b", "I8", "[2,2]", 4, 8)+"}  ", "12345678"), ""},
		{"none", safetensorsFile("{}", ""), ""},
		{"swapped", safetensorsFile("{"+entry("a", "U8", "[4]", 4, 8)+","+entry("b", "U8", "[4]", 0, 4)+"}", "12345678"), ""},
		{"short", []byte("1234567"), "less than a header"},
		{"long header", append(binary.LittleEndian.AppendUint64(nil, 1<<63), "{}"...), "a header of"},
		{"header beyond file", append(binary.LittleEndian.AppendUint64(nil, 3), "{}"...), "a header of"},
		{"no object", safetensorsFile("[]", ""), "does not begin"},
		{"space first", safetensorsFile(" {}", ""), "does not begin"},
		{"cut", safetensorsFile("{"+ok, "1234"), "EOF"},
		{"rest", safetensorsFile("{"+ok+"}x", "1234"), "follow its end"},
		{"twice", safetensorsFile("{"+ok+","+ok+"}", "1234"), "twice"},
		{"gap", safetensorsFile("{"+entry("a", "U8", "[1]", 1, 2)+"}", "12"), "begins at byte 1"},
		{"overlap", safetensorsFile("{"+ok+","+entry("b", "F32", "[1]", 2, 6)+"}", "123456"), "begins at byte 2"},
		{"same place", safetensorsFile("{"+ok+","+entry("b", "F32", "[1]", 0, 4)+"}", "1234"), "begins at byte 0"},
		{"rest of data", safetensorsFile("{"+ok+"}", "12345"), "end at byte 4, the data at 5"},
		{"beyond", safetensorsFile("{"+ok+"}", "123"), "end at byte 4, the data at 3"},
		{"size", safetensorsFile("{"+entry("a", "F32", "[2]", 0, 4)+"}", "1234"), "takes 8 bytes"},
		{"type", safetensorsFile("{"+entry("a", "F33", "[1]", 0, 4)+"}", "1234"), "F33"},
		{"negative", safetensorsFile("{"+entry("a", "U8", "[-2,-2]", 0, 4)+"}", "1234"), "negative"},
		{"overflow", safetensorsFile("{"+entry("a", "U8", "[4294967296,4294967296]", 0, 0)+"}", ""), "elements"},
		{"offsets", safetensorsFile("{"+entry("a", "U8", "[0]", 4, 0)+"}", "1234"), "data_offsets"},
		{"one offset", safetensorsFile(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0]}}`, ""), "data_offsets"},
		{"no shape", safetensorsFile(`{"a":{"dtype":"U8","data_offsets":[0,1]}}`, "1"), "no shape"},
		{"extra", safetensorsFile(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":1}}`, ""), "unknown field"},
		{"metadata", safetensorsFile(`{"__metadata__":{"a":1}}`, ""), "metadata"},
		{"bool", safetensorsFile("{"+entry("a", "BOOL", "[2]", 0, 2)+"}", "\x01\x02"), "neither false nor true"},
	} {
		path := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(path, tc.data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := ReadSafetensors(path)
		if err == nil {
			_ = s.Close()
		}
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || fault.KindOf(err) != fault.Invalid) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

func TestWriteSafetensorsRefuses(t *testing.T) {
	x := tensor.New(tensor.Float32, 1)
	for _, list := range [][]NamedTensor{
		{{"a", x}, {"a", x}}, {{"__metadata__", x}}, {{"\xff", x}}, {{"s", tensor.New(tensor.String, 1)}},
		{{"half a byte", tensor.New(tensor.Float4E2M1, 1)}}, {{"c", tensor.New(tensor.Complex128, 1)}},
	} {
		if err := WriteSafetensors(&bytes.Buffer{}, list, nil); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %v", list[0].Name, err)
		}
	}
}

func FuzzReadSafetensors(f *testing.F) {
	var b bytes.Buffer
	if err := WriteSafetensors(&b, []NamedTensor{{"a", tensor.New(tensor.Float32, 2, 3)}, {"b", tensor.New(tensor.Bool, 5)}}, map[string]string{"k": "v"}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseSafetensors(data)
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := WriteSafetensors(&again, s.Tensors, s.Metadata); err == nil {
			if _, err := parseSafetensors(again.Bytes()); err != nil {
				t.Fatal(err)
			}
		}
	})
}
