package data

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"tandem/fault"
	"tandem/tensor"
)

// idx writes an IDX file.
func idx(code byte, elements any, dims ...uint32) []byte {
	b := []byte{0, 0, code, byte(len(dims))}
	for _, d := range dims {
		b = binary.BigEndian.AppendUint32(b, d)
	}
	b, err := binary.Append(b, binary.BigEndian, elements)
	if err != nil {
		panic(err)
	}
	return b
}

func zipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(b)
	z.Close()
	return out.Bytes()
}

func TestReadIDXTakesEveryType(t *testing.T) {
	for _, tc := range []struct {
		file []byte
		want *tensor.Tensor
	}{
		{idx(0x08, []uint8{1, 255}, 2), tensor.Of([]uint8{1, 255}, 2)},
		{idx(0x09, []int8{1, -1}, 2, 1), tensor.Of([]int8{1, -1}, 2, 1)},
		{idx(0x0b, []int16{256, -2}, 2), tensor.Of([]int16{256, -2}, 2)},
		{idx(0x0c, []int32{1 << 20, -3, 4, 5}, 2, 2), tensor.Of([]int32{1 << 20, -3, 4, 5}, 2, 2)},
		{idx(0x0d, []float32{1.5, -2}, 1, 1, 2), tensor.Of([]float32{1.5, -2}, 1, 1, 2)},
		{idx(0x0e, []float64{1.1, -1e300}, 2), tensor.Of([]float64{1.1, -1e300}, 2)},
		{idx(0x0e, []float64{}, 0, 28), tensor.Of([]float64{}, 0, 28)},
	} {
		for _, file := range [][]byte{tc.file, zipped(tc.file)} {
			got, err := ReadIDX(bytes.NewReader(file), "f", 1000)
			if err != nil || got.String() != tc.want.String() || !bytes.Equal(got.Bytes(), tc.want.Bytes()) {
				t.Errorf("%v: got %v, %v", tc.want, got, err)
			}
		}
	}
}

func TestReadIDXGrowsToLargeFiles(t *testing.T) {
	elements := make([]uint16, 3*firstReadBytes)
	for i := range elements {
		elements[i] = uint16(i * 7)
	}
	got, err := ReadIDX(bytes.NewReader(idx(0x0b, elements, uint32(len(elements)))), "f", int64(2*len(elements)))
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range tensor.Data[int16](got) {
		if uint16(v) != elements[i] {
			t.Fatalf("element %d is %d", i, v)
		}
	}
}

func TestReadIDXRefuses(t *testing.T) {
	good := idx(0x08, []uint8{1, 2, 3, 4}, 2, 2)
	z := zipped(good)
	damaged := slices.Clone(z)
	damaged[len(damaged)-5]++ // of the sum
	block := slices.Clone(z)
	block[10] = 0x07 // a block of the type that's reserved
	for name, tc := range map[string]struct {
		file []byte
		says string
	}{
		"nothing":           {nil, "magic"},
		"a text":            {[]byte("hello, world"), "68 65 6c 6c"},
		"unknown type":      {idx(0x0a, []uint8{1}, 1), "00 00 0a 01"},
		"no dimensions":     {idx(0x08, []uint8{1}), "00 00 08 00"},
		"cut dimensions":    {good[:9], "sizes of its 2 dimensions"},
		"cut elements":      {good[:14], "2 of the 4 bytes"},
		"no elements":       {good[:12], "0 of the 4 bytes"},
		"one byte more":     {append(slices.Clone(good), 0), "goes on after the 4 bytes"},
		"more in gzip":      {zipped(append(slices.Clone(good), 0)), "goes on after"},
		"over the limit":    {idx(0x0e, make([]float64, 126), 126), "limit of 1000 bytes"},
		"shape bomb":        {idx(0x0e, []uint8{}, 1<<31, 1<<31, 1<<31), "2147483648"},
		"gzip of nothing":   {zipped(nil), "magic"},
		"cut gzip":          {z[:len(z)-10], "ends in"},
		"cut gzip trailer":  {z[:len(z)-2], "ends in"},
		"cut gzip header":   {z[:5], "gzip header"},
		"another method":    {append([]byte{0x1f, 0x8b, 7}, z[3:]...), "gzip"},
		"wrong gzip sum":    {damaged, "checksum"},
		"wrong gzip block":  {block, "corrupt"},
		"more after gzip":   {append(slices.Clone(z), "garbage, of over ten bytes"...), "gzip"},
		"gzip member twice": {append(slices.Clone(z), z...), "goes on after"},
	} {
		_, err := ReadIDX(bytes.NewReader(tc.file), "some.idx", 1000)
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "some.idx") ||
			!strings.Contains(err.Error(), tc.says) || fault.RemedyOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadIDXTellsAFailedReadFromABadFile(t *testing.T) {
	r := io.MultiReader(bytes.NewReader(idx(0x08, []uint8{1}, 9)), broken{})
	if _, err := ReadIDX(r, "f", 1000); !errors.Is(err, fs.ErrPermission) || fault.KindOf(err) != fault.Denied {
		t.Errorf("got %v", err)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, fs.ErrPermission }

// TestReadIDXTakesMemoryForWhatHasArrived: a header alone doesn't make it take
// what the limit would allow.
func TestReadIDXTakesMemoryForWhatHasArrived(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := ReadIDX(bytes.NewReader(idx(0x08, []uint8{1}, 1<<31-1)), "f", 1<<40)
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; err == nil || took > 2*firstReadBytes {
		t.Errorf("took %d bytes: %v", took, err)
	}
}

func FuzzReadIDX(f *testing.F) {
	for _, file := range [][]byte{
		idx(0x08, []uint8{1, 2, 3, 4}, 2, 2), idx(0x0e, []float64{1}, 1), idx(0x0b, []int16{}, 0),
		idx(0x0c, []uint8{}, 1<<31, 1<<31), {0x1f, 0x8b},
	} {
		f.Add(file)
		f.Add(zipped(file))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		const limit = 1 << 16
		got, err := ReadIDX(bytes.NewReader(file), "f", limit)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid || fault.RemedyOf(err) == "" {
				t.Fatal(err)
			}
			return
		}
		if n := len(got.Bytes()); n > limit || n != got.DType().ByteLen(got.Len()) {
			t.Fatalf("%v has %d bytes", got, n)
		}
	})
}

// set is a tiny set of pictures in the four files of MNIST.
func set() fstest.MapFS {
	file := func(b []byte) *fstest.MapFile { return &fstest.MapFile{Data: b} }
	return fstest.MapFS{
		"train-images-idx3-ubyte": file(idx(0x08, []uint8{1, 2, 3, 4, 5, 6}, 3, 1, 2)),
		"train-labels-idx1-ubyte": file(idx(0x08, []uint8{0, 2, 1}, 3)),
		"t10k-images-idx3-ubyte":  file(idx(0x08, []uint8{7, 8}, 1, 1, 2)),
		"t10k-labels-idx1-ubyte":  file(idx(0x08, []uint8{2}, 1)),
	}
}

func TestOpenIDX(t *testing.T) {
	in := fstest.MapFS{}
	for i, name := range idxNames {
		path, b := name, set()[name].Data
		if i%2 == 0 {
			path, b = path+".gz", zipped(b)
		}
		if i > 1 {
			path = "data/" + path
		}
		in[path] = &fstest.MapFile{Data: b}
	}
	for name, fsys := range map[string]fs.FS{"plain": set(), "zipped, in folders": in} {
		train, test, err := OpenIDX(fsys)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		image, _ := train.Column("image")
		label, _ := train.Column("label")
		if image.String() != "uint8[3x1x2]" || label.String() != "int64[3]" || !slices.Equal(label.I64(), []int64{0, 2, 1}) {
			t.Errorf("%s: train has %v and %v", name, image, label)
		}
		if train.Classes("label") != 3 || test.Classes("label") != 3 || test.Len() != 1 {
			t.Errorf("%s: %d and %d classes, %d tests", name, train.Classes("label"), test.Classes("label"), test.Len())
		}
	}
}

func TestOpenIDXCountsClassesOverBoth(t *testing.T) {
	m := set()
	m[idxNames[1]].Data = idx(0x08, []uint8{2, 9, 1}, 3) // above those of the tests
	if train, test, err := OpenIDX(m); err != nil || train.Classes("label") != 10 || test.Classes("label") != 10 {
		t.Errorf("%v", err)
	}
}

func TestOpenIDXRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(fstest.MapFS)
		kind   fault.Kind
		says   []string
	}{
		"a missing file": {func(m fstest.MapFS) { delete(m, idxNames[3]) }, fault.NotFound, []string{idxNames[3]}},
		"fewer labels": {func(m fstest.MapFS) { m[idxNames[1]].Data = idx(0x08, []uint8{1, 2}, 2) },
			fault.Invalid, []string{idxNames[0], "3 pictures", idxNames[1], "2 labels"}},
		"labels for pictures": {func(m fstest.MapFS) { m[idxNames[2]] = m[idxNames[3]] }, fault.Invalid, []string{idxNames[2], "three dimensions"}},
		"pictures for labels": {func(m fstest.MapFS) { m[idxNames[3]] = m[idxNames[2]] }, fault.Invalid, []string{idxNames[3]}},
		"wide labels":         {func(m fstest.MapFS) { m[idxNames[3]].Data = idx(0x0c, []int32{1}, 1) }, fault.Invalid, []string{idxNames[3]}},
		"other sizes": {func(m fstest.MapFS) { m[idxNames[2]].Data = idx(0x08, []uint8{1, 2}, 1, 2, 1) },
			fault.Invalid, []string{idxNames[0], "1x2", idxNames[2], "2x1"}},
		"no pictures": {func(m fstest.MapFS) {
			m[idxNames[0]].Data, m[idxNames[1]].Data = idx(0x08, []uint8{}, 0, 1, 2), idx(0x08, []uint8{}, 0)
		}, fault.Invalid, []string{idxNames[0], "no pictures"}},
		"pictures of no pixels": {func(m fstest.MapFS) {
			m[idxNames[0]].Data, m[idxNames[2]].Data = idx(0x08, []uint8{}, 3, 0, 2), idx(0x08, []uint8{}, 1, 0, 2)
		}, fault.Invalid, []string{idxNames[0], "0x2"}},
		"a label of the tests alone": {func(m fstest.MapFS) {
			m[idxNames[2]].Data, m[idxNames[3]].Data = idx(0x08, []uint8{7, 8, 9, 9}, 2, 1, 2), idx(0x08, []uint8{2, 4}, 2)
		}, fault.Invalid, []string{idxNames[3], "picture 2", `class "4"`}},
		"a folder for a file": {func(m fstest.MapFS) { m[idxNames[2]] = &fstest.MapFile{Mode: fs.ModeDir} }, fault.Invalid, []string{idxNames[2], "folder"}},
		"a damaged file":      {func(m fstest.MapFS) { m[idxNames[0]].Data = []byte{0, 0} }, fault.Invalid, []string{idxNames[0]}},
	} {
		m := set()
		tc.change(m)
		_, _, err := OpenIDX(m)
		if fault.KindOf(err) != tc.kind || fault.RemedyOf(err) == "" {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, says := range tc.says {
			if !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v does not say %q", name, err, says)
			}
		}
	}
}
