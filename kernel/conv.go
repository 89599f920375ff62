package kernel

import "fmt"

// Conv is a 2-D convolution (cross-correlation) on NCHW tensors: X [N,C,H,W],
// Weight [OC, C/Groups, KH, KW], Bias [OC] or nil, Y [N,OC,OH,OW]. Strides,
// dilations and Groups of 0 mean 1.
//
// Forward writes Y; GradInput and GradWeight read Y as the gradient of the
// output (of the convolution itself: the caller undoes Act first).
//
// All three are products whose one operand is packed from image patches as it
// is needed, a panel at a time (see patches): no im2col matrix exists.
type Conv struct {
	N, C, H, W, OC, KH, KW               int
	StrideH, StrideW                     int
	PadTop, PadLeft, PadBottom, PadRight int
	DilationH, DilationW, Groups         int
	X, Weight, Bias, Y                   []float32
	Act                                  Activation

	pass    convPass
	flip    convFlip
	weights weightPass
}

// OutSize returns the height and width of Y.
func (c *Conv) OutSize() (oh, ow int) {
	oh = (c.H+c.PadTop+c.PadBottom-or(c.DilationH, 1)*(c.KH-1)-1)/or(c.StrideH, 1) + 1
	ow = (c.W+c.PadLeft+c.PadRight-or(c.DilationW, 1)*(c.KW-1)-1)/or(c.StrideW, 1) + 1
	return oh, ow
}

// window is Conv with the defaults filled in.
type window struct {
	oh, ow, strideH, strideW, dilationH, dilationW, groups int
	ic, oc                                                 int // channels of a group
	taps                                                   int
}

func (c *Conv) window() window {
	oh, ow := c.OutSize()
	w := window{
		oh: oh, ow: ow, strideH: or(c.StrideH, 1), strideW: or(c.StrideW, 1),
		dilationH: or(c.DilationH, 1), dilationW: or(c.DilationW, 1), groups: or(c.Groups, 1),
		taps: c.KH * c.KW,
	}
	w.ic, w.oc = c.C/w.groups, c.OC/w.groups
	if oh < 0 || ow < 0 || c.C%w.groups != 0 || c.OC%w.groups != 0 || w.taps == 0 {
		panic(fmt.Sprintf("kernel: Conv of %d channels %d×%d by %d×%d×%d in %d groups",
			c.C, c.H, c.W, c.OC, c.KH, c.KW, w.groups))
	}
	return w
}

func (c *Conv) check(w *window, what string, x, weight, y int) {
	checkLen(what, "X", x, c.N*c.C*c.H*c.W)
	checkLen(what, "Weight", weight, c.OC*w.ic*w.taps)
	checkLen(what, "Y", y, c.N*c.OC*w.oh*w.ow)
}

// forwardPass is the product Weight · patches(X).
func (c *Conv) forwardPass(w *window) convPass {
	return convPass{
		patches: patches{
			srcH: c.H, srcW: c.W, imageStride: c.C * c.H * c.W, gridH: w.oh, gridW: w.ow,
			strideH: w.strideH, strideW: w.strideW, tapsH: c.KH, tapsW: c.KW,
			y0: -c.PadTop, x0: -c.PadLeft, stepY: w.dilationH, stepX: w.dilationW,
		},
		src: c.X, dst: c.Y, weights: c.Weight, bias: c.Bias, act: c.Act,
		images: c.N, groups: w.groups, rows: w.oc, channels: w.ic, lda: w.ic * w.taps,
		dstH: w.oh, dstW: w.ow, dstStepY: 1, dstStepX: 1,
	}
}

// ForwardScratchLen is the number of floats of scratch that Forward needs.
func (c *Conv) ForwardScratchLen(p *Pool) int {
	w := c.window()
	pass := c.forwardPass(&w)
	return pass.scratchLen(p)
}

// Forward computes Y = act(X * Weight + Bias).
func (c *Conv) Forward(p *Pool, scratch []float32) {
	w := c.window()
	c.check(&w, "Conv.Forward", len(c.X), len(c.Weight), len(c.Y))
	if c.Bias != nil {
		checkLen("Conv", "Bias", len(c.Bias), c.OC)
	}
	c.pass.set(c.forwardPass(&w))
	c.pass.run(p, scratch)
}

// gradInputPass is the product of the flipped weights with patches(dY), for
// the pixels of dX at residue (py,px) by the strides. Those pixels meet every
// m-th tap only, so no multiplication by an inserted zero is ever done.
func (c *Conv) gradInputPass(w *window, py, px int) (pass convPass, flip convFlip) {
	ky, stepKY, tapsH := residue(py+c.PadTop, w.strideH, w.dilationH, c.KH)
	kx, stepKX, tapsW := residue(px+c.PadLeft, w.strideW, w.dilationW, c.KW)
	flip = convFlip{
		weights: c.Weight, window: *w, kw: c.KW,
		ky: ky, kx: kx, stepKY: stepKY, stepKX: stepKX, tapsH: tapsH, tapsW: tapsW,
	}
	pass = convPass{
		patches: patches{
			srcH: w.oh, srcW: w.ow, imageStride: c.OC * w.oh * w.ow,
			gridH: ceilDiv(c.H-py, w.strideH), gridW: ceilDiv(c.W-px, w.strideW),
			strideH: 1, strideW: 1, tapsH: tapsH, tapsW: tapsW,
			y0: (py + c.PadTop - ky*w.dilationH) / w.strideH, stepY: -stepKY * w.dilationH / w.strideH,
			x0: (px + c.PadLeft - kx*w.dilationW) / w.strideW, stepX: -stepKX * w.dilationW / w.strideW,
		},
		src: c.Y, images: c.N, groups: w.groups, rows: w.ic, channels: w.oc, lda: w.oc * tapsH * tapsW,
		dstH: c.H, dstW: c.W, dstY0: py, dstX0: px, dstStepY: w.strideH, dstStepX: w.strideW,
	}
	return pass, flip
}

// residue finds the taps k of [0,n) with (at - k·dilation) divisible by
// stride: the first, the step between them and their number.
func residue(at, stride, dilation, n int) (first, step, count int) {
	step = stride / gcd(stride, dilation)
	for first = range min(step, n) {
		if (at-first*dilation)%stride == 0 {
			return first, step, ceilDiv(n-first, step)
		}
	}
	return 0, step, 0
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// GradInputScratchLen is the number of floats of scratch that GradInput needs.
func (c *Conv) GradInputScratchLen(p *Pool) int {
	w := c.window()
	most := 0
	for py := range min(w.strideH, c.H) {
		for px := range min(w.strideW, c.W) {
			pass, flip := c.gradInputPass(&w, py, px)
			most = max(most, pass.scratchLen(p)+flip.scratchLen())
		}
	}
	return most
}

// GradInput computes dX [N,C,H,W] from Y (the gradient of the output) and Weight.
func (c *Conv) GradInput(p *Pool, dX, scratch []float32) {
	w := c.window()
	c.check(&w, "Conv.GradInput", len(dX), len(c.Weight), len(c.Y))
	checkLen("Conv.GradInput", "scratch", len(scratch), c.GradInputScratchLen(p))
	for py := range min(w.strideH, c.H) {
		for px := range min(w.strideW, c.W) {
			pass, flip := c.gradInputPass(&w, py, px)
			if pass.taps() == 0 || w.oh*w.ow == 0 {
				pass.zero(dX, c.C)
				continue
			}
			c.flip = flip
			c.flip.dst = scratch[:flip.scratchLen()]
			p.run(w.groups*w.ic, max(16, ceilDiv(1<<13, w.oc*pass.taps())), &c.flip)
			pass.dst, pass.weights = dX, c.flip.dst
			c.pass.set(pass)
			c.pass.run(p, scratch[flip.scratchLen():])
		}
	}
}

// convFlip lays the weights out for gradInputPass: [group][ic][oc][ty][tx].
type convFlip struct {
	window
	weights, dst   []float32
	kw             int
	ky, kx         int // the first taps
	stepKY, stepKX int
	tapsH, tapsW   int
}

func (f *convFlip) scratchLen() int { return f.groups * f.ic * f.oc * f.tapsH * f.tapsW }

// chunk goes over the weights in their own order, so that a few streams are
// written instead of many lines being read for nine floats each.
func (f *convFlip) chunk(lo, hi, _ int) {
	taps := f.tapsH * f.tapsW
	row := f.oc * taps
	for oc := range f.oc {
		for i := lo; i < hi; i++ {
			g, ic := i/f.ic, i%f.ic
			dst := f.dst[i*row+oc*taps:][:taps]
			w := f.weights[((g*f.oc+oc)*f.ic+ic)*f.taps:][:f.taps]
			if taps == f.taps && f.stepKY == 1 && f.stepKX == 1 {
				copy(dst, w) // all of them, in their order
				continue
			}
			at := 0
			for ty := range f.tapsH {
				for tx := range f.tapsW {
					dst[at] = w[(f.ky+ty*f.stepKY)*f.kw+f.kx+tx*f.stepKX]
					at++
				}
			}
		}
	}
}
