package processor

import (
	"bytes"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"strings"

	"tandem/fault"
	"tandem/tensor"
)

// Limits bound what one picture may take.
type Limits struct {
	Bytes  int64 // encoded
	Pixels int   // decoded, and between the two passes of resizing: up to 24 bytes of memory each
}

// DefaultLimits let the photographs of most cameras pass.
func DefaultLimits() Limits { return Limits{Bytes: 32 << 20, Pixels: 25 << 20} }

// maxScans bounds the passes of a progressive JPEG. Real ones have about ten; a
// pass can be of a few bytes and still cost a visit to every pixel.
const maxScans = 256

// codec is a format of pictures. They're called by name here: the standard
// library's own list of formats depends on what else is in the program.
type codec struct {
	name, magic string
	config      func(io.Reader) (image.Config, error)
	decode      func(io.Reader) (image.Image, error)
}

func codecOf(encoded []byte) (codec, bool) {
	for _, c := range [...]codec{
		{"PNG", "\x89PNG\r\n\x1a\n", png.DecodeConfig, png.Decode},
		{"JPEG", "\xff\xd8\xff", jpeg.DecodeConfig, jpeg.Decode},
		{"GIF", "GIF8", gif.DecodeConfig, gif.Decode},
	} {
		if strings.HasPrefix(string(encoded[:min(len(encoded), 16)]), c.magic) {
			return c, true
		}
	}
	return codec{}, false
}

// Decode turns a PNG, JPEG or GIF (its first frame) into pixels that Pixels takes:
// uint8 [1,Height,Width,Channels]. Transparent parts show white, as they do on a
// page; colour becomes gray by the luma of ITU-R 601; of 16 bits the higher 8
// count. Neither colour profiles nor the orientation in a JPEG's EXIF are applied.
// The limits hold before pixels are allocated.
func (p *Image) Decode(r io.Reader, limits Limits) (*tensor.Tensor, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	picture, err := decode(r, limits)
	if err != nil {
		return nil, err
	}
	px := pixelsOf(picture, p.Channels)
	if px, err = p.fit(px, limits); err != nil {
		return nil, err
	}
	return tensor.Of(px.data, 1, p.Height, p.Width, p.Channels), nil
}

// Size is what a picture says of its height and width, in pixels; nothing is decoded.
func Size(encoded []byte, limits Limits) (height, width int, err error) {
	_, config, err := begin(encoded, limits)
	return config.Height, config.Width, err
}

// begin reads what a picture says of itself, and checks it.
func begin(encoded []byte, limits Limits) (codec, image.Config, error) {
	if int64(len(encoded)) > limits.Bytes {
		return codec{}, image.Config{}, fault.New(imageOp, fault.TooLarge, "the picture is larger than %d bytes", limits.Bytes).
			Try("send a smaller one, or raise the limit")
	}
	if len(encoded) == 0 {
		return codec{}, image.Config{}, invalid("the picture is empty").Try("give a PNG, JPEG or GIF file")
	}
	c, ok := codecOf(encoded)
	if !ok {
		return codec{}, image.Config{}, invalid("the picture begins with % x, which is neither PNG nor JPEG nor GIF", encoded[:min(len(encoded), 8)]).
			Try("convert it to one of these")
	}
	config, err := c.config(bytes.NewReader(encoded))
	if err != nil {
		return c, config, damaged(c, err)
	}
	return c, config, checkSize(config.Width, config.Height, limits)
}

// decode reads a picture whose size is checked before it's decoded.
func decode(r io.Reader, limits Limits) (onCanvas, error) {
	encoded, err := io.ReadAll(io.LimitReader(r, limits.Bytes+1))
	if err != nil {
		return onCanvas{}, fault.From(err, imageOp)
	}
	c, config, err := begin(encoded, limits)
	if err != nil {
		return onCanvas{}, err
	}
	if c.name == "JPEG" && bytes.Count(encoded, []byte{0xff, 0xda}) > maxScans {
		return onCanvas{}, fault.New(imageOp, fault.TooLarge, "the JPEG has more than %d scans", maxScans).
			Try("save it anew, as a baseline JPEG")
	}
	picture, err := c.decode(bytes.NewReader(encoded))
	if err != nil {
		return onCanvas{}, damaged(c, err)
	}
	return onCanvas{picture, image.Rect(0, 0, config.Width, config.Height)}, nil
}

func checkSize(width, height int, limits Limits) error {
	if width < 1 || height < 1 {
		return invalid("the picture is %d pixels wide and %d high", width, height).Try("send one with pixels")
	}
	if width > limits.Pixels/height {
		return fault.New(imageOp, fault.TooLarge, "the picture of %dx%d pixels, width by height, has more than %d",
			width, height, limits.Pixels).Try("send a smaller one, or raise the limit")
	}
	return nil
}

func damaged(c codec, err error) error {
	return fault.Wrap(err, imageOp, fault.Invalid, "the %s picture is damaged or of an unknown kind", c.name).
		Try("save it anew")
}

// onCanvas is a picture on the whole area that its file declares: the first frame
// of a GIF may cover a part of it.
type onCanvas struct {
	image.Image
	area image.Rectangle
}
