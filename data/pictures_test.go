package data

import (
	"archive/zip"
	"bytes"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"tandem/fault"
)

func picturePNG(t testing.TB, w, h int, shade uint8) []byte {
	t.Helper()
	m := image.NewGray(image.Rect(0, 0, w, h))
	for i := range m.Pix {
		m.Pix[i] = shade
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func pictureJPEG(t testing.TB) []byte {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, 5, 4))
	m.Set(1, 1, color.White)
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tree writes files into a folder; a zip of the same lies beside it.
func tree(t testing.TB, files map[string][]byte) (folder, zipped string) {
	t.Helper()
	folder = filepath.Join(t.TempDir(), "set")
	zipped = folder + ".zip"
	f, err := os.Create(zipped)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	for name, content := range files {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return folder, zipped
}

// TestPictures: a folder and a zip of it are the same set, split by chance or as
// its folders say.
func TestPictures(t *testing.T) {
	dog, cat := pictureJPEG(t), picturePNG(t, 3, 2, 9)
	plain, zipped := tree(t, map[string][]byte{"dog/1.jpg": dog, "cat/b.png": cat, "cat/a.png": cat, "dog/.hidden": nil, "__MACOSX/x": nil})
	var digests []Digest
	for _, path := range []string{plain, zipped} {
		d, test := open(t, path, Options{})
		if test != nil || d.Len() != 3 {
			t.Fatalf("%d pictures, test %v", d.Len(), test)
		}
		label, _ := d.Field(LabelColumn)
		if !slices.Equal(label.Values, []string{"cat", "dog"}) || label.Classes != 2 {
			t.Errorf("classes %q", label.Values)
		}
		if got := whole(t, d, FileColumn).Strings(); !slices.Equal(got, []string{"cat/a.png", "dog/1.jpg", "cat/b.png"}) {
			t.Errorf("files %q", got)
		}
		if got := whole(t, d, LabelColumn).I64(); !slices.Equal(got, []int64{0, 1, 0}) {
			t.Errorf("labels %v", got)
		}
		if got := whole(t, d, ImageColumn).Strings(); got[0] != string(cat) || got[1] != string(dog) {
			t.Error("another picture's bytes")
		}
		digests = append(digests, digestOf(t, d))
	}
	if digests[0] != digests[1] {
		t.Error("the zip is another set than the folder")
	}
	parted, _ := tree(t, map[string][]byte{"train/dog/1.jpg": dog, "train/cat/1.png": cat, "val/dog/2.jpg": dog})
	train, test := open(t, parted, Options{})
	if train.Len() != 2 || test.Len() != 1 || whole(t, test, LabelColumn).I64()[0] != 1 {
		t.Errorf("%d and %d pictures", train.Len(), test.Len())
	}
	train, test = open(t, plain, Options{Split: Split{Test: 0.3}})
	if train.Len() != 2 || test.Len() != 1 {
		t.Errorf("split into %d and %d pictures", train.Len(), test.Len())
	}
}

func TestBrokenPictures(t *testing.T) {
	good := picturePNG(t, 2, 2, 1)
	wide := slices.Clone(good)
	copy(wide[16:], "\x00\x01\x00\x00\x00\x01\x00\x00")
	huge := picturePNG(t, 2, 2, 1)
	for name, tc := range map[string]struct {
		files map[string][]byte
		says  string
	}{
		"a text":                 {map[string][]byte{"a/1.png": good, "a/2.png": []byte("hello")}, "picture a/2.png: it is neither PNG nor JPEG nor GIF"},
		"an empty file":          {map[string][]byte{"a/1.png": nil}, "picture a/1.png: it is neither"},
		"a cut header":           {map[string][]byte{"a/1.png": good[:20]}, "picture a/1.png: it is damaged"},
		"a wrong sum":            {map[string][]byte{"a/1.png": wide}, "picture a/1.png: it is damaged"},
		"no class":               {map[string][]byte{"1.png": good, "a/2.png": good}, "picture 1.png: it lies in no folder of a class"},
		"a picture of no pixels": {map[string][]byte{"a/1.gif": []byte("GIF89a\x00\x00\x00\x00\x00\x00\x00")}, "picture a/1.gif: it is 0 pixels wide"},
		"a cut JPEG":             {map[string][]byte{"a/1.jpg": pictureJPEG(t)[:12]}, "picture a/1.jpg: it is damaged"},
		"a huge picture":         {map[string][]byte{"a/1.gif": []byte("GIF89a\xff\xff\xff\xff\x00\x00\x00")}, "picture a/1.gif: it is 65535 pixels wide and 65535 high"},
		"another kind":           {map[string][]byte{"a/1.png": []byte("RIFF\x24\x00\x00\x00WEBPVP8 ")}, "picture a/1.png: it is neither PNG nor JPEG nor GIF"},
		"a table among them":     {map[string][]byte{"a/1.png": good, "a/labels.csv": []byte("1.png,a\n")}, "picture a/labels.csv: it is neither"},
		"no pictures":            {map[string][]byte{"train/.keep": nil}, "has no pictures to train on"},
		"a file too long":        {map[string][]byte{"a/1.png": append(huge, make([]byte, maxPictureBytes)...)}, "at most 33554432 are read"},
	} {
		folder, zipped := tree(t, tc.files)
		for _, path := range []string{folder, zipped} {
			_, _, err := Open(t.Context(), path, Options{Format: FormatImages})
			if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), tc.says) || fault.RemedyOf(err) == "" {
				t.Errorf("%s: %v, want %q", name, err, tc.says)
			}
		}
	}
	if _, _, err := Open(t.Context(), write(t, "x.zip", "PK\x03\x04rest"), Options{}); !strings.Contains(err.Error(), "x.zip is not a whole zip file") {
		t.Error(err)
	}
}

// TestBrokenZips: names that leave the folder, files that are not as the list says, and
// zips of other things.
func TestBrokenZips(t *testing.T) {
	good := picturePNG(t, 2, 2, 1)
	pack := func(write func(z *zip.Writer) error) string {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		must(t, write(z))
		must(t, z.Close())
		return b.String()
	}
	one := func(h *zip.FileHeader, content []byte) func(z *zip.Writer) error {
		return func(z *zip.Writer) error {
			w, err := z.CreateRaw(h)
			if err == nil {
				_, err = w.Write(content)
			}
			return err
		}
	}
	stored := func(name string, content []byte) *zip.FileHeader {
		n := uint64(len(content))
		return &zip.FileHeader{Name: name, CompressedSize64: n, UncompressedSize64: n, CRC32: crc32.ChecksumIEEE(content)}
	}
	other, secret, large, short := stored("a/1.png", good), stored("a/1.png", good), stored("a/1.png", good), stored("a/1.png", good)
	other.Method, secret.Flags = 99, 1
	large.UncompressedSize64, large.Method = 1<<40, zip.Deflate
	short.CRC32++
	whole := pack(one(stored("a/1.png", good), good))
	for _, c := range []struct{ name, content, says string }{
		{"a name that leaves", pack(one(stored("../1.png", good), good)), ""},
		{"a name that leaves from within", pack(one(stored("a/../../1.png", good), good)), ""},
		{"a bomb", pack(one(large, good)), "picture a/1.png: it has 1099511627776 bytes, at most 33554432 are read"},
		{"another method", pack(one(other, good)), "picture a/1.png"},
		{"a wrong sum", pack(one(short, good)), "picture a/1.png"},
		{"nothing in it", pack(func(*zip.Writer) error { return nil }), "x.zip has no pictures to train on"},
		{"nothing at all", "", "x.zip is not a whole zip file"},
		{"cut", whole[:len(whole)-10], "x.zip is not a whole zip file"},
		{"a text", "a,b\n1,2\n", "x.zip is not a whole zip file"},
	} {
		train, _, err := Open(t.Context(), write(t, "x.zip", c.content), Options{})
		if err == nil { // what the list says was true so far
			_, err = train.Digest()
			must(t, train.Close())
		}
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "x.zip") || fault.RemedyOf(err) == "" {
			t.Errorf("%s: %v (%v), try %q, want %q", c.name, err, fault.KindOf(err), fault.RemedyOf(err), c.says)
		}
	}
	folder := filepath.Join(t.TempDir(), "set")
	must(t, os.MkdirAll(filepath.Join(folder, "a"), 0o755))
	must(t, syscall.Mkfifo(filepath.Join(folder, "a", "1.png"), 0o644))
	if _, _, err := Open(t.Context(), folder, Options{}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "picture a/1.png: it is no file") {
		t.Errorf("a pipe: %v", err)
	}
	must(t, os.Remove(filepath.Join(folder, "a", "1.png")))
	must(t, os.Symlink("nowhere", filepath.Join(folder, "a", "1.png")))
	if _, _, err := Open(t.Context(), folder, Options{}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "picture a/1.png: it cannot be opened") {
		t.Errorf("a link to nothing: %v", err)
	}
}

// TestChangedPicture: what changes between opening and reading is said, not used.
func TestChangedPicture(t *testing.T) {
	folder, _ := tree(t, map[string][]byte{"a/1.png": picturePNG(t, 2, 2, 1), "b/1.png": picturePNG(t, 2, 2, 1)})
	d, _ := open(t, folder, Options{})
	if err := os.Truncate(filepath.Join(folder, "b/1.png"), 10); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Digest(); err == nil || !strings.Contains(err.Error(), "picture b/1.png") {
		t.Error(err)
	}
}

// TestCIFAR opens a part of the real set.
func TestCIFAR(t *testing.T) {
	path := shared(t, "cifar10")
	train, test := open(t, filepath.Join(path, "train.zip"), Options{TestPath: filepath.Join(path, "test.zip")})
	label, _ := train.Field(LabelColumn)
	if train.Len() != 10000 || test.Len() != 2000 || label.Classes != 10 || label.Values[0] != "airplane" {
		t.Errorf("%d and %d pictures of %q", train.Len(), test.Len(), label.Values)
	}
}

func TestTokens(t *testing.T) {
	text := strings.Repeat("to be or not to be ", 1000)
	train, test := open(t, write(t, "x.txt", text), Options{Window: 7, Split: Split{Test: 0.1}})
	if n := (len(text) - 1) / 7; train.Len()+test.Len() != n || test.Len() != (n+5)/10 {
		t.Fatalf("%d and %d windows of %d", train.Len(), test.Len(), n)
	}
	all := append(slices.Clone(whole(t, train, TokensColumn).I64()), whole(t, test, TokensColumn).I64()...)
	for i, v := range all {
		if v != int64(text[i/8*7+i%8]) {
			t.Fatalf("token %d of window %d is %d", i%8, i/8, v)
		}
	}
	f, _ := train.Field(TokensColumn)
	if f.Classes != 'u' && f.Classes != 't'+1 {
		t.Errorf("%d tokens", f.Classes)
	}
	words, _ := open(t, write(t, "x.u16", "\x01\x00\x00\x01\x02\x00"), Options{Window: 1})
	if got := whole(t, words, TokensColumn).I64(); !slices.Equal(got, []int64{1, 256, 256, 2}) || words.Classes(TokensColumn) != 257 {
		t.Errorf("%v, %d tokens", got, words.Classes(TokensColumn))
	}
	if four, _ := open(t, write(t, "x.u32", "\x01\x00\x01\x00\x00\x01\x00\x00"), Options{Window: 1}); whole(t, four, TokensColumn).I64()[0] != 65537 {
		t.Error("numbers of four bytes")
	}
}

// TestBrokenTokens: files that hold no windows of tokens.
func TestBrokenTokens(t *testing.T) {
	long := strings.Repeat("ab", 100)
	for name, tc := range map[string]struct {
		file, text string
		opt        Options
		says       string
	}{
		"odd":                 {"x.u16", "abc", Options{Window: 7}, "x.u16 does not hold whole tokens of 2 bytes"},
		"odd by two":          {"x.u32", "abcdef", Options{Window: 7}, "x.u32 does not hold whole tokens of 4 bytes"},
		"short":               {"x.txt", "abc", Options{Window: 7}, "x.txt has 3 tokens, an example takes 8"},
		"nothing":             {"x.txt", "", Options{}, "x.txt has 0 tokens, an example takes 129"},
		"a token of 32 bits":  {"x.u32", "\x01\x00\x00\x00\xff\xff\xff\xff", Options{Window: 1}, "x.u32: token 2 is 4294967295"},
		"a negative window":   {"x.txt", long, Options{Window: -1}, "windows of -1 tokens"},
		"a huge window":       {"x.txt", long, Options{Window: 1 << 21}, "windows of 2097152 tokens"},
		"all is to test with": {"x.txt", long, Options{Window: 150, Split: Split{Test: 0.9}}, "x.txt has 1 windows, and all of them are to test with"},
		"another test set":    {"x.txt", long, Options{Window: 7, TestPath: write(t, "y.u16", long)}, "y.u16 has tokens of 2 bytes, x.txt of 1"},
	} {
		_, _, err := Open(t.Context(), write(t, tc.file, tc.text), tc.opt)
		if k := fault.KindOf(err); k != fault.Invalid || !strings.Contains(err.Error(), tc.says) || fault.RemedyOf(err) == "" {
			t.Errorf("%s: %v (%v), want %q", name, err, k, tc.says)
		}
	}
}

// FuzzZip: a zip of pictures is opened and read, or refused with a remedy; what it says
// to hold is not allocated before it is there.
func FuzzZip(f *testing.F) {
	for _, files := range []map[string][]byte{
		{"a/1.png": picturePNG(f, 2, 2, 1), "b/1.jpg": pictureJPEG(f)},
		{"train/a/1.png": picturePNG(f, 1, 3, 1), "val/a/2.png": picturePNG(f, 3, 1, 1)},
		{"1.png": nil, "a/../b/x.png": nil},
	} {
		_, zipped := tree(f, files)
		content, err := os.ReadFile(zipped)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		train, test, err := Open(t.Context(), write(t, "x.zip", string(content)), Options{Format: FormatImages})
		if err == nil {
			for _, d := range []*Dataset{train, test} {
				if d != nil {
					_, err = d.Digest()
				}
			}
			_ = train.Close()
		}
		if err != nil && (fault.KindOf(err) == fault.Internal || fault.RemedyOf(err) == "") {
			t.Errorf("%v (%v), remedy %q", err, fault.KindOf(err), fault.RemedyOf(err))
		}
		if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 256<<20 {
			t.Errorf("%d bytes took %d MiB", len(content), (after.TotalAlloc-before.TotalAlloc)>>20)
		}
	})
}
