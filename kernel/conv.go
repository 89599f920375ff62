package kernel

import (
	"fmt"

	"tandem/kernel/ref"
)

// Conv is a 2-D convolution (cross-correlation) on NCHW tensors: X [N,C,H,W],
// Weight [OC, C/Groups, KH, KW], Bias [OC] or nil, Y [N,OC,OH,OW]. Strides,
// dilations and Groups of 0 mean 1.
//
// Forward writes Y; GradInput and GradWeight read Y as the gradient of the
// output (of the convolution itself: the caller undoes Act first).
type Conv struct {
	N, C, H, W, OC, KH, KW               int
	StrideH, StrideW                     int
	PadTop, PadLeft, PadBottom, PadRight int
	DilationH, DilationW, Groups         int
	X, Weight, Bias, Y                   []float32
	Act                                  Activation
}

// OutSize returns the height and width of Y.
func (c *Conv) OutSize() (oh, ow int) {
	oh = (c.H+c.PadTop+c.PadBottom-or(c.DilationH, 1)*(c.KH-1)-1)/or(c.StrideH, 1) + 1
	ow = (c.W+c.PadLeft+c.PadRight-or(c.DilationW, 1)*(c.KW-1)-1)/or(c.StrideW, 1) + 1
	return oh, ow
}

func (c *Conv) shape() ref.Conv {
	oh, ow := c.OutSize()
	s := ref.Conv{
		N: c.N, C: c.C, H: c.H, W: c.W, OC: c.OC, KH: c.KH, KW: c.KW, OH: oh, OW: ow,
		StrideH: or(c.StrideH, 1), StrideW: or(c.StrideW, 1), PadTop: c.PadTop, PadLeft: c.PadLeft,
		DilationH: or(c.DilationH, 1), DilationW: or(c.DilationW, 1), Groups: or(c.Groups, 1),
	}
	if s.C%s.Groups != 0 || s.OC%s.Groups != 0 || oh < 0 || ow < 0 {
		panic(fmt.Sprintf("kernel: Conv of %+v", s))
	}
	return s
}

// ForwardScratchLen is the number of floats of scratch that Forward needs.
func (c *Conv) ForwardScratchLen(p *Pool) int { return 0 }

// Forward computes Y = act(X * Weight + Bias).
func (c *Conv) Forward(p *Pool, scratch []float32) {
	s := c.shape()
	s.Forward(c.X, c.Weight, c.Bias, c.Y, c.Act == ActReLU)
}

// GradInputScratchLen is the number of floats of scratch that GradInput needs.
func (c *Conv) GradInputScratchLen(p *Pool) int { return 0 }

// GradInput computes dX [N,C,H,W] from Y (the gradient of the output) and Weight.
func (c *Conv) GradInput(p *Pool, dX, scratch []float32) {
	s := c.shape()
	s.GradInput(c.Y, c.Weight, dX)
}

// GradWeightScratchLen is the number of floats of scratch that GradWeight needs.
func (c *Conv) GradWeightScratchLen(p *Pool) int { return 0 }

// GradWeight computes dW, of the shape of Weight, from X and Y (the gradient
// of the output).
func (c *Conv) GradWeight(p *Pool, dW, scratch []float32) {
	s := c.shape()
	s.GradWeight(c.X, c.Y, dW)
}
