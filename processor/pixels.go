package processor

import (
	"image"
	"image/color"
)

// pixels are 8-bit samples, rows of interleaved channels.
type pixels struct {
	width, height, channels int
	data                    []uint8
}

func newPixels(width, height, channels int) pixels {
	return pixels{width, height, channels, make([]uint8, width*height*channels)}
}

// row is one row of samples.
func (p pixels) row(y int) []uint8 {
	n := p.width * p.channels
	return p.data[y*n : (y+1)*n : (y+1)*n]
}

// pixelsOf converts a decoded picture to gray or to red, green and blue. The two
// kinds that make up nearly all traffic have loops of their own; a test holds them
// to the result of the general one.
func pixelsOf(canvas onCanvas, channels int) pixels {
	p := newPixels(canvas.area.Dx(), canvas.area.Dy(), channels)
	if canvas.Bounds() == canvas.area {
		switch src := canvas.Image.(type) {
		case *image.Gray:
			p.fromGray(src)
			return p
		case *image.YCbCr:
			p.fromYCbCr(src)
			return p
		}
	}
	p.fromAny(canvas)
	return p
}

func (p pixels) fromGray(src *image.Gray) {
	for y := range p.height {
		in := src.Pix[y*src.Stride:][:p.width]
		if p.channels == 1 {
			copy(p.row(y), in)
			continue
		}
		out := p.row(y)
		for x, v := range in {
			out[3*x], out[3*x+1], out[3*x+2] = v, v, v
		}
	}
}

func (p pixels) fromYCbCr(src *image.YCbCr) {
	for y := range p.height {
		out := p.row(y)
		for x := range p.width {
			c := src.COffset(x, y)
			r, g, b := color.YCbCrToRGB(src.Y[src.YOffset(x, y)], src.Cb[c], src.Cr[c])
			p.put(out, x, r, g, b)
		}
	}
}

// fromAny takes every kind of picture, with transparency and borders.
func (p pixels) fromAny(canvas onCanvas) {
	at := func(x, y int) color.RGBA64 { return color.RGBA64Model.Convert(canvas.At(x, y)).(color.RGBA64) }
	if src, ok := canvas.Image.(image.RGBA64Image); ok {
		at = src.RGBA64At // does not allocate for each pixel
	}
	bounds := canvas.Bounds()
	for y := range p.height {
		out := p.row(y)
		for x := range p.width {
			var c color.RGBA64 // transparent beyond the bounds
			if (image.Point{X: x, Y: y}).In(bounds) {
				c = at(x, y)
			}
			// Colours are already multiplied by their opacity: white shows through
			// by what's left of it.
			white := 0xffff - c.A
			p.put(out, x, uint8((c.R+white)>>8), uint8((c.G+white)>>8), uint8((c.B+white)>>8))
		}
	}
}

// put stores a colour as channels at x of a row.
func (p pixels) put(row []uint8, x int, r, g, b uint8) {
	if p.channels == 1 {
		// 0.299, 0.587 and 0.114 in 65536ths; they sum to 65536, so gray stays.
		row[x] = uint8((19595*uint32(r) + 38470*uint32(g) + 7471*uint32(b) + 1<<15) >> 16)
		return
	}
	px := row[3*x : 3*x+3 : 3*x+3]
	px[0], px[1], px[2] = r, g, b
}
