package processor

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"runtime"
	"strings"
	"testing"

	"tandem/fault"
)

func encode(t testing.TB, format string, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	var err error
	switch format {
	case "png":
		err = png.Encode(&b, m)
	case "jpeg":
		err = jpeg.Encode(&b, m, &jpeg.Options{Quality: 90})
	case "gif":
		err = gif.Encode(&b, m, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gray(w, h int) *image.Gray {
	return &image.Gray{Pix: samples(w * h), Stride: w, Rect: image.Rect(0, 0, w, h)}
}

func TestDecodePNGIsExact(t *testing.T) {
	m := gray(28, 28)
	got, err := digits().Decode(bytes.NewReader(encode(t, "png", m)), DefaultLimits())
	if err != nil || got.String() != "uint8[1x28x28x1]" || !bytes.Equal(got.Bytes(), m.Pix) {
		t.Errorf("gray: %v, %v", got, err)
	}
	c := image.NewNRGBA(image.Rect(0, 0, 7, 5))
	copy(c.Pix, samples(len(c.Pix)))
	var want []byte
	for i := 0; i < len(c.Pix); i += 4 {
		c.Pix[i+3] = 255
		want = append(want, c.Pix[i:i+3]...)
	}
	got, err = photos().Decode(bytes.NewReader(encode(t, "png", c)), DefaultLimits())
	if err != nil || got.String() != "uint8[1x5x7x3]" || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("colour: %v, %v", got, err)
	}
}

func TestDecodeConversions(t *testing.T) {
	red, clear, half := color.NRGBA{255, 0, 0, 255}, color.NRGBA{255, 0, 0, 0}, color.NRGBA{255, 0, 0, 128}
	one := func(c color.Color) image.Image {
		m := image.NewNRGBA(image.Rect(0, 0, 1, 1))
		m.Set(0, 0, c)
		return m
	}
	deep := image.NewGray16(image.Rect(0, 0, 1, 1))
	deep.SetGray16(0, 0, color.Gray16{0x80ff})
	for name, tc := range map[string]struct {
		m        image.Image
		channels int
		want     []byte
	}{
		"green to gray":        {one(color.NRGBA{0, 255, 0, 255}), 1, []byte{150}}, // of 149.7
		"red to gray":          {one(red), 1, []byte{76}},
		"transparent is white": {one(clear), 3, []byte{255, 255, 255}},
		"half red":             {one(half), 3, []byte{255, 127, 127}},
		"16 bits":              {deep, 1, []byte{0x80}},
		"gray to colour":       {gray(1, 1), 3, []byte{60, 60, 60}},
	} {
		p := &Image{Height: 1, Width: 1, Channels: tc.channels, Scale: 1}
		got, err := p.Decode(bytes.NewReader(encode(t, "png", tc.m)), DefaultLimits())
		if err != nil || !bytes.Equal(got.Bytes(), tc.want) {
			t.Errorf("%s: %v, want %v, %v", name, got.Bytes(), tc.want, err)
		}
	}
}

// TestDecodeCMYK: a JPEG for print, 8x8 pixels of cyan, as Pillow writes it.
func TestDecodeCMYK(t *testing.T) {
	const cyan = "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwACAQEBAQECAQEBAgICAgIEAwICAgIFBAQDBAYFBgYGBQYGBgcJCAYHCQcGBggLCAkKCgoKCgYICwwLCgwJCgoK" +
		"/8AAFAgACAAIBEMRAE0RAFkRAEsRAP/EABUAAQEAAAAAAAAAAAAAAAAAAAkK/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAA4EQwBNAFkASwAAPwCf8/h/D+P/2Q=="
	encoded, err := base64.StdEncoding.DecodeString(cyan)
	if err != nil {
		t.Fatal(err)
	}
	p := &Image{Height: 8, Width: 8, Channels: 3, Scale: 1}
	got, err := p.Decode(bytes.NewReader(encoded), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range got.Bytes() {
		if want := []int{0, 255, 255}[i%3]; int(v)-want > 2 || want-int(v) > 2 {
			t.Fatalf("byte %d is %d, want %d", i, v, want)
		}
	}
}

// TestQuickLoopsGiveTheGeneralResult holds the loops for common kinds of pictures
// to the one for all.
func TestQuickLoopsGiveTheGeneralResult(t *testing.T) {
	area := image.Rect(0, 0, 33, 21)
	kinds := []image.Image{gray(33, 21)}
	for _, ratio := range []image.YCbCrSubsampleRatio{image.YCbCrSubsampleRatio444, image.YCbCrSubsampleRatio420, image.YCbCrSubsampleRatio422} {
		m := image.NewYCbCr(area, ratio)
		copy(m.Y, samples(len(m.Y) + 99)[99:])
		copy(m.Cb, samples(len(m.Cb) + 7)[7:])
		copy(m.Cr, samples(len(m.Cr) + 1)[1:])
		kinds = append(kinds, m)
	}
	for _, m := range kinds {
		for _, channels := range []int{1, 3} {
			quick, general := pixelsOf(onCanvas{m, area}, channels), newPixels(33, 21, channels)
			general.fromAny(onCanvas{m, area})
			if !bytes.Equal(quick.data, general.data) {
				t.Errorf("%T to %d channels differs", m, channels)
			}
		}
	}
}

func TestDecodeGIFTakesTheFirstFrameOnItsCanvas(t *testing.T) {
	palette := color.Palette{color.White, color.Black}
	first := image.NewPaletted(image.Rect(2, 1, 4, 3), palette)
	for i := range first.Pix {
		first.Pix[i] = 1
	}
	var b bytes.Buffer
	err := gif.EncodeAll(&b, &gif.GIF{
		Image: []*image.Paletted{first, image.NewPaletted(image.Rect(0, 0, 5, 4), palette)}, Delay: []int{1, 1},
		Config: image.Config{Width: 5, Height: 4, ColorModel: palette},
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &Image{Height: 4, Width: 5, Channels: 1, Scale: 1}
	got, err := p.Decode(&b, DefaultLimits())
	const w = 255
	want := []byte{w, w, w, w, w, w, w, 0, 0, w, w, w, 0, 0, w, w, w, w, w, w}
	if err != nil || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestPixelsBeyondAFrameAreWhite(t *testing.T) {
	m := &image.Gray{Pix: []uint8{1, 2}, Stride: 1, Rect: image.Rect(1, 0, 2, 2)}
	if got := pixelsOf(onCanvas{m, image.Rect(0, 0, 2, 2)}, 1); !bytes.Equal(got.data, []byte{255, 1, 255, 2}) {
		t.Errorf("got %v", got.data)
	}
}

func TestDecodeJPEGIsNear(t *testing.T) {
	m := image.NewRGBA(image.Rect(0, 0, 7, 5))
	for i := range m.Pix {
		m.Pix[i] = []byte{200, 100, 50, 255}[i%4]
	}
	got, err := photos().Decode(bytes.NewReader(encode(t, "jpeg", m)), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range got.Bytes() {
		if d := int(v) - []int{200, 100, 50}[i%3]; d < -4 || d > 4 {
			t.Fatalf("sample %d is %d", i, v)
		}
	}
}

// pngClaiming is a PNG of a few bytes whose header claims a size.
func pngClaiming(width, height uint32) []byte {
	chunk := []byte("IHDR\x00\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00\x00")
	binary.BigEndian.PutUint32(chunk[4:], width)
	binary.BigEndian.PutUint32(chunk[8:], height)
	b := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), chunk...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(chunk))
}

func TestDecodeRefuses(t *testing.T) {
	p, whole := digits(), encode(t, "png", gray(28, 28))
	limits := Limits{Bytes: 10_000, Pixels: 30 * 30}
	baseline := encode(t, "jpeg", gray(28, 28))
	for name, tc := range map[string]struct {
		picture []byte
		kind    fault.Kind
		says    string
	}{
		"nothing":         {nil, fault.Invalid, "is empty"},
		"text":            {[]byte("hello"), fault.Invalid, "68 65"},
		"a cut PNG":       {whole[:len(whole)/2], fault.Invalid, "PNG"},
		"a cut header":    {whole[:12], fault.Invalid, "PNG"},
		"too many bytes":  {bytes.Repeat([]byte{0}, 10_001), fault.TooLarge, "10000 bytes"},
		"too many pixels": {encode(t, "png", gray(31, 30)), fault.TooLarge, "31x30"},
		"a bomb":          {pngClaiming(1<<24, 1<<24), fault.TooLarge, "16777216"},
		"another size":    {encode(t, "png", gray(27, 28)), fault.Invalid, "27x28"},
		"endless scans":   {append(baseline[:len(baseline):len(baseline)], bytes.Repeat([]byte{0xff, 0xda}, maxScans)...), fault.TooLarge, "scans"},
	} {
		_, err := p.Decode(bytes.NewReader(tc.picture), limits)
		if fault.KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.says) || fault.RemedyOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := p.Decode(bytes.NewReader(baseline), limits); err != nil {
		t.Errorf("a sound JPEG: %v", err)
	}
	if _, err := new(Image).Decode(bytes.NewReader(whole), limits); fault.KindOf(err) != fault.Invalid {
		t.Errorf("without parameters: %v", err)
	}
	broken := errors.New("the line broke")
	if _, err := p.Decode(io.MultiReader(bytes.NewReader(whole[:50]), errReader{broken}), limits); !errors.Is(err, broken) {
		t.Errorf("a broken line: %v", err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestDecodeBoundsMemoryByTheHeader(t *testing.T) {
	bomb := pngClaiming(100_000, 100_000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := photos().Decode(bytes.NewReader(bomb), DefaultLimits())
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; err == nil || allocated > 1<<20 {
		t.Errorf("%d bytes for a picture of 10¹⁰ pixels: %v", allocated, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add(pngClaiming(1<<20, 1<<20))
	for _, format := range []string{"png", "jpeg", "gif"} {
		f.Add(encode(f, format, gray(9, 11)))
		f.Add(encode(f, format, image.NewNRGBA(image.Rect(0, 0, 5, 3))))
	}
	f.Fuzz(func(t *testing.T, encoded []byte) {
		for _, p := range []*Image{
			{Height: 8, Width: 8, Channels: 1, Scale: 1, Resize: ResizeCrop},
			{Height: 3, Width: 9, Channels: 3, Scale: 1, Resize: ResizeStretch},
		} {
			got, err := p.Decode(bytes.NewReader(encoded), Limits{Bytes: 1 << 16, Pixels: 1 << 16})
			if (err == nil) != (got != nil) || err != nil && fault.KindOf(err) == fault.Internal {
				t.Fatalf("%v, %v", got, err)
			}
			if err == nil && got.Len() != p.Height*p.Width*p.Channels {
				t.Fatalf("got %v", got)
			}
		}
	})
}
