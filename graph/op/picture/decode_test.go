package picture_test

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"testing"

	"tandem/graph"
	"tandem/graph/op/optest"
	"tandem/tensor"
)

// Two pixels, red and (0, 128, 255), in formats without loss. BMP and TIFF are
// written out byte by byte as their specifications say.
func pictures(t testing.TB) map[string][]byte {
	img := image.NewNRGBA(image.Rect(0, 0, 2, 1))
	img.Set(0, 0, color.NRGBA{R: 255, A: 255})
	img.Set(1, 0, color.NRGBA{G: 128, B: 255, A: 255})
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	bmp := append([]byte("BM\x3e\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x01\x00\x18\x00"), make([]byte, 24)...)
	entry := func(tag, kind, n, v byte) string {
		return string([]byte{tag, 1, kind, 0, n, 0, 0, 0, v, 0, 0, 0})
	}
	tiff := "II*\x00\x08\x00\x00\x00\x07\x00" + entry(0, 3, 1, 2) + entry(1, 3, 1, 1) + entry(2, 3, 1, 8) + entry(6, 3, 1, 2) +
		entry(17, 4, 1, 98) + entry(21, 3, 1, 3) + entry(23, 4, 1, 6) + "\x00\x00\x00\x00\xff\x00\x00\x00\x80\xff"
	return map[string][]byte{
		"png":   b.Bytes(),
		"ppm":   []byte("P6 # comment\n2 1\n255\n\xff\x00\x00\x00\x80\xff"),
		"plain": []byte("P3 2 1 255 255 0 0 0 128 255"),
		"bmp":   append(bmp, 0, 0, 255, 255, 128, 0, 0, 0),
		"tiff":  []byte(tiff),
	}
}

func TestImageDecoder(t *testing.T) {
	for name, data := range pictures(t) {
		for format, want := range map[string]string{
			"RGB": "uint8[1x2x3] [255 0 0 0 128 255]", "BGR": "uint8[1x2x3] [0 0 255 255 128 0]", "Grayscale": "uint8[1x2x1] [76 104]",
		} {
			tc := optest.Case{Op: "ImageDecoder", Version: 20, Attrs: graph.Attrs{"pixel_format": format}, In: []*tensor.Tensor{tensor.Of(data, len(data))}, Want: []string{want}}
			t.Run(name+" "+format, tc.Run)
		}
	}
}

// TestImageDecoderRefusesDamage: what is cut off or changed gives an error or a
// picture, never a panic.
func TestImageDecoderRefusesDamage(t *testing.T) {
	files := pictures(t)
	var small bytes.Buffer
	if err := jpeg.Encode(&small, image.NewNRGBA(image.Rect(0, 0, 9, 3)), nil); err != nil {
		t.Fatal(err)
	}
	files["jpeg"] = small.Bytes()
	for name, data := range files {
		for n := range data {
			_, _ = optest.Run(t, "ImageDecoder", 20, 1, nil, tensor.Of(data[:n:n], n))
			for _, v := range []byte{0, 0xff} {
				changed := bytes.Clone(data)
				changed[n] = v
				_, _ = optest.Run(t, "ImageDecoder", 20, 1, nil, tensor.Of(changed, len(changed)))
			}
		}
		short := data[:len(data)-1]
		if _, err := optest.Run(t, "ImageDecoder", 20, 1, nil, tensor.Of(short, len(short))); err == nil && name != "plain" && name != "bmp" && name != "jpeg" {
			t.Errorf("%s: a picture was read that is cut off", name)
		}
	}
	huge := []byte("P6 99999 99999 255 ")
	tc := optest.Case{Op: "ImageDecoder", Version: 20, In: []*tensor.Tensor{tensor.Of(huge, len(huge))}, Err: "outside the limit"}
	tc.Run(t)
}

// TestJPEGColours: smooth colours survive compression with subsampled chroma.
func TestJPEGColours(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 19, 17))
	for y := range 17 {
		for x := range 19 {
			img.Set(x, y, color.NRGBA{R: byte(10 * x), G: byte(12 * y), B: byte(100 + 5*x), A: 255})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 100}); err != nil {
		t.Fatal(err)
	}
	out, err := optest.Run(t, "ImageDecoder", 20, 1, nil, tensor.Of(b.Bytes(), b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(out[0]), "uint8[17x19x3]"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	for i, v := range tensor.Data[uint8](out[0]) {
		want := int(img.Pix[i/3*4+i%3])
		if d := int(v) - want; d < -12 || d > 12 {
			t.Errorf("byte %d is %d, want about %d", i, v, want)
		}
	}
}

// FuzzImageDecoder: any bytes are a picture or an error, and what a header claims is
// not allocated beyond the limit.
func FuzzImageDecoder(f *testing.F) {
	for _, data := range pictures(f) {
		f.Add(data)
	}
	for _, quality := range []int{20, 95} {
		var b bytes.Buffer
		if err := jpeg.Encode(&b, image.NewNRGBA(image.Rect(0, 0, 17, 9)), &jpeg.Options{Quality: quality}); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = optest.Run(t, "ImageDecoder", 20, 1, nil, tensor.Of(data, len(data)))
	})
}
