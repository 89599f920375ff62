package picture

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"

	"tandem/graph"
	"tandem/tensor"
)

// Ops decode pictures.
func Ops() []graph.Op {
	return []graph.Op{{ID: graph.OpID{Name: "ImageDecoder"}, Since: 20, Late: true, Kernel: kernelImageDecoder}}
}

// maxImagePixels bounds what a small file may claim to hold.
const maxImagePixels = 1 << 26

// picture is an image of 3 bytes for each pixel: red, green, blue.
type picture struct {
	width, height int
	pix           []byte
}

// newPicture allocates a picture of a size that a file claims.
func newPicture(width, height int) (*picture, error) {
	if width < 1 || height < 1 || width > maxImagePixels/height {
		return nil, fmt.Errorf("a picture of %d by %d pixels is outside the limit of %d pixels", width, height, maxImagePixels)
	}
	return &picture{width, height, make([]byte, 3*width*height)}, nil
}

// pictureFormats are what decodePicture reads, by how a file begins.
func pictureFormats() []struct {
	name, magic string
	decode      func(data []byte) (*picture, error)
} {
	return []struct {
		name, magic string
		decode      func(data []byte) (*picture, error)
	}{
		{"JPEG", "\xff\xd8\xff", decodeJPEG},
		{"PNG", "\x89PNG\r\n\x1a\n", decodeWith(png.DecodeConfig, png.Decode)},
		{"GIF", "GIF8", decodeWith(gif.DecodeConfig, gif.Decode)},
		{"BMP", "BM", decodeBMP},
		{"TIFF", "II*\x00", decodeTIFF},
		{"TIFF", "MM\x00*", decodeTIFF},
		{"PBM", "P1", decodePNM}, {"PGM", "P2", decodePNM}, {"PPM", "P3", decodePNM},
		{"PBM", "P4", decodePNM}, {"PGM", "P5", decodePNM}, {"PPM", "P6", decodePNM},
	}
}

func decodePicture(data []byte) (*picture, error) {
	for _, f := range pictureFormats() {
		if bytes.HasPrefix(data, []byte(f.magic)) {
			p, err := f.decode(data)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.name, err)
			}
			return p, nil
		}
	}
	return nil, fmt.Errorf("the picture is none of JPEG, PNG, GIF, BMP, TIFF, PBM, PGM and PPM")
}

func kernelImageDecoder(c *graph.Call) (func() error, error) {
	if len(c.In) != 1 || c.In[0] == nil || c.In[0].DType() != tensor.Uint8 || c.In[0].Rank() != 1 {
		return nil, fmt.Errorf("one vector of uint8 is expected")
	}
	format := c.Node.Attrs.String("pixel_format", "RGB")
	channels := 3
	switch format {
	case "RGB", "BGR":
	case "Grayscale":
		channels = 1
	default:
		return nil, fmt.Errorf("pixel_format %q is none of RGB, BGR and Grayscale", format)
	}
	return func() error {
		p, err := decodePicture(c.In[0].Bytes())
		if err != nil {
			return err
		}
		y, err := c.Make(0, tensor.Uint8, p.height, p.width, channels)
		if y == nil || err != nil {
			return err
		}
		p.write(y.Bytes(), format)
		return nil
	}, nil
}

func (p *picture) write(dst []byte, format string) {
	switch format {
	case "RGB":
		copy(dst, p.pix)
	case "BGR":
		for i := 0; i < len(p.pix); i += 3 {
			dst[i], dst[i+1], dst[i+2] = p.pix[i+2], p.pix[i+1], p.pix[i]
		}
	default: // luma of ITU-R BT.601, as Pillow computes it
		for i := range dst {
			r, g, b := uint32(p.pix[3*i]), uint32(p.pix[3*i+1]), uint32(p.pix[3*i+2])
			dst[i] = byte((r*19595 + g*38470 + b*7471 + 1<<15) >> 16)
		}
	}
}

// decodeWith uses a decoder of the standard library. Transparency is dropped.
func decodeWith(config func(io.Reader) (image.Config, error), decode func(io.Reader) (image.Image, error)) func([]byte) (*picture, error) {
	return func(data []byte) (*picture, error) {
		size, err := config(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		p, err := newPicture(size.Width, size.Height)
		if err != nil {
			return nil, err
		}
		img, err := decode(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		if b := img.Bounds(); b.Dx() != p.width || b.Dy() != p.height {
			return nil, fmt.Errorf("the first frame is %v, the picture %d by %d", b, p.width, p.height)
		}
		return p.fill(img), nil
	}
}

// fill takes the colours of an image of the same size.
func (p *picture) fill(img image.Image) *picture {
	at := img.Bounds().Min
	for y := range p.height {
		for x := range p.width {
			v := color.NRGBAModel.Convert(img.At(at.X+x, at.Y+y)).(color.NRGBA)
			i := 3 * (y*p.width + x)
			p.pix[i], p.pix[i+1], p.pix[i+2] = v.R, v.G, v.B
		}
	}
	return p
}

// decodeJPEG makes colours as libjpeg does, whose results models are trained on:
// subsampled chroma is interpolated, not repeated.
func decodeJPEG(data []byte) (*picture, error) {
	config, err := jpeg.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	p, err := newPicture(config.Width, config.Height)
	if err != nil {
		return nil, err
	}
	img, err := decodeBaseline(data)
	if errors.Is(err, errOtherJPEG) {
		img, err = jpeg.Decode(bytes.NewReader(data))
	}
	if err != nil {
		return nil, err
	}
	ycc, ok := img.(*image.YCbCr)
	if !ok {
		return p.fill(img), nil
	}
	cb, cr := fullChroma(ycc, ycc.Cb), fullChroma(ycc, ycc.Cr)
	for y := range p.height {
		for x := range p.width {
			i := y*p.width + x
			luma := int32(ycc.Y[ycc.YOffset(ycc.Rect.Min.X+x, ycc.Rect.Min.Y+y)])
			p.pix[3*i], p.pix[3*i+1], p.pix[3*i+2] = fromYCC(luma, int32(cb[i])-128, int32(cr[i])-128)
		}
	}
	return p, nil
}

// fromYCC is JFIF's conversion in fixed point with 16 bits behind the point.
func fromYCC(y, cb, cr int32) (r, g, b byte) {
	const half = 1 << 15
	clamp := func(v int32) byte { return byte(min(max(v, 0), 255)) }
	return clamp(y + (91881*cr+half)>>16), clamp(y + (-22554*cb-46802*cr+half)>>16), clamp(y + (116130*cb+half)>>16)
}

// fullChroma brings a plane of chroma to the size of the picture.
func fullChroma(img *image.YCbCr, plane []byte) []byte {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	out := make([]byte, w*h)
	cw, ch := (w+1)/2, (h+1)/2
	switch {
	case img.SubsampleRatio == image.YCbCrSubsampleRatio420 && cw > 2:
		for y := range h {
			near := y / 2
			far := min(max(near+2*(y%2)-1, 0), ch-1)
			blendPair(out[y*w:][:w], plane[near*img.CStride:][:cw], plane[far*img.CStride:][:cw])
		}
	case img.SubsampleRatio == image.YCbCrSubsampleRatio422 && cw > 2:
		for y := range h {
			blendRow(out[y*w:][:w], plane[y*img.CStride:][:cw])
		}
	default:
		for y := range h {
			for x := range w {
				out[y*w+x] = plane[img.COffset(img.Rect.Min.X+x, img.Rect.Min.Y+y)]
			}
		}
	}
	return out
}

// blendRow doubles a row: each new sample is 3/4 of the nearer old one and 1/4 of
// the farther (libjpeg, h2v1_fancy_upsample).
func blendRow(out, in []byte) {
	for x := range out {
		i := x / 2
		near, far := int(in[i]), int(in[min(max(i+2*(x%2)-1, 0), len(in)-1)])
		out[x] = byte((3*near + far + 1 + x%2) >> 2)
	}
}

// blendPair is blendRow between two rows, the nearer of which counts three times
// (libjpeg, h2v2_fancy_upsample).
func blendPair(out, near, far []byte) {
	sum := func(i int) int {
		i = min(max(i, 0), len(near)-1)
		return 3*int(near[i]) + int(far[i])
	}
	for x := range out {
		i := x / 2
		out[x] = byte((3*sum(i) + sum(i+2*(x%2)-1) + 8 - x%2) >> 4)
	}
}
