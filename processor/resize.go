package processor

import (
	"math"

	"tandem/fault"
)

// box is the part of a picture that's scaled, in pixels. It's float32 since that
// is what Pillow takes.
type box struct{ x0, y0, x1, y1 float32 }

// fit brings pixels to the size that the network takes.
func (p *Image) fit(px pixels, limits Limits) (pixels, error) {
	if px.width == p.Width && px.height == p.Height {
		return px, nil
	}
	whole := box{0, 0, float32(px.width), float32(px.height)}
	switch p.Resize {
	case ResizeStretch:
		return resize(px, whole, p.Width, p.Height, limits)
	case ResizeCrop:
		return resize(px, centre(px, p.Width, p.Height), p.Width, p.Height, limits)
	}
	return pixels{}, invalid("the picture has %dx%d pixels, width by height, not %dx%d", px.width, px.height, p.Width, p.Height).
		Try("send it in that size, or train the model with resize stretch or crop")
}

// centre is the largest centred box in the proportions of width to height, as
// Pillow's ImageOps.fit has it.
func centre(px pixels, width, height int) box {
	w, h := float64(px.width), float64(px.height)
	switch ratio := float64(width) / float64(height); {
	case w/h > ratio:
		w = float64(ratio * h)
	case w/h < ratio:
		h = w / ratio
	}
	x0, y0 := float64((float64(px.width)-w)*0.5), float64((float64(px.height)-h)*0.5)
	return box{float32(x0), float32(y0), float32(x0 + w), float32(y0 + h)}
}

// resize scales a box of a picture with a triangle filter that's widened when the
// picture shrinks, so that no pixel is left out. It's the BILINEAR of Pillow before
// 12.2 to the bit, first along rows, then along columns, rounding to 8 bits after
// each: models that were trained on its pictures see the same ones here.
func resize(px pixels, b box, width, height int, limits Limits) (pixels, error) {
	if width != px.width || b.x0 != 0 || b.x1 != float32(width) {
		if width > limits.Pixels/px.height {
			return pixels{}, fault.New(imageOp, fault.TooLarge, "a picture of %dx%d pixels, width by height, is too narrow to be scaled to %dx%d",
				px.width, px.height, width, height).Try("send one in other proportions")
		}
		px = alongRows(px, newTaps(px.width, b.x0, b.x1, width))
	}
	if height != px.height || b.y0 != 0 || b.y1 != float32(height) {
		px = alongColumns(px, newTaps(px.height, b.y0, b.y1, height))
	}
	return px, nil
}

// fractionBits are those of a weight: a weighted sum of bytes fits 31 bits.
const fractionBits = 22

// taps are the inputs and weights of each output along one axis.
type taps struct {
	first, count []int   // per output
	weights      []int32 // stride for each output
	stride       int
}

// newTaps computes what Pillow's precompute_coeffs does, in the same order of
// operations. Products are converted where they'd be summed, so that no processor
// joins the two.
func newTaps(inSize int, lo, hi float32, outSize int) taps {
	scale := float64(hi-lo) / float64(outSize)
	support := max(scale, 1)
	t := taps{first: make([]int, outSize), count: make([]int, outSize), stride: int(math.Ceil(support))*2 + 1}
	t.weights = make([]int32, outSize*t.stride)
	w := make([]float64, t.stride)
	inverse := 1 / support
	for i := range outSize {
		center := float64(lo) + float64((float64(i)+0.5)*scale)
		first := max(int(center-support+0.5), 0)
		count := min(int(center+support+0.5), inSize) - first
		sum := 0.0
		for k := range count {
			w[k] = max(1-math.Abs((float64(k+first)-center+0.5)*inverse), 0)
			sum += w[k]
		}
		for k := range count {
			if sum != 0 {
				w[k] /= sum
			}
			t.weights[i*t.stride+k] = int32(0.5 + float64(w[k]*(1<<fractionBits)))
		}
		t.first[i], t.count[i] = first, count
	}
	return t
}

// of are the weights of output i.
func (t taps) of(i int) []int32 { return t.weights[i*t.stride:][:t.count[i]] }

func alongRows(src pixels, t taps) pixels {
	dst := newPixels(len(t.first), src.height, src.channels)
	for y := range src.height {
		in, out := src.row(y), dst.row(y)
		for x := range dst.width {
			weights, at := t.of(x), in[t.first[x]*src.channels:]
			for c := range src.channels {
				sum := int32(1 << (fractionBits - 1))
				for k, w := range weights {
					sum += int32(at[k*src.channels+c]) * w
				}
				out[x*src.channels+c] = clip(sum)
			}
		}
	}
	return dst
}

func alongColumns(src pixels, t taps) pixels {
	dst := newPixels(src.width, len(t.first), src.channels)
	sums := make([]int32, src.width*src.channels)
	for y := range dst.height {
		for i := range sums {
			sums[i] = 1 << (fractionBits - 1)
		}
		for k, w := range t.of(y) {
			for i, v := range src.row(t.first[y] + k) {
				sums[i] += int32(v) * w
			}
		}
		for i, sum := range sums {
			dst.row(y)[i] = clip(sum)
		}
	}
	return dst
}

// clip takes a sum's whole part as a byte: rounded weights may sum to over 1.
func clip(sum int32) uint8 { return uint8(min(max(sum>>fractionBits, 0), 255)) }
