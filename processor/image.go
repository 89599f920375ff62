package processor

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"

	"tandem/fault"
	"tandem/tensor"
)

const imageOp = "processor.image"

// maxSide bounds the height and width of what a network takes, in pixels.
const maxSide = 1 << 13

// Resize is what's done with a picture of another size than the network takes.
type Resize string

const (
	ResizeNone    Resize = "none"    // it's refused; also the meaning of ""
	ResizeStretch Resize = "stretch" // its sides are scaled each to their own length
	ResizeCrop    Resize = "crop"    // the largest centred part of the right proportions is scaled
)

// Image turns pictures or raw pixels into the tensor that a network takes:
// float32 [N,Channels,Height,Width].
//
// The value v of a pixel's channel c, 0 to 255, becomes
//
//	(v·Scale − Mean[c]) / Std[c]
//
// computed in float64 from the float32 parameters, and rounded once to float32. It
// depends on v and c alone, so that training and serving give the same bits.
type Image struct {
	Height   int       `json:"height"`
	Width    int       `json:"width"`
	Channels int       `json:"channels"`         // 1 gray, or 3 red, green, blue
	Scale    float32   `json:"scale"`            // such as 1/255
	Mean     []float32 `json:"mean,omitempty"`   // per channel, after scaling; none means 0
	Std      []float32 `json:"std,omitempty"`    // per channel, after scaling; none means 1
	Resize   Resize    `json:"resize,omitempty"` // of pictures; raw pixels always have the right size
}

// Validate says what's wrong with the parameters.
func (p *Image) Validate() error {
	if p.Height < 1 || p.Height > maxSide || p.Width < 1 || p.Width > maxSide {
		return invalid("pictures of %dx%d", p.Height, p.Width).Try("give height and width from 1 to 8192")
	}
	if p.Channels != 1 && p.Channels != 3 {
		return invalid("pictures of %d channels", p.Channels).Try("give 1 channel for gray, or 3 for red, green and blue")
	}
	if n := len(p.Mean); n != 0 && n != p.Channels {
		return invalid("%d means for %d channels", n, p.Channels).Try("give one mean for each channel, or none")
	}
	if n := len(p.Std); n != 0 && n != p.Channels {
		return invalid("%d standard deviations for %d channels", n, p.Channels).Try("give one for each channel, or none")
	}
	if !(p.Scale > 0) {
		return invalid("a scale of %v", p.Scale).Try("give a positive scale, such as 0.003921569 for 1/255")
	}
	for c := range p.Channels {
		if _, std := p.norm(c); !(std > 0) {
			return invalid("a standard deviation of %v", std).Try("give a positive one")
		}
		if lo, hi := float64(p.value(c, 0)), float64(p.value(c, 255)); math.IsNaN(lo-hi) || math.IsInf(lo-hi, 0) {
			return invalid("channel %d would range from %v to %v", c, lo, hi).Try("give a finite scale, mean and standard deviation")
		}
	}
	switch p.Resize {
	case "", ResizeNone, ResizeStretch, ResizeCrop:
		return nil
	}
	return invalid("no way to resize is called %.40q", p.Resize).Try("use none, stretch or crop")
}

// norm is the mean and standard deviation of a channel.
func (p *Image) norm(channel int) (mean, std float32) {
	std = 1
	if len(p.Mean) > 0 {
		mean = p.Mean[channel]
	}
	if len(p.Std) > 0 {
		std = p.Std[channel]
	}
	return mean, std
}

// value is the one place where a pixel becomes a number.
func (p *Image) value(channel int, v uint8) float32 {
	mean, std := p.norm(channel)
	// 8 by 24 bits of product are exact in float64: a processor that joins the
	// product and the difference into one instruction gives the same bits.
	scaled := float64(v) * float64(p.Scale)
	return float32((scaled - float64(mean)) / float64(std))
}

// Pixels fills dst, float32 [N,Channels,Height,Width], with pixels of src, uint8
// [N,Height,Width,Channels], or for one channel also [N,Height,Width]. Uint8
// pixels with the channels first aren't taken: for three channels they could not
// be told from the others by shape. It does not allocate unless it fails.
func (p *Image) Pixels(dst, src *tensor.Tensor) error {
	if err := p.Validate(); err != nil {
		return err
	}
	if !p.takes(src) {
		return invalid("pixels %v, not uint8[Nx%dx%dx%d]", src, p.Height, p.Width, p.Channels).
			Try("send raw pixels of that type and shape, or encode the pictures as PNG or JPEG")
	}
	n := src.Dim(0)
	if dst.DType() != tensor.Float32 || dst.Rank() != 4 || dst.Dim(0) != n ||
		dst.Dim(1) != p.Channels || dst.Dim(2) != p.Height || dst.Dim(3) != p.Width {
		return invalid("destination %v, not float32[%dx%dx%dx%d]", dst, n, p.Channels, p.Height, p.Width).
			Try("make it of that type and shape")
	}
	var tables [3][256]float32 // on the stack: 3 KiB
	for c := range p.Channels {
		p.fill(&tables[c], c)
	}
	if p.Channels == 1 {
		lookUp(dst.F32(), src.Bytes(), &tables[0])
		return nil
	}
	plane := p.Height * p.Width
	out, in := dst.F32(), src.Bytes()
	for i := range n {
		o := out[3*plane*i : 3*plane*(i+1)]
		lookUp3(o[:plane], o[plane:2*plane], o[2*plane:], in[3*plane*i:3*plane*(i+1)], &tables)
	}
	return nil
}

// takes reports whether src is pixels of the right type and shape.
func (p *Image) takes(src *tensor.Tensor) bool {
	if src.DType() != tensor.Uint8 || src.Rank() != 4 && (src.Rank() != 3 || p.Channels != 1) {
		return false
	}
	return src.Dim(1) == p.Height && src.Dim(2) == p.Width && (src.Rank() == 3 || src.Dim(3) == p.Channels)
}

func (p *Image) fill(table *[256]float32, channel int) {
	for v := range table {
		table[v] = p.value(channel, uint8(v))
	}
}

// lookUp has no bounds checks in its loop.
func lookUp(dst []float32, src []byte, table *[256]float32) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = table[v]
	}
}

// lookUp3 parts interleaved channels into planes.
func lookUp3(r, g, b []float32, src []byte, tables *[3][256]float32) {
	g, b = g[:len(r)], b[:len(r)]
	for i := range r {
		px := src[3*i : 3*i+3 : 3*i+3]
		r[i], g[i], b[i] = tables[0][px[0]], tables[1][px[1]], tables[2][px[2]]
	}
}

// UnmarshalJSON is strict: a key that's unknown, written in other letters or
// given twice is refused, and so are parameters that aren't valid.
func (p *Image) UnmarshalJSON(text []byte) error {
	if err := checkKeys(text, "height", "width", "channels", "scale", "mean", "std", "resize"); err != nil {
		return err
	}
	type plain Image // without this method
	var q plain
	if err := json.Unmarshal(text, &q); err != nil {
		return fault.Wrap(fault.JSON("", text, err), imageOp, fault.Invalid, "the image processor's parameters")
	}
	if err := (*Image)(&q).Validate(); err != nil {
		return err
	}
	*p = Image(q)
	return nil
}

// checkKeys checks the keys of the object text.
func checkKeys(text []byte, known ...string) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return invalid("the image processor's parameters are not a JSON object")
	}
	seen := make(map[string]bool, len(known))
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return fault.Wrap(err, imageOp, fault.Invalid, "the image processor's parameters")
		}
		key, _ := t.(string)
		if !slices.Contains(known, key) {
			return invalid("the image processor has no parameter %.80q", key).
				Try("check its spelling; a newer Tandem may have written it")
		}
		if seen[key] {
			return invalid("the image processor's parameter %q is given twice", key).Try("give it once")
		}
		seen[key] = true
		var skip json.RawMessage
		if err := d.Decode(&skip); err != nil {
			return fault.Wrap(err, imageOp, fault.Invalid, "the image processor's parameter %q", key)
		}
	}
	return nil
}

func invalid(format string, args ...any) *fault.Error {
	return fault.New(imageOp, fault.Invalid, format, args...)
}
