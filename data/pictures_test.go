package data

import (
	"archive/zip"
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
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
		"a text":          {map[string][]byte{"a/1.png": good, "a/2.png": []byte("hello")}, "picture a/2.png: it is neither PNG nor JPEG nor GIF"},
		"an empty file":   {map[string][]byte{"a/1.png": nil}, "picture a/1.png: it is neither"},
		"a cut header":    {map[string][]byte{"a/1.png": good[:20]}, "picture a/1.png: it is damaged"},
		"a wrong sum":     {map[string][]byte{"a/1.png": wide}, "picture a/1.png: it is damaged"},
		"no class":        {map[string][]byte{"1.png": good, "a/2.png": good}, "picture 1.png: it lies in no folder of a class"},
		"a file too long": {map[string][]byte{"a/1.png": append(huge, make([]byte, maxPictureBytes)...)}, "at most 33554432 are read"},
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
	for name, tc := range map[string]struct{ file, text, says string }{
		"odd":   {"x.u16", "abc", "x.u16 does not hold whole tokens of 2 bytes"},
		"short": {"x.txt", "abc", "x.txt has 3 tokens, an example takes 8"},
	} {
		if _, _, err := Open(t.Context(), write(t, tc.file, tc.text), Options{Window: 7}); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", name, err)
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
