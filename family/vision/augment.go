package vision

import (
	"slices"

	"tandem/kernel"
	"tandem/tensor"
	"tandem/train"
)

// Augment says how images to train on are varied from epoch to epoch. What appears
// beyond an image's edges has the mean colour.
type Augment struct {
	Flip  bool    `yaml:"flip" help:"mirror every other image at random, left to right"`
	Shift int     `yaml:"shift" limit:"[0,1024]" help:"move images at random by up to so many pixels, up or down and left or right"`
	Zoom  float32 `yaml:"zoom" limit:"[0,8]" help:"enlarge a part of each image at random, by up to this factor above 1: 0.25 shows four fifths of a side at least"`
}

// none tells that images stay as they are.
func (a Augment) none() bool { return !a.Flip && a.Shift == 0 && a.Zoom == 0 }

// augmentStream separates these random words from those of parameters and dropout.
const augmentStream = 2 << 32

// vary is train.Problem's Vary: it changes images [n,c,h,w] in place.
func (a Augment) vary(at train.Visit, inputs []*tensor.Tensor) {
	x := inputs[0]
	c, h, w := x.Dim(1), x.Dim(2), x.Dim(3)
	before := make([]float32, h*w)
	for i := range x.Dim(0) {
		v := a.draw(kernel.Words(at.Seed, augmentStream, uint64(at.Epoch), uint64(at.First+i)), h, w)
		image := x.Rows(i, i+1).F32()
		for k := range c {
			plane := image[k*h*w : (k+1)*h*w]
			copy(before, plane)
			v.apply(plane, before, h, w)
		}
	}
}

// variation is what is done to one image.
type variation struct {
	flip   bool
	dy, dx int     // pixel (y,x) shows what was at (y+dy, x+dx)
	side   float32 // part of each side that is shown, 1 for all
	top    float32 // where that part begins, in pixels
	left   float32
}

// draw makes a variation of four random words.
func (a Augment) draw(words [4]uint32, h, w int) variation {
	v := variation{flip: a.Flip && words[0]>>31 == 1, side: 1}
	if n := uint64(2*a.Shift + 1); n > 1 {
		v.dy, v.dx = int(uint64(words[1])*n>>32)-a.Shift, int(uint64(words[2])*n>>32)-a.Shift
	}
	if a.Zoom > 0 {
		part := func(word uint32) float32 { return float32(word>>20) / (1 << 12) } // 12 bits each, of words' ends that nothing else has used
		v.side = 1 / (1 + a.Zoom*part(words[3]))
		v.top, v.left = (1-v.side)*float32(h)*part(words[3]<<12), (1-v.side)*float32(w)*part(words[0]<<12)
	}
	return v
}

// apply fills dst, rows of w, with what the variation makes of src.
func (v variation) apply(dst, src []float32, h, w int) {
	for y := range h {
		row := dst[y*w : (y+1)*w]
		for x := range row {
			row[x] = v.at(src, y+v.dy, x+v.dx, h, w)
		}
		if v.flip {
			slices.Reverse(row)
		}
	}
}

// at is the value at (y,x) of the part that is shown; 0, the mean, beyond the edges.
func (v variation) at(src []float32, y, x, h, w int) float32 {
	if y < 0 || y >= h || x < 0 || x >= w {
		return 0
	}
	if v.side == 1 {
		return src[y*w+x]
	}
	// Centres of pixels lie at halves; what lies between two is their weighted mean.
	sy, sx := v.top+v.side*(float32(y)+0.5)-0.5, v.left+v.side*(float32(x)+0.5)-0.5
	y0, fy := split(sy, h)
	x0, fx := split(sx, w)
	y1, x1 := min(y0+1, h-1), min(x0+1, w-1)
	above := float32(src[y0*w+x0]*(1-fx)) + float32(src[y0*w+x1]*fx)
	below := float32(src[y1*w+x0]*(1-fx)) + float32(src[y1*w+x1]*fx)
	return float32(above*(1-fy)) + float32(below*fy)
}

// split is the pixel at or before a place of n, and how far behind it the place lies.
func split(at float32, n int) (int, float32) {
	at = min(max(at, 0), float32(n-1))
	i := int(at)
	return i, at - float32(i)
}
