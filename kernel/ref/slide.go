package ref

// SlideOp is what a window does with its elements.
type SlideOp uint8

const (
	SlideMultiply SlideOp = iota // by the tap's weight, and add
	SlideMaximum                 // NaN counts as the greatest
	SlideAdd
)

// SlideSteps are the dimensions of Slide, and its strides in elements.
type SlideSteps struct {
	Channels, Pixels, KY, KX int
	Pixel, TapY, TapX        int // of x
	WeightY, WeightX         int
}

// Slide folds windows of x [pixel][channel] to y [pixel][channel], each element
// from start [channel], or zero, on, in the order of the taps.
func Slide(op SlideOp, y, x, weights, start []float32, s SlideSteps) {
	for i := range s.Pixels {
		to := y[i*s.Channels:][:s.Channels]
		clear(to)
		copy(to, start)
		for ky := range s.KY {
			for kx := range s.KX {
				from := x[i*s.Pixel+ky*s.TapY+kx*s.TapX:][:s.Channels]
				switch op {
				case SlideMultiply:
					w := weights[ky*s.WeightY+kx*s.WeightX:]
					for c, v := range from {
						to[c] += float32(v * w[c])
					}
				case SlideMaximum:
					for c, v := range from {
						to[c] = max(to[c], v)
					}
				case SlideAdd:
					for c, v := range from {
						to[c] += v
					}
				}
			}
		}
	}
}
