package kernel

import (
	"math"
	"unsafe"

	"tandem/kernel/ref"
)

// slideArgs is the one argument of the assembly that slides a window over
// pixels whose channels come last: for up to six pixels in a row and two
// vectors of channels,
//
//	y[pixel] = fold over (ky, kx) from bias of x[pixel + ky·tapY + kx·tapX]
//
// where fold multiplies by a tap's weights and adds, takes the greatest, or
// adds. Strides are in bytes. The layout is known to the generator in
// kernel/asm.
type slideArgs struct {
	y, x, weights, bias unsafe.Pointer
	pixel, tapX, tapY   uintptr
	weightX, weightY    uintptr
	kx, ky              int
	pixels              int    // 1 … slidePixels
	mask                uint32 // channels that exist
	_                   uint32
	outPixel            uintptr
}

const slidePixels = 6

// slider slides a window over rows of output pixels of images [H,W,C].
type slider struct {
	op                   ref.SlideOp
	isa                  ISA
	h, w, c, ow          int
	kh, kw               int
	strideH, strideW     int
	padTop, padLeft      int
	dilationH, dilationW int
	weights, start       []float32 // weights [kh·kw][c]; start [c], or nil for zeros
}

// span is the part [from,until) of a window's n taps that lies inside the
// image, for a window that begins at coordinate at.
func span(at, n, dilation, size int) (from, until int) {
	if at < 0 {
		from = min(n, ceilDiv(-at, dilation))
	}
	until = min(n, ceilDiv(max(size-at, 0), dilation))
	return from, max(from, until)
}

// row computes row oy of the output of the image x.
func (s *slider) row(y, x []float32, oy int) {
	y0 := oy*s.strideH - s.padTop
	ky0, ky1 := span(y0, s.kh, s.dilationH, s.h)
	for ox := 0; ox < s.ow; {
		x0 := ox*s.strideW - s.padLeft
		kx0, kx1 := span(x0, s.kw, s.dilationW, s.w)
		n := 1
		if kx1-kx0 == s.kw { // further windows that are inside in full
			n = min(s.ow-ox, (s.w-1-(s.kw-1)*s.dilationW-x0)/s.strideW+1)
		}
		s.pixels(y[ox*s.c:], x, y0+ky0*s.dilationH, x0+kx0*s.dilationW, ky0, ky1, kx0, kx1, n)
		ox += n
	}
}

// pixels computes n pixels whose windows have the taps [ky0,ky1) × [kx0,kx1);
// the first of them reads (iy,ix) first.
func (s *slider) pixels(y, x []float32, iy, ix, ky0, ky1, kx0, kx1, n int) {
	if ky0 == ky1 || kx0 == kx1 {
		for i := range n {
			clear(y[i*s.c:][:s.c])
			copy(y[i*s.c:][:s.c], s.start)
		}
		return
	}
	at := (iy*s.w + ix) * s.c
	var weights []float32
	if s.weights != nil {
		weights = s.weights[(ky0*s.kw+kx0)*s.c:]
	}
	if s.isa == Generic {
		ref.Slide(s.op, y, x[at:], weights, s.start, ref.SlideSteps{
			Channels: s.c, Pixels: n, KY: ky1 - ky0, KX: kx1 - kx0, Pixel: s.strideW * s.c,
			TapY: s.dilationH * s.w * s.c, TapX: s.dilationW * s.c, WeightY: s.kw * s.c, WeightX: s.c,
		})
		return
	}
	args := slideArgs{
		pixel: uintptr(s.strideW*s.c) * 4, tapX: uintptr(s.dilationW*s.c) * 4, tapY: uintptr(s.dilationH*s.w*s.c) * 4,
		weightX: uintptr(s.c) * 4, weightY: uintptr(s.kw*s.c) * 4, kx: kx1 - kx0, ky: ky1 - ky0, outPixel: uintptr(s.c) * 4,
	}
	both := 2 * s.isa.lanes()
	for c := 0; c < s.c; c += both {
		args.mask = 1<<min(both, s.c-c) - 1
		if s.start != nil {
			args.bias = unsafe.Pointer(&s.start[c])
		}
		if weights != nil {
			args.weights = unsafe.Pointer(&weights[c])
		}
		for i := 0; i < n; i += slidePixels {
			args.pixels = min(slidePixels, n-i)
			args.x = unsafe.Pointer(&x[at+i*s.strideW*s.c+c])
			args.y = unsafe.Pointer(&y[i*s.c+c])
			if s.isa == AVX2 && s.c-c < both {
				s.narrow(&args, weights, y[i*s.c:], x[at+i*s.strideW*s.c:], c)
				continue
			}
			slideAsm(s.isa, s.op, &args)
		}
	}
}

// narrow computes the last channels on AVX2, which has no masks: in plain Go,
// with the same operations.
func (s *slider) narrow(args *slideArgs, weights, y, x []float32, c int) {
	for i := range args.pixels {
		for ch := c; ch < s.c; ch++ {
			v := float32(0)
			if s.start != nil {
				v = s.start[ch]
			}
			for ky := range args.ky {
				for kx := range args.kx {
					e := x[i*s.strideW*s.c+ky*s.dilationH*s.w*s.c+kx*s.dilationW*s.c+ch]
					switch s.op {
					case ref.SlideMultiply:
						w := weights[(ky*s.kw+kx)*s.c+ch]
						v = float32(math.FMA(float64(e), float64(w), float64(v)))
					case ref.SlideMaximum:
						v = max(v, e)
					case ref.SlideAdd:
						v += e
					}
				}
			}
			y[i*s.c+ch] = v
		}
	}
}
